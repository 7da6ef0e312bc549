/* Result cells of the frame to Python values.
 *
 * The frame is this process's own: what came from a worker was copied before. */
#include "extension.h"
#include "record.h"

#include <math.h>

/* Intel SDM volume 1, 4.2: a sign, 15 bits of exponent biased by 16383, and 64 bits
 * of significand whose highest is the integer bit. Rounding from there to the
 * declared type is what a C caller's store would do. */
static double from_x87(const uint8_t *bytes, uint8_t size)
{
    uint64_t significand;
    uint16_t top;
    double value;

    memcpy(&significand, bytes, 8);
    memcpy(&top, bytes + 8, 2);
    if ((top & 0x7fff) == 0x7fff) {
        uint64_t bits = (uint64_t)0x7ff << 52 | significand << 1 >> 12;

        memcpy(&value, &bits, 8);
    } else {
        int exponent = (top & 0x7fff) - 16383 - 63;

        /* long double has 64 or 113 bits: exact, so that there is one rounding below */
        long double exact = ldexpl((long double)significand, exponent);

        value = size == 4 ? (double)(float)exact : (double)exact;
    }
    return top >> 15 ? -value : value;
}

static PyObject *unpack_pointer(const Session *session, const Plan *plan, const struct slot *slot,
                                uint64_t address)
{
    if (address == 0)
        Py_RETURN_NONE;
    if (slot->kind == KIND_STRING && !session->in_worker) {
        const char *string = (const char *)(uintptr_t)address;
        Py_ssize_t length = (Py_ssize_t)strlen(string);

        if (plan->encoding == Py_None)
            return PyBytes_FromStringAndSize(string, length);
        return PyUnicode_Decode(string, length, PyUnicode_AsUTF8(plan->encoding),
                                "surrogateescape");
    }
    return PyObject_CallFunction(slot->decode, "K", (unsigned long long)address);
}

/* Its bytes, put together from their pieces; what no piece covers is padding. */
static void gather(char *bytes, const struct slot *slot, const struct ferry_frame *frame)
{
    for (uint16_t i = 0; i < slot->move_count; i++) {
        const struct move *move = &slot->moves[i];

        copy_piece(bytes + move->source, (const char *)frame + move->offset, move->size);
    }
}

static PyObject *unpack_value(const Plan *plan, const struct slot *slot,
                              const struct ferry_frame *frame)
{
    char data[slot->value_size + 1u], *place;
    PyObject *bytes, *value;

    if (slot->class) {
        value = struct_new(slot->class, plan->library, &place);
        if (value)
            gather(place, slot, frame);
        return value;
    }
    memset(data, 0, slot->value_size);
    gather(data, slot, frame);
    bytes = PyBytes_FromStringAndSize(data, slot->value_size);
    value = bytes ? PyObject_CallOneArg(slot->decode, bytes) : NULL;
    Py_XDECREF(bytes);
    return value;
}

PyObject *unpack(const Session *session, const Plan *plan, const struct slot *slot,
                 const struct ferry_frame *frame)
{
    const char *cell = (const char *)frame + slot->offset;
    unsigned unused = 64 - 8u * slot->size;
    uint64_t bits;

    if (slot->kind == KIND_VOID)
        Py_RETURN_NONE;
    if (slot->kind == KIND_BYTES)
        return unpack_value(plan, slot, frame);
    memcpy(&bits, cell, 8); /* every cell has as many; a narrow value leaves some open */
    switch (slot->kind) {
    case KIND_SIGNED:
        return PyLong_FromLongLong((int64_t)(bits << unused) >> unused);
    case KIND_UNSIGNED:
        return PyLong_FromUnsignedLongLong(bits << unused >> unused);
    case KIND_BOOL:
        return PyBool_FromLong((bits & 0xff) != 0);
    case KIND_FLOAT:
        if (slot->size == 4) {
            float single;

            memcpy(&single, cell, 4);
            return PyFloat_FromDouble(single);
        } else {
            double number;

            memcpy(&number, cell, 8);
            return PyFloat_FromDouble(number);
        }
    case KIND_X87:
        return PyFloat_FromDouble(from_x87((const uint8_t *)cell, slot->size));
    default:
        return unpack_pointer(session, plan, slot, bits << unused >> unused);
    }
}
