/* Function: a C function as a Python callable.
 *
 * In this process the frame is on our stack and the call is a jump; in a worker
 * the frame is in the lane and the call is a request. All else is the same code. */
#include "extension.h"

#include <errno.h>
#include <structmember.h>

PyTypeObject *function_type;

/* ---- the two ways to call ---- */

static inline void call_here(Function *function, struct ferry_frame *frame)
{
    int *error_number = &errno; /* this thread's: the address stays */
    PyThreadState *thread;
    int after;

    function->session->running++;
    thread = function->keep_gil ? NULL : PyEval_SaveThread();
    *error_number = 0;
    ferry_call(frame);
    after = *error_number;
    if (thread)
        PyEval_RestoreThread(thread);
    function->session->running--;
    if (!function->service)
        session_keep_errors(function->session, after, 0);
}

/* False with an exception: the call did not return. The results are then in `frame`:
 * copied once, so that what is checked is what is used. */
static bool call_there(Function *function, struct lane_record *record, struct ferry_frame *frame)
{
    Session *session = function->session;
    struct pending pending = post(session, record, frame, function->frame_end);
    enum outcome outcome = REPLIED;

    if (!answered_at_once(&pending)) {
        do {
            PyThreadState *thread = PyEval_SaveThread();

            outcome = await_reply(session, &pending);
            PyEval_RestoreThread(thread);
        } while (outcome == INTERRUPTED && PyErr_CheckSignals() == 0 &&
                 session->generation == process_generation);
    }
    if (outcome == REPLIED) {
        if (!function->service)
            session_keep_errors(session, pending.lane->error_number, pending.lane->last_error);
        memcpy((char *)frame + function->result_offset,
               (const char *)pending.lane + function->result_offset, 16);
        return true;
    }
    session->ended = true;
    if (outcome != DIED && session->generation == process_generation) {
        Py_BEGIN_ALLOW_THREADS
        watch_end_process(session->watch);
        Py_END_ALLOW_THREADS
    }
    if (!PyErr_Occurred())
        raise_by(HOOK_ENDED, "(OOs)", (PyObject *)session, (PyObject *)function,
                 session->generation != process_generation ? "forked"
                 : outcome == DIED                         ? session->closed ? "closed" : "died"
                 : outcome == EXPIRED                      ? "expired"
                                                           : "violated");
    return false;
}

static bool begins_well(Function *function, Py_ssize_t given, PyObject *names)
{
    if (given != Py_SIZE(function) || names) {
        raise_by(HOOK_COUNT_OF, "(OnO)", (PyObject *)function, given, names ? names : Py_None);
        return false;
    }
    if (!session_usable(function->session)) {
        session_raise(function->session, (PyObject *)function);
        return false;
    }
    return true;
}

static bool pack_all(Function *function, PyObject *const *values, struct ferry_frame *frame,
                     struct loan *loans, uint32_t *lent)
{
    frame->vector_count = (uint8_t)function->vector_count;
    frame->x87_results = 0;
    frame->stack_bytes = function->stack_bytes;
    frame->function = function->address;
    for (Py_ssize_t i = 0; i < Py_SIZE(function); i++)
        if (!pack(function, i, values[i], frame, loans, lent))
            return false;
    return true;
}

/* Numbers in, anything out, in this process: nothing is lent and no lane is needed. */
static PyObject *call_numbers(PyObject *self, PyObject *const *values, size_t flags,
                              PyObject *names)
{
    Function *function = (Function *)self;
    struct ferry_frame frame;

    if (!begins_well(function, PyVectorcall_NARGS(flags), names) ||
        !pack_all(function, values, &frame, NULL, NULL))
        return NULL;
    call_here(function, &frame);
    return unpack(function, &frame);
}

static PyObject *call_anything(PyObject *self, PyObject *const *values, size_t flags,
                               PyObject *names)
{
    Function *function = (Function *)self;
    Session *session = function->session;
    struct loan loans[function->pointers + 1];
    struct lane_record *record = NULL;
    struct ferry_frame frame;
    PyObject *result = NULL;
    uint32_t lent = 0;
    bool called;

    if (!begins_well(function, PyVectorcall_NARGS(flags), names))
        return NULL;
    if (session->channel)
        /* what is not written below goes across too, and must not be our stack */
        memset((char *)&frame + FRAME_INTEGER, 0, function->frame_end - FRAME_INTEGER);
    called = pack_all(function, values, &frame, loans, &lent);
    /* The lane comes last: packing may run Python, which may call the library. */
    if (called && session->channel)
        called = (record = session_lane(session)) != NULL;
    if (called && record)
        called = call_there(function, record, &frame);
    else if (called)
        call_here(function, &frame);
    /* Reading a string result may take a call of its own, and the string may lie in
     * what was lent: so the lane is free before, and the loans are settled after. */
    if (record)
        session_release(session, record);
    if (called)
        result = unpack(function, &frame);
    if (lent)
        settle(session, loans, lent, called);
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
    if (kind == KIND_VOID || offset < FRAME_INTEGER || kind >= KIND_STRING || kind == KIND_X87 || size == 0 || size > 8 ||
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
                            "vector_count", "stack_bytes", "keep_gil", "service", NULL};
    PyObject *name, *signature, *arguments, *hook, *encoding;
    unsigned char result_kind, result_size;
    unsigned short result_offset, vector_count, stack_bytes;
    unsigned long long address;
    Function *function;
    Session *session;
    int keep_gil, service;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!KUOO!(bbH)OOHHpp", names, session_type,
                                     &session, &address, &name, &signature, &PyTuple_Type,
                                     &arguments, &result_kind, &result_size, &result_offset, &hook,
                                     &encoding, &vector_count, &stack_bytes, &keep_gil, &service))
        return NULL;
    if (result_kind >= KIND_COUNT || result_size > 8 || (result_kind && result_size == 0) || result_offset + 16 > FRAME_SIZE ||
        stack_bytes > FRAME_SIZE - FRAME_STACK_I386 || stack_bytes % 16 != 0) {
        PyErr_SetString(PyExc_ValueError, "malformed call plan");
        return NULL;
    }
    if (PyTuple_GET_SIZE(arguments) > FRAME_SIZE / 4 ||
        (encoding != Py_None && !PyUnicode_Check(encoding))) {
        PyErr_SetString(PyExc_ValueError, "malformed call plan");
        return NULL;
    }
    function = (Function *)type->tp_alloc(type, PyTuple_GET_SIZE(arguments));
    if (!function)
        return NULL;
    function->session = (Session *)Py_NewRef((PyObject *)session);
    function->address = address;
    function->name = Py_NewRef(name);
    function->signature = Py_NewRef(signature);
    function->hook = Py_NewRef(hook);
    function->encoding = Py_NewRef(encoding);
    function->keep_gil = keep_gil;
    function->service = service;
    function->result_kind = result_kind;
    function->result_size = result_size;
    function->result_offset = result_offset;
    function->vector_count = vector_count;
    function->stack_bytes = stack_bytes;
    function->frame_end = FRAME_HOST_LINE_END;
    for (Py_ssize_t i = 0; i < Py_SIZE(function); i++) {
        unsigned end;

        if (!parse_argument(&function->arguments[i], PyTuple_GET_ITEM(arguments, i))) {
            Py_DECREF(function);
            return NULL;
        }
        function->pointers += function->arguments[i].kind == KIND_POINTER;
        end = function->arguments[i].offset + function->arguments[i].width;
        if (function->frame_end < end)
            function->frame_end = (uint16_t)end;
    }
    function->vectorcall =
        session->channel || function->pointers ? call_anything : call_numbers;
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
    {"service", T_BOOL, offsetof(Function, service), READONLY, "Whether it is one of ours."},
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
