"""Values for every type, and what their bytes are.

    integer, enum, _Bool, pointer    int
    float, double                    float
    long double                      float, or Fraction where a double is not enough
    _Complex                         complex
    vector, array                    tuple
    struct                           tuple, None for an unnamed bit-field
    union                            tuple, None for every member but the one it has

Only ``leaves`` have bytes: what lies between them is padding and anybody's.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any, TypeAlias

from .targets import FLOATS, LongDouble, Target
from .types import (
    COMPLEX_PARTS,
    VECTORS,
    Array,
    Enum,
    FunctionPointer,
    Member,
    Record,
    Scalar,
    Type,
    is_anonymous,
)

Value: TypeAlias = Any


def has_value(member: Member) -> bool:
    """Say whether C can set it: not an unnamed bit-field."""
    return bool(member.name) or is_anonymous(member)


def enum_size(enum: Enum) -> tuple[int, bool]:
    """Give an enumeration's size and whether it is signed, as GNU C has it."""
    least, greatest = min(enum.constants), max(enum.constants)
    signed = least < 0
    fits = least >= -(1 << 31) and greatest < (1 << (31 if signed else 32))
    return 4 if fits else 8, signed


def invent_integer(
    random: Random, target: Target, ctype: Scalar | Enum, bits: int | None = None
) -> int:
    if isinstance(ctype, Enum):
        size, signed = enum_size(ctype)
        width = bits or 8 * size
        if target.is_windows and not signed:
            width -= 1  # it is int to some compilers, unsigned int to others
        least = -(1 << width - 1) if signed else 0
        greatest = (1 << width - signed) - 1
    elif ctype.name.endswith("*"):
        least, greatest = target.bounds("size_t")
    else:
        least, greatest = target.bounds(ctype.name, bits)
    if random.random() < 0.3:
        edges = {least, least + 1, -1, 0, 1, greatest // 2, greatest - 1, greatest}
        return random.choice(sorted(edge for edge in edges if least <= edge <= greatest))
    return random.randint(least, greatest)


def bits_as_float(name: str, bits: int) -> float:
    """Read a float from its bits; a signalling NaN is made quiet, keeping its payload.

    A signalling NaN does not survive being loaded into an x87 register, which is how
    i386 returns a float; so nobody can promise to carry one.
    """
    exponent, quiet = (0x7F800000, 1 << 22) if name == "float" else (0x7FF << 52, 1 << 51)
    if bits & exponent == exponent and bits & (quiet * 2 - 1):
        bits |= quiet
    code, integer = ("<f", "<I") if name == "float" else ("<d", "<Q")
    value: float = struct.unpack(code, struct.pack(integer, bits))[0]
    return value


def invent_float(random: Random, name: str) -> float:
    width = 8 * FLOATS[name]
    bits = random.getrandbits(width)
    if random.random() < 0.3:
        mantissa = 23 if name == "float" else 52
        infinity = (1 << width - 1) - (1 << mantissa)
        magnitudes = [
            0,
            1,  # the least denormal
            (1 << mantissa) - 1,  # the greatest denormal
            1 << mantissa,  # the least normal
            (infinity >> 1) & infinity,  # one
            infinity - 1,  # the greatest finite
            infinity,
            infinity | 1 << mantissa - 1,  # the NaN that CPUs make
            infinity | 1 << mantissa - 1 | 0x12345,  # a NaN with a payload
        ]
        bits = random.choice(magnitudes) | bits & 1 << width - 1
    return bits_as_float(name, bits)


def invent_long_double(random: Random, form: LongDouble) -> float | Fraction:
    """Give a double, or a number that only this long double can hold."""
    if form.size == 8:
        return invent_float(random, "double")
    if random.random() < 0.5:
        # how a NaN's payload is converted is nobody's promise
        value = invent_float(random, "double")
        return math.nan if math.isnan(value) else value
    greatest = (1 << form.exponent - 1) - 1
    exponent = random.choice([random.randint(-60, 60), 1 - greatest, greatest, 1023])
    fraction = random.choice([0, 1, random.getrandbits(form.fraction), (1 << form.fraction) - 1])
    exact = Fraction((1 << form.fraction) + fraction) * Fraction(2) ** (exponent - form.fraction)
    return random.choice([exact, -exact])


def invent_value(random: Random, target: Target, ctype: Type, bits: int | None = None) -> Value:
    """Give a value of a type, or of a bit-field of it."""
    if isinstance(ctype, Array):
        return tuple(invent_value(random, target, ctype.of) for _ in range(ctype.length))
    if isinstance(ctype, Record):
        chosen = [n for n, member in enumerate(ctype.members) if has_value(member)]
        if ctype.kind == "union":
            chosen = [random.choice(chosen)]
        return tuple(
            invent_value(random, target, member.type, member.bits) if n in chosen else None
            for n, member in enumerate(ctype.members)
        )
    if isinstance(ctype, FunctionPointer):
        return invent_integer(random, target, Scalar("size_t"))
    if isinstance(ctype, Enum):
        return invent_integer(random, target, ctype, bits)
    if ctype.name in FLOATS:
        return invent_float(random, ctype.name)
    if ctype.name == "long double":
        return invent_long_double(random, target.long_double)
    if ctype.name in COMPLEX_PARTS:
        name = "float" if ctype.name == "_Complex float" else "double"
        parts = [invent_float(random, name) for _ in range(2)]
        if target.size(ctype.name) > 16:
            parts = [math.nan if math.isnan(part) else part for part in parts]
        return complex(*parts)
    if ctype.name in VECTORS:
        element, count = VECTORS[ctype.name]
        return tuple(invent_value(random, target, Scalar(element)) for _ in range(count))
    return None if ctype.name == "void" else invent_integer(random, target, ctype, bits)


def encode_long_double(form: LongDouble, value: float | Fraction) -> bytes:
    """Write an exact value in a long double's form, without its padding."""
    if form.size == 8:
        return struct.pack("<d", value)
    bias = (1 << form.exponent - 1) - 1
    negative = math.copysign(1, value) < 0 if isinstance(value, float) else value < 0
    explicit_one = form.used == 10
    if isinstance(value, float) and not math.isfinite(value):
        exponent, fraction = 2 * bias + 1, 1 << form.fraction - 1 if math.isnan(value) else 0
    elif value == 0:
        exponent, fraction, explicit_one = 0, 0, False
    else:
        exact = abs(Fraction(value))
        power = exact.numerator.bit_length() - exact.denominator.bit_length()
        if exact < Fraction(2) ** power:
            power -= 1
        scaled = exact / Fraction(2) ** power * (1 << form.fraction)
        assert scaled.denominator == 1
        exponent, fraction = power + bias, scaled.numerator - (1 << form.fraction)
    width = form.fraction + explicit_one
    bits = fraction | explicit_one << form.fraction
    if form.used == 10:
        width = 64
    bits |= (exponent | negative << form.exponent) << width
    return bits.to_bytes(form.used, "little")


def encode_scalar(target: Target, ctype: Type, value: Value) -> list[tuple[int, bytes]]:
    """Give the bytes of a value that count, each run of them with its offset."""
    if isinstance(ctype, Enum):
        size, signed = enum_size(ctype)
        return [(0, value.to_bytes(size, "little", signed=signed))]
    if isinstance(ctype, FunctionPointer):
        return [(0, value.to_bytes(target.pointer, "little"))]
    assert isinstance(ctype, Scalar)
    name = ctype.name
    if name in FLOATS:
        return [(0, struct.pack("<f" if name == "float" else "<d", value))]
    if name == "long double":
        return [(0, encode_long_double(target.long_double, value))]
    if name in COMPLEX_PARTS:
        part = Scalar(COMPLEX_PARTS[name])
        (_, real), (_, imaginary) = (
            encode_scalar(target, part, number)[0] for number in (value.real, value.imag)
        )
        return [(0, real), (target.size(part.name), imaginary)]
    if name in VECTORS:
        element = Scalar(VECTORS[name][0])
        return [(0, b"".join(encode_scalar(target, element, each)[0][1] for each in value))]
    return [(0, value.to_bytes(target.size(name), "little", signed=target.is_signed(name)))]


@dataclass(frozen=True)
class Leaf:
    """Part of a value that is not made of others; ``path`` leads there, as in ``.a[1].b``."""

    path: str
    type: Type
    value: Value
    bits: int | None


def leaves(ctype: Type, value: Value, path: str = "", bits: int | None = None) -> Iterator[Leaf]:
    """Give all that counts of a value, bit-fields last."""
    found = list(walk(ctype, value, path, bits))
    yield from (leaf for leaf in found if leaf.bits is None)
    yield from (leaf for leaf in found if leaf.bits is not None)


def walk(ctype: Type, value: Value, path: str, bits: int | None) -> Iterator[Leaf]:
    if isinstance(ctype, Array):
        for n, each in enumerate(value):
            yield from walk(ctype.of, each, f"{path}[{n}]", None)
    elif isinstance(ctype, Record):
        for member, each in zip(ctype.members, value, strict=True):
            if each is not None:
                deeper = f"{path}.{member.name}" if member.name else path
                yield from walk(member.type, each, deeper, member.bits)
    else:
        yield Leaf(path, ctype, value, bits)


def leaf_bytes(target: Target, ctype: Type, value: Value) -> bytes:
    """Give the bytes of a value that count, in the order a record has them.

    A bit-field is widened to 8 bytes, since it has none of its own.
    """
    taken = b""
    for leaf in leaves(ctype, value):
        if leaf.bits is not None:
            taken += leaf.value.to_bytes(8, "little", signed=leaf.value < 0)
        else:
            taken += b"".join(part for _, part in encode_scalar(target, leaf.type, leaf.value))
    return taken
