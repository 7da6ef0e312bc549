"""How a value would like to travel, before it is known what is left of the registers.

Every ABI sorts types into a few classes. The five ways to do so are named in
``libferry.abi.facts`` (``Aggregates``); those that need more than a few lines have a
module of their own. Here are their common words, and the two short ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from libferry.abi.facts import Abi, Situation
from libferry.abi.layout import alignment_of
from libferry.abi.types import (
    Array,
    Boolean,
    Complex,
    CType,
    Field,
    Integer,
    Pointer,
    Real,
    Record,
    Vector,
    size_of,
)

WIDEST = 16  # bytes of a vector register

Bank = Literal["integer", "vector", "x87"]


@dataclass(frozen=True, slots=True)
class Piece:
    """``size`` bytes of a value, at ``source``, that share a register of ``bank``."""

    bank: Bank
    source: int
    size: int


@dataclass(frozen=True, slots=True)
class Way:
    """One way to pass a value.

    Attributes:
        pieces: what goes to registers, in order. If there are not enough of them, the
            value goes to the stack.
        alignment: its alignment there, and whether it wants an even register.
        place: ``registers`` for the above; ``stack`` if it always goes there;
            ``reference`` if its address is passed in its stead.
        slot: it takes a multiple of this there, even where the stack has no slots.
        lane: if not 0, the pieces share a register, where they lie this far apart.
    """

    pieces: tuple[Piece, ...] = ()
    alignment: int = 1
    place: Literal["registers", "stack", "reference"] = "registers"
    slot: int = 1
    lane: int = 0


NOTHING = Way()
REFERENCE = Way(place="reference")


def is_real(ctype: CType) -> bool:
    """Whether it is a ``float`` or ``double``, by this or another name."""
    return isinstance(ctype, Real) and ctype.form in ("binary32", "binary64")


def words(abi: Abi, ctype: CType, alignment: int = 0) -> Way:
    """Pass a value as words, in integer registers."""
    size, word = size_of(ctype), abi.word
    pieces = tuple(
        Piece("integer", start, min(word, size - start)) for start in range(0, size, word)
    )
    slot = 1 if isinstance(ctype, Integer | Boolean | Pointer | Real) else word
    return Way(pieces, alignment or alignment_of(abi, ctype), slot=slot)


def whole(abi: Abi, ctype: CType, bank: Bank) -> Way:
    """Pass a value in one register."""
    return Way((Piece(bank, 0, size_of(ctype)),), alignment_of(abi, ctype))


def is_empty(ctype: CType) -> bool:
    """Whether it is a record of nothing: no members, or only empty ones."""
    return isinstance(ctype, Record) and all(is_empty_field(field) for field in ctype.fields)


def is_empty_field(field: Field) -> bool:
    """Whether a member adds nothing: an empty record, or an array of none or of such."""
    if field.bits is not None:
        return False
    ctype = field.type
    while isinstance(ctype, Array):
        if ctype.length == 0:
            return True
        ctype = ctype.of
    return is_empty(ctype)


def single_element(ctype: CType) -> CType | None:
    """Give what a record consists of, if that is one thing that is no record."""
    found: CType | None = None
    if not isinstance(ctype, Record):
        return None
    for field in ctype.fields:
        if is_empty_field(field):
            continue
        element = field.type
        while isinstance(element, Array) and element.length == 1:
            element = element.of
        inner = single_element(element) if isinstance(element, Record) else element
        if found or inner is None or isinstance(inner, Array | Complex):
            return None
        found = inner
    return found if found and size_of(found) == ctype.size else None


def by_size_argument(abi: Abi, ctype: CType, situation: Situation) -> tuple[Way, ...]:
    """x86-64 Windows: what has 1, 2, 4 or 8 bytes is passed, of anything else the address."""
    variadic = abi.variadic.without_vectors(situation)
    ctype = _scalarized(ctype)
    if is_real(ctype):
        return (whole(abi, ctype, "integer" if variadic else "vector"),)
    size = size_of(ctype)
    if size not in (1, 2, 4, 8) or (isinstance(ctype, Vector) and not variadic):
        return (REFERENCE,)
    return (words(abi, ctype),)


def by_size_result(abi: Abi, ctype: CType, situation: Situation) -> Way:
    """The same, but what an xmm register can hold is returned in one."""
    ctype = _scalarized(ctype)
    if isinstance(ctype, Vector) or (isinstance(ctype, Integer) and ctype.size == WIDEST):
        return whole(abi, ctype, "vector")
    return by_size_argument(abi, ctype, "fixed")[0]


def _scalarized(ctype: CType) -> CType:
    """A vector of one element is that element."""
    return ctype.of if isinstance(ctype, Vector) and ctype.size == size_of(ctype.of) else ctype


def stack_argument(abi: Abi, ctype: CType, situation: Situation) -> tuple[Way, ...]:
    """i386: everything on the stack, but for vectors and what fastcall has registers for."""
    if is_empty(ctype):
        return (NOTHING,)
    ctype = _scalarized(ctype)
    if isinstance(ctype, Vector):
        if situation == "variadic" or (ctype.size == 8 and isinstance(ctype.of, Integer)):
            return (Way(alignment=WIDEST if ctype.size == WIDEST else 1, place="stack"),)
        if abi.variadic.without_vectors(situation):
            return (Way(alignment=WIDEST, place="stack", slot=WIDEST),)
        return (Way((Piece("vector", 0, ctype.size),), WIDEST, slot=WIDEST),)
    if isinstance(ctype, Integer | Boolean | Pointer) and ctype.size <= abi.word:
        return (words(abi, ctype),)
    return (Way(place="stack"),)


def stack_result(abi: Abi, ctype: CType, situation: Situation) -> Way:
    """i386: edx:eax, or the x87; records in memory, or as Windows does small ones."""
    ctype = _scalarized(ctype)
    size = size_of(ctype)
    whole_word = Way((Piece("integer", 0, size),))
    if isinstance(ctype, Real):
        return Way((Piece("x87", 0, size),))
    if isinstance(ctype, Vector):
        return whole(abi, ctype, "vector")
    if isinstance(ctype, Record):
        if not abi.small_records:
            return REFERENCE
        if is_empty(ctype):
            return NOTHING
        if not all(_fits_register(field.type) for field in ctype.fields):
            return REFERENCE
        only = single_element(ctype)
        if only and is_real(only):
            return Way((Piece("x87", 0, size),))
    return whole_word if size in (1, 2, 4, 8) else REFERENCE


def _fits_register(ctype: CType) -> bool:
    while isinstance(ctype, Array):
        ctype = ctype.of
    if isinstance(ctype, Record):
        return is_empty(ctype) or all(
            is_empty_field(field) or _fits_register(field.type) for field in ctype.fields
        )
    return size_of(ctype) in ((1, 2, 4) if isinstance(ctype, Vector) else (1, 2, 4, 8))


def members(record: Record) -> Iterator[Field]:
    """Give the members and the unnamed bit-fields in the order in which they were declared."""

    def position(field: Field) -> tuple[int, bool]:
        return 8 * field.offset + field.bit, field.bits != 0

    return iter(sorted((*record.fields, *record.unnamed), key=position))
