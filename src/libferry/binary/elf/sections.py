"""The linker's account of an ELF file, for what the loader's leaves out.

What a loader needs is found through the program headers, and ``image.py`` reads nothing
else. Debuggers want more: the names of local functions (``.symtab``) and call frame
information that is not loaded (``.debug_frame``); and people want to know which compiler
it was. All that is found by section headers only, may be missing in a sound library,
and in a damaged one is as good as missing.

Specification: gABI chapter 4, "Section Header"; ``.gnu_debuglink``: GDB's manual, "Debugging
Information in Separate Files".
"""

from __future__ import annotations

from typing import NamedTuple

from libferry.binary.elf.image import Image
from libferry.binary.window import Window, decode
from libferry.errors import BadBinary

# gABI, "Section Header": sh_type and sh_flags
SHT_SYMTAB, SHT_NOBITS, SHT_DYNSYM = 2, 8, 11
SHF_COMPRESSED = 0x800

COMMENT_AT_MOST = 1 << 14  # bytes
GO_SECTIONS = {".gopclntab", ".data.rel.ro.gopclntab", ".note.go.buildid"}
DEBUG_SECTIONS = (".debug_", ".zdebug_", ".stab")
SECTIONS_AT_MOST = 1024  # what is loaded has some forty


class Section(NamedTuple):
    """One section: where it is in the file, and where in memory (0: nowhere)."""

    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int


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


def named(image: Image, name: str) -> Section | None:
    """The first section of that name."""
    found, numbers = sections(image)
    return found[numbers[name]] if name in numbers else None


def compilers(image: Image) -> tuple[str, ...]:
    """What compilers and linkers wrote into ``.comment``, each once."""
    section = named(image, ".comment")
    if section is None:
        return ()
    region = contents(image, section)
    raw = region.bytes(0, min(region.size, COMMENT_AT_MOST), "what compilers wrote")
    return tuple(dict.fromkeys(decode(text) for text in raw.split(b"\0") if text))


def debug_link(image: Image) -> str | None:
    """The name of the file that has the debugging information, without a directory."""
    section = named(image, ".gnu_debuglink")
    return contents(image, section).string(0, "the debug link") if section else None


def is_stripped(image: Image) -> bool:
    """Whether there is neither debugging information nor a full symbol table."""
    found, numbers = sections(image)
    full = any(section.type == SHT_SYMTAB for section in found)
    return not full and not any(name.startswith(DEBUG_SECTIONS) for name in numbers)
