/* The host's half of a map queue (native/map.h): copying a piece there, posting it, and
 * looking whether one is done. */
#include "extension.h"
#include "map.h"
#include "placement.h"

#include <time.h>

#define LOOKS 64 /* between two looks at the clock */
#define REST_NS 50000u
#define PATIENCE_NS 100000000u /* then Python's signals are looked after */

/* The queue in a Buffer of a worker's session. False with an exception. */
static bool queue_of(PyObject *object, struct foreign *queue)
{
    Buffer *buffer = (Buffer *)object;

    if (!PyObject_TypeCheck(object, buffer_type) || !foreign_there(buffer->data) ||
        !buffer->session->in_worker ||
        buffer->size < (Py_ssize_t)sizeof(struct ferry_queue)) {
        PyErr_SetString(PyExc_TypeError, "that is no room for a queue");
        return false;
    }
    *queue = buffer->data;
    return true;
}

static PyObject *queue_copy(PyObject *module, PyObject *args)
{
    PyObject *object;
    Buffer *buffer;
    Py_buffer from;

    (void)module;
    if (!PyArg_ParseTuple(args, "O!y*", buffer_type, &object, &from))
        return NULL;
    buffer = (Buffer *)object;
    if (from.len > buffer->size || !buffer_use(buffer)) { /* it is not freed meanwhile */
        PyErr_SetString(PyExc_ValueError, "there is no room for it");
        PyBuffer_Release(&from);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    foreign_stream(buffer->data, from.buf, (size_t)from.len);
    Py_END_ALLOW_THREADS
    buffer_leave(buffer);
    PyBuffer_Release(&from);
    Py_RETURN_NONE;
}

static PyObject *queue_post(PyObject *module, PyObject *args)
{
    unsigned int posted, end;
    struct foreign queue;
    PyObject *buffer;

    (void)module;
    if (!PyArg_ParseTuple(args, "OII", &buffer, &posted, &end) || !queue_of(buffer, &queue))
        return NULL;
    foreign_put(queue, offsetof(struct ferry_queue, end), end);
    foreign_put(queue, offsetof(struct ferry_queue, posted), posted);
    Py_RETURN_NONE;
}

static bool is_done(struct foreign queue, uint32_t piece)
{
    return (int32_t)(foreign_word(queue, offsetof(struct ferry_queue, done)) - piece) >= 0;
}

/* Whether nothing will come of waiting: the call has returned or calls back, it is out of
 * time, or the worker is gone. */
static bool is_over(const Pending *call)
{
    return foreign_word(call->pending.lane, FRAME_REPLY) != call->pending.before ||
           atomic_load_explicit(&call->call.session->watch->dead, memory_order_relaxed) ||
           is_overdue(&call->pending);
}

/* Without the GIL. Nothing wakes us when a piece is done; but it takes a few milliseconds
 * at most, and others are in the queue, so a look from time to time is enough. */
static bool wait_for(struct foreign queue, uint32_t piece, const Pending *call)
{
    uint64_t now = monotonic_ns(), begin = now;

    while (!is_done(queue, piece) && !is_over(call)) {
        const struct timespec rest = {.tv_nsec = (long)(REST_NS + (now - begin) / 8)};

        if (now - begin > PATIENCE_NS)
            return false;
        if (now - begin >= call->call.session->spin_ns)
            nanosleep(&rest, NULL);
        else
            for (int i = 0; i < LOOKS && !is_done(queue, piece); i++)
                channel_relax();
        now = monotonic_ns();
    }
    return true;
}

static PyObject *queue_wait(PyObject *module, PyObject *args)
{
    struct foreign queue;
    PyObject *buffer, *object;
    unsigned int piece;
    Pending *call;
    bool over;

    (void)module;
    if (!PyArg_ParseTuple(args, "OIO", &buffer, &piece, &object) || !queue_of(buffer, &queue))
        return NULL;
    if (object == Py_None)
        return PyBool_FromLong(is_done(queue, piece));
    if (!PyObject_TypeCheck(object, pending_type)) {
        PyErr_SetString(PyExc_TypeError, "that is no pending call");
        return NULL;
    }
    call = (Pending *)object;
    do {
        Py_BEGIN_ALLOW_THREADS
        over = wait_for(queue, piece, call);
        Py_END_ALLOW_THREADS
        if (PyErr_CheckSignals() != 0)
            return NULL;
    } while (!over);
    if (!is_done(queue, piece))
        Py_RETURN_FALSE;
    if (call->pending.deadline) /* each piece has the time that a call has */
        call->pending.deadline = monotonic_ns() + call->function->timeout_ns;
    Py_RETURN_TRUE;
}

PyMethodDef queue_functions[] = {
    {"queue_copy", queue_copy, METH_VARARGS,
     "queue_copy(buffer, data): copy bytes to the start of a Buffer, for a worker to read."},
    {"queue_post", queue_post, METH_VARARGS,
     "queue_post(buffer, posted, end): how many pieces are posted, and where they end."},
    {"queue_wait", queue_wait, METH_VARARGS,
     "queue_wait(buffer, piece, call): wait until that piece (from 1) is done by a pending call.\n"
     "False: it is not, and the call has to be waited for, or (None) there is none."},
    {0},
};
