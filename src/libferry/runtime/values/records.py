"""The codec of structures and unions.

A record is given by the names of its fields, in their order, or by another record. One
of another library is converted field by field, since the same declaration is laid out
differently there.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from libferry import _core
from libferry.abi import CType, Integer, Record
from libferry.abi import Field as CField
from libferry.errors import SymbolNotFound
from libferry.runtime.showing import kind
from libferry.runtime.values import keeping
from libferry.runtime.values.base import Codec, Context, Home, Misfit, wrong_type, wrong_value
from libferry.runtime.values.fields import Member, Slot, extract, insert, store
from libferry.runtime.values.scalars import BooleanCodec, IntegerCodec, NumberCodec
from libferry.runtime.values.structs import Struct, row_names


class RecordCodec(Codec):
    """A record by name, in order, or from another one; ``cls`` is its class."""

    def __init__(self, abi: str, record: Record, child: Callable[[CType], Codec]) -> None:
        super().__init__(record, record.size)
        self.abi = abi
        self.record = record
        self.slots: dict[str, Slot] = {}
        self._unions = 0
        self._collect(record, 0, (), True, child)
        self._order = [slot.name for slot in self.slots.values() if slot.first]
        self.pointers = any(slot.codec.pointers for slot in self.slots.values())
        self.descriptors = {name: self._descriptor(slot) for name, slot in self.slots.items()}
        self._numbers = {
            name: slot.number(slot.codec.number)
            for name, slot in self.slots.items()
            if isinstance(slot.codec, NumberCodec) and slot.codec.place is not None
        }
        attributes: dict[str, object] = {
            name: descriptor
            for name, descriptor in self.descriptors.items()
            if not (name.startswith("__") and name.endswith("__"))  # Python's own
        }
        self.cls: type[Struct] = _core.AggregateType(
            record.name,
            (Struct,),
            {"__slots__": (), "__module__": "libferry", **attributes},
            ctype=record,
            abi=abi,
            codec=self,
            size=record.size,
            array=False,
            pointers=self.pointers,
            shape=None,
            format=b"B",
            itemsize=1,
            element=None,
            inner=0,
        )

    def _collect(
        self,
        record: Record,
        base: int,
        choice: tuple[tuple[int, int], ...],
        first: bool,
        child: Callable[[CType], Codec],
    ) -> None:
        union = record.kind == "union"
        self._unions += union
        number = self._unions
        for index, field in enumerate(record.fields):
            inner = (*choice, (number, index)) if union else choice
            reached = first and not (union and index)
            if not field.name and isinstance(field.type, Record):
                self._collect(field.type, base + field.offset, inner, reached, child)
                continue
            self.slots[field.name] = Slot(
                field.name,
                _field_codec(field, child),
                base + field.offset,
                field.bits,
                field.bit,
                inner,
                reached,
            )

    def _descriptor(self, slot: Slot) -> Any:
        codec, where = slot.codec, f"set {self.record.name}.{slot.name}"
        if isinstance(codec, NumberCodec) and codec.place is not None:

            def convert(value: object) -> object:
                try:
                    return codec.number(value)
                except Misfit as misfit:
                    raise misfit.error(where) from None

            return slot.number(convert)
        part: type[_core.Aggregate] | None = getattr(codec, "cls", None)
        if part is not None:
            length = getattr(codec, "length", 0)

            def assign(record: _core.Aggregate, value: object) -> None:
                store(record, slot, value, where)

            return _core.Part(part, slot.offset, -1 if length is None else length, assign)
        return Member(slot, where)

    # ---- bytes ----

    def encode(self, value: object, context: Context) -> bytes:
        """Its bytes; fields that are not given are zero, and so is padding."""
        match value:
            case dict():
                given: Mapping[str, object] = value
            case tuple() | list():
                given = self._in_order(value)
            case _core.Aggregate():
                return self._from_aggregate(value, context)
            case Mapping():
                given = value
            case str() | bytes() | bytearray():
                raise self._not_one(value)
            case Sequence():
                given = self._in_order(value)
            case _:
                names = row_names(value)
                if not names:
                    raise self._not_one(value)
                given = {name: value[name] for name in names}  # type: ignore[index]
        return self._assemble(given, context)

    def decode(self, data: bytes, library: Home | None) -> Struct:
        """A record of its own, with a copy of the bytes."""
        made: Struct = _core.own(self.cls, data, library)
        return made

    def _not_one(self, value: object) -> Misfit:
        return wrong_type(
            f"{kind(value)} is not a {self.name}",
            f"give a dict, a tuple or a {self.name}; its fields: {', '.join(self.slots)}",
        )

    def _in_order(self, values: Sequence[object]) -> dict[str, object]:
        reached = self._order
        if len(values) > len(reached):
            raise wrong_type(
                f"{len(values)} values are too many for a {self.name}",
                f"it takes {len(reached)}: {', '.join(reached)}",
            )
        return dict(zip(reached, values, strict=False))

    def _assemble(self, given: Mapping[str, object], context: Context) -> bytes:
        whole = _core.own(self.cls, bytes(self.size), context.library)
        chosen: dict[int, tuple[int, str]] = {}
        tail = 0, b""
        for name, value in given.items():
            slot = self.slots.get(name)
            if slot is None:
                raise wrong_type(f"it has no field {name!r}", self.near(name))
            for union, index in slot.choice:
                other = chosen.setdefault(union, (index, name))
                if other[0] != index:
                    raise wrong_type(
                        f"{other[1]} and {name} share their memory in a union", "give one of them"
                    )
            try:
                number = self._numbers.get(name)
                if number is not None:
                    number.__set__(whole, value)
                elif slot.bits is not None:
                    self._set_bits(whole, slot, value)
                else:
                    data = slot.codec.encode(value, context)
                    if len(data) == slot.codec.size:
                        _core.write_bytes(whole, slot.offset, data)
                    else:
                        self._check_flexible(slot, context)
                        tail = slot.offset, data
            except Misfit as misfit:
                raise misfit.inside(f".{name}") from None
        made = _core.read_bytes(whole, 0, self.size)
        end, data = tail
        return made if not data else made[:end] + data + made[end + len(data) :]

    def _set_bits(self, whole: _core.Aggregate, slot: Slot, value: object) -> None:
        data = bytearray(bytes(whole))
        insert(slot, value, data)
        _core.write_bytes(whole, 0, bytes(data))

    def _check_flexible(self, slot: Slot, context: Context) -> None:
        end = max(other.offset + other.codec.size for other in self.slots.values())
        if not context.flexible or slot.offset + slot.codec.size < end:
            raise wrong_type(
                "a flexible array has no room here", "make the record by lib.new, or type(p)(...)"
            )

    def _from_aggregate(self, value: _core.Aggregate, context: Context) -> bytes:
        theirs = type(value).codec
        data = _core.read_bytes(value, 0, type(value).size)
        if theirs is self and (not self.pointers or _core.library_of(value) is context.library):
            if self.pointers:
                context.kept += keeping.held(value)
            return data
        if isinstance(theirs, RecordCodec) and theirs.record.name == self.record.name:
            return self.convert(theirs, data)
        raise self._not_one(value)

    # ---- the same record of another library ----

    def _key(self) -> tuple[object, ...]:
        slots = ((s.name, s.codec.key, s.offset, s.bits, s.bit) for s in self.slots.values())
        return ("record", self.size, *slots)

    def _convert(self, source: Codec, data: bytes) -> bytes:
        """Field by field; what has no place here must be zero there."""
        if not isinstance(source, RecordCodec):
            raise self.differs(source)
        result = bytearray(self.size)
        unions: dict[int, list[str]] = {}
        for name, theirs in source.slots.items():
            if theirs.choice:
                unions.setdefault(theirs.choice[0][0], []).append(name)
                continue
            try:
                self._convert_field(name, theirs, data, result)
            except Misfit as misfit:
                raise misfit.inside(f".{name}") from None
        for names in unions.values():
            self._convert_union(names, source, data, result)
        return bytes(result)

    def _convert_field(self, name: str, theirs: Slot, data: bytes, result: bytearray) -> None:
        mine = self.slots.get(name)
        if theirs.bits is not None:
            value = extract(theirs, data)
            if mine is None and value == 0:
                return
            if mine is not None and isinstance(mine.codec, IntegerCodec | BooleanCodec):
                insert(mine, value, result)
                return
        else:
            part = data[theirs.offset : theirs.offset + theirs.codec.size]
            if mine is None and not any(part):
                return
            if mine is not None and mine.bits is None:
                converted = mine.codec.convert(theirs.codec, part)
                result[mine.offset : mine.offset + len(converted)] = converted
                return
        raise wrong_value(
            f"{self.name} has no such field on {self.abi}", "only zero can be left out"
        )

    def _convert_union(
        self, names: list[str], source: RecordCodec, data: bytes, result: bytearray
    ) -> None:
        """Which field of a union is in use is not known: its bytes must mean the same."""
        theirs = [source.slots[name] for name in names]
        start = min(slot.offset for slot in theirs)
        end = max(slot.offset + slot.codec.size for slot in theirs)
        if not any(data[start:end]):
            return
        mine = [self.slots[name] for name in names if name in self.slots]
        base = min((slot.offset for slot in mine), default=0)
        if [_relative(slot, base) for slot in mine] != [_relative(slot, start) for slot in theirs]:
            raise wrong_value(
                f"{' and '.join(names)} share their memory in a union, and are not the same "
                f"bytes on {source.abi} and on {self.abi}",
                "set one of them in a new record",
            )
        result[base : base + end - start] = data[start:end]

    # ---- names ----

    def spellings(self, value: object) -> tuple[str, ...]:
        """What a pointer to it may lead to."""
        return (self.record.name,)

    def near(self, name: str) -> str:
        """A hint for a name that is no field."""
        near = difflib.get_close_matches(str(name), self.slots, 3, 0.6)
        if near:
            return f"near matches: {', '.join(near)}"
        return f"its fields: {', '.join(self.slots) or 'none'}"

    def missing(self, name: str) -> NoReturn:
        """Raise for an attribute that is no field (called from C)."""
        raise SymbolNotFound(
            f"use {self.record.name}.{name}", "it has no such field", hint=self.near(name)
        )


def _field_codec(field: CField, child: Callable[[CType], Codec]) -> Codec:
    if field.bits is not None and isinstance(field.type, Integer):
        return IntegerCodec(field.type, field.bits)
    return child(field.type)


def _relative(slot: Slot, base: int) -> tuple[object, ...]:
    return slot.name, slot.codec.key, slot.offset - base, slot.bits, slot.bit
