"""A library that does whatever a test asks of it, and how to load it in a sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import libferry as ferry
from tests.runtime.sides import compiled

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <time.h>
#include <unistd.h>

EXPORT int add(int a, int b) { return a + b; }

EXPORT long call(long nr, long a, long b, long c, long d, long e, long f)
{
    long done = syscall(nr, a, b, c, d, e, f);
    return done == -1 ? -errno : done;
}
EXPORT long call_with(long nr, const void *data, long b, long c, long d)
{
    return call(nr, (long)data, b, c, d, 0, 0);
}
EXPORT long call_at(long nr, int folder, const void *data, long c, long d)
{
    return call(nr, folder, (long)data, c, d, 0, 0);
}
EXPORT int open_file(const char *path, int flags)
{
    int file = open(path, flags, 0600);
    return file < 0 ? -errno : file;
}
EXPORT long read_all(const char *path, char *to, long size)
{
    int file = open(path, O_RDONLY);
    long got = file < 0 ? -errno : read(file, to, (size_t)size);
    if (file >= 0) close(file);
    return got;
}
EXPORT long write_all(const char *path, const char *text)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    long put = file < 0 ? -errno : write(file, text, strlen(text));
    if (file >= 0) close(file);
    return put;
}
EXPORT int connect_to(const char *host, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int s = socket(AF_INET, SOCK_STREAM, 0), done;
    if (s < 0) return -errno;
    inet_pton(AF_INET, host, &to.sin_addr);
    done = connect(s, (struct sockaddr *)&to, sizeof to) ? -errno : 0;
    close(s);
    return done;
}
EXPORT int listen_on(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int s = socket(AF_INET, SOCK_STREAM, 0), done;
    if (s < 0) return -errno;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    done = bind(s, (struct sockaddr *)&at, sizeof at) || listen(s, 1) ? -errno : 0;
    close(s);
    return done;
}
EXPORT int forks(void)
{
    int child = fork(), status = 0;
    if (child == 0) _exit(7);
    if (child < 0) return -errno;
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}
EXPORT int opens_library(const char *path) { return dlopen(path, RTLD_NOW) ? 1 : 0; }
EXPORT int makes_code(void)
{
    int protection = PROT_READ | PROT_WRITE | PROT_EXEC;
    return mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}
static void *one(void *p) { return (char *)p + 1; }
EXPORT int threads(int count)
{
    int done = 0;
    while (count--) {
        pthread_t thread;
        void *result;
        if (pthread_create(&thread, NULL, one, NULL)) return -1;
        pthread_join(thread, &result);
        done += result == (char *)1;
    }
    return done;
}
EXPORT int year(void)
{
    time_t now = time(NULL);
    return localtime(&now)->tm_year + 1900;
}
EXPORT const char *variable(const char *name) { return getenv(name); }
EXPORT long grab(long mebibytes)
{
    char *volatile memory = malloc((size_t)mebibytes << 20); /* volatile: not left out */
    long done = memory ? 1 : -errno;
    free(memory);
    return done;
}
EXPORT int parent(void) { return getppid(); }
EXPORT int self(void) { return getpid(); }
EXPORT int raises(int number) { return raise(number); }
#ifdef __i386__
/* Into 64-bit mode by the code segment that Linux has for it (0x33), and a call from there;
 * there is no way back in this. */
EXPORT long call_64(long nr)
{
    __asm__ volatile("pushl $0x33\n"
                     "call 1f\n"
                     "1: addl $(2f - 1b), (%%esp)\n"
                     "lret\n"
                     "2: .byte 0x0f, 0x05\n" /* syscall */
                     "ud2\n"
                     : : "a"(nr) : "memory");
    return nr;
}
#endif
#ifdef __x86_64__
EXPORT long call_32(long nr, long a, long b, long c)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(a), "c"(b), "d"(c)
                     : "memory", "r8", "r9", "r10", "r11");
    return result;
}
#endif
"""

HEADER = """
int add(int a, int b);
long call(long nr, long a, long b, long c, long d, long e, long f);
long call_with(long nr, const void *data, long b, long c, long d);
long call_at(long nr, int folder, const void *data, long c, long d);
int open_file(const char *path, int flags);
long read_all(const char *path, char *to, long size);
long write_all(const char *path, const char *text);
int connect_to(const char *host, int port);
int listen_on(int port);
int forks(void);
int opens_library(const char *path);
int makes_code(void);
int threads(int count);
int year(void);
const char *variable(const char *name);
long grab(long mebibytes);
int parent(void);
int self(void);
int raises(int number);
long call_32(long nr, long a, long b, long c);
long call_64(long nr);
"""


def library(abi: str = "x86_64-sysv") -> Path:
    return compiled(SOURCE, abi)


def sandboxed(profile: Any = "pure", abi: str = "x86_64-sysv", **options: Any) -> ferry.Library:
    """The library above, in a sandbox."""
    return ferry.load(library(abi), header=HEADER, isolation="sandbox", profile=profile, **options)
