"""Write the smallest libraries that a loader takes, with everything it looks at to choose from.

A linker refuses, sorts or completes what a test wants to have wrong, and takes a thousand
times longer. So here is one page: ELF header, three program headers, string table, symbols,
versions, relocations, dynamic section; no code, no sections. gABI chapters 4 and 5; versions:
LSB Core, "Symbol Versioning".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

PT_LOAD, PT_DYNAMIC, PT_GNU_STACK = 1, 2, 0x6474E551
DT_NEEDED, DT_PLTRELSZ, DT_PLTGOT, DT_HASH, DT_STRTAB, DT_SYMTAB = 1, 2, 3, 4, 5, 6
DT_RELA, DT_RELASZ, DT_RELAENT, DT_STRSZ, DT_SYMENT, DT_SONAME, DT_RPATH = 7, 8, 9, 10, 11, 14, 15
DT_PLTREL, DT_JMPREL, DT_RUNPATH, DT_FLAGS, DT_FLAGS_1 = 20, 23, 29, 30, 0x6FFFFFFB
DT_VERSYM, DT_VERDEF, DT_VERDEFNUM, DT_VERNEED, DT_VERNEEDNUM = (
    *(0x6FFFFFF0, 0x6FFFFFFC, 0x6FFFFFFD),
    *(0x6FFFFFFE, 0x6FFFFFFF),
)
GLOB_DAT, JUMP_SLOT = 6, 7  # of x86-64, psABI table 4.9
SIZE = 0x1000  # of the one segment: nothing that is made here comes near


@dataclass(frozen=True)
class Wanted:
    """A symbol that a library needs.

    Attributes:
        version: and the needed name that shall have it; None for any.
        weak: whether it may be missing.
        lazy: whether the first call looks it up.
    """

    name: str
    version: tuple[str, str] | None = None
    weak: bool = False
    lazy: bool = False


@dataclass(frozen=True)
class Stub:
    """What a library says.

    Attributes:
        exports: each name with its version, or "".
        gives: the versions it has.
        asks: needed name, version, and whether it is weak.
    """

    soname: str = ""
    needs: tuple[str, ...] = ()
    rpath: str | None = None
    runpath: str | None = None
    exports: tuple[tuple[str, str], ...] = ()
    wants: tuple[Wanted, ...] = ()
    gives: tuple[str, ...] = ()
    asks: tuple[tuple[str, str, bool], ...] = ()
    flags: int = 0
    flags_1: int = 0
    machine: int = 62
    elf_class: int = 2


class _Strings:
    def __init__(self) -> None:
        self.data = bytearray(1)

    def __call__(self, text: str) -> int:
        at = len(self.data)
        self.data += text.encode() + b"\0"
        return at


def elf_hash(name: str) -> int:
    """GABI, "Hash Table"."""
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        value = (value ^ (value & 0xF0000000) >> 24) & 0x0FFFFFFF
    return value


def write(stub: Stub) -> bytes:
    """The file."""
    strings = _Strings()
    given = {name: number for number, name in enumerate(stub.gives, 2)}
    asked = {(f, v): n for n, (f, v, _) in enumerate(stub.asks, 2 + len(given))}

    # symbols: those that are wanted, then those that are had
    symbols, versions = bytearray(24), [0]
    for want in stub.wants:
        bind = 2 if want.weak else 1
        symbols += struct.pack("<IBBHQQ", strings(want.name), bind << 4, 0, 0, 0, 0)
        versions.append(asked[want.version] if want.version else 1)
    for name, version in stub.exports:
        symbols += struct.pack("<IBBHQQ", strings(name), 0x11, 0, 1, SIZE - 8, 8)
        versions.append(given[version] if version else 1)
    count = len(versions)
    chain = [*range(2, count), 0] if count > 1 else []
    hashes = struct.pack(f"<{4 + len(chain)}I", 1, count, int(count > 1), 0, *chain)

    # the slots: three that lazy binding has for itself, then one a symbol, at the end
    got = SIZE - 8 * (4 + len(stub.wants))
    now, lazy = bytearray(), bytearray()
    for number, want in enumerate(stub.wants, 1):
        kind = JUMP_SLOT if want.lazy else GLOB_DAT
        entry = struct.pack("<QQq", got + 8 * (2 + number), number << 32 | kind, 0)
        (lazy if want.lazy else now).extend(entry)

    pieces: list[tuple[int, bytes]] = [(DT_HASH, hashes), (DT_SYMTAB, bytes(symbols))]
    dynamic: list[tuple[int, int]] = [(DT_SYMENT, 24)]
    if now:
        pieces.append((DT_RELA, bytes(now)))
        dynamic += [(DT_RELASZ, len(now)), (DT_RELAENT, 24)]
    if lazy:
        pieces.append((DT_JMPREL, bytes(lazy)))
        dynamic += [(DT_PLTRELSZ, len(lazy)), (DT_PLTREL, DT_RELA), (DT_PLTGOT, got)]
    if given or asked:
        pieces.append((DT_VERSYM, struct.pack(f"<{count}H", *versions)))
    if given:
        pieces.append((DT_VERDEF, _given(stub, strings)))
        dynamic.append((DT_VERDEFNUM, 1 + len(given)))
    if asked:
        pieces.append((DT_VERNEED, _asked(stub, asked, strings)))
        dynamic.append((DT_VERNEEDNUM, len({name for name, _, _ in stub.asks})))
    for tag, text in ((DT_SONAME, stub.soname or None), (DT_RPATH, stub.rpath)):
        dynamic += [(tag, strings(text))] if text is not None else []
    dynamic += [(DT_RUNPATH, strings(stub.runpath))] if stub.runpath is not None else []
    dynamic += [(DT_NEEDED, strings(name)) for name in stub.needs]
    dynamic += [(DT_FLAGS, stub.flags), (DT_FLAGS_1, stub.flags_1)]
    pieces.append((DT_STRTAB, bytes(strings.data)))
    dynamic.append((DT_STRSZ, len(strings.data)))

    image = bytearray(64 + 3 * 56)
    for tag, piece in pieces:
        image += bytes(-len(image) % 8)
        dynamic.append((tag, len(image)))
        image += piece
    image += bytes(-len(image) % 8)
    start = len(image)
    dynamic.append((0, 0))
    for entry_of in dynamic:
        image += struct.pack("<QQ", *entry_of)
    assert len(image) <= got, "it does not fit into its page"
    length = len(image) - start

    ident = bytes((0x7F, *b"ELF", stub.elf_class, 1, 1)) + bytes(9)
    struct.pack_into(
        *("<16sHHIQQQIHHHHHH", image, 0),
        *(ident, 3, stub.machine, 1, 0, 64, 0, 0, 64, 56, 3, 64, 0, 0),
    )
    headers = (
        (PT_LOAD, 6, 0, 0, 0, SIZE, SIZE, 0x1000),
        (PT_DYNAMIC, 6, start, start, start, length, length, 8),
        (PT_GNU_STACK, 6, 0, 0, 0, 0, 0, 16),
    )
    for number, header in enumerate(headers):
        struct.pack_into("<IIQQQQQQ", image, 64 + 56 * number, *header)
    return bytes(image).ljust(SIZE, b"\0")


def _given(stub: Stub, strings: _Strings) -> bytes:
    data = bytearray()
    names = [stub.soname or "unnamed", *stub.gives]
    for number, name in enumerate(names, 1):
        following = 28 if number < len(names) else 0
        base = int(number == 1)
        data += struct.pack("<HHHHIII", 1, base, number, 1, elf_hash(name), 20, following)
        data += struct.pack("<II", strings(name), 0)
    return bytes(data)


def _asked(stub: Stub, numbers: dict[tuple[str, str], int], strings: _Strings) -> bytes:
    data = bytearray()
    files = list(dict.fromkeys(name for name, _, _ in stub.asks))
    for file in files:
        of_it = [(version, weak) for name, version, weak in stub.asks if name == file]
        following = 16 + 16 * len(of_it) if file != files[-1] else 0
        data += struct.pack("<HHIII", 1, len(of_it), strings(file), 16, following)
        for at, (version, weak) in enumerate(of_it, 1):
            number = numbers[file, version]
            flags = 2 if weak else 0
            rest = 16 if at < len(of_it) else 0
            data += struct.pack("<IHHII", elf_hash(version), flags, number, strings(version), rest)
    return bytes(data)
