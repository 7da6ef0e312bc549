"""RISC-V's and LoongArch's structures of a number or two.

RISC-V ELF psABI, "Hardware Floating-point Calling Convention"; LoongArch psABI, "Base
Calling Convention". A structure that comes down to one floating-point number, to two, or
to one and an integer, travels like these would: each in a register of its own kind. If
there are not enough registers of both kinds, or it comes down to anything else, it is
words in integer registers.

Odd: on RISC-V a ``:0`` somewhere before the second of two members spoils this, although
nothing lies there. An unnamed bit-field of some bits counts as an integer on both.
"""

from __future__ import annotations

from libferry.abi.classify import (
    NOTHING,
    REFERENCE,
    Piece,
    Way,
    is_empty,
    is_real,
    members,
    words,
)
from libferry.abi.facts import Abi, Situation
from libferry.abi.layout import alignment_of
from libferry.abi.types import (
    Array,
    Boolean,
    Complex,
    CType,
    Integer,
    Real,
    Record,
    size_of,
)


def _flatten(abi: Abi, ctype: CType, offset: int, pieces: list[Piece]) -> bool:
    """Add the numbers that a type comes down to; False if there are too many or others."""
    match ctype:
        case Integer() | Boolean():
            if ctype.size > abi.word or any(piece.bank == "integer" for piece in pieces):
                return False
            pieces.append(Piece("integer", offset, ctype.size))
            return len(pieces) <= 2
        case Real():
            if ctype.size > abi.word:
                return False
            pieces.append(Piece("vector", offset, ctype.size))
            return len(pieces) <= 2
        case Complex():
            if pieces:
                return False
            parts = (offset, offset + ctype.part.size)
            return all(_flatten(abi, ctype.part, part, pieces) for part in parts)
        case Array():
            step = size_of(ctype.of)
            return all(
                _flatten(abi, ctype.of, offset + n * step, pieces) for n in range(ctype.length or 0)
            )
        case Record():
            return _flatten_record(abi, ctype, offset, pieces)
    return False


def _flatten_record(abi: Abi, record: Record, offset: int, pieces: list[Piece]) -> bool:
    if is_empty(record):
        return True
    if record.kind == "union":
        return False
    zero_width = False
    for field in members(record):
        ctype = field.type
        if field.bits == 0:
            zero_width = True
            continue
        if field.bits is not None:  # of which only the bytes that it is in have to travel
            if field.bits > 8 * abi.word:
                return False
            taken = -(-(field.bit + field.bits) // 8)
            ctype = Integer("", min(taken, abi.word), False)
        if not _flatten(abi, ctype, offset + field.offset, pieces):
            return False
        if zero_width and len(pieces) == 2 and abi.zero_width_spoils:
            return False
    return bool(pieces)


def argument(abi: Abi, ctype: CType, situation: Situation) -> tuple[Way, ...]:
    """First in registers of both kinds, if it can; then as words."""
    if is_empty(ctype) and size_of(ctype) == 0:
        return (NOTHING,)
    plain = words(abi, ctype) if size_of(ctype) <= 2 * abi.word else REFERENCE
    if abi.variadic.without_vectors(situation):
        return (plain,)
    pieces: list[Piece] = []
    suits = is_real(ctype) or isinstance(ctype, Record | Complex)
    if suits and _flatten(abi, ctype, 0, pieces) and any(p.bank == "vector" for p in pieces):
        return (Way(tuple(pieces), alignment_of(abi, ctype)), plain)
    return (plain,)


def result(abi: Abi, ctype: CType, situation: Situation) -> Way:
    """As the first argument would be passed: two registers of each kind suffice."""
    return argument(abi, ctype, "fixed")[0]
