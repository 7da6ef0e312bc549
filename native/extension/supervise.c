/* Supervision: answers the system calls that a worker's filter hands to us (USER_NOTIF), by
 * the session's policy (confine.h).
 *
 * Each supervised worker has a thread for that here, without the GIL, that ends when the worker
 * does. One thread for all would be the watcher's way. But to learn a path we read the
 * worker's memory, and a worker can make that take for ever (a page that userfaultfd(2) or a
 * file server never brings): then only its own calls wait, and what ends it (a deadline,
 * Ctrl-C, close) ends the reading. For the same reason a worker that makes many calls takes
 * nothing from another.
 *
 * What a call is comes from the kernel's structure. What is read of the worker's memory
 * belongs to that call only if the call still waits afterwards (ID_VALID): else its thread was
 * killed, and its number may be another's by now. */
#define _GNU_SOURCE
#include "supervise.h"
#include "spawn.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK (256u << 10)

struct prefix {
    uint32_t access, size;
    const char *path;
};

struct supervision {
    _Atomic int users; /* the session and the thread */
    _Atomic uint32_t phase;
    pid_t pid, own, shown; /* the worker: our number, its own, and that of its /proc */
    int listener, process; /* -1 in a fork's child */
    unsigned char *policy;
    const struct confine_row *rows;
    uint32_t row_count, prefix_count[PHASES];
    struct prefix *prefixes; /* those of all phases, in their order */
    pthread_mutex_t lock;    /* for what follows */
    struct violation violation;
    struct notices notices;
    struct supervision *next;
};

static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct supervision *all;

/* ---- the policy ---- */

static bool check_rows(const struct confine_row *rows, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t indices[] = {rows[i].path, rows[i].dirfd, rows[i].path2, rows[i].dirfd2,
                                   rows[i].flags, rows[i].at_flags, rows[i].target};

        if (!rows[i].kind || rows[i].kind >= ROW_END || rows[i].flags_are > FLAGS_PROTECTION)
            return false;
        for (size_t k = 0; k < sizeof indices; k++)
            if (indices[k] >= ARGUMENTS && indices[k] != ROW_NONE)
                return false;
        if (rows[i].address + 1 >= (int)ARGUMENTS && rows[i].address != ROW_NONE)
            return false;
        if ((rows[i].kind == ROW_SELF_SIGNAL && rows[i].target == ROW_NONE) ||
            (rows[i].kind == ROW_LOADING_ONLY && rows[i].flags == ROW_NONE))
            return false;
    }
    return true;
}

static bool take_prefixes(struct supervision *supervision, size_t at, size_t size, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct prefix *prefix = &supervision->prefixes[i];

        if (size - at < 8)
            return false;
        memcpy(prefix, supervision->policy + at, 8);
        at += 8;
        if (!prefix->size || prefix->size > ACT_PATH || ALIGNED(prefix->size) > size - at)
            return false;
        prefix->path = (const char *)supervision->policy + at;
        at += ALIGNED(prefix->size);
        prefix->size--;
        if (prefix->path[0] != '/' || strnlen(prefix->path, prefix->size + 1) != prefix->size)
            return false;
    }
    return at == size;
}

/* Copy a policy and look through it; NULL or what is wrong. */
static const char *take_policy(struct supervision *supervision, const void *policy, size_t size)
{
    struct confine_policy head;
    uint64_t rows, prefixes = 0;

    if (size < sizeof head)
        return "the policy is cut off";
    memcpy(&head, policy, sizeof head);
    rows = (uint64_t)head.row_count * sizeof(struct confine_row);
    for (int i = 0; i < PHASES; i++) {
        supervision->prefix_count[i] = head.prefix_count[i];
        prefixes += head.prefix_count[i];
    }
    if (rows > size - sizeof head || prefixes > size / 8)
        return "the policy is cut off";
    supervision->policy = malloc(size);
    supervision->prefixes = calloc(prefixes + 1, sizeof *supervision->prefixes);
    if (!supervision->policy || !supervision->prefixes)
        return "there is no memory for the policy";
    memcpy(supervision->policy, policy, size);
    supervision->rows = (const void *)(supervision->policy + sizeof head);
    supervision->row_count = head.row_count;
    if (!check_rows(supervision->rows, head.row_count))
        return "a row of the policy is none";
    return take_prefixes(supervision, sizeof head + rows, size, (uint32_t)prefixes)
               ? NULL
               : "a prefix of the policy is none";
}

static const struct confine_row *find_row(const struct supervision *supervision,
                                          const struct act *act)
{
    for (uint32_t i = 0; i < supervision->row_count; i++)
        if (supervision->rows[i].arch == act->arch &&
            (supervision->rows[i].nr == act->nr || supervision->rows[i].nr == ROW_ANY))
            return &supervision->rows[i];
    return NULL;
}

static bool lies_under(const char *path, const struct prefix *prefix)
{
    return prefix->size == 1 || (strncmp(path, prefix->path, prefix->size) == 0 &&
                                 (!path[prefix->size] || path[prefix->size] == '/'));
}

static bool path_allowed(const struct supervision *supervision, const struct act *act,
                         const char *path)
{
    const struct prefix *prefix = supervision->prefixes;
    uint32_t granted = 0;
    bool known = false;

    for (uint32_t i = 0; i < act->phase; i++)
        prefix += supervision->prefix_count[i];
    for (uint32_t i = 0; i < supervision->prefix_count[act->phase]; i++)
        if (lies_under(path, &prefix[i])) {
            known = true;
            granted |= prefix[i].access;
        }
    return known && (act->access & ~granted) == 0;
}

/* ---- a call ---- */

enum verdict { CONTINUE, REFUSE, VIOLATION };

static bool is_itself(const struct supervision *supervision, const struct act *act, int target)
{
    char name[48];

    if (target <= 0)
        return false;
    if (target == supervision->own)
        return true;
    if (supervision->own != supervision->pid)
        return true; /* in a pid namespace, where only its own are */
    snprintf(name, sizeof name, "/proc/%d/task/%d", (int)supervision->pid, target);
    return act->thread > 0 && access(name, F_OK) == 0;
}

/* Whether the address has the port of a row of the call; struct sockaddr_in and _in6 begin
 * alike. */
static bool port_allowed(const struct supervision *supervision, const struct act *act)
{
    struct sockaddr_in address;

    if (act->address_size < sizeof address)
        return false;
    memcpy(&address, act->address, sizeof address);
    if (address.sin_family != AF_INET && address.sin_family != AF_INET6)
        return false;
    for (uint32_t i = 0; i < supervision->row_count; i++) {
        const struct confine_row *row = &supervision->rows[i];

        if (row->kind == ROW_PORT && row->arch == act->arch && row->nr == act->nr &&
            row->port == ntohs(address.sin_port))
            return true;
    }
    return false;
}

/* What a call gets that was read. A path that is not allowed is numbered in *path. */
static enum verdict judge(struct supervision *supervision, const struct act *act,
                          const struct confine_row *row, int *path)
{
    switch ((enum confine_kind)row->kind) {
    case ROW_EXEC_ONCE:
        return act->phase == PHASE_STARTING ? CONTINUE : VIOLATION;
    case ROW_PATH:
        for (uint32_t i = 0; i < act->path_count; i++)
            if (!path_allowed(supervision, act, act->paths[i])) {
                *path = (int)i;
                return VIOLATION;
            }
        return CONTINUE;
    case ROW_LOADING_ONLY:
        return act->phase < PHASE_SERVING || !(act->arguments[row->flags] & PROT_EXEC) ? CONTINUE
                                                                                      : VIOLATION;
    case ROW_SELF_SIGNAL:
        return is_itself(supervision, act, (int32_t)act->arguments[row->target]) ? CONTINUE
                                                                                : VIOLATION;
    case ROW_CONTINUE_AND_LOG:
        pthread_mutex_lock(&supervision->lock);
        notices_add(&supervision->notices, act, row);
        pthread_mutex_unlock(&supervision->lock);
        return CONTINUE;
    case ROW_ALLOW:
        return row->phases >> act->phase & 1 ? CONTINUE : VIOLATION;
    case ROW_PORT:
        return port_allowed(supervision, act) ? CONTINUE : VIOLATION;
    case ROW_END:
        break;
    }
    return VIOLATION;
}

static bool still_waits(const struct supervision *supervision, uint64_t id)
{
    /* before 5.17 the number said that it reads; later kernels know both */
    return ioctl(supervision->listener, _IOW('!', 2, uint64_t), &id) == 0 ||
           (errno == EINVAL && ioctl(supervision->listener, _IOR('!', 2, uint64_t), &id) == 0);
}

static void punish(struct supervision *supervision, const struct act *act, int path)
{
    pthread_mutex_lock(&supervision->lock);
    if (!supervision->violation.happened) {
        supervision->violation.act = *act;
        supervision->violation.path = path;
        supervision->violation.happened = true;
    }
    pthread_mutex_unlock(&supervision->lock);
    syscall(NUMBER_PIDFD_SEND_SIGNAL, supervision->process, SIGKILL, NULL, 0);
}

/* What becomes of a call: 0, it goes on; else the errno it ends with. */
static int consider(struct supervision *supervision, struct act *act, uint64_t id)
{
    const struct confine_row *row = find_row(supervision, act);
    int error = row ? act_read(act, row, supervision->shown) : 0, path = 0;
    enum verdict verdict;

    if (!still_waits(supervision, id))
        return EINTR; /* nobody hears it */
    if (row && row->kind == ROW_CONTINUE_AND_LOG)
        error = 0; /* the kernel will say the same, or more */
    if (error && error != ESRCH)
        return error;
    verdict = row && !error ? judge(supervision, act, row, &path) : VIOLATION;
    if (verdict == CONTINUE)
        return 0;
    punish(supervision, act, (uint32_t)path < act->path_count ? path : -1);
    return EPERM; /* for a child of the worker's, which is not killed with it */
}

static void serve(struct supervision *supervision)
{
    union notification asked = {{0}};
    union notification_answer answer = {{0}};
    struct act act = {0};
    int error;

    if (ioctl(supervision->listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0)
        return; /* ENOENT: it was killed meanwhile */
    act.arch = asked.call.data.arch;
    act.nr = (uint32_t)asked.call.data.nr;
    act.instruction = asked.call.data.instruction_pointer;
    for (uint32_t i = 0; i < ARGUMENTS; i++)
        act.arguments[i] = asked.call.data.args[i];
    act.thread = (pid_t)asked.call.pid;
    act.phase = atomic_load(&supervision->phase);
    error = consider(supervision, &act, asked.call.id);
    answer.answer.id = asked.call.id;
    answer.answer.error = -error;
    answer.answer.flags = error ? 0 : SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    ioctl(supervision->listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

/* ---- its life ---- */

static void leave(struct supervision *supervision)
{
    if (atomic_fetch_sub(&supervision->users, 1) != 1)
        return;
    pthread_mutex_lock(&all_lock);
    for (struct supervision **at = &all; *at; at = &(*at)->next)
        if (*at == supervision) {
            *at = supervision->next;
            break;
        }
    pthread_mutex_unlock(&all_lock);
    if (supervision->listener >= 0)
        close(supervision->listener);
    if (supervision->process >= 0)
        close(supervision->process);
    notices_clear(&supervision->notices);
    pthread_mutex_destroy(&supervision->lock);
    free(supervision->prefixes);
    free(supervision->policy);
    free(supervision);
}

static void *run(void *data)
{
    struct supervision *supervision = data;

    for (;;) {
        struct pollfd of[2] = {{.fd = supervision->listener, .events = POLLIN},
                               {.fd = supervision->process, .events = POLLIN}};

        if ((poll(of, 2, -1) < 0 && errno != EINTR) || of[1].revents)
            break;
        if (of[0].revents & POLLIN)
            serve(supervision);
        else if (of[0].revents)
            break; /* nobody has the filter any more */
    }
    pthread_mutex_lock(&all_lock); /* a call of a child that it left behind ends with ENOSYS */
    close(supervision->listener);
    close(supervision->process);
    supervision->listener = supervision->process = -1;
    pthread_mutex_unlock(&all_lock);
    leave(supervision);
    return NULL;
}

static void before_fork(void)
{
    pthread_mutex_lock(&all_lock);
    for (struct supervision *one = all; one; one = one->next)
        pthread_mutex_lock(&one->lock);
}

static void after_fork_in_parent(void)
{
    for (struct supervision *one = all; one; one = one->next)
        pthread_mutex_unlock(&one->lock);
    pthread_mutex_unlock(&all_lock);
}

/* The thread is not in the child, and never will let go there. The listener must not be, lest
 * the worker's calls wait for ever when the parent is gone. */
static void after_fork_in_child(void)
{
    for (struct supervision *one = all; one; one = one->next) {
        pthread_mutex_init(&one->lock, NULL);
        if (one->listener >= 0)
            close(one->listener);
        if (one->process >= 0)
            close(one->process);
        one->listener = one->process = -1;
    }
    pthread_mutex_init(&all_lock, NULL);
}

static void handle_forks(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* The last of the numbers that proc_pid_status(5) has at NSpid; our own before 4.1. */
static pid_t own_number(pid_t pid)
{
    char name[32], line[256];
    pid_t own = pid;
    FILE *status;

    snprintf(name, sizeof name, "/proc/%d/status", (int)pid);
    status = fopen(name, "re");
    while (status && fgets(line, sizeof line, status))
        if (strncmp(line, "NSpid:", 6) == 0)
            own = (pid_t)atoi(strrchr(line, '\t'));
    if (status)
        fclose(status);
    return own;
}

/* Whether it sees the /proc that we see, where it has our number. */
static bool shares_proc(pid_t pid)
{
    struct stat ours, theirs;
    char name[32];

    snprintf(name, sizeof name, "/proc/%d/root/proc", (int)pid);
    return stat(name, &theirs) != 0 || stat("/proc", &ours) != 0 || theirs.st_dev == ours.st_dev;
}

static bool start_thread(struct supervision *supervision)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_attr_t attributes;
    sigset_t every, before;
    pthread_t thread;

    pthread_once(&once, handle_forks);
    pthread_mutex_lock(&all_lock);
    supervision->next = all;
    all = supervision;
    pthread_mutex_unlock(&all_lock);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    atomic_store(&supervision->users, 2);
    errno = pthread_create(&thread, &attributes, run, supervision);
    if (errno)
        atomic_store(&supervision->users, 1);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return !errno;
}

struct supervision *supervise_begin(pid_t pid, int listener, const void *policy, size_t size,
                                    const char **wrong)
{
    struct supervision *supervision = calloc(1, sizeof *supervision);

    *wrong = NULL;
    if (!supervision) {
        close(listener);
        errno = ENOMEM;
        return NULL;
    }
    pthread_mutex_init(&supervision->lock, NULL);
    atomic_store(&supervision->users, 1);
    supervision->listener = listener;
    supervision->pid = pid;
    supervision->own = own_number(pid);
    supervision->shown = shares_proc(pid) ? pid : supervision->own;
    supervision->process = (int)syscall(NUMBER_PIDFD_OPEN, pid, 0);
    if (supervision->process >= 0 && !(*wrong = take_policy(supervision, policy, size)) &&
        start_thread(supervision))
        return supervision;
    supervise_end(supervision);
    return NULL;
}

void supervise_end(struct supervision *supervision)
{
    int reason = errno;

    leave(supervision);
    errno = reason;
}

void supervise_move_on(struct supervision *supervision, uint32_t phase)
{
    atomic_store(&supervision->phase, phase);
}

uint32_t supervise_phase(const struct supervision *supervision)
{
    return atomic_load(&supervision->phase);
}

const struct violation *supervise_look(struct supervision *supervision,
                                       const struct notices **notices)
{
    pthread_mutex_lock(&supervision->lock);
    *notices = &supervision->notices;
    return supervision->violation.happened ? &supervision->violation : NULL;
}

void supervise_looked(struct supervision *supervision)
{
    pthread_mutex_unlock(&supervision->lock);
}
