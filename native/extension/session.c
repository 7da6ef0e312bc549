/* Session: one opened library, in this process or across a channel.
 *
 * Python makes it, starts the worker with its descriptor, attaches the process,
 * and from then on functions use it. It owns the mapping, the arena, the lanes. */
#define _GNU_SOURCE
#include "extension.h"
#include "memfd.h"
#include "placement.h"
#include "supervise.h"
#include "worker/worker.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <structmember.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

PyTypeObject *session_type;
unsigned process_generation;

/* ---- errno ---- */

/* The thread's own, and not a lane's: lanes go from thread to thread. A thread that
 * uses more libraries than this in turn loses the errno of the oldest. */
#define ERRORS_KEPT 16u

static _Thread_local struct {
    struct {
        uint64_t session; /* its serial; 0: none */
        int32_t error_number;
        uint32_t last_error;
    } of[ERRORS_KEPT];
    uint32_t recent;
} errors __attribute__((tls_model("initial-exec")));

static bool find_errors(const Session *session)
{
    for (uint32_t i = 0; i < ERRORS_KEPT; i++) {
        uint32_t at = (errors.recent - i) % ERRORS_KEPT;

        if (errors.of[at].session == session->serial) {
            errors.recent = at;
            return true;
        }
    }
    return false;
}

void session_keep_errors(const Session *session, int32_t error_number, uint32_t last_error)
{
    if (errors.of[errors.recent].session != session->serial && !find_errors(session))
        errors.recent = (errors.recent + 1) % ERRORS_KEPT;
    errors.of[errors.recent].session = session->serial;
    errors.of[errors.recent].error_number = error_number;
    errors.of[errors.recent].last_error = last_error;
}

/* ---- its state ---- */

/* In a word: whether calls can be made, and if not, why. */
static const char *state_of(const Session *session)
{
    return session_usable(session)                                             ? "usable"
           : session->in_worker && session->generation != process_generation ? "forked"
           : peek(&session->closed)                                          ? "closed"
                                                                              : "gone";
}

void session_raise(Session *session, PyObject *function)
{
    raise_by(HOOK_ENDED, "(OOs)", (PyObject *)session, function, state_of(session));
}

/* ---- making and unmaking ---- */

struct mapping *mapping_use(struct mapping *mapping)
{
    atomic_fetch_add(&mapping->uses, 1);
    return mapping;
}

void mapping_leave(struct mapping *mapping)
{
    if (atomic_fetch_sub(&mapping->uses, 1) == 1) {
        munmap(foreign_address(mapping->memory), mapping->size);
        free(mapping);
    }
}

static bool map_channel(Session *session, uint64_t arena)
{
    struct ferry_header header = {.magic = CHANNEL_MAGIC,
                                  .version = CHANNEL_VERSION,
                                  .spin_ns = session->spin_ns};
    void *address;
    /* sealed: a worker that could shrink it could make us fault */
    int memory = memfd_sealable("libferry-channel");

    if (memory < 0)
        return false;
    session->memory = memory;
    session->size = CHANNEL_ARENA_OFFSET + arena;
    if (ftruncate(memory, (off_t)session->size) != 0 ||
        fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return false;
    session->mapping = malloc(sizeof *session->mapping);
    if (!session->mapping)
        return false;
    *session->mapping = (struct mapping){.uses = 1, .size = session->size};
    address = mmap(NULL, session->size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (address == MAP_FAILED) {
        free(session->mapping);
        session->mapping = NULL;
        return false;
    }
    session->channel = session->mapping->memory = foreign_from(address);
    session->in_worker = true;
    header.size = session->size;
    foreign_write(session->channel, &header, offsetof(struct ferry_header, base));
    return arena_init(&session->arena, CHANNEL_ARENA_OFFSET, arena);
}

static PyObject *session_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"arena", "spin_ns", "timeout_ns", "doorbell", "one_thread",
                            "error_location", "key_block", NULL};
    unsigned long long arena = 0, timeout_ns = 0, error_location = 0;
    unsigned int spin_ns = 0, key_block = 0;
    int doorbell = 0, one_thread = 0;
    static _Atomic uint64_t serial;
    Session *session;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$KIKppKI", names, &arena, &spin_ns,
                                     &timeout_ns, &doorbell, &one_thread, &error_location,
                                     &key_block))
        return NULL;
    if (arena > (unsigned long long)INT64_MAX / 2) { /* also every negative number */
        PyErr_SetString(PyExc_ValueError, "no arena is that large");
        return NULL;
    }
    if (timeout_ns > (unsigned long long)INT64_MAX / 2)
        timeout_ns = (unsigned long long)INT64_MAX / 2;
    session = (Session *)type->tp_alloc(type, 0);
    if (!session)
        return NULL;
    session->serial = session->family = atomic_fetch_add(&serial, 1) + 1;
    session->memory = -1;
    session->generation = process_generation;
    session->spin_ns = spin_ns;
    session->timeout_ns = timeout_ns;
    session->doorbell = doorbell;
    *(void **)&session->error_location = (void *)(uintptr_t)error_location;
    session->key_block = key_block;
    session->lane_limit = one_thread ? 1 : CHANNEL_LANES;
    for (uint32_t i = CHANNEL_LANES; i < CHANNEL_LANES + CHANNEL_GUESTS; i++)
        session->lanes[i].started = true; /* no thread of the worker's is to serve it */
    if (arena && !map_channel(session, arena)) {
        PyErr_SetFromErrno(PyExc_OSError);
        Py_DECREF(session);
        return NULL;
    }
    return (PyObject *)session;
}

static int session_traverse(Session *session, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(session));
    Py_VISIT(session->services);
    return callback_visit(session, visit, arg);
}

static int session_clear(Session *session)
{
    Py_CLEAR(session->services);
    callback_forget(session);
    return 0;
}

static void session_dealloc(Session *session)
{
    PyTypeObject *type = Py_TYPE(session);

    PyObject_GC_UnTrack(session);
    if (session->weakrefs) /* whoever has one lets the worker quit by its socket, and reaps it */
        PyObject_ClearWeakRefs((PyObject *)session);
    session_clear(session);
    if (session->watch)
        watch_end(session->watch);
    if (session->supervision)
        supervise_end(session->supervision);
    if (session->mapping)
        mapping_leave(session->mapping);
    if (session->memory >= 0)
        close(session->memory);
    arena_clear(&session->arena);
    type->tp_free(session);
    Py_DECREF(type);
}

/* ---- what Python does with it ---- */

/* Takes over the socket, and in any case the listener. */
static bool watch_and_supervise(Session *session, int pid, int socket, int listener,
                                const Py_buffer *policy)
{
    if (!session->in_worker || session->watch || peek(&session->closed)) {
        PyErr_SetString(PyExc_ValueError, "nothing can be attached to this session");
    } else {
        session->watch = watch_begin(pid, socket, session->channel);
        if (session->watch)
            return session_supervise(session, pid, listener, policy);
        PyErr_SetFromErrno(PyExc_OSError);
    }
    if (listener >= 0)
        close(listener);
    return false;
}

static PyObject *session_attach(Session *session, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"", "", "", "listener", "policy", NULL};
    struct lane_record *record = &session->lanes[0];
    enum outcome outcome;
    struct pending pending;
    static const struct ferry_frame nothing;
    unsigned long long timeout_ns;
    int pid, socket, listener = -1;
    Py_buffer policy = {0};
    bool begun;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iiK|$iy*", names, &pid, &socket, &timeout_ns,
                                     &listener, &policy))
        return NULL;
    begun = watch_and_supervise(session, pid, socket, listener, &policy);
    PyBuffer_Release(&policy);
    if (!begun)
        return NULL;
    record->started = true; /* the main thread */
    poke(&record->busy, true);
    pending = post_call(session, record, 0, &nothing, 0, 0, timeout_ns);
    pending.spin = false;
    do {
        Py_BEGIN_ALLOW_THREADS
        outcome = await_reply(session, &pending);
        Py_END_ALLOW_THREADS
    } while (outcome == INTERRUPTED && PyErr_CheckSignals() == 0);
    session_release(session, record);
    close(session->memory); /* not before: a worker may open it by its path here */
    session->memory = -1;
    if (outcome != REPLIED) {
        watch_kill(session->watch);
        if (!PyErr_Occurred())
            raise_by(HOOK_ENDED, "(OOs)", (PyObject *)session, Py_None,
                     outcome == EXPIRED ? "expired" : "died");
        return NULL;
    }
    foreign_read(&session->base,
                 foreign_at(session->channel, offsetof(struct ferry_header, base)), 8);
    /* A mapping begins with a page: nothing else is one, and alignment is counted from it. */
    if (session->base % 4096 != 0 || session->base > UINT64_MAX - session->size) {
        session->base = 0;
        watch_kill(session->watch);
        raise_by(HOOK_ENDED, "(OOs)", (PyObject *)session, Py_None, "violated");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *session_services(Session *session, PyObject *unused)
{
    PyObject *addresses = PyTuple_New(SERVICE_COUNT);
    uint64_t services[SERVICE_COUNT];

    (void)unused;
    if (session->in_worker)
        foreign_read(services, foreign_at(session->channel, offsetof(struct ferry_header, services)),
                     sizeof services);
    for (int i = 0; addresses && i < SERVICE_COUNT; i++) {
        uint64_t address =
            session->in_worker ? services[i] : service_address((enum ferry_service)i);
        PyObject *number = PyLong_FromUnsignedLongLong(address);

        if (!number)
            Py_CLEAR(addresses);
        else
            PyTuple_SET_ITEM(addresses, i, number);
    }
    return addresses;
}

/* How many use the library now, in this process. Once it is closed this falls only. */
static uint32_t running(const Session *session)
{
    uint32_t total = 0; /* one count may be below zero: who ends a use may be another thread */

    for (uint32_t i = 0; i < RUNNING_COUNTS; i++)
        total += atomic_load(&session->running[i].count);
    return total;
}

static PyObject *session_close(Session *session, PyObject *args)
{
    unsigned long long handle = 0;
    bool first;

    if (!PyArg_ParseTuple(args, "|K", &handle))
        return NULL;
    /* From here on no call begins; code that another thread is running, or may be, is
     * not unmapped under its feet. */
    first = !atomic_exchange(&session->closed, true);
    if (first && handle && !session->in_worker && !running(session) && !session->visited) {
        Py_BEGIN_ALLOW_THREADS
        dlclose((void *)(uintptr_t)handle);
        Py_END_ALLOW_THREADS
    }
    session_wake_waiting(session, INT_MAX);
    if (session->watch && session->generation == process_generation)
        shutdown(session->watch->socket, SHUT_WR); /* the worker quits in good order */
    Py_RETURN_NONE;
}

/* How the worker ended: {} while it lives. */
static PyObject *session_death(Session *session, PyObject *unused)
{
    (void)unused;
    if (!session->watch || !atomic_load(&session->watch->dead))
        return PyDict_New();
    return Py_BuildValue("{sisisN}", "exit_code", atomic_load(&session->watch->exit_code),
                         "signal", atomic_load(&session->watch->exit_signal), "violation",
                         session_violation(session));
}

static PyObject *copied(struct foreign from, uint32_t size)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);

    if (bytes)
        foreign_read(PyBytes_AS_STRING(bytes), from, size);
    return bytes;
}

/* What it left behind for that: (struct ferry_fault and the head of the fault area, stack,
 * maps), each copied once and not looked at, but for the two sizes. None: it lives, or was
 * ended without writing anything. */
static PyObject *session_fault(Session *session, PyObject *unused)
{
    enum { RECORD = sizeof(struct ferry_fault), HEAD = offsetof(struct ferry_fault_area, stack) };
    struct foreign fault, area;
    char copy[RECORD + HEAD];
    uint32_t stack, maps;

    (void)unused;
    if (!session->watch || !atomic_load(&session->watch->dead))
        Py_RETURN_NONE;
    fault = foreign_at(session->channel, offsetof(struct ferry_header, fault));
    area = foreign_at(session->channel, CHANNEL_FAULT_OFFSET);
    if (!foreign_word(fault, offsetof(struct ferry_fault, happened)))
        Py_RETURN_NONE;
    foreign_read(copy, fault, RECORD);
    foreign_read(copy + RECORD, area, HEAD);
    memcpy(&stack, copy + RECORD + offsetof(struct ferry_fault_area, stack_size), sizeof stack);
    memcpy(&maps, copy + RECORD + offsetof(struct ferry_fault_area, maps_size), sizeof maps);
    return Py_BuildValue(
        "y#NN", copy, (Py_ssize_t)sizeof copy,
        copied(foreign_at(area, offsetof(struct ferry_fault_area, stack)),
               stack < FAULT_STACK ? stack : FAULT_STACK),
        copied(foreign_at(area, offsetof(struct ferry_fault_area, maps)),
               maps < FAULT_MAPS ? maps : FAULT_MAPS));
}

static PyObject *session_get_errno(Session *session, void *unused)
{
    (void)unused;
    return PyLong_FromLong(find_errors(session) ? errors.of[errors.recent].error_number : 0);
}

static PyObject *session_get_last_error(Session *session, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(find_errors(session) ? errors.of[errors.recent].last_error : 0);
}

static PyObject *session_get_state(Session *session, void *unused)
{
    (void)unused;
    return PyUnicode_InternFromString(state_of(session));
}

static PyObject *session_get_closed(Session *session, void *unused)
{
    (void)unused;
    return PyBool_FromLong(peek(&session->closed));
}

static PyObject *session_get_memory(Session *session, void *unused)
{
    (void)unused;
    return PyLong_FromLong(session->memory);
}

static PyObject *session_get_free(Session *session, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(arena_left(&session->arena));
}

static PyObject *session_get_bell(Session *session, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(atomic_load(&session->bell));
}

static PyObject *session_get_base(Session *session, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(session->base);
}

static PyObject *session_get_channel(Session *session, void *unused)
{
    (void)unused;
    if (!session->in_worker)
        Py_RETURN_NONE;
    return Py_BuildValue("KK", (unsigned long long)foreign_number(session->channel),
                         (unsigned long long)session->size);
}

static PyMethodDef methods[] = {
    {"attach", (PyCFunction)(void (*)(void))session_attach, METH_VARARGS | METH_KEYWORDS,
     "attach(pid, socket, timeout_ns, *, listener=-1, policy=b''): take over the worker, and\n"
     "its socket and listener, and wait until it serves."},
    {"notices", (PyCFunction)session_notices, METH_NOARGS,
     "What learning saw, each thing once: (arch, nr, arguments, path, access, address, phase,\n"
     "count)."},
    {"services", (PyCFunction)session_services, METH_NOARGS,
     "Addresses of the worker's services, in the order of enum ferry_service."},
    {"close", (PyCFunction)session_close, METH_VARARGS,
     "close(handle=0): refuse every call from now on; in this process, let go of the\n"
     "library too."},
    {"wait_any", (PyCFunction)session_wait_any, METH_VARARGS,
     "wait_any(pendings, rung): sleep until one of them is ready, or bell is not rung."},
    {"ring", (PyCFunction)session_ring, METH_NOARGS, "Wake who sleeps in wait_any."},
    {"death", (PyCFunction)session_death, METH_NOARGS, "How the worker ended; {} while it lives."},
    {"fault", (PyCFunction)session_fault, METH_NOARGS, "The record it left of that, or None."},
    {0},
};

static PyGetSetDef properties[] = {
    {"errno", (getter)session_get_errno, NULL, "errno after this thread's last call.", NULL},
    {"last_error", (getter)session_get_last_error, NULL, "GetLastError() after it.", NULL},
    {"closed", (getter)session_get_closed, NULL, "Whether close() was called.", NULL},
    {"state", (getter)session_get_state, NULL,
     "\"usable\", or why not: \"closed\", \"forked\", or \"gone\", which its worker is.", NULL},
    {"memory", (getter)session_get_memory, NULL, "Descriptor of the channel until attached.", NULL},
    {"phase", (getter)session_get_phase, (setter)session_set_phase,
     "What the policy allows now: 0 starting, 1 loading, 2 serving.", NULL},
    {"notices_lost", (getter)session_get_notices_lost, NULL, "How many there was no room for.",
     NULL},
    {"bell", (getter)session_get_bell, NULL, "How often ring() was called.", NULL},
    {"base", (getter)session_get_base, NULL, "The library's address of the channel.", NULL},
    {"channel", (getter)session_get_channel, NULL, "Ours: (address, size), or None.", NULL},
    {"arena_free", (getter)session_get_free, NULL, "Bytes of the arena nobody uses.", NULL},
    {0},
};

static PyMemberDef members[] = {
    {"lanes", T_UINT, offsetof(Session, lane_limit), READONLY, "Calls at once."},
    {"family", T_ULONGLONG, offsetof(Session, family), 0,
     "A number that all sessions of one library share, which it had one after the other."},
    {"services_of", T_OBJECT, offsetof(Session, services), 0, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Session, weakrefs), READONLY, NULL},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "One opened library: in this process, or in a worker across a channel."},
    {Py_tp_new, session_new},
    {Py_tp_dealloc, session_dealloc},
    {Py_tp_traverse, session_traverse},
    {Py_tp_clear, session_clear},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, properties},
    {0},
};

PyType_Spec session_spec = {
    .name = "libferry._core.Session",
    .basicsize = sizeof(Session),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};
