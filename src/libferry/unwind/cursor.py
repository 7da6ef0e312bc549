"""Bytes of unwind information, read from front to back and never beyond their end.

A pointer there is a number in one of many forms, and a byte before it says which: how
wide it is and whether signed (the low half), and what it is relative to (the high half).
Nearly all are four bytes, relative to where they stand themselves, so that a library
needs no relocations for them.

Specification: Linux Standard Base, Core 5.0, 10.5 "DWARF Extensions"; DWARF 5, 7.6
"Variable Length Data".
"""

from __future__ import annotations

from typing import NamedTuple

from libferry.unwind.limits import NotUnwindable

# LSB Core, 10.5.1 "DWARF Exception Header Encoding"
DW_EH_PE_omit = 0xFF
DW_EH_PE_indirect = 0x80
_UNSIGNED = {0x02: 2, 0x03: 4, 0x04: 8}  # DW_EH_PE_udata2, 4 and 8
_SIGNED = {0x0A: 2, 0x0B: 4, 0x0C: 8}  # DW_EH_PE_sdata2, 4 and 8
_ABSPTR, _ULEB, _SLEB = 0x00, 0x01, 0x09
_PCREL, _TEXTREL, _DATAREL, _FUNCREL, _ALIGNED = 0x10, 0x20, 0x30, 0x40, 0x50

LEB_BYTES = 16  # 10 hold 64 bits, and some assemblers pad


class Bases(NamedTuple):
    """What encoded pointers may be relative to; None where nobody knows."""

    data: int | None = None
    function: int | None = None


def fixed_size(encoding: int, word: int) -> int | None:
    """How many bytes a pointer of this encoding has; None if that varies."""
    form = encoding & 0x0F
    if form == _ABSPTR:
        return word
    return _UNSIGNED.get(form) or _SIGNED.get(form)


class Cursor:
    """A place in some bytes, which lie at ``address`` in memory."""

    __slots__ = ("address", "at", "data", "end", "word")

    def __init__(self, data: bytes, word: int, address: int = 0, at: int = 0) -> None:
        self.data = data
        self.word = word
        self.address = address
        self.at = at
        self.end = len(data)

    def raw(self, size: int) -> bytes:
        """The next bytes."""
        at, end = self.at, self.at + size
        if size < 0 or end > self.end:
            raise NotUnwindable("the information ends early")
        self.at = end
        return self.data[at:end]

    def unsigned(self, size: int) -> int:
        """The next unsigned integer of ``size`` bytes."""
        return int.from_bytes(self.raw(size), "little")

    def signed(self, size: int) -> int:
        """The next signed integer of ``size`` bytes."""
        return int.from_bytes(self.raw(size), "little", signed=True)

    def byte(self) -> int:
        """The next byte."""
        at = self.at
        if at >= self.end:
            raise NotUnwindable("the information ends early")
        self.at = at + 1
        return self.data[at]

    def uleb(self) -> int:
        """The next ULEB128."""
        return self._leb()[0]

    def sleb(self) -> int:
        """The next SLEB128."""
        value, bits, last = self._leb()
        return value - (1 << bits) if last & 0x40 else value

    def _leb(self) -> tuple[int, int, int]:
        value = 0
        for shift in range(0, 7 * LEB_BYTES, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, shift + 7, byte
        raise NotUnwindable("a number has no end")

    def string(self) -> bytes:
        """The next string that ends with NUL."""
        end = self.data.find(0, self.at, self.end)
        if end < 0:
            raise NotUnwindable("a string has no end")
        return self.raw(end + 1 - self.at)[:-1]

    def pointer(self, encoding: int, bases: Bases) -> int:
        """The next encoded pointer, as an address in the module's own counting."""
        if encoding & 0x70 == _ALIGNED:
            self.raw(-(self.address + self.at) % self.word)
            encoding = _ABSPTR
        here = self.address + self.at
        value = self.number(encoding)
        relative = encoding & 0x70
        if value == 0 or relative == 0:
            base: int | None = 0
        else:
            base = {_PCREL: here, _DATAREL: bases.data, _FUNCREL: bases.function}.get(relative)
        if base is None or encoding & DW_EH_PE_indirect:
            raise NotUnwindable("a pointer is relative to something unknown")
        return value + base & (1 << 8 * self.word) - 1

    def number(self, encoding: int) -> int:
        """The number of an encoded pointer, whatever it is relative to."""
        form = encoding & 0x0F
        if form == _ABSPTR:
            return self.unsigned(self.word)
        if form in _UNSIGNED:
            return self.unsigned(_UNSIGNED[form])
        if form in _SIGNED:
            return self.signed(_SIGNED[form])
        if form == _ULEB:
            return self.uleb()
        if form == _SLEB:
            return self.sleb()
        raise NotUnwindable("a pointer has an unknown form")
