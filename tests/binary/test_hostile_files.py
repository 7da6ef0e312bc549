"""Small files made to cost much: each must be refused, or read, at once.

The ELF files here are written out as the gABI has them: a header, two program
headers that cover all of the file, the dynamic section, and what it points to.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pefile  # type: ignore[import-untyped]
import pytest

from libferry.binary import read
from libferry.binary.describe import as_dict
from libferry.errors import BadBinary

NEEDED, HASH, STRTAB, SYMTAB, STRSZ, SONAME = 1, 4, 5, 6, 10, 14
GNU_HASH, VERSYM = 0x6FFFFEF5, 0x6FFFFFF0
VERDEF, VERNEED = 0x6FFFFFFC, 0x6FFFFFFE

DATA = 0x1000
"""Where the data of ``elf()`` begins, in the file and in memory."""


def elf(tags: list[tuple[int, int]], data: bytes, *, terminated: bool = True) -> bytes:
    """Make a 64-bit library with this dynamic section, and ``data`` at ``DATA``."""
    end = [(0, 0)] if terminated else []
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in [*tags, *end])
    size = DATA + len(data)
    at = 64 + 2 * 56
    header = b"\x7fELF\2\1\1".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    header += struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, size, size, 0x1000)
    header += struct.pack("<IIQQQQQQ", 2, 4, at, at, at, len(dynamic), len(dynamic), 8)
    return (header + dynamic).ljust(DATA, b"\0") + data


def symbol(name: int) -> bytes:
    return struct.pack("<IBBHQQ", name, 0x12, 0, 1, DATA, 0)  # a global function


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    """A generous limit: honest files of this size take some milliseconds."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 10


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "hostile.so"


def refused(path: Path, raw: bytes, message: str) -> None:
    path.write_bytes(raw)
    with pytest.raises(BadBinary, match=message) as caught:
        as_dict(read(path))
    assert caught.value.hint


def test_the_builder_itself_makes_a_sound_library(file: Path) -> None:
    hash_table = struct.pack("<IIIII", 1, 2, 1, 0, 0)
    strings = b"\0hello\0lib.so\0"
    data = hash_table + strings + bytes(24) + symbol(1)
    tags = [(HASH, DATA), (STRTAB, DATA + 20), (STRSZ, len(strings)), (SONAME, 7)]
    file.write_bytes(elf([*tags, (SYMTAB, DATA + 20 + len(strings))], data))
    binary = read(file)
    assert (binary.soname, [export.name for export in binary.exports]) == ("lib.so", ["hello"])


def test_four_thousand_million_symbols(file: Path) -> None:
    raw = elf([(HASH, DATA), (SYMTAB, DATA)], struct.pack("<II", 1, 0xFFFFFFFF))
    refused(file, raw, "symbol table would be 103079215080 bytes")


def test_a_gnu_hash_chain_without_end(file: Path) -> None:
    table = struct.pack("<IIIIQI", 1, 1, 1, 0, 0, 1) + bytes(1 << 20)
    raw = elf([(GNU_HASH, DATA), (SYMTAB, DATA)], table)
    refused(file, raw, "GNU hash table would be")


def test_a_gnu_hash_table_with_four_thousand_million_buckets(file: Path) -> None:
    table = struct.pack("<IIII", 0xFFFFFFFF, 1, 0, 0)
    refused(file, elf([(GNU_HASH, DATA), (SYMTAB, DATA)], table), "GNU hash table would be")


def test_a_dynamic_section_that_does_not_end(file: Path) -> None:
    raw = elf([(SONAME, 0)], b"", terminated=False)
    refused(file, raw, "does not end with DT_NULL")


def test_a_string_table_without_a_nul(file: Path) -> None:
    raw = elf([(STRTAB, DATA), (NEEDED, 0)], b"a" * 100_000)
    refused(file, raw, "name of a needed library has no end")


def test_a_hundred_thousand_names_in_the_same_long_string(file: Path) -> None:
    count = 100_000
    strings = b"a" * 2_000_000 + b"\0"
    hash_table = struct.pack("<II", 1, count)
    symbols = b"".join(symbol(name) for name in range(count))
    tags = [(HASH, DATA), (SYMTAB, DATA + 8), (STRTAB, DATA + 8 + len(symbols))]
    refused(file, elf(tags, hash_table + symbols + strings), "names overlap")


def test_version_definitions_one_byte_apart(file: Path) -> None:
    size = 200_000
    data = b"\1\0\0\0" * (size // 4)  # any four bytes from here are a step of at least 1
    tags = [(HASH, DATA + size), (SYMTAB, DATA), (VERSYM, DATA), (VERDEF, DATA), (STRTAB, DATA)]
    refused(file, elf(tags, data + struct.pack("<II", 1, 2)), "version definitions|has no end")


def test_tables_at_addresses_that_no_segment_has(file: Path) -> None:
    refused(file, elf([(STRTAB, 1 << 63), (SONAME, 0)], b""), "which no PT_LOAD covers")


def test_a_segment_without_bytes_as_in_a_debug_file(file: Path) -> None:
    raw = bytearray(elf([(SONAME, 0)], b""))
    raw[64 + 32 : 64 + 40] = bytes(8)  # p_filesz of the PT_LOAD
    file.write_bytes(raw)
    with pytest.raises(BadBinary, match="for which the file has no bytes") as caught:
        read(file)
    assert ".debug" in caught.value.hint


def test_a_name_that_is_not_utf8_can_still_be_printed(file: Path) -> None:
    file.write_bytes(elf([(STRTAB, DATA), (SONAME, 0)], b"lib\xff.so\0"))
    binary = read(file)
    assert binary.soname == r"lib\xff.so"
    assert r"lib\\xff.so" in json.dumps(as_dict(binary), ensure_ascii=False)


def test_a_cpu_that_nobody_has_heard_of(file: Path) -> None:
    raw = bytearray(elf([], b""))
    raw[18:20] = struct.pack("<H", 4711)
    file.write_bytes(raw)
    assert read(file).cpu == "elf-machine-4711"


def test_four_thousand_million_sections_worth_of_dll_exports(small_pe: Path, file: Path) -> None:
    with pefile.PE(str(small_pe)) as pe:
        fields: Any = pe.DIRECTORY_ENTRY_EXPORT.struct
        count_at = fields.get_field_absolute_offset("NumberOfFunctions")
    raw = bytearray(small_pe.read_bytes())
    raw[count_at : count_at + 4] = b"\xff" * 4
    refused(file, bytes(raw), "4294967295 exports")


def dylib(trie: bytes) -> bytes:
    """Make a 64-bit Mach-O library that has nothing but an export trie."""
    header = struct.pack("<8I", 0xFEEDFACF, 0x0100000C, 0, 6, 1, 16, 0, 0)
    return header + struct.pack("<4I", 0x80000033, 16, 48, len(trie)) + trie


def test_an_export_trie_that_is_a_loop(file: Path) -> None:
    file.write_bytes(dylib(b"\0\1_a\0\0"))  # the root's only edge leads to the root
    assert read(file).exports == ()


def test_an_export_trie_of_one_endless_name(file: Path) -> None:
    # Node n is: no export, one edge "aaa..." of three letters, to node n + 1
    size, count = 9, 60_000
    nodes = b"".join(
        b"\0\1aaa\0" + bytes([at & 0x7F | 0x80, at >> 7 & 0x7F | 0x80, at >> 14])
        for at in range(size, size * (count + 1), size)
    )
    refused(file, dylib(nodes), "names overlap")


def test_an_export_trie_whose_number_does_not_end(file: Path) -> None:
    refused(file, dylib(b"\xff" * 100), "more than 64 bits")


def test_load_commands_of_no_size(file: Path) -> None:
    header = struct.pack("<8I", 0xFEEDFACF, 0x0100000C, 0, 6, 0xFFFFFFFF, 16, 0, 0)
    refused(file, header + bytes(16), "load command of only 0 bytes")


def test_names_without_end_in_a_table_of_many(file: Path) -> None:
    """What is read all at once is refused with the same words as what is read one by one."""
    count = 1000
    strings = b"\0" + b"name\0" * count + b"cut"
    hash_table = struct.pack("<II", 1, count)
    symbols = bytes(24) + b"".join(symbol(1 + 5 * n) for n in range(count - 2))
    last = symbol(len(strings) - 3)
    tags = [(HASH, DATA), (SYMTAB, DATA + 8), (STRTAB, DATA + 8 + 24 * count)]
    raw = elf([*tags, (STRSZ, len(strings))], hash_table + symbols + last + strings)
    refused(file, raw, "name of a symbol has no end before the dynamic string table ends")


def test_a_name_behind_the_end_of_a_table_of_many(file: Path) -> None:
    count = 1000
    strings = b"\0" + b"name\0" * count
    hash_table = struct.pack("<II", 1, count)
    symbols = bytes(24) + b"".join(symbol(1 + 5 * n) for n in range(count - 2))
    last = symbol(len(strings))
    tags = [(HASH, DATA), (SYMTAB, DATA + 8), (STRTAB, DATA + 8 + 24 * count)]
    raw = elf([*tags, (STRSZ, len(strings))], hash_table + symbols + last + strings)
    refused(file, raw, "name of a symbol would be 1 bytes at")


def test_names_that_are_not_ascii_are_read_like_the_others(file: Path) -> None:
    names = ["größe", "näme", "plain"]
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in names)
    starts = [strings.index(name.encode() + b"\0") for name in names]
    symbols = bytes(24) + b"".join(map(symbol, starts))
    hash_table = struct.pack("<II", 1, 4)
    tags = [(HASH, DATA), (SYMTAB, DATA + 8), (STRTAB, DATA + 8 + len(symbols))]
    file.write_bytes(elf([*tags, (STRSZ, len(strings))], hash_table + symbols + strings))
    assert [export.name for export in read(file).exports] == names


def test_version_needs_that_overlap(file: Path) -> None:
    """A list of lists, all of whose lists are the same long one."""
    count = 2000
    strings_at = DATA + 16 * count
    # as a need: one byte further, its versions 16 behind; as a version: 16 bytes further
    row = struct.pack("<HHIII", 1, 0xFFFF, 0, 16, 16)
    tags = [(VERNEED, DATA), (STRTAB, strings_at), (STRSZ, 4)]
    refused(file, elf(tags, row * count + b"\0abc"), "version needs overlap|would be")


def test_relocations_and_notes_of_impossible_sizes(file: Path) -> None:
    tags = [(7, DATA), (8, 1 << 40)]  # DT_RELA, DT_RELASZ
    refused(file, elf(tags, bytes(64)), "relocations would be")
