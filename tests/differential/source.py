"""The C of a batch: functions that write down what they received.

Each function keeps a record of one call, argument after argument:

    an integer        its own bytes, then widened to 8. Compilers rely on a caller to
                      have extended a narrow argument where the ABI says so, and only
                      the widened value shows whether it was
    other scalars     their bytes, without the padding of a long double
    a record          where it lies modulo its alignment, then every leaf's bytes; what
                      lies between is nobody's business. Bit-fields follow, each widened
                      to 8 bytes
    pointers to data  1 if not NULL, and what it points to: a string with its length
                      before it, or 16 bytes. An int32_t * is then written to
    a callback        nothing; it is called once all else is written down, and what it
                      returned is written down like an argument

Before them all stands where a 16-byte aligned local variable lies, modulo 16: not 0
if the stack was not aligned as the ABI says when the function was entered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .signatures import BYTES_BEHIND_POINTER, Argument, Callback, Function
from .targets import DATA_POINTERS, INTEGERS, Target
from .types import VECTORS, VOID, FunctionPointer, Names, Record, Scalar, Type
from .values import Value, encode_scalar, leaf_bytes, leaves

RECORD_SIZE = 1 << 16
INVERTED_BY_CALLEE = 0x5A  # each byte behind an int32_t * is XORed with this

TAKE_FACTS = "void take_facts(uint8_t *to)"
TAKE_LAYOUTS = "void take_layouts(uint32_t *to)"
TAKE_RECORD = "uint32_t take_record(uint8_t *to)"

# What a header for these functions begins with.
TYPEDEFS = "\n".join(
    [
        "struct opaque;",
        *(
            f"typedef {element} {name} __attribute__((vector_size({count} * sizeof({element}))));"
            for name, (element, count) in VECTORS.items()
        ),
    ]
)

# No C library: with one, zig needs a minute for Windows the first time. `volatile`
# keeps the compiler from making calls to memcpy out of the loops; for a long structure
# it makes them all the same.
INCLUDES = "#include <stdarg.h>\n#include <stddef.h>\n#include <stdint.h>"
PRELUDE = f"""
#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#define OWN
int _fltused = 0;
int __stdcall DllMainCRTStartup(void *a, unsigned b, void *c) {{ return 1; }}
#else
#define EXPORT __attribute__((visibility("default")))
#define OWN __attribute__((visibility("hidden")))
#endif

OWN void *memcpy(void *to, const void *from, size_t size) {{
    for (size_t i = 0; i < size; i++) ((volatile char *)to)[i] = ((const volatile char *)from)[i];
    return to;
}}

OWN void *memset(void *to, int byte, size_t size) {{
    for (size_t i = 0; i < size; i++) ((volatile char *)to)[i] = (char)byte;
    return to;
}}

static uint8_t record[{RECORD_SIZE}];
static uint32_t used;

/* a part of a value that counts */
struct leaf {{ uint16_t at, size; }};

static __attribute__((noinline)) void put(const void *from, uint32_t size) {{
    const volatile uint8_t *bytes = from;
    for (uint32_t i = 0; i < size; i++) record[used++] = bytes[i];
}}

static void put_byte(uint8_t byte) {{ put(&byte, 1); }}

static __attribute__((noinline)) void put_leaves(
    const void *from, const struct leaf *leaves, uint32_t count) {{
    for (uint32_t i = 0; i < count; i++) put((const char *)from + leaves[i].at, leaves[i].size);
}}

static __attribute__((noinline)) void set_leaves(
    void *to, const char *bytes, const struct leaf *leaves, uint32_t count) {{
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t n = 0; n < leaves[i].size; n++)
            ((volatile char *)to)[leaves[i].at + n] = *bytes++;
}}

static __attribute__((noinline)) void put_string(const char *string) {{
    put_byte(string != 0);
    if (!string) return;
    uint32_t length = 0;
    while (((const volatile char *)string)[length]) length++;
    put(&length, 4);
    put(string, length);
}}

static __attribute__((noinline)) void put_bytes(const void *bytes) {{
    put_byte(bytes != 0);
    if (bytes) put(bytes, {BYTES_BEHIND_POINTER});
}}

static __attribute__((noinline)) void change(int32_t *numbers) {{
    volatile uint8_t *bytes = (volatile uint8_t *)numbers;
    for (int i = 0; bytes && i < {BYTES_BEHIND_POINTER}; i++) bytes[i] ^= {INVERTED_BY_CALLEE};
}}

EXPORT {TAKE_RECORD} {{
    for (uint32_t i = 0; i < used; i++) ((volatile uint8_t *)to)[i] = record[i];
    return used;
}}
"""


def facts(target: Target) -> str:
    """Let the library say what its compiler knows of each type: size, and signed or not."""
    lines = []
    for index, ctype in enumerate(target.scalars):
        name = ctype.name
        is_signed = f"({name})-1 < ({name})0" if name in target.integers else "0"
        lines.append(f"    to[{2 * index}] = sizeof({name}); to[{2 * index + 1}] = {is_signed};")
    return f"EXPORT {TAKE_FACTS} {{\n" + "\n".join(lines) + "\n}\n"


def layouts(names: Names) -> str:
    """Let the library say how long and how aligned each record is."""
    sizes = [
        f"    to[{2 * n}] = sizeof({spelled}); to[{2 * n + 1}] = _Alignof({spelled});"
        for n, spelled in enumerate(names.spell(record) for record in names.records())
    ]
    return "\n".join([f"EXPORT {TAKE_LAYOUTS} {{", *sizes, "}"])


@dataclass
class Writer:
    """Writes the functions of one library; their types are defined once for all."""

    target: Target
    names: Names

    def octal(self, content: bytes) -> str:
        return '"' + "".join(f"\\{byte:03o}" for byte in content) + '"'

    def table(self, ctype: Type, value: Value, name: str) -> tuple[str, int]:
        """Define the leaves of a value that are not bit-fields; give C, and their number."""
        rows = []
        spelled = self.names.spell(ctype)
        for leaf in leaves(ctype, value):
            if leaf.bits is None:
                at = f"offsetof({spelled}, {leaf.path[1:]})" if leaf.path else "0"
                for offset, part in encode_scalar(self.target, leaf.type, leaf.value):
                    rows.append(f"{{ {at} + {offset}, {len(part)} }}")
        listed = ", ".join(rows) or "{ 0 }"
        return f"static const struct leaf {name}[] = {{ {listed} }};", len(rows)

    def putting(self, ctype: Type, value: Value, variable: str, unique: str) -> Iterator[str]:
        """Write down a variable that should have this value."""
        if isinstance(ctype, Scalar) and ctype.name in self.target.integers:
            yield f"put(&{variable}, sizeof {variable});"
            if ctype.name in INTEGERS:
                wide = "long long" if self.target.is_signed(ctype.name) else "unsigned long long"
                yield f"{{ {wide} wide = {variable}; put(&wide, 8); }}"
            return
        table, count = self.table(ctype, value, f"{unique}_leaves")
        if isinstance(ctype, Record):
            yield f"{{ void *volatile at = &{variable}; "
            yield f"put_byte((uintptr_t)at % _Alignof({self.names.spell(ctype)})); }}"
        yield f"{{ {table} put_leaves(&{variable}, {unique}_leaves, {count}); }}"
        for leaf in leaves(ctype, value):
            if leaf.bits is not None:
                wide = "long long" if leaf.value < 0 else "unsigned long long"
                yield f"{{ {wide} wide = {variable}{leaf.path}; put(&wide, 8); }}"

    def maker(self, ctype: Type, value: Value, unique: str) -> str:
        """Define a function that stores a value, all but its padding."""
        table, count = self.table(ctype, value, "table")
        content = b"".join(
            part
            for leaf in leaves(ctype, value)
            if leaf.bits is None
            for _, part in encode_scalar(self.target, leaf.type, leaf.value)
        )
        fields = [
            # the least long long is no constant of its own in C
            f"    to->{leaf.path[1:]} = {leaf.value}{'ll' if leaf.value < 0 else 'ull'};"
            if leaf.value > -(1 << 63)
            else f"    to->{leaf.path[1:]} = -{(1 << 63) - 1}ll - 1;"
            for leaf in leaves(ctype, value)
            if leaf.bits is not None
        ]
        to = self.names.spell(ctype, "*to")
        return "\n".join(
            [
                f"EXPORT void make_{unique}({to}) {{",
                f"    {table}",
                f"    set_leaves(to, {self.octal(content)}, table, {count});",
                *fields,
                "}",
            ]
        )

    def calling(self, argument: Argument, number: int, unique: str) -> Iterator[str]:
        """Call a callback, and write down what it returned."""
        ctype, value = argument.type, argument.value
        assert isinstance(ctype, FunctionPointer)
        assert isinstance(value, Callback)
        yield "{"
        for n, parameter in enumerate(ctype.parameters):
            yield f"    {self.names.spell(parameter, f'v{n}')}; make_{unique}_v{n}(&v{n});"
        passed = ", ".join(f"v{n}" for n in range(len(ctype.parameters)))
        if ctype.result == VOID:
            yield f"    a{number}({passed});"
        else:
            yield f"    {self.names.spell(ctype.result, 'r')} = a{number}({passed});"
            for line in self.putting(ctype.result, value.returns, "r", f"{unique}_r"):
                yield f"    {line}"
        yield "}"

    def makers(self, function: Function, name: str, arguments: bool) -> Iterator[str]:
        """Define what makes the values that C itself needs, or all of them."""
        if function.result not in (VOID, Scalar("const char *")):
            yield self.maker(function.result, function.returns, f"{name}_result")
        for n, argument in enumerate(function.arguments):
            ctype, value = argument.type, argument.value
            if isinstance(ctype, FunctionPointer) and isinstance(value, Callback):
                for m, (parameter, passed) in enumerate(
                    zip(ctype.parameters, value.arguments, strict=True)
                ):
                    yield self.maker(parameter, passed, f"{name}_a{n}_v{m}")
                if arguments and ctype.result != VOID:
                    yield self.maker(ctype.result, value.returns, f"{name}_a{n}_r")
            elif arguments:
                yield self.maker(ctype, value, f"{name}_a{n}")

    def define(self, function: Function, name: str) -> str:
        """Write one function in C."""
        lines = [f"EXPORT {function.declaration(name, self.names)} {{"]
        lines.append("    _Alignas(16) uint8_t aligned[16]; void *volatile where = aligned;")
        lines.append("    used = 0; put_byte((uintptr_t)where % 16);")
        dots = function.variadic_from is not None
        if dots:
            lines.append(f"    va_list list; va_start(list, a{len(function.fixed) - 1});")
        calls = []
        for n, argument in enumerate(function.arguments):
            ctype, unique = argument.type, f"{name}_a{n}"
            if n >= len(function.fixed):
                spelled = self.names.spell(ctype, f"a{n}")
                lines.append(f"    {spelled} = va_arg(list, {self.names.spell(ctype)});")
            if isinstance(argument.value, Callback):
                calls += [f"    {line}" for line in self.calling(argument, n, unique)]
            elif isinstance(ctype, Scalar) and ctype.name in DATA_POINTERS:
                word = "put_string" if ctype.name == "const char *" else "put_bytes"
                change = f" change(a{n});" * (ctype.name == "int32_t *")
                lines.append(f"    {word}(a{n});{change}")
            else:
                lines += [
                    f"    {line}" for line in self.putting(ctype, argument.value, f"a{n}", unique)
                ]
        lines += ["    va_end(list);"] * dots + calls
        if function.result == Scalar("const char *"):
            text = "0" if function.returns is None else self.octal(function.returns)
            lines.append(f"    return {text};")
        elif function.result != VOID:
            spelled = self.names.spell(function.result, "result")
            lines.append(f"    {spelled}; make_{name}_result(&result);")
            lines.append("    return result;")
        return "\n".join([*lines, "}", ""])


def header(functions: Sequence[Function]) -> tuple[str, Names]:
    """Declare a whole batch for libferry; its functions are called f0, f1 and so on."""
    names = Names("")
    declared = [f"{function.declaration(f'f{n}', names)};" for n, function in enumerate(functions)]
    return "\n".join([TYPEDEFS, *names.definitions, *declared, ""]), names


def library(target: Target, functions: Sequence[Function], arguments: bool = False) -> str:
    """Write a whole batch, with a maker for every argument if these are wanted."""
    _, names = header(functions)
    writer = Writer(target, names)
    bodies: list[str] = []
    for n, function in enumerate(functions):
        bodies += writer.makers(function, f"f{n}", arguments)
        bodies.append(writer.define(function, f"f{n}"))
    asked = [facts(target), layouts(names)]
    return "\n".join([INCLUDES, TYPEDEFS, *names.definitions, PRELUDE, *asked, *bodies])


def expected_record(target: Target, ctype: Type, value: Value) -> bytes:
    """Say what a function writes down of a value that arrived well."""
    if isinstance(ctype, Scalar) and ctype.name in DATA_POINTERS:
        if value is None:
            return b"\0"
        length = len(value).to_bytes(4, "little") if ctype.name == "const char *" else b""
        return b"\1" + length + bytes(value)
    if isinstance(ctype, Scalar) and ctype.name in INTEGERS:
        wide: bytes = value.to_bytes(8, "little", signed=target.is_signed(ctype.name))
        return leaf_bytes(target, ctype, value) + wide
    return b"\0" * isinstance(ctype, Record) + leaf_bytes(target, ctype, value)


def written(function: Function) -> Iterator[tuple[str, int | None, Type, Value]]:
    """Give what a function writes down, in order: where it is from, its number, type, value."""
    for n, argument in enumerate(function.arguments):
        if not isinstance(argument.value, Callback):
            dots = " after the dots" * (n >= len(function.fixed))
            yield f"argument {n + 1}{dots} (a{n})", n, argument.type, argument.value
    for n, argument in enumerate(function.arguments):
        if isinstance(argument.value, Callback):
            assert isinstance(argument.type, FunctionPointer)
            if argument.type.result != VOID:
                where = f"what callback a{n} returned"
                yield where, None, argument.type.result, argument.value.returns
