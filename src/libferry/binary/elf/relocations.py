"""Relocations: what the loader fills in once it knows where everything lies.

There are up to four tables. ``DT_REL`` and ``DT_RELA`` differ in where the addend is: at
the place itself, or in the entry. ``DT_JMPREL`` has the functions that may be bound when
they are first called; some linkers count it into the table before, which must not count
it twice. ``DT_RELR`` is the newest: only the places of what moves with the library, packed
into bits, an address followed by maps of the 31 or 63 words behind it.

MIPS of 64 bits packs three types into one entry, and in little-endian files its fields lie
in another order than everybody's. SPARC of 64 bits keeps data above the type's 8 bits.

Specification: gABI chapter 4, "Relocation"; DT_RELR there, since 2022.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from libferry.binary.elf.columns import numbers
from libferry.binary.elf.image import Image
from libferry.binary.elf.layout import (
    DT_JMPREL,
    DT_PLTREL,
    DT_PLTRELSZ,
    DT_REL,
    DT_RELA,
    DT_RELASZ,
    DT_RELR,
    DT_RELRSZ,
    DT_RELSZ,
    EM_MIPS,
)
from libferry.binary.elf.relocation_types import SPARCS, TYPES
from libferry.binary.window import Window


class Relocation(NamedTuple):
    """One entry.

    Attributes:
        address: what is changed, as the file counts addresses.
        type: such as ``R_X86_64_GLOB_DAT``; one that we have no name for is its number.
        symbol: its number in the dynamic symbol table, or 0.
        addend: what is added; None if that is at ``address`` itself.
        lazy: whether it is in the table of functions that may be bound later.
    """

    address: int
    type: str
    symbol: int
    addend: int | None
    lazy: bool


class _Table(NamedTuple):
    """One table as it lies in the file: ``raw`` is a whole number of entries."""

    raw: bytes
    with_addends: bool
    lazy: bool


def relocations(image: Image) -> Iterator[Relocation]:
    """Give all entries but those of DT_RELR, one after the other."""
    bits, order = image.layout.bits, image.layout.order
    for table in _tables(image):
        letters = ("IIi" if bits == 32 else "QQq")[: 2 + table.with_addends]
        for address, info, *addend in Struct(order + letters).iter_unpack(table.raw):
            symbol, number = _split(image, info)
            name = type_name(image.machine, number)
            yield Relocation(address, name, symbol, addend[0] if addend else None, table.lazy)


def counts(image: Image) -> dict[str, int]:
    """Count the entries of each type, DT_RELR's among them as ``RELR``."""
    totals: Counter[int] = Counter()
    for table in _tables(image):
        infos = _infos(image, table)
        for info, count in Counter(infos).items():
            totals[_split(image, info)[1]] += count
    found = {type_name(image.machine, number): count for number, count in totals.most_common()}
    relative = relr_count(image)
    return {**found, "RELR": relative} if relative else found


def relr_count(image: Image) -> int:
    """Count the places that DT_RELR stands for."""
    if DT_RELR not in image.tags:
        return 0
    what = "the packed relative relocations"
    size = image.tags.get(DT_RELRSZ, 0)
    raw = image.at(image.tags[DT_RELR], what).bytes(0, size - size % (image.layout.bits // 8), what)
    # an address is even and one place; a map is odd and one for each other bit
    return sum(
        word.bit_count() - 1 if word & 1 else 1
        for word in numbers("I" if image.layout.bits == 32 else "Q", raw, image.layout.endian)
    )


def bound_symbols(image: Image) -> tuple[set[int], set[int]]:
    """Give the numbers of the symbols looked up at once, and of those that may be later."""
    now: set[int] = set()
    later: set[int] = set()
    for table in _tables(image):
        found = {_split(image, info)[0] for info in set(_infos(image, table))}
        (later if table.lazy else now).update(found)
    now.discard(0)
    later.discard(0)
    return now, later - now


def highest_symbol(image: Image) -> int:
    """Give the highest number of a symbol that a relocation is about, or 0."""
    return max((max(found, default=0) for found in bound_symbols(image)), default=0)


def type_name(machine: int, number: int) -> str:
    """Give the specification's name of a type."""
    return TYPES.get(machine, {}).get(number) or f"{number:#x}"


def _tables(image: Image) -> Iterator[_Table]:
    tags = image.tags
    lazy_at, lazy_size = tags.get(DT_JMPREL), tags.get(DT_PLTRELSZ, 0)
    with_addends = tags.get(DT_PLTREL, DT_RELA) == DT_RELA
    if lazy_at is not None and lazy_size:
        yield _table(image, lazy_at, lazy_size, with_addends, lazy=True)
    for tag, size_tag in ((DT_REL, DT_RELSZ), (DT_RELA, DT_RELASZ)):
        start, size = tags.get(tag), tags.get(size_tag, 0)
        if start is None or not size:
            continue
        if lazy_at is not None and start <= lazy_at < start + size:
            # The same kind of entry, or it would not be in this table: leave it out here.
            if lazy_at + lazy_size < start + size:
                behind = lazy_at + lazy_size
                yield _table(image, behind, start + size - behind, tag == DT_RELA, lazy=False)
            size = lazy_at - start
        if size:
            yield _table(image, start, size, tag == DT_RELA, lazy=False)


def _table(image: Image, address: int, size: int, with_addends: bool, *, lazy: bool) -> _Table:
    what = "the relocations"
    entry = image.layout.bits // 8 * (2 + with_addends)
    window: Window = image.at(address, what)
    return _Table(window.bytes(0, size - size % entry, what), with_addends, lazy)


def _infos(image: Image, table: _Table) -> array[int]:
    code = "I" if image.layout.bits == 32 else "Q"
    return numbers(code, table.raw, image.layout.endian, 1, 2 + table.with_addends)


def _split(image: Image, info: int) -> tuple[int, int]:
    """The number of the symbol and of the type in ``r_info``."""
    if image.layout.bits == 32:
        return info >> 8, info & 0xFF
    if image.machine == EM_MIPS:
        little = image.layout.endian == "little"
        return (info & 0xFFFFFFFF, info >> 56) if little else (info >> 32, info & 0xFF)
    return info >> 32, info & (0xFF if image.machine in SPARCS else 0xFFFFFFFF)
