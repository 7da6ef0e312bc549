"""The dynamic symbols of an ELF file: what it offers to others and wants from them.

A system has hundreds of thousands of these, and a resolver asks for all that are offered.
The loop over those is in C (native/extension/exports.c); which bytes it reads, and what
kinds and versions mean, is here. Of the others there are fewer: their table is read column
by column, each with a few calls that loop in C.

GNU's linker makes a symbol of each version, ``ZLIB_1.2.0@@ZLIB_1.2.0``: an absolute one of
value 0, which is nobody's data. Those are left out.

Specification: gABI chapter 4, "Symbol Table"; for how many symbols there are, see
``hashes.py``, for their versions ``versions.py``.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from typing import Any, Literal, NamedTuple

from libferry._core import elf_exports
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
from libferry.binary.model import Export, Import, ImportKind

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

# translation: st_info -> kind
_KIND = bytes(_KIND_OF_TYPE.get(i & 15, 0) if i >> 4 in _BOUND else 0 for i in range(256))
# the same for what is offered, with None for what no loader binds to
_EXPORT_KINDS = tuple(_KINDS[kind] or None for kind in _KIND)


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


class _VersionNames(dict[int, "str | None"]):
    """The name of each number in the version table; the names are read when one is needed."""

    def __init__(self, image: Image) -> None:
        super().__init__(dict.fromkeys(range(versions.FIRST_NAMED_VERSION)))
        self._image = image

    @cached_property
    def _given(self) -> dict[int, str]:
        return versions.given(self._image)

    @cached_property
    def _needed(self) -> dict[int, str]:
        return {need.number: need.version for need in versions.needed(self._image)}

    def __missing__(self, number: int) -> str | None:
        index = number & ~VERSION_HIDDEN
        self[number] = found = self._given.get(index) or self._needed.get(index)
        return found


def _table(image: Image, start: int, count: int) -> bytes:
    """Read ``count`` symbols from number ``start``."""
    places = _PLACES[image.layout.bits]
    size = image.tags.get(DT_SYMENT, places.size)
    if size != places.size:
        raise image.window.bad(f"symbols have {size} bytes instead of {places.size}")
    what = "the dynamic symbol table"
    return image.at(image.tags[DT_SYMTAB], what).bytes(start * size, count * size, what)


def _version_table(image: Image, start: int, count: int) -> bytes:
    """The numbers of their versions, 2 bytes each; nothing if the file has no versions."""
    if DT_VERSYM not in image.tags:
        return b""
    what = "the symbol version table"
    return image.at(image.tags[DT_VERSYM], what).bytes(start * 2, count * 2, what)


class SymbolTable:
    """The dynamic symbol table, as columns."""

    def __init__(self, image: Image, count: int) -> None:
        """Read ``count`` symbols."""
        self._image = image
        self._places = places = _PLACES[image.layout.bits]
        self._raw = _table(image, 0, count)
        self.count = count
        self.infos = self._raw[places.info :: places.size]
        self.others = self._raw[places.other :: places.size]
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
        raw = _version_table(self._image, 0, self.count)
        return numbers("H", raw, self._image.layout.endian) if raw else (0,) * self.count

    def kinds(self) -> bytes:
        """The code of each symbol's kind."""
        return self.infos.translate(_KIND)


def exports(image: Image) -> tuple[Export, ...]:
    """List the defined dynamic symbols that others see."""
    if DT_SYMTAB not in image.tags:
        return ()
    start, count = symbol_range(image, SYMBOLS_AT_MOST)
    if count <= 0:
        return ()
    table = _table(image, start, count)
    strings, what = image.strings(), "the name of a symbol"

    @cache  # few files have symbols without a type
    def executable() -> AddressMap[None]:
        return AddressMap((s.address, s.size, None) for s in image.loads if s.flags & PF_X)

    return elf_exports(
        type=Export,
        kinds=_EXPORT_KINDS,
        symbols=table,
        wide=image.layout.bits == 64,
        swapped=image.layout.endian != sys.byteorder,
        strings=strings.if_worth_it(count, "the dynamic string table"),
        versions=_version_table(image, start, count),
        version_of=_VersionNames(image),
        name_at=lambda offset: strings.string(offset, what),
        charge=strings.charge,
        is_code=lambda address: executable().find(address) is not None,
    )


def _wanted(image: Image) -> Iterator[tuple[int, str, versions.NeededVersion | None, int, int]]:
    """Number, name, version, kind and ``st_info`` of each symbol needed from elsewhere."""
    count = symbol_count(image)
    if count <= 1:
        return
    table = SymbolTable(image, count)
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
    table = SymbolTable(image, count)
    given = table.version_numbers()
    version_of = _VersionNames(image)
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
