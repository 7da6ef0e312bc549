/* Structures, unions and arrays as Python objects: record.c, record_class.c,
 * array.c, field.c.
 *
 * An Aggregate is bytes with a class. The class says what the bytes are (its C type,
 * its ABI, its fields) and is made by libferry.runtime.values, one per C type and
 * ABI, so that two objects of one class have one layout. The bytes are the object's
 * own, or somebody else's memory that it keeps alive:
 *
 *   own      behind the object itself: a result by value, a copy
 *   view     of anything with the buffer protocol: a Buffer in the arena
 *   part     of another Aggregate: a nested record, an element of an array
 *   address  of a library in this process; refused once the library is closed
 *
 * Parts of parts belong to the outermost Aggregate, their root. */
#ifndef FERRY_RECORD_H
#define FERRY_RECORD_H

#include "extension.h"

typedef struct {
    PyHeapTypeObject type;
    PyObject *ctype, *abi;
    PyObject *codec;  /* values.codec's, of a value or of one element */
    struct aggregate *spare; /* one that is no more, for the next; or NULL */
    Py_ssize_t size;  /* of the record, or of one element */
    bool array;
    PyObject *element; /* of an array: a Field, the class of an element, or None */
    Py_ssize_t inner;  /* the length of an element that is an array */
    bool pointers;   /* holds addresses, which mean nothing to another library */
    /* Of the items that a buffer of an array shows: */
    PyObject *shape;  /* a tuple, that of one element; None: bytes, whatever they mean */
    PyObject *format; /* bytes, as Python's struct has it */
    Py_ssize_t itemsize;
} AggregateType;

typedef struct aggregate {
    PyObject_VAR_HEAD /* ob_size: how many bytes of `own` are in use */
    struct foreign data;
    Py_ssize_t size;
    Py_ssize_t length;  /* of an array: how many elements */
    PyObject *root;     /* the Aggregate that this is a part of, or NULL */
    PyObject *owner;    /* what keeps the memory, or NULL */
    PyObject *library;  /* whose addresses it holds, or NULL */
    PyObject *kept;     /* of a root: what its pointers lead to, or NULL */
    Session *session;   /* of an address, else NULL */
    PyObject *weakrefs;
    _Alignas(16) char own[];
} Aggregate;

extern PyTypeObject *aggregate_type, *aggregate_class, *array_type, *field_type, *part_type;
extern PyType_Spec aggregate_spec, aggregate_class_spec, array_spec, field_spec, part_spec;
extern PyMethodDef record_functions[];

static inline bool struct_check(PyObject *value)
{
    return PyObject_TypeCheck(value, aggregate_type);
}

/* Where the value's bytes are. Not there, with an exception, if they are gone: the library
 * they belong to is closed. */
struct foreign struct_data(PyObject *value, Py_ssize_t *size);

/* A record of that class, a record's, with all bytes zero; they are at `bytes`, as many as
 * the class has. `library` is whose addresses it holds, for the hooks that make a Pointer
 * of one; None if nobody's. NULL with an exception. */
PyObject *struct_new(PyTypeObject *class, PyObject *library, char **bytes);

/* Whether the bytes of `value` can be handed on as they are where a value of this
 * class of this library is wanted. If not, values.codec converts, or says why not. */
static inline bool struct_passes(PyObject *value, PyTypeObject *class, PyObject *library)
{
    return Py_TYPE(value) == class && (!((AggregateType *)class)->pointers ||
                                       ((Aggregate *)value)->library == library);
}

/* The address by which the session's library sees those bytes. False (no exception)
 * if it does not: they are this process's, and the library is in another. */
bool struct_address(PyObject *value, const Session *session, uint64_t *address);

/* The Buffer that it is a view of; NULL if it is none. */
const Buffer *struct_buffer(PyObject *value);

/* ---- among these files ---- */

/* A view of a part of `whole`, at `offset` in it. NULL with an exception. */
PyObject *aggregate_part(PyObject *class, PyObject *whole, Py_ssize_t offset, Py_ssize_t length);
/* The number that a Field reads or writes, `more` bytes further. NULL or -1 with an
 * exception. */
PyObject *field_load(PyObject *field, PyObject *value, Py_ssize_t more);
int field_store(PyObject *field, PyObject *value, Py_ssize_t more, PyObject *number);

#endif
