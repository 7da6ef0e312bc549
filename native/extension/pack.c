/* Python values to cells of the frame; results go back in unpack.c.
 *
 * Every number is extended to the full width of its cell as its C type says, which
 * satisfies both the ABIs that demand it and those that leave the upper bits open.
 * Host and target are both little-endian, so a cell is written low byte first. */
#include "extension.h"

static bool refuse(Function *function, Py_ssize_t index, PyObject *value, const char *code)
{
    /* TypeError, ValueError and the like are what the code says better; but Ctrl-C, no
     * memory, or what a value's own code raised is for the caller to see. */
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError) &&
        !PyErr_ExceptionMatches(PyExc_ValueError) && !PyErr_ExceptionMatches(PyExc_BufferError) &&
        !PyErr_ExceptionMatches(PyExc_OverflowError))
        return false;
    PyErr_Clear();
    raise_by(HOOK_ARGUMENT, "(OnOs)", (PyObject *)function, index, value, code);
    return false;
}

static inline void store(struct ferry_frame *frame, const struct argument *argument, uint64_t bits)
{
    char *cell = (char *)frame + argument->offset;

    if (argument->width == 8)
        memcpy(cell, &bits, 8);
    else if (argument->width == 4)
        memcpy(cell, &bits, 4);
    else
        memcpy(cell, &bits, argument->width);
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

static inline bool fits(const struct argument *argument, long long number)
{
    unsigned bits = 8u * argument->size;

    if (argument->kind == KIND_SIGNED)
        return number >> (bits - 1) == number >> 63;
    return number >= 0 && (bits == 64 || number >> bits == 0);
}

/* An object that is no int but has an __index__, as one; NULL with an exception. What
 * __index__ itself raises is passed on. */
static PyObject *as_int(Function *function, Py_ssize_t index, PyObject *value, const char *code)
{
    PyObject *integer = PyIndex_Check(value) ? PyNumber_Index(value) : NULL;

    if (!integer && (!PyErr_Occurred() || PyErr_ExceptionMatches(PyExc_TypeError)))
        refuse(function, index, value, code);
    return integer;
}

static bool pack_integer(Function *function, Py_ssize_t index, PyObject *value,
                         struct ferry_frame *frame)
{
    const struct argument *argument = &function->arguments[index];
    int overflow = 0;
    long long number;

    if (argument->character && PyBytes_Check(value) && PyBytes_GET_SIZE(value) == 1) {
        char byte = PyBytes_AS_STRING(value)[0];

        number = argument->kind == KIND_SIGNED ? (signed char)byte : (unsigned char)byte;
    } else if (PyLong_Check(value)) {
        number = PyLong_AsLongLongAndOverflow(value, &overflow);
    } else {
        PyObject *integer = as_int(function, index, value, "not an integer");
        bool packed = integer && pack_integer(function, index, integer, frame);

        Py_XDECREF(integer);
        return packed;
    }
    if (overflow > 0 && argument->kind == KIND_UNSIGNED && argument->size == 8) {
        unsigned long long large = PyLong_AsUnsignedLongLong(value);

        if (PyErr_Occurred())
            return refuse(function, index, value, "does not fit");
        store(frame, argument, large);
        return true;
    }
    if (overflow || !fits(argument, number))
        return refuse(function, index, value, "does not fit");
    store(frame, argument, (uint64_t)number);
    return true;
}

static bool pack_bool(Function *function, Py_ssize_t index, PyObject *value,
                      struct ferry_frame *frame)
{
    long number;

    if (value == Py_True || value == Py_False) {
        number = value == Py_True;
    } else if (strncmp(Py_TYPE(value)->tp_name, "numpy.bool", 10) == 0) {
        number = PyObject_IsTrue(value); /* it is no subclass of int and has no __index__ */
        if (number < 0)
            return false;
    } else {
        PyObject *integer = as_int(function, index, value, "not a bool");

        if (!integer)
            return false;
        number = PyLong_AsLong(integer);
        Py_DECREF(integer);
        if (number != 0 && number != 1)
            return refuse(function, index, value, "not a bool");
    }
    store(frame, &function->arguments[index], (uint64_t)number);
    return true;
}

static bool pack_float(Function *function, Py_ssize_t index, PyObject *value,
                       struct ferry_frame *frame)
{
    const struct argument *argument = &function->arguments[index];
    double number = PyFloat_CheckExact(value) ? PyFloat_AS_DOUBLE(value) : PyFloat_AsDouble(value);
    uint64_t bits = 0;

    if (number == -1.0 && PyErr_Occurred())
        return refuse(function, index, value,
                      PyErr_ExceptionMatches(PyExc_OverflowError) ? "does not fit"
                                                                  : "not a number");
    if (argument->size == 4) {
        float single = (float)number;

        if (isinf(single) && !isinf(number))
            return refuse(function, index, value, "does not fit");
        memcpy(&bits, &single, 4);
    } else {
        memcpy(&bits, &number, 8);
    }
    store(frame, argument, bits);
    return true;
}

/* ---- pointers ---- */

static bool same_type(PyObject *given, PyObject *wanted)
{
    return given == wanted || PyUnicode_Compare(given, wanted) == 0;
}

/* C converts void * to and from every object pointer; so do we. */
static bool compatible(PyObject *given, PyObject *wanted)
{
    return same_type(given, wanted) ||
           PyUnicode_CompareWithASCIIString(given, "void *") == 0 ||
           PyUnicode_CompareWithASCIIString(wanted, "void *") == 0;
}

/* Whether a buffer's items are what the parameter points to. Bytes are anything. */
static bool elements_match(const struct argument *argument, const Py_buffer *view)
{
    const char *format = view->format ? view->format : "B";
    char kind;

    if (*format == '@' || *format == '=' || *format == '<')
        format++;
    if (argument->element == 0 || (view->itemsize == 1 && strchr("Bbc", *format)))
        return true;
    if (format[0] == 0 || format[1] != 0)
        return false;
    kind = strchr("bhilqn", *format)         ? 'i'
           : strchr("BHILQN?", *format)      ? 'u'
           : strchr("efd", *format)          ? 'f'
                                             : 0;
    /* signedness is not C's reason to refuse a pointer to the same bytes */
    return view->itemsize == argument->element_size &&
           (kind == 'f') == (argument->element == 'f') && kind != 0;
}

/* Room in the arena for the bytes of one argument. NULL with an exception. */
static char *borrow(Session *session, struct loan *loan, uint64_t size)
{
    loan->start = arena_take(&session->arena, size);
    if (loan->start == ARENA_NONE) {
        raise_by(HOOK_ARENA, "(OK)", (PyObject *)session, (unsigned long long)size);
        return NULL;
    }
    loan->size = size ? size : 1;
    return (char *)session->channel + loan->start;
}

/* Bytes that must be terminated there: a string, or the contents of a bytes. */
static bool pack_bytes(Function *function, Py_ssize_t index, const char *data, Py_ssize_t size,
                       int zeros, struct ferry_frame *frame, struct loan *loan)
{
    Session *session = function->session;
    uint64_t address = (uintptr_t)data;

    if (session->channel) {
        char *copy = borrow(session, loan, (uint64_t)(size + zeros));

        if (!copy)
            return false;
        memcpy(copy, data, (size_t)size);
        memset(copy + size, 0, (size_t)zeros);
        address = session->base + loan->start;
    }
    store(frame, &function->arguments[index], address);
    return true;
}

static bool pack_text(Function *function, Py_ssize_t index, PyObject *value,
                      struct ferry_frame *frame, struct loan *loan)
{
    const struct argument *argument = &function->arguments[index];
    static const char *const wide[] = {[2] = "utf-16-le", [4] = "utf-32-le"};
    Py_ssize_t length = PyUnicode_GET_LENGTH(value);

    if (!argument->text || !argument->readonly)
        return refuse(function, index, value, argument->text ? "read-only str" : "not a pointer");
    if (PyUnicode_FindChar(value, 0, 0, length, 1) >= 0)
        return refuse(function, index, value, "embedded NUL");
    if (argument->element_size == 1) {
        if (function->encoding == Py_None)
            return refuse(function, index, value, "not bytes");
        loan->kept = PyUnicode_AsEncodedString(
            value, PyUnicode_AsUTF8(function->encoding), "surrogateescape");
    } else {
        /* with a terminator of its own: that of a bytes object is one byte */
        PyObject *ended = PyUnicode_FromFormat("%U%c", value, 0);

        loan->kept = ended ? PyUnicode_AsEncodedString(ended, wide[argument->element_size],
                                                       "surrogatepass")
                           : NULL;
        Py_XDECREF(ended);
    }
    if (!loan->kept || !PyBytes_Check(loan->kept))
        return refuse(function, index, value, "cannot be encoded");
    return pack_bytes(function, index, PyBytes_AS_STRING(loan->kept), PyBytes_GET_SIZE(loan->kept),
                      1, frame, loan);
}

/* The same memory handed in twice is the same memory there; overlapping parts that
 * the library may write to could not be put back together. */
static bool find_shared(Function *function, Py_ssize_t index, PyObject *value,
                        struct loan *loans, uint32_t count, const struct loan *loan,
                        uint64_t *start)
{
    const Py_buffer *mine = &loan->view;
    bool writes = !function->arguments[index].readonly;

    *start = ARENA_NONE;
    for (uint32_t i = 0; i < count; i++) {
        const Py_buffer *other = &loans[i].view;

        if (!other->obj || loans[i].start == ARENA_NONE || mine->len == 0 || other->len == 0)
            continue;
        if (other->buf == mine->buf && other->len == mine->len) {
            loans[i].copy_back |= writes;
            *start = loans[i].start;
            return true;
        }
        if ((writes || loans[i].copy_back) &&
            (char *)mine->buf < (char *)other->buf + other->len &&
            (char *)other->buf < (char *)mine->buf + mine->len)
            return refuse(function, index, value, "overlaps");
    }
    return true;
}

static bool pack_buffer(Function *function, Py_ssize_t index, PyObject *value,
                        struct ferry_frame *frame, struct loan *loans, uint32_t count)
{
    const struct argument *argument = &function->arguments[index];
    Session *session = function->session;
    struct loan *loan = &loans[count];
    uint64_t address, start;
    char *base = session->channel, *copy;
    int flags = PyBUF_ND | PyBUF_FORMAT | (argument->readonly ? 0 : PyBUF_WRITABLE);

    if (PyObject_GetBuffer(value, &loan->view, flags) != 0) {
        loan->view.obj = NULL;
        PyErr_Clear();
        if (PyObject_GetBuffer(value, &loan->view, PyBUF_FULL_RO) != 0) {
            loan->view.obj = NULL;
            return refuse(function, index, value, "no buffer");
        }
        return refuse(function, index, value,
                      loan->view.readonly && !argument->readonly ? "read-only" : "not contiguous");
    }
    if (loan->view.format && strchr(loan->view.format, 'O'))
        return refuse(function, index, value, "objects");
    if (!elements_match(argument, &loan->view))
        return refuse(function, index, value, "other elements");

    address = (uintptr_t)loan->view.buf;
    if (base) {
        if (loan->view.buf >= (void *)(base + CHANNEL_ARENA_OFFSET) &&
            loan->view.buf < (void *)(base + session->size)) { /* a view of a Buffer of ours */
            store(frame, argument, session->base + (uint64_t)((char *)loan->view.buf - base));
            return true;
        }
        if (!find_shared(function, index, value, loans, count, loan, &start))
            return false;
        if (start == ARENA_NONE) {
            enum { ZEROS = 4 }; /* enough for any text, which this may be as another argument */

            copy = borrow(session, loan, (uint64_t)loan->view.len + ZEROS);
            if (!copy)
                return false;
            memcpy(copy, loan->view.buf, (size_t)loan->view.len);
            memset(copy + loan->view.len, 0, ZEROS); /* what follows in the arena is no text */
            loan->copy_back = !argument->readonly;
            start = loan->start;
        }
        address = session->base + start;
    }
    store(frame, argument, address);
    return true;
}

static bool pack_ours(Function *function, Py_ssize_t index, Buffer *buffer,
                      struct ferry_frame *frame, struct loan *loan)
{
    const struct argument *argument = &function->arguments[index];

    if (!buffer->data)
        return refuse(function, index, (PyObject *)buffer, "freed Buffer");
    if (buffer->type != Py_None && !compatible(buffer->type, argument->type))
        return refuse(function, index, (PyObject *)buffer, "other type");
    buffer->exports++;
    loan->buffer = (Buffer *)Py_NewRef((PyObject *)buffer);
    store(frame, argument, buffer_address(buffer));
    return true;
}

static bool pack_pointer(Function *function, Py_ssize_t index, PyObject *value,
                         struct ferry_frame *frame, struct loan *loans, uint32_t *used)
{
    const struct argument *argument = &function->arguments[index];
    struct loan *loan = &loans[*used];

    if (value == Py_None) {
        store(frame, argument, 0);
        return true;
    }
    if (PyObject_TypeCheck(value, pointer_type)) {
        const Pointer *pointer = (Pointer *)value;

        if (pointer->session != function->session)
            return refuse(function, index, value, "other library");
        if (!compatible(pointer->type, argument->type))
            return refuse(function, index, value, "other type");
        store(frame, argument, pointer->address);
        return true;
    }

    *loan = (struct loan){.start = ARENA_NONE};
    *used += 1;
    if (PyObject_TypeCheck(value, buffer_type) &&
        (((Buffer *)value)->session == function->session || !((Buffer *)value)->data))
        return pack_ours(function, index, (Buffer *)value, frame, loan);
    if (PyUnicode_Check(value))
        return pack_text(function, index, value, frame, loan);
    if (PyBytes_Check(value)) {
        Py_ssize_t size = PyBytes_GET_SIZE(value);

        if (!argument->readonly)
            return refuse(function, index, value, "read-only");
        if (argument->text && argument->element_size != 1)
            return refuse(function, index, value, "not str");
        if (argument->text && memchr(PyBytes_AS_STRING(value), 0, (size_t)size))
            return refuse(function, index, value, "embedded NUL");
        loan->kept = Py_NewRef(value);
        return pack_bytes(function, index, PyBytes_AS_STRING(value), size, 1, frame, loan);
    }
    if (PyObject_CheckBuffer(value))
        return pack_buffer(function, index, value, frame, loans, *used - 1);
    return refuse(function, index, value, "not a pointer");
}

static bool pack_slowly(Function *function, Py_ssize_t index, PyObject *value,
                        struct ferry_frame *frame, struct loan *loans, uint32_t *count)
{
    bool packed;

    switch (function->arguments[index].kind) {
    case KIND_SIGNED:
    case KIND_UNSIGNED:
        packed = pack_integer(function, index, value, frame);
        break;
    case KIND_BOOL:
        packed = pack_bool(function, index, value, frame);
        break;
    case KIND_FLOAT:
        packed = pack_float(function, index, value, frame);
        break;
    default:
        packed = pack_pointer(function, index, value, frame, loans, count);
    }
    /* A value's own __index__ or codec may have closed the library meanwhile. */
    if (packed && !session_usable(function->session)) {
        session_raise(function->session, (PyObject *)function);
        return false;
    }
    return packed;
}

bool pack(Function *function, Py_ssize_t index, PyObject *value, struct ferry_frame *frame,
          struct loan *loans, uint32_t *count)
{
    const struct argument *argument = &function->arguments[index];
    long long number;

    if (argument->kind <= KIND_UNSIGNED && small_int(value, &number) && fits(argument, number)) {
        store(frame, argument, (uint64_t)number);
        return true;
    }
    return pack_slowly(function, index, value, frame, loans, count);
}

void settle(Session *session, struct loan *loans, uint32_t count, bool copy_back)
{
    for (uint32_t i = 0; i < count; i++) {
        struct loan *loan = &loans[i];

        if (loan->copy_back && copy_back)
            memcpy(loan->view.buf, (char *)session->channel + loan->start, (size_t)loan->view.len);
        if (loan->size)
            arena_give(&session->arena, loan->start, loan->size);
        if (loan->view.obj)
            PyBuffer_Release(&loan->view);
        if (loan->buffer) {
            loan->buffer->exports--;
            Py_DECREF(loan->buffer);
        }
        Py_XDECREF(loan->kept);
    }
}
