"""A field of a record: where it lies, and how it is read and written there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from libferry import _core
from libferry.runtime.values import keeping
from libferry.runtime.values.base import Codec, Context, Misfit
from libferry.runtime.values.scalars import BooleanCodec, IntegerCodec, NumberCodec


@dataclass(frozen=True, slots=True)
class Slot:
    """One named field, those of anonymous members included.

    Attributes:
        offset: from the start of the outermost record.
        choice: the anonymous unions (and the record itself, if it is one) around it:
            of what lies in different members of one, only one can be given.
        first: whether each of those members is the first of its union, so that an
            initialiser without names would reach it.
    """

    name: str
    codec: Codec
    offset: int
    bits: int | None
    bit: int
    choice: tuple[tuple[int, int], ...]
    first: bool

    def number(self, convert: Callable[[object], object]) -> _core.Field:
        """The C half's way to a number here."""
        assert isinstance(self.codec, NumberCodec)
        assert self.codec.place is not None
        place, size = self.codec.place, self.codec.size
        return _core.Field(place, size, self.offset, convert, self.bits or 0, self.bit)


def store(record: _core.Aggregate, slot: Slot, value: object, tried: str) -> None:
    """Write a field's value, and keep what its pointers lead to."""
    context = Context(_core.library_of(record))
    try:
        data = slot.codec.encode(value, context)
    except Misfit as misfit:
        raise misfit.error(tried) from None
    _core.write_bytes(record, slot.offset, data)
    if slot.codec.pointers:
        keeping.keep(record, slot.offset, len(data), context.kept)


class Member:
    """A field that C does not read by itself."""

    __slots__ = ("_slot", "_tried")

    def __init__(self, slot: Slot, tried: str) -> None:
        self._slot = slot
        self._tried = tried

    def __get__(self, record: _core.Aggregate | None, owner: object = None) -> Any:
        if record is None:
            return self
        slot = self._slot
        if slot.bits is not None:  # of an __int128
            return extract(slot, bytes(record))
        data = _core.read_bytes(record, slot.offset, slot.codec.size)
        return slot.codec.decode(data, _core.library_of(record))

    def __set__(self, record: _core.Aggregate, value: object) -> None:
        slot = self._slot
        if slot.bits is None:
            store(record, slot, value, self._tried)
            return
        whole = bytearray(bytes(record))
        try:
            insert(slot, value, whole)
        except Misfit as misfit:
            raise misfit.error(self._tried) from None
        _core.write_bytes(record, 0, bytes(whole))

    def __delete__(self, record: _core.Aggregate) -> None:
        raise TypeError("a C field cannot be deleted")


def extract(slot: Slot, data: bytes) -> int:
    """A bit-field's value among the record's bytes."""
    assert slot.bits is not None
    unit = int.from_bytes(data[slot.offset : slot.offset + unit_size(slot)], "little")
    number = unit >> slot.bit & (1 << slot.bits) - 1
    if isinstance(slot.codec, IntegerCodec) and slot.codec.signed and number >> (slot.bits - 1):
        number -= 1 << slot.bits
    return number


def insert(slot: Slot, value: object, data: bytearray) -> None:
    """Write a bit-field's value among the record's bytes."""
    assert slot.bits is not None
    assert isinstance(slot.codec, IntegerCodec | BooleanCodec)
    mask = (1 << slot.bits) - 1
    place = slice(slot.offset, slot.offset + unit_size(slot))
    unit = int.from_bytes(data[place], "little")
    unit = unit & ~(mask << slot.bit) | (slot.codec.number(value) & mask) << slot.bit
    data[place] = unit.to_bytes(unit_size(slot), "little")


def unit_size(slot: Slot) -> int:
    """How many bytes a bit-field touches."""
    return (slot.bit + (slot.bits or 0) + 7) // 8
