/* Python values to cells of the frame; results go back in unpack.c.
 *
 * Every number is extended to the full width of its cell, as its C type or its ABI says,
 * which satisfies both the ABIs that demand it and those that leave the upper bits open.
 * Host and target are both little-endian, so a cell is written low byte first. */
#include "extension.h"
#include "record.h"

#include <math.h>

bool refuse(const struct packing *packing, Py_ssize_t index, PyObject *value, const char *code)
{
    /* TypeError, ValueError and the like are what the code says better; but Ctrl-C, no
     * memory, or what a value's own code raised is for the caller to see. */
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError) &&
        !PyErr_ExceptionMatches(PyExc_ValueError) && !PyErr_ExceptionMatches(PyExc_BufferError) &&
        !PyErr_ExceptionMatches(PyExc_OverflowError))
        return false;
    PyErr_Clear();
    raise_by(HOOK_ARGUMENT, "(OnOs)", packing->owner, index, value, code);
    return false;
}

/* ---- numbers ---- */

/* The value of an int of one digit, which most are, without a call. */
static inline bool small_int(PyObject *value, long long *number)
{
#if PY_VERSION_HEX >= 0x030c0000
    if (!PyLong_CheckExact(value) || !PyUnstable_Long_IsCompact((PyLongObject *)value))
        return false;
    *number = PyUnstable_Long_CompactValue((PyLongObject *)value);
#else
    Py_ssize_t digits;

    if (!PyLong_CheckExact(value))
        return false;
    digits = Py_SIZE(value);
    if (digits < -1 || digits > 1)
        return false;
    *number = digits * (long long)((PyLongObject *)value)->ob_digit[0];
#endif
    return true;
}

static inline bool fits(const struct slot *slot, long long number)
{
    return (uint64_t)number - (uint64_t)slot->least <= slot->span;
}

/* Most arguments are small ints. False: it is none, or does not fit. */
static inline bool pack_small(struct packing *packing, const struct slot *slot, PyObject *value)
{
    long long number;

    if (slot->kind > KIND_UNSIGNED || !small_int(value, &number) || !fits(slot, number))
        return false;
    store(packing->frame, slot, (uint64_t)(slot->sign ? (int32_t)number : number));
    return true;
}

/* An object that is no int but has an __index__, as one; NULL with an exception. What
 * __index__ itself raises is passed on. */
static PyObject *as_int(const struct packing *packing, Py_ssize_t index, PyObject *value,
                        const char *code)
{
    PyObject *integer = PyIndex_Check(value) ? PyNumber_Index(value) : NULL;

    if (!integer && (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_TypeError)))
        refuse(packing, index, value, code);
    return integer;
}

static bool pack_integer(struct packing *packing, const struct slot *slot, Py_ssize_t index,
                         PyObject *value)
{
    int overflow = 0;
    long long number;

    if (slot->character && PyBytes_Check(value) && PyBytes_GET_SIZE(value) == 1) {
        char byte = PyBytes_AS_STRING(value)[0];

        number = slot->kind == KIND_SIGNED ? (signed char)byte : (unsigned char)byte;
    } else if (PyLong_Check(value)) {
        number = PyLong_AsLongLongAndOverflow(value, &overflow);
    } else {
        PyObject *integer = as_int(packing, index, value, "not an integer");
        bool packed = integer && pack_integer(packing, slot, index, integer);

        Py_XDECREF(integer);
        return packed;
    }
    if (overflow > 0 && slot->kind == KIND_UNSIGNED && slot->size == 8) {
        unsigned long long large = PyLong_AsUnsignedLongLong(value);

        if (PyErr_Occurred())
            return refuse(packing, index, value, "does not fit");
        store(packing->frame, slot, large);
        return true;
    }
    if (overflow || !fits(slot, number))
        return refuse(packing, index, value, "does not fit");
    if (slot->sign)
        number = (int32_t)number;
    store(packing->frame, slot, (uint64_t)number);
    return true;
}

static bool pack_bool(struct packing *packing, const struct slot *slot, Py_ssize_t index,
                      PyObject *value)
{
    long number;

    if (value == Py_True || value == Py_False) {
        number = value == Py_True;
    } else if (strncmp(Py_TYPE(value)->tp_name, "numpy.bool", 10) == 0) {
        number = PyObject_IsTrue(value); /* it is no subclass of int and has no __index__ */
        if (number < 0)
            return false;
    } else {
        PyObject *integer = as_int(packing, index, value, "not a bool");

        if (!integer)
            return false;
        number = PyLong_AsLong(integer);
        Py_DECREF(integer);
        if (number != 0 && number != 1)
            return refuse(packing, index, value, "not a bool");
    }
    store(packing->frame, slot, (uint64_t)number);
    return true;
}

/* Intel SDM volume 1, 4.2: the inverse of unpack.c's from_x87; always exact. */
static void to_x87(double number, uint8_t *bytes)
{
    uint64_t bits, significand;
    uint16_t top;
    int exponent;

    memcpy(&bits, &number, 8);
    if (number == 0) {
        significand = 0;
        top = 0;
    } else if (isfinite(number)) {
        significand = (uint64_t)ldexp(frexp(fabs(number), &exponent), 64);
        top = (uint16_t)(exponent - 1 + 16383);
    } else { /* infinity, or a NaN with its payload */
        significand = (uint64_t)1 << 63 | bits << 12 >> 1;
        top = 0x7fff;
    }
    top = (uint16_t)(top | bits >> 63 << 15);
    memcpy(bytes, &significand, 8);
    memcpy(bytes + 8, &top, 2);
}

static bool pack_float(struct packing *packing, const struct slot *slot, Py_ssize_t index,
                       PyObject *value)
{
    double number = PyFloat_CheckExact(value) ? PyFloat_AS_DOUBLE(value) : PyFloat_AsDouble(value);
    uint64_t bits = 0;

    if (number == -1.0 && PyErr_Occurred())
        return refuse(packing, index, value,
                      PyErr_ExceptionMatches(PyExc_OverflowError) ? "does not fit"
                                                                  : "not a number");
    if (slot->size == 4) {
        float single = (float)number;

        if (isinf(single) && !isinf(number))
            return refuse(packing, index, value, "does not fit");
        memcpy(&bits, &single, 4);
        if (slot->ones)
            bits |= 0xffffffff00000000u;
        number = single;
    } else {
        memcpy(&bits, &number, 8);
    }
    if (slot->kind == KIND_X87)
        to_x87(number, (uint8_t *)packing->frame + slot->offset);
    else
        store(packing->frame, slot, bits);
    return true;
}

/* ---- anything else: its bytes ---- */

static void scatter(struct ferry_frame *frame, const struct slot *slot, struct foreign bytes)
{
    for (uint16_t i = 0; i < slot->move_count; i++) {
        const struct move *move = &slot->moves[i];
        char *cell = (char *)frame + move->offset;

        foreign_read_piece(cell, foreign_at(bytes, move->source), move->size);
        if (move->width > move->size)
            memset(cell + move->size, move->ones ? 0xff : 0, (size_t)move->width - move->size);
    }
}

static bool pack_value(struct packing *packing, const struct slot *slot, PyObject *value)
{
    PyObject *made, *bytes;
    bool right;

    if (slot->class && struct_passes(value, slot->class, packing->plan->library)) {
        Py_ssize_t size;
        struct foreign data = struct_data(value, &size);

        if (foreign_there(data))
            scatter(packing->frame, slot, data);
        return foreign_there(data);
    }
    made = PyObject_CallOneArg(slot->encode, value);
    if (!made)
        return false;
    /* its bytes, or also what has to live as long as the call: what they point to */
    bytes = PyTuple_Check(made) && PyTuple_GET_SIZE(made) == 2 ? PyTuple_GET_ITEM(made, 0) : made;
    right = PyBytes_Check(bytes) && PyBytes_GET_SIZE(bytes) == slot->value_size;
    if (right)
        scatter(packing->frame, slot, foreign_from(PyBytes_AS_STRING(bytes)));
    else
        PyErr_SetString(PyExc_SystemError, "an encoder of libferry gave the wrong bytes");
    if (right && bytes != made && packing->loans && slot->lends)
        packing->loans[packing->lent++] = (struct loan){.start = ARENA_NONE, .kept = Py_NewRef(made)};
    Py_DECREF(made);
    return right;
}

__attribute__((noinline)) static bool pack_slowly(struct packing *packing, const struct slot *slot, Py_ssize_t index,
                        PyObject *value)
{
    bool packed;

    switch (slot->kind) {
    case KIND_SIGNED:
    case KIND_UNSIGNED:
        packed = pack_integer(packing, slot, index, value);
        break;
    case KIND_BOOL:
        packed = pack_bool(packing, slot, index, value);
        break;
    case KIND_FLOAT:
    case KIND_X87:
        packed = pack_float(packing, slot, index, value);
        break;
    case KIND_BYTES:
        packed = pack_value(packing, slot, value);
        break;
    default:
        packed = pack_pointer(packing, slot, index, value);
    }
    /* A value's own __index__ or codec may have closed the library meanwhile. */
    if (packed && !session_usable(packing->session)) {
        session_raise(packing->session, packing->owner);
        return false;
    }
    return packed;
}

bool pack(struct packing *packing, const struct slot *slot, Py_ssize_t index, PyObject *value)
{
    return pack_small(packing, slot, value) || pack_slowly(packing, slot, index, value);
}

bool pack_arguments(struct packing *packing, PyObject *const *values)
{
    const struct slot *slots = packing->plan->arguments;

    for (Py_ssize_t i = 0; i < Py_SIZE(packing->plan); i++)
        if (!pack_small(packing, &slots[i], values[i]) &&
            !pack_slowly(packing, &slots[i], i, values[i]))
            return false;
    return true;
}
