/* The thread that all workers are children of.
 *
 * A worker shall not outlive this process, however that ends. It quits when its socket ends;
 * but a library that has closed the worker's socket, or a worker that somebody has stopped,
 * does not learn of that. So the kernel is asked to kill it (PR_SET_PDEATHSIG, confine.c).
 * It does so when the *thread* ends that the worker is a child of, and a Python thread may
 * end long before Python. This one never does.
 *
 * But a child has from the thread that makes it: its namespaces, filters, rights, Landlock's
 * rules. Each thread has its own, and one that has confined itself must not get a worker
 * that is free. So the main thread, which lives long enough, has its children itself, and
 * any other, too, if /proc tells it from ours; those workers may outlive us. Landlock
 * alone is not told there: mostly it comes with NoNewPrivs, which is. */
#define _GNU_SOURCE
#include "extension.h"
#include "spawn.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIKENESS 4096

/* What a child has from its parent, as /proc has it; nothing if it could not be read. */
struct likeness {
    size_t size;
    char text[LIKENESS];
};

struct order {
    void (*body)(void *);
    void *data;
    const struct likeness *asker; /* it is not done for one that is another */
    bool refused;
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

/* The lines of proc_pid_status(5) that count. */
static bool counts(const char *line)
{
    static const char *const names[] = {"Uid:", "Gid:",        "Groups:",
                                        "Cap",  "NoNewPrivs:", "Seccomp"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(line, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static void look_at_namespaces(struct likeness *likeness)
{
    static const char *const names[] = {"net",  "mnt",    "ipc",              "uts",
                                        "user", "cgroup", "pid_for_children", "time_for_children"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64];
        ssize_t size;

        snprintf(path, sizeof path, "/proc/thread-self/ns/%s", names[i]);
        size = readlink(path, likeness->text + likeness->size, 64);
        likeness->size += size > 0 ? (size_t)size : 0; /* this kernel may not have it */
    }
}

static void look_at(struct likeness *likeness)
{
    char status[LIKENESS];
    int file = open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? -1 : read(file, status, sizeof status - 1);

    likeness->size = 0;
    if (file >= 0)
        close(file);
    if (size <= 0)
        return;
    status[size] = 0;
    look_at_namespaces(likeness);
    for (char *line = status, *end; *line; line = end) {
        size_t length = strcspn(line, "\n");

        end = line + length + (line[length] == '\n');
        if (!counts(line))
            continue;
        if (length > sizeof likeness->text - likeness->size || end == line + length) {
            likeness->size = 0; /* a user of very many groups */
            return;
        }
        memcpy(likeness->text + likeness->size, line, length);
        likeness->size += length;
    }
}

static bool is_like(const struct likeness *other)
{
    static struct likeness mine; /* this thread's, which mostly stays */

    for (int i = 0; i < 2; i++) {
        if (other->size && mine.size == other->size &&
            memcmp(mine.text, other->text, mine.size) == 0)
            return true;
        look_at(&mine);
    }
    return false;
}

static void *live(void *unused)
{
    uint32_t seen = 0;

    for (;; seen++) {
        struct order *mine;

        while (atomic_load(&orders) == seen)
            wait_while(&orders, seen);
        mine = atomic_load(&order);
        mine->refused = !is_like(mine->asker);
        if (!mine->refused)
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
    struct likeness asker;
    struct order mine = {.body = body, .data = data, .asker = &asker};
    int failure;

    look_at(&asker);
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
    return mine.refused ? NURSERY_STRANGER : failure;
}
