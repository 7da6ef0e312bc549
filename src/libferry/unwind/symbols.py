"""Which function an address of a file is in.

A symbol table is in no order, and says of one address many things: ``memcpy`` and
``__memcpy_avx_unaligned``, a weak and a strong name, an old version of one. Of those we take
the one that a debugger would: global before weak before local. An address behind a
function's end is in no function, even if the next symbol is far away, since static
functions of a stripped library have no symbol at all. Functions written in assembly often
have size 0; such a one goes up to the next.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from libferry.binary import pe
from libferry.binary.elf import Image
from libferry.binary.elf.functions import functions
from libferry.binary.pe.exports import exports
from libferry.binary.window import Window
from libferry.errors import FerryError
from libferry.unwind.limits import Budget, NotUnwindable

# gABI, "Symbol Table": STB_GLOBAL, STB_WEAK, and STB_LOCAL; GNU's STB_GNU_UNIQUE is global
_RANKS = {1: 2, 10: 2, 2: 1}
ENCLOSING_AT_MOST = 16  # symbols that begin before, of which one may still cover an address


class Symbol(NamedTuple):
    """A function of a file: where it begins, and its name."""

    start: int
    name: str


class _Row(NamedTuple):
    start: int
    rank: int
    size: int
    name: int


class SymbolTable:
    """The functions of one file, by address."""

    def __init__(self, rows: Iterable[_Row], strings: Window | None, names: list[str]) -> None:
        self._rows = sorted(rows)
        self._starts = [row.start for row in self._rows]
        self._strings = strings
        self._names = names

    def find(self, address: int) -> Symbol | None:
        """The function that an address is in."""
        last = bisect_right(self._starts, address) - 1
        for index in range(last, max(last - ENCLOSING_AT_MOST, -1), -1):
            row = self._rows[index]
            if address < row.start + row.size or (not row.size and row.start == self._starts[last]):
                return Symbol(row.start, self._name(row.name))
        return None

    def _name(self, number: int) -> str:
        if self._strings is None:
            return self._names[number]
        try:
            return self._strings.string(number, "the name of a symbol")
        except FerryError:
            return ""


def of_elf(image: Image, code_mask: int, budget: Budget) -> SymbolTable:
    """The functions of an ELF file; none if its tables are damaged."""
    try:
        table = functions(image)
        if table is not None:
            budget.spend(table.read)
            rows = [
                _Row(address & ~code_mask, _RANKS.get(binding, 0), size, name)
                for name, binding, address, size in table.rows
            ]
            return SymbolTable(rows, table.strings, [])
    except (FerryError, NotUnwindable):
        pass
    return SymbolTable([], None, [])


def of_pe(window: Window) -> SymbolTable:
    """The exported functions of a PE file, which says where they begin and not where they end.

    What begins between two exports, such as a static function, is in x64's table for
    exceptions. It gets a row without a name, so that it does not pass for the export before.
    """
    try:
        image = pe.Image(window)
        found = [export for export in exports(window) if export.kind == "function"]
        others = set(pe.function_starts(image)) - {export.address for export in found}
    except FerryError:
        found, others = [], set()
    names = [export.name for export in found]
    rows = [_Row(export.address, 1, 0, number) for number, export in enumerate(found)]
    rows += [_Row(start, 0, 0, len(names)) for start in others]
    return SymbolTable(rows, None, [*names, ""])
