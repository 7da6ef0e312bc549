/* Function: a C function as a Python callable.
 *
 * In this process the frame is on our stack and the call is a jump; in a worker
 * the frame is in the lane and the call is a request. All else is the same code. */
#include "extension.h"

#include <errno.h>
#include <structmember.h>

PyTypeObject *function_type;

/* ---- the two ways to call ---- */

static void call_here(Function *function, struct ferry_frame *frame)
{
    PyThreadState *thread = function->keep_gil ? NULL : PyEval_SaveThread();
    struct lane_record *record;
    int error_number;

    errno = 0;
    ferry_call((uintptr_t)function->address, frame);
    error_number = errno;
    if (thread)
        PyEval_RestoreThread(thread);
    record = session_record(function->session);
    record->error_number = error_number;
}

/* False with an exception: the call did not return. */
static bool call_there(Function *function, struct lane_record *record, struct ferry_frame *frame)
{
    Session *session = function->session;
    PyThreadState *thread = PyEval_SaveThread();
    struct pending pending = post(session, record, function->address);
    enum outcome outcome = await_reply(session, &pending);

    PyEval_RestoreThread(thread);
    while (outcome == INTERRUPTED && PyErr_CheckSignals() == 0) {
        thread = PyEval_SaveThread();
        outcome = await_reply(session, &pending);
        PyEval_RestoreThread(thread);
    }
    if (outcome == REPLIED) {
        record->error_number = frame->error_number;
        record->last_error = frame->last_error;
        return true;
    }
    if (outcome != DIED)
        watch_kill(session->watch);
    if (!PyErr_Occurred())
        raise_by(HOOK_ENDED, "(OOs)", (PyObject *)session, (PyObject *)function,
                 outcome == DIED ? "died" : outcome == EXPIRED ? "expired" : "violated");
    return false;
}

static PyObject *function_call(PyObject *self, PyObject *const *values, size_t flags,
                               PyObject *names)
{
    Function *function = (Function *)self;
    Session *session = function->session;
    Py_ssize_t given = PyVectorcall_NARGS(flags);
    struct loan loans[function->pointers + 1];
    struct ferry_frame here, *frame = &here;
    struct lane_record *record = NULL;
    PyObject *result = NULL;
    uint32_t lent = 0;
    bool called = false;

    if (given != Py_SIZE(function) || names) {
        raise_by(HOOK_COUNT_OF, "(OnO)", self, given, names ? names : Py_None);
        return NULL;
    }
    if (!session_usable(session)) {
        session_raise(session, self);
        return NULL;
    }
    if (session->channel) {
        record = session_lane(session);
        if (!record)
            return NULL;
        frame = channel_lane(session->channel, (uint32_t)(record - session->lanes))->frames;
    }
    frame->vector_count = function->vector_count;
    frame->stack_bytes = function->stack_bytes;
    for (Py_ssize_t i = 0; i < given; i++)
        if (!pack(function, i, values[i], frame, loans, &lent))
            goto done;

    /* A value's own __index__ may have closed the session meanwhile. */
    if (!session_usable(session)) {
        session_raise(session, self);
        goto done;
    }
    if (record) {
        called = call_there(function, record, frame);
    } else {
        call_here(function, frame);
        called = true;
    }
done:
    if (lent)
        settle(session, loans, lent, called);
    if (called)
        result = unpack(function, frame);
    if (record)
        session_release(session, record);
    return result;
}

/* ---- making and unmaking ---- */

/* One argument: (kind, size, width, offset, character, readonly, text, element,
 * element_size, type), as libferry.runtime.binding lays it out. */
static bool parse_argument(struct argument *argument, PyObject *fields)
{
    unsigned char kind, size, width, element_size;
    int character, readonly, text;
    const char *element;
    unsigned short offset;
    PyObject *type;

    if (!PyTuple_Check(fields) ||
        !PyArg_ParseTuple(fields, "bbbHpppsbU", &kind, &size, &width, &offset, &character,
                          &readonly, &text, &element, &element_size, &type))
        return false;
    /* A wrong plan would write beside the frame: refuse it here, once. */
    if (kind == KIND_VOID || kind >= KIND_STRING || kind == KIND_X87 || size == 0 || size > 8 ||
        width < size || width > 8 || offset + width > FRAME_SIZE ||
        (text && element_size != 1 && element_size != 2 && element_size != 4)) {
        PyErr_SetString(PyExc_ValueError, "malformed argument of a call plan");
        return false;
    }
    *argument = (struct argument){
        .kind = kind,
        .size = size,
        .width = width,
        .character = character,
        .readonly = readonly,
        .text = text,
        .element = element[0],
        .element_size = element_size,
        .offset = offset,
        .type = Py_NewRef(type),
    };
    return true;
}

static PyObject *function_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"session",     "address",   "name",   "signature",
                            "arguments",   "result",    "hook",   "encoding",
                            "vector_count", "stack_bytes", "keep_gil", NULL};
    PyObject *name, *signature, *arguments, *hook, *encoding;
    unsigned char result_kind, result_size;
    unsigned short result_offset;
    unsigned int vector_count, stack_bytes;
    unsigned long long address;
    Function *function;
    Session *session;
    int keep_gil;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!KUOO!(bbH)OOIIp", names, session_type,
                                     &session, &address, &name, &signature, &PyTuple_Type,
                                     &arguments, &result_kind, &result_size, &result_offset, &hook,
                                     &encoding, &vector_count, &stack_bytes, &keep_gil))
        return NULL;
    if (result_kind >= KIND_COUNT || result_size > 8 || result_offset + 16 > FRAME_SIZE ||
        stack_bytes > FRAME_SIZE - FRAME_STACK || stack_bytes % 16 != 0) {
        PyErr_SetString(PyExc_ValueError, "malformed call plan");
        return NULL;
    }
    function = (Function *)type->tp_alloc(type, PyTuple_GET_SIZE(arguments));
    if (!function)
        return NULL;
    function->vectorcall = function_call;
    function->session = (Session *)Py_NewRef((PyObject *)session);
    function->address = address;
    function->name = Py_NewRef(name);
    function->signature = Py_NewRef(signature);
    function->hook = Py_NewRef(hook);
    function->encoding = Py_NewRef(encoding);
    function->keep_gil = keep_gil;
    function->result_kind = result_kind;
    function->result_size = result_size;
    function->result_offset = result_offset;
    function->vector_count = vector_count;
    function->stack_bytes = stack_bytes;
    for (Py_ssize_t i = 0; i < Py_SIZE(function); i++) {
        if (!parse_argument(&function->arguments[i], PyTuple_GET_ITEM(arguments, i))) {
            Py_DECREF(function);
            return NULL;
        }
        function->pointers += function->arguments[i].kind == KIND_POINTER;
    }
    return (PyObject *)function;
}

static int function_traverse(Function *function, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(function));
    Py_VISIT(function->hook);
    Py_VISIT(function->signature);
    return 0;
}

static int function_clear(Function *function)
{
    Py_CLEAR(function->hook);
    Py_CLEAR(function->signature);
    return 0;
}

static void function_dealloc(Function *function)
{
    PyTypeObject *type = Py_TYPE(function);

    PyObject_GC_UnTrack(function);
    function_clear(function);
    Py_XDECREF(function->session);
    Py_XDECREF(function->name);
    Py_XDECREF(function->encoding);
    for (Py_ssize_t i = 0; i < Py_SIZE(function); i++)
        Py_XDECREF(function->arguments[i].type);
    type->tp_free(function);
    Py_DECREF(type);
}

static PyObject *function_repr(Function *function)
{
    return PyUnicode_FromFormat("<libferry.Function %S>", function->signature);
}

static PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Function, vectorcall), READONLY, NULL},
    {"__name__", T_OBJECT_EX, offsetof(Function, name), READONLY, NULL},
    {"signature", T_OBJECT_EX, offsetof(Function, signature), READONLY,
     "The declaration and its call plan."},
    {"session", T_OBJECT_EX, offsetof(Function, session), READONLY, NULL},
    {"address", T_ULONGLONG, offsetof(Function, address), READONLY, "The library's address of it."},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A C function of a library, wherever the library lives."},
    {Py_tp_new, function_new},
    {Py_tp_dealloc, function_dealloc},
    {Py_tp_traverse, function_traverse},
    {Py_tp_clear, function_clear},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_repr, function_repr},
    {Py_tp_members, members},
    {0},
};

PyType_Spec function_spec = {
    .name = "libferry._core.Function",
    .basicsize = sizeof(Function),
    .itemsize = sizeof(struct argument),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = slots,
};
