/* Aggregate: a structure, a union or an array. */
#include "record.h"

#include <structmember.h>

PyTypeObject *aggregate_type;

/* ---- making ---- */

/* A record that is given back by value lives for a line of Python, and then there is the
 * next one. So each class keeps the last of those that are no more: its memory is there,
 * the rest is as new. Not where threads are free to take it at once, nor where a sanitizer
 * is to see who uses what is no more. */
#if defined(Py_GIL_DISABLED) || defined(__SANITIZE_ADDRESS__)
#define SPARES 0
#else
#define SPARES 1
#endif

static Aggregate *take_spare(AggregateType *class, Py_ssize_t own)
{
    const size_t head = sizeof(PyVarObject);
    Aggregate *spare = class->spare;

    if (!spare || own != class->size)
        return NULL;
    class->spare = NULL;
    memset((char *)spare + head, 0, sizeof *spare - head + (size_t)own);
    PyObject_InitVar((PyVarObject *)spare, (PyTypeObject *)class, own);
    PyObject_GC_Track(spare);
    return spare;
}

static bool keep_spare(AggregateType *class, Aggregate *aggregate)
{
    if (!SPARES || class->spare || class->array || Py_SIZE(aggregate) != class->size)
        return false;
    class->spare = aggregate;
    return true;
}

static Aggregate *make(PyObject *class, Py_ssize_t own, Py_ssize_t length, PyObject *library)
{
    AggregateType *type = (AggregateType *)class;
    Aggregate *made;

    if (!PyObject_TypeCheck(class, aggregate_class)) {
        PyErr_Format(PyExc_TypeError, "%R is not a class of records or arrays", class);
        return NULL;
    }
    if (length < 0 || (type->array && type->size && length > PY_SSIZE_T_MAX / type->size)) {
        PyErr_SetString(PyExc_ValueError, "that is no length");
        return NULL;
    }
    made = take_spare(type, own);
    if (!made)
        made = (Aggregate *)type->type.ht_type.tp_alloc((PyTypeObject *)class, own);
    if (!made)
        return NULL;
    made->data = foreign_from(made->own);
    made->size = type->array ? type->size * length : length > type->size ? length : type->size;
    made->length = length;
    made->library = library == Py_None ? NULL : Py_XNewRef(library);
    return made;
}

PyObject *struct_new(PyTypeObject *class, PyObject *library, char **bytes)
{
    Aggregate *made = make((PyObject *)class, ((AggregateType *)class)->size, 0, library);

    if (made)
        *bytes = made->own;
    return (PyObject *)made;
}

/* Below, `length` is how many elements an array has. A record that ends in a flexible
 * array may be longer than its class says, and then it is how many bytes. */

/* own(class, data, library, length=0): with a copy of `data`. */
static PyObject *own(PyObject *module, PyObject *args)
{
    Py_ssize_t length = 0;
    PyObject *class, *library;
    Aggregate *made;
    Py_buffer data;

    (void)module;
    if (!PyArg_ParseTuple(args, "Oy*O|n", &class, &data, &library, &length))
        return NULL;
    made = make(class, data.len, length, library);
    if (made && made->size > data.len) {
        PyErr_SetString(PyExc_ValueError, "fewer bytes than the type has");
        Py_CLEAR(made);
    }
    if (made)
        memcpy(made->own, data.buf, (size_t)made->size);
    PyBuffer_Release(&data);
    return (PyObject *)made;
}

static bool place(Aggregate *made, struct foreign start, Py_ssize_t size, Py_ssize_t offset)
{
    if (offset < 0 || offset > size || made->size > size - offset) {
        PyErr_SetString(PyExc_ValueError, "the view would leave the memory");
        return false;
    }
    if (foreign_there(start))
        made->data = foreign_at(start, (uint64_t)offset);
    return true;
}

PyObject *aggregate_part(PyObject *class, PyObject *whole, Py_ssize_t offset, Py_ssize_t length)
{
    Aggregate *outer = (Aggregate *)whole, *made = make(class, 0, length, outer->library);

    if (!made)
        return NULL;
    made->root = Py_NewRef(outer->root ? outer->root : whole);
    made->session = (Session *)Py_XNewRef((PyObject *)outer->session);
    if (!place(made, outer->data, outer->size, offset))
        Py_CLEAR(made);
    return (PyObject *)made;
}

/* view(class, memory, offset, library, length=0): of what has the buffer protocol, or,
 * then a part, of an Aggregate. */
static PyObject *view(PyObject *module, PyObject *args)
{
    PyObject *class, *memory, *library;
    Py_ssize_t offset, length = 0;
    Py_buffer *bytes;
    Aggregate *made;
    bool placed;

    (void)module;
    if (!PyArg_ParseTuple(args, "OOnO|n", &class, &memory, &offset, &library, &length))
        return NULL;
    if (struct_check(memory))
        return aggregate_part(class, memory, offset, length);
    made = make(class, 0, length, library);
    if (!made)
        return NULL;
    /* a memoryview holds the export: a Buffer cannot be freed under it */
    made->owner = PyMemoryView_FromObject(memory);
    bytes = made->owner ? PyMemoryView_GET_BUFFER(made->owner) : NULL;
    if (!bytes) {
        placed = false;
    } else if (bytes->readonly || !PyBuffer_IsContiguous(bytes, 'C')) {
        PyErr_SetString(PyExc_BufferError, "the memory is read-only, or not contiguous");
        placed = false;
    } else {
        placed = place(made, foreign_from(bytes->buf), bytes->len, offset);
    }
    if (!placed)
        Py_CLEAR(made);
    return (PyObject *)made;
}

/* view_address(class, address, session, library, length=0): of a library's memory in
 * this process; nothing checks that it is there. */
static PyObject *view_address(PyObject *module, PyObject *args)
{
    unsigned long long address;
    PyObject *class, *library;
    Py_ssize_t length = 0;
    Session *session;
    Aggregate *made;

    (void)module;
    if (!PyArg_ParseTuple(args, "OKO!O|n", &class, &address, session_type, &session, &library,
                          &length))
        return NULL;
    if (session->in_worker || !address) {
        PyErr_SetString(PyExc_ValueError, "there is no such memory in this process");
        return NULL;
    }
    made = make(class, 0, length, library);
#ifdef Py_GIL_DISABLED
    /* Else nobody closes it between a look at `closed` and the access. */
    if (made && !session_use(session))
        Py_CLEAR(made);
#endif
    if (made) {
        made->session = (Session *)Py_NewRef((PyObject *)session);
        made->data = foreign_from((void *)(uintptr_t)address);
    }
    return (PyObject *)made;
}

/* ---- unmaking ---- */

static int traverse(Aggregate *aggregate, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)aggregate));
    Py_VISIT(aggregate->root);
    Py_VISIT(aggregate->owner);
    Py_VISIT(aggregate->library);
    Py_VISIT(aggregate->kept);
    Py_VISIT(aggregate->session);
    return 0;
}

/* Root and owner hold the memory, so they stay: a cycle always goes through `kept` or
 * `library` too, or through what an owner refers to, which breaks it there. */
static int clear(Aggregate *aggregate)
{
    Py_CLEAR(aggregate->library);
    Py_CLEAR(aggregate->kept);
    return 0;
}

static void dealloc(Aggregate *aggregate)
{
    PyTypeObject *type = Py_TYPE((PyObject *)aggregate);

    PyObject_GC_UnTrack(aggregate);
    if (aggregate->weakrefs)
        PyObject_ClearWeakRefs((PyObject *)aggregate);
    clear(aggregate);
#ifdef Py_GIL_DISABLED
    if (aggregate->session && !aggregate->root)
        session_unuse(aggregate->session);
#endif
    Py_XDECREF(aggregate->root);
    Py_XDECREF(aggregate->owner);
    Py_XDECREF((PyObject *)aggregate->session);
    if (!keep_spare((AggregateType *)type, aggregate))
        type->tp_free(aggregate);
    Py_DECREF(type);
}

/* ---- using ---- */

struct foreign struct_data(PyObject *value, Py_ssize_t *size)
{
    Aggregate *aggregate = (Aggregate *)value;

    if (aggregate->session && peek(&aggregate->session->closed)) {
        session_raise(aggregate->session, Py_None);
        return foreign_from(NULL);
    }
    *size = aggregate->size;
    return aggregate->data;
}

bool struct_address(PyObject *value, const Session *session, uint64_t *address)
{
    uint64_t data = foreign_number(((Aggregate *)value)->data);
    uint64_t offset = data - foreign_number(session->channel);

    *address = session->in_worker ? session->base + offset : data;
    return !session->in_worker || offset < session->size;
}

const Buffer *struct_buffer(PyObject *value)
{
    const Aggregate *part = (Aggregate *)value;
    PyObject *owner = part->root ? ((Aggregate *)part->root)->owner : part->owner;
    PyObject *memory = owner ? PyMemoryView_GET_BUFFER(owner)->obj : NULL;

    return memory && PyObject_TypeCheck(memory, buffer_type) ? (Buffer *)memory : NULL;
}

/* Arrays of numbers show their items; everything else is bytes. */
static int get_buffer(PyObject *self, Py_buffer *view_, int flags)
{
    AggregateType *class = (AggregateType *)Py_TYPE(self);
    Py_ssize_t size, inner, *shape;
    struct foreign data = struct_data(self, &size);

    view_->obj = NULL;
    if (!foreign_there(data) ||
        PyBuffer_FillInfo(view_, self, foreign_address(data), size, 0, flags) != 0)
        return -1;
    /* what a view shows is not unmapped */
    if (((Aggregate *)self)->session && !session_use(((Aggregate *)self)->session)) {
        Py_CLEAR(view_->obj);
        return -1;
    }
    if (class->shape == Py_None || !(flags & PyBUF_ND))
        return 0;
    inner = PyTuple_GET_SIZE(class->shape);
    shape = PyMem_Malloc(2 * (size_t)(inner + 1) * sizeof *shape);
    if (!shape) {
        PyBuffer_Release(view_);
        PyErr_NoMemory();
        return -1;
    }
    view_->internal = view_->shape = shape;
    view_->ndim = (int)inner + 1;
    view_->itemsize = class->itemsize;
    shape[0] = ((Aggregate *)self)->length;
    for (Py_ssize_t i = 0; i < inner; i++)
        shape[i + 1] = PyLong_AsSsize_t(PyTuple_GET_ITEM(class->shape, i));
    if (flags & PyBUF_FORMAT)
        view_->format = PyBytes_AS_STRING(class->format);
    if ((flags & PyBUF_STRIDES) == PyBUF_STRIDES) {
        Py_ssize_t stride = class->itemsize;

        view_->strides = shape + inner + 1;
        for (Py_ssize_t i = inner; i >= 0; i--) {
            view_->strides[i] = stride;
            stride *= shape[i];
        }
    }
    return 0;
}

static void put_buffer(PyObject *self, Py_buffer *view_)
{
    if (((Aggregate *)self)->session)
        session_unuse(((Aggregate *)self)->session);
    PyMem_Free(view_->internal);
}

static Aggregate *checked(PyObject *value)
{
    if (!struct_check(value)) {
        PyErr_Format(PyExc_TypeError, "%R is not a record or an array", value);
        return NULL;
    }
    return (Aggregate *)value;
}

/* Where `size` bytes at `offset` are. Not there: with an exception. */
static struct foreign range_of(PyObject *value, Py_ssize_t offset, Py_ssize_t size)
{
    Py_ssize_t whole;
    struct foreign data;

    if (!checked(value))
        return foreign_from(NULL);
    data = struct_data(value, &whole);
    if (!foreign_there(data))
        return data;
    if (offset < 0 || size < 0 || offset > whole || size > whole - offset) {
        PyErr_SetString(PyExc_ValueError, "that is outside of it");
        return foreign_from(NULL);
    }
    return foreign_at(data, (uint64_t)offset);
}

static PyObject *read_bytes(PyObject *module, PyObject *args)
{
    Py_ssize_t offset, size;
    PyObject *value, *bytes;
    struct foreign data;

    (void)module;
    if (!PyArg_ParseTuple(args, "Onn", &value, &offset, &size))
        return NULL;
    data = range_of(value, offset, size);
    bytes = foreign_there(data) ? PyBytes_FromStringAndSize(NULL, size) : NULL;
    if (bytes)
        foreign_read(PyBytes_AS_STRING(bytes), data, (size_t)size);
    return bytes;
}

static PyObject *write_bytes(PyObject *module, PyObject *args)
{
    PyObject *value, *bytes;
    Py_ssize_t offset;
    struct foreign data;

    (void)module;
    if (!PyArg_ParseTuple(args, "OnS", &value, &offset, &bytes))
        return NULL;
    data = range_of(value, offset, PyBytes_GET_SIZE(bytes));
    if (!foreign_there(data))
        return NULL;
    foreign_write(data, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes));
    Py_RETURN_NONE;
}

static PyObject *length_of(PyObject *module, PyObject *value)
{
    Aggregate *aggregate = checked(value);

    (void)module;
    return aggregate ? PyLong_FromSsize_t(aggregate->length) : NULL;
}

static PyObject *size_of(PyObject *module, PyObject *value)
{
    Aggregate *aggregate = checked(value);

    (void)module;
    return aggregate ? PyLong_FromSsize_t(aggregate->size) : NULL;
}

static PyObject *library_of(PyObject *module, PyObject *value)
{
    Aggregate *aggregate = checked(value);

    (void)module;
    if (!aggregate)
        return NULL;
    return Py_NewRef(aggregate->library ? aggregate->library : Py_None);
}

static PyObject *address_of(PyObject *module, PyObject *args)
{
    Session *session;
    PyObject *value;
    uint64_t address;

    (void)module;
    if (!PyArg_ParseTuple(args, "OO!", &value, session_type, &session) || !checked(value))
        return NULL;
    if (!struct_address(value, session, &address))
        Py_RETURN_NONE;
    return PyLong_FromUnsignedLongLong(address);
}

static PyObject *kept_of(PyObject *module, PyObject *value)
{
    Aggregate *part = checked(value), *root;

    (void)module;
    if (!part)
        return NULL;
    root = part->root ? (Aggregate *)part->root : part;
    if (!root->kept)
        root->kept = PyDict_New();
    if (!root->kept)
        return NULL;
    return Py_BuildValue("On", root->kept, (Py_ssize_t)(foreign_number(part->data) - foreign_number(root->data)));
}

PyMethodDef record_functions[] = {
    {"own", own, METH_VARARGS, "own(class, data, library, length=0): a value with a copy of data."},
    {"view", view, METH_VARARGS,
     "view(class, memory, offset, library, length=0): a value that is there."},
    {"view_address", view_address, METH_VARARGS,
     "view_address(class, address, session, library, length=0): a value of a library in\n"
     "this process."},
    {"read_bytes", read_bytes, METH_VARARGS, "read_bytes(value, offset, size)"},
    {"write_bytes", write_bytes, METH_VARARGS, "write_bytes(value, offset, data)"},
    {"length_of", length_of, METH_O, "How many elements an array has."},
    {"size_of", size_of, METH_O, "How many bytes it has."},
    {"library_of", library_of, METH_O, "Whose addresses it holds, or None."},
    {"address_of", address_of, METH_VARARGS,
     "address_of(value, session): where that library sees it, or None."},
    {"kept_of", kept_of, METH_O,
     "What the pointers in a value lead to, by offset from its root; and its own offset."},
    {0},
};

static PyObject *refuse_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    PyErr_Format(PyExc_TypeError, "%s has no values of its own: its classes have", type->tp_name);
    return NULL;
}

/* With an AttributeError set: if the name is no field, the codec knows near ones. */
static void explain_missing(PyObject *self, PyObject *name)
{
    PyObject *codec = ((AggregateType *)Py_TYPE(self))->codec, *never;
    Py_ssize_t length = PyUnicode_Check(name) ? PyUnicode_GET_LENGTH(name) : 0;
    PyObject *type, *value, *traceback;

    if (!PyErr_ExceptionMatches(PyExc_AttributeError) || length == 0 || !codec)
        return;
    if (length > 4 && PyUnicode_READ_CHAR(name, 0) == '_' && PyUnicode_READ_CHAR(name, 1) == '_')
        return; /* a protocol of Python's is looked for */
    PyErr_Fetch(&type, &value, &traceback);
    if (PyObject_HasAttr((PyObject *)Py_TYPE(self), name)) {
        PyErr_Restore(type, value, traceback); /* it is there, and raised this itself */
        return;
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    never = PyObject_CallMethod(codec, "missing", "O", name);
    if (never) {
        Py_DECREF(never);
        PyErr_SetString(PyExc_SystemError, "a codec did not raise");
    }
}

static PyObject *get_attribute(PyObject *self, PyObject *name)
{
    PyObject *value = PyObject_GenericGetAttr(self, name);

    if (!value)
        explain_missing(self, name);
    return value;
}

static int set_attribute(PyObject *self, PyObject *name, PyObject *value)
{
    if (PyObject_GenericSetAttr(self, name, value) == 0)
        return 0;
    explain_missing(self, name);
    return -1;
}

static PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Aggregate, weakrefs), READONLY, NULL},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A structure, a union or an array: bytes, with a class that says what they are."},
    {Py_tp_new, refuse_new},
    {Py_tp_dealloc, dealloc},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_getattro, get_attribute},
    {Py_tp_setattro, set_attribute},
    {Py_tp_members, members},
    {Py_bf_getbuffer, get_buffer},
    {Py_bf_releasebuffer, put_buffer},
    {0},
};

PyType_Spec aggregate_spec = {
    .name = "libferry._core.Aggregate",
    .basicsize = sizeof(Aggregate),
    .itemsize = 1,
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};
