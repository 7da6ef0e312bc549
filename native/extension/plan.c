/* Plan: a call plan as the C core carries it out.
 *
 * libferry.runtime.binding lays one out from a signature, as plain tuples; it is checked
 * here, once, so that nobody who follows it can write beside the frame. */
#include "extension.h"

#include <structmember.h>

PyTypeObject *plan_type;

static bool malformed(const char *what)
{
    PyErr_Format(PyExc_ValueError, "malformed call plan: %s", what);
    return false;
}

static bool parse_moves(struct slot *slot, PyObject *moves)
{
    if (!PyTuple_Check(moves) || PyTuple_GET_SIZE(moves) > 1024)
        return malformed("moves");
    slot->move_count = (uint16_t)PyTuple_GET_SIZE(moves);
    slot->moves = PyMem_Calloc(slot->move_count + 1u, sizeof *slot->moves);
    if (!slot->moves) {
        PyErr_NoMemory();
        return false;
    }
    for (uint16_t i = 0; i < slot->move_count; i++) {
        struct move *move = &slot->moves[i];
        PyObject *fields = PyTuple_GET_ITEM(moves, i);
        int ones;

        if (!PyTuple_Check(fields) ||
            !PyArg_ParseTuple(fields, "HHHHp", &move->offset, &move->width, &move->source,
                              &move->size, &ones))
            return false;
        move->ones = ones;
        if (move->size > move->width || move->offset < FRAME_RESULT_INTEGER ||
            move->offset + move->width > FRAME_SIZE ||
            move->source + move->size > slot->value_size)
            return malformed("a move");
    }
    return true;
}

/* What a small int is compared with; others are looked at more closely. */
static void find_range(struct slot *slot)
{
    unsigned bits = 8u * slot->size;

    if (slot->kind == KIND_SIGNED) {
        slot->least = (int64_t)((uint64_t)-1 << (bits - 1));
        slot->span = ~(uint64_t)0 >> (64 - bits);
    } else if (slot->kind == KIND_UNSIGNED) {
        slot->least = 0;
        slot->span = bits == 64 ? (uint64_t)INT64_MAX : ~(uint64_t)0 >> (64 - bits);
    }
}

/* One value, as binding.Row has it. */
static bool parse_slot(struct slot *slot, PyObject *fields)
{
    PyObject *type, *class, *moves, *encode, *decode;
    int sign, ones, character, readonly, text, lends;
    const char *element;

    if (!PyTuple_Check(fields) ||
        !PyArg_ParseTuple(fields, "bbbHppppppsbUOHOOO", &slot->kind, &slot->size, &slot->width,
                          &slot->offset, &sign, &ones, &character, &readonly, &text, &lends, &element,
                          &slot->element_size, &type, &class, &slot->value_size, &moves, &encode,
                          &decode))
        return false;
    slot->sign = sign;
    slot->ones = ones;
    slot->character = character;
    slot->readonly = readonly;
    slot->text = text;
    slot->lends = lends || slot->kind == KIND_POINTER;
    slot->element = element[0];
    Py_INCREF(type);
    PyUnicode_InternInPlace(&type);
    slot->type = type;
    slot->encode = Py_NewRef(encode);
    slot->decode = Py_NewRef(decode);
    if (slot->kind == KIND_BYTES) {
        if (class != Py_None && !PyType_Check(class))
            return malformed("a class");
        if (class != Py_None)
            slot->class = (PyTypeObject *)Py_NewRef(class);
        return parse_moves(slot, moves);
    }
    if (slot->kind == KIND_VOID)
        return true;
    if (slot->kind >= KIND_COUNT || slot->size == 0 || slot->size > 8 ||
        slot->width > (slot->kind == KIND_X87 ? 10 : 8) ||
        (slot->kind != KIND_X87 && slot->width < slot->size) ||
        slot->offset < FRAME_RESULT_INTEGER || slot->offset + 16 > FRAME_SIZE ||
        (slot->text && slot->element_size != 1 && slot->element_size != 2 &&
         slot->element_size != 4))
        return malformed("a value");
    find_range(slot);
    return true;
}

static void free_slot(struct slot *slot)
{
    PyMem_Free(slot->moves);
    Py_CLEAR(slot->type);
    Py_CLEAR(slot->class);
    Py_CLEAR(slot->encode);
    Py_CLEAR(slot->decode);
}

static bool parse_addresses(Plan *plan, PyObject *addresses)
{
    plan->address_count = (uint16_t)PyTuple_GET_SIZE(addresses);
    plan->addresses = PyMem_Calloc(plan->address_count + 1u, sizeof *plan->addresses);
    if (!plan->addresses) {
        PyErr_NoMemory();
        return false;
    }
    for (uint16_t i = 0; i < plan->address_count; i++) {
        struct address *address = &plan->addresses[i];
        PyObject *fields = PyTuple_GET_ITEM(addresses, i);

        if (!PyTuple_Check(fields) ||
            !PyArg_ParseTuple(fields, "HHb", &address->cell, &address->at, &address->width))
            return false;
        if ((address->width != 4 && address->width != 8) || address->cell < FRAME_INTEGER ||
            address->cell + address->width > FRAME_SIZE || address->at >= FRAME_SIZE)
            return malformed("an address");
    }
    return true;
}

static uint16_t later(uint16_t end, unsigned other)
{
    return end < other ? (uint16_t)other : end;
}

/* An argument, or a part of one, is at `offset`. */
static void reach(Plan *plan, uint16_t offset, uint16_t width)
{
    plan->frame_end = later(plan->frame_end, offset + (unsigned)width);
    if (offset + width > FRAME_HOST_LINE_END && offset < plan->frame_from)
        plan->frame_from = later(FRAME_HOST_LINE_END, offset);
}

static void find_ends(Plan *plan)
{
    plan->frame_from = FRAME_SIZE;
    plan->frame_end = FRAME_HOST_LINE_END;
    for (Py_ssize_t i = 0; i < Py_SIZE(plan); i++) {
        const struct slot *slot = &plan->arguments[i];

        if (slot->kind != KIND_BYTES)
            reach(plan, slot->offset, slot->width);
        for (uint16_t m = 0; m < slot->move_count; m++)
            reach(plan, slot->moves[m].offset, slot->moves[m].width);
        plan->lenders += slot->lends;
    }
    for (uint16_t i = 0; i < plan->address_count; i++)
        reach(plan, plan->addresses[i].cell, plan->addresses[i].width);
    plan->frame_bytes = plan->frame_end;
    for (uint16_t m = 0; m < plan->result.move_count; m++)
        plan->frame_bytes = later(plan->frame_bytes, plan->result.moves[m].offset +
                                                         (unsigned)plan->result.moves[m].width);
}

static PyObject *plan_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"signature", "arguments",   "result",       "addresses", "encoding",
                            "library", "vector_count", "x87_results", "stack_bytes", NULL};
    PyObject *signature, *arguments, *result, *addresses, *encoding, *library;
    unsigned char vector_count, x87_results;
    unsigned short stack_bytes;
    bool parsed;
    Plan *plan;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO!OO!OObbH", names, &signature, &PyTuple_Type,
                                     &arguments, &result, &PyTuple_Type, &addresses, &encoding,
                                     &library, &vector_count, &x87_results, &stack_bytes))
        return NULL;
    if (stack_bytes > FRAME_SIZE - FRAME_STACK_I386 || stack_bytes % 16 != 0 || x87_results > 2 ||
        PyTuple_GET_SIZE(arguments) > FRAME_SIZE / 4 ||
        PyTuple_GET_SIZE(addresses) > FRAME_SIZE / 4 ||
        (encoding != Py_None && !PyUnicode_Check(encoding))) {
        malformed("its sizes");
        return NULL;
    }
    plan = (Plan *)type->tp_alloc(type, PyTuple_GET_SIZE(arguments));
    if (!plan)
        return NULL;
    plan->signature = Py_NewRef(signature);
    plan->encoding = Py_NewRef(encoding);
    plan->library = Py_NewRef(library);
    plan->vector_count = vector_count;
    plan->x87_results = x87_results;
    plan->stack_bytes = stack_bytes;
    parsed = parse_slot(&plan->result, result) && parse_addresses(plan, addresses);
    for (Py_ssize_t i = 0; parsed && i < Py_SIZE(plan); i++)
        parsed = parse_slot(&plan->arguments[i], PyTuple_GET_ITEM(arguments, i));
    if (!parsed) {
        Py_DECREF(plan);
        return NULL;
    }
    find_ends(plan);
    return (PyObject *)plan;
}

static int visit_slot(const struct slot *slot, visitproc visit, void *arg)
{
    Py_VISIT(slot->class);
    Py_VISIT(slot->encode);
    Py_VISIT(slot->decode);
    return 0;
}

static int plan_traverse(Plan *plan, visitproc visit, void *arg)
{
    int result = visit_slot(&plan->result, visit, arg);

    Py_VISIT(Py_TYPE(plan));
    Py_VISIT(plan->signature);
    Py_VISIT(plan->library);
    for (Py_ssize_t i = 0; result == 0 && i < Py_SIZE(plan); i++)
        result = visit_slot(&plan->arguments[i], visit, arg);
    return result;
}

/* No tp_clear: whoever makes a cycle through a plan's hooks goes through an object that
 * can be cleared, and a plan without its hooks would still be called. */
static void plan_dealloc(Plan *plan)
{
    PyTypeObject *type = Py_TYPE(plan);

    PyObject_GC_UnTrack(plan);
    Py_XDECREF(plan->signature);
    Py_XDECREF(plan->encoding);
    Py_XDECREF(plan->library);
    free_slot(&plan->result);
    for (Py_ssize_t i = 0; i < Py_SIZE(plan); i++)
        free_slot(&plan->arguments[i]);
    PyMem_Free(plan->addresses);
    type->tp_free(plan);
    Py_DECREF(type);
}

static PyMemberDef members[] = {
    {"signature", T_OBJECT_EX, offsetof(Plan, signature), READONLY, "What it was made of."},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "Where the values of one signature lie in the frame, and how they convert."},
    {Py_tp_new, plan_new},
    {Py_tp_dealloc, plan_dealloc},
    {Py_tp_traverse, plan_traverse},
    {Py_tp_members, members},
    {0},
};

PyType_Spec plan_spec = {
    .name = "libferry._core.Plan",
    .basicsize = sizeof(Plan),
    .itemsize = sizeof(struct slot),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};
