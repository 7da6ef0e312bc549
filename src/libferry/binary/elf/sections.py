"""The linker's account of an ELF file, for what the loader's leaves out.

What a loader needs is found through the program headers, and ``image.py`` reads nothing
else. Debuggers want more: the names of local functions (``.symtab``) and call frame
information that is not loaded (``.debug_frame``). Both are found by their section
headers only, may be missing in a sound library, and in a damaged one are as good as
missing.

Specification: gABI chapter 4, "Section Header" and "Symbol Table"; ``PT_NOTE`` and the
build ID: "Note Section" there, and ``NT_GNU_BUILD_ID`` of binutils' ``elf/common.h``.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from libferry.binary.elf.image import DT_SYMENT, DT_SYMTAB, Image
from libferry.binary.elf.symbols import symbol_range
from libferry.binary.window import Window
from libferry.errors import BadBinary

# gABI, "Section Header": sh_type and sh_flags
SHT_SYMTAB, SHT_NOBITS = 2, 8
SHF_COMPRESSED = 0x800

# gABI, "Symbol Table": st_info and st_shndx
STT_FUNC, STT_GNU_IFUNC = 2, 10
SHN_UNDEF = 0

# gABI, "Note Section", and elf/common.h
PT_NOTE = 4
NT_GNU_BUILD_ID = 3
NOTES_AT_MOST = 64
BUILD_ID_AT_MOST = 64  # bytes; linkers make 8 to 32

SYMBOLS_AT_MOST = 1 << 21
SECTIONS_AT_MOST = 1024  # what is loaded has some forty


class Section(NamedTuple):
    """One section: where it is in the file, and where in memory (0: nowhere)."""

    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int


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


def sections(image: Image) -> tuple[list[Section], dict[str, int]]:
    """Give the sections, and their numbers by name; none if they are damaged."""
    try:
        return _sections(image)
    except BadBinary:
        return [], {}


def _sections(image: Image) -> tuple[list[Section], dict[str, int]]:
    layout, window = image.layout, image.window
    raw = window.bytes(16, layout.sections.size, "the ELF header")
    ((offset, size, count, names_at),) = layout.sections.rows(raw)
    count = min(count, SECTIONS_AT_MOST)
    if not offset or not count or size != layout.section.size:
        return [], {}
    rows = list(layout.section.rows(window.bytes(offset, count * size, "the section headers")))
    found = [Section(*row[1:]) for row in rows]
    if names_at >= count:
        return found, {}
    strings = contents(image, found[names_at])
    numbers: dict[str, int] = {}
    for number, row in enumerate(rows):
        numbers.setdefault(strings.string(row[0], "the name of a section"), number)
    return found, numbers


def contents(image: Image, section: Section) -> Window:
    """The part of the file that a section is."""
    if section.type == SHT_NOBITS:
        return image.window.view(0, 0, "a section without bytes")
    return image.window.view(section.offset, section.size, "its section")


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


def build_id(image: Image) -> bytes | None:
    """The build ID: what tells two builds of a library apart."""
    header = Struct(image.layout.word.format[0] + "III")
    for kind, _, offset, _, size, _ in image.segments:
        if kind != PT_NOTE:
            continue
        notes = image.window.view(offset, size, "its notes")
        at = 0
        for _ in range(NOTES_AT_MOST):
            if at + header.size > size:
                break
            name_size, text_size, note = notes.unpack(header, at, "a note")
            at += header.size
            text_at = at + (name_size + 3 & ~3)
            if note == NT_GNU_BUILD_ID and notes.bytes(at, name_size, "a note") == b"GNU\0":
                return notes.bytes(text_at, min(text_size, BUILD_ID_AT_MOST), "the build ID")
            at = text_at + (text_size + 3 & ~3)
    return None
