/* Memory and addresses of a library, as Python objects. */
#include "extension.h"

PyTypeObject *buffer_type, *pointer_type;

/* ---- Buffer: memory that both sides see ---- */

static PyObject *buffer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"session", "size", "type", "clear", NULL};
    PyObject *pointee = Py_None;
    Session *session;
    Py_ssize_t size;
    Buffer *buffer;
    int clear = true;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!n|Op", names, session_type, &session, &size,
                                     &pointee, &clear))
        return NULL;
    if (pointee != Py_None && !PyUnicode_Check(pointee)) {
        PyErr_SetString(PyExc_TypeError, "the type of a Buffer is a str or None");
        return NULL;
    }
    if (size < 0) {
        PyErr_SetString(PyExc_ValueError, "a Buffer cannot have a negative size");
        return NULL;
    }
    if (!session_usable(session)) {
        session_raise(session, Py_None);
        return NULL;
    }
    buffer = (Buffer *)type->tp_alloc(type, 0);
    if (!buffer)
        return NULL;
    buffer->size = size;
    if (session->in_worker) {
        buffer->offset = arena_take(&session->arena, (uint64_t)size);
        if (buffer->offset != ARENA_NONE) {
            buffer->data = foreign_at(session->channel, buffer->offset);
            if (clear) /* somebody may have used it before */
                foreign_clear(buffer->data, (size_t)size);
        }
    } else {
        /* aligned as the arena's; calloc, since what nobody touches then costs nothing */
        buffer->own = calloc((size_t)size + ARENA_ALIGN, 1);
        if (buffer->own)
            buffer->data = foreign_at(foreign_from(buffer->own),
                                      -(uintptr_t)buffer->own % ARENA_ALIGN);
    }
    if (!foreign_there(buffer->data)) {
        raise_by(HOOK_ARENA, "(On)", (PyObject *)session, size);
        Py_DECREF(buffer);
        return NULL;
    }
    buffer->session = (Session *)Py_NewRef((PyObject *)session);
    buffer->type = Py_NewRef(pointee);
    return (PyObject *)buffer;
}

#define FREED ((Py_ssize_t)-1)

static void release(Buffer *buffer)
{
    if (!foreign_there(buffer->data))
        return;
    if (buffer->session->in_worker)
        arena_give(&buffer->session->arena, buffer->offset, (uint64_t)buffer->size);
    else
        free(buffer->own);
    buffer->data = foreign_from(NULL);
}

static int buffer_traverse(Buffer *buffer, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(buffer));
    Py_VISIT(buffer->session);
    return 0;
}

/* No tp_clear, here and for Pointer: a cycle through a session is broken there. */
static void buffer_dealloc(Buffer *buffer)
{
    PyTypeObject *type = Py_TYPE(buffer);

    PyObject_GC_UnTrack(buffer);
    if (buffer->session)
        release(buffer);
    Py_XDECREF(buffer->session);
    Py_XDECREF(buffer->type);
    type->tp_free(buffer);
    Py_DECREF(type);
}

static PyObject *buffer_free(Buffer *buffer, PyObject *unused)
{
    Py_ssize_t uses = 0;

    (void)unused;
    if (atomic_compare_exchange_strong(&buffer->uses, &uses, FREED)) {
        release(buffer);
    } else if (uses != FREED) {
        PyErr_SetString(PyExc_BufferError,
                        "the Buffer is in use: release its views, or wait for the call");
        return NULL;
    }
    Py_RETURN_NONE;
}

bool buffer_use(Buffer *buffer)
{
    Py_ssize_t uses = peek(&buffer->uses);

    do {
        if (uses == FREED)
            return false;
    } while (!number_swap(&buffer->uses, &uses, uses + 1));
    return true;
}

void buffer_leave(Buffer *buffer)
{
    Py_ssize_t uses = peek(&buffer->uses);

    while (!number_swap(&buffer->uses, &uses, uses - 1))
        ;
}

uint64_t buffer_address(const Buffer *buffer)
{
    return buffer->session->in_worker ? buffer->session->base + buffer->offset
                                      : foreign_number(buffer->data);
}

static int buffer_get(Buffer *buffer, Py_buffer *view, int flags)
{
    if (!buffer_use(buffer)) {
        view->obj = NULL;
        PyErr_SetString(PyExc_BufferError, "the Buffer was freed");
        return -1;
    }
    if (PyBuffer_FillInfo(view, (PyObject *)buffer, foreign_address(buffer->data), buffer->size, 0,
                          flags) == 0)
        return 0;
    buffer_leave(buffer);
    return -1;
}

static void buffer_put(Buffer *buffer, Py_buffer *view)
{
    (void)view;
    buffer_leave(buffer);
}

static Py_ssize_t buffer_length(Buffer *buffer)
{
    return buffer->size;
}

static PyObject *buffer_get_address(Buffer *buffer, void *unused)
{
    (void)unused;
    if (peek(&buffer->uses) == FREED) {
        PyErr_SetString(PyExc_BufferError, "the Buffer was freed");
        return NULL;
    }
    return PyLong_FromUnsignedLongLong(buffer_address(buffer));
}

static PyObject *buffer_get_freed(Buffer *buffer, void *unused)
{
    (void)unused;
    return PyBool_FromLong(peek(&buffer->uses) == FREED);
}

static PyObject *buffer_get_session(Buffer *buffer, void *unused)
{
    (void)unused;
    return Py_NewRef((PyObject *)buffer->session);
}

static PyObject *buffer_get_type(Buffer *buffer, void *unused)
{
    (void)unused;
    return Py_NewRef(buffer->type);
}

static PyMethodDef buffer_methods[] = {
    {"free", (PyCFunction)buffer_free, METH_NOARGS,
     "Give the memory back now. Twice is fine; BufferError while it is in use."},
    {0},
};

static PyGetSetDef buffer_properties[] = {
    {"address", (getter)buffer_get_address, NULL, "Where the library sees it.", NULL},
    {"freed", (getter)buffer_get_freed, NULL, "Whether the memory was given back.", NULL},
    {"session", (getter)buffer_get_session, NULL, NULL, NULL},
    {"type", (getter)buffer_get_type, NULL, "The pointer type it is passed as, or None.", NULL},
    {0},
};

static PyType_Slot buffer_slots[] = {
    {Py_tp_doc, "Memory that this process and the library both see."},
    {Py_tp_new, buffer_new},
    {Py_tp_dealloc, buffer_dealloc},
    {Py_tp_traverse, buffer_traverse},
    {Py_tp_methods, buffer_methods},
    {Py_tp_getset, buffer_properties},
    {Py_bf_getbuffer, buffer_get},
    {Py_bf_releasebuffer, buffer_put},
    {Py_sq_length, buffer_length},
    {0},
};

PyType_Spec buffer_spec = {
    .name = "libferry._core.Buffer",
    .basicsize = sizeof(Buffer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = buffer_slots,
};

/* ---- Pointer: an address that belongs to one session and one type ---- */

static PyObject *pointer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"session", "type", "address", NULL};
    unsigned long long address;
    PyObject *pointee;
    Session *session;
    Pointer *pointer;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!UK", names, session_type, &session, &pointee,
                                     &address))
        return NULL;
    pointer = (Pointer *)type->tp_alloc(type, 0);
    if (!pointer)
        return NULL;
    pointer->session = (Session *)Py_NewRef((PyObject *)session);
    pointer->type = Py_NewRef(pointee);
    pointer->address = address;
    return (PyObject *)pointer;
}

static int pointer_traverse(Pointer *pointer, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(pointer));
    Py_VISIT(pointer->session);
    return 0;
}

static void pointer_dealloc(Pointer *pointer)
{
    PyTypeObject *type = Py_TYPE(pointer);

    PyObject_GC_UnTrack(pointer);
    Py_XDECREF(pointer->session);
    Py_XDECREF(pointer->type);
    type->tp_free(pointer);
    Py_DECREF(type);
}

static PyObject *pointer_compare(PyObject *left, PyObject *right, int operation)
{
    const Pointer *a = (Pointer *)left, *b = (Pointer *)right;
    bool same;

    if (!PyObject_TypeCheck(left, pointer_type) || !PyObject_TypeCheck(right, pointer_type) ||
        (operation != Py_EQ && operation != Py_NE))
        Py_RETURN_NOTIMPLEMENTED;
    same = a->session == b->session && a->address == b->address;
    return PyBool_FromLong(operation == Py_EQ ? same : !same);
}

static Py_hash_t pointer_hash(Pointer *pointer)
{
    Py_hash_t hash = (Py_hash_t)(pointer->address ^ ((uintptr_t)pointer->session >> 4));

    return hash == -1 ? -2 : hash;
}

static PyObject *pointer_get_address(Pointer *pointer, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(pointer->address);
}

static PyObject *pointer_get_type(Pointer *pointer, void *unused)
{
    (void)unused;
    return Py_NewRef(pointer->type);
}

static PyObject *pointer_get_session(Pointer *pointer, void *unused)
{
    (void)unused;
    return Py_NewRef((PyObject *)pointer->session);
}

static PyGetSetDef pointer_properties[] = {
    {"address", (getter)pointer_get_address, NULL, "The library's address.", NULL},
    {"type", (getter)pointer_get_type, NULL, "The C pointer type.", NULL},
    {"session", (getter)pointer_get_session, NULL, NULL, NULL},
    {0},
};

static PyType_Slot pointer_slots[] = {
    {Py_tp_doc, "An address of a library, with its C type."},
    {Py_tp_new, pointer_new},
    {Py_tp_dealloc, pointer_dealloc},
    {Py_tp_traverse, pointer_traverse},
    {Py_tp_richcompare, pointer_compare},
    {Py_tp_hash, pointer_hash},
    {Py_tp_getset, pointer_properties},
    {0},
};

PyType_Spec pointer_spec = {
    .name = "libferry._core.Pointer",
    .basicsize = sizeof(Pointer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = pointer_slots,
};
