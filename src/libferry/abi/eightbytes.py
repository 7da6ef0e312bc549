"""x86-64 System V's classes of eightbytes.

AMD64 supplement, 3.2.3. Each eight bytes of a structure get a class of their own, so
that one half may travel in an integer register and the other in a vector register. The
class is merged from all that lies in these bytes, which for a union is a lot.

Odd: a structure that holds a member at an offset that its type's alignment does not
divide goes to memory, bit-fields excepted. A vector of one double goes to memory as
well, as GCC has always done. A long double is returned on the x87 but passed in memory.
"""

from __future__ import annotations

from typing import Literal

from libferry.abi.classify import NOTHING, REFERENCE, Piece, Way
from libferry.abi.facts import Abi, Situation
from libferry.abi.layout import alignment_of
from libferry.abi.types import Array, Complex, CType, Real, Record, Vector, size_of

Class = Literal["integer", "sse", "sseup", "x87", "x87up", "memory"]
MOST = 16  # bytes of anything in registers


def _merge(one: Class | None, other: Class | None) -> Class | None:
    """3.2.3, "Classification", rule 4."""
    if one == other or other is None:
        return one
    if one is None:
        return other
    for winner in ("memory", "integer"):
        if winner in (one, other):
            return "memory" if winner == "memory" else "integer"
    return "memory" if {"x87", "x87up"} & {one, other} else "sse"


def _classify(abi: Abi, ctype: CType, offset: int, classes: list[Class | None]) -> None:
    """Merge the classes of a value at ``offset`` into those of its eightbytes."""
    size = size_of(ctype)
    match ctype:
        case Record():
            inner: list[Class | None] = [None, None]
            for field in ctype.fields:
                start = offset + field.offset
                if field.bits is not None:
                    for bit in (field.bit, field.bit + field.bits - 1):
                        at = (start + bit // 8) // 8
                        inner[at] = _merge(inner[at], "integer")
                elif start % alignment_of(abi, field.type):
                    inner[0] = "memory"
                else:
                    _classify(abi, field.type, start, inner)
            _merge_all(classes, _clean_up(inner))
        case Array():
            inner = [None, None]
            for index in range(ctype.length or 0):
                _classify(abi, ctype.of, offset + index * size_of(ctype.of), inner)
            _merge_all(classes, _clean_up(inner))
        case Complex():
            if ctype.part.form == "x87":
                classes[0] = "memory"
            for start in (offset, offset + ctype.part.size):
                if ctype.part.form != "x87":
                    classes[start // 8] = _merge(classes[start // 8], "sse")
        case Real(form="x87"):
            _merge_all(classes, ["x87", "x87up"])
        case Vector(size=16):
            _merge_all(classes, ["sse", "sseup"])
        case Vector(of=Real(form="binary64")):
            classes[offset // 8] = "memory"
        case Real() | Vector(size=8):
            classes[offset // 8] = _merge(classes[offset // 8], "sse")
        case _:
            for at in range(offset // 8, (offset + size - 1) // 8 + 1):
                classes[at] = _merge(classes[at], "integer")


def _merge_all(classes: list[Class | None], others: list[Class | None]) -> None:
    for at, other in enumerate(others):
        classes[at] = _merge(classes[at], other)


def _clean_up(classes: list[Class | None]) -> list[Class | None]:
    """3.2.3, rule 5."""
    low, high = classes
    if "memory" in classes or (high == "x87up" and low != "x87"):
        return ["memory", None]
    if high == "sseup" and low != "sse":
        return [low, "sse"]
    return classes


def _pieces(abi: Abi, ctype: CType) -> tuple[Piece, ...] | None:
    """Give what goes to registers; None for the class MEMORY."""
    size = size_of(ctype)
    if isinstance(ctype, Complex) and ctype.part.form == "x87":
        return (Piece("x87", 0, 16), Piece("x87", 16, 16))
    if size > MOST:
        return None
    classes: list[Class | None] = [None, None]
    _classify(abi, ctype, 0, classes)
    pieces = []
    for at, what in enumerate(classes):
        start, end = 8 * at, min(8 * at + 8, size)
        match what:
            case "memory":
                return None
            case "integer":
                pieces.append(Piece("integer", start, end - start))
            case "sse":
                wide = classes[1] == "sseup"
                pieces.append(Piece("vector", start, 16 if wide else end - start))
            case "x87":
                pieces.append(Piece("x87", 0, 16))
    return tuple(pieces)


def argument(abi: Abi, ctype: CType, situation: Situation) -> tuple[Way, ...]:
    """3.2.3, "Passing": the x87's classes go to memory too."""
    pieces = _pieces(abi, ctype)
    alignment = alignment_of(abi, ctype)
    if pieces is None or any(piece.bank == "x87" for piece in pieces):
        return (Way(alignment=alignment, place="stack"),)
    return (Way(pieces, alignment) if pieces else NOTHING,)


def result(abi: Abi, ctype: CType, situation: Situation) -> Way:
    """3.2.3, "Returning of values"."""
    pieces = _pieces(abi, ctype)
    if pieces is None and isinstance(ctype, Vector):
        return Way((Piece("vector", 0, ctype.size),))
    return REFERENCE if pieces is None else Way(pieces)
