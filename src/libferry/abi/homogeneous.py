"""Arm's homogeneous aggregates: up to four floats, doubles or vectors of one kind.

AAPCS64 5.10 and 6.8, AAPCS32 7.1. Such a structure travels in consecutive vector
registers, one for each member, or not in registers at all. Whether a structure is
homogeneous is asked of what it comes down to: nested structures, arrays, complex
numbers and unions count as their members. Any other structure is words.

Odd: what is aligned to two words begins in an even register, and what is meant is the
alignment of its members (``natural_alignment``): ``_Alignas`` on the structure itself
does not count. For Apple and Microsoft it counts, but not if the structure is homogeneous
and on the stack, where 32-bit Arm's compilers do not look at alignment either.
"""

from __future__ import annotations

from dataclasses import dataclass

from libferry.abi.classify import (
    NOTHING,
    REFERENCE,
    Bank,
    Piece,
    Way,
    is_empty,
    is_empty_field,
    words,
)
from libferry.abi.facts import Abi, Situation
from libferry.abi.layout import alignment_of
from libferry.abi.types import Array, Complex, CType, Integer, Real, Record, Vector, size_of

MOST = 4  # members
LEAST_VECTOR = 8  # bytes; a smaller one is passed like an int ...
INT = 4  # ... of so many


@dataclass(frozen=True, slots=True)
class Homogeneous:
    """``count`` members of ``size`` bytes; vectors and numbers do not mix."""

    vector: bool
    size: int
    count: int


def homogeneous(ctype: CType) -> Homogeneous | None:
    """Give what a type consists of, if it is homogeneous."""
    match ctype:
        case Real():
            return Homogeneous(False, ctype.size, 1)
        case Vector(size=8 | 16):
            return Homogeneous(True, ctype.size, 1)
        case Complex():
            return Homogeneous(False, ctype.part.size, 2)
        case Array(length=length):
            of = homogeneous(ctype.of)
            return _some(of, of.count * length) if of and length else None
        case Record():
            return _record(ctype)
    return None


def _some(one: Homogeneous, count: int) -> Homogeneous | None:
    return Homogeneous(one.vector, one.size, count) if 0 < count <= MOST else None


def _record(record: Record) -> Homogeneous | None:
    base: Homogeneous | None = None
    count = 0
    if any(field.bits for field in record.unnamed):
        return None
    for field in record.fields:
        if field.bits is not None or _holds_nothing(field.type):
            return None
        if is_empty_field(field):
            continue
        inner = homogeneous(field.type)
        if inner is None or (base and (base.vector, base.size) != (inner.vector, inner.size)):
            return None
        base = inner
        count = max(count, inner.count) if record.kind == "union" else count + inner.count
    if base is None or base.size * count != record.size:
        return None  # empty, or padded
    return _some(base, count)


def _holds_nothing(ctype: CType) -> bool:
    """Whether it is an array without elements, which spoils a homogeneous aggregate."""
    while isinstance(ctype, Array):
        if not ctype.length:
            return True
        ctype = ctype.of
    return False


def argument(abi: Abi, ctype: CType, situation: Situation) -> tuple[Way, ...]:
    """AAPCS64 6.8.2, AAPCS32 6.5 and 7.1.2."""
    if is_empty(ctype):
        return (NOTHING,)
    alignment = _alignment(abi, ctype)
    exempt = isinstance(ctype, Vector) and situation == "named" and abi.variadic.named_vectors
    soft = abi.variadic.without_vectors(situation) and not exempt
    found = None if soft else homogeneous(ctype)
    if found:
        pieces = tuple(Piece("vector", n * found.size, found.size) for n in range(found.count))
        asked = abi.homogeneous_alignment or situation == "variadic"
        return (Way(pieces, alignment if asked else found.size),)
    if isinstance(ctype, Record | Complex) and size_of(ctype) > abi.by_reference_above:
        return (REFERENCE,)
    if isinstance(ctype, Vector) and ctype.size < LEAST_VECTOR:
        return (Way((Piece("integer", 0, ctype.size),), INT, slot=INT),)
    return (words(abi, ctype, alignment),)


def _alignment(abi: Abi, ctype: CType) -> int:
    if isinstance(ctype, Record) and abi.natural_alignment:
        return ctype.natural_alignment
    return alignment_of(abi, ctype)


def result(abi: Abi, ctype: CType, situation: Situation) -> Way:
    """AAPCS64 6.9, AAPCS32 6.4 and 7.1.1: as an argument, if there are registers enough."""
    (way,) = argument(abi, ctype, situation)
    if isinstance(ctype, Vector) and ctype.size < LEAST_VECTOR:
        return _small_vector(abi, ctype, situation)
    composite = isinstance(ctype, Record | Complex)
    if composite and way.pieces and way.pieces[0].bank == "integer":
        return way if size_of(ctype) <= abi.small_result else REFERENCE
    return way


def _small_vector(abi: Abi, vector: Vector, situation: Situation) -> Way:
    """Return less than 8 bytes: the elements are spread over 8, but a single one is not."""
    size, count = vector.of.size, vector.size // vector.of.size
    soft = abi.variadic.result_too and situation == "variadic"
    in_word = count == 1 and isinstance(vector.of, Integer) and abi.word < LEAST_VECTOR
    bank: Bank = "integer" if soft or in_word else "vector"
    pieces = tuple(Piece(bank, n * size, size) for n in range(count))
    return Way(pieces, lane=LEAST_VECTOR // count)
