/* The thread that all workers are children of.
 *
 * A worker shall not outlive this process, however that ends. It quits when its socket ends;
 * but a library that has closed the worker's socket, or a worker that somebody has stopped,
 * does not learn of that. So the kernel is asked to kill it (PR_SET_PDEATHSIG, confine.c).
 * It does so when the *thread* ends that the worker is a child of, and a Python thread may
 * end long before Python. This one never does. */
#define _GNU_SOURCE
#include "extension.h"
#include "spawn.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

struct order {
    void (*body)(void *);
    void *data;
    _Atomic uint32_t done; /* futex */
};

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER; /* one order at a time */
static _Atomic(struct order *) order;
static _Atomic uint32_t orders; /* futex: how many there were */
static bool alive;              /* under `turn` */

static void wait_while(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void *live(void *unused)
{
    uint32_t seen = 0;

    for (;; seen++) {
        struct order *mine;

        while (atomic_load(&orders) == seen)
            wait_while(&orders, seen);
        mine = atomic_load(&order);
        mine->body(mine->data);
        atomic_store(&mine->done, 1);
        futex_wake_private(&mine->done, INT_MAX);
    }
    return unused;
}

/* A child of a fork has no such thread, and its first worker makes one. Nobody is in the
 * middle of an order then: a fork waits for its turn. */
static void before_fork(void)
{
    pthread_mutex_lock(&turn);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&turn);
}

static void after_fork_in_child(void)
{
    alive = false;
    atomic_store(&orders, 0);
    pthread_mutex_init(&turn, NULL);
}

static int begin(void)
{
    static bool forks_handled;
    sigset_t all, before;
    pthread_t thread;
    int failure;

    if (!forks_handled)
        pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    forks_handled = true;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failure = pthread_create(&thread, NULL, live, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure == 0)
        pthread_detach(thread);
    alive = failure == 0;
    return failure;
}

int nursery_do(void (*body)(void *), void *data)
{
    struct order mine = {.body = body, .data = data};
    int failure;

    pthread_mutex_lock(&turn);
    failure = alive ? 0 : begin();
    if (failure == 0) {
        atomic_store(&order, &mine);
        atomic_fetch_add(&orders, 1);
        futex_wake_private(&orders, 1);
        while (!atomic_load(&mine.done))
            wait_while(&mine.done, 0);
    }
    pthread_mutex_unlock(&turn);
    return failure;
}
