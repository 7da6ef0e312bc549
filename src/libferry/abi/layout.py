"""Where the members of a struct or union lie.

The rules for ordinary members are the same everywhere: each goes to the next offset
that its alignment divides, and the record is as aligned as its strictest member. What
differs is how strict a type is (i386 System V asks 4 of a ``double``), and bit-fields,
of which the C standard says next to nothing. There are two schools:

System V ("SysV ABI", also AAPCS): a bit-field takes the next free bit, unless it would
then cross a boundary of its declared type; it may share that type's storage with a
neighbour of any type. ``:0`` moves on to such a boundary. Arm adds that the declared
type counts for the record's alignment even if the bit-field has no name.

Microsoft: a bit-field allocates a whole unit of its declared type, and later ones share
it if their types have the same size and they fit. ``:0`` ends a unit, and is ignored
where there is none.

What ``packed``, ``#pragma pack`` and ``_Alignas`` do to this is written down nowhere
completely; here it is what Clang does, whose layouts are the oracle of the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from libferry.abi.facts import Abi
from libferry.abi.types import (
    Array,
    Boolean,
    Complex,
    CType,
    Field,
    Integer,
    Opaque,
    Pointer,
    Real,
    Record,
    Vector,
    size_of,
)


@dataclass(frozen=True, slots=True)
class Member:
    """One member as declared.

    Attributes:
        name: empty for an anonymous record and for an unnamed bit-field.
        type: its declared type.
        bits: width of a bit-field, 0 included; None for any other member.
        aligned: ``_Alignas`` or ``__attribute__((aligned))``, in bytes.
        packed: whether it has ``__attribute__((packed))`` of its own.
    """

    name: str
    type: CType
    bits: int | None = None
    aligned: int | None = None
    packed: bool = False


def alignment_of(abi: Abi, ctype: CType) -> int:
    """Bytes that divide the address of every such value, as ``_Alignof`` says.

    Raises:
        ValueError: the type has no values: void, a function, or known by name only.
    """
    match ctype:
        case Record():
            return ctype.alignment
        case Array():
            return alignment_of(abi, ctype.of)
        case Complex():
            return alignment_of(abi, ctype.part)
        case Vector():
            return min(ctype.size, abi.vector_alignment)
        case Integer() | Boolean() | Real() | Pointer():
            # an x87 number of 12 bytes is aligned to 4
            return min(ctype.size & -ctype.size, abi.scalar_alignment)
    raise ValueError(f"{ctype.name} has no alignment")


def make_record(
    abi: Abi,
    kind: Literal["struct", "union"],
    name: str,
    members: Sequence[Member],
    *,
    pack: int | None = None,
    aligned: int | None = None,
    packed: bool = False,
) -> Record:
    """Lay out a record.

    Args:
        abi: whose rules.
        kind: ``struct`` or ``union``.
        name: with its keyword, or its typedef's.
        members: in order of declaration.
        pack: the ``#pragma pack`` in force.
        aligned: ``_Alignas`` or ``__attribute__((aligned))`` of the record, in bytes.
        packed: whether the record has ``__attribute__((packed))``.

    Raises:
        ValueError: a member has no size, or a bit-field does not fit its type.
    """
    builder = _Builder(abi, kind == "union", pack, packed)
    fields: list[Field] = []
    unnamed: list[Field] = []
    for member in members:
        if member.bits is None:
            if isinstance(member.type, Opaque):
                raise ValueError(f"{member.name or 'a member'} is a {member.type.name}, of no size")
            offset = builder.place(member)
            fields.append(Field(member.name, member.type, offset))
        else:
            _check_bits(member)
            bit = builder.place_bits(member, member.bits)
            field = Field(member.name, member.type, bit // 8, member.bits, bit % 8)
            (fields if member.name else unnamed).append(field)
    alignment = max(builder.alignment, aligned or 1)
    size = _up(-(-builder.size // 8), alignment)
    return Record(kind, name, tuple(fields), size, alignment, builder.alignment, tuple(unnamed))


def _up(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment


def _check_bits(member: Member) -> None:
    assert member.bits is not None
    if not isinstance(member.type, Integer | Boolean):
        raise ValueError(f"bit-field {member.name} is a {member.type.name}, not an integer")
    widest = 1 if isinstance(member.type, Boolean) else 8 * member.type.size
    if not 0 <= member.bits <= widest:
        raise ValueError(
            f"bit-field {member.name} has {member.bits} bits; a {member.type.name} has {widest}"
        )
    if member.bits == 0 and member.name:
        raise ValueError(f"bit-field {member.name} has no bits, so it cannot have a name")


class _Builder:
    """A record that grows by one member at a time.

    Attributes:
        size: bits so far, in a union of the largest member.
        alignment: bytes that the members ask for.
        end: the bit after the last member: the next bit-field may begin there,
            anything else at the next whole byte.
        unit: bits of the Microsoft unit that is open; 0 if none is.
        left: bits that are still free in it.
    """

    def __init__(self, abi: Abi, union: bool, pack: int | None, packed: bool) -> None:
        self.abi = abi
        self.union = union
        self.pack = pack
        self.packed = packed
        self.size = 0
        self.alignment = 1
        self.end = 0
        self.unit = 0
        self.left = 0

    def place(self, member: Member) -> int:
        """Add a member that is no bit-field; give its offset in bytes."""
        packed = self.packed or member.packed
        alignment = 1 if packed else alignment_of(self.abi, member.type)
        alignment = max(alignment, member.aligned or 1)
        if self.pack:
            alignment = min(alignment, self.pack)
        offset = 0 if self.union else _up(-(-self.end // 8), alignment)
        self.unit = self.left = 0
        self._grow(8 * (offset + size_of(member.type)), alignment)
        return offset

    def place_bits(self, member: Member, bits: int) -> int:
        """Add a bit-field; give the number of its lowest bit in the record."""
        if self.abi.bit_fields == "microsoft":
            return self._place_microsoft(member, bits)
        return self._place_sysv(member, bits)

    def _place_sysv(self, member: Member, bits: int) -> int:
        unit = 8 * size_of(member.type)
        natural = 8 * alignment_of(self.abi, member.type)
        packed = self.packed or member.packed
        asked = 8 * (member.aligned or 0)
        alignment = 1 if packed and bits else natural
        alignment = max(alignment, asked)
        if self.pack and bits:
            limit = 8 * self.pack
            alignment = min(max(natural, asked) if packed else alignment, limit)
        start = 0 if self.union else self.end
        crosses = start % alignment + bits > unit
        if bits == 0 or (crosses and not self.pack):
            start = _up(start, alignment)
        elif asked and not (self.pack and asked > 8 * self.pack):
            start = _up(start, asked)
        counts = member.name or self.abi.unnamed_bit_fields_align
        self._grow(start + bits, -(-alignment // 8) if counts else 1)
        return start

    def _place_microsoft(self, member: Member, bits: int) -> int:
        unit = 8 * size_of(member.type)
        alignment = unit
        fresh = self.unit != unit or self.left < bits
        if fresh and self.unit == 0 and bits == 0:
            alignment = 1  # nothing to end
        alignment = max(alignment, 8 * (member.aligned or 0))
        if self.pack and bits:
            alignment = min(alignment, 8 * self.pack)
        if self.union:
            self._grow(unit if bits else 8, 1)
            self.unit = self.left = 0
            return 0
        start = self.end if fresh else self.end - self.left
        if bits and not fresh:
            self.left -= bits
            self._grow(self.end, -(-alignment // 8))
            return start
        start = _up(start, alignment)
        self.unit, self.left = (unit, unit - bits) if bits else (0, 0)
        self._grow(start + (unit if bits else 0), -(-alignment // 8))
        return start

    def _grow(self, end: int, alignment: int) -> None:
        self.end = end
        self.size = max(self.size, end)
        self.alignment = max(self.alignment, alignment)
