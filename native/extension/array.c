/* Array, whose elements are read and written by index; and Part, a record or an array
 * in a record.
 *
 * What is not a number or a part of its own (pointers, long double, slices) is left to
 * Python: Array's methods _ferry_item and _ferry_set_item, and a Part's assign. */
#include "record.h"

PyTypeObject *array_type, *part_type;

/* ---- Array ---- */

static AggregateType *class_of(PyObject *array)
{
    return (AggregateType *)Py_TYPE(array);
}

static Py_ssize_t array_length(PyObject *array)
{
    return ((Aggregate *)array)->length;
}

static bool in_range(PyObject *array, Py_ssize_t index)
{
    if (index >= 0 && index < array_length(array))
        return true;
    PyErr_Format(PyExc_IndexError, "an array of %zd has no such element", array_length(array));
    return false;
}

static PyObject *array_item(PyObject *array, Py_ssize_t index)
{
    AggregateType *class = class_of(array);

    if (!in_range(array, index))
        return NULL;
    if (class->element == Py_None)
        return PyObject_CallMethod(array, "_ferry_item", "n", index);
    if (PyObject_TypeCheck(class->element, field_type))
        return field_load(class->element, array, index * class->size);
    return aggregate_part(class->element, array, index * class->size, class->inner);
}

static int array_set_item(PyObject *array, Py_ssize_t index, PyObject *value)
{
    AggregateType *class = class_of(array);
    PyObject *done;

    if (!value) {
        PyErr_SetString(PyExc_TypeError, "elements of a C array cannot be deleted");
        return -1;
    }
    if (!in_range(array, index))
        return -1;
    if (class->element != Py_None && PyObject_TypeCheck(class->element, field_type))
        return field_store(class->element, array, index * class->size, value);
    done = PyObject_CallMethod(array, "_ferry_set_item", "nO", index, value);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* An index counted from the end if negative; false with an exception. */
static bool index_of(PyObject *array, PyObject *key, Py_ssize_t *index)
{
    *index = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (*index == -1 && PyErr_Occurred())
        return false;
    if (*index < 0)
        *index += array_length(array);
    return true;
}

static PyObject *array_subscript(PyObject *array, PyObject *key)
{
    Py_ssize_t index;

    if (PySlice_Check(key))
        return PyObject_CallMethod(array, "_ferry_slice", "O", key);
    return index_of(array, key, &index) ? array_item(array, index) : NULL;
}

static int array_set_subscript(PyObject *array, PyObject *key, PyObject *value)
{
    PyObject *done;
    Py_ssize_t index;

    if (!value || !PySlice_Check(key))
        return index_of(array, key, &index) ? array_set_item(array, index, value) : -1;
    done = PyObject_CallMethod(array, "_ferry_set_slice", "OO", key, value);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static PyType_Slot array_slots[] = {
    {Py_tp_doc, "An array: elements of one C type, side by side."},
    {Py_tp_iter, PySeqIter_New},
    {Py_sq_length, array_length},
    {Py_sq_item, array_item},
    {Py_sq_ass_item, array_set_item},
    {Py_mp_length, array_length},
    {Py_mp_subscript, array_subscript},
    {Py_mp_ass_subscript, array_set_subscript},
    {0},
};

PyType_Spec array_spec = {
    .name = "libferry._core.Array",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = array_slots,
};

/* ---- Part ---- */

typedef struct {
    PyObject_HEAD
    PyObject *class;
    PyObject *assign; /* (record, value): write all of it */
    Py_ssize_t offset;
    Py_ssize_t length; /* of an array; -1: flexible, it ends where the memory does */
} Part;

static PyObject *part_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"cls", "offset", "length", "assign", NULL};
    PyObject *class, *assign;
    Py_ssize_t offset, length;
    Part *part;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!nnO", names, aggregate_class, &class,
                                     &offset, &length, &assign))
        return NULL;
    part = (Part *)type->tp_alloc(type, 0);
    if (!part)
        return NULL;
    part->class = Py_NewRef(class);
    part->assign = Py_NewRef(assign);
    part->offset = offset;
    part->length = length;
    return (PyObject *)part;
}

static int part_traverse(Part *part, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)part));
    Py_VISIT(part->class);
    Py_VISIT(part->assign);
    return 0;
}

static int part_clear(Part *part)
{
    Py_CLEAR(part->assign);
    return 0;
}

static void part_dealloc(Part *part)
{
    PyTypeObject *type = Py_TYPE((PyObject *)part);

    PyObject_GC_UnTrack(part);
    part_clear(part);
    Py_CLEAR(part->class);
    type->tp_free(part);
    Py_DECREF(type);
}

static PyObject *part_get(Part *part, PyObject *object, PyObject *type)
{
    Py_ssize_t length = part->length, size = ((AggregateType *)part->class)->size;

    (void)type;
    if (!object || object == Py_None)
        return Py_NewRef((PyObject *)part);
    if (!struct_check(object)) {
        PyErr_Format(PyExc_TypeError, "a C field is no attribute of %s", Py_TYPE(object)->tp_name);
        return NULL;
    }
    if (length < 0) {
        Py_ssize_t room = ((Aggregate *)object)->size - part->offset;

        length = room > 0 && size ? room / size : 0;
    }
    return aggregate_part(part->class, object, part->offset, length);
}

static int part_set(Part *part, PyObject *object, PyObject *value)
{
    PyObject *done;

    if (!value) {
        PyErr_SetString(PyExc_TypeError, "a C field cannot be deleted");
        return -1;
    }
    done = part->assign ? PyObject_CallFunctionObjArgs(part->assign, object, value, NULL)
                        : Py_NewRef(Py_None);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static PyType_Slot part_slots[] = {
    {Py_tp_doc, "A record or an array in a record."},
    {Py_tp_new, part_new},
    {Py_tp_dealloc, part_dealloc},
    {Py_tp_traverse, part_traverse},
    {Py_tp_clear, part_clear},
    {Py_tp_descr_get, part_get},
    {Py_tp_descr_set, part_set},
    {0},
};

PyType_Spec part_spec = {
    .name = "libferry._core.Part",
    .basicsize = sizeof(Part),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = part_slots,
};
