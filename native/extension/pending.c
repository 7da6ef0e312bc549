/* Pending: a call to a worker that was begun and is not waited for yet.
 *
 * What it was lent stays with it, and its lane, until wait(). A call in this process has
 * no such half: it blocks. */
#define _GNU_SOURCE
#include "extension.h"
#include "placement.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Newer than the headers we build with; include/uapi/linux/futex.h, Linux 5.16. */
#ifndef FUTEX_32
#define FUTEX_32 2
struct futex_waitv {
    uint64_t val, uaddr;
    uint32_t flags, reserved;
};
#endif
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449 /* the same on every CPU */
#endif

PyTypeObject *pending_type;

static PyObject *post_successor(Function *function, PyObject *const *values, Py_ssize_t count)
{
    Function *now = function_now(function);
    PyObject *pending = now ? function_post((PyObject *)now, values, count) : NULL;

    Py_XDECREF(now);
    return pending;
}

PyObject *function_post(PyObject *self, PyObject *const *values, Py_ssize_t count)
{
    Function *function = (Function *)self;
    const Plan *plan = function->plan;
    struct ferry_frame frame;
    struct packing packing;
    Pending *pending;
    bool posted;

    if (!function->session->in_worker) {
        PyErr_SetString(PyExc_ValueError, "a call in this process cannot be left pending");
        return NULL;
    }
    if (!session_usable(function->session))
        return post_successor(function, values, count);
    if (!function_ready(function, count, NULL))
        return NULL;
    pending = (Pending *)pending_type->tp_alloc(pending_type, 0);
    if (!pending)
        return NULL;
    pending->waited = true; /* nothing to wait for yet */
    pending->function = (Function *)Py_NewRef(self);
    pending->loans = PyMem_Calloc(plan->lenders + 1u, sizeof *pending->loans);
    if (!pending->loans) {
        Py_DECREF(pending);
        return PyErr_NoMemory();
    }
    packing = packing_of(function, &frame, pending->loans);
    clear_sent(&frame, plan);
    pending->call.session = function->session;
    posted = pack_all(&packing, function, values) &&
             (pending->call.record = session_lane(function->session, function)) != NULL;
    pending->lent = packing.lent;
    if (!posted) {
        settle(function->session, pending->loans, pending->lent, false);
        Py_DECREF(pending);
        return NULL;
    }
    pending->pending = call_post(function, &pending->call, &frame);
    pending->waited = false;
    return (PyObject *)pending;
}

static PyObject *pending_wait(Pending *pending, PyObject *unused)
{
    Function *function = pending->function;
    struct ferry_frame frame;
    PyObject *result = NULL;
    bool returned;

    (void)unused;
    if (!flag_take(&pending->waited)) {
        PyErr_SetString(PyExc_ValueError, "this call was waited for already");
        return NULL;
    }
    pending->call.outer = current_call;
    returned = call_finish(function, &pending->call, &pending->pending, &frame);
    if (returned)
        result = unpack(function->session, function->plan, &function->plan->result, &frame);
    settle(function->session, pending->loans, pending->lent, returned);
    return result;
}

static PyObject *pending_ready(Pending *pending, PyObject *unused)
{
    uint32_t word = foreign_word(pending->pending.lane, FRAME_REPLY) & ~CHANNEL_PARKED;
    const Session *session = pending->call.session;

    (void)unused;
    return PyBool_FromLong(pending->waited || word != pending->pending.before ||
                           is_overdue(&pending->pending) || !session_usable(session));
}

/* Whether it will be waited for in vain or at once; else its reply word says that
 * somebody sleeps on it. */
static bool park_on(Pending *pending, struct futex_waitv *waiter)
{
    struct foreign lane = pending->pending.lane;
    uint32_t before = pending->pending.before, word = before;

    *waiter = (struct futex_waitv){.val = before | CHANNEL_PARKED,
                                   .uaddr = foreign_number(lane) + FRAME_REPLY,
                                   .flags = FUTEX_32};
    return pending->waited || is_overdue(&pending->pending) ||
           !session_usable(pending->call.session) ||
           (!foreign_change(lane, FRAME_REPLY, &word, before | CHANNEL_PARKED) &&
            word != (before | CHANNEL_PARKED));
}

PyObject *session_wait_any(Session *session, PyObject *args)
{
    struct futex_waitv waiters[CHANNEL_LANES + 1];
    unsigned long rung;
    /* a worker that dies wakes its lanes; the second is against the unforeseen */
    uint64_t until = monotonic_ns() + 1000000000u;
    uint32_t count = 1;
    struct timespec limit;
    PyObject *list;

    if (!PyArg_ParseTuple(args, "O!k", &PyList_Type, &list, &rung))
        return NULL;
    waiters[0] = (struct futex_waitv){.val = (uint32_t)rung,
                                      .uaddr = (uintptr_t)&session->bell,
                                      .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG};
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list) && i < (Py_ssize_t)CHANNEL_LANES; i++) {
        PyObject *one = PyList_GET_ITEM(list, i);
        uint64_t deadline;

        if (!PyObject_TypeCheck(one, pending_type)) {
            PyErr_SetString(PyExc_TypeError, "not a Pending");
            return NULL;
        }
        if (park_on((Pending *)one, &waiters[count++]))
            Py_RETURN_NONE;
        deadline = ((Pending *)one)->pending.deadline;
        if (deadline && deadline < until)
            until = deadline;
    }
    limit.tv_sec = (time_t)(until / 1000000000u);
    limit.tv_nsec = (long)(until % 1000000000u);
    Py_BEGIN_ALLOW_THREADS
    if (syscall(SYS_futex_waitv, waiters, count, 0, &limit, CLOCK_MONOTONIC) < 0 &&
        errno == ENOSYS) {
        const struct timespec look_up = {.tv_nsec = 1000000};

        syscall(SYS_futex, &session->bell, FUTEX_WAIT_PRIVATE, (uint32_t)rung, &look_up, NULL, 0);
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

PyObject *session_ring(Session *session, PyObject *unused)
{
    (void)unused;
    atomic_fetch_add(&session->bell, 1);
    futex_wake_private(&session->bell, 1);
    Py_RETURN_NONE;
}

static void pending_dealloc(Pending *pending)
{
    PyTypeObject *type = Py_TYPE(pending);

    /* Nobody waited: the worker may still write to what it was lent, and to its lane.
     * They stay taken until the session ends. */
    if (pending->waited)
        PyMem_Free(pending->loans);
    Py_XDECREF(pending->function);
    type->tp_free(pending);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"wait", (PyCFunction)pending_wait, METH_NOARGS, "Wait for the call; its result."},
    {"ready", (PyCFunction)pending_ready, METH_NOARGS, "Whether wait() has something to do."},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A call to a worker that was begun and is not waited for yet."},
    {Py_tp_dealloc, pending_dealloc},
    {Py_tp_methods, methods},
    {0},
};

PyType_Spec pending_spec = {
    .name = "libferry._core.Pending",
    .basicsize = sizeof(Pending),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};
