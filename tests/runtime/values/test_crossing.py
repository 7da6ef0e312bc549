"""A record of one ABI handed to another: converted field by field, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import libferry as ferry
from libferry.abi import ABIS
from libferry.contract import declare
from libferry.errors import ArgumentTypeError, ArgumentValueError
from libferry.runtime.values import encode, record_class

from ..conftest import Compile

DECLARATIONS = """
struct inner { long l; char c; };
struct s { char tag; long l; struct inner parts[2]; long double real; double _Complex z;
           unsigned b : 5; _Bool t : 1; wchar_t wide[3]; enum { LOW = -1, HIGH } e; };
struct pointer { int i; struct pointer *next; };
struct choice { int kind; union { int i; float f; unsigned char bytes[4]; }; };
struct wide_choice { union { long l; char c[8]; } u; };
struct text { char name[8]; };
"""
HOME = "x86_64-sysv"


def made(name: str, /, *args: object, abi: str = HOME, **fields: object) -> Any:
    cls = record_class(abi, declare(DECLARATIONS, abi).types[name])
    assert cls is not None
    return cls(*args, **fields)


def cross(value: Any, abi: str) -> Any:
    """The same record for another ABI."""
    name = type(value).ctype.name
    return made(name, value, abi=abi)


VALUE = {
    "tag": 5,
    "l": -7,
    "parts": [{"l": 1, "c": 2}, {"l": -3, "c": 4}],
    "real": -0.1,
    "z": 1 - 2j,
    "b": 31,
    "t": True,
    "wide": "ab",
    "e": -1,
}


@pytest.mark.parametrize("there", sorted(ABIS))
@pytest.mark.parametrize("here", sorted(ABIS))
def test_a_record_keeps_its_values_on_every_abi(here: str, there: str) -> None:
    original = made("struct s", VALUE, abi=here)
    crossed = cross(original, there)
    assert type(crossed).abi == there
    assert crossed == made("struct s", VALUE, abi=there)
    assert crossed.as_dict() == original.as_dict()


def test_what_does_not_fit_there_is_named() -> None:
    value = made("struct s", VALUE)
    value.parts[1].l = 2**32
    with pytest.raises(
        ArgumentValueError,
        match=r"make struct s\.parts\[1\]\.l: 4294967296 does not fit in long of 4 bytes",
    ):
        cross(value, "i386-sysv")
    value.parts[1].l = 0
    value.wide[1] = 0x1F600
    with pytest.raises(ArgumentValueError, match=r"\.wide\[1\]: 128512 does not fit in wchar_t"):
        cross(value, "x86_64-windows")
    value.wide[1] = 0
    value.real = 1.5
    huge = made("struct s", VALUE | {"real": 10**400})
    assert cross(huge, "aarch64-aapcs64").real == float("inf")  # as a float; it is finite there
    with pytest.raises(ArgumentValueError, match=r"struct s\.real: .* does not fit in long double"):
        cross(huge, "x86_64-windows")


def test_only_null_pointers_cross(lib: ferry.Library) -> None:
    header = declare(DECLARATIONS, HOME)
    lib._ferry_types.update(header.types)
    node = lib.new("struct pointer", i=3)
    assert cross(node, "i386-sysv").i == 3
    node.next = node
    for abi in ("i386-sysv", HOME):
        with pytest.raises(ArgumentValueError, match=r"struct pointer\.next: it is a pointer"):
            cross(node, abi)


def test_a_union_crosses_if_its_bytes_mean_the_same() -> None:
    same = made("struct choice", kind=1, f=0.5)
    assert cross(same, "i386-windows").f == 0.5
    assert cross(made("struct wide_choice", u={"l": 5}), "aarch64-aapcs64").u.l == 5
    assert cross(made("struct wide_choice"), "i386-sysv").u.l == 0
    with pytest.raises(ArgumentValueError, match=r"struct wide_choice\.u: l and c share"):
        cross(made("struct wide_choice", u={"l": 5}), "i386-sysv")


def test_text_crosses_between_signed_and_unsigned_chars() -> None:
    name = made("struct text", name="grün")
    assert cross(name, "aarch64-aapcs64").name.string() == "grün"


def test_another_record_is_not_converted() -> None:
    with pytest.raises(ArgumentTypeError, match="struct text is not a struct inner"):
        made("struct inner", made("struct text"))


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_long_crosses_if_it_fits(number: int) -> None:
    value = made("struct inner", number)
    if -(2**31) <= number < 2**31:
        assert cross(value, "x86_64-windows").l == number
    else:
        with pytest.raises(ArgumentValueError):
            cross(value, "x86_64-windows")


def test_fields_that_are_missing_there_must_be_zero() -> None:
    """Two libraries may have two versions of one record."""
    old = declare("struct v { int a; };", HOME).types["struct v"]
    new = record_class(HOME, declare("struct v { int a; int b; };", HOME).types["struct v"])
    assert new is not None
    assert encode(HOME, old, new(a=5)) == b"\5\0\0\0"
    with pytest.raises(ArgumentValueError, match=r"struct v\.b: struct v has no such field"):
        encode(HOME, old, new(a=5, b=6))
    with pytest.raises(ArgumentTypeError, match="it is a "):
        encode(HOME, declare("struct v { int a[2]; };", HOME).types["struct v"], new(a=1))


@pytest.mark.needs("ziglang", install="pip install ziglang")
def test_a_64_bit_record_is_called_with_in_32_bits(compile_c: Compile, tmp_path: Path) -> None:
    source = """
    struct pair { char c; long l; double d; };
    long by_value(struct pair p) { return p.c + p.l; }
    double by_pointer(const struct pair *p) { return p->l + p->d; }
    void change(struct pair *p) { p->l = 5; }
    """
    header = (
        "struct pair { char c; long l; double d; }; long by_value(struct pair p);"
        "double by_pointer(const struct pair *p); void change(struct pair *p);"
    )
    wide = compile_c(source)
    narrow = compile_c(source, target="x86-linux-gnu.2.17", name="narrow.so")
    with ferry.load(wide, header=header) as here, ferry.load(narrow, header=header) as there:
        assert there.abi == "i386-sysv"
        pair = here.new("struct pair", 1, 2, 0.5)
        assert here.by_value(pair) == there.by_value(pair) == 3
        assert here.by_pointer(pair) == there.by_pointer(pair) == 2.5
        with pytest.raises(ArgumentTypeError, match="laid out for another library"):
            there.change(pair)
        pair.l = 2**32
        with pytest.raises(ArgumentValueError, match=r"4294967296 does not fit in long of 4 bytes"):
            there.by_value(pair)
