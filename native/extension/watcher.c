/* One thread for all workers. It learns at once when a worker dies (its pidfd or,
 * before Linux 5.3, the end of its socket), keeps how it died, and wakes every
 * caller that waits for it. It also passes on the doorbell of workers that cannot
 * wake a host's thread through memory.
 *
 * It never takes the GIL, so a caller learns of a death whatever Python is doing.
 * It does not reap the process (WNOWAIT): its owner in Python (runtime/process.py) does.
 */
#define _GNU_SOURCE
#include "extension.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_pidfd_send_signal /* newer than the glibc we build for; same everywhere */
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct watch *watches; /* under the lock */
static int events = -1;       /* epoll; under the lock, and -1 again after a fork */

static void wake_host(struct watch *watch, uint32_t lane)
{
    foreign_wake(watch->channel, frame_offset(lane, 0) + FRAME_REPLY, INT_MAX);
}

void watch_kill(const struct watch *watch)
{
    /* ESRCH: it was reaped, and its number may be another process by now */
    if (watch->process < 0 ||
        (syscall(SYS_pidfd_send_signal, watch->process, SIGKILL, NULL, 0) != 0 && errno != ESRCH))
        kill(watch->pid, SIGKILL);
}

void watch_end_process(const struct watch *watch)
{
    const struct timespec moment = {.tv_nsec = 50000};

    watch_kill(watch);
    for (int i = 0; i < 20000 && !atomic_load(&watch->dead); i++)
        nanosleep(&moment, NULL);
}

static void declare_dead(struct watch *watch)
{
    const struct timespec moment = {.tv_nsec = 20000};
    siginfo_t info = {0};

    if (atomic_load(&watch->dead))
        return;
    watch_kill(watch); /* if it has only closed its socket */
    /* Not without limit: the lock is held, and somebody who traces the worker, say a
     * child of it, can keep its end from us for ever. Then how it ended stays unknown. Its
     * socket mostly tells of its end some microseconds before the kernel does. */
    for (int i = 0; i < 2500 && waitid(P_PID, (id_t)watch->pid, &info,
                                      WEXITED | WNOWAIT | WNOHANG) == 0 && info.si_pid == 0; i++)
        nanosleep(&moment, NULL);
    atomic_store(info.si_code == CLD_EXITED ? &watch->exit_code : &watch->exit_signal,
                 info.si_pid ? info.si_status : SIGKILL);
    atomic_store(&watch->dead, 1);
    epoll_ctl(events, EPOLL_CTL_DEL, watch->socket, NULL);
    if (watch->process >= 0)
        epoll_ctl(events, EPOLL_CTL_DEL, watch->process, NULL);
    for (uint32_t lane = 0; lane < CHANNEL_LANES + CHANNEL_GUESTS; lane++) {
        /* A value no reply has, so that whoever is about to park does not. */
        foreign_put(watch->channel, frame_offset(lane, 0) + FRAME_REPLY, UINT32_MAX);
        wake_host(watch, lane);
    }
}

/* More than any worker has to say at once: it rings to keep us busy. */
static bool flooded; /* the watcher's own */

static void answer_doorbell(struct watch *watch)
{
    unsigned char lanes[CHANNEL_LANES + CHANNEL_GUESTS];
    ssize_t got = recv(watch->socket, lanes, sizeof lanes, MSG_DONTWAIT);

    flooded |= got == sizeof lanes;

    for (ssize_t i = 0; i < got; i++)
        if (lanes[i] < CHANNEL_LANES + CHANNEL_GUESTS)
            wake_host(watch, lanes[i]);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        declare_dead(watch);
}

static bool has_exited(const struct watch *watch)
{
    struct pollfd end = {.fd = watch->process, .events = POLLIN};

    return poll(&end, 1, 0) == 1; /* not waitid: a tracer could hide it, and we would spin */
}

/* Events carry the descriptor. It may be stale by the time we hold the lock, even
 * in use again by another watch: so an event only makes us look. */
static void handle(int descriptor)
{
    for (struct watch *watch = watches; watch; watch = watch->next)
        if (watch->socket == descriptor)
            answer_doorbell(watch);
        else if (watch->process == descriptor && has_exited(watch))
            declare_dead(watch);
}

static void *run(void *data)
{
    int mine = (int)(intptr_t)data;
    const struct timespec moment = {.tv_nsec = 1000000};
    struct epoll_event ready[16];

    for (;;) {
        int count = epoll_wait(mine, ready, 16, -1);

        if (count < 0 && errno != EINTR)
            return NULL;
        pthread_mutex_lock(&lock);
        for (int i = 0; i < count; i++)
            handle(ready[i].data.fd);
        pthread_mutex_unlock(&lock);
        if (flooded)
            nanosleep(&moment, NULL);
        flooded = false;
    }
}

/* The child of a fork has no watcher thread and must not touch the parent's
 * workers. It gets a fresh start, sessions from before refuse (session.c), and it
 * lets go of their sockets: a worker lives as long as somebody holds the other end. */
static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&lock);
}

static void after_fork_in_child(void)
{
    process_generation++;
    for (; watches; watches = watches->next) {
        close(watches->socket);
        if (watches->process >= 0)
            close(watches->process);
        watches->socket = watches->process = -1;
    }
    if (events >= 0)
        close(events);
    events = -1;
    pthread_mutex_init(&lock, NULL);
}

static bool start_thread(void)
{
    static bool forks_handled;
    sigset_t all, before;
    pthread_t thread;
    int failure;

    if (events >= 0)
        return true;
    if (!forks_handled) {
        pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
        forks_handled = true;
    }
    events = epoll_create1(EPOLL_CLOEXEC);
    if (events < 0)
        return false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failure = pthread_create(&thread, NULL, run, (void *)(intptr_t)events);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure) {
        close(events);
        events = -1;
        errno = failure;
        return false;
    }
    pthread_detach(thread);
    return true;
}

static bool listen_to(int descriptor)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = descriptor}};

    return epoll_ctl(events, EPOLL_CTL_ADD, descriptor, &event) == 0;
}

struct watch *watch_begin(pid_t pid, int socket, struct foreign channel)
{
    struct watch *watch = calloc(1, sizeof *watch);
    bool listening;

    if (!watch)
        return NULL;
    watch->pid = pid;
    watch->socket = socket;
    watch->channel = channel;
    watch->process = (int)syscall(SYS_pidfd_open, pid, 0);
    pthread_mutex_lock(&lock);
    listening = start_thread();
    if (listening) {
        watch->next = watches;
        watches = watch;
        listening = listen_to(socket) && (watch->process < 0 || listen_to(watch->process));
    }
    pthread_mutex_unlock(&lock);
    if (!listening) {
        watch_end(watch);
        return NULL;
    }
    return watch;
}

void watch_end(struct watch *watch)
{
    int reason = errno;

    pthread_mutex_lock(&lock);
    for (struct watch **at = &watches; *at; at = &(*at)->next) {
        if (*at == watch) {
            *at = watch->next;
            break;
        }
    }
    if (watch->socket >= 0) {
        epoll_ctl(events, EPOLL_CTL_DEL, watch->socket, NULL); /* a fork may hold it too */
        close(watch->socket);
    }
    if (watch->process >= 0) {
        epoll_ctl(events, EPOLL_CTL_DEL, watch->process, NULL);
        close(watch->process);
    }
    pthread_mutex_unlock(&lock);
    free(watch);
    errno = reason;
}
