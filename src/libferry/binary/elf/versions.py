"""Symbol versions: what a library has, and what it wants others to have.

They lie beside the symbols, in three tables. ``DT_VERSYM`` has one number for each
symbol. ``DT_VERDEF`` and ``DT_VERNEED`` are lists in which that number has a name: the
first for the library's own versions, the second for those of the libraries it needs.
The numbers are one sequence for both, so that a program's copy of a library's variable
is defined here, with a version that is needed from there.

The number's highest bit marks a version that only callers with its name still get. What
has the numbers 0 and 1 has no version: 0 is local to the file, 1 is the file itself, which
``DT_VERDEF`` names too, its "base" version.

Specification: Linux Standard Base, Core, chapter 10.7 "Symbol Versioning".
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from libferry.binary.elf.image import Image
from libferry.binary.elf.layout import DT_VERDEF, DT_VERNEED
from libferry.binary.window import Window

# LSB Core, 10.7.2 "Version Definition Section" and 10.7.3 "Version Requirement Section"
VERDEF = "HHHHIII"  # version, flags, index, count, hash, offset of name, offset of next
VERNEED = "HHIII"  # version, count, offset of the library's name, of its versions, of next
VERNAUX = "IHHII"  # hash, flags, index, offset of name, offset of next
VER_FLG_WEAK = 2
RECORD_AT_LEAST = 16  # bytes, of those that form lists

VERSION_HIDDEN = 0x8000
FIRST_NAMED_VERSION = 2


class NeededVersion(NamedTuple):
    """One version that a library must have, and the number that symbols give it."""

    number: int
    library: str
    version: str
    weak: bool


class _Steps:
    """A limit on how many records a table can have; overlapping ones could be endless."""

    def __init__(self, table: Window, what: str) -> None:
        self._table, self._what = table, what
        self._left = table.size // RECORD_AT_LEAST + 1

    def take(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise self._table.bad(f"{self._what} overlap")


def given(image: Image) -> dict[int, str]:
    """Give the library's own versions by number, without the base version."""
    names: dict[int, str] = {}
    if DT_VERDEF not in image.tags:
        return names
    what = "the version definitions"
    table = image.at(image.tags[DT_VERDEF], what)
    record, word = Struct(image.layout.order + VERDEF), image.layout.word
    steps = _Steps(table, what)
    at = 0
    while True:  # every step goes forward, and reads within the table
        steps.take()
        _, _, index, aux_count, _, aux, step = table.unpack(record, at, what)
        if aux_count and index >= FIRST_NAMED_VERSION:
            (name,) = table.unpack(word, at + aux, what)
            names[index] = image.string(name, "the name of a version")
        if not step:
            return names
        at += step


def needed(image: Image) -> list[NeededVersion]:
    """Give the versions that other libraries must have, in the file's order."""
    found: list[NeededVersion] = []
    if DT_VERNEED not in image.tags:
        return found
    what = "the version needs"
    table = image.at(image.tags[DT_VERNEED], what)
    need = Struct(image.layout.order + VERNEED)
    aux = Struct(image.layout.order + VERNAUX)
    steps = _Steps(table, what)
    at = 0
    while True:
        steps.take()
        _, count, name, aux_offset, step = table.unpack(need, at, what)
        library = image.string(name, "the name of a library with versions")
        aux_at = at + aux_offset
        for _ in range(count):
            steps.take()
            _, flags, index, name, aux_step = table.unpack(aux, aux_at, what)
            version = image.string(name, "the name of a version")
            weak = bool(flags & VER_FLG_WEAK)
            found.append(NeededVersion(index & ~VERSION_HIDDEN, library, version, weak))
            if not aux_step:
                break
            aux_at += aux_step
        if not step:
            return found
        at += step
