/* The module libferry._core: its types, the hooks, and the names of the kinds. */
#include "extension.h"
#include "record.h"

static PyObject *hooks[HOOKS], *delegates[DELEGATES];

void raise_by(enum hook hook, const char *format, ...)
{
    PyObject *arguments, *result;
    va_list list;

    va_start(list, format);
    arguments = Py_VaBuildValue(format, list);
    va_end(list);
    if (!arguments)
        return;
    if (!hooks[hook]) {
        PyErr_SetString(PyExc_RuntimeError, "libferry._core is used without libferry");
        Py_DECREF(arguments);
        return;
    }
    result = PyObject_CallObject(hooks[hook], arguments);
    Py_DECREF(arguments);
    if (result) {
        Py_DECREF(result);
        PyErr_SetString(PyExc_SystemError, "a hook of libferry._core did not raise");
    }
}

void tell_arguments(PyObject *function, PyObject *const *values, Py_ssize_t count)
{
    PyObject *type, *error, *traceback, *given, *done;

    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    given = PyTuple_New(count);
    for (Py_ssize_t i = 0; given && i < count; i++)
        PyTuple_SET_ITEM(given, i, Py_NewRef(values[i]));
    done = given && error && hooks[HOOK_CALLED]
               ? PyObject_CallFunctionObjArgs(hooks[HOOK_CALLED], error, function, given, NULL)
               : NULL;
    PyErr_Clear(); /* it is the first error that counts */
    Py_XDECREF(done);
    Py_XDECREF(given);
    PyErr_Restore(type, error, traceback);
}

PyObject *delegate(enum delegate which, PyObject *self, PyObject *args, PyObject *kwargs)
{
    PyObject *first = PyTuple_Pack(1, self), *all, *result;

    if (!first)
        return NULL;
    all = args ? PySequence_Concat(first, args) : Py_NewRef(first);
    Py_DECREF(first);
    if (!all)
        return NULL;
    result = PyObject_Call(delegates[which], all, kwargs);
    Py_DECREF(all);
    return result;
}

static PyObject *set_hooks(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"argument", "count", "ended", "arena", "called", "map", "batch",
                            "within", "successor", NULL};
    PyObject *given[HOOKS + DELEGATES];

    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "$OOOOOOOOO", names, &given[HOOK_ARGUMENT],
                                     &given[HOOK_COUNT_OF], &given[HOOK_ENDED],
                                     &given[HOOK_ARENA], &given[HOOK_CALLED],
                                     &given[HOOKS + DELEGATE_MAP], &given[HOOKS + DELEGATE_BATCH],
                                     &given[HOOKS + DELEGATE_WITHIN],
                                     &given[HOOKS + DELEGATE_SUCCESSOR]))
        return NULL;
    for (int i = 0; i < HOOKS + DELEGATES; i++) {
        PyObject **place = i < HOOKS ? &hooks[i] : &delegates[i - HOOKS];
        PyObject *before = *place;

        *place = Py_NewRef(given[i]);
        Py_XDECREF(before);
    }
    Py_RETURN_NONE;
}

static bool add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **type)
{
    *type = (PyTypeObject *)PyType_FromSpec(spec);
    return *type && PyModule_AddType(module, *type) == 0;
}

static bool add_derived(PyObject *module, PyType_Spec *spec, PyTypeObject *base,
                        PyTypeObject **type)
{
    PyObject *bases = PyTuple_Pack(1, (PyObject *)base);

    if (bases)
        *type = (PyTypeObject *)PyType_FromSpecWithBases(spec, bases);
    Py_XDECREF(bases);
    return *type && PyModule_AddType(module, *type) == 0;
}

static int execute(PyObject *module)
{
    if (session_type) { /* the types and the hooks are the process's */
        PyErr_SetString(PyExc_ImportError, "libferry can be imported once in a process");
        return -1;
    }
    if (!add_type(module, &session_spec, &session_type) ||
        !add_type(module, &plan_spec, &plan_type) ||
        !add_type(module, &function_spec, &function_type) ||
        !add_type(module, &callback_spec, &callback_type) ||
        !add_type(module, &listener_spec, &listener_type) ||
        !add_type(module, &pending_spec, &pending_type) ||
        !add_type(module, &buffer_spec, &buffer_type) ||
        !add_type(module, &pointer_spec, &pointer_type) ||
        !add_type(module, &aggregate_spec, &aggregate_type) ||
        !add_derived(module, &aggregate_class_spec, &PyType_Type, &aggregate_class) ||
        !add_derived(module, &array_spec, aggregate_type, &array_type) ||
        !add_type(module, &field_spec, &field_type) || !add_type(module, &part_spec, &part_type) ||
        PyModule_AddFunctions(module, record_functions) != 0 ||
        PyModule_AddFunctions(module, queue_functions) != 0 ||
        PyModule_AddFunctions(module, namespace_functions) != 0 ||
        PyModule_AddFunctions(module, sealed_functions) != 0 ||
        PyModule_AddFunctions(module, exports_functions) != 0 ||
        PyModule_AddFunctions(module, spawn_functions) != 0)
        return -1;
    spawn_error = PyErr_NewException("libferry._core.SpawnError", PyExc_OSError, NULL);
    if (!spawn_error || PyModule_AddObjectRef(module, "SpawnError", spawn_error) != 0)
        return -1;
    return PyModule_AddIntMacro(module, KIND_VOID) || PyModule_AddIntMacro(module, KIND_SIGNED) ||
                   PyModule_AddIntMacro(module, KIND_UNSIGNED) ||
                   PyModule_AddIntMacro(module, KIND_BOOL) ||
                   PyModule_AddIntMacro(module, KIND_FLOAT) ||
                   PyModule_AddIntMacro(module, KIND_X87) ||
                   PyModule_AddIntMacro(module, KIND_POINTER) ||
                   PyModule_AddIntMacro(module, KIND_STRING) ||
                   PyModule_AddIntMacro(module, KIND_BYTES)
               ? -1
               : 0;
}

static PyMethodDef functions[] = {
    {"set_hooks", (PyCFunction)(void (*)(void))set_hooks, METH_VARARGS | METH_KEYWORDS,
     "set_hooks(*, argument, count, ended, arena, called, map, batch, within, successor): who\n"
     "explains errors, and does what is written in Python."},
    {0},
};

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED}, /* sharing.h */
#endif
    {0},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "libferry._core",
    .m_doc = "The host's half of a call; see libferry.runtime for the pleasant half.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__core(void);

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}
