/* Spawn: a worker's process is born, confines itself and executes the worker.
 *
 * There is no launcher program. The child is made by clone(2) with our memory (CLONE_VM), a
 * stack of its own and the namespaces it is to live in; it does what its plan says
 * (confine.c) and executes. That costs no copy of our page tables, and the child's report
 * is a structure that we read. CHILD_CLEARTID tells when it has let go of our memory,
 * because it has executed or is gone.
 *
 * A seccomp filter is in force before execve, so with a listener that execve is the first
 * call that waits for our answer. By then the listener is a descriptor of the child's:
 * it tells the number, and we take it by pidfd_getfd(2).
 *
 * Old kernels: CLONE_PIDFD (5.2) is a bit that earlier ones ignore; pidfd is then -1.
 * Before 4.9 or so a child that is killed does not clear the word, so who waits also
 * looks whether it is still there. */
#define _GNU_SOURCE
#include "extension.h"
#include "placement.h"
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Newer than some headers we build with: include/uapi/linux/seccomp.h (5.0). */
#define GET_NOTIF_SIZES 3

#define STACK_BYTES (64u << 10)
#define GUARD_BYTES (64u << 10) /* the largest page of any CPU we run on */
#define MOST_DESCRIPTORS 1024
#define LOOK_UP_NS 20000000 /* how often we look whether the child is still there */

PyObject *spawn_error;

/* What the parent knows of a birth. */
struct labour {
    struct birth birth;
    void *stack;
    pid_t pid;
    int pidfd, listener;
    bool answered; /* the execve that waited for us goes on */
    int null;      /* /dev/null, or -1 */
};

/* ---- the child's memory ---- */

/* The texts of a tuple of bytes, and NULL. */
static char **texts_of(PyObject *tuple)
{
    Py_ssize_t count = PyTuple_GET_SIZE(tuple);
    char **texts = PyMem_Calloc((size_t)count + 1, sizeof *texts);

    if (!texts)
        PyErr_NoMemory();
    for (Py_ssize_t i = 0; texts && i < count; i++)
        if (PyBytes_AsStringAndSize(PyTuple_GET_ITEM(tuple, i), &texts[i], NULL) != 0) {
            PyMem_Free(texts);
            texts = NULL;
        }
    return texts;
}

static int by_theirs(const void *one, const void *other)
{
    const struct descriptor *left = one, *right = other;

    return (left->theirs > right->theirs) - (left->theirs < right->theirs);
}

static bool number_of(PyObject *value, int *number)
{
    long wide = PyLong_AsLong(value);

    if (wide == -1 && PyErr_Occurred())
        return false;
    if (wide < 0 || wide >= 1 << 20) {
        PyErr_SetString(PyExc_ValueError, "no descriptor has that number");
        return false;
    }
    *number = (int)wide;
    return true;
}

/* The standard streams that are not given are /dev/null. */
static bool take_descriptors(struct labour *labour, PyObject *given)
{
    struct birth *birth = &labour->birth;
    bool has[3] = {false};
    PyObject *key, *value;
    Py_ssize_t at = 0;

    if (PyDict_GET_SIZE(given) > MOST_DESCRIPTORS) {
        PyErr_SetString(PyExc_ValueError, "so many descriptors are not handed over");
        return false;
    }
    birth->descriptors = PyMem_Calloc((size_t)PyDict_GET_SIZE(given) + 3, sizeof *birth->descriptors);
    if (!birth->descriptors)
        return PyErr_NoMemory() != NULL;
    while (PyDict_Next(given, &at, &key, &value)) {
        struct descriptor *one = &birth->descriptors[birth->descriptor_count++];

        if (!number_of(key, &one->theirs) || !number_of(value, &one->ours))
            return false;
        if (one->theirs < 3)
            has[one->theirs] = true;
    }
    for (int i = 0; i < 3; i++) {
        if (has[i])
            continue;
        if (labour->null < 0 && (labour->null = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0) {
            PyErr_SetFromErrnoWithFilename(PyExc_OSError, "/dev/null");
            return false;
        }
        birth->descriptors[birth->descriptor_count++] = (struct descriptor){i, labour->null};
    }
    qsort(birth->descriptors, birth->descriptor_count, sizeof *birth->descriptors, by_theirs);
    return true;
}

static bool make_stack(struct labour *labour)
{
    char *stack = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (stack == MAP_FAILED || mprotect(stack, GUARD_BYTES, PROT_NONE) != 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        if (stack != MAP_FAILED)
            munmap(stack, GUARD_BYTES + STACK_BYTES);
        return false;
    }
    labour->stack = stack;
    return true;
}

/* ---- waiting for it; without the GIL ---- */

static void fail(struct labour *labour, enum birth_stage stage, int reason)
{
    labour->birth.failure = reason;
    labour->birth.stage = stage;
    labour->birth.step = -1;
    labour->birth.path = NULL;
}

static void end_child(const struct labour *labour)
{
    if (labour->pidfd < 0 ||
        syscall(NUMBER_PIDFD_SEND_SIGNAL, labour->pidfd, SIGKILL, NULL, 0) != 0)
        kill(labour->pid, SIGKILL);
}

static bool is_gone(const struct labour *labour)
{
    siginfo_t info = {0};

    /* ECHILD: SIGCHLD is ignored here, or somebody waits for all children */
    return waitid(P_PID, (id_t)labour->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0
               ? errno == ECHILD
               : info.si_pid == labour->pid;
}

/* On the thread that shall be its parent, with all signals blocked. */
static void give_birth(void *data)
{
    struct labour *labour = data;
    unsigned long flags = CLONE_VM | CLONE_CHILD_CLEARTID | CLONE_WITH_PIDFD | SIGCHLD |
                          labour->birth.namespaces;
    /* A handler of ours must not run in the child, on its stack. It unblocks them itself,
     * after it has put all handlers back. */
    long pid = raw_clone(flags, (char *)labour->stack + GUARD_BYTES + STACK_BYTES, &labour->pidfd,
                         &labour->birth.alive, birth_run, &labour->birth);

    if (pid < 0)
        fail(labour, STAGE_CLONE, (int)-pid);
    else if (labour->pid = (pid_t)pid, labour->pidfd < 0)
        labour->pidfd = (int)syscall(NUMBER_PIDFD_OPEN, labour->pid, 0);
}

/* See nursery.c for who shall be its parent. 0, or why nobody can. */
static int find_parent(struct labour *labour)
{
    bool is_main = syscall(SYS_gettid) == getpid();
    int failure = is_main ? NURSERY_STRANGER : nursery_do(give_birth, labour);
    sigset_t all, before;

    if (failure != NURSERY_STRANGER)
        return failure;
    labour->birth.outlives = !is_main;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    give_birth(labour);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return 0;
}

/* The child's filter is in force, and nothing it forbids has happened yet. */
static void take_listener(struct labour *labour, int theirs)
{
    struct seccomp_notif_sizes sizes = {0};

    labour->listener = (int)syscall(NUMBER_PIDFD_GETFD, labour->pidfd, theirs, 0);
    if (labour->listener >= 0 && syscall(SYS_seccomp, GET_NOTIF_SIZES, 0, &sizes) == 0) {
        if (sizes.seccomp_notif <= NOTIFICATION_BYTES &&
            sizes.seccomp_notif_resp <= NOTIFICATION_BYTES)
            return;
        errno = EOVERFLOW;
    }
    fail(labour, STAGE_LISTENER, errno);
    end_child(labour);
}

/* Let its execve go on. */
static void answer(struct labour *labour)
{
    union notification asked = {{0}};
    union notification_answer answered = {{0}};

    if (ioctl(labour->listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) {
        if (errno == EINTR || errno == ENOENT)
            return;
    } else if (asked.call.data.nr != SYS_execve) {
        errno = EPROTO; /* a filter that does not let pass what the child needs */
    } else {
        answered.answer.id = asked.call.id;
        answered.answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
        labour->answered = true;
        if (ioctl(labour->listener, SECCOMP_IOCTL_NOTIF_SEND, &answered) == 0 || errno == ENOENT)
            return;
    }
    fail(labour, STAGE_LISTENER, errno);
    end_child(labour);
}

enum progress { AGAIN, LOOK_UP, OVER };

/* Sleep until there may be something to do. */
static enum progress sleep_a_little(const struct labour *labour, uint32_t alive)
{
    bool listening = labour->birth.listens && !labour->answered;
    /* A filter need not let the child wake us. */
    struct timespec limit = {.tv_nsec = listening ? LOOK_UP_NS / 20 : LOOK_UP_NS};
    struct pollfd call = {.fd = labour->listener, .events = POLLIN};
    long slept;

    if (listening && labour->listener >= 0)
        slept = ppoll(&call, 1, &limit, NULL);
    else
        slept = syscall(SYS_futex, &labour->birth.alive, FUTEX_WAIT, alive, &limit, NULL, 0);
    if (slept == -1 && errno == EINTR)
        return LOOK_UP;
    return is_gone(labour) ? OVER : AGAIN;
}

/* OVER: it has let go of our memory. LOOK_UP: a signal has come. */
static enum progress go_on(struct labour *labour)
{
    struct pollfd call = {.fd = labour->listener, .events = POLLIN};
    uint32_t alive = atomic_load(&labour->birth.alive);
    int theirs = atomic_load(&labour->birth.listener);

    if (!alive)
        return OVER;
    if (theirs >= 0 && labour->listener < 0 && !labour->birth.failure)
        take_listener(labour, theirs);
    else if (labour->listener >= 0 && !labour->answered && poll(&call, 1, 0) == 1)
        answer(labour);
    else
        return sleep_a_little(labour, alive);
    return AGAIN;
}

/* For a fifth of a second, in which Python's signals have to wait. */
static enum progress go_on_for_long(struct labour *labour)
{
    uint64_t end = monotonic_ns() + 10 * LOOK_UP_NS;
    enum progress progress = AGAIN;

    while (progress == AGAIN && monotonic_ns() < end)
        progress = go_on(labour);
    return progress;
}

/* ---- and what becomes of it ---- */

/* After a failure: the child ends by itself, or was killed. */
static void bury(struct labour *labour)
{
    siginfo_t info;

    while (waitid(P_PID, (id_t)labour->pid, &info, WEXITED) != 0 && errno == EINTR)
        ;
    if (labour->listener >= 0)
        close(labour->listener);
    if (labour->pidfd >= 0)
        close(labour->pidfd);
    labour->pidfd = labour->listener = -1;
}

static void raise_failure(const struct birth *birth)
{
    PyObject *step = birth->step < 0 ? Py_NewRef(Py_None) : PyLong_FromLong(birth->step);
    PyObject *error = birth->path ? PyObject_CallFunction(spawn_error, "isy", birth->failure,
                                                          strerror(birth->failure), birth->path)
                                  : PyObject_CallFunction(spawn_error, "is", birth->failure,
                                                          strerror(birth->failure));
    PyObject *kind = PyUnicode_FromString(stage_name(birth->stage));

    if (error && step && kind && PyObject_SetAttrString(error, "step", step) == 0 &&
        PyObject_SetAttrString(error, "kind", kind) == 0)
        PyErr_SetObject(spawn_error, error);
    Py_XDECREF(step);
    Py_XDECREF(error);
    Py_XDECREF(kind);
}

/* A filter that does not hand execve to us has let the listener go. */
static void check_listener(struct labour *labour)
{
    if (labour->birth.listens && !labour->answered && !labour->birth.failure) {
        fail(labour, STAGE_LISTENER, EPROTO);
        end_child(labour);
    }
}

/* The GIL is held on entry and on return. False with an exception, and no child. */
static bool deliver(struct labour *labour)
{
    enum progress progress = AGAIN;
    bool interrupted = false;
    int failure;

    Py_BEGIN_ALLOW_THREADS
    failure = find_parent(labour);
    Py_END_ALLOW_THREADS
    if (failure)
        fail(labour, STAGE_CLONE, failure);
    if (labour->pid <= 0) {
        raise_failure(&labour->birth);
        return false;
    }
    while (progress != OVER) {
        Py_BEGIN_ALLOW_THREADS
        progress = go_on_for_long(labour);
        Py_END_ALLOW_THREADS
        if (!interrupted && PyErr_CheckSignals() != 0) {
            interrupted = true;
            end_child(labour);
        }
    }
    if (!interrupted)
        check_listener(labour);
    if (!interrupted && !labour->birth.failure)
        return true;
    if (!interrupted)
        raise_failure(&labour->birth);
    Py_BEGIN_ALLOW_THREADS
    bury(labour);
    Py_END_ALLOW_THREADS
    return false;
}

static bool prepare(struct labour *labour, PyObject *descriptors)
{
    struct birth *birth = &labour->birth;
    const char *wrong;
    int step;

    if (!birth->arguments[0]) {
        PyErr_SetString(PyExc_ValueError, "argv is empty");
        return false;
    }
    wrong = plan_check(birth, &step);
    if (wrong) {
        PyErr_Format(PyExc_ValueError, "step %d of the plan: %s", step, wrong);
        return false;
    }
    return take_descriptors(labour, descriptors) && make_stack(labour);
}

static void clear(struct labour *labour)
{
    struct birth *birth = &labour->birth;

    if (labour->stack)
        munmap(labour->stack, GUARD_BYTES + STACK_BYTES);
    if (labour->null >= 0)
        close(labour->null);
    PyMem_Free(birth->descriptors);
    PyMem_Free((void *)(uintptr_t)birth->arguments);
    PyMem_Free((void *)(uintptr_t)birth->environment);
}

/* Spawn with a plan that is aligned to 8, which the bytes of a bytes object need not be.
 * False with an exception. */
static bool spawn_planned(struct labour *labour, PyObject *argv, PyObject *environment,
                          PyObject *descriptors, const void *plan, size_t size)
{
    unsigned char *copy = size ? PyMem_Malloc(size) : NULL;
    bool done = false;

    if (size && !copy) {
        PyErr_NoMemory();
        return false;
    }
    if (size)
        memcpy(copy, plan, size);
    *labour = (struct labour){
        .birth = {.alive = 1, .listener = -1, .step = -1, .plan = copy, .plan_size = size,
                  .uid = geteuid(), .gid = getegid()},
        .pidfd = -1, .listener = -1, .null = -1,
    };
    labour->birth.arguments = texts_of(argv);
    if (labour->birth.arguments)
        labour->birth.environment = texts_of(environment);
    done = labour->birth.environment && prepare(labour, descriptors) && deliver(labour);
    clear(labour);
    PyMem_Free(copy);
    return done;
}

static PyObject *spawn(PyObject *module, PyObject *args)
{
    PyObject *argv, *environment, *descriptors, *result = NULL;
    Py_buffer plan = {0};
    struct labour labour;

    (void)module;
    if (!PyArg_ParseTuple(args, "OOO!z*", &argv, &environment, &PyDict_Type, &descriptors, &plan))
        return NULL;
    /* our own: nobody takes an item away while the child reads it */
    argv = PySequence_Tuple(argv);
    environment = argv ? PySequence_Tuple(environment) : NULL;
    descriptors = environment ? PyDict_Copy(descriptors) : NULL;
    if (descriptors && spawn_planned(&labour, argv, environment, descriptors, plan.buf,
                                     (size_t)plan.len))
        result = Py_BuildValue("iii", (int)labour.pid, labour.pidfd, labour.listener);
    Py_XDECREF(argv);
    if (argv)
        Py_XDECREF(environment);
    if (argv && environment)
        Py_XDECREF(descriptors);
    PyBuffer_Release(&plan);
    return result;
}

int spawn_try(const void *plan, size_t size)
{
    /* what cannot be executed; getting there is the answer */
    PyObject *argv = Py_BuildValue("(y)", "/dev/null/none"), *environment = PyTuple_New(0);
    PyObject *descriptors = PyDict_New();
    struct labour labour = {0};
    int done = -1;

    if (argv && environment && descriptors) {
        spawn_planned(&labour, argv, environment, descriptors, plan, size);
        if (PyErr_ExceptionMatches(spawn_error)) {
            PyErr_Clear();
            done = labour.birth.stage == STAGE_EXEC;
        }
    }
    Py_XDECREF(argv);
    Py_XDECREF(environment);
    Py_XDECREF(descriptors);
    return done;
}

PyMethodDef spawn_functions[] = {
    {"spawn", spawn, METH_VARARGS,
     "spawn(argv, environment, descriptors, plan): (pid, pidfd, listener) of a child that has\n"
     "done what the plan says (native/confine.h) and executed argv[0]. descriptors: its\n"
     "number for each of ours; all others are closed, standard streams that are not given\n"
     "are /dev/null. pidfd, listener: -1 if there is none."},
    {"kernel", kernel_known, METH_NOARGS,
     "kernel(): what this kernel lets us confine with, tried once:\n"
     "landlock (ABI, 0: none), user_notification, namespaces."},
    {0},
};
