"""Supervision: what a worker's filter hands to us, and what becomes of it."""

from __future__ import annotations

import errno
import gc
import os
import platform
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import libferry as ferry
from libferry import _core
from libferry.binary import read
from libferry.contract import declare
from libferry.runtime.library import Library
from libferry.runtime.loaded import Contents
from libferry.runtime.opening import open_library
from libferry.runtime.runner import find
from libferry.runtime.worker import Start, Worker
from libferry.sandbox import Profile, Report
from libferry.sandbox.confine import Confinement
from tests.runtime.sides import compiled

from . import plans
from .plans import (
    ALLOWED,
    CONTINUE_AND_LOG,
    CREATE,
    EXEC_ONCE,
    LOADING,
    LOADING_ONLY,
    NEW_LISTENER,
    OPEN,
    OPEN_HOW,
    PATH,
    PROTECTION,
    READ,
    SELF_SIGNAL,
    SERVING,
    USER_NOTIF,
    WRITE,
    policy,
    row,
    seccomp,
    step,
)

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers are x86-64's"),
    pytest.mark.skipif(not _core.kernel()["user_notification"], reason="needs Linux 5.6"),
    pytest.mark.needs("ziglang", install="pip install ziglang"),
]

# arch/x86/entry/syscalls/syscall_64.tbl and syscall_32.tbl
EXECVE, OPENAT, OPENAT2, RENAMEAT2, CONNECT, KILL = 59, 257, 437, 316, 42, 62
MMAP, NEWFSTATAT, GETPPID = 9, 262, 110
I386_OPENAT = 295

SOURCE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int done(long result) { return result < 0 ? -errno : 0; }
int opens(const char *path, int flags) {
    int file = openat(AT_FDCWD, path, flags, 0600);
    if (file < 0) return -errno;
    close(file);
    return 0;
}
int opens_at(const char *folder, const char *path) {
    int at = open(folder, O_RDONLY | O_DIRECTORY), file = openat(at, path, O_RDONLY);
    close(at);
    if (file < 0) return -errno;
    close(file);
    return 0;
}
int opens_how(const char *path, unsigned long long flags) {
    unsigned long long how[3] = {flags, 0, 0};
    long file = syscall(437, AT_FDCWD, path, how, sizeof how);
    if (file < 0) return -errno;
    close(file);
    return 0;
}
int opens_address(unsigned long address) {
    return done(syscall(SYS_openat, AT_FDCWD, (void *)address, O_RDONLY));
}
int renames(const char *from, const char *to) {
    return done(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}
int changes_folder(const char *to) { return done(chdir(to)); }
int connects(const void *address, int size) {
    return done(syscall(SYS_connect, 0, address, size));
}
int stat_of_open(int file) {
    struct stat status;
    return done(fstatat(file, "", &status, 0x1000)); /* AT_EMPTY_PATH */
}
int maps_code(void) {
    void *at = mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? -errno : 0;
}
int maps_data(void) {
    void *at = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? -errno : 0;
}
int signals(int process) { return done(syscall(SYS_kill, process, 0)); }
int signals_itself(void) { return done(syscall(SYS_kill, getpid(), 0)); }
int parent(void) { return (int)syscall(SYS_getppid); }
int executes(const char *path) {
    char *none[1] = {0};
    return done(syscall(SYS_execve, path, none, none));
}
int many(int count) {
    int sum = 0;
    while (count--) sum += (int)(syscall(SYS_getppid) > 0);
    return sum;
}
long edge(void) { /* a path whose NUL is the last byte of a mapping */
    char *at = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(at + 4096, 4096);
    strcpy(at + 4096 - 10, "/dev/null");
    return (long)(at + 4096 - 10);
}
static void *opener(void *path) { return (void *)(long)opens(path, O_RDONLY); }
int opens_in_thread(const char *path) {
    pthread_t thread;
    void *result;
    pthread_create(&thread, 0, opener, (void *)path);
    pthread_join(thread, &result);
    return (int)(long)result;
}
"""
HEADER = """
int opens(const char *path, int flags);
int opens_at(const char *folder, const char *path);
int opens_how(const char *path, unsigned long long flags);
int opens_address(unsigned long address);
int renames(const char *from, const char *to);
int changes_folder(const char *to);
int connects(const void *address, int size);
int stat_of_open(int file);
int maps_code(void);
int maps_data(void);
int signals(int process);
int signals_itself(void);
int parent(void);
int executes(const char *path);
int many(int count);
long edge(void);
int opens_in_thread(const char *path);
"""
OPENED = row(OPENAT, PATH, path=1, dirfd=0, flags=2, flags_are=OPEN)


class Supervised:
    """A library in a worker whose filter hands these calls to us."""

    def __init__(self, numbers: list[int], policy: bytes, abi: str = "x86_64-sysv") -> None:
        execve = EXECVE
        plan = step("NO_NEW_PRIVS")
        plan += seccomp(dict.fromkeys((execve, *numbers), USER_NOTIF), NEW_LISTENER)
        report = Report(Profile("test"), ())
        confinement = Confinement(plan, policy, dict(os.environ), report, 0)
        start = Start(find(abi), 1 << 24, 0, 0, False, confinement=confinement)
        self.worker = Worker(start)
        self.session = self.worker.session
        self.session.phase = LOADING
        binary = read(compiled(SOURCE, abi))
        contents = Contents(binary, self.worker)
        opened = open_library(binary, abi, self.session, contents)
        self.session.phase = SERVING
        self.lib: Any = Library(binary, abi, opened, declare(HEADER, abi), "utf-8")

    def violation(self) -> dict[str, Any]:
        """What it died of."""
        found: dict[str, Any] = self.session.death()["violation"]
        return found


@pytest.fixture
def supervise() -> Iterator[Any]:
    made: list[Supervised] = []

    def make(*arguments: Any) -> Supervised:
        made.append(Supervised(*arguments))
        return made[-1]

    yield make
    for one in made:
        one.worker.close()


def opening(*prefixes: dict[str, int]) -> bytes:
    everything = {"/": READ | WRITE | CREATE}
    return policy([OPENED], everything, everything, *prefixes)


def test_an_allowed_path_is_opened(supervise: Any, tmp_path: Path) -> None:
    one = supervise([OPENAT], opening({str(tmp_path): READ | CREATE | WRITE}))
    assert one.lib.opens(f"{tmp_path}/new", os.O_CREAT | os.O_WRONLY) == 0
    assert (tmp_path / "new").exists()
    assert one.lib.opens(f"{tmp_path}/none", os.O_RDONLY) == -errno.ENOENT
    assert one.session.death() == {}


def test_another_path_ends_the_worker_and_is_named(supervise: Any, tmp_path: Path) -> None:
    one = supervise([OPENAT], opening({str(tmp_path): READ}))
    with pytest.raises(ferry.LibraryCrashed):
        one.lib.opens("/etc/../etc//./passwd", os.O_RDONLY)
    violation = one.violation()
    assert violation["path"] == b"/etc/passwd"
    assert (violation["arch"], violation["nr"]) == (plans.ARCH_X86_64, OPENAT)
    assert violation["arguments"][0] & 0xFFFFFFFF == 0xFFFFFF9C  # AT_FDCWD, -100
    assert violation["arguments"][2] == os.O_RDONLY
    assert (violation["access"], violation["phase"]) == (READ, SERVING)
    assert one.session.death()["signal"] == 9


@pytest.mark.parametrize(
    ("flags", "access"),
    [
        (os.O_WRONLY, WRITE),
        (os.O_RDWR, READ | WRITE),
        (os.O_RDONLY | os.O_TRUNC, READ | WRITE),
        (os.O_WRONLY | os.O_CREAT, WRITE | CREATE),
        (os.O_RDWR | os.O_TMPFILE, READ | WRITE | CREATE),
    ],
)
def test_what_is_done_to_a_path_counts(
    supervise: Any, tmp_path: Path, flags: int, access: int
) -> None:
    one = supervise([OPENAT], opening({str(tmp_path): READ}))
    with pytest.raises(ferry.LibraryCrashed):
        one.lib.opens(str(tmp_path), flags)
    assert one.violation()["access"] == access


def test_a_prefix_ends_at_a_slash(supervise: Any, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "database").touch()
    one = supervise([OPENAT], opening({f"{tmp_path}/data": READ}))
    assert one.lib.opens(f"{tmp_path}/data", os.O_RDONLY) == 0
    with pytest.raises(ferry.LibraryCrashed):
        one.lib.opens(f"{tmp_path}/database", os.O_RDONLY)


def test_a_path_is_relative_to_a_folder_or_the_working_one(supervise: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").touch()
    one = supervise([OPENAT], opening({f"{tmp_path}/in": READ}))
    assert one.lib.opens_at(f"{tmp_path}/in", "file") == 0
    assert one.lib.changes_folder(f"{tmp_path}/in") == 0
    assert one.lib.opens("./file", os.O_RDONLY) == 0
    with pytest.raises(ferry.LibraryCrashed):
        one.lib.opens_at(f"{tmp_path}/in", "../other")
    assert one.violation()["path"] == os.fsencode(tmp_path / "other")


def test_a_path_that_cannot_be_read_is_an_error_to_the_worker(supervise: Any) -> None:
    one = supervise([OPENAT], opening({"/dev/null": READ}))
    assert one.lib.opens_address(16) == -errno.EFAULT
    assert one.lib.opens("x" * 5000, os.O_RDONLY) == -errno.ENAMETOOLONG
    assert one.lib.opens("", os.O_RDONLY) == -errno.ENOENT
    assert one.lib.opens_address(one.lib.edge()) >= 0


def test_the_flags_of_openat2_are_read(supervise: Any, tmp_path: Path) -> None:
    rows = [row(OPENAT2, PATH, path=1, dirfd=0, flags=2, flags_are=OPEN_HOW)]
    one = supervise([OPENAT2], policy(rows, {str(tmp_path): READ}))
    assert one.lib.opens_how(str(tmp_path), os.O_RDONLY) == 0
    with pytest.raises(ferry.LibraryCrashed):
        one.lib.opens_how(f"{tmp_path}/new", os.O_WRONLY)
    assert one.violation()["access"] == WRITE


def test_both_paths_of_a_rename_must_be_allowed(supervise: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one").touch()
    rows = [row(RENAMEAT2, PATH, access=CREATE, path=1, dirfd=0, path2=3, dirfd2=2)]
    one = supervise([RENAMEAT2], policy(rows, {f"{tmp_path}/in": CREATE}))
    assert one.lib.renames(f"{tmp_path}/in/one", f"{tmp_path}/in/two") == 0
    with pytest.raises(ferry.LibraryCrashed):
        one.lib.renames(f"{tmp_path}/in/two", f"{tmp_path}/out")
    assert one.violation()["path"] == os.fsencode(tmp_path / "out")
    assert (tmp_path / "in" / "two").exists()


def test_an_open_descriptor_is_no_path(supervise: Any) -> None:
    rows = [row(NEWFSTATAT, PATH, path=1, dirfd=0, at_flags=3)]
    everything = {"/": 0}
    one = supervise([NEWFSTATAT], policy(rows, everything, everything, {}))
    assert one.lib.stat_of_open(0) == 0


def test_its_own_folder_in_proc_is_called_self(supervise: Any) -> None:
    one = supervise([OPENAT], opening({"/proc/self": READ}))
    assert one.lib.opens("/proc/self/maps", os.O_RDONLY) == 0
    assert one.lib.opens(f"/proc/{one.worker.pid}/maps", os.O_RDONLY) == 0
    with pytest.raises(ferry.LibraryCrashed):
        one.lib.opens(f"/proc/{os.getpid()}/mem", os.O_RDONLY)


def test_the_address_of_a_connection_is_told(supervise: Any) -> None:
    one = supervise([CONNECT], policy([row(CONNECT, ALLOWED, address=1)]))
    address = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", 80, bytes([127, 0, 0, 1]))
    with pytest.raises(ferry.LibraryCrashed):
        one.lib.connects(address, len(address))
    assert one.violation()["address"] == address
    assert one.violation()["path"] is None


def test_a_call_without_a_row_is_a_violation(supervise: Any) -> None:
    one = supervise([GETPPID], policy([]))
    with pytest.raises(ferry.LibraryCrashed):
        one.lib.parent()
    assert one.violation()["nr"] == GETPPID


def test_code_is_mapped_while_loading_only(supervise: Any) -> None:
    one = supervise([MMAP], policy([row(MMAP, LOADING_ONLY, flags=2, flags_are=PROTECTION)]))
    assert one.lib.maps_data() == 0
    with pytest.raises(ferry.LibraryCrashed):
        one.lib.maps_code()
    assert one.violation()["nr"] == MMAP


def test_it_may_signal_itself_only(supervise: Any) -> None:
    one = supervise([KILL], policy([row(KILL, SELF_SIGNAL, target=0)]))
    assert one.lib.signals_itself() == 0
    with pytest.raises(ferry.LibraryCrashed):
        one.lib.signals(os.getpid())
    assert one.violation()["arguments"][0] == os.getpid()


@pytest.mark.parametrize("target", [0, -1])
def test_a_group_is_not_itself(supervise: Any, target: int) -> None:
    one = supervise([KILL], policy([row(KILL, SELF_SIGNAL, target=0)]))
    with pytest.raises(ferry.LibraryCrashed):
        one.lib.signals(target)


def test_nothing_is_executed_once_it_serves(supervise: Any) -> None:
    one = supervise([], policy([row(EXECVE, EXEC_ONCE, path=0)]))
    with pytest.raises(ferry.LibraryCrashed):
        one.lib.executes("/bin/true")
    assert one.violation()["nr"] == EXECVE


def test_another_thread_is_supervised_too(supervise: Any) -> None:
    one = supervise([OPENAT], opening({"/dev/null": READ}))
    assert one.lib.opens_in_thread("/dev/null") == 0
    with pytest.raises(ferry.LibraryCrashed):
        one.lib.opens_in_thread("/dev/zero")
    assert one.violation()["path"] == b"/dev/zero"


@pytest.mark.needs("/lib/ld-linux.so.2", install="apt-get install libc6-i386")
def test_a_32_bit_worker_is_supervised_by_its_own_numbers(supervise: Any) -> None:
    rows = [
        row(
            I386_OPENAT,
            PATH,
            arch=plans.ARCH_I386,
            path=1,
            dirfd=0,
            flags=2,
            flags_are=OPEN,
        ),
        row(plans.ANY, ALLOWED, arch=plans.ARCH_I386, phases=7),
    ]
    everything = {"/": READ | WRITE | CREATE}
    allowed = policy(rows, everything, everything, {"/dev/null": READ})
    one = supervise([I386_OPENAT], allowed, "i386-sysv")
    assert one.lib.opens("/dev/null", os.O_RDONLY) == 0
    with pytest.raises(ferry.LibraryCrashed):
        one.lib.opens("/dev/zero", os.O_RDONLY)
    assert (one.violation()["arch"], one.violation()["nr"]) == (plans.ARCH_I386, I386_OPENAT)
    assert one.violation()["path"] == b"/dev/zero"


@pytest.mark.needs("/usr/aarch64-linux-gnu", install="apt-get install libc6-arm64-cross")
@pytest.mark.needs(
    "qemu-aarch64-static", "qemu-aarch64", install="apt-get install qemu-user-static"
)
def test_a_foreign_worker_is_supervised_by_what_qemu_does(supervise: Any) -> None:
    """qemu-user itself knows neither filters nor Landlock: it is in one."""
    one = supervise([OPENAT], opening({"/dev/null": READ}), "aarch64-aapcs64")
    assert one.lib.opens("/dev/null", os.O_RDONLY) == 0
    with pytest.raises(ferry.LibraryCrashed):
        one.lib.opens("/dev/zero", os.O_RDONLY)
    assert one.violation()["arch"] == plans.ARCH_X86_64
    assert one.violation()["path"] == b"/dev/zero"


def test_learning_allows_and_notes_each_thing_once(supervise: Any, tmp_path: Path) -> None:
    rows = [
        row(OPENAT, CONTINUE_AND_LOG, path=1, dirfd=0, flags=2, flags_are=OPEN),
        row(KILL, CONTINUE_AND_LOG, distinct=2),
    ]
    one = supervise([OPENAT, KILL], policy(rows))
    for _ in range(3):
        one.lib.opens(f"{tmp_path}/a", os.O_RDONLY)
        one.lib.opens(f"{tmp_path}/b", os.O_CREAT | os.O_WRONLY)
        one.lib.signals_itself()
    seen = [notice for notice in one.session.notices() if notice[6] == SERVING]
    assert [(nr, path, access, count) for _, nr, _, path, access, _, _, count in seen] == [
        (OPENAT, os.fsencode(tmp_path / "a"), READ, 3),
        (OPENAT, os.fsencode(tmp_path / "b"), WRITE | CREATE, 3),
        (KILL, None, 0, 3),
    ]
    assert seen[2][2][0] == one.worker.pid
    assert one.session.notices_lost == 0
    assert (tmp_path / "b").exists()


def test_what_is_learned_is_bounded(supervise: Any) -> None:
    rows = [row(OPENAT, CONTINUE_AND_LOG, path=1, dirfd=0, flags=2, flags_are=OPEN)]
    one = supervise([OPENAT], policy(rows))
    long = "/dev/null/" + "x" * 2000
    for number in range(600):
        one.lib.opens(f"{long}{number}", os.O_RDONLY)
    notices = one.session.notices()
    assert sum(len(path or b"") for _, _, _, path, *_ in notices) <= 1 << 20
    assert 0 < one.session.notices_lost < 600


def test_a_worker_that_calls_all_the_time_takes_nothing_from_another(supervise: Any) -> None:
    rows = policy([row(GETPPID, ALLOWED, phases=7)])
    busy, other = supervise([GETPPID], rows), supervise([GETPPID], rows)
    thread = threading.Thread(target=busy.lib.many, args=(20000,))
    thread.start()
    for _ in range(20):
        assert other.lib.parent() > 0
    assert busy.session.death() == {}
    thread.join()


def test_threads_and_descriptors_end_with_the_worker(supervise: Any) -> None:
    def held() -> tuple[int, int]:
        gc.collect()  # a library and its session lead to each other
        return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))

    one = Supervised([GETPPID], policy([]))
    one.worker.close()
    del one
    before = held()
    for _ in range(20):
        one = Supervised([GETPPID], policy([row(GETPPID, ALLOWED, phases=7)]))
        assert one.lib.parent() > 0
        one.worker.close()
        del one
    for _ in range(1000):  # a thread learns of the end a moment later
        if (after := held()) == before:
            break
        time.sleep(0.01)
    assert after == before


def test_a_fork_of_ours_does_not_hold_the_listener(supervise: Any) -> None:
    one = supervise([GETPPID], policy([row(GETPPID, ALLOWED, phases=7)]))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        links = [_link(name) for name in os.listdir("/proc/self/fd")]
        os.write(writing, b"held" if any("seccomp" in link for link in links) else b"free")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"free"
    assert one.lib.parent() > 0
    os.close(reading)
    os.close(writing)


def _link(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        return ""


@pytest.mark.parametrize("at", range(0, 120, 4))
def test_a_policy_that_is_cut_is_refused(at: int) -> None:
    whole = opening({"/dev/null": READ})
    with pytest.raises((ValueError, ferry.FerryError)):
        Supervised([OPENAT], whole[: min(at, len(whole) - 1)])
