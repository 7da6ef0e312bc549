/* Field: a number in a record or an array, read and written where it lies.
 *
 * Only the values that are what they seem are written here: an int in range, a float,
 * a bool. Everything else (numpy's numbers, Fraction, a bytes of one character, and
 * all that is wrong) goes to the field's `convert`, which gives one of those or
 * raises with the field's path. So the rules are in one place, and it is Python. */
#include "record.h"

#include <math.h>

PyTypeObject *field_type;

typedef struct {
    PyObject_HEAD
    PyObject *convert; /* value -> int, float or bool */
    Py_ssize_t offset;
    uint8_t kind, size;
    uint8_t bits, bit; /* of a bit-field: its width, and where it begins; bits 0: none */
} Field;

static PyObject *field_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"kind", "size", "offset", "convert", "bits", "bit", NULL};
    int kind, size, bits = 0, bit = 0;
    PyObject *convert;
    Py_ssize_t offset;
    Field *field;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iinO|ii", names, &kind, &size, &offset,
                                     &convert, &bits, &bit))
        return NULL;
    if ((size != 1 && size != 2 && size != 4 && size != 8) || offset < 0 ||
        offset > PY_SSIZE_T_MAX / 2 || bits < 0 || bits > 64 || bit < 0 || bit + bits > 72 ||
        (kind != KIND_SIGNED && kind != KIND_UNSIGNED && kind != KIND_BOOL &&
         (kind != KIND_FLOAT || size < 4 || bits))) {
        PyErr_SetString(PyExc_ValueError, "that is no number's place");
        return NULL;
    }
    field = (Field *)type->tp_alloc(type, 0);
    if (!field)
        return NULL;
    field->convert = Py_NewRef(convert);
    field->offset = offset;
    field->kind = (uint8_t)kind;
    field->size = (uint8_t)size;
    field->bits = (uint8_t)bits;
    field->bit = (uint8_t)bit;
    return (PyObject *)field;
}

static int field_traverse(Field *field, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE((PyObject *)field));
    Py_VISIT(field->convert);
    return 0;
}

static int field_clear(Field *field)
{
    Py_CLEAR(field->convert);
    return 0;
}

static void field_dealloc(Field *field)
{
    PyTypeObject *type = Py_TYPE((PyObject *)field);

    PyObject_GC_UnTrack(field);
    field_clear(field);
    type->tp_free(field);
    Py_DECREF(type);
}

/* How many bytes it touches: a bit-field may begin anywhere and straddle units. */
static inline Py_ssize_t extent(const Field *field)
{
    return field->bits ? (field->bit + field->bits + 7) / 8 : field->size;
}

static struct foreign cell_of(const Field *field, PyObject *value, Py_ssize_t more)
{
    Py_ssize_t size, offset = field->offset + more;
    struct foreign data;

    if (!struct_check(value)) {
        PyErr_Format(PyExc_TypeError, "a C field is no attribute of %s", Py_TYPE(value)->tp_name);
        return foreign_from(NULL);
    }
    data = struct_data(value, &size);
    if (!foreign_there(data))
        return data;
    if (more < 0 || more > PY_SSIZE_T_MAX / 2 || offset > size || extent(field) > size - offset) {
        PyErr_SetString(PyExc_IndexError, "the field is not in that memory");
        return foreign_from(NULL);
    }
    return foreign_at(data, (uint64_t)offset);
}

static uint64_t load_bits(const Field *field, struct foreign cell)
{
    unsigned __int128 unit = 0;

    foreign_read(&unit, cell, (size_t)extent(field));
    return (uint64_t)(unit >> field->bit) & (UINT64_MAX >> (64 - field->bits));
}

static void store_bits(const Field *field, struct foreign cell, uint64_t bits)
{
    unsigned __int128 unit = 0;
    unsigned __int128 mask = (unsigned __int128)(UINT64_MAX >> (64 - field->bits)) << field->bit;

    foreign_read(&unit, cell, (size_t)extent(field));
    unit = (unit & ~mask) | ((unsigned __int128)bits << field->bit & mask);
    foreign_write(cell, &unit, (size_t)extent(field));
}

static PyObject *load(const Field *field, struct foreign cell)
{
    uint64_t bits = 0;
    unsigned unused;

    if (field->kind == KIND_FLOAT) {
        double number;

        if (field->size == 4) {
            float single;

            foreign_read(&single, cell, 4);
            number = single;
        } else {
            foreign_read(&number, cell, 8);
        }
        return PyFloat_FromDouble(number);
    }
    if (field->bits)
        bits = load_bits(field, cell);
    else
        foreign_read_piece(&bits, cell, field->size);
    if (field->kind == KIND_BOOL)
        return PyBool_FromLong(bits != 0);
    if (field->kind == KIND_UNSIGNED)
        return PyLong_FromUnsignedLongLong(bits);
    unused = 64 - (field->bits ? field->bits : 8u * field->size);
    return PyLong_FromLongLong((int64_t)(bits << unused) >> unused);
}

/* The bits of a value that is what it seems; false (no exception) for any other. */
static bool plain_bits(const Field *field, PyObject *value, uint64_t *bits)
{
    if (field->kind == KIND_FLOAT) {
        double number;

        if (!PyFloat_CheckExact(value))
            return false;
        number = PyFloat_AS_DOUBLE(value);
        if (field->size == 4) {
            float single = (float)number;
            uint32_t half;

            if (isinf(single) && !isinf(number))
                return false;
            memcpy(&half, &single, 4);
            *bits = half;
        } else {
            memcpy(bits, &number, 8);
        }
        return true;
    }
    if (field->kind == KIND_BOOL) {
        *bits = value == Py_True;
        return PyBool_Check(value);
    }
    if (PyLong_CheckExact(value)) {
        unsigned width = field->bits ? field->bits : 8u * field->size;
        int overflow;
        long long number = PyLong_AsLongLongAndOverflow(value, &overflow);

        if (overflow > 0 && field->kind == KIND_UNSIGNED && width == 64) {
            *bits = PyLong_AsUnsignedLongLong(value);
            if (*bits == UINT64_MAX && PyErr_Occurred()) {
                PyErr_Clear();
                return false;
            }
            return true;
        }
        *bits = (uint64_t)number;
        if (overflow)
            return false;
        if (field->kind == KIND_SIGNED)
            return number >> (width - 1) == number >> 63;
        return number >= 0 && (width == 64 || number >> width == 0);
    }
    return false;
}

int field_store(PyObject *self, PyObject *target, Py_ssize_t more, PyObject *value)
{
    const Field *field = (Field *)self;
    struct foreign cell;
    uint64_t bits;

    if (!plain_bits(field, value, &bits)) {
        PyObject *plain = field->convert ? PyObject_CallOneArg(field->convert, value)
                                         : PyErr_Format(PyExc_RuntimeError, "it is being unmade");
        bool fits = plain && plain_bits(field, plain, &bits);

        Py_XDECREF(plain);
        if (!plain)
            return -1;
        if (!fits) {
            PyErr_SetString(PyExc_SystemError, "a conversion gave no plain number");
            return -1;
        }
    }
    cell = cell_of(field, target, more); /* now: convert may have closed the library */
    if (!foreign_there(cell))
        return -1;
    if (field->bits)
        store_bits(field, cell, bits);
    else
        foreign_write(cell, &bits, field->size);
    return 0;
}

PyObject *field_load(PyObject *self, PyObject *value, Py_ssize_t more)
{
    struct foreign cell = cell_of((Field *)self, value, more);

    return foreign_there(cell) ? load((Field *)self, cell) : NULL;
}

static PyObject *field_get(PyObject *self, PyObject *object, PyObject *type)
{
    (void)type;
    if (!object || object == Py_None)
        return Py_NewRef(self);
    return field_load(self, object, 0);
}

static int field_set(PyObject *self, PyObject *object, PyObject *value)
{
    if (!value) {
        PyErr_SetString(PyExc_TypeError, "a C field cannot be deleted");
        return -1;
    }
    return field_store(self, object, 0, value);
}

static PyObject *method_load(PyObject *field, PyObject *const *args, Py_ssize_t count)
{
    Py_ssize_t more;

    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "load(array, offset)");
        return NULL;
    }
    more = PyLong_AsSsize_t(args[1]);
    if (more == -1 && PyErr_Occurred())
        return NULL;
    return field_load(field, args[0], more);
}

static PyObject *method_store(PyObject *field, PyObject *const *args, Py_ssize_t count)
{
    Py_ssize_t more;

    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "store(array, offset, value)");
        return NULL;
    }
    more = PyLong_AsSsize_t(args[1]);
    if (more == -1 && PyErr_Occurred())
        return NULL;
    if (field_store(field, args[0], more, args[2]) != 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"load", (PyCFunction)(void (*)(void))method_load, METH_FASTCALL,
     "load(array, offset): the number that many bytes further."},
    {"store", (PyCFunction)(void (*)(void))method_store, METH_FASTCALL,
     "store(array, offset, value)"},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "A number in a record or array."},
    {Py_tp_new, field_new},
    {Py_tp_dealloc, field_dealloc},
    {Py_tp_traverse, field_traverse},
    {Py_tp_clear, field_clear},
    {Py_tp_descr_get, field_get},
    {Py_tp_descr_set, field_set},
    {Py_tp_methods, methods},
    {0},
};

PyType_Spec field_spec = {
    .name = "libferry._core.Field",
    .basicsize = sizeof(Field),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};
