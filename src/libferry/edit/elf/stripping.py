"""Leave out what no loader needs: the full symbol table and debugging information.

All that is loaded stays byte for byte where it is. Behind it come again the sections that
are not loaded and are no debugging information (compilers' notes, ``.gnu_debuglink``), then
a new table of sections.
"""

from __future__ import annotations

from struct import Struct

from libferry.edit.elf.file import ElfFile

SHT_NULL, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_REL, SHT_NOBITS = 0, 2, 3, 4, 9, 8
SHT_SYMTAB_SHNDX, SHT_GROUP = 18, 17
SHF_ALLOC, SHF_INFO_LINK = 2, 0x40

# gABI, "Section Header" and the last fields of "ELF Header"
_SECTION = {32: "IIIIIIIIII", 64: "IIQQQQIIQQ"}
_SHOFF = {32: (32, "I", 46), 64: (40, "Q", 58)}  # place of e_shoff, its type, of e_shentsize
NAME, TYPE, FLAGS, OFFSET, SIZE, LINK, INFO, ALIGN = 0, 1, 2, 4, 5, 6, 7, 8


def strip(file: ElfFile) -> None:
    """Rewrite the file without them; a file without sections has nothing to leave out."""
    bits = file.layout.bits
    order = file.word.format[0]
    place, code, rest = _SHOFF[bits]
    record = Struct(order + _SECTION[bits])
    (table,) = file.numbers(Struct(order + code), place)
    _, count, names = file.numbers(Struct(order + "HHH"), rest)
    if not table or not 0 < names < count:
        return
    rows = [list(file.numbers(record, table + index * record.size)) for index in range(count)]
    called = [_name(file, rows[names], row) for row in rows]
    kept = [
        index for index in range(count) if index != names and _stays(rows[index], called[index])
    ]
    number = {index: new for new, index in enumerate([*kept, names])}

    end = max((load.offset + load.file_size for load in file.loads), default=0)
    out = bytearray(file.data[: max(end, file.headers_at + file.segment_size * len(file.segments))])
    strings = bytearray(b"\0")
    made = []
    for index in [*kept, names]:
        row = rows[index]
        start = len(strings)
        strings += called[index].encode("utf-8", "surrogateescape") + b"\0"
        new = [start if index else 0, *row[1:]]
        new[LINK] = number.get(row[LINK], 0)
        if row[FLAGS] & SHF_INFO_LINK or row[TYPE] in (SHT_RELA, SHT_REL):
            new[INFO] = number.get(row[INFO], 0)
        if not row[FLAGS] & SHF_ALLOC and row[TYPE] not in (SHT_NULL, SHT_NOBITS):
            contents = file.data[row[OFFSET] : row[OFFSET] + row[SIZE]]
            if index == names:
                contents = strings
            out += bytes(-len(out) % max(row[ALIGN], 1))
            new[OFFSET], new[SIZE] = len(out), len(contents)
            out += contents
        made.append(new)
    out += bytes(-len(out) % 8)
    Struct(order + code).pack_into(out, place, len(out))
    Struct(order + "HHH").pack_into(out, rest, record.size, len(made), len(made) - 1)
    for new in made:
        out += record.pack(*new)
    file.data[:] = out


def _name(file: ElfFile, strings: list[int], row: list[int]) -> str:
    start = strings[OFFSET] + row[NAME]
    end = file.data.find(0, start, strings[OFFSET] + strings[SIZE])
    return file.data[start:end].decode("utf-8", "surrogateescape") if end >= start else ""


def _stays(row: list[int], name: str) -> bool:
    if row[TYPE] == SHT_NULL or row[FLAGS] & SHF_ALLOC:
        return True
    if row[TYPE] in (SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_REL, SHT_SYMTAB_SHNDX, SHT_GROUP):
        return False
    return not name.startswith((".debug", ".zdebug", ".line", ".stab", ".gdb_index"))
