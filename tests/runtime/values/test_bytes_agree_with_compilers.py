"""What values are encoded to is what a C compiler makes of the same initialiser."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from libferry.abi import ABIS, Record
from libferry.contract import declare, parse_type
from libferry.runtime.values import Array, Struct, decode, encode

from .compiled import data_of

pytestmark = pytest.mark.needs("ziglang", install="pip install ziglang")

PRELUDE = """
struct point { int x, y; };
struct small { char c; short s; char d; };
struct mixed { char c; double d; long l; long long ll; float f; _Bool b; };
struct __attribute__((packed)) packed { char c; int i; double d; short s; };
struct bits { unsigned a : 3; unsigned b : 7; int c : 5; unsigned d : 20; unsigned char e; };
struct wide_bits { unsigned long long a : 40; signed long long b : 20; _Bool c : 1; };
struct __attribute__((packed)) tight { unsigned a : 5; unsigned b : 30; int c : 29; };
struct arrays { short a[3]; char name[6]; unsigned char raw[3]; int grid[2][3]; };
struct nested { char tag; struct point from, to; struct small s[2]; };
union number { int i; float f; double d; unsigned char bytes[8]; };
struct tagged { int kind; union { int i; double d; }; struct { char a, b; }; };
struct text { wchar_t wide[4]; char narrow[4]; };
struct reals { float f; long double l; double _Complex z; };
enum colour { RED, GREEN = 5, BLUE };
struct painted { enum colour colour; signed char level; };
typedef float vector4 __attribute__((vector_size(16)));
typedef short shorts8 __attribute__((vector_size(16)));
struct holds_vector { char c; vector4 v; };
struct _Alignas_check { char c; _Alignas(32) char d; };
"""

# type, initialiser in C, the same in Python, and what is read back (None: what was given)
CASES: list[tuple[str, str, Any, Any]] = [
    ("char", "65", 65, None),
    ("char", "'z'", b"z", ord("z")),
    ("signed char", "-128", -128, None),
    ("unsigned short", "65535", 65535, None),
    ("int", "-2147483647 - 1", -(2**31), None),
    ("long long", "-9223372036854775807LL - 1", -(2**63), None),
    ("unsigned long long", "18446744073709551615ULL", 2**64 - 1, None),
    ("_Bool", "1", True, None),
    ("enum colour", "BLUE", 6, None),
    ("float", "0.1f", 0.1, 0.10000000149011612),
    ("double", "-0.0", -0.0, None),
    ("double", "1e308 * 10", float("inf"), None),
    ("long double", "-1.5L", -1.5, None),
    ("float _Complex", "__builtin_complex(1.5f, -2.0f)", 1.5 - 2j, None),
    ("double _Complex", "__builtin_complex(0.1, 1e300)", 0.1 + 1e300j, None),
    ("long double _Complex", "__builtin_complex(0.5L, -8.0L)", 0.5 - 8j, None),
    ("vector4", "{ 1, -2, 0.5f, 1e10f }", (1, -2, 0.5, 1e10), None),
    ("shorts8", "{ 1, -2, 3, -4, 5, -6, 7, -32768 }", (1, -2, 3, -4, 5, -6, 7, -32768), None),
    ("struct point", "{ 1, -2 }", (1, -2), {"x": 1, "y": -2}),
    ("struct point", "{ .y = 7 }", {"y": 7}, {"x": 0, "y": 7}),
    ("struct small", "{ 1, -2, 3 }", [1, -2, 3], {"c": 1, "s": -2, "d": 3}),
    (
        "struct mixed",
        "{ 1, 2.5, -3, 4, 0.5f, 1 }",
        {"c": 1, "d": 2.5, "l": -3, "ll": 4, "f": 0.5, "b": True},
        None,
    ),
    ("struct packed", "{ 1, -2, 3.5, 4 }", (1, -2, 3.5, 4), {"c": 1, "i": -2, "d": 3.5, "s": 4}),
    (
        "struct bits",
        "{ 5, 100, -16, 0xfffff, 200 }",
        {"a": 5, "b": 100, "c": -16, "d": 0xFFFFF, "e": 200},
        None,
    ),
    ("struct bits", "{ .c = 15, .e = 1 }", {"c": 15, "e": 1}, None),
    (
        "struct wide_bits",
        "{ 0xffffffffffULL, -524288, 1 }",
        {"a": 2**40 - 1, "b": -(2**19), "c": True},
        None,
    ),
    ("struct tight", "{ 31, 0x2aaaaaaa, -2 }", {"a": 31, "b": 0x2AAAAAAA, "c": -2}, None),
    (
        "struct arrays",
        '{ { 1, 2 }, "abc", { 7, 8, 9 }, { { 1, 2, 3 }, { 4 } } }',
        {"a": [1, 2], "name": "abc", "raw": b"\7\10\11", "grid": [[1, 2, 3], [4]]},
        {"a": [1, 2, 0], "name": b"abc", "raw": [7, 8, 9], "grid": [[1, 2, 3], [4, 0, 0]]},
    ),
    (
        "struct nested",
        "{ 'n', { 1, 2 }, { .y = 4 }, { { 1, 2, 3 }, { .s = -1 } } }",
        {"tag": b"n", "from": (1, 2), "to": {"y": 4}, "s": [(1, 2, 3), {"s": -1}]},
        {
            "tag": ord("n"),
            "from": {"x": 1, "y": 2},
            "to": {"x": 0, "y": 4},
            "s": [{"c": 1, "s": 2, "d": 3}, {"c": 0, "s": -1, "d": 0}],
        },
    ),
    ("union number", "{ .f = 1.5f }", {"f": 1.5}, {"f": 1.5}),
    ("union number", "{ 77 }", (77,), {"i": 77}),
    (
        "struct tagged",
        "{ 2, { .d = 0.25 }, { 'a', 'b' } }",
        {"kind": 2, "d": 0.25, "a": 97, "b": 98},
        None,
    ),
    (
        "struct tagged",
        "{ 2, { 3 }, { 4, 5 } }",
        (2, 3, 4, 5),
        {"kind": 2, "i": 3, "a": 4, "b": 5},
    ),
    (
        "struct text",
        '{ L"\\u00fcb", "wxyz" }',
        {"wide": "üb", "narrow": "wxyz"},
        {"wide": [0xFC, ord("b"), 0, 0], "narrow": b"wxyz"},
    ),
    (
        "struct reals",
        "{ 0.5f, -2.25L, __builtin_complex(1.0, -1.0) }",
        (0.5, -2.25, 1 - 1j),
        {"f": 0.5, "l": -2.25, "z": 1 - 1j},
    ),
    ("struct painted", "{ GREEN, -1 }", (5, -1), {"colour": 5, "level": -1}),
    (
        "struct holds_vector",
        "{ 1, { 1, 2, 3, 4 } }",
        (1, [1, 2, 3, 4]),
        {"c": 1, "v": (1, 2, 3, 4)},
    ),
    ("int[3]", "{ 1, 2, 3 }", [1, 2, 3], None),
    (
        "struct point[2]",
        "{ { 1, 2 }, { 3 } }",
        [(1, 2), (3,)],
        [{"x": 1, "y": 2}, {"x": 3, "y": 0}],
    ),
]
WIDE_CASES: list[tuple[str, str, Any, Any]] = [
    ("__int128", "-((__int128)1 << 100)", -(1 << 100), None),
    ("unsigned __int128", "~(unsigned __int128)0", 2**128 - 1, None),
]


def reduced(value: object, wanted: object) -> object:
    """A value as plain Python; of a record only the fields that are wanted."""
    if isinstance(value, Struct):
        whole = value.as_dict()
        return {name: whole[name] for name in wanted} if isinstance(wanted, Mapping) else whole
    return value.tolist() if isinstance(value, Array) else value


@pytest.mark.parametrize("abi", sorted(ABIS))
def test_values_are_the_bytes_of_the_compilers_initialiser(abi: str, tmp_path: Path) -> None:
    header = declare(PRELUDE, abi)
    cases = CASES + WIDE_CASES * ABIS[abi].int128
    prelude = "#include <stddef.h>\n" + PRELUDE
    images = data_of(abi, prelude, [(ctype, text) for ctype, text, _, _ in cases], tmp_path)
    for (name, initialiser, value, expected), image in zip(cases, images, strict=True):
        ctype = parse_type(name, abi, header)
        ours = encode(abi, ctype, value)
        assert ours == image, f"{name} = {initialiser} on {abi}"
        wanted = value if expected is None else expected
        assert reduced(decode(abi, ctype, image), wanted) == wanted, f"{name} on {abi}"


def test_a_record_is_as_long_as_the_compilers(tmp_path: Path) -> None:
    """Padding at the end counts, also of a type that is aligned by hand."""
    abi = "x86_64-sysv"
    header = declare(PRELUDE, abi)
    record = header.types["struct _Alignas_check"]
    assert isinstance(record, Record)
    (image,) = data_of(
        abi, PRELUDE.replace("wchar_t", "int"), [(record.name, "{ 1, 2 }")], tmp_path
    )
    assert encode(abi, record, (1, 2)) == image
    assert len(image) == 64
