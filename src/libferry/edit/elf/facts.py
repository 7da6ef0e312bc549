"""All that a loader makes of an ELF file, in a form that can be compared.

Places in tables and in the file do not count, addresses and contents do: patchelf moves the
tables that it makes longer, and nothing else may differ. A relocation is by the name of its
symbol, since renaming one sorts the table anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

from libferry.binary.elf.hashes import WIDE_HASH
from libferry.binary.elf.layout import (
    DT_GNU_HASH,
    DT_HASH,
    DT_JMPREL,
    DT_NEEDED,
    DT_PLTREL,
    DT_PLTRELSZ,
    DT_REL,
    DT_RELA,
    DT_RELASZ,
    DT_RELSZ,
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
    PT_GNU_STACK,
    PT_INTERP,
    PT_NOTE,
    PT_TLS,
    SHN_ABS,
    SHN_UNDEF,
    ProgramHeader,
)
from libferry.edit.elf.file import DT_VERNEEDNUM, NAMED_TAGS, ElfFile

DT_DEBUG, PT_PHDR = 21, 6

# what is compared otherwise: where tables are, and names
_PLACES = {
    DT_HASH, DT_GNU_HASH, DT_STRTAB, DT_STRSZ, DT_SYMTAB, DT_RELA, DT_REL, DT_JMPREL, DT_DEBUG,
    DT_VERSYM, DT_VERNEED, DT_VERNEEDNUM, DT_VERDEF,
    DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH,
}  # fmt: skip

Symbol = tuple[str, int, int, int, int, int, str]
"""Name, st_info, st_other, whether it has a section (or SHN_ABS), value, size, version."""


@dataclass
class Facts:
    """One file."""

    symbols: list[Symbol]
    unfindable: list[str]
    relocations: list[tuple[int, int, str, int]]
    needs: list[tuple[str, str, int]]
    tags: list[tuple[int, int]]
    names: list[tuple[int, str]]
    interpreter: bytes
    stack: list[int]
    segments: list[ProgramHeader]
    notes: list[bytes]
    memory: dict[tuple[int, int], bytes]
    tables: list[tuple[int, int]]


def facts(path: Path) -> Facts:
    """Read a file."""
    file = ElfFile(path)
    symbols = list(_symbols(file))
    dynamic = file.dynamic()
    return Facts(
        symbols=sorted(symbols),
        unfindable=list(_unfindable(file, symbols)),
        relocations=sorted(_relocations(file, symbols)),
        needs=sorted(
            (need.library, need.version, file.numbers(file.vernaux, need.at)[1])
            for need in file.needed_versions()
        ),
        tags=sorted((e.tag, e.value) for e in dynamic if e.tag not in _PLACES),
        names=[(e.tag, file.string(e.value)) for e in dynamic if e.tag in NAMED_TAGS],
        interpreter=b"".join(_contents(file, PT_INTERP)).split(b"\0")[0],
        stack=[row.flags for row in file.segments if row.type == PT_GNU_STACK],
        segments=[row for row in file.segments if row.type == PT_TLS],
        notes=sorted(set(_notes(file))),
        memory={(row[3], row[1]): bytes(file.data[row[2] : row[2] + row[4]]) for row in file.loads},
        tables=list(_tables(file, symbols)),
    )


def _symbols(file: ElfFile) -> Iterator[Symbol]:
    versions_at = file.version_numbers_at()
    names = {need.index: f"{need.library}:{need.version}" for need in file.needed_versions()}
    record = file.layout.sized  # name info shndx value size
    for index, (at, (name, info, other, section, value)) in enumerate(file.symbols()):
        number = 1
        if versions_at is not None:
            number = file.numbers(file.half, versions_at + 2 * index)[0]
        (sized,) = record.rows(bytes(file.data[at : at + record.size]))
        text = file.string(name) if name else ""
        if section == SHN_UNDEF:
            number = max(number & 0x7FFF, 1)  # 0 and 1 are "any" alike
        version = names.get(number & 0x7FFF, str(number))
        # the sections' numbers change with their table; all that counts is whether there is one
        kind = section if section in (0, SHN_ABS) else 1
        yield text, info, other, kind, value, sized[4], version


def _relocations(file: ElfFile, symbols: list[Symbol]) -> Iterator[tuple[int, int, str, int]]:
    wide, order = file.layout.bits == 64, file.word.format[0]
    shift = 32 if wide else 8
    tables = [(DT_RELA, DT_RELASZ, True), (DT_REL, DT_RELSZ, False)]
    tables.append((DT_JMPREL, DT_PLTRELSZ, file.tags.get(DT_PLTREL) == DT_RELA))
    for tag, size_tag, addends in tables:
        if tag not in file.tags:
            continue
        struct = Struct(order + ("QQ" if wide else "II") + ("qi"[not wide] if addends else ""))
        size = file.tags.get(size_tag, 0)
        at = file.offset(file.tags[tag], max(size, 1))
        for offset, info, *addend in struct.iter_unpack(
            bytes(file.data[at : at + size - size % struct.size])
        ):
            number = info >> shift
            name = "@".join((symbols[number][0], symbols[number][6])) if number else ""
            kind = info & ((1 << shift) - 1)
            yield offset, kind, name, addend[0] if addend else 0


def _unfindable(file: ElfFile, symbols: list[Symbol]) -> Iterator[str]:
    """The exports that a loader would not find through the GNU hash table."""
    if DT_GNU_HASH not in file.tags:
        return
    at = file.offset(file.tags[DT_GNU_HASH], 16)
    buckets, first, blooms, shift = file.numbers(Struct(file.word.format[0] + "IIII"), at)
    bits = file.layout.bits
    bloom = Struct(file.word.format[0] + ("Q" if bits == 64 else "I"))
    buckets_at = at + 16 + blooms * bloom.size
    chains_at = buckets_at + 4 * buckets
    for number, (name, info, _, section, *_rest) in enumerate(symbols):
        if not section or info >> 4 == 0:
            continue
        value = gnu_hash(name)
        mask = 1 << value % bits | 1 << (value >> shift) % bits
        (word,) = file.numbers(bloom, at + 16 + value // bits % blooms * bloom.size)
        (index,) = file.numbers(file.word, buckets_at + value % buckets * 4)
        found = word & mask == mask and first <= index <= number
        while found and index < number:
            (chain,) = file.numbers(file.word, chains_at + 4 * (index - first))
            found = not chain & 1
            index += 1
        if found:
            (chain,) = file.numbers(file.word, chains_at + 4 * (number - first))
            found = chain | 1 == value | 1
        if not found:
            yield name


def gnu_hash(name: str) -> int:
    """The hash of DT_GNU_HASH (binutils bfd/elf.c, bfd_elf_gnu_hash)."""
    value = 5381
    for byte in name.encode("utf-8", "surrogateescape"):
        value = value * 33 + byte & 0xFFFFFFFF
    return value


def _contents(file: ElfFile, wanted: int) -> list[bytes]:
    rows = [row for row in file.segments if row.type == wanted]
    return [bytes(file.data[row.offset : row.offset + row.file_size]) for row in rows]


def _notes(file: ElfFile) -> Iterator[bytes]:
    """Each note by itself: patchelf may give them other segments."""
    for contents in _contents(file, PT_NOTE):
        at = 0
        while at + 12 <= len(contents):
            name, text, _ = Struct(file.word.format[0] + "III").unpack_from(contents, at)
            size = 12 + (name + 3 & ~3) + (text + 3 & ~3)
            yield contents[at : at + size]
            at += size


def _tables(file: ElfFile, symbols: list[Symbol]) -> Iterator[tuple[int, int]]:
    """(address, size) of what an edit may move or write to."""
    for row in file.segments:
        if row.type in (PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_PHDR):
            yield row.address, row.file_size
    headers_end = file.headers_at + len(file.segments) * file.segment_size
    for row in file.loads:
        if row.offset < headers_end:
            yield row.address, min(headers_end - row.offset, row.file_size)
    tags, bits = file.tags, file.layout.bits
    yield tags.get(DT_STRTAB, 0), tags.get(DT_STRSZ, 0)
    yield tags.get(DT_SYMTAB, 0), len(symbols) * file.layout.symbol.size
    yield tags.get(DT_VERSYM, 0), 2 * len(symbols) if DT_VERSYM in tags else 0
    for tag, size_tag in ((DT_RELA, DT_RELASZ), (DT_REL, DT_RELSZ), (DT_JMPREL, DT_PLTRELSZ)):
        yield tags.get(tag, 0), tags.get(size_tag, 0)
    places = [at for at, _ in file.version_groups()] + [n.at for n in file.needed_versions()]
    if places:
        start = file.offset(tags[DT_VERNEED])
        yield tags[DT_VERNEED], max(places) + 16 - start
    if DT_VERDEF in tags:
        ends = [at for at, _ in file.version_names()]
        start = file.offset(tags[DT_VERDEF])
        yield (
            tags[DT_VERDEF],
            max((at for at in ends if at >= start), default=start) + 8 - start,
        )
    header = Struct(file.word.format[0] + "IIII")
    if DT_GNU_HASH in tags:
        buckets, _, blooms, _ = file.numbers(header, file.offset(tags[DT_GNU_HASH], 16))
        yield (
            tags[DT_GNU_HASH],
            16 + blooms * bits // 8 + 4 * (buckets + file.count - file.first_hashed),
        )
    if DT_HASH in tags:
        word = 8 if (file.machine, bits) in WIDE_HASH else 4
        (buckets,) = file.numbers(file.word, file.offset(tags[DT_HASH], 8))
        yield tags[DT_HASH], word * (2 + buckets + len(symbols))
