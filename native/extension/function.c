/* Function: a C function as a Python callable.
 *
 * In this process the frame is on our stack and the call is a jump; in a worker
 * the frame is in the lane and the call is a request. All else is the same code. */
#define _GNU_SOURCE
#include "extension.h"
#include "placement.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <structmember.h>

PyTypeObject *function_type;

_Thread_local struct call *current_call;

/* ---- the two ways to call ---- */

/* Not KeyboardInterrupt and its like. */
static bool is_error(PyObject *exception)
{
    return PyObject_TypeCheck(exception, (PyTypeObject *)PyExc_Exception);
}

bool raise_from(struct call *call)
{
    PyObject *exception = call->exception;

    if (!exception)
        return false;
    call->exception = NULL;
    if (PyErr_Occurred() && is_error(exception)) {
        /* what ended the call is worse; this was before it */
        PyObject *type, *value, *traceback;

        PyErr_Fetch(&type, &value, &traceback);
        PyErr_NormalizeException(&type, &value, &traceback);
        if (value == exception)
            Py_DECREF(exception);
        else
            PyException_SetContext(value, exception);
        PyErr_Restore(type, value, traceback);
    } else { /* whoever wants to end it all, by Ctrl-C, may have ended the call by it */
        PyErr_Clear();
        PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exception)), exception,
                      PyException_GetTraceback(exception));
    }
    return true;
}

/* The cells that hold the address of another part of the frame; `frame` will be at
 * `place` when the library sees it. */
void write_addresses(const Plan *plan, struct ferry_frame *frame, uint64_t place)
{
    for (uint16_t i = 0; i < plan->address_count; i++) {
        const struct address *address = &plan->addresses[i];
        uint64_t target = place + address->at;

        memcpy((char *)frame + address->cell, &target, address->width);
    }
}

/* Calls and callbacks in this process that nest use up the thread's stack, and sooner than
 * Python's own limit expects: each takes two frames. False: a call more might not fit. */
#define STACK_KEPT (256u * 1024) /* bytes; of a small stack, a quarter */

static bool stack_suffices(void)
{
    static _Thread_local uintptr_t lowest __attribute__((tls_model("initial-exec")));
    char here;

    if (lowest == 0) {
        pthread_attr_t attributes;
        void *start = NULL;
        size_t size = 0;

        lowest = 1;
        if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
            if (pthread_attr_getstack(&attributes, &start, &size) == 0)
                lowest = (uintptr_t)start + (size / 4 < STACK_KEPT ? size / 4 : STACK_KEPT);
            pthread_attr_destroy(&attributes);
        }
    }
    return (uintptr_t)&here > lowest;
}

/* False with an exception, which a callback raised. */
static bool call_here(Function *function, struct ferry_frame *frame)
{
    Session *session = function->session;
    struct call call = {.outer = current_call, .session = session};
    int *error_number; /* this thread's: the address stays */
    int after;

    if (call.outer && !stack_suffices()) {
        raise_by(HOOK_ENDED, "(OOs)", (PyObject *)session, (PyObject *)function, "stack");
        return false;
    }
    write_addresses(function->plan, frame, (uintptr_t)frame);
    if (session->lane_limit == 1 && !session_enter(session))
        return false;
    if (!session_use(session)) {
        if (session->lane_limit == 1)
            session_leave(session);
        return false;
    }
    if (session->error_location) {
        namespace_prepare(session->key_block, (void *)(uintptr_t)session->serial);
        error_number = session->error_location();
    } else {
        error_number = &errno;
    }
    current_call = &call;
    call.thread = function->keep_gil ? NULL : PyEval_SaveThread();
    *error_number = 0;
    ferry_call(frame);
    after = *error_number;
    if (current_call != &call)
        Py_FatalError("a native library left a Python callback by longjmp, and with it the frames "
                      "of the interpreter; isolation='worker' survives that");
    if (call.thread)
        PyEval_RestoreThread(call.thread);
    current_call = call.outer;
    session_unuse(session);
    if (session->lane_limit == 1)
        session_leave(session);
    if (!function->service)
        session_keep_errors(session, after, 0);
    return !raise_from(&call);
}

/* Wait for a reply, or for a callback, with the GIL while it is worth it. */
static enum outcome await(Session *session, struct pending *pending)
{
    enum outcome outcome;

    if (answered_at_once(pending, &outcome))
        return outcome;
    do {
        PyThreadState *thread = PyEval_SaveThread();

        outcome = await_reply(session, pending);
        PyEval_RestoreThread(thread);
    } while (outcome == INTERRUPTED && PyErr_CheckSignals() == 0 &&
             session->generation == process_generation);
    return outcome;
}

/* Serve the callback, and go on waiting. False: it cannot be gone on with. */
static bool call_back(Session *session, struct call *call, struct pending *pending)
{
    uint64_t began = pending->deadline ? monotonic_ns() : 0;

    if (!callback_serve(session, call) || !session_usable(session))
        return false;
    if (call->stopped_twice) { /* it may call back for ever, and somebody wants it to end */
        raise_from(call);
        return false;
    }
    post_return(session, pending, call->depth + 1);
    if (pending->deadline) /* it is the library that has to answer in time */
        pending->deadline += monotonic_ns() - began;
    return true;
}

bool await_call(Session *session, PyObject *function, struct call *call, struct pending *pending)
{
    enum outcome outcome = await(session, pending);

    while (outcome == CALLED_BACK)
        outcome = is_overdue(pending)                 ? EXPIRED
                  : call_back(session, call, pending) ? await(session, pending)
                  : session_usable(session)           ? VIOLATED
                                                      : DIED;
    if (outcome == REPLIED)
        return true;
    poke(&session->ended, true);
    if (outcome != DIED && session->generation == process_generation) {
        Py_BEGIN_ALLOW_THREADS
        watch_end_process(session->watch);
        Py_END_ALLOW_THREADS
    }
    if (!PyErr_Occurred())
        raise_by(HOOK_ENDED, "(OOs)", (PyObject *)session, function,
                 session->generation != process_generation ? "forked"
                 : outcome == DIED                         ? peek(&session->closed) ? "closed" : "died"
                 : outcome == EXPIRED                      ? "expired"
                                                           : "violated");
    return false;
}

void take_result(const struct slot *slot, struct ferry_frame *frame, struct foreign lane)
{
    if (slot->kind != KIND_BYTES)
        foreign_read((char *)frame + slot->offset, foreign_at(lane, slot->offset), 16);
    for (uint16_t i = 0; i < slot->move_count; i++)
        foreign_read((char *)frame + slot->moves[i].offset, foreign_at(lane, slot->moves[i].offset),
                     slot->moves[i].size);
}

/* The lane for a call: that of the call whose callback this thread is in, one deeper, or
 * a free one. False with an exception. */
static bool take_lane(Function *function, struct call *call)
{
    for (struct call *outer = call->outer; outer; outer = outer->outer) {
        if (outer->session != call->session || !outer->calling_back)
            continue;
        call->record = outer->record;
        call->depth = outer->depth + 2;
        if (call->depth + 1 < CHANNEL_DEPTH)
            return true;
        raise_by(HOOK_ENDED, "(OOs)", (PyObject *)call->session, (PyObject *)function, "nested");
        return false;
    }
    call->record = session_lane(call->session, function);
    return call->record != NULL;
}

struct pending call_post(Function *function, const struct call *call, struct ferry_frame *frame)
{
    Session *session = function->session;
    uint32_t lane = (uint32_t)(call->record - session->lanes);

    write_addresses(function->plan, frame, session->base + frame_offset(lane, call->depth));
    return post_call(session, call->record, call->depth, frame, function->plan->frame_from,
                     function->plan->frame_end, function->timeout_ns);
}

bool call_finish(Function *function, struct call *call, struct pending *pending,
                 struct ferry_frame *frame)
{
    Session *session = function->session;
    struct foreign lane = session_frame(session, call->record, call->depth);
    bool returned;

    current_call = call;
    returned = await_call(session, (PyObject *)function, call, pending);
    current_call = call->outer;
    if (returned) {
        if (!function->service) {
            foreign_read(&frame->error_number, foreign_at(lane, FRAME_ERRNO), 8);
            session_keep_errors(session, frame->error_number, frame->last_error);
        }
        take_result(&function->plan->result, frame, lane);
    }
    if (call->depth == 0)
        session_release(session, call->record);
    return !raise_from(call) && returned;
}

static bool call_there(Function *function, struct ferry_frame *frame, PyObject *const *values)
{
    struct call call = {.outer = current_call, .session = function->session};
    struct pending pending;

    if (!take_lane(function, &call))
        return false;
    pending = call_post(function, &call, frame);
    if (call_finish(function, &call, &pending, frame))
        return true;
    tell_arguments((PyObject *)function, values, Py_SIZE(function->plan));
    return false;
}

static bool count_fits(Function *function, Py_ssize_t given, PyObject *names)
{
    if (given == Py_SIZE(function->plan) && !names)
        return true;
    raise_by(HOOK_COUNT_OF, "(OnO)", (PyObject *)function, given, names ? names : Py_None);
    return false;
}

bool function_ready(Function *function, Py_ssize_t given, PyObject *names)
{
    if (!count_fits(function, given, names))
        return false;
    if (!session_usable(function->session)) {
        session_raise(function->session, (PyObject *)function);
        return false;
    }
    return true;
}

/* ---- after a crash ---- */

/* The successor that is known, as a new reference; NULL (no exception) if there is none,
 * or its worker is gone as well. */
static Function *known_successor(Function *function)
{
    Function *known;

    guard_begin(&function->guard);
    known = (Function *)Py_XNewRef(function->successor);
    guard_end(&function->guard);
    if (known && !session_usable(known->session))
        Py_CLEAR(known);
    return known;
}

Function *function_now(Function *function)
{
    Function *now;
    PyObject *before;

    if (session_usable(function->session))
        return (Function *)Py_NewRef((PyObject *)function);
    now = known_successor(function);
    if (now)
        return now;
    now = (Function *)delegate(DELEGATE_SUCCESSOR, (PyObject *)function, NULL, NULL);
    if (now && !Py_IS_TYPE((PyObject *)now, function_type)) {
        PyErr_SetString(PyExc_TypeError, "the successor of a Function is one");
        Py_CLEAR(now);
    }
    if (!now)
        return NULL;
    guard_begin(&function->guard);
    before = function->successor;
    function->successor = Py_NewRef((PyObject *)now);
    guard_end(&function->guard);
    Py_XDECREF(before);
    return now;
}

static PyObject *call_successor(Function *function, PyObject *const *values, size_t flags,
                                PyObject *names)
{
    Function *now = function_now(function);
    PyObject *result = now ? PyObject_Vectorcall((PyObject *)now, values, flags, names) : NULL;

    Py_XDECREF(now);
    return result;
}

void clear_sent(struct ferry_frame *frame, const Plan *plan)
{
    memset((char *)frame + FRAME_INTEGER, 0, FRAME_HOST_LINE_END - FRAME_INTEGER);
    if (plan->frame_end > plan->frame_from)
        memset((char *)frame + plan->frame_from, 0, (size_t)plan->frame_end - plan->frame_from);
}

bool pack_all(struct packing *packing, Function *function, PyObject *const *values)
{
    const Plan *plan = function->plan;
    struct ferry_frame *frame = packing->frame;

    frame->vector_count = plan->vector_count;
    frame->x87_results = plan->x87_results;
    frame->stack_bytes = plan->stack_bytes;
    frame->function = function->address;
    return pack_arguments(packing, values);
}

struct packing packing_of(Function *function, struct ferry_frame *frame, struct loan *loans)
{
    return (struct packing){.owner = (PyObject *)function,
                            .session = function->session,
                            .plan = function->plan,
                            .frame = frame,
                            .loans = loans};
}

/* Numbers in, anything out, in this process: nothing is lent and no lane is needed. */
static PyObject *call_numbers(PyObject *self, PyObject *const *values, size_t flags,
                              PyObject *names)
{
    Function *function = (Function *)self;
    struct ferry_frame frame;
    struct packing packing = packing_of(function, &frame, NULL);

    if (!function_ready(function, PyVectorcall_NARGS(flags), names) ||
        !pack_all(&packing, function, values) || !call_here(function, &frame))
        return NULL;
    return unpack(function->session, function->plan, &function->plan->result, &frame);
}

static PyObject *call_anything(PyObject *self, PyObject *const *values, size_t flags,
                               PyObject *names)
{
    Function *function = (Function *)self;
    Session *session = function->session;
    struct loan loans[function->plan->lenders + 1];
    struct ferry_frame frame;
    struct packing packing = packing_of(function, &frame, loans);
    PyObject *result = NULL;
    bool called;

    if (!session_usable(session))
        return call_successor(function, values, flags, names);
    if (!count_fits(function, PyVectorcall_NARGS(flags), names))
        return NULL;
    if (session->in_worker)
        clear_sent(&frame, function->plan);
    called = pack_all(&packing, function, values);
    /* The lane comes last: packing may run Python, which may call the library. */
    if (called)
        called = session->in_worker ? call_there(function, &frame, values)
                                  : call_here(function, &frame);
    /* A string result may lie in what was lent: the loans are settled after it is read. */
    if (called)
        result = unpack(session, function->plan, &function->plan->result, &frame);
    if (packing.lent)
        settle(session, loans, packing.lent, called);
    return result;
}

/* ---- making and unmaking ---- */

static PyObject *function_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"session", "address", "name", "plan", "keep_gil", "service",
                            "timeout_ns", NULL};
    unsigned long long address, timeout_ns = ULLONG_MAX;
    int keep_gil, service;
    Function *function;
    Session *session;
    PyObject *name;
    Plan *plan;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!KUO!pp|K", names, session_type, &session,
                                     &address, &name, plan_type, &plan, &keep_gil, &service,
                                     &timeout_ns))
        return NULL;
    function = (Function *)type->tp_alloc(type, 0);
    if (!function)
        return NULL;
    function->session = (Session *)Py_NewRef((PyObject *)session);
    function->plan = (Plan *)Py_NewRef((PyObject *)plan);
    function->address = address;
    function->name = Py_NewRef(name);
    function->keep_gil = keep_gil;
    function->service = service;
    function->timeout_ns = timeout_ns == ULLONG_MAX ? session->timeout_ns : timeout_ns;
    function->vectorcall = session->in_worker || plan->lenders ? call_anything : call_numbers;
    return (PyObject *)function;
}

static int function_traverse(Function *function, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(function));
    Py_VISIT(function->session);
    Py_VISIT(function->plan);
    Py_VISIT(function->successor);
    return 0;
}

/* No tp_clear: as with tuples, a cycle through it has something else that can be cleared. */
static void function_dealloc(Function *function)
{
    PyTypeObject *type = Py_TYPE(function);

    PyObject_GC_UnTrack(function);
    Py_XDECREF(function->session);
    Py_XDECREF(function->plan);
    Py_XDECREF(function->name);
    Py_XDECREF(function->successor);
    type->tp_free(function);
    Py_DECREF(type);
}

Function *function_within(Function *function, uint64_t timeout_ns)
{
    return (Function *)PyObject_CallFunction(
        (PyObject *)function_type, "OKOOOOK", (PyObject *)function->session,
        (unsigned long long)function->address, function->name, (PyObject *)function->plan,
        function->keep_gil ? Py_True : Py_False, function->service ? Py_True : Py_False,
        (unsigned long long)timeout_ns);
}

static PyObject *function_timed(Function *function, PyObject *timeout)
{
    unsigned long long timeout_ns = PyLong_AsUnsignedLongLong(timeout);

    return PyErr_Occurred() ? NULL : (PyObject *)function_within(function, timeout_ns);
}

static PyObject *function_current(Function *function, PyObject *unused)
{
    (void)unused;
    return (PyObject *)function_now(function);
}

static PyObject *function_signature(Function *function, void *unused)
{
    (void)unused;
    return Py_NewRef(function->plan->signature);
}

static PyObject *function_repr(Function *function)
{
    return PyUnicode_FromFormat("<libferry.Function %S>", function->plan->signature);
}

/* fill(frame, place, values): write what map() has the same for every row. */
static PyObject *function_fill(Function *function, PyObject *args)
{
    const Plan *plan = function->plan;
    unsigned long long place;
    struct packing packing;
    struct ferry_frame frame;
    PyObject *values;
    Py_buffer into;

    if (!PyArg_ParseTuple(args, "w*KO!", &into, &place, &PyTuple_Type, &values))
        return NULL;
    memset(&frame, 0, sizeof frame);
    packing = packing_of(function, &frame, NULL);
    frame.vector_count = plan->vector_count;
    frame.x87_results = plan->x87_results;
    frame.stack_bytes = plan->stack_bytes;
    frame.function = function->address;
    write_addresses(plan, &frame, place);
    for (Py_ssize_t i = 0; i < Py_SIZE(plan) && i < PyTuple_GET_SIZE(values); i++) {
        PyObject *value = PyTuple_GET_ITEM(values, i);

        if (value != Py_NotImplemented && !pack(&packing, &plan->arguments[i], i, value)) {
            PyBuffer_Release(&into);
            return NULL;
        }
    }
    memcpy(into.buf, &frame, into.len < FRAME_SIZE ? (size_t)into.len : FRAME_SIZE);
    PyBuffer_Release(&into);
    Py_RETURN_NONE;
}

static PyObject *function_map(PyObject *function, PyObject *args, PyObject *kwargs)
{
    return delegate(DELEGATE_MAP, function, args, kwargs);
}

static PyObject *function_batch(PyObject *function, PyObject *args, PyObject *kwargs)
{
    return delegate(DELEGATE_BATCH, function, args, kwargs);
}

static PyObject *function_within_seconds(PyObject *function, PyObject *args, PyObject *kwargs)
{
    return delegate(DELEGATE_WITHIN, function, args, kwargs);
}

static PyMethodDef methods[] = {
    {"map", (PyCFunction)(void (*)(void))function_map, METH_VARARGS | METH_KEYWORDS,
     "map(*columns, out=None, progress=None): call it for each row of numpy arrays."},
    {"batch", (PyCFunction)(void (*)(void))function_batch, METH_VARARGS | METH_KEYWORDS,
     "batch(rows): call it for each tuple of arguments; the results, in a list."},
    {"within", (PyCFunction)(void (*)(void))function_within_seconds, METH_VARARGS | METH_KEYWORDS,
     "within(seconds): the same function, whose calls may take that long; None is no limit."},
    {"timed", (PyCFunction)function_timed, METH_O, "timed(ns): the same, in nanoseconds."},
    {"current", (PyCFunction)function_current, METH_NOARGS,
     "The function, or the same one in the worker that took the place of one that is gone."},
    {"post", (PyCFunction)(void (*)(void))function_post, METH_FASTCALL,
     "post(*values): begin a call to a worker; wait() of what it gives ends it."},
    {"fill", (PyCFunction)function_fill, METH_VARARGS,
     "fill(frame, place, values): a frame of it; values that are NotImplemented are left."},
    {"call_rows", function_call_rows, METH_O,
     "call_rows(rows): (results, errors) of many calls, which cross together."},
    {0},
};

static PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Function, vectorcall), READONLY, NULL},
    {"__name__", T_OBJECT_EX, offsetof(Function, name), READONLY, NULL},
    {"session", T_OBJECT_EX, offsetof(Function, session), READONLY, NULL},
    {"keep_gil", T_BOOL, offsetof(Function, keep_gil), READONLY, "Whether a call here keeps it."},
    {"timeout_ns", T_ULONGLONG, offsetof(Function, timeout_ns), READONLY, "0: none."},
    {"service", T_BOOL, offsetof(Function, service), READONLY, "Whether it is one of ours."},
    {"address", T_ULONGLONG, offsetof(Function, address), READONLY, "The library's address of it."},
    {0},
};

static PyGetSetDef properties[] = {
    {"signature", (getter)function_signature, NULL, "The declaration and its call plan.", NULL},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A C function of a library, wherever the library lives."},
    {Py_tp_new, function_new},
    {Py_tp_dealloc, function_dealloc},
    {Py_tp_traverse, function_traverse},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_repr, function_repr},
    {Py_tp_members, members},
    {Py_tp_getset, properties},
    {Py_tp_methods, methods},
    {0},
};

PyType_Spec function_spec = {
    .name = "libferry._core.Function",
    .basicsize = sizeof(Function),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = slots,
};
