/* Namespaces of the loader (dlmopen): a second set of libraries in this process, with a
 * C library of its own. glibc only; elsewhere there is no dlmopen to be found.
 *
 * The two C libraries share one structure per thread, and in it the values of pthread
 * keys. Each numbers its keys from zero. So the first key that a library in a namespace
 * makes would be the one that CPython keeps its thread state under: the library would
 * read that, and overwrite it. Values lie in blocks of 32 keys, of which the first is
 * part of the thread's structure and others are allocated by whichever C library first
 * stores there, and freed, when the thread ends, by the one that began the thread (glibc,
 * nptl/pthread_setspecific.c and nptl_deallocate_tsd.c). Hence:
 *
 *   - each namespace gets a block for itself: here nobody else is given those keys, there
 *     all other keys are taken;
 *   - on our threads we allocate it, before the library can;
 *   - a block that had another namespace before is emptied, thread by thread.
 *
 * Its first key stays ours, and says for whom the thread's block was prepared. */
#define _GNU_SOURCE
#include "extension.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>

#ifndef LM_ID_NEWLM
#define LM_ID_NEWLM (-1)
#endif

#define KEYS_IN_BLOCK 32u /* PTHREAD_KEY_2NDLEVEL_SIZE of glibc, sysdeps/nptl/internaltypes.h */
#define KEYS 1024u        /* PTHREAD_KEYS_MAX */

typedef int create_key(pthread_key_t *, void (*)(void *));
typedef int delete_key(pthread_key_t);

_Thread_local bool guest_thread;

void namespace_prepare(uint32_t block, const void *owner)
{
    pthread_key_t first = (pthread_key_t)(block * KEYS_IN_BLOCK);

    if (pthread_getspecific(first) == owner || guest_thread)
        return;
    pthread_setspecific(first, owner);
    for (uint32_t i = 1; i < KEYS_IN_BLOCK; i++)
        pthread_setspecific(first + i, NULL);
}

/* Take all keys from the lowest that is free up to `end`, and give back those that are not
 * of the block. Whether all of the block were free. */
static bool take_keys(create_key *create, delete_key *give_back, uint32_t first, uint32_t end)
{
    uint32_t taken[KEYS], count = 0, kept = 0;
    pthread_key_t key;

    while (count < KEYS && create(&key, NULL) == 0) {
        taken[count++] = (uint32_t)key;
        if (key + 1 >= end)
            break;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (taken[i] >= first && taken[i] < end)
            kept++;
        else
            give_back((pthread_key_t)taken[i]);
    }
    return kept == end - first;
}

/* keys_claim(block): whether the keys of that block are now ours in this process. */
static PyObject *keys_claim(PyObject *module, PyObject *number)
{
    unsigned long block = PyLong_AsUnsignedLong(number);
    uint32_t first = (uint32_t)block * KEYS_IN_BLOCK;

    (void)module;
    if (PyErr_Occurred())
        return NULL;
    return PyBool_FromLong(block < KEYS / KEYS_IN_BLOCK &&
                           take_keys(pthread_key_create, pthread_key_delete, first,
                                     first + KEYS_IN_BLOCK));
}

/* namespace_settle(library, block): leave no other keys to a namespace that is new, and give
 * the address of the function that says where its errno is. 0: it has no such functions. */
static PyObject *namespace_settle(PyObject *module, PyObject *args)
{
    unsigned long long library;
    unsigned int block;
    create_key *create;
    delete_key *give_back;
    pthread_key_t key;

    (void)module;
    if (!PyArg_ParseTuple(args, "KI", &library, &block))
        return NULL;
    *(void **)&create = dlsym((void *)(uintptr_t)library, "pthread_key_create");
    *(void **)&give_back = dlsym((void *)(uintptr_t)library, "pthread_key_delete");
    if (!create || !give_back)
        return PyLong_FromLong(0);
    while (create(&key, NULL) == 0)
        ;
    for (uint32_t i = 1; i < KEYS_IN_BLOCK; i++)
        give_back((pthread_key_t)(block * KEYS_IN_BLOCK + i));
    return PyLong_FromVoidPtr(dlsym((void *)(uintptr_t)library, "__errno_location"));
}

/* namespace_open(number, path, hold): (handle, number, message). -1 is a new namespace. With
 * `hold` the GIL is kept, so that no import can meet what is there for a moment only. */
static PyObject *namespace_open(PyObject *module, PyObject *args)
{
    void *(*open)(long, const char *, int);
    const char *path, *message = NULL;
    PyThreadState *thread = NULL;
    long number, found = -1;
    void *handle = NULL;
    int hold;

    (void)module;
    if (!PyArg_ParseTuple(args, "lyp", &number, &path, &hold))
        return NULL;
    *(void **)&open = dlsym(RTLD_DEFAULT, "dlmopen");
    if (!hold)
        thread = PyEval_SaveThread();
    if (open)
        handle = open(number, path, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        message = open ? dlerror() : "this C library has no dlmopen";
    else if (dlinfo(handle, RTLD_DI_LMID, &found) != 0)
        found = -1;
    if (thread)
        PyEval_RestoreThread(thread);
    return Py_BuildValue("KlN", (unsigned long long)(uintptr_t)handle, found,
                         PyUnicode_DecodeFSDefault(message ? message : ""));
}

/* namespace_close(handle): let go of what namespace_open gave. */
static PyObject *namespace_close(PyObject *module, PyObject *args)
{
    unsigned long long handle;
    int hold;

    (void)module;
    if (!PyArg_ParseTuple(args, "Kp", &handle, &hold))
        return NULL;
    if (hold) {
        dlclose((void *)(uintptr_t)handle);
    } else {
        Py_BEGIN_ALLOW_THREADS
        dlclose((void *)(uintptr_t)handle);
        Py_END_ALLOW_THREADS
    }
    Py_RETURN_NONE;
}

/* namespace_files(handle): the paths of all that is in the namespace of an open library. */
static PyObject *namespace_files(PyObject *module, PyObject *number)
{
    unsigned long long handle = PyLong_AsUnsignedLongLong(number);
    PyObject *paths = PyErr_Occurred() ? NULL : PyList_New(0);
    struct link_map *map = NULL;

    (void)module;
    if (paths && dlinfo((void *)(uintptr_t)handle, RTLD_DI_LINKMAP, &map) == 0)
        while (map && map->l_prev)
            map = map->l_prev;
    for (; paths && map; map = map->l_next) {
        PyObject *path = PyUnicode_DecodeFSDefault(map->l_name);

        if (!path || PyList_Append(paths, path) != 0)
            Py_CLEAR(paths);
        Py_XDECREF(path);
    }
    return paths;
}

/* namespace_flush(library): what was printed there, and lies in its stdout's buffer yet. */
static PyObject *namespace_flush(PyObject *module, PyObject *number)
{
    unsigned long long library = PyLong_AsUnsignedLongLong(number);
    int (*flush)(void *);
    void **stream;

    (void)module;
    if (PyErr_Occurred())
        return NULL;
    *(void **)&flush = dlsym((void *)(uintptr_t)library, "fflush");
    stream = dlsym((void *)(uintptr_t)library, "stdout");
    if (flush && stream) {
        Py_BEGIN_ALLOW_THREADS
        flush(*stream);
        Py_END_ALLOW_THREADS
    }
    Py_RETURN_NONE;
}

PyMethodDef namespace_functions[] = {
    {"keys_claim", keys_claim, METH_O, "keys_claim(block): keep a block of pthread keys free."},
    {"namespace_settle", namespace_settle, METH_VARARGS,
     "namespace_settle(library, block): confine its keys; the address of __errno_location."},
    {"namespace_open", namespace_open, METH_VARARGS,
     "namespace_open(number, path, hold): (handle, number, message)."},
    {"namespace_close", namespace_close, METH_VARARGS, "namespace_close(handle, hold)."},
    {"namespace_files", namespace_files, METH_O, "namespace_files(handle): what is in it."},
    {"namespace_flush", namespace_flush, METH_O, "namespace_flush(library): its stdout."},
    {0},
};
