"""What a compiler says of a header, to compare what was read from it with.

``disagreements`` writes a C file that includes the header and asserts, thing by thing,
what we made of it: ``sizeof``, ``offsetof``, the compatibility of types, the values of
constants. Clang names every assertion that does not hold.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from libferry.abi import (
    ABIS,
    Array,
    Complex,
    CType,
    FunctionType,
    Integer,
    Opaque,
    Pointer,
    Record,
    Value,
    Vector,
    Void,
)
from libferry.build.zig import zig_home
from libferry.contract import AddressConstant, Header, Signature
from libferry.contract.preprocess import TARGETS
from libferry.errors import UnsupportedDeclaration

# Where Microsoft's ABI and mingw's differ we are with Microsoft: an enum is an int, ...
_C_INTEGERS = {"char", "signed char", "unsigned char", "wchar_t"} | {
    sign + word for word in ("short", "int", "long", "long long") for sign in ("", "unsigned ")
}
# ... and a long double is a double.
LLP64_LONG_DOUBLE = ("-mlong-double-64",)


def disagreements(
    header: Header,
    include: str,
    abi: str,
    folder: Path,
    options: Sequence[str] = (),
    *,
    constants: bool = True,
) -> list[str]:
    """The assertions that Clang finds wrong, and how many there were if none is."""
    windows = "windows" in ABIS[abi].os
    lines = [*_functions(header), *_types(header, windows), *_variables(header)]
    if constants:
        lines += _constants(header)
    assert lines
    source = folder / "check.c"
    # volatile and restrict are nothing that a type here keeps
    before = "#define volatile\n#define restrict\n#define __restrict\n"
    source.write_text(f"{before}{include}\n#include <stddef.h>\n" + "\n".join(lines))
    command: list[str | Path] = [
        zig_home() / "zig",
        "cc",
        "-target",
        TARGETS[abi],
        "-std=gnu17",
        "-c",
    ]
    command += ["-w", "-ferror-limit=0", *options, source, "-o", folder / "check.o"]
    if windows and abi != "aarch64-windows":
        command += LLP64_LONG_DOUBLE
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    text = source.read_text().splitlines()
    wrong = []
    for match in re.finditer(r"^(.*?):(\d+):\d+: error: (.*)$", done.stderr, re.M):
        if match[1] == str(source):  # not the compiler's own headers
            wrong.append(f"{match[3]} | {text[int(match[2]) - 1]}")
    return wrong


def spelled(ctype: CType, name: str) -> str | None:
    """The type as C declares a thing with it; None if it has no name in C."""
    match ctype:
        case Pointer(to=to, readonly=readonly):
            inner = f"*{name}"
            if isinstance(to, FunctionType | Array):
                return spelled(to, f"({inner})")
            if isinstance(to, Pointer) and readonly:
                return spelled(to, f"const {inner}")
            text = spelled(to, inner)
            return f"const {text}" if readonly and text else text
        case Array(of=of, length=length):
            return spelled(of, f"{name}[{'' if length is None else length}]")
        case FunctionType():
            parts = [spelled(p, "") for p in ctype.parameters] + ["..."] * ctype.variadic
            if None in parts:
                return None
            listed = ", ".join(filter(None, parts)) or "void"
            called = f"__{ctype.convention} " if ctype.convention != "cdecl" else ""
            if name.startswith("(*"):
                return spelled(ctype.result, f"({called}{name[1:-1]})({listed})")
            return spelled(ctype.result, f"{called}{name}({listed})")
        case Complex(part=part):
            if part.name == "_Float128":
                return None
            return f"{part.name} _Complex {name}"
        case Vector(of=of, size=size):
            return f"__attribute__((vector_size({size}))) {of.name} {name}"
    if ctype.name == "struct __va_list_tag":
        return f"__typeof__((*(__builtin_va_list *)0)[0]) {name}"
    if ctype.name == "struct __va_list":
        return f"__builtin_va_list {name}"
    if "(" in ctype.name or ctype.name == "block":
        return None
    return f"{ctype.name} {name}"


def _assert(condition: str, what: str) -> str:
    return f"_Static_assert({condition}, {json.dumps(what)});"


def _same(theirs: str, ours: str, what: str) -> str:
    pair = f"__typeof__({theirs}), __typeof__({ours})"
    return _assert(f"__builtin_types_compatible_p({pair})", what)


def _functions(header: Header) -> Iterator[str]:
    for name in header.functions:
        try:
            signature = header.functions[name]
        except UnsupportedDeclaration:
            continue
        text = spelled(_type(signature), f"ours_{name}")
        if text is None or name.startswith(("_mm_", "_m_")):  # the latter are no functions
            continue
        yield f"#undef {name}"
        if isinstance(signature.result, Pointer):
            # a function that returns a pointer to one: with a name, as headers have it
            yield f"typedef {spelled(signature.result, f'result_of_{name}')};"
            named = Integer(f"result_of_{name}", 8, True)
            text = spelled(replace(_type(signature), result=named), f"ours_{name}")
        yield f"{text};"
        yield _same(f"&{name}", f"&ours_{name}", f"function {name}: {text}")


def _type(signature: Signature) -> FunctionType:
    return FunctionType(
        signature.result,
        tuple(p.type for p in signature.parameters),
        signature.variadic,
        signature.convention,
    )


def _variables(header: Header) -> Iterator[str]:
    for name in header.variables:
        try:
            text = spelled(header.variables[name], f"ours_{name}")
        except UnsupportedDeclaration:
            continue
        if text is not None:
            yield f"extern {text};"
            yield _same(f"({name})", f"(ours_{name})", f"variable {name}: {text}")


def _types(header: Header, windows: bool) -> Iterator[str]:
    for name in header.types:
        if "(" in name or name.startswith("__builtin"):
            continue
        try:
            ctype = header.types[name]
        except UnsupportedDeclaration:
            continue
        match ctype:
            case Record():
                yield from _record(name, ctype)
            case Opaque() | FunctionType() | Void() | Array(length=None):
                pass
            case _:
                yield from _value(name, ctype, windows)


def _value(name: str, ctype: Value, windows: bool) -> Iterator[str]:
    yield _assert(f"sizeof({name}) == {ctype.size}", f"size of {name}")
    text = spelled(ctype, f"ours_{name.replace(' ', '_')}")
    if text is not None:
        yield f"extern {text};"
        yield _same(f"({name} *)0", f"&ours_{name.replace(' ', '_')}", f"{name}: {text}")
    if isinstance(ctype, Integer) and (ctype.name in _C_INTEGERS or not windows):
        yield _assert(f"(({name})-1 < 0) == {int(ctype.signed)}", f"sign of {name}")


def _record(name: str, record: Record) -> Iterator[str]:
    yield _assert(f"sizeof({name}) == {record.size}", f"size of {name}")
    if name == record.name:
        yield _assert(f"_Alignof({name}) == {record.alignment}", f"alignment of {name}")
    for path, offset, ctype in _members(record, 0):
        yield f"#undef {path.rpartition('.')[2]}"
        yield _assert(f"offsetof({name}, {path}) == {offset}", f"offset of {name}.{path}")
        text = spelled(ctype, "")
        if text is not None and not isinstance(ctype, Array):
            yield _same(f"(({name} *)0)->{path}", text, f"type of {name}.{path}: {text}")


def _members(record: Record, base: int) -> Iterator[tuple[str, int, CType]]:
    for field in record.fields:
        if field.bits is not None:
            continue
        if field.name:
            yield field.name, base + field.offset, field.type
            if isinstance(field.type, Record) and "(" in field.type.name:
                for path, offset, ctype in _members(field.type, base + field.offset):
                    yield f"{field.name}.{path}", offset, ctype
        elif isinstance(field.type, Record):
            yield from _members(field.type, base + field.offset)


def _constants(header: Header) -> Iterator[str]:
    for name in header.constants:
        value = header.constants[name]
        if isinstance(value, AddressConstant):
            value = value.value
        match value:
            case str():
                if all(" " <= char <= "~" for char in value):
                    text = json.dumps(value)
                    yield _assert(f"sizeof({name}) == sizeof({text}) * sizeof(*{name})", name)
                    same = f"!__builtin_memcmp({name}, {text}, sizeof({text}))"
                    yield _assert(f"sizeof(*{name}) != 1 || {same}", name)  # the others are wide
            case float():
                yield _assert(f"{name} == {value.hex()}", name)
            case int():
                number = f"{value % 2**64}ull"
                yield _assert(f"(unsigned long long)({name}) == {number}", f"{name}: {value}")
