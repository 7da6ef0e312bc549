"""Shared objects that are nothing but a dynamic section.

A linker takes a while for ten thousand libraries, and makes none whose names are hostile.
Written from the gABI, chapters 4 and 5, for x86-64; ``readelf -d`` reads them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

NEEDED, SONAME, RPATH, RUNPATH = 1, 14, 15, 29
HASH, STRTAB, SYMTAB, STRSZ, SYMENT = 4, 5, 6, 10, 11
LOAD, DYNAMIC, READ_WRITE, PAGE = 1, 2, 6, 4096
SHARED, X86_64 = 3, 62


def library(names: Sequence[tuple[int, str]]) -> bytes:
    """A library whose dynamic section has these tags with these names."""
    strings = bytearray(1)
    entries = []
    for tag, name in names:
        entries.append((tag, len(strings)))
        strings += name.encode("utf-8", "surrogateescape") + b"\0"
    dynamic = 64 + 2 * 56
    length = 16 * (len(entries) + 6)
    symbols = dynamic + length
    table = symbols + 24
    text = table + 16
    end = text + len(strings)
    entries += [(STRTAB, text), (STRSZ, len(strings)), (SYMTAB, symbols), (SYMENT, 24)]
    entries += [(HASH, table), (0, 0)]
    head = b"\x7fELF\2\1\1" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", SHARED, X86_64, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    head += struct.pack("<IIQQQQQQ", LOAD, READ_WRITE, 0, 0, 0, end, end, PAGE)
    head += struct.pack(
        "<IIQQQQQQ", DYNAMIC, READ_WRITE, dynamic, dynamic, dynamic, length, length, 8
    )
    body = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    return head + body + bytes(24) + struct.pack("<4I", 1, 1, 0, 0) + strings
