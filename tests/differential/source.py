"""The C of a batch: functions that write down what they received.

Each function keeps a record of one call, argument after argument:

    an integer        its own bytes, then widened to 8. Compilers rely on a caller to
                      have extended a narrow argument where the ABI says so, and only
                      the widened value shows whether it was
    a float           its bytes
    void *            its bytes: an address
    other pointers    1 if not NULL, and what it points to: a string with its length
                      before it, or 16 bytes. An int32_t * is then written to

Before them all stands where a 16-byte aligned local variable lies, modulo 16: not 0
if the stack was not aligned as the ABI says when the function was entered.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from .signatures import BYTES_BEHIND_POINTER, Argument, Function, Value
from .targets import FLOATS, INTEGERS, TYPES, Target

RECORD_SIZE = 4096
INVERTED_BY_CALLEE = 0x5A  # each byte behind an int32_t * is XORed with this

TAKE_FACTS = "void take_facts(uint8_t *to)"
TAKE_RECORD = "uint32_t take_record(uint8_t *to)"

# No C library: with one, zig needs a minute for Windows the first time. `volatile`
# keeps the compiler from making calls to memcpy out of the loops.
PRELUDE = f"""
#include <stddef.h>
#include <stdint.h>

#ifdef _WIN32
#define EXPORT __declspec(dllexport)
int _fltused = 0;
int __stdcall DllMainCRTStartup(void *a, unsigned b, void *c) {{ return 1; }}
#else
#define EXPORT
#endif

static uint8_t record[{RECORD_SIZE}];
static uint32_t used;

static __attribute__((noinline)) void put(const void *from, uint32_t size) {{
    const volatile uint8_t *bytes = from;
    for (uint32_t i = 0; i < size; i++) record[used++] = bytes[i];
}}

static void put_byte(uint8_t byte) {{ put(&byte, 1); }}

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


def facts() -> str:
    """Let the library say what its compiler knows of each type: size, and signed or not."""
    lines = []
    for index, ctype in enumerate(TYPES):
        is_signed = "0" if ctype.endswith("*") else f"({ctype})-1 < ({ctype})0"
        lines.append(f"    to[{2 * index}] = sizeof({ctype}); to[{2 * index + 1}] = {is_signed};")
    return f"EXPORT {TAKE_FACTS} {{\n" + "\n".join(lines) + "\n}\n"


def constant(target: Target, ctype: str, value: Value) -> str:
    """Write a value as a C expression, exactly."""
    if value is None:
        return "0"
    if isinstance(value, bytes):
        return '"' + "".join(f"\\{byte:03o}" for byte in value) + '"'
    if isinstance(value, float):
        bits = struct.pack("<f" if ctype == "float" else "<d", value)
        number = int.from_bytes(bits, "little")
        integer = "uint32_t" if ctype == "float" else "uint64_t"
        return f"(union {{ {integer} bits; {ctype} value; }}){{ {number:#x} }}.value"
    bits_of_it = value & ~(-1 << 8 * target.size(ctype))
    return f"({ctype})({'uintptr_t' if '*' in ctype else 'uint64_t'}){bits_of_it:#x}ull"


def recording(ctype: str, name: str) -> str:
    if ctype in INTEGERS:
        return f"put(&{name}, sizeof {name}); put(&wide_{name}, 8);"
    if ctype in FLOATS or ctype == "void *":
        return f"put(&{name}, sizeof {name});"
    if ctype == "const char *":
        return f"put_string({name});"
    return f"put_bytes({name});" + f" change({name});" * (ctype == "int32_t *")


def define(target: Target, function: Function, name: str) -> str:
    """Write one function in C."""
    lines = [f"EXPORT {function.declaration(name)} {{"]
    lines += [
        f"    const {'long long' if target.is_signed(a.ctype) else 'unsigned long long'} "
        f"wide_a{n} = a{n};"
        for n, a in enumerate(function.arguments)
        if a.ctype in INTEGERS
    ]
    lines.append("    _Alignas(16) uint8_t aligned[16]; void *volatile where = aligned;")
    lines.append("    used = 0; put_byte((uintptr_t)where % 16);")
    lines += [f"    {recording(a.ctype, f'a{n}')}" for n, a in enumerate(function.arguments)]
    if function.result != "void":
        lines.append(f"    return {constant(target, function.result, function.returns)};")
    return "\n".join([*lines, "}", ""])


def library(target: Target, functions: Sequence[Function]) -> str:
    """Write a whole batch; its functions are called f0, f1 and so on."""
    bodies = [define(target, function, f"f{n}") for n, function in enumerate(functions)]
    return "\n".join([PRELUDE, facts(), *bodies])


def expected_record(target: Target, argument: Argument) -> bytes:
    """Say what a function writes down of one argument that arrived well."""
    ctype, value = argument.ctype, argument.value
    if isinstance(value, float):
        return struct.pack("<f" if ctype == "float" else "<d", value)
    if ctype == "void *":
        return int(value or 0).to_bytes(target.pointer, "little")
    if isinstance(value, int):
        signed = target.is_signed(ctype)
        own = value.to_bytes(target.size(ctype), "little", signed=signed)
        return own + value.to_bytes(8, "little", signed=signed)
    if value is None:
        return b"\0"
    length = struct.pack("<I", len(value)) if ctype == "const char *" else b""
    return b"\1" + length + value
