/* Listener: serves the callbacks that threads of the library's own make, on one guest lane
 * (native/channel.h tells of those).
 *
 * Its thread sleeps until the library calls back, for ever perhaps, and must not keep the
 * session alive meanwhile: wait() holds on to the shared memory only, and whoever runs the
 * listener looks between waits whether the session is still there. */
#define _GNU_SOURCE
#include "extension.h"

#include <time.h>

typedef struct {
    PyObject_HEAD
    struct mapping *mapping;
    uint32_t guest;
    uint32_t seen; /* the last reply word that was served */
} Listener;

PyTypeObject *listener_type;

static PyObject *listener_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"session", "guest", NULL};
    unsigned int guest;
    Listener *listener;
    Session *session;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!I", names, session_type, &session, &guest))
        return NULL;
    if (guest >= CHANNEL_GUESTS || !session->in_worker) {
        PyErr_SetString(PyExc_ValueError, "there is no such lane");
        return NULL;
    }
    listener = (Listener *)type->tp_alloc(type, 0);
    if (!listener)
        return NULL;
    listener->guest = CHANNEL_LANES + guest;
    listener->mapping = mapping_use(session->mapping);
    return (PyObject *)listener;
}

/* Sleep until there may be something to serve; a second at most, against the unforeseen. */
static PyObject *listener_wait(Listener *listener, PyObject *unused)
{
    struct foreign lane = foreign_at(listener->mapping->memory, frame_offset(listener->guest, 0));
    const struct timespec limit = {.tv_sec = 1};
    uint32_t word = listener->seen;

    (void)unused;
    if (!foreign_change(lane, FRAME_REPLY, &word, listener->seen | CHANNEL_PARKED) &&
        word != (listener->seen | CHANNEL_PARKED))
        Py_RETURN_NONE;
    Py_BEGIN_ALLOW_THREADS
    foreign_sleep(lane, FRAME_REPLY, listener->seen | CHANNEL_PARKED, &limit);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* What no lawful worker writes ends it, here as in a call; but nobody is there to be told. */
static bool end_violated(Session *session, PyObject *taken)
{
    session->ended = true;
    Py_BEGIN_ALLOW_THREADS
    watch_end_process(session->watch);
    Py_END_ALLOW_THREADS
    raise_by(HOOK_ENDED, "(OOs)", (PyObject *)session, Py_None, "violated");
    PyErr_WriteUnraisable(taken);
    return false;
}

static bool serve_one(Session *session, struct call *call, struct pending *pending,
                      enum outcome outcome, PyObject *taken)
{
    if (outcome != CALLED_BACK)
        return outcome == DIED ? false : end_violated(session, taken);
    if (!call->record->used++) { /* somebody is here: the next one needs a lane, too */
        PyObject *none = PyObject_CallNoArgs(taken);

        if (!none)
            PyErr_WriteUnraisable(taken);
        Py_XDECREF(none);
    }
    if (!callback_serve(session, call))
        return end_violated(session, taken);
    if (raise_from(call)) /* there is no call of ours that could raise it */
        PyErr_WriteUnraisable(taken);
    if (!session_usable(session))
        return false;
    post_return(session, pending, 1);
    return true;
}

/* Whether the library calls back, or does within the time that spinning is worth; without
 * the GIL to the end, for a worker may take back what it has said. INTERRUPTED: no. */
static enum outcome look(const Session *session, struct pending *pending)
{
    enum outcome outcome = INTERRUPTED;

    Py_BEGIN_ALLOW_THREADS
    if (replied_soon(session, pending))
        outcome = await_reply(session, pending);
    Py_END_ALLOW_THREADS
    return outcome;
}

/* serve(session, taken): False when the session is over. */
static PyObject *listener_serve(Listener *listener, PyObject *args)
{
    static const struct ferry_frame nothing; /* what the lane is called with, at depth 0 */
    struct call call = {.outer = current_call};
    struct pending pending;
    enum outcome outcome;
    Session *session;
    PyObject *taken;
    bool alive = true;

    if (!PyArg_ParseTuple(args, "O!O", session_type, &session, &taken))
        return NULL;
    if (!session_usable(session))
        Py_RETURN_FALSE;
    call.session = session;
    call.record = &session->lanes[listener->guest];
    if (peek(&call.record->busy)) { /* posted before: go on */
        pending = (struct pending){.record = call.record,
                                   .lane = session_frame(session, call.record, 0),
                                   .before = call.record->word};
        pending_expect(&pending, 0);
    } else {
        poke(&call.record->busy, true);
        pending = post_call(session, call.record, 0, &nothing, 0, 0, 0); /* the library may take its time */
    }
    current_call = &call;
    while (alive && (outcome = look(session, &pending)) != INTERRUPTED)
        alive = serve_one(session, &call, &pending, outcome, taken);
    current_call = call.outer;
    listener->seen = call.record->word;
    return PyBool_FromLong(alive);
}

static void listener_dealloc(Listener *listener)
{
    PyTypeObject *type = Py_TYPE(listener);

    mapping_leave(listener->mapping);
    type->tp_free(listener);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"wait", (PyCFunction)listener_wait, METH_NOARGS, "Sleep until serve() may be needed."},
    {"serve", (PyCFunction)listener_serve, METH_VARARGS,
     "serve(session, taken): serve the callbacks that are waiting. taken() is called when\n"
     "there is the first. False: the session is over."},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Serves the callbacks of one of the library's own threads at a time."},
    {Py_tp_new, listener_new},
    {Py_tp_dealloc, listener_dealloc},
    {Py_tp_methods, methods},
    {0},
};

PyType_Spec listener_spec = {
    .name = "libferry._core.Listener",
    .basicsize = sizeof(Listener),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};
