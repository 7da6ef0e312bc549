/* A supervised session, as Python sees it: its phase, what it was ended for, what was
 * learned. */
#include "extension.h"
#include "supervise.h"

#include <unistd.h>

bool session_supervise(Session *session, int pid, int listener, const Py_buffer *policy)
{
    const char *wrong = NULL;

    if (listener < 0)
        return true;
    session->supervision =
        supervise_begin(pid, listener, policy->buf, (size_t)policy->len, &wrong);
    if (!session->supervision && wrong)
        PyErr_SetString(PyExc_ValueError, wrong);
    else if (!session->supervision)
        PyErr_SetFromErrno(PyExc_OSError);
    return session->supervision != NULL;
}

static PyObject *tuple_of(const uint64_t *arguments)
{
    return Py_BuildValue("(KKKKKK)", (unsigned long long)arguments[0],
                         (unsigned long long)arguments[1], (unsigned long long)arguments[2],
                         (unsigned long long)arguments[3], (unsigned long long)arguments[4],
                         (unsigned long long)arguments[5]);
}

/* Bytes, or None if there are none. */
static PyObject *bytes_of(const void *data, size_t size)
{
    return size ? PyBytes_FromStringAndSize(data, (Py_ssize_t)size) : Py_NewRef(Py_None);
}

static PyObject *describe_violation(const struct violation *violation)
{
    const struct act *act = &violation->act;
    const char *path = violation->path < 0 ? "" : act->paths[violation->path];

    return Py_BuildValue("{sIsIsNsKsNsIsNsI}", "arch", act->arch, "nr", act->nr, "arguments",
                         tuple_of(act->arguments), "instruction_pointer",
                         (unsigned long long)act->instruction, "path",
                         bytes_of(path, strlen(path)), "access", act->access, "address",
                         bytes_of(act->address, act->address_size), "phase", act->phase);
}

PyObject *session_violation(Session *session)
{
    struct violation *copy;
    const struct violation *violation;
    const struct notices *notices;
    PyObject *described = NULL;

    if (!session->supervision)
        return Py_NewRef(Py_None);
    /* a copy: making objects may run other code, and must not hold up the worker */
    copy = PyMem_Calloc(1, sizeof *copy);
    if (!copy)
        return PyErr_NoMemory();
    violation = supervise_look(session->supervision, &notices);
    if (violation)
        *copy = *violation;
    supervise_looked(session->supervision);
    described = copy->happened ? describe_violation(copy) : Py_NewRef(Py_None);
    PyMem_Free(copy);
    return described;
}

static PyObject *describe_notice(const struct notices *notices, const struct notice *one)
{
    return Py_BuildValue("IINNINII", one->arch, one->nr, tuple_of(one->arguments),
                         bytes_of(notices->texts + one->path, one->path_size), one->access,
                         bytes_of(notices->texts + one->address, one->address_size), one->phase,
                         one->count);
}

/* A copy of the notices; false: there is no memory for it. */
static bool copy_notices(Session *session, struct notices *copy)
{
    const struct notices *notices;
    bool copied;

    supervise_look(session->supervision, &notices);
    *copy = *notices;
    copy->slots = NULL;
    copy->all = PyMem_RawCalloc(copy->count + 1, sizeof *copy->all);
    copy->texts = PyMem_RawCalloc(copy->text_size + 1, 1);
    copied = copy->all && copy->texts;
    if (copied && copy->count) {
        memcpy(copy->all, notices->all, copy->count * sizeof *copy->all);
        memcpy(copy->texts, notices->texts, copy->text_size);
    }
    supervise_looked(session->supervision);
    return copied;
}

PyObject *session_notices(Session *session, PyObject *unused)
{
    PyObject *list = PyList_New(0);
    struct notices copy = {0};
    bool well = list != NULL;

    (void)unused;
    if (well && session->supervision && !copy_notices(session, &copy)) {
        PyErr_NoMemory();
        well = false;
    }
    for (uint32_t i = 0; well && i < copy.count; i++) {
        PyObject *notice = describe_notice(&copy, &copy.all[i]);

        well = notice && PyList_Append(list, notice) == 0;
        Py_XDECREF(notice);
    }
    PyMem_RawFree(copy.all);
    PyMem_RawFree(copy.texts);
    if (!well)
        Py_CLEAR(list);
    return list;
}

PyObject *session_get_notices_lost(Session *session, void *unused)
{
    const struct notices *notices;
    uint32_t lost = 0;

    (void)unused;
    if (session->supervision) {
        supervise_look(session->supervision, &notices);
        lost = notices->lost;
        supervise_looked(session->supervision);
    }
    return PyLong_FromUnsignedLong(lost);
}

PyObject *session_get_phase(Session *session, void *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLong(
        session->supervision ? supervise_phase(session->supervision) : PHASE_STARTING);
}

int session_set_phase(Session *session, PyObject *value, void *unused)
{
    long phase = value ? PyLong_AsLong(value) : -1;

    (void)unused;
    if (phase == -1 && PyErr_Occurred())
        return -1;
    if (phase < 0 || phase >= PHASES) {
        PyErr_SetString(PyExc_ValueError, "there is no such phase");
        return -1;
    }
    if (session->supervision) /* else nobody asks */
        supervise_move_on(session->supervision, (uint32_t)phase);
    return 0;
}
