"""The Python objects that carry values there and back."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

import libferry

from .signatures import Argument
from .types import (
    COMPLEX_PARTS,
    VECTORS,
    Array,
    Enum,
    FunctionPointer,
    Names,
    Record,
    Scalar,
    Type,
    is_anonymous,
)
from .values import Value


def carry_data(library: libferry.Library, argument: Argument) -> object:
    """Give what holds the bytes behind a pointer."""
    value = argument.value
    if value is None or argument.carrier == "bytes":
        return value
    if argument.carrier == "bytearray":
        return bytearray(value)
    if argument.carrier == "numpy":
        words = argument.type == Scalar("int32_t *")
        return np.frombuffer(bytearray(value), "i4" if words else "u1")
    buffer = library.buffer(len(value))
    memoryview(buffer)[:] = value
    return buffer


def members(record: Record, value: Value) -> Iterator[tuple[str, Type, Value]]:
    """Give the members that have a value; those of anonymous ones as the record's own."""
    for member, each in zip(record.members, value, strict=True):
        if each is None:
            continue
        if is_anonymous(member):
            assert isinstance(member.type, Record)
            yield from members(member.type, each)
        else:
            yield member.name, member.type, each


def is_plain(record: Record) -> bool:
    """Say whether a tuple of its members is clear to everybody: no union, none anonymous."""
    return record.kind == "struct" and not any(map(is_anonymous, record.members))


def carry(library: libferry.Library, names: Names, ctype: Type, value: Value, how: str) -> Any:
    """Give the Python object for a value; ``how`` says which one a record becomes."""
    if isinstance(ctype, Record):
        inner = {
            name: carry(library, names, each, part, how if how != "object" else "dict")
            for name, each, part in members(ctype, value)
        }
        if how == "object":
            return library.new(names.spell(ctype), inner)
        return tuple(inner.values()) if how == "tuple" and is_plain(ctype) else inner
    if isinstance(ctype, Array):
        inside = how if how != "object" else "dict"
        parts = [carry(library, names, ctype.of, part, inside) for part in value]
        return tuple(parts) if how == "tuple" else parts
    if isinstance(ctype, FunctionPointer) or (
        isinstance(ctype, Scalar) and ctype.name.endswith("*")
    ):
        return library.cast(names.spell(ctype), value) if value else None
    if ctype == Scalar("_Bool"):
        return bool(value)
    return value


def as_bits(value: float) -> str:
    return "nan" if math.isnan(value) else struct.pack("<d", value).hex()


def rounded(value: float | Fraction) -> float:
    """Round a long double to a double, as Python's own division of integers does."""
    try:
        return float(value)
    except OverflowError:
        return -math.inf if value < 0 else math.inf


def comparable(ctype: Type, value: Value) -> object:
    """Make what should come back comparable, bit by bit: type and value, floats as bytes."""
    if isinstance(ctype, Enum):
        return ("int", value)
    if isinstance(ctype, FunctionPointer):
        return ("address", value)
    assert isinstance(ctype, Scalar)
    if ctype.name == "_Bool":
        return ("bool", bool(value))
    if ctype.name == "const char *":
        return ("NoneType", None) if value is None else ("bytes", value)
    if ctype.name.endswith("*"):
        return ("address", value)
    if ctype.name == "long double":
        return ("float", as_bits(rounded(value)))
    if ctype.name in COMPLEX_PARTS:
        return ("complex", as_bits(value.real), as_bits(value.imag))
    if ctype.name in VECTORS:
        element = Scalar(VECTORS[ctype.name][0])
        return tuple(comparable(element, part) for part in value)
    if isinstance(value, float):
        return ("float", struct.pack("<d", value).hex())
    return (type(value).__name__, value)


def received(ctype: Type, result: Any) -> object:
    """Make what came back comparable."""
    addresses = isinstance(ctype, FunctionPointer) or (
        isinstance(ctype, Scalar) and ctype.name.endswith("*") and ctype.name != "const char *"
    )
    if addresses:
        return ("address", 0 if result is None else result.address)
    if isinstance(ctype, Scalar) and ctype.name == "long double" and isinstance(result, float):
        return ("float", as_bits(result))
    if isinstance(result, complex):
        return ("complex", as_bits(result.real), as_bits(result.imag))
    if isinstance(result, float):
        return ("float", struct.pack("<d", result).hex())
    if isinstance(ctype, Scalar) and ctype.name in VECTORS:
        return tuple(received(Scalar(VECTORS[ctype.name][0]), part) for part in result)
    return (type(result).__name__, result)


def differences(
    ctype: Type, value: Value, result: Any, path: str = ""
) -> Iterator[tuple[str, object, object]]:
    """Give each part that came back other than it should: where, expected, received."""
    if isinstance(ctype, Record):
        for name, each, part in members(ctype, value):
            yield from differences(each, part, getattr(result, name), f"{path}.{name}")
    elif isinstance(ctype, Array):
        if len(result) != ctype.length:
            yield f"the length of {path}", ctype.length, len(result)
            return
        for n, part in enumerate(value):
            yield from differences(ctype.of, part, result[n], f"{path}[{n}]")
    elif (expected := comparable(ctype, value)) != (got := received(ctype, result)):
        yield path, expected, got
