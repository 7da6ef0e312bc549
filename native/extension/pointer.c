/* Pointers to the frame: what Python lends to a call, and gets back after it.
 *
 * In this process the address is that of the Python object's own memory. A worker cannot
 * see that, so what is not in the arena already is copied there for the call. */
#include "extension.h"
#include "record.h"

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
static bool elements_match(const struct slot *slot, const Py_buffer *view)
{
    const char *format = view->format ? view->format : "B";
    char kind;

    if (*format == '@' || *format == '=' || *format == '<')
        format++;
    if (slot->element == 0 || (view->itemsize == 1 && strchr("Bbc", *format)))
        return true;
    if (format[0] == 0 || format[1] != 0)
        return false;
    kind = strchr("bhilqn", *format)         ? 'i'
           : strchr("BHILQN?", *format)      ? 'u'
           : strchr("efd", *format)          ? 'f'
                                             : 0;
    /* signedness is not C's reason to refuse a pointer to the same bytes */
    return view->itemsize == slot->element_size &&
           (kind == 'f') == (slot->element == 'f') && kind != 0;
}

/* Room in the arena for the bytes of one argument. Not there: with an exception. */
static struct foreign borrow(Session *session, struct loan *loan, uint64_t size)
{
    loan->start = arena_take(&session->arena, size);
    if (loan->start == ARENA_NONE) {
        raise_by(HOOK_ARENA, "(OK)", (PyObject *)session, (unsigned long long)size);
        return foreign_from(NULL);
    }
    loan->size = size ? size : 1;
    return foreign_at(session->channel, loan->start);
}

/* Bytes that must be terminated there: a string, or the contents of a bytes. */
static bool pack_bytes(struct packing *packing, const struct slot *slot, const char *data,
                       Py_ssize_t size, int zeros, struct loan *loan)
{
    Session *session = packing->session;
    uint64_t address = (uintptr_t)data;

    if (session->in_worker) {
        struct foreign copy = borrow(session, loan, (uint64_t)(size + zeros));

        if (!foreign_there(copy))
            return false;
        foreign_write(copy, data, (size_t)size);
        foreign_clear(foreign_at(copy, (uint64_t)size), (size_t)zeros);
        address = session->base + loan->start;
    }
    store(packing->frame, slot, address);
    return true;
}

static bool pack_text(struct packing *packing, const struct slot *slot, Py_ssize_t index,
                      PyObject *value, struct loan *loan)
{
    static const char *const wide[] = {[2] = "utf-16-le", [4] = "utf-32-le"};
    Py_ssize_t length = PyUnicode_GET_LENGTH(value);

    if (!slot->text || !slot->readonly)
        return refuse(packing, index, value, slot->text ? "read-only str" : "not a pointer");
    if (PyUnicode_FindChar(value, 0, 0, length, 1) >= 0)
        return refuse(packing, index, value, "embedded NUL");
    if (slot->element_size == 1) {
        if (packing->plan->encoding == Py_None)
            return refuse(packing, index, value, "not bytes");
        loan->kept = PyUnicode_AsEncodedString(
            value, PyUnicode_AsUTF8(packing->plan->encoding), "surrogateescape");
    } else {
        /* with a terminator of its own: that of a bytes object is one byte */
        PyObject *ended = PyUnicode_FromFormat("%U%c", value, 0);

        loan->kept = ended ? PyUnicode_AsEncodedString(ended, wide[slot->element_size],
                                                       "surrogatepass")
                           : NULL;
        Py_XDECREF(ended);
    }
    if (!loan->kept || !PyBytes_Check(loan->kept))
        return refuse(packing, index, value, "cannot be encoded");
    return pack_bytes(packing, slot, PyBytes_AS_STRING(loan->kept), PyBytes_GET_SIZE(loan->kept), 1,
                      loan);
}

/* The first of them that ends after `from`, or how many there are. */
static size_t writing_after(const struct writings *writings, const char *from)
{
    size_t low = 0, high = writings->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (writings->of[middle].to > from)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

void keep_writings(struct writings *writings, const struct loan *loans, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const char *from = loans[i].view.buf;
        struct writing *place;

        if (!loans[i].copy_back || loans[i].view.len == 0)
            continue;
        place = &writings->of[writing_after(writings, from)];
        memmove(place + 1, place, (size_t)(writings->of + writings->count - place) * sizeof *place);
        *place = (struct writing){from, from + loans[i].view.len, loans[i].start};
        writings->count++;
    }
}

/* What an earlier row of the batch writes is what this one reads. */
static bool find_written(struct packing *packing, Py_ssize_t index, PyObject *value,
                         const Py_buffer *mine, uint64_t *start)
{
    const char *from = mine->buf, *to = from + mine->len;
    size_t at = writing_after(packing->writings, from);
    const struct writing *earlier = &packing->writings->of[at];

    if (from == to || at == packing->writings->count || earlier->from >= to)
        return true;
    if (earlier->from == from && earlier->to == to) {
        *start = earlier->start;
        return true;
    }
    packing->row_overlaps = true;
    return refuse(packing, index, value, "overlaps");
}

/* The same memory handed in twice is the same memory there; overlapping parts that
 * the library may write to could not be put back together. */
static bool find_shared(struct packing *packing, bool writes, Py_ssize_t index, PyObject *value,
                        const struct loan *loan, uint64_t *start)
{
    const Py_buffer *mine = &loan->view;

    *start = ARENA_NONE;
    if (packing->writings && !find_written(packing, index, value, mine, start))
        return false;
    if (*start != ARENA_NONE)
        return true;
    for (struct loan *earlier = packing->loans; earlier < loan; earlier++) {
        const Py_buffer *other = &earlier->view;

        if (!other->obj || earlier->start == ARENA_NONE || mine->len == 0 || other->len == 0)
            continue;
        if (other->buf == mine->buf && other->len == mine->len) {
            earlier->copy_back |= writes;
            *start = earlier->start;
            return true;
        }
        if ((writes || earlier->copy_back) &&
            (char *)mine->buf < (char *)other->buf + other->len &&
            (char *)other->buf < (char *)mine->buf + mine->len)
            return refuse(packing, index, value, "overlaps");
    }
    return true;
}

/* Whether a format (PEP 3118) has an object in it; the names of its fields may have an O. */
static bool has_objects(const char *format)
{
    bool name = false;

    for (; format && *format; format++) {
        if (*format == ':')
            name = !name;
        else if (*format == 'O' && !name)
            return true;
    }
    return false;
}

static bool pack_buffer(struct packing *packing, const struct slot *slot, Py_ssize_t index,
                        PyObject *value, struct loan *loan)
{
    Session *session = packing->session;
    uint64_t address, start;
    struct foreign copy;
    int flags = PyBUF_ND | PyBUF_FORMAT | (slot->readonly ? 0 : PyBUF_WRITABLE);

    if (PyObject_GetBuffer(value, &loan->view, flags) != 0) {
        loan->view.obj = NULL;
        PyErr_Clear();
        if (PyObject_GetBuffer(value, &loan->view, PyBUF_FULL_RO) != 0) {
            loan->view.obj = NULL;
            return refuse(packing, index, value, "no buffer");
        }
        return refuse(packing, index, value,
                      loan->view.readonly && !slot->readonly ? "read-only" : "not contiguous");
    }
    if (has_objects(loan->view.format))
        return refuse(packing, index, value, "objects");
    if (!elements_match(slot, &loan->view))
        return refuse(packing, index, value, "other elements");

    address = (uintptr_t)loan->view.buf;
    if (session->in_worker) {
        uint64_t offset = address - foreign_number(session->channel);

        if (offset >= CHANNEL_ARENA_OFFSET && offset < session->size) { /* a view of a Buffer of ours */
            store(packing->frame, slot, session->base + offset);
            return true;
        }
        if (!find_shared(packing, !slot->readonly, index, value, loan, &start))
            return false;
        if (start == ARENA_NONE) {
            enum { ZEROS = 4 }; /* enough for any text, which this may be as another argument */

            copy = borrow(session, loan, (uint64_t)loan->view.len + ZEROS);
            if (!foreign_there(copy))
                return false;
            foreign_write(copy, loan->view.buf, (size_t)loan->view.len);
            foreign_clear(foreign_at(copy, (uint64_t)loan->view.len), ZEROS); /* what follows in the arena is no text */
            loan->copy_back = !slot->readonly;
            start = loan->start;
        }
        address = session->base + start;
    }
    store(packing->frame, slot, address);
    return true;
}

/* Whether it is of the same library, before its worker crashed. A Buffer is then refused, and
 * not copied as another library's is: nobody would look there for what the library writes. */
static bool is_past(const Session *owner, const Session *session)
{
    return owner != session && owner->family == session->family;
}

static bool pack_ours(struct packing *packing, const struct slot *slot, Py_ssize_t index,
                      Buffer *buffer, struct loan *loan)
{
    if (buffer->type != Py_None && !compatible(buffer->type, slot->type))
        return refuse(packing, index, (PyObject *)buffer, "other type");
    if (!buffer_use(buffer))
        return refuse(packing, index, (PyObject *)buffer, "freed Buffer");
    loan->buffer = (Buffer *)Py_NewRef((PyObject *)buffer);
    store(packing->frame, slot, buffer_address(buffer));
    return true;
}

/* What only Python can make a pointer of: a callable becomes a Callback, a sequence an
 * array of the target's. What comes of it is passed instead. */
static bool pack_converted(struct packing *packing, const struct slot *slot, Py_ssize_t index,
                           PyObject *value)
{
    PyObject *converted = PyObject_CallOneArg(slot->encode, value);
    bool packed;

    if (!converted)
        return false; /* which element of it is wrong is said already */
    if (converted == Py_NotImplemented)
        packed = refuse(packing, index, value, "not a pointer");
    else
        packed = pack_pointer(packing, slot, index, converted);
    Py_DECREF(converted); /* its loan keeps it, or the library does */
    return packed;
}

/* The class that a pointer was found to lead to. Without the GIL the first stays: another
 * thread may be comparing with it. */
static void remember(struct slot *slot, PyTypeObject *class)
{
    Py_INCREF(class);
#ifdef Py_GIL_DISABLED
    PyTypeObject *none = NULL;

    if (!__atomic_compare_exchange_n(&slot->class, &none, class, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED))
        Py_DECREF(class);
#else
    Py_XSETREF(slot->class, class);
#endif
}

/* A record or an array as this library's: itself if it is what the pointer leads to,
 * which Python knows and we remember; or one that Python has converted. A new reference,
 * NULL with an exception. */
static PyObject *as_pointee(struct packing *packing, struct slot *slot, Py_ssize_t index,
                            PyObject *value)
{
    PyObject *accepted;

    PyTypeObject *known = __atomic_load_n(&slot->class, __ATOMIC_ACQUIRE);

    if (known && struct_passes(value, known, packing->plan->library))
        return Py_NewRef(value);
    accepted = PyObject_CallOneArg(slot->encode, value);
    if (accepted && !struct_check(accepted)) {
        Py_CLEAR(accepted);
        refuse(packing, index, value, "other type");
    }
    if (accepted == value)
        remember(slot, Py_TYPE(value));
    return accepted;
}

static bool pack_pointee(struct packing *packing, const struct slot *slot, Py_ssize_t index,
                         PyObject *value)
{
    struct loan *loan;
    uint64_t address;
    Py_ssize_t size;

    if (!foreign_there(struct_data(value, &size)))
        return false;
    if (!struct_address(value, packing->session, &address)) {
        const Buffer *buffer = struct_buffer(value);

        if (!packing->loans)
            return refuse(packing, index, value, "not kept");
        if (buffer && is_past(buffer->session, packing->session))
            return refuse(packing, index, value, "other library");
        loan = &packing->loans[packing->lent++];
        *loan = (struct loan){.start = ARENA_NONE};
        return pack_buffer(packing, slot, index, value, loan);
    }
    if (packing->loans) {
        loan = &packing->loans[packing->lent++];
        *loan = (struct loan){.start = ARENA_NONE, .kept = Py_NewRef(value)};
    }
    store(packing->frame, slot, address);
    return true;
}

static bool pack_aggregate(struct packing *packing, const struct slot *slot, Py_ssize_t index,
                           PyObject *value)
{
    PyObject *pointee = as_pointee(packing, (struct slot *)slot, index, value);
    bool packed = pointee && pack_pointee(packing, slot, index, pointee);

    Py_XDECREF(pointee); /* its loan keeps it */
    return packed;
}

static bool pack_address(struct packing *packing, const struct slot *slot, Py_ssize_t index,
                         PyObject *value, const Session *owner, PyObject *type, uint64_t address)
{
    if (owner != packing->session)
        return refuse(packing, index, value, "other library");
    if (!compatible(type, slot->type))
        return refuse(packing, index, value, "other type");
    store(packing->frame, slot, address);
    return true;
}

/* A callback's result is read when the callback is over: only what the library or the
 * caller keeps can be returned. */
static bool pack_kept(struct packing *packing, const struct slot *slot, Py_ssize_t index,
                      PyObject *value)
{
    Buffer *buffer = (Buffer *)value;

    if (PyObject_TypeCheck(value, buffer_type) && foreign_there(buffer->data))
        return pack_address(packing, slot, index, value, buffer->session,
                            buffer->type == Py_None ? slot->type : buffer->type,
                            buffer_address(buffer));
    if (slot->encode != Py_None && PyCallable_Check(value))
        return pack_converted(packing, slot, index, value);
    return refuse(packing, index, value, "not kept");
}

bool pack_pointer(struct packing *packing, const struct slot *slot, Py_ssize_t index,
                  PyObject *value)
{
    struct loan *loan;

    if (value == Py_None) {
        store(packing->frame, slot, 0);
        return true;
    }
    if (PyObject_TypeCheck(value, pointer_type))
        return pack_address(packing, slot, index, value, ((Pointer *)value)->session,
                            ((Pointer *)value)->type, ((Pointer *)value)->address);
    if (PyObject_TypeCheck(value, callback_type) && !callback_address(value))
        return refuse(packing, index, value, "released");
    if (PyObject_TypeCheck(value, callback_type) && slot->encode != Py_None &&
        is_past(callback_session(value), packing->session))
        return pack_converted(packing, slot, index, value); /* it is made again */
    if (PyObject_TypeCheck(value, callback_type))
        return pack_address(packing, slot, index, value, callback_session(value),
                            callback_pointer_type(value), callback_address(value));
    if (struct_check(value))
        return pack_aggregate(packing, slot, index, value);
    if (!packing->loans)
        return pack_kept(packing, slot, index, value);

    if (PyObject_TypeCheck(value, buffer_type) && foreign_there(((Buffer *)value)->data) &&
        is_past(((Buffer *)value)->session, packing->session))
        return refuse(packing, index, value, "other library");
    loan = &packing->loans[packing->lent];
    *loan = (struct loan){.start = ARENA_NONE};
    packing->lent++;
    if (PyObject_TypeCheck(value, buffer_type) &&
        (((Buffer *)value)->session == packing->session || !foreign_there(((Buffer *)value)->data)))
        return pack_ours(packing, slot, index, (Buffer *)value, loan);
    if (PyUnicode_Check(value))
        return pack_text(packing, slot, index, value, loan);
    if (PyBytes_Check(value)) {
        Py_ssize_t size = PyBytes_GET_SIZE(value);

        if (!slot->readonly)
            return refuse(packing, index, value, "read-only");
        if (slot->text && slot->element_size != 1)
            return refuse(packing, index, value, "not str");
        if (slot->text && memchr(PyBytes_AS_STRING(value), 0, (size_t)size))
            return refuse(packing, index, value, "embedded NUL");
        loan->kept = Py_NewRef(value);
        return pack_bytes(packing, slot, PyBytes_AS_STRING(value), size, 1, loan);
    }
    if (PyObject_CheckBuffer(value))
        return pack_buffer(packing, slot, index, value, loan);
    packing->lent--;
    if (slot->encode != Py_None)
        return pack_converted(packing, slot, index, value);
    return refuse(packing, index, value, "not a pointer");
}

void settle(Session *session, struct loan *loans, uint32_t count, bool copy_back)
{
    for (uint32_t i = 0; i < count; i++) {
        struct loan *loan = &loans[i];

        if (loan->copy_back && copy_back)
            foreign_read(loan->view.buf, foreign_at(session->channel, loan->start),
                         (size_t)loan->view.len);
        if (loan->size)
            arena_give(&session->arena, loan->start, loan->size);
        if (loan->view.obj)
            PyBuffer_Release(&loan->view);
        if (loan->buffer) {
            buffer_leave(loan->buffer);
            Py_DECREF(loan->buffer);
        }
        Py_XDECREF(loan->kept);
    }
}
