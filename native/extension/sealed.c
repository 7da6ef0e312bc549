/* Files in memory that can be sealed: memfd_create(2).
 *
 * Python has os.memfd_create and fcntl.F_ADD_SEALS only if it was built on a system that
 * has them, and those that are built to run everywhere were not. */
#define _GNU_SOURCE
#include "extension.h"
#include "memfd.h"

static PyObject *memory_file(PyObject *module, PyObject *name)
{
    const char *text = PyBytes_AsString(name);
    int descriptor;

    (void)module;
    if (!text)
        return NULL;
    descriptor = memfd_sealable(text);
    return descriptor < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(descriptor);
}

static PyObject *seal(PyObject *module, PyObject *number)
{
    int descriptor = PyObject_AsFileDescriptor(number);

    (void)module;
    if (descriptor < 0)
        return NULL;
    if (fcntl(descriptor, F_ADD_SEALS,
              F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

PyMethodDef sealed_functions[] = {
    {"memory_file", memory_file, METH_O, "memory_file(name): a descriptor of a new file in memory."},
    {"seal", seal, METH_O, "seal(descriptor): nobody can change that file's bytes or size again."},
    {0},
};
