/* The limit: how fast one word can go to another process and come back.
 *
 * No call through shared memory can be faster than this, so it is what the calls
 * of a worker are compared with. It carries no arguments, does no checks and
 * calls nothing. One word is shared: the host makes it odd, the worker makes it
 * even. A single word is the least there is, because then a round trip moves one
 * cache line twice.
 *
 * The file is built twice:
 *
 *   limit            a program, both halves in C
 *       limit worker FD    answers on the mapping FD until its host dies
 *       limit host         starts a worker, then reads commands from its input:
 *           MODE COUNT HOST_CPU WORKER_CPU
 *       MODE is `spin`, `park` (both sides sleep on a futex at once), or `gap`
 *       (`park` with a millisecond of rest before each call). A CPU of -1 means
 *       wherever the scheduler likes. It answers with the nanoseconds one
 *       exchange took: the mean, for `gap` the median.
 *
 *   limit.*.so       with -DLIMIT_MODULE, a Python extension that is the host.
 *       It is the fairer limit for a library called from Python: what the
 *       interpreter needs for calling any C function at all is in it.
 *
 * A worker between two measurements must not take a CPU from the other
 * contenders, so the host parks it (`rest`). Both sides pause while they spin: a
 * bare loop was slower (79 ns against 62 ns a round trip on an AMD EPYC of 2023),
 * for it asks for the cache line more often than the line can travel.
 */

#define _GNU_SOURCE
#ifdef LIMIT_MODULE
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#endif
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAPPING_SIZE 4096

struct shared {
    _Alignas(64) _Atomic uint32_t word; /* odd: asked; even: answered */
    _Alignas(64) _Atomic uint32_t park; /* how both sides wait */
};

/* ---- one exchange ------------------------------------------------------- */

static void wake(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void sleep_while(_Atomic uint32_t *word, uint32_t value)
{
    while (atomic_load_explicit(word, memory_order_acquire) == value)
        syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

static void pause_spinning(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

static void exchange_spinning(struct shared *shared)
{
    uint32_t asked = atomic_load_explicit(&shared->word, memory_order_relaxed) + 1;
    atomic_store_explicit(&shared->word, asked, memory_order_release);
    while (atomic_load_explicit(&shared->word, memory_order_acquire) == asked)
        pause_spinning();
}

static void exchange_parked(struct shared *shared)
{
    uint32_t asked = atomic_load_explicit(&shared->word, memory_order_relaxed) + 1;
    atomic_store_explicit(&shared->word, asked, memory_order_release);
    wake(&shared->word);
    sleep_while(&shared->word, asked);
}

/* From here on both sides wait by spinning, until `rest`. */
static void start_spinning(struct shared *shared)
{
    atomic_store(&shared->park, 0);
    uint32_t asked = atomic_load(&shared->word) + 1;
    atomic_store(&shared->word, asked);
    wake(&shared->word); /* the worker sleeps still, but will not wake us */
    while (atomic_load(&shared->word) == asked)
        pause_spinning();
}

static void rest(struct shared *shared)
{
    atomic_store(&shared->park, 1);
    exchange_parked(shared);
}

static struct shared *map(int fd)
{
    return mmap(NULL, MAPPING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

#ifndef LIMIT_MODULE
/* ---- the worker --------------------------------------------------------- */

static int worker(int fd)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct shared *shared = map(fd);
    if (shared == MAP_FAILED)
        return 1;
    uint32_t answered = 0;
    for (;;) {
        while (atomic_load_explicit(&shared->word, memory_order_acquire) == answered) {
            if (atomic_load_explicit(&shared->park, memory_order_relaxed))
                sleep_while(&shared->word, answered);
            else
                pause_spinning();
        }
        answered += 2;
        atomic_store_explicit(&shared->word, answered, memory_order_release);
        if (atomic_load_explicit(&shared->park, memory_order_relaxed))
            wake(&shared->word);
    }
}

/* ---- the host in C ------------------------------------------------------ */

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double mean(struct shared *shared, void (*exchange)(struct shared *), int count)
{
    double start = now();
    for (int i = 0; i < count; i++)
        exchange(shared);
    return (now() - start) / count;
}

static double median_after_gaps(struct shared *shared, int count)
{
    double *each = calloc(count, sizeof *each);
    if (!each)
        return -1;
    for (int i = 0; i < count; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        each[i] = mean(shared, exchange_parked, 1);
    }
    qsort(each, count, sizeof *each, by_value);
    double median = each[count / 2];
    free(each);
    return median;
}

static void pin(pid_t pid, int cpu, const cpu_set_t *anywhere)
{
    cpu_set_t only;
    CPU_ZERO(&only);
    if (cpu >= 0)
        CPU_SET(cpu, &only);
    sched_setaffinity(pid, sizeof only, cpu >= 0 ? &only : anywhere);
}

static int host(void)
{
    int fd = memfd_create("limit", 0);
    if (fd < 0 || ftruncate(fd, MAPPING_SIZE) < 0)
        return 1;
    struct shared *shared = map(fd);
    if (shared == MAP_FAILED)
        return 1;
    shared->park = 1;

    char number[16];
    snprintf(number, sizeof number, "%d", fd);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "limit", "worker", number, NULL);
        _exit(1);
    }

    cpu_set_t anywhere;
    sched_getaffinity(0, sizeof anywhere, &anywhere);
    char mode[8];
    int count, host_cpu, worker_cpu;
    while (scanf("%7s %d %d %d", mode, &count, &host_cpu, &worker_cpu) == 4) {
        pin(0, host_cpu, &anywhere);
        pin(pid, worker_cpu, &anywhere);
        double result;
        if (!strcmp(mode, "spin")) {
            start_spinning(shared);
            mean(shared, exchange_spinning, count); /* time to get a CPU for each side */
            result = mean(shared, exchange_spinning, count);
            rest(shared);
        } else if (!strcmp(mode, "gap")) {
            result = median_after_gaps(shared, count);
        } else {
            result = mean(shared, exchange_parked, count);
        }
        printf("%.1f\n", result);
        fflush(stdout);
    }
    return 0;
}

int main(int count, char **arguments)
{
    if (count == 3 && !strcmp(arguments[1], "worker"))
        return worker(atoi(arguments[2]));
    if (count == 2 && !strcmp(arguments[1], "host"))
        return host();
    fprintf(stderr, "usage: limit host | limit worker FD\n");
    return 2;
}

#else
/* ---- the host in Python ------------------------------------------------- */

static struct shared *channel; /* the one in use, of those that were attached */

static PyObject *py_attach(PyObject *self, PyObject *fd)
{
    long number = PyLong_AsLong(fd);
    if (number == -1 && PyErr_Occurred())
        return NULL;
    struct shared *mapping = map((int)number);
    if (mapping == MAP_FAILED)
        return PyErr_SetFromErrno(PyExc_OSError);
    mapping->park = 1;
    return PyLong_FromVoidPtr(mapping);
}

static PyObject *py_use(PyObject *self, PyObject *address)
{
    channel = PyLong_AsVoidPtr(address);
    if (!channel)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "no channel");
    Py_RETURN_NONE;
}

#define EXCHANGE(name, how)                                   \
    static PyObject *name(PyObject *self, PyObject *unused)   \
    {                                                         \
        how(channel);                                         \
        Py_RETURN_NONE;                                       \
    }

EXCHANGE(py_spin, exchange_spinning)
EXCHANGE(py_park, exchange_parked)
EXCHANGE(py_start_spinning, start_spinning)
EXCHANGE(py_rest, rest)

static PyObject *py_nothing(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"attach", py_attach, METH_O, "Map this file, give the channel's address."},
    {"use", py_use, METH_O, "Use this channel from now on."},
    {"spin", py_spin, METH_NOARGS, "One exchange, both sides spinning, the GIL kept."},
    {"park", py_park, METH_NOARGS, "One exchange, both sides sleeping, the GIL kept."},
    {"start_spinning", py_start_spinning, METH_NOARGS, "Wake the worker for `spin`."},
    {"rest", py_rest, METH_NOARGS, "Let the worker sleep."},
    {"nothing", (PyCFunction)(void (*)(void))py_nothing, METH_FASTCALL, "Do nothing."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "limit",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit_limit(void) { return PyModule_Create(&module); }
#endif
