"""A library that attacks with more than one call: races, floods, bombs, and what it does
while it is loaded and unloaded."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import libferry as ferry
from libferry.build.zig import zig_home
from libferry.sandbox import Profile, read_profile
from tests.runtime.sides import compiled

SOURCE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static char shared[64];
static _Atomic int over;
static const char *one, *other;

static void *flip(void *unused)
{
    while (!over) {
        memcpy(shared, one, 64);
        memcpy(shared, other, 64);
    }
    return unused;
}
/* Open `shared` while another thread changes what stands there; 64 bytes each. */
EXPORT int race_the_name(const char *listed, const char *secret, int rounds, char *read_to)
{
    pthread_t thread;
    int opened = 0;

    one = listed;
    other = secret;
    memcpy(shared, listed, 64);
    over = 0;
    if (pthread_create(&thread, NULL, flip, NULL)) return -1;
    while (rounds--) {
        int file = open(shared, O_RDONLY);
        if (file < 0) continue;
        opened++;
        if (!strstr(read_to, "secret")) read(file, read_to, 63);
        close(file);
    }
    over = 1;
    pthread_join(thread, NULL);
    return opened;
}

static const char *link_name, *spare_name;
static void *relink(void *unused)
{
    while (!over) {
        symlink(one, spare_name);
        rename(spare_name, link_name);
        symlink(other, spare_name);
        rename(spare_name, link_name);
    }
    return unused;
}
/* Write through a link that leads to a listed file, and then to another. */
EXPORT int race_the_link(const char *name, const char *spare, const char *listed,
                         const char *secret, int rounds)
{
    pthread_t thread;
    int opened = 0;

    link_name = name;
    spare_name = spare;
    one = listed;
    other = secret;
    over = 0;
    if (pthread_create(&thread, NULL, relink, NULL)) return -1;
    while (rounds--) {
        int file = open(name, O_WRONLY);
        if (file < 0) continue;
        opened++;
        write(file, "!", 1);
        close(file);
    }
    over = 1;
    pthread_join(thread, NULL);
    return opened;
}

static pthread_mutex_t never = PTHREAD_MUTEX_INITIALIZER;
static void *stay(void *unused) { pthread_mutex_lock(&never); return unused; }
EXPORT int bomb_of_threads(int most)
{
    pthread_attr_t small;
    pthread_t thread;
    int made = 0;

    pthread_mutex_lock(&never);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    while (made < most && pthread_create(&thread, &small, stay, NULL) == 0) made++;
    return made;
}
EXPORT int bomb_of_processes(int most)
{
    int made = 0, child;

    while (made < most && (child = fork()) >= 0) {
        if (!child) { pause(); _exit(0); }
        made++;
    }
    return made;
}
EXPORT int exhaust_descriptors(int most)
{
    int made = 0;
    while (made < most && dup(2) >= 0) made++;
    return made == most ? 0 : -errno;
}
EXPORT long exhaust_memory(long mebibytes)
{
    long got = 0;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    while (got < mebibytes &&
           mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, flags, -1, 0) != MAP_FAILED)
        got++;
    return got;
}
EXPORT int huge_file(const char *path, long long at)
{
    int file = open(path, O_WRONLY | O_CREAT, 0600);
    signal(SIGXFSZ, SIG_IGN);
    return file < 0 || pwrite(file, "!", 1, at) < 0 ? -errno : 0;
}
EXPORT void spin(void) { for (;;) __asm__ volatile(""); }

static void swallow(int number) { (void)number; }
EXPORT long hides_behind_a_handler(long nr)
{
    for (int i = 1; i < 32; i++) signal(i, swallow);
    return syscall(nr, 0, 0, 0, 0, 0, 0);
}
EXPORT void closes_everything(void)
{
    for (int i = 0; i < 256; i++) close(i);
}
EXPORT int asks_often(const char *path, int times)
{
    int well = 0;
    while (times--) {
        int file = open(path, O_RDONLY);
        well += file >= 0;
        close(file);
    }
    return well;
}
static void *ask_for_ever(void *path)
{
    for (;;) close(open(path, O_RDONLY));
    return NULL;
}
EXPORT void dies_while_it_asks(const char *path)
{
    pthread_t thread;
    for (int i = 0; i < 4; i++) pthread_create(&thread, NULL, ask_for_ever, (void *)path);
    usleep(20000);
    _exit(3);
}
/* A path at the end of a page, and nothing behind it. */
EXPORT int opens_at_the_edge(const char *path, int length)
{
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int file;

    munmap(pages + 4096, 4096);
    memcpy(pages + 4096 - length, path, (size_t)length);
    file = open(pages + 4096 - length, O_RDONLY);
    return file < 0 ? -errno : file;
}
EXPORT int opens_a_long_name(int length)
{
    char *name = malloc((size_t)length + 1);
    memset(name, 'a', (size_t)length);
    name[0] = '/';
    name[length] = 0;
    return open(name, O_RDONLY) < 0 ? -errno : 0;
}
/* Send a descriptor through another one, `times` times. */
EXPORT int passes(int through, int what, int times)
{
    char control[CMSG_SPACE(sizeof what)] = {0}, byte = 63;
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);

    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof what);
    memcpy(CMSG_DATA(head), &what, sizeof what);
    for (int i = 0; i < times; i++)
        if (sendmsg(through, &message, 0) < 0) return -errno;
    return times;
}
EXPORT int floods(int through, int times)
{
    char bytes[256];
    memset(bytes, 255, sizeof bytes);
    while (times--) if (write(through, bytes, sizeof bytes) < 0) return -errno;
    return 0;
}
#ifdef __x86_64__
/* gettimeofday, time and getcpu have a fixed address each: Documentation/arch/x86/.../vsyscall */
EXPORT long time_by_vsyscall(void) { return ((long (*)(long *))0xffffffffff600400)(NULL); }
#endif
"""

HEADER = """
int race_the_name(const void *listed, const void *secret, int rounds, char *read_to);
int race_the_link(const char *name, const char *spare, const char *listed, const char *secret,
                  int rounds);
int bomb_of_threads(int most);
int bomb_of_processes(int most);
int exhaust_descriptors(int most);
long exhaust_memory(long mebibytes);
int huge_file(const char *path, long long at);
void spin(void);
long hides_behind_a_handler(long nr);
void closes_everything(void);
int asks_often(const char *path, int times);
void dies_while_it_asks(const char *path);
int opens_at_the_edge(const char *path, int length);
int opens_a_long_name(int length);
int passes(int through, int what, int times);
int floods(int through, int times);
long time_by_vsyscall(void);
"""

DOORBELL = 3  # the worker's end of its socket (src/libferry/runtime/worker.py)

# Attacks before the first call and after the last one.
_EARLY = r"""
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void attack(void)
{
    ATTACK;
}
__attribute__((WHEN)) static void at(void) { attack(); }
int add(int a, int b) { return a + b; }
"""


def attacker(profile: Any = "pure", abi: str = "x86_64-sysv", **options: Any) -> ferry.Library:
    """The library above, in a sandbox."""
    file = compiled(SOURCE, abi)
    return ferry.load(file, header=HEADER, isolation="sandbox", profile=profile, **options)


def adding(base: str = "pure", **more: object) -> Profile:
    """A profile and something more."""
    return read_profile(base).adding(Profile("mine", **more))  # type: ignore[arg-type]


def put(lib: ferry.Library, data: bytes) -> int:
    """The address of these bytes, in memory that the library sees."""
    room = lib.buffer(max(len(data), 1))
    memoryview(room)[: len(data)] = data
    lib.__dict__.setdefault("_kept", []).append(room)
    return room.address


@cache
def early(when: str, attack: str, folder: Path) -> Path:
    """A library that attacks while it is loaded (``constructor``) or unloaded (``destructor``)."""
    source = _EARLY.replace("ATTACK", attack).replace("WHEN", when)
    return _linked(source, folder, "libearly.so")


@cache
def dependent(attack: str, folder: Path) -> Path:
    """A harmless library that needs one which is not."""
    needed = early("constructor", attack, folder)
    source = "int add(int, int); int more(int a) { return add(a, 1); }"
    return _linked(source, folder, "libharmless.so", needed, "-Wl,-rpath,$ORIGIN")


def _linked(source: str, folder: Path, name: str, *more: str | Path) -> Path:
    code = folder / f"{name}.c"
    code.write_text(source)
    command: list[str | Path] = [
        zig_home() / "zig",
        "cc",
        "-target",
        "x86_64-linux-gnu.2.17",
        "-shared",
        "-fPIC",
    ]
    subprocess.run([*command, "-o", folder / name, code, *more], check=True, cwd=folder)
    return folder / name
