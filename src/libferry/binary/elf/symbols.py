"""The dynamic symbols of an ELF file: what it offers to others and wants from them.

A system has hundreds of thousands of these, and a resolver asks for all of them. So a
table is not read symbol by symbol but column by column: all names, all addresses, all
versions, each with a few calls that loop in C. What is chosen is chosen by columns of
bytes, too: a byte for each symbol, and ``bytes.translate`` to turn ``st_info`` into it.

GNU's linker makes a symbol of each version, ``ZLIB_1.2.0@@ZLIB_1.2.0``: an absolute one of
value 0, which is nobody's data. Those are left out.

Specification: gABI chapter 4, "Symbol Table"; for how many symbols there are, see
``hashes.py``, for their versions ``versions.py``.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import compress, repeat
from typing import Any, Literal, NamedTuple

from libferry.binary.addresses import AddressMap
from libferry.binary.elf import versions
from libferry.binary.elf.columns import numbers
from libferry.binary.elf.hashes import SYMBOLS_AT_MOST, symbol_count, symbol_range
from libferry.binary.elf.image import Image
from libferry.binary.elf.layout import (
    DT_SYMENT,
    DT_SYMTAB,
    DT_VERSYM,
    EM_MIPS,
    PF_X,
    SHN_ABS,
    SHN_UNDEF,
    STB_GLOBAL,
    STB_GNU_UNIQUE,
    STB_LOCAL,
    STB_WEAK,
    STT_COMMON,
    STT_FUNC,
    STT_GNU_IFUNC,
    STT_NOTYPE,
    STT_OBJECT,
    STT_TLS,
    STV_HIDDEN,
    STV_INTERNAL,
    STV_PROTECTED,
)
from libferry.binary.elf.relocations import bound_symbols
from libferry.binary.elf.versions import VERSION_HIDDEN
from libferry.binary.model import Export, ExportKind, Import, ImportKind

Binding = Literal["local", "global", "weak", "unique", "other"]
Visibility = Literal["default", "internal", "hidden", "protected"]

BINDINGS: dict[int, Binding] = {
    STB_LOCAL: "local",
    STB_GLOBAL: "global",
    STB_WEAK: "weak",
    STB_GNU_UNIQUE: "unique",
}
VISIBILITIES: dict[int, Visibility] = {
    0: "default",
    STV_INTERNAL: "internal",
    STV_HIDDEN: "hidden",
    STV_PROTECTED: "protected",
}

# A code of one byte for each kind; 0 is for what no loader binds to: sections, files, and
# local symbols. Whether an untyped one is code or data follows from where it lies.
_KINDS: tuple[Any, ...] = ("", "data", "function", "tls", "ifunc", "untyped")
_UNTYPED = _KINDS.index("untyped")
_KIND_OF_TYPE = {
    STT_NOTYPE: _UNTYPED,
    STT_OBJECT: 1,
    STT_FUNC: 2,
    STT_COMMON: 1,
    STT_TLS: 3,
    STT_GNU_IFUNC: 4,
}
_IMPORT_KINDS: tuple[ImportKind, ...] = (
    "unknown",
    "data",
    "function",
    "tls",
    "function",
    "unknown",
)
_BOUND = {STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE}
_NO, _YES = 0, 0xFF

# translations: st_info -> kind; st_other -> whether others see it; any byte -> whether not 0
_KIND = bytes(_KIND_OF_TYPE.get(i & 15, 0) if i >> 4 in _BOUND else 0 for i in range(256))
_VISIBLE = bytes(_NO if i & 3 in (STV_INTERNAL, STV_HIDDEN) else _YES for i in range(256))
_NOT_ZERO = bytes([_NO]) + bytes([_YES]) * 255


class _Places(NamedTuple):
    """Where the fields of a symbol are, as ``array`` sees them: (type code, number)."""

    size: int
    info: int
    other: int
    section: tuple[str, int]
    value: tuple[str, int]
    extent: tuple[str, int]


# gABI, "Symbol Table"
_PLACES = {
    32: _Places(16, 12, 13, ("H", 7), ("I", 1), ("I", 2)),
    64: _Places(24, 4, 5, ("H", 3), ("Q", 1), ("Q", 2)),
}
_NAME = ("I", 0)
_WIDTHS = {"H": 2, "I": 4, "Q": 8}


class Symbol(NamedTuple):
    """One dynamic symbol as it stands in the table.

    Attributes:
        name: the name.
        version: the version that it has, or that it must have elsewhere; or None.
        hidden: whether it is an old version, ``name@version``.
        kind: as ``Export.kind``, or "" for sections, files and local symbols.
        binding: ``global``, ``weak``, ``unique`` (one in the whole process, which also
            keeps its library from being unloaded), ``local`` or ``other``.
        visibility: ``protected`` is seen by others, but they cannot replace it.
        defined: whether it is here, not only needed from elsewhere.
        address: as the file counts addresses.
        size: in bytes.
    """

    name: str
    version: str | None
    hidden: bool
    kind: str
    binding: Binding
    visibility: Visibility
    defined: bool
    address: int
    size: int


class Definitions(NamedTuple):
    """What can be found in a file, as columns; see ``Export``."""

    names: Sequence[str]
    kinds: Sequence[ExportKind]
    versions: Sequence[str | None]
    addresses: Sequence[int]
    hidden: Sequence[bool]


class Reference(NamedTuple):
    """One symbol that the loader looks up elsewhere, and what happens if there is none.

    Attributes:
        name: the name.
        version: the version that it must have, or None.
        library: the needed library that shall have it, if it has a version.
        weak: whether it may be missing; it is then 0.
        lazy: whether it may be looked up when it is first called, unless the file or the
            user asks for all of it at once.
    """

    name: str
    version: str | None
    library: str | None
    weak: bool
    lazy: bool


class SymbolTable:
    """A part of the dynamic symbol table, as columns."""

    def __init__(self, image: Image, start: int, count: int) -> None:
        """Read ``count`` symbols from number ``start``."""
        self._image, self._start = image, start
        self._places = places = _PLACES[image.layout.bits]
        size = image.tags.get(DT_SYMENT, places.size)
        if size != places.size:
            raise image.window.bad(f"symbols have {size} bytes instead of {places.size}")
        what = "the dynamic symbol table"
        table = image.at(image.tags[DT_SYMTAB], what)
        self._raw = table.bytes(start * size, count * size, what)
        self.count = count
        self.infos = self._raw[places.info :: size]
        self.others = self._raw[places.other :: size]
        self.sections = self.column(places.section)

    def column(self, place: tuple[str, int]) -> array[int]:
        """One field of all symbols."""
        code, number = place
        step = self._places.size // _WIDTHS[code]
        return numbers(code, self._raw, self._image.layout.endian, number, step)

    def names(self) -> array[int]:
        """Where the names are in the string table."""
        return self.column(_NAME)

    def values(self) -> array[int]:
        """The addresses."""
        return self.column(self._places.value)

    def extents(self) -> array[int]:
        """The sizes."""
        return self.column(self._places.extent)

    def version_numbers(self) -> Sequence[int]:
        """The number of each symbol's version; see ``versions.py``."""
        image, count = self._image, self.count
        if DT_VERSYM not in image.tags:
            return (0,) * count
        what = "the symbol version table"
        raw = image.at(image.tags[DT_VERSYM], what).bytes(self._start * 2, count * 2, what)
        return numbers("H", raw, image.layout.endian)

    def kinds(self) -> bytes:
        """The code of each symbol's kind."""
        return self.infos.translate(_KIND)

    def defined(self) -> bytes:
        """Whether each symbol is in this file: ``_YES`` or ``_NO``."""
        size, at = self._places.size, self._places.section[1] * 2
        low, high = self._raw[at::size], self._raw[at + 1 :: size]
        either = int.from_bytes(low, "little") | int.from_bytes(high, "little")
        return either.to_bytes(self.count, "little").translate(_NOT_ZERO)

    def visible(self) -> bytes:
        """Whether others see each symbol: ``_YES`` or ``_NO``."""
        return self.others.translate(_VISIBLE)


def _all_of(*columns: bytes) -> bytes:
    """The bits that all columns have: one long number is quicker than many bytes."""
    chosen = -1
    for column in columns:
        chosen &= int.from_bytes(column, "little")
    return chosen.to_bytes(len(columns[0]), "little")


def definitions(image: Image) -> Definitions:
    """Read what can be found in the file, in its order."""
    if DT_SYMTAB not in image.tags:
        return Definitions((), (), (), (), ())
    start, count = symbol_range(image, SYMBOLS_AT_MOST)
    if count <= 0:
        return Definitions((), (), (), (), ())
    table = SymbolTable(image, start, count)
    chosen = _all_of(table.kinds(), table.visible(), table.defined())
    chosen = _without_markers(image, table, chosen)
    picked = _picker(chosen)
    codes = picked(chosen)
    addresses = picked(table.values())
    names = image.strings().strings(picked(table.names()), "the name of a symbol")
    kinds: list[ExportKind] = list(map(_KINDS.__getitem__, codes))
    if _UNTYPED in codes:
        _settle_untyped(image, kinds, addresses)
    if DT_VERSYM not in image.tags:
        return Definitions(names, kinds, [None] * len(names), addresses, [False] * len(names))
    given = picked(table.version_numbers())
    version_of = _version_names(image, given)
    hidden_of = {number: number >= VERSION_HIDDEN for number in version_of}
    return Definitions(
        names,
        kinds,
        list(map(version_of.__getitem__, given)),
        addresses,
        list(map(hidden_of.__getitem__, given)),
    )


def _picker(chosen: bytes) -> Callable[[Sequence[int]], Sequence[int]]:
    if _NO in chosen:
        return lambda column: list(compress(column, chosen))
    return lambda column: column


def _version_names(image: Image, given: Iterable[int]) -> dict[int, str | None]:
    """The name of each version number that occurs."""
    present = set(given)
    if not present or max(present) < versions.FIRST_NAMED_VERSION:
        return dict.fromkeys(present)
    names = versions.given(image)
    if any(number & ~VERSION_HIDDEN not in names for number in present):
        names |= {need.number: need.version for need in versions.needed(image)}
    return {number: names.get(number & ~VERSION_HIDDEN) for number in present}


def _settle_untyped(image: Image, kinds: list[ExportKind], addresses: Sequence[int]) -> None:
    executable = AddressMap((s.address, s.size, None) for s in image.loads if s.flags & PF_X)
    for number, kind in enumerate(kinds):
        if kind == _KINDS[_UNTYPED]:
            is_code = executable.find(addresses[number]) is not None
            kinds[number] = "function" if is_code else "data"


def _without_markers(image: Image, table: SymbolTable, chosen: bytes) -> bytes:
    """Leave out the linker's symbols for versions, and symbols without a name."""
    offsets = table.names()
    dropped = list(_positions(offsets, 0))
    absolute = list(_positions(table.sections, SHN_ABS))
    if absolute:
        values, given = table.values(), table.version_numbers()
        version_of = _version_names(image, given)
        for position in absolute:
            version = version_of[given[position]]
            name = image.string(offsets[position], "the name of a symbol")
            if name == version and not values[position]:
                dropped.append(position)
    if not dropped:
        return chosen
    kept = bytearray(chosen)
    for position in dropped:
        kept[position] = _NO
    return bytes(kept)


def _positions(column: array[int], value: int) -> Iterator[int]:
    if value.to_bytes(column.itemsize, sys.byteorder) not in column.tobytes():
        return  # which is what nearly all columns end with, fifty times as fast
    at = -1
    while True:
        try:
            at = column.index(value, at + 1)
        except ValueError:
            return
        yield at


_new_export: Callable[[Iterable[Any]], Export] = partial(tuple.__new__, Export)


def exports(image: Image) -> tuple[Export, ...]:
    """List the defined dynamic symbols."""
    names, kinds, version_names, addresses, hidden = definitions(image)
    nothing = repeat(None)
    rows = zip(names, kinds, version_names, addresses, nothing, hidden, nothing, strict=False)
    return tuple(map(_new_export, rows))


def _wanted(image: Image) -> Iterator[tuple[int, str, versions.NeededVersion | None, int, int]]:
    """Number, name, version, kind and ``st_info`` of each symbol needed from elsewhere."""
    count = symbol_count(image)
    if count <= 1:
        return
    table = SymbolTable(image, 0, count)
    kinds = table.kinds()
    chosen = [
        number
        for number, section in enumerate(table.sections)
        if section == SHN_UNDEF and kinds[number]
    ]
    offsets, given = table.names(), table.version_numbers()
    names = image.strings().strings([offsets[n] for n in chosen], "the name of a symbol")
    needs = {need.number: need for need in versions.needed(image)}
    for number, name in zip(chosen, names, strict=True):
        if name:
            need = needs.get(given[number] & ~VERSION_HIDDEN)
            yield number, name, need, kinds[number], table.infos[number]


def imports(image: Image) -> tuple[Import, ...]:
    """List the symbols needed from elsewhere."""
    return tuple(
        Import(
            name,
            _IMPORT_KINDS[kind],
            need.library if need else None,
            need.version if need else None,
            info >> 4 == STB_WEAK,
        )
        for _, name, need, kind, info in _wanted(image)
    )


def references(image: Image) -> tuple[Reference, ...]:
    """List the symbols that the loader looks up elsewhere, because a relocation says so."""
    now, later = bound_symbols(image)
    # On MIPS, symbols of the global offset table are looked up without a relocation.
    implicit = image.machine == EM_MIPS
    return tuple(
        Reference(
            name,
            need.version if need else None,
            need.library if need else None,
            info >> 4 == STB_WEAK,
            number in later,
        )
        for number, name, need, _, info in _wanted(image)
        if implicit or number in now or number in later
    )


def symbols(image: Image) -> tuple[Symbol, ...]:
    """List all dynamic symbols but the empty first one, in the file's order."""
    count = symbol_count(image)
    if count <= 1:
        return ()
    table = SymbolTable(image, 0, count)
    given = table.version_numbers()
    version_of = _version_names(image, given)
    names = image.strings().strings(table.names(), "the name of a symbol")
    rows = zip(
        names,
        given,
        table.infos,
        table.kinds(),
        table.others,
        table.sections,
        table.values(),
        table.extents(),
        strict=True,
    )
    found = [
        Symbol(
            name,
            version_of[number],
            number >= VERSION_HIDDEN,
            _KINDS[kind],
            BINDINGS.get(info >> 4, "other"),
            VISIBILITIES[other & 3],
            section != SHN_UNDEF,
            value,
            extent,
        )
        for name, number, info, kind, other, section, value, extent in rows
    ]
    return tuple(found[1:])
