/* What an ELF library offers to others, from the bytes of its tables.
 *
 * A system has hundreds of thousands of such names, and a resolver asks for all of them.
 * Python decides which bytes are the tables and what the numbers in them mean
 * (libferry/binary/elf/symbols.py); here is only the loop over the symbols.
 *
 * The tables come from files that anybody may have written. Each is a whole bytes object
 * with its size, so there are three ways to lie: a name that begins or ends behind its
 * table goes to Python, which knows the error to raise; a version's number may be any, and
 * is looked up in a mapping; and names that overlap are charged as Python charges them, in
 * sums of at least CHARGED_AT_ONCE bytes, so that no more than that is read unpaid.
 *
 * Specification: gABI chapter 4, "Symbol Table"; LSB Core, 10.7 "Symbol Versioning". */
#include "extension.h"

#include <elf.h>
#include <string.h>

#define CHARGED_AT_ONCE (1 << 16)
#define VERSION_HIDDEN 0x8000
#define KINDS 256 /* one for each st_info */

/* The fields of the named tuple, as libferry/binary/model.py has them. */
enum { NAME, KIND, VERSION, ADDRESS, ORDINAL, HIDDEN, FORWARD, FIELDS };

struct reading {
    PyTypeObject *type;
    PyObject *kinds, *version_of, *name_at, *charge, *is_code;
    PyObject *symbols, *strings, *versions; /* bytes */
    int wide, swapped;
    Py_ssize_t uncharged;
    PyObject *version; /* owned: the name of the version with `number`, or NULL at first */
    uint16_t number;
};

static uint16_t half(const struct reading *reading, uint16_t number)
{
    return reading->swapped ? __builtin_bswap16(number) : number;
}

static uint32_t word(const struct reading *reading, uint32_t number)
{
    return reading->swapped ? __builtin_bswap32(number) : number;
}

static uint64_t xword(const struct reading *reading, uint64_t number)
{
    return reading->swapped ? __builtin_bswap64(number) : number;
}

static size_t symbol_size(const struct reading *reading)
{
    return reading->wide ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
}

/* A symbol of either class, in our byte order. It may lie anywhere, so it is copied. */
static Elf64_Sym symbol_at(const struct reading *reading, Py_ssize_t index)
{
    const char *at = PyBytes_AS_STRING(reading->symbols) + (size_t)index * symbol_size(reading);
    Elf32_Sym narrow;
    Elf64_Sym symbol;

    if (reading->wide) {
        memcpy(&symbol, at, sizeof(symbol));
        symbol.st_value = xword(reading, symbol.st_value);
    } else {
        memcpy(&narrow, at, sizeof(narrow));
        symbol = (Elf64_Sym){.st_name = narrow.st_name,
                             .st_info = narrow.st_info,
                             .st_other = narrow.st_other,
                             .st_shndx = narrow.st_shndx,
                             .st_value = word(reading, narrow.st_value)};
    }
    symbol.st_name = word(reading, symbol.st_name);
    symbol.st_shndx = half(reading, symbol.st_shndx);
    return symbol;
}

static uint16_t version_number_at(const struct reading *reading, Py_ssize_t index)
{
    uint16_t number;

    if (!PyBytes_GET_SIZE(reading->versions))
        return VER_NDX_LOCAL;
    memcpy(&number, PyBytes_AS_STRING(reading->versions) + index * 2, sizeof(number));
    return half(reading, number);
}

/* Make reading->version that of `number`: neighbours mostly have the same. */
static bool find_version(struct reading *reading, uint16_t number)
{
    PyObject *key, *version;

    if (reading->version && reading->number == number)
        return true;
    key = PyLong_FromLong(number);
    version = key ? PyObject_GetItem(reading->version_of, key) : NULL;
    Py_XDECREF(key);
    if (!version)
        return false;
    Py_XSETREF(reading->version, version);
    reading->number = number;
    return true;
}

static bool pay(struct reading *reading)
{
    PyObject *done = PyObject_CallFunction(reading->charge, "n", reading->uncharged);

    reading->uncharged = 0;
    Py_XDECREF(done);
    return done;
}

static PyObject *name_at(struct reading *reading, uint32_t offset)
{
    const char *start = PyBytes_AS_STRING(reading->strings), *end = NULL;
    size_t size = (size_t)PyBytes_GET_SIZE(reading->strings);

    if (offset < size)
        end = memchr(start + offset, 0, size - offset);
    if (!end)
        return PyObject_CallFunction(reading->name_at, "k", (unsigned long)offset);
    start += offset;
    reading->uncharged += end - start;
    if (reading->uncharged >= CHARGED_AT_ONCE && !pay(reading))
        return NULL;
    return PyUnicode_DecodeUTF8(start, end - start, "backslashreplace");
}

/* The kind of a symbol whose type says nothing, by where it lies. */
static PyObject *untyped(const struct reading *reading, uint64_t address)
{
    PyObject *code = PyObject_CallFunction(reading->is_code, "K", (unsigned long long)address);
    int is = code ? PyObject_IsTrue(code) : -1;

    Py_XDECREF(code);
    if (is < 0)
        return NULL;
    return PyTuple_GET_ITEM(reading->kinds,
                            ELF64_ST_INFO(STB_GLOBAL, is ? STT_FUNC : STT_OBJECT));
}

/* A named tuple that the garbage collector need not look at: it has only strings, numbers
 * and None. Takes the name, which is not NULL. */
static PyObject *export(const struct reading *reading, PyObject *name, PyObject *kind,
                        uint64_t address)
{
    PyObject *row = reading->type->tp_alloc(reading->type, FIELDS), *number;

    if (!row) {
        Py_DECREF(name);
        return NULL;
    }
    PyObject_GC_UnTrack(row);
#if PY_VERSION_HEX >= 0x030e0000
    ((PyTupleObject *)row)->ob_hash = -1; /* not known yet, which is not 0 */
#endif
    PyTuple_SET_ITEM(row, NAME, name);
    PyTuple_SET_ITEM(row, KIND, Py_NewRef(kind));
    PyTuple_SET_ITEM(row, VERSION, Py_NewRef(reading->version));
    PyTuple_SET_ITEM(row, ORDINAL, Py_NewRef(Py_None));
    PyTuple_SET_ITEM(row, HIDDEN, PyBool_FromLong(reading->number & VERSION_HIDDEN));
    PyTuple_SET_ITEM(row, FORWARD, Py_NewRef(Py_None));
    number = PyLong_FromUnsignedLongLong(address);
    PyTuple_SET_ITEM(row, ADDRESS, number);
    if (!number)
        Py_CLEAR(row);
    return row;
}

/* Append one symbol to the list if it is an export. False with an exception. */
static bool take(struct reading *reading, Py_ssize_t index, PyObject *found)
{
    Elf64_Sym symbol = symbol_at(reading, index);
    int visibility = ELF64_ST_VISIBILITY(symbol.st_other), marker = 0;
    PyObject *kind = PyTuple_GET_ITEM(reading->kinds, symbol.st_info), *name, *row;
    bool done;

    if (kind == Py_None || symbol.st_shndx == SHN_UNDEF || !symbol.st_name ||
        visibility == STV_HIDDEN || visibility == STV_INTERNAL)
        return true;
    if (!find_version(reading, version_number_at(reading, index)))
        return false;
    name = name_at(reading, symbol.st_name);
    if (name && symbol.st_shndx == SHN_ABS && !symbol.st_value)
        marker = PyObject_RichCompareBool(name, reading->version, Py_EQ);
    if (name && !marker && ELF64_ST_TYPE(symbol.st_info) == STT_NOTYPE)
        kind = untyped(reading, symbol.st_value);
    if (!name || !kind || marker) {
        Py_XDECREF(name);
        return name && kind && marker > 0;
    }
    row = export(reading, name, kind, symbol.st_value);
    done = row && PyList_Append(found, row) == 0;
    Py_XDECREF(row);
    return done;
}

static bool is_sound(const struct reading *reading)
{
    size_t size = (size_t)PyBytes_GET_SIZE(reading->symbols);
    size_t versions = (size_t)PyBytes_GET_SIZE(reading->versions);

    if (PyType_IsSubtype(reading->type, &PyTuple_Type) &&
        PyTuple_GET_SIZE(reading->kinds) == KINDS && size % symbol_size(reading) == 0 &&
        (!versions || versions == size / symbol_size(reading) * 2))
        return true;
    PyErr_SetString(PyExc_ValueError, "the tables have the wrong sizes");
    return false;
}

static PyObject *elf_exports(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"type",     "kinds",      "symbols", "wide",   "swapped", "strings",
                            "versions", "version_of", "name_at", "charge", "is_code", NULL};
    struct reading reading = {0};
    PyObject *found, *result;
    Py_ssize_t count;
    bool done;

    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "$O!O!SppSSOOOO", names, &PyType_Type,
                                     &reading.type, &PyTuple_Type, &reading.kinds,
                                     &reading.symbols, &reading.wide, &reading.swapped,
                                     &reading.strings, &reading.versions, &reading.version_of,
                                     &reading.name_at, &reading.charge, &reading.is_code) ||
        !is_sound(&reading))
        return NULL;
    found = PyList_New(0);
    done = found;
    count = PyBytes_GET_SIZE(reading.symbols) / (Py_ssize_t)symbol_size(&reading);
    for (Py_ssize_t i = 0; done && i < count; i++)
        done = take(&reading, i, found);
    result = done && pay(&reading) ? PyList_AsTuple(found) : NULL;
    Py_XDECREF(reading.version);
    Py_XDECREF(found);
    return result;
}

PyMethodDef exports_functions[] = {
    {"elf_exports", (PyCFunction)(void (*)(void))elf_exports, METH_VARARGS | METH_KEYWORDS,
     "elf_exports(*, type, kinds, symbols, wide, swapped, strings, versions, version_of, name_at,\n"
     "charge, is_code): a tuple with one `type` for each symbol that others can find."},
    {0},
};
