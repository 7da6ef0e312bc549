"""An ELF file in memory, to be changed byte by byte.

Nothing moves: there are only places, found as the loader finds them, and new bytes for
them. What was touched is remembered, so that the comparison afterwards can insist that
nothing else differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from libferry.binary.elf.hashes import SYMBOLS_AT_MOST, symbol_count, symbol_range
from libferry.binary.elf.image import Image
from libferry.binary.elf.layout import (
    DT_AUDIT,
    DT_AUXILIARY,
    DT_DEPAUDIT,
    DT_FILTER,
    DT_NEEDED,
    DT_NULL,
    DT_RPATH,
    DT_RUNPATH,
    DT_SONAME,
    DT_STRSZ,
    DT_STRTAB,
    DT_SYMTAB,
    DT_VERDEF,
    DT_VERNEED,
    DT_VERSYM,
    PT_DYNAMIC,
)
from libferry.binary.opening import open_window
from libferry.errors import BadBinary

# gABI chapter 5, "Dynamic Section": the entries whose value is a name; and GNU's
DT_CONFIG, DT_VERDEFNUM, DT_VERNEEDNUM = 0x6FFFFEFA, 0x6FFFFFFD, 0x6FFFFFFF
NAMED_TAGS = {
    *(DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH),
    *(DT_CONFIG, DT_DEPAUDIT, DT_AUDIT, DT_AUXILIARY, DT_FILTER),
}

# gABI chapters 4 and 5: where st_info and st_other are in a symbol, p_flags in a header
_SYMBOL_INFO = {32: 12, 64: 4}
_SEGMENT_FLAGS = {32: 24, 64: 4}
# LSB Core, 10.7: version, count, file, aux, next; and hash, flags, other, name, next
_VERNEED, _VERNAUX = "HHIII", "IHHII"
_VERDEF = "HHHHIII"  # version, flags, index, count, hash, aux, next

_STEPS_AT_MOST = 1 << 16


class Dynamic(NamedTuple):
    """One entry of the dynamic section, and where it is in the file."""

    at: int
    tag: int
    value: int


@dataclass(frozen=True)
class NeededVersion:
    """One ``vernaux``; ``at`` is its place, ``before`` where the offset that led to it is."""

    at: int
    group: int  # the place of its verneed
    library: str
    version: str
    index: int


class ElfFile:
    """The bytes of a file, and where the loader's tables are in them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = bytearray(path.read_bytes())
        self.touched: list[tuple[int, int]] = []
        self.reread()

    def reread(self) -> None:
        """Find everything again in what is on the disk."""
        with open_window(self.path) as window:
            image = Image(window)
            self.first_hashed, _ = symbol_range(image, SYMBOLS_AT_MOST)
            self.count = symbol_count(image)
        self.layout, self.machine = image.layout, image.machine
        order = image.layout.order
        self.pair = Struct(order + ("QQ" if image.layout.bits == 64 else "II"))
        self.word, self.half = image.layout.word, image.layout.half
        self.verneed, self.vernaux = Struct(order + _VERNEED), Struct(order + _VERNAUX)
        self.verdef = Struct(order + _VERDEF)
        self.loads = image.loads
        self.tags = image.tags
        header = next(
            image.layout.header.rows(bytes(self.data[16 : 16 + image.layout.header.size]))
        )
        self.headers_at, self.segment_size = header[3], image.layout.segment.size
        self.segments = image.segments

    def save(self) -> None:
        """Write the bytes back."""
        self.path.write_bytes(self.data)

    def bad(self, happened: str) -> BadBinary:
        """The error for what is wrong in the file."""
        return BadBinary(f"change {self.path.name}", happened, hint="build the library again")

    # ---- places ----

    def offset(self, address: int, size: int = 1) -> int:
        """Where in the file an address of memory is."""
        for load in self.loads:
            if load.address <= address and address + size <= load.address + load.file_size:
                return load.offset + address - load.address
        raise self.bad(f"address {address:#x} is in no segment of the file")

    def put(self, at: int, new: bytes) -> None:
        """Overwrite bytes."""
        if at < 0 or at + len(new) > len(self.data):
            raise self.bad(f"offset {at:#x} is beyond its end")
        self.touched.append((at, at + len(new)))
        self.data[at : at + len(new)] = new

    def numbers(self, struct: Struct, at: int) -> tuple[int, ...]:
        """Read one C struct."""
        if at < 0 or at + struct.size > len(self.data):
            raise self.bad(f"a table at offset {at:#x} is cut off")
        return struct.unpack_from(self.data, at)

    # ---- strings ----

    @property
    def strings_at(self) -> int:
        """Where the dynamic string table is."""
        if DT_STRTAB not in self.tags:
            raise self.bad("it has no dynamic section: it is linked statically")
        return self.offset(self.tags[DT_STRTAB])

    def raw_string(self, at: int) -> bytes:
        """The string at an offset of the dynamic string table."""
        size = self.tags.get(DT_STRSZ, 0)
        start = self.strings_at + at
        end = self.data.find(0, start, self.strings_at + size)
        if at >= size or end < 0:
            raise self.bad(f"a name at {at:#x} is beyond the string table")
        return bytes(self.data[start:end])

    def string(self, at: int) -> str:
        """The same as text."""
        return self.raw_string(at).decode("utf-8", "surrogateescape")

    # ---- the dynamic section ----

    def dynamic(self) -> list[Dynamic]:
        """Its entries, without the end."""
        for segment in reversed(self.segments):
            if segment.type == PT_DYNAMIC:
                at = self.offset(segment.address)
                found: list[Dynamic] = []
                last = at + segment.file_size - self.pair.size
                for place in range(at, last + 1, self.pair.size):
                    tag, value = self.numbers(self.pair, place)
                    if tag == DT_NULL:
                        return found
                    found.append(Dynamic(place, tag, value))
                raise self.bad("its dynamic section has no end")
        raise self.bad("it has no dynamic section: it is linked statically")

    def set_entry(self, entry: Dynamic, tag: int, value: int) -> None:
        """Give an entry another tag or value."""
        self.put(entry.at, self.pair.pack(tag, value))

    def remove_entry(self, entry: Dynamic) -> None:
        """Leave an entry out: the others move up, and the end comes one earlier."""
        behind = [other for other in self.dynamic() if other.at > entry.at]
        for index, other in enumerate(behind):
            self.put(entry.at + index * self.pair.size, self.pair.pack(other.tag, other.value))
        self.put(entry.at + len(behind) * self.pair.size, self.pair.pack(DT_NULL, 0))
        self.tags = {one.tag: one.value for one in self.dynamic()}

    # ---- symbols ----

    def symbols(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """(place, (name, info, other, section, value)) of all symbols, the first included."""
        if DT_SYMTAB not in self.tags:
            return
        record = self.layout.symbol
        at = self.offset(self.tags[DT_SYMTAB], self.count * record.size)
        raw = bytes(self.data[at : at + self.count * record.size])
        for index, row in enumerate(record.rows(raw)):
            yield at + index * record.size, row

    @property
    def info_offset(self) -> int:
        """Where ``st_info`` is in a symbol; ``st_other`` follows it."""
        return _SYMBOL_INFO[self.layout.bits]

    def version_numbers_at(self) -> int | None:
        """Where the version number of the first symbol is, or None if there are none."""
        return self.offset(self.tags[DT_VERSYM]) if DT_VERSYM in self.tags else None

    # ---- versions ----

    def needed_versions(self) -> list[NeededVersion]:
        """All versions that are asked for."""
        found: list[NeededVersion] = []
        for group, row in self.version_groups():
            library, at = self.string(row[2]), group + row[3]
            for _ in range(min(row[1], _STEPS_AT_MOST)):
                _, _, index, name, step = self.numbers(self.vernaux, at)
                found.append(NeededVersion(at, group, library, self.string(name), index & 0x7FFF))
                at += step
        return found

    def version_groups(self) -> list[tuple[int, tuple[int, ...]]]:
        """(place, verneed) of each library of which versions are asked."""
        found: list[tuple[int, tuple[int, ...]]] = []
        if DT_VERNEED in self.tags:
            at = self.offset(self.tags[DT_VERNEED])
            for _ in range(min(self.tags.get(DT_VERNEEDNUM, 0), _STEPS_AT_MOST)):
                row = self.numbers(self.verneed, at)
                found.append((at, row))
                if not row[4]:
                    break
                at += row[4]
        return found

    def version_names(self) -> Iterator[tuple[int, int]]:
        """(place of the offset, offset) of every name in the version tables."""
        for group, row in self.version_groups():
            yield group + 4, row[2]
        for need in self.needed_versions():
            yield need.at + 8, self.numbers(self.vernaux, need.at)[3]
        if DT_VERDEF in self.tags:
            at = self.offset(self.tags[DT_VERDEF])
            for _ in range(min(self.tags.get(DT_VERDEFNUM, 0), _STEPS_AT_MOST)):
                row = self.numbers(self.verdef, at)
                place = at + row[5]
                for _ in range(row[3]):
                    name, step = self.numbers(Struct(self.word.format + "I"), place)
                    yield place, name
                    place += step
                at += row[6]

    # ---- segments ----

    def segment_headers(self) -> Iterator[tuple[int, int, int]]:
        """(kind, flags, place of the flags) of all program headers."""
        for index, segment in enumerate(self.segments):
            at = self.headers_at + index * self.segment_size + _SEGMENT_FLAGS[self.layout.bits]
            yield segment.type, segment.flags, at
