"""How a value would like to travel, before it is known what is left of the registers.

Every ABI sorts types into a few classes. The five ways to do so are named in
``libferry.abi.facts`` (``Aggregates``); those that need more than a few lines have a
module of their own. Here are their common words, and the two short ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from libferry.abi.facts import Abi
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
        packed: an ABI whose stack has no slots passes it there in its own size, and not
            as the words it would take in registers.
    """

    pieces: tuple[Piece, ...] = ()
    alignment: int = 1
    place: Literal["registers", "stack", "reference"] = "registers"
    packed: bool = True


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
    scalar = isinstance(ctype, Integer | Boolean | Pointer | Real)
    return Way(pieces, alignment or alignment_of(abi, ctype), packed=scalar)


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


def by_size_argument(abi: Abi, ctype: CType, variadic: bool) -> tuple[Way, ...]:
    """x86-64 Windows: what has 1, 2, 4 or 8 bytes is passed, of anything else the address."""
    if is_real(ctype):
        return (whole(abi, ctype, "integer" if variadic else "vector"),)
    size = size_of(ctype)
    if isinstance(ctype, Vector) and size < 16:
        return (whole(abi, ctype, "vector"),)
    return (words(abi, ctype),) if size in (1, 2, 4, 8) else (REFERENCE,)


def by_size_result(abi: Abi, ctype: CType, variadic: bool) -> Way:
    """The same, but what an xmm register can hold is returned in one."""
    if isinstance(ctype, Vector | Integer) and size_of(ctype) == 16:
        return whole(abi, ctype, "vector")
    return by_size_argument(abi, ctype, False)[0]


def stack_argument(abi: Abi, ctype: CType, variadic: bool) -> tuple[Way, ...]:
    """i386: everything on the stack, but for vectors and what fastcall has registers for."""
    if is_empty(ctype):
        return (NOTHING,)
    if isinstance(ctype, Vector):
        return (Way(alignment=16, place="stack") if variadic else whole(abi, ctype, "vector"),)
    if isinstance(ctype, Integer | Boolean | Pointer) and ctype.size <= abi.word:
        return (words(abi, ctype),)
    return (Way(place="stack"),)


def stack_result(abi: Abi, ctype: CType, variadic: bool) -> Way:
    """i386: edx:eax, or the x87; records in memory, or as Windows does small ones."""
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
    return not isinstance(ctype, Vector) and size_of(ctype) in (1, 2, 4, 8)


def members(record: Record) -> Iterator[Field]:
    """Give the members and the unnamed bit-fields in the order in which they were declared."""

    def position(field: Field) -> tuple[int, bool]:
        return 8 * field.offset + field.bit, field.bits != 0

    return iter(sorted((*record.fields, *record.unnamed), key=position))
