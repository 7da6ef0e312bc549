"""Random records of this machine, with ``ctypes`` beside them: values and bytes."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libferry.abi import ABIS, Array, Boolean, CType, Integer, Real, Record
from libferry.abi.layout import Member, make_record
from libferry.runtime.runner import host_cpu
from libferry.runtime.values import codec_of, decode, encode, record_class

ABI = {"x86_64": "x86_64-sysv", "aarch64": "aarch64-aapcs64"}[host_cpu()]

NUMBERS: list[tuple[CType, Any, st.SearchStrategy[Any]]] = [
    (Integer("signed char", 1, True), ctypes.c_byte, st.integers(-(2**7), 2**7 - 1)),
    (Integer("unsigned char", 1, False), ctypes.c_ubyte, st.integers(0, 2**8 - 1)),
    (Integer("short", 2, True), ctypes.c_short, st.integers(-(2**15), 2**15 - 1)),
    (Integer("unsigned int", 4, False), ctypes.c_uint, st.integers(0, 2**32 - 1)),
    (Integer("long", 8, True), ctypes.c_long, st.integers(-(2**63), 2**63 - 1)),
    (Integer("unsigned long", 8, False), ctypes.c_ulong, st.integers(0, 2**64 - 1)),
    (Boolean(), ctypes.c_bool, st.booleans()),
    (Real("float", 4, "binary32"), ctypes.c_float, st.floats(width=32, allow_nan=False)),
    (Real("double", 8, "binary64"), ctypes.c_double, st.floats(allow_nan=False)),
]
BITS = (Integer("int", 4, True), ctypes.c_int, st.nothing())


@st.composite
def records(draw: st.DrawFn, depth: int = 2) -> tuple[Record, Any, list[Any]]:
    """A record, the same of ctypes, and a value for each of its fields."""
    members: list[Member] = []
    fields: list[Any] = []
    values: list[Any] = []
    # bit-fields among other members: before Python 3.14 ctypes lays some out wrongly
    only_bits = draw(st.booleans())
    kinds = ["bits"] if only_bits else ["number", "array"] + ["record"] * (depth > 0)
    for index in range(draw(st.integers(1, 6))):
        name = f"f{index}"
        kind = draw(st.sampled_from(kinds))
        if kind == "record":
            inner, theirs, value = draw(records(depth - 1))
            members.append(Member(name, inner))
            fields.append((name, theirs))
            values.append(value)
            continue
        ctype, theirs, strategy = BITS if only_bits else draw(st.sampled_from(NUMBERS))
        if kind == "bits":
            assert isinstance(ctype, Integer)
            width = draw(st.integers(1, 8 * ctype.size))
            low = -(1 << (width - 1)) if ctype.signed else 0
            members.append(Member(name, ctype, bits=width))
            fields.append((name, theirs, width))
            values.append(draw(st.integers(low, low + (1 << width) - 1)))
        elif kind == "array":
            length = draw(st.integers(1, 4))
            members.append(Member(name, Array(ctype, length)))
            fields.append((name, theirs * length))
            values.append(draw(st.lists(strategy, min_size=length, max_size=length)))
        else:
            members.append(Member(name, ctype))
            fields.append((name, theirs))
            values.append(draw(strategy))
    record = make_record(ABIS[ABI], "struct", f"struct r{depth}", members)
    return record, type(f"R{depth}", (ctypes.Structure,), {"_fields_": fields}), values


def fill(theirs: Any, values: list[Any]) -> None:
    for (name, *_), value in zip(theirs._fields_, values, strict=True):
        field = getattr(theirs, name)
        if isinstance(field, ctypes.Structure):
            fill(field, value)
        elif isinstance(field, ctypes.Array):
            field[:] = value
        else:
            setattr(theirs, name, value)


@given(records())
def test_bytes_are_those_of_ctypes(case: tuple[Record, Any, list[Any]]) -> None:
    record, theirs, values = case
    instance = theirs()
    fill(instance, values)
    data = encode(ABI, record, values)
    assert data == bytes(instance)
    assert encode(ABI, record, decode(ABI, record, data)) == data


@given(records(), st.data())
def test_fields_are_where_ctypes_has_them(
    case: tuple[Record, Any, list[Any]], data: st.DataObject
) -> None:
    """Both look at the same memory, and what one writes the other reads."""
    record, theirs, values = case
    memory = bytearray(data.draw(st.binary(min_size=record.size, max_size=record.size)))
    made = record_class(ABI, record)
    assert made is not None
    ours = codec_of(ABI, record).decode(bytes(memory), None)
    instance = theirs.from_buffer(ours)
    for (name, *_), value in zip(theirs._fields_, values, strict=True):
        setattr(ours, name, value)
        if isinstance(value, list):
            continue
        assert getattr(instance, name) == value
        assert getattr(ours, name) == value
    fill(instance, values)
    assert ours == made(values)


@pytest.mark.parametrize(("ctype", "theirs", "values"), NUMBERS, ids=[n[0].name for n in NUMBERS])
def test_arrays_show_their_numbers_like_ctypes(
    ctype: CType, theirs: Any, values: st.SearchStrategy[Any]
) -> None:
    @given(st.lists(values, min_size=1))
    def check(items: list[Any]) -> None:
        array = codec_of(ABI, Array(ctype, len(items)))
        ours = array.decode(encode(ABI, array.ctype, items), None)
        same = (theirs * len(items))(*items)
        view, theirs_view = memoryview(ours), memoryview(same)  # type: ignore[arg-type]
        assert view.itemsize == theirs_view.itemsize
        assert view.tolist() == list(same)
        assert view.tobytes() == bytes(same)
        assert ours.tolist() == list(same)  # type: ignore[attr-defined]

    check()
