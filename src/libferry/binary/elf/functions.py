"""The functions of an ELF file, local ones too if their names are still there.

Specification: gABI chapter 4, "Symbol Table".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from libferry.binary.elf.hashes import symbol_range
from libferry.binary.elf.image import Image
from libferry.binary.elf.layout import DT_SYMENT, DT_SYMTAB, SHN_UNDEF, STT_FUNC, STT_GNU_IFUNC
from libferry.binary.elf.sections import SHT_SYMTAB, contents, sections
from libferry.binary.window import Window

SYMBOLS_AT_MOST = 1 << 21


class Function(NamedTuple):
    """One function of a symbol table."""

    name: int
    binding: int
    address: int
    size: int


class FunctionTable(NamedTuple):
    """The functions of one symbol table, and the strings that their names are in.

    ``read`` symbols of all kinds are read to find them.
    """

    read: int
    rows: Iterator[Function]
    strings: Window


def functions(image: Image) -> FunctionTable | None:
    """The functions in ``.symtab``, or else in the dynamic symbol table."""
    found, _ = sections(image)
    for section in found:
        if section.type == SHT_SYMTAB and section.link < len(found):
            table = contents(image, section)
            strings = contents(image, found[section.link])
            count = table.size // image.layout.sized.size
            return _table(image, table, 0, count, strings)
    return _dynamic(image)


def _dynamic(image: Image) -> FunctionTable | None:
    if DT_SYMTAB not in image.tags:
        return None
    start, count = symbol_range(image, SYMBOLS_AT_MOST)
    record = image.layout.sized
    if image.tags.get(DT_SYMENT, record.size) != record.size or count <= 0:
        return None
    table = image.at(image.tags[DT_SYMTAB], "the dynamic symbol table")
    return _table(image, table, start, count, image.strings())


def _table(image: Image, table: Window, start: int, count: int, strings: Window) -> FunctionTable:
    count = min(count, SYMBOLS_AT_MOST)
    return FunctionTable(count, _rows(image, table, start, count), strings)


def _rows(image: Image, table: Window, start: int, count: int) -> Iterator[Function]:
    record = image.layout.sized
    raw = table.bytes(start * record.size, count * record.size, "the symbol table")
    for name, info, section, value, extent in record.rows(raw):
        if info & 15 in (STT_FUNC, STT_GNU_IFUNC) and section != SHN_UNDEF:
            yield Function(name, info >> 4, value, extent)
