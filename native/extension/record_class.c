/* AggregateType: the class of the classes of records and arrays.
 *
 * What a class knows is not among its attributes: those are the C fields, and C may
 * have given them any name. */
#include "record.h"

#include <structmember.h>

PyTypeObject *aggregate_class;

static PyObject *class_new(PyTypeObject *meta, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"ctype", "abi",    "codec",  "size",     "array",   "pointers",
                            "shape", "format", "itemsize", "element", "inner", NULL};
    PyObject *ctype, *abi, *codec, *shape, *format, *element, *empty;
    Py_ssize_t size, itemsize, inner;
    int array, pointers, parsed;
    AggregateType *class;

    if (!kwargs) {
        PyErr_SetString(PyExc_TypeError, "a C type's class cannot be derived from");
        return NULL;
    }
    empty = PyTuple_New(0);
    if (!empty)
        return NULL;
    parsed = PyArg_ParseTupleAndKeywords(empty, kwargs, "$OOOnppOSnOn", names, &ctype, &abi,
                                         &codec, &size, &array, &pointers, &shape,
                                         &format, &itemsize, &element, &inner);
    Py_DECREF(empty);
    if (!parsed)
        return NULL;
    if (size < 0 || itemsize < 1 || inner < 0 || (shape != Py_None && !PyTuple_Check(shape)) ||
        (element != Py_None && !PyObject_TypeCheck(element, field_type) &&
         !PyObject_TypeCheck(element, aggregate_class))) {
        PyErr_SetString(PyExc_ValueError, "that is no layout");
        return NULL;
    }
    if (shape != Py_None) {
        Py_ssize_t bytes = itemsize;

        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(shape); i++) {
            Py_ssize_t length = PyLong_AsSsize_t(PyTuple_GET_ITEM(shape, i));

            if (length < 0 || __builtin_mul_overflow(bytes, length, &bytes))
                bytes = -1;
        }
        if (bytes != size) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "the items are not the element");
            return NULL;
        }
    }
    class = (AggregateType *)PyType_Type.tp_new(meta, args, NULL);
    if (!class)
        return NULL;
    if (!PyType_IsSubtype((PyTypeObject *)class, aggregate_type) ||
        class->type.ht_type.tp_basicsize != aggregate_type->tp_basicsize) {
        PyErr_SetString(PyExc_TypeError, "a C type's class is one of Aggregates, without slots");
        Py_DECREF(class);
        return NULL;
    }
    class->ctype = Py_NewRef(ctype);
    class->abi = Py_NewRef(abi);
    class->codec = Py_NewRef(codec);
    class->element = Py_NewRef(element);
    class->inner = inner;
    class->shape = Py_NewRef(shape);
    class->format = Py_NewRef(format);
    class->size = size;
    class->itemsize = itemsize;
    class->array = array;
    class->pointers = pointers;
    /* The class is its layout: nobody may replace a field, derive from it, or turn an
     * object of another class into one of this. */
    class->type.ht_type.tp_flags |= Py_TPFLAGS_IMMUTABLETYPE;
    /* That of classes made in Python looks for slots and finalizers, which there are not;
     * it takes a tenth of the time of a call that gives a structure back. */
    class->type.ht_type.tp_dealloc = aggregate_type->tp_dealloc;
    class->type.ht_type.tp_flags &= ~Py_TPFLAGS_BASETYPE;
    return (PyObject *)class;
}

static int class_traverse(AggregateType *class, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)class));
    Py_VISIT(class->ctype);
    Py_VISIT(class->abi);
    Py_VISIT(class->codec);
    Py_VISIT(class->element);
    return PyType_Type.tp_traverse((PyObject *)class, visit, arg);
}

static int class_clear(AggregateType *class)
{
    Py_CLEAR(class->codec);
    return PyType_Type.tp_clear((PyObject *)class);
}

static void class_dealloc(AggregateType *class)
{
    PyTypeObject *meta = Py_TYPE((PyObject *)class);

    PyObject_GC_UnTrack(class);
    if (class->spare)
        PyObject_GC_Del(class->spare);
    Py_CLEAR(class->ctype);
    Py_CLEAR(class->abi);
    Py_CLEAR(class->codec);
    Py_CLEAR(class->element);
    Py_CLEAR(class->shape);
    Py_CLEAR(class->format);
    PyObject_GC_Track(class); /* as the next one expects it */
    PyType_Type.tp_dealloc((PyObject *)class);
    Py_DECREF(meta);
}

static PyMemberDef class_members[] = {
    {"ctype", T_OBJECT_EX, offsetof(AggregateType, ctype), READONLY, "The C type."},
    {"abi", T_OBJECT_EX, offsetof(AggregateType, abi), READONLY, "The ABI that lays it out."},
    {"codec", T_OBJECT_EX, offsetof(AggregateType, codec), READONLY, NULL},
    {"size", T_PYSSIZET, offsetof(AggregateType, size), READONLY,
     "Bytes of the record, or of one element of the array."},
    {"pointers", T_BOOL, offsetof(AggregateType, pointers), READONLY,
     "Whether it holds addresses."},
    {0},
};

static PyType_Slot class_slots[] = {
    {Py_tp_doc, "The class of a record's or array's class."},
    {Py_tp_new, class_new},
    {Py_tp_traverse, class_traverse},
    {Py_tp_clear, class_clear},
    {Py_tp_dealloc, class_dealloc},
    {Py_tp_members, class_members},
    {0},
};

PyType_Spec aggregate_class_spec = {
    .name = "libferry._core.AggregateType",
    .basicsize = sizeof(AggregateType),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_TYPE_SUBCLASS,
    .slots = class_slots,
};
