/* Function: a C function as a Python callable. Its values are packed into a frame; what
 * becomes of that is in call.c. */
#define _GNU_SOURCE
#include "extension.h"

#include <limits.h>
#include <structmember.h>

PyTypeObject *function_type;

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
