/* Callback: a Python callable as a C function.
 *
 * The library is given the address of an entry thunk; native/channel.h tells how that
 * brings the call here. In this process the thunk ends in ferry_enter below; from a
 * worker it comes as a handover that await_call (function.c) answers. Either way the
 * arguments are then cells of a frame, and the plan says where, as it does for a call.
 *
 * What the callable raises cannot pass through C. It waits in the call that the callback
 * belongs to and is raised when that returns; C gets the callback's error value. */
#include "entry.h"
#include "extension.h"

#include <errno.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    Session *session;
    Plan *plan;
    PyObject *callable;
    PyObject *type;  /* of the function pointer */
    PyObject *error; /* the value that C gets if the callable raises; None: zero bytes */
    uint32_t number;
    uint64_t address;                   /* of the thunk; 0: not installed */
    struct ferry_callback *description; /* in-process */
    uint64_t start, size;               /* in the arena */
} Callback;

PyTypeObject *callback_type;

struct callback_table {
    Callback *of[CHANNEL_CALLBACKS];
    uint32_t next; /* where to look for a free number */
};

/* Of all sessions in this process: they share its thunks. References are those of each
 * session's own table. */
static struct callback_table here;

/* Of all tables. What is found in one gets its reference before it can be taken out. */
static Guard tables;

/* ---- running one ---- */

/* The exception that is set waits in `call`. The first one counts, but for Ctrl-C and the
 * like: those come before, and the second of them ends the call (function.c). */
static void keep_exception(Callback *callback, struct call *call)
{
    bool stops = !PyErr_ExceptionMatches(PyExc_Exception);
    PyObject *type, *value, *traceback;

    if (!call || (call->exception && !stops)) {
        PyErr_WriteUnraisable(callback->callable);
        return;
    }
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback)
        PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    if (call->exception && !PyErr_GivenExceptionMatches(call->exception, PyExc_Exception))
        call->stopped_twice = true;
    Py_XSETREF(call->exception, value);
}

static void clear_result(const struct slot *slot, struct ferry_frame *frame)
{
    if (slot->kind == KIND_X87)
        memset((char *)frame + slot->offset, 0, 10);
    else if (slot->kind != KIND_BYTES && slot->kind != KIND_VOID)
        store(frame, slot, 0);
    for (uint16_t i = 0; i < slot->move_count; i++)
        memset((char *)frame + slot->moves[i].offset, 0, slot->moves[i].width);
}

static PyObject *call_python(Callback *callback, const struct ferry_frame *frame)
{
    const Plan *plan = callback->plan;
    Py_ssize_t count = Py_SIZE(plan), have = 0;
    PyObject *values[count + 1], *result = NULL;

    while (have < count) {
        values[have] = unpack(callback->session, plan, &plan->arguments[have], frame);
        if (!values[have])
            break;
        have++;
    }
    if (have == count) {
        PyObject *callable;

        guard_begin(&tables);
        callable = Py_NewRef(callback->callable); /* which may be released meanwhile */
        guard_end(&tables);
        result = PyObject_Vectorcall(callable, values, (size_t)count, NULL);
        Py_DECREF(callable);
    }
    while (have > 0)
        Py_DECREF(values[--have]);
    return result;
}

/* Call the callable with the arguments in `frame`, and leave its result there. */
static void run(Callback *callback, struct call *call, struct ferry_frame *frame)
{
    const struct slot *slot = &callback->plan->result;
    struct packing packing = {.owner = (PyObject *)callback,
                              .session = callback->session,
                              .plan = callback->plan,
                              .frame = frame};
    PyObject *result = call_python(callback, frame);
    bool done = result && (slot->kind == KIND_VOID || pack(&packing, slot, -1, result));

    Py_XDECREF(result);
    if (done)
        return;
    keep_exception(callback, call);
    clear_result(slot, frame);
    if (callback->error != Py_None && slot->kind != KIND_VOID &&
        !pack(&packing, slot, -1, callback->error))
        PyErr_WriteUnraisable(callback->callable); /* it was tried when it was declared */
}

/* ---- from a worker ---- */

bool callback_serve(Session *session, struct call *call)
{
    struct foreign shared = session_frame(session, call->record, call->depth + 1);
    const struct slot *slot;
    struct ferry_frame frame;
    Callback *callback = NULL;
    uint64_t number;

    foreign_read(&number, foreign_at(shared, FRAME_FUNCTION), sizeof number);
    guard_begin(&tables);
    if (number < CHANNEL_CALLBACKS && session->callbacks)
        callback = (Callback *)Py_XNewRef((PyObject *)session->callbacks->of[number]);
    guard_end(&tables);
    if (!callback)
        return false;
    slot = &callback->plan->result;
    foreign_read((char *)&frame + FRAME_INTEGER, foreign_at(shared, FRAME_INTEGER),
                 callback->plan->frame_end - FRAME_INTEGER);
    call->calling_back = true;
    run(callback, call, &frame);
    if (PyErr_CheckSignals() != 0) /* the callable may be no Python code, which would look */
        keep_exception(callback, call);
    call->calling_back = false;
    if (slot->kind != KIND_BYTES && slot->kind != KIND_VOID)
        foreign_write(foreign_at(shared, slot->offset), (char *)&frame + slot->offset, slot->width);
    for (uint16_t i = 0; i < slot->move_count; i++)
        foreign_write(foreign_at(shared, slot->moves[i].offset),
                      (char *)&frame + slot->moves[i].offset, slot->moves[i].width);
    Py_DECREF(callback);
    return true;
}

/* ---- in this process ---- */

/* Who holds the GIL, or NULL; asked without it. */
static PyThreadState *current_thread(void)
{
#if PY_VERSION_HEX >= 0x030d0000
    return PyThreadState_GetUnchecked();
#else
    return _PyThreadState_UncheckedGet();
#endif
}

/* A thunk was called that nobody has a callback for any more. */
static void run_nothing(uint32_t number)
{
    PyErr_Format(PyExc_RuntimeError, "C called callback %u after it was released", number);
    PyErr_WriteUnraisable(NULL);
}

/* Whether C was entered by our call, and not since then by somebody else's, who calls us
 * with the GIL where we have let go of it, or without it where we have not. */
static bool entered_by(const struct call *call)
{
    return call && !call->calling_back && !call->record &&
           (call->thread == NULL) == (current_thread() == PyGILState_GetThisThreadState());
}

void ferry_enter(uint32_t number, struct ferry_frame *head)
{
    struct call *call = current_call;
    bool ours = entered_by(call);
    PyGILState_STATE state = PyGILState_UNLOCKED;
    const struct ferry_callback *plan;
    int error_number = errno;
    struct entry_way_back way;
    struct ferry_frame frame;
    Callback *callback;

    if (!ours && !PyGILState_GetThisThreadState())
        guest_thread = true;
    if (!ours)
        state = PyGILState_Ensure();
    else if (call->thread)
        PyEval_RestoreThread(call->thread);

    guard_begin(&tables);
    plan = ferry_callbacks[number];
    callback = plan ? (Callback *)Py_XNewRef((PyObject *)here.of[number]) : NULL;
    guard_end(&tables);
    if (callback) {
        if (!ours)
            callback->session->visited = true;
        way = entry_gather(plan, head, &frame);
        if (ours)
            call->calling_back = true;
        run(callback, ours ? call : NULL, &frame);
        if (ours)
            call->calling_back = false;
        if (current_call != call)
            Py_FatalError("libferry: calls and callbacks of a thread are out of order");
        entry_scatter(&way, &frame, head);
        Py_DECREF(callback);
    } else {
        memset(head, 0, FRAME_STACK);
        run_nothing(number);
    }

    if (!ours)
        PyGILState_Release(state);
    else if (call->thread)
        call->thread = PyEval_SaveThread();
    errno = error_number;
}

/* ---- making and unmaking ---- */

const Session *callback_session(PyObject *callback)
{
    return ((Callback *)callback)->session;
}

PyObject *callback_pointer_type(PyObject *callback)
{
    return ((Callback *)callback)->type;
}

uint64_t callback_address(PyObject *callback)
{
    return ((Callback *)callback)->address;
}

static struct callback_table *table_of(Session *session)
{
    if (!session->callbacks)
        session->callbacks = PyMem_Calloc(1, sizeof *session->callbacks);
    return session->callbacks;
}

/* A number whose thunk nobody uses; CHANNEL_CALLBACKS if there is none. */
static uint32_t free_number(Session *session)
{
    struct callback_table *table = session->in_worker ? session->callbacks : &here;

    for (uint32_t i = 0; i < CHANNEL_CALLBACKS; i++) {
        uint32_t number = (table->next + i) % CHANNEL_CALLBACKS;

        if (!table->of[number]) {
            table->next = number + 1;
            return number;
        }
    }
    return CHANNEL_CALLBACKS;
}

/* Into the tables, under a number of its own. False: there is none left, or no memory. */
static bool put_in(Callback *callback)
{
    Session *session = callback->session;

    guard_begin(&tables);
    if (table_of(session))
        callback->number = free_number(session);
    if (callback->number != CHANNEL_CALLBACKS) {
        session->callbacks->of[callback->number] = (Callback *)Py_NewRef((PyObject *)callback);
        if (!session->in_worker)
            here.of[callback->number] = callback;
    }
    guard_end(&tables);
    return callback->number != CHANNEL_CALLBACKS;
}

/* Out of the tables; the session's reference is the caller's to give up. */
static bool take_out(Callback *callback)
{
    Session *session = callback->session;
    bool found;

    if (!session || callback->number == CHANNEL_CALLBACKS)
        return false;
    guard_begin(&tables);
    found = session->callbacks && session->callbacks->of[callback->number] == callback;
    if (found)
        session->callbacks->of[callback->number] = NULL;
    if (found && !session->in_worker) {
        here.of[callback->number] = NULL;
        ferry_callback(callback->number, NULL);
    }
    guard_end(&tables);
    if (found)
        callback->address = 0;
    return found;
}

static bool place_description(Callback *callback, const char *bytes, Py_ssize_t size)
{
    Session *session = callback->session;

    if (session->in_worker) {
        callback->start = arena_take(&session->arena, (uint64_t)size);
        if (callback->start == ARENA_NONE) {
            raise_by(HOOK_ARENA, "(On)", (PyObject *)session, size);
            return false;
        }
        callback->size = (uint64_t)size;
        foreign_write(foreign_at(session->channel, callback->start), bytes, (size_t)size);
    } else if (!(callback->description = PyMem_Malloc((size_t)size))) {
        PyErr_NoMemory();
        return false;
    } else {
        memcpy(callback->description, bytes, (size_t)size);
    }
    return true;
}

static PyObject *callback_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"session", "plan", "callable", "type", "error", "description", NULL};
    PyObject *callable, *pointer, *error;
    const char *description;
    Callback *callback;
    Session *session;
    Py_ssize_t size;
    Plan *plan;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!O!OUOy#", names, session_type, &session,
                                     plan_type, &plan, &callable, &pointer, &error, &description,
                                     &size))
        return NULL;
    if (size < (Py_ssize_t)sizeof(struct ferry_callback)) {
        PyErr_SetString(PyExc_ValueError, "malformed description of a callback");
        return NULL;
    }
    if (!session_usable(session)) {
        session_raise(session, Py_None);
        return NULL;
    }
    callback = (Callback *)type->tp_alloc(type, 0);
    if (!callback)
        return NULL;
    callback->number = CHANNEL_CALLBACKS;
    callback->start = ARENA_NONE;
    callback->session = (Session *)Py_NewRef((PyObject *)session);
    callback->plan = (Plan *)Py_NewRef((PyObject *)plan);
    callback->callable = Py_NewRef(callable);
    callback->type = Py_NewRef(pointer);
    callback->error = Py_NewRef(error);
    if (!place_description(callback, description, size) || !put_in(callback)) {
        if (!PyErr_Occurred())
            raise_by(HOOK_ENDED, "(OOs)", (PyObject *)session, Py_None, "callbacks");
        Py_DECREF(callback);
        return NULL;
    }
    return (PyObject *)callback;
}

static PyObject *callback_drop(Callback *callback, PyObject *unused)
{
    (void)unused;
    if (take_out(callback)) {
        PyObject *callable;

        guard_begin(&tables);
        callable = callback->callable;
        callback->callable = Py_NewRef(Py_None);
        guard_end(&tables);
        Py_DECREF(callable);
        Py_DECREF(callback);
    }
    Py_RETURN_NONE;
}

int callback_visit(Session *session, visitproc visit, void *arg)
{
    for (uint32_t i = 0; session->callbacks && i < CHANNEL_CALLBACKS; i++)
        Py_VISIT(session->callbacks->of[i]);
    return 0;
}

void callback_forget(Session *session)
{
    struct callback_table *table = session->callbacks;

    for (uint32_t i = 0; table && i < CHANNEL_CALLBACKS; i++) {
        Callback *callback = table->of[i];

        if (callback && take_out(callback))
            Py_DECREF(callback);
    }
    if (table == session->callbacks) {
        session->callbacks = NULL;
        PyMem_Free(table);
    }
}

static int callback_traverse(Callback *callback, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(callback));
    Py_VISIT(callback->session);
    Py_VISIT(callback->plan);
    Py_VISIT(callback->callable);
    Py_VISIT(callback->error);
    return 0;
}

static void callback_dealloc(Callback *callback)
{
    PyTypeObject *type = Py_TYPE(callback);

    PyObject_GC_UnTrack(callback);
    if (callback->size)
        arena_give(&callback->session->arena, callback->start, callback->size);
    else if (callback->start == ARENA_NONE)
        PyMem_Free(callback->description);
    Py_XDECREF(callback->session);
    Py_XDECREF(callback->plan);
    Py_XDECREF(callback->callable);
    Py_XDECREF(callback->type);
    Py_XDECREF(callback->error);
    type->tp_free(callback);
    Py_DECREF(type);
}

static PyObject *callback_get_description(Callback *callback, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(callback->size ? callback->session->base + callback->start
                                                      : (uintptr_t)callback->description);
}

static PyObject *callback_get_signature(Callback *callback, void *unused)
{
    (void)unused;
    return Py_NewRef(callback->plan->signature);
}

static PyMethodDef methods[] = {
    {"drop", (PyCFunction)callback_drop, METH_NOARGS,
     "Forget the callable; the thunk must have been released before."},
    {0},
};

static PyMemberDef members[] = {
    {"address", T_ULONGLONG, offsetof(Callback, address), 0, "Of its thunk, for the library."},
    {"number", T_UINT, offsetof(Callback, number), READONLY, "Of its thunk."},
    {"callable", T_OBJECT_EX, offsetof(Callback, callable), READONLY, "What is called."},
    {"type", T_OBJECT_EX, offsetof(Callback, type), READONLY, "The function pointer's type."},
    {"session", T_OBJECT_EX, offsetof(Callback, session), READONLY, NULL},
    {0},
};

static PyGetSetDef properties[] = {
    {"description", (getter)callback_get_description, NULL,
     "The library's address of its struct ferry_callback.", NULL},
    {"signature", (getter)callback_get_signature, NULL, "What its plan was made of.", NULL},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A Python callable as a C function of a library, wherever the library lives."},
    {Py_tp_new, callback_new},
    {Py_tp_dealloc, callback_dealloc},
    {Py_tp_traverse, callback_traverse},
    {Py_tp_methods, methods},
    {Py_tp_members, members},
    {Py_tp_getset, properties},
    {0},
};

PyType_Spec callback_spec = {
    .name = "libferry._core.Callback",
    .basicsize = sizeof(Callback),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};
