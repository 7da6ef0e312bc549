"""A record's layout as rows for people: every member, every hole; and two compared.

A structure that "arrives garbled" on another system was laid out differently there:
``long`` is 4 bytes on Windows, ``double`` is aligned to 4 on i386 Linux, bit-fields
follow another school. Compared row by row, it shows where.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from libferry.abi import Array, Complex, CType, Real, Record, Vector, size_of
from libferry.abi.types import spell


@dataclass(frozen=True, slots=True)
class Row:
    """A member, or a hole.

    Attributes:
        name: from the outermost record, as in ``u.low``; empty for a hole.
        type: as C spells it; empty for a hole.
        offset: in bytes.
        size: in bytes; of a bit-field, of its declared type.
        bit: the lowest bit, counted from that of the byte at ``offset``.
        bits: width of a bit-field, or of a hole that is not whole bytes; else None.
        form: how its floating-point numbers are encoded; empty if it has none.
    """

    name: str
    type: str
    offset: int
    size: int
    bit: int = 0
    bits: int | None = None
    form: str = ""

    @property
    def padding(self) -> bool:
        """Whether it is a hole."""
        return not self.type

    def as_dict(self) -> dict[str, object]:
        """The row as plain data."""
        made: dict[str, object] = {"offset": self.offset, "size": self.size}
        if self.bits is not None:
            made |= {"bit": self.bit, "bits": self.bits}
        return made | (
            {"padding": True} if self.padding else {"type": self.type, "name": self.name}
        )


def rows(record: Record) -> list[Row]:
    """The members of a record in order, with the holes between and behind them.

    What has no type's name of its own, such as the union in ``struct { union { int a; };
    }``, is followed by its members.
    """
    return list(_rows(record, "", 0))


def _rows(record: Record, prefix: str, base: int) -> Iterator[Row]:
    end = 8 * base  # in bits
    for field in record.fields:
        start = 8 * (base + field.offset) + field.bit
        if record.kind == "struct":
            yield from _hole(end, start)
        name = f"{prefix}{field.name}"
        offset = base + field.offset
        row = Row(name, _type(field.type), offset, size_of(field.type), form=_form(field.type))
        if field.bits is not None:
            row = Row(name, row.type, offset, row.size, field.bit, field.bits)
        yield row
        if isinstance(field.type, Record) and "(" in field.type.name:
            yield from _rows(field.type, f"{name}." if field.name else prefix, offset)
        width = 8 * row.size if field.bits is None else field.bits
        end = max(end, start + width)
    yield from _hole(end, 8 * (base + record.size))


def _hole(end: int, start: int) -> Iterator[Row]:
    """What lies between two bits, if anything does; whole bytes apart from single bits."""
    if end < start and end % 8:
        bits = min(8 - end % 8, start - end)
        yield Row("", "", end // 8, 1, end % 8, bits)
        end += bits
    whole = (start - end) // 8
    if whole > 0:
        yield Row("", "", end // 8, whole)
        end += 8 * whole
    if end < start:
        yield Row("", "", end // 8, 1, 0, start - end)


def _type(ctype: CType) -> str:
    if isinstance(ctype, Record) and "(" in ctype.name:
        return ctype.kind
    if isinstance(ctype, Array) and isinstance(ctype.of, Record) and "(" in ctype.of.name:
        return f"{ctype.of.kind}[{'' if ctype.length is None else ctype.length}]"
    return spell(ctype)


def _form(ctype: CType) -> str:
    match ctype:
        case Real():
            return ctype.form
        case Complex():
            return ctype.part.form
        case Array() | Vector():
            return _form(ctype.of)
    return ""


@dataclass(frozen=True, slots=True)
class Pair:
    """One member, or one fact about the record, on two ABIs; None where it is not there."""

    name: str
    first: Row | int | None
    second: Row | int | None

    @property
    def differs(self) -> bool:
        """Whether the two put it differently."""
        if not isinstance(self.first, Row) or not isinstance(self.second, Row):
            return self.first != self.second
        return _place(self.first) != _place(self.second)


def _place(row: Row) -> tuple[int, int, int | None, str]:
    return (8 * row.offset + row.bit, row.size if row.bits is None else 0, row.bits, row.form)


def compare(first: Record | None, second: Record | None) -> list[Pair]:
    """A record on two ABIs: its size, its alignment, and each member."""
    made = [
        Pair(name, getattr(first, name, None), getattr(second, name, None))
        for name in ("size", "alignment")
    ]
    ours, theirs = _by_name(first), _by_name(second)
    for name in {**ours, **theirs}:
        made.append(Pair(name, ours.get(name), theirs.get(name)))
    return made


def _by_name(record: Record | None) -> dict[str, Row]:
    if record is None:
        return {}
    return {row.name: row for row in rows(record) if not row.padding and row.name}
