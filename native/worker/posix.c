/* The platform: what Linux, with any C library that has dlopen, and macOS have in common.
 * Sleeping, processors and the registers of a fault are in linux.c and macos.c, the rest of
 * faults in fault_posix.c.
 *
 * Usage: worker SOCKET MEMORY, both numbers of inherited descriptors. */
#define _GNU_SOURCE
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static int doorbell = -1;

int platform_doorbell(void)
{
    unsigned char lane;
    ssize_t got;

    do
        got = read(doorbell, &lane, 1);
    while (got < 0 && errno == EINTR);
    return got == 1 ? lane : -1;
}

static struct start {
    void (*body)(uint32_t);
    uint32_t argument;
} starts[CHANNEL_LANES + 1]; /* the doorbell's thread and one a lane */

static void *run_thread(void *data)
{
    const struct start *start = data;

    start->body(start->argument);
    return NULL;
}

bool platform_thread(void (*body)(uint32_t), uint32_t argument)
{
    static uint32_t used;
    struct start *start = &starts[used++];
    sigset_t all, before;
    pthread_t thread;
    int failure;

    *start = (struct start){body, argument};
    /* The library's signals are for the threads that call it. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failure = pthread_create(&thread, NULL, run_thread, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure == 0)
        pthread_detach(thread);
    return failure == 0;
}

/* A destructor that never ends, or a lock that a thread in the loader holds: no host is there
 * any more to end us. It would have waited for a second. */
#define QUIT_SECONDS 2

static void *quit_late(void *unused)
{
    (void)unused;
    sleep(QUIT_SECONDS);
    _exit(0);
}

void platform_quit(int code)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, quit_late, NULL) == 0)
        pthread_detach(thread);
    exit(code);
}

void platform_end(int code)
{
    _exit(code);
}

/* ---- forks ----
 *
 * A library that forks inside a call may return from it twice. The child has this one
 * thread, and the channel is its parent's: it gets lanes of its own to write a result
 * to, and ends when it would reply. The arena stays, for a child that is about to
 * execute a program whose name lies there. */
static bool forked;
static _Thread_local struct lane *current;

static void after_fork_in_child(void)
{
    forked = true;
    close(doorbell); /* its end is how a host without pidfd learns of the worker's */
    mmap((char *)channel + CHANNEL_LANES_OFFSET, CHANNEL_ARENA_OFFSET - CHANNEL_LANES_OFFSET,
         PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_FIXED, -1, 0);
}

void platform_call(struct ferry_frame *frame)
{
    int *error_number = &errno; /* this thread's: the address stays */

    *error_number = 0;
    ferry_call(frame);
    if (forked)
        _exit(0);
    frame->error_number = *error_number;
}

void platform_save_errors(struct errors *errors)
{
    errors->error_number = errno;
}

void platform_restore_errors(const struct errors *errors)
{
    errno = errors->error_number;
}

struct lane *platform_lane(void)
{
    if (forked)
        _exit(0);
    return current;
}

void platform_set_lane(struct lane *lane)
{
    current = lane;
}

int main(int argc, char **argv)
{
    struct rlimit no_core = {0, 0};
    uint64_t size;
    void *mapping;
    int memory;

    if (argc != 3)
        return 2;
    doorbell = atoi(argv[1]);
    memory = atoi(argv[2]);
    fcntl(doorbell, F_SETFD, FD_CLOEXEC); /* not for programs that the library starts */
    mapping = mmap(NULL, CHANNEL_LANES_OFFSET, PROT_READ, MAP_SHARED, memory, 0);
    if (mapping == MAP_FAILED)
        return 2;
    size = ((struct ferry_header *)mapping)->size;
    munmap(mapping, CHANNEL_LANES_OFFSET);
    mapping = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (mapping == MAP_FAILED)
        return 2;
    close(memory);
    setrlimit(RLIMIT_CORE, &no_core); /* a dump would delay the news of a crash */
    channel = mapping;
    platform_catch_faults();
    pthread_atfork(NULL, NULL, after_fork_in_child);
    return worker_run(mapping);
}
