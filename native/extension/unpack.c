/* Result cells of the frame to Python values.
 *
 * The frame is this process's own: what came from a worker was copied before. */
#include "extension.h"

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

static PyObject *unpack_pointer(Function *function, uint64_t address)
{
    if (address == 0)
        Py_RETURN_NONE;
    if (function->result_kind == KIND_STRING && !function->session->channel) {
        const char *string = (const char *)(uintptr_t)address;
        Py_ssize_t length = (Py_ssize_t)strlen(string);

        if (function->encoding == Py_None)
            return PyBytes_FromStringAndSize(string, length);
        return PyUnicode_Decode(string, length, PyUnicode_AsUTF8(function->encoding),
                                "surrogateescape");
    }
    return PyObject_CallFunction(function->hook, "K", (unsigned long long)address);
}

PyObject *unpack(Function *function, const struct ferry_frame *frame)
{
    const char *cell = (const char *)frame + function->result_offset;
    unsigned unused = 64 - 8u * function->result_size;
    uint64_t bits;

    memcpy(&bits, cell, 8); /* every cell has as many; a narrow result leaves some open */
    switch (function->result_kind) {
    case KIND_VOID:
        Py_RETURN_NONE;
    case KIND_SIGNED:
        return PyLong_FromLongLong((int64_t)(bits << unused) >> unused);
    case KIND_UNSIGNED:
        return PyLong_FromUnsignedLongLong(bits << unused >> unused);
    case KIND_BOOL:
        return PyBool_FromLong((bits & 0xff) != 0);
    case KIND_FLOAT:
        if (function->result_size == 4) {
            float single;

            memcpy(&single, cell, 4);
            return PyFloat_FromDouble(single);
        } else {
            double number;

            memcpy(&number, cell, 8);
            return PyFloat_FromDouble(number);
        }
    case KIND_X87:
        return PyFloat_FromDouble(from_x87((const uint8_t *)cell, function->result_size));
    default:
        return unpack_pointer(function, bits << unused >> unused);
    }
}
