/* Many calls in one crossing.
 *
 * Each is packed as for a call of its own, but into the arena, one frame after the other;
 * the worker's map service (native/map.h, MAP_BATCH) calls them in turn, and the results
 * are unpacked from the same frames. A row that cannot be packed is left out, and its
 * error kept. */
#include "extension.h"
#include "map.h"

#define BATCH_BYTES (1u << 20) /* of frames in one crossing */

struct batch {
    Function *function;
    PyObject *rows;      /* a tuple of tuples */
    PyObject *results;   /* a list */
    PyObject *errors;    /* row -> exception */
    size_t stride;       /* bytes of a frame, as much of it as the plan needs */
    Py_ssize_t capacity; /* frames at once */
    struct loan *loans;  /* for each frame in turn */
    uint32_t *lent;
    struct writings writings; /* of the rows of this crossing */
    Py_ssize_t *numbers; /* the row of each frame */
};

/* The exception that is set, as the row's error. Ctrl-C and the like stay set: false. */
static bool keep_error(struct batch *batch, Py_ssize_t row)
{
    PyObject *type, *value, *traceback, *number;
    bool kept;

    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return false;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback)
        PyException_SetTraceback(value, traceback);
    number = PyLong_FromSsize_t(row);
    kept = number && PyDict_SetItem(batch->errors, number, value) == 0;
    Py_XDECREF(number);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return kept;
}

static bool keep_result(struct batch *batch, Py_ssize_t row, PyObject *result)
{
    if (!result)
        return keep_error(batch, row);
    return PyList_SetItem(batch->results, row, result) == 0;
}

/* In this process nothing is crossed. */
static bool call_in_turn(struct batch *batch)
{
    for (Py_ssize_t row = 0; row < PyTuple_GET_SIZE(batch->rows); row++) {
        PyObject *values = PyTuple_GET_ITEM(batch->rows, row);

        if (!keep_result(batch, row, PyObject_CallObject((PyObject *)batch->function, values)))
            return false;
    }
    return true;
}

/* `again`: not in this crossing, for it needs what an earlier row writes. */
static bool pack_row(struct batch *batch, PyObject *values, Py_ssize_t place, uint64_t block,
                     bool *again)
{
    Function *function = batch->function;
    Session *session = function->session;
    struct ferry_frame frame;
    struct packing packing =
        packing_of(function, &frame, batch->loans + place * function->plan->lenders);
    uint64_t at = block + (uint64_t)place * batch->stride;
    bool packed;

    packing.writings = &batch->writings;
    memset(&frame, 0, batch->stride);
    packed = function_ready(function, PyTuple_GET_SIZE(values), NULL) &&
             pack_all(&packing, function, ((PyTupleObject *)values)->ob_item);
    batch->lent[place] = packing.lent;
    *again = packing.row_overlaps;
    if (!packed) {
        settle(session, packing.loans, packing.lent, false);
        return false;
    }
    keep_writings(&batch->writings, packing.loans, packing.lent);
    write_addresses(function->plan, &frame, session->base + at);
    foreign_write(foreign_at(session->channel, at), &frame, batch->stride);
    return true;
}

static bool call_map(struct batch *batch, Py_ssize_t count, uint64_t block)
{
    Session *session = batch->function->session;
    struct ferry_map map = {.frame = session->base + block,
                            .rows = (uint32_t)count,
                            .form = MAP_BATCH,
                            .stride = (uint32_t)batch->stride};
    PyObject *service = PyObject_GetAttrString(session->services, "map"), *none;
    /* it is this function's calls that take the time */
    Function *run = service ? function_within((Function *)service, batch->function->timeout_ns) : NULL;

    none = run ? PyObject_CallFunction((PyObject *)run, "y#", &map,
                                       (Py_ssize_t)offsetof(struct ferry_map, columns))
               : NULL;
    Py_XDECREF(service);
    Py_XDECREF(run);
    Py_XDECREF(none);
    return none != NULL;
}

static bool unpack_rows(struct batch *batch, Py_ssize_t count, uint64_t block)
{
    Function *function = batch->function;
    const struct slot *slot = &function->plan->result;
    bool kept = true;

    for (Py_ssize_t place = 0; place < count && kept; place++) {
        struct foreign there = foreign_at(function->session->channel,
                                          block + (uint64_t)place * batch->stride);
        struct ferry_frame frame;

        take_result(slot, &frame, there);
        kept = keep_result(batch, batch->numbers[place],
                           unpack(function->session, function->plan, slot, &frame));
    }
    return kept;
}

/* Rows from `row` on, as many as fit; how far it came, or -1. */
static Py_ssize_t cross(struct batch *batch, Py_ssize_t row)
{
    Session *session = batch->function->session;
    uint64_t size = batch->stride * (uint64_t)batch->capacity;
    uint64_t block = arena_take(&session->arena, size);
    Py_ssize_t rows = PyTuple_GET_SIZE(batch->rows), count = 0;
    bool done = true, again = false;

    batch->writings.count = 0;
    if (block == ARENA_NONE) {
        raise_by(HOOK_ARENA, "(OK)", (PyObject *)session, (unsigned long long)size);
        return -1;
    }
    for (; row < rows && count < batch->capacity && done; row++) {
        if (pack_row(batch, PyTuple_GET_ITEM(batch->rows, row), count, block, &again)) {
            batch->numbers[count++] = row;
        } else if (again) {
            PyErr_Clear();
            break;
        } else {
            done = keep_error(batch, row);
        }
    }
    done = done && (count == 0 || call_map(batch, count, block));
    done = done && unpack_rows(batch, count, block);
    for (Py_ssize_t place = 0; place < count; place++)
        settle(session, batch->loans + place * batch->function->plan->lenders, batch->lent[place],
               done);
    arena_give(&session->arena, block, size);
    return done ? row : -1;
}

static bool call_across(struct batch *batch)
{
    const Plan *plan = batch->function->plan;
    Py_ssize_t row = 0, rows = PyTuple_GET_SIZE(batch->rows);
    size_t end = plan->frame_bytes > FRAME_STACK ? plan->frame_bytes : FRAME_STACK;
    Py_ssize_t most;

    batch->stride = (end + 63) & ~(size_t)63;
    most = (Py_ssize_t)(BATCH_BYTES / batch->stride);
    batch->capacity = rows < most ? rows : most;
    batch->loans = PyMem_Calloc((size_t)batch->capacity * plan->lenders + 1, sizeof *batch->loans);
    batch->writings.of = PyMem_Calloc((size_t)batch->capacity * plan->lenders + 1,
                                      sizeof *batch->writings.of);
    batch->lent = PyMem_Calloc((size_t)batch->capacity + 1, sizeof *batch->lent);
    batch->numbers = PyMem_Calloc((size_t)batch->capacity + 1, sizeof *batch->numbers);
    if (!batch->loans || !batch->writings.of || !batch->lent || !batch->numbers) {
        PyErr_NoMemory();
        row = -1;
    }
    while (row >= 0 && row < rows)
        row = cross(batch, row);
    PyMem_Free(batch->loans);
    PyMem_Free(batch->writings.of);
    PyMem_Free(batch->lent);
    PyMem_Free(batch->numbers);
    return row >= 0;
}

PyObject *function_call_rows(PyObject *self, PyObject *rows)
{
    struct batch batch = {.function = (Function *)self, .rows = rows};
    Py_ssize_t count;
    bool done;

    if (!PyTuple_Check(rows)) {
        PyErr_SetString(PyExc_TypeError, "rows must be a tuple of tuples");
        return NULL;
    }
    count = PyTuple_GET_SIZE(rows);
    for (Py_ssize_t i = 0; i < count; i++)
        if (!PyTuple_Check(PyTuple_GET_ITEM(rows, i))) {
            PyErr_SetString(PyExc_TypeError, "rows must be a tuple of tuples");
            return NULL;
        }
    batch.function = function_now(batch.function);
    if (!batch.function)
        return NULL;
    batch.results = PyList_New(count);
    batch.errors = PyDict_New();
    for (Py_ssize_t i = 0; batch.results && i < count; i++)
        PyList_SET_ITEM(batch.results, i, Py_NewRef(Py_None));
    done = batch.results && batch.errors &&
           (batch.function->session->in_worker ? call_across(&batch) : call_in_turn(&batch));
    Py_DECREF(batch.function);
    if (done)
        return Py_BuildValue("NN", batch.results, batch.errors);
    Py_XDECREF(batch.results);
    Py_XDECREF(batch.errors);
    return NULL;
}
