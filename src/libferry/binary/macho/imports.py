"""What a Mach-O file wants: chained fixups, bind opcodes, or the symbol table."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from libferry.binary.macho.facts import (
    FLAGS,
    FLAT_LOOKUP,
    LC_DYLD_CHAINED_FIXUPS,
    LC_DYLD_INFO,
    LC_DYSYMTAB,
    LC_SYMTAB,
    N_EXT,
    N_STAB,
    N_TYPE,
    N_UNDF,
    N_WEAK_REF,
    NLIST_ORDINALS,
    WEAK_LOOKUP,
)
from libferry.binary.macho.image import Image
from libferry.binary.window import Window, decode


class Bind(NamedTuple):
    """One symbol that dyld binds.

    Attributes:
        name: as in the file, with the underscore of C.
        ordinal: which of the needed libraries shall give it, from 1; or one of
            ``SELF``, ``MAIN_EXECUTABLE``, ``FLAT_LOOKUP``, ``WEAK_LOOKUP``.
        weak: whether it may be missing.
        lazy: whether it is looked for when it is first called.
    """

    name: str
    ordinal: int
    weak: bool
    lazy: bool


TWOLEVEL = 1 << FLAGS.index("TWOLEVEL")

# fixup-chains.h: dyld_chained_fixups_header
_CHAINED_HEADER = "7I"
# fixup-chains.h: DYLD_CHAINED_IMPORT, _ADDEND, _ADDEND64: the struct, and how many bits
# the ordinal has, where the bit of a weak import is, and where the name begins
_CHAINED_IMPORTS = {1: ("I", 8, 8, 9), 2: ("I4x", 8, 8, 9), 3: ("Q8x", 16, 16, 32)}
# The highest 16 values of an ordinal are the special ones, below zero.
_SPECIAL_ORDINALS = 15

# loader.h: BIND_OPCODE_*, BIND_SYMBOL_FLAGS_*
_OPCODE_MASK, _IMMEDIATE_MASK = 0xF0, 0x0F
_DONE, _ORDINAL_IMM, _ORDINAL_ULEB, _ORDINAL_SPECIAL, _SYMBOL = 0x00, 0x10, 0x20, 0x30, 0x40
_TYPE, _ADDEND, _SEGMENT_AND_OFFSET, _ADD_ADDRESS = 0x50, 0x60, 0x70, 0x80
_BIND, _BIND_ADD_ADDRESS, _BIND_ADD_SCALED, _BIND_TIMES, _THREADED = 0x90, 0xA0, 0xB0, 0xC0, 0xD0
_WEAK_IMPORT, _NON_WEAK_DEFINITION = 0x01, 0x08
# opcode -> how many ULEB128 follow it
_NUMBERS = dict.fromkeys((_DONE, _ORDINAL_IMM, _ORDINAL_SPECIAL, _TYPE, _BIND, _BIND_ADD_SCALED), 0)
_NUMBERS |= dict.fromkeys((_ORDINAL_ULEB, _ADDEND, _SEGMENT_AND_OFFSET), 1)
_NUMBERS |= dict.fromkeys((_ADD_ADDRESS, _BIND_ADD_ADDRESS), 1)
_NUMBERS |= {_BIND_TIMES: 2}
_BINDS = {_BIND, _BIND_ADD_ADDRESS, _BIND_ADD_SCALED, _BIND_TIMES}


def read_binds(image: Image) -> tuple[Bind, ...]:
    """List what dyld binds in one slice: each name and library once."""
    for command in image.all(LC_DYLD_CHAINED_FIXUPS):
        offset, size = image.unpack(image.layout.pair, command, 8)
        if size:
            return _once(_chained(image, offset, size))
    for command in image.all(LC_DYLD_INFO):
        # rebase, bind, weak bind, lazy bind, export: the offset and the size of each
        places = image.unpack(Struct(image.layout.pair.format[:1] + "6I"), command, 16)
        return _once(_programs(image.window, places))
    return _once(_from_symbol_table(image))


def _once(binds: Iterator[Bind]) -> tuple[Bind, ...]:
    """Of several uses of a symbol, one that may neither be missing nor be late counts."""
    first: dict[tuple[str, int], Bind] = {}
    for bind in binds:
        known = first.setdefault(bind[:2], bind)
        if known is not bind and (known.weak > bind.weak or known.lazy > bind.lazy):
            first[bind[:2]] = Bind(
                bind.name, bind.ordinal, known.weak and bind.weak, known.lazy and bind.lazy
            )
    return tuple(first.values())


def _chained(image: Image, offset: int, size: int) -> Iterator[Bind]:
    what = "the table of imports"
    order = image.layout.pair.format[:1]
    view = image.window.view(offset, size, "the chained fixups")
    _, _, imports, symbols, count, form, packed = view.unpack(
        Struct(order + _CHAINED_HEADER), 0, "the header of the chained fixups"
    )
    if form not in _CHAINED_IMPORTS or packed:
        raise view.bad(f"imports of format {form}, {packed}, which dyld does not know either")
    struct, bits, weak_at, name_at = _CHAINED_IMPORTS[form]
    record = Struct(order + struct)
    raw = view.bytes(imports, count * record.size, what)
    # Without imports there is no pool of names, wherever it is said to be.
    pool = view.bytes(symbols, size - symbols, "the names of imports") if count else b""
    largest = (1 << bits) - 1
    for (word,) in record.iter_unpack(raw):
        ordinal = word & largest
        if ordinal >= largest - _SPECIAL_ORDINALS + 1:
            ordinal -= largest + 1
        start = word >> name_at
        stop = pool.find(0, start)
        if stop < 0:
            raise view.bad("the name of an import has no end", at=symbols + start)
        view.charge(stop - start + 1)
        yield Bind(decode(pool[start:stop]), ordinal, bool(word >> weak_at & 1), False)


def _programs(window: Window, places: tuple[int, ...]) -> Iterator[Bind]:
    bind, bind_size, weak, weak_size, lazy, lazy_size = places
    yield from _opcodes(window, bind, bind_size, None, lazy=False)
    yield from _opcodes(window, lazy, lazy_size, None, lazy=True)
    yield from _opcodes(window, weak, weak_size, WEAK_LOOKUP, lazy=False)


def _opcodes(
    window: Window, offset: int, size: int, implied: int | None, *, lazy: bool
) -> Iterator[Bind]:
    """Run a program of opcodes, as far as names and libraries go.

    ``implied`` is the ordinal of all its symbols, if it does not say one.
    """
    what = "the bind opcodes"
    view = window.view(offset, size, what)
    raw = view.bytes(0, size, what)
    at, name, weak, ordinal = 0, "", False, implied or 0
    while at < size:
        opcode, immediate = raw[at] & _OPCODE_MASK, raw[at] & _IMMEDIATE_MASK
        at += 1
        if opcode == _SYMBOL:
            stop = raw.find(0, at)
            if stop < 0:
                raise view.bad("the name of a symbol has no end", at=at)
            view.charge(stop - at)
            # One that overrides another's weak definition is no import.
            name = "" if immediate & _NON_WEAK_DEFINITION else decode(raw[at:stop])
            weak = bool(immediate & _WEAK_IMPORT)
            at = stop + 1
            continue
        if opcode == _DONE and not lazy:
            return
        if opcode == _THREADED:  # of the first arm64e files: a table, then chains
            numbers = 0 if immediate else 1
        elif opcode in _NUMBERS:
            numbers = _NUMBERS[opcode]
        else:
            raise view.bad(f"the bind opcode {opcode:#x} is unknown", at=at - 1)
        value = 0
        for _ in range(numbers):
            value, at = _number(view, raw, at)
        if opcode == _ORDINAL_IMM:
            ordinal = immediate
        elif opcode == _ORDINAL_ULEB:
            ordinal = value
        elif opcode == _ORDINAL_SPECIAL:
            ordinal = immediate - 16 if immediate else 0
        elif opcode in _BINDS and name:
            yield Bind(name, ordinal, weak, lazy)


def _number(view: Window, raw: bytes, at: int) -> tuple[int, int]:
    """Read a ULEB128; of a SLEB128, only where it ends matters here."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(raw):
            raise view.bad("the bind opcodes end within a number", at=at)
        value |= (raw[at] & 0x7F) << shift
        at += 1
        if raw[at - 1] < 0x80:
            return value, at
    raise view.bad("a number in the bind opcodes has more than 64 bits", at=at)


def _from_symbol_table(image: Image) -> Iterator[Bind]:
    symbol = image.layout.symbol
    for command in image.all(LC_SYMTAB):
        symbols, count, strings, size = image.unpack(image.layout.symtab, command, 8)
        start = 0
        for indices in image.all(LC_DYSYMTAB):
            # loader.h: dysymtab_command.iundefsym, nundefsym
            first, undefined = image.unpack(image.layout.pair, indices, 24)
            if first + undefined <= count:
                start, count = first, undefined
        raw = image.window.bytes(
            symbols + start * symbol.size, count * symbol.size, "the symbol table"
        )
        table = image.window.view(strings, size, "the string table")
        for at, kind, description, value in symbol.iter_unpack(raw):
            # An undefined symbol with a value is a size: a common block of Fortran or C.
            if kind & N_STAB or not kind & N_EXT or kind & N_TYPE != N_UNDF or value:
                continue
            ordinal = description >> 8
            ordinal = NLIST_ORDINALS.get(ordinal, ordinal)
            if not image.flags & TWOLEVEL:
                ordinal = FLAT_LOOKUP
            name = table.string(at, "the name of a symbol")
            yield Bind(name, ordinal, bool(description & N_WEAK_REF), False)
