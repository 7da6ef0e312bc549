"""Mach-O: macOS and its relatives.

After the header comes a list of load commands, each with a number and its own size,
and everything is said by one of them: segments, libraries, search paths, symbols.
Readers skip the commands they do not know.

A file for several CPUs ("universal", or "fat") is a small table, always big-endian,
of complete Mach-O files. We describe the first and name all in ``Binary.slices``.
Its magic number 0xcafebabe is also that of Java classes; what follows tells them
apart, since no universal file has as many slices as the first Java version number.

Exports are in a trie: names as paths of edges from its root, so that ``_png_read``
and ``_png_write`` share ``_png_``. The nodes are reached by offsets, and those of a
hostile file may form a loop. Older files have only the symbol table, which is all
that object files ever have.

Specification: Apple's headers ``mach-o/loader.h``, ``mach-o/fat.h``, ``mach-o/nlist.h``
and ``mach/machine.h``; the trie is described in ``loader.h`` at ``dyld_info_command``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from struct import Struct
from typing import Literal, NamedTuple

from libferry.binary.addresses import AddressMap
from libferry.binary.model import Binary, Endian, Export, ExportKind, Kind
from libferry.binary.window import Window

# loader.h: mach_header.magic as it lies in the file -> (order, endian, bits)
Magic = tuple[str, Endian, Literal[32, 64]]
MAGICS: dict[bytes, Magic] = {
    b"\xfe\xed\xfa\xce": (">", "big", 32),
    b"\xce\xfa\xed\xfe": ("<", "little", 32),
    b"\xfe\xed\xfa\xcf": (">", "big", 64),
    b"\xcf\xfa\xed\xfe": ("<", "little", 64),
}
# fat.h: fat_header.magic -> fat_arch as cputype, offset, size
UNIVERSAL_MAGICS = {
    b"\xca\xfe\xba\xbe": Struct(">I4xII4x"),
    b"\xca\xfe\xba\xbf": Struct(">I4xQQ8x"),
}
FIRST_JAVA_VERSION = 45

# machine.h: cpu_type_t
CPUS = {
    7: "i386",
    12: "arm",
    18: "ppc",
    0x01000007: "x86_64",
    0x0100000C: "aarch64",
    0x01000012: "ppc64",
    0x0200000C: "aarch64",  # arm64_32, of the Apple Watch
}

# loader.h: mach_header.filetype
KINDS: dict[int, Kind] = {
    1: "object",  # MH_OBJECT
    2: "executable",  # MH_EXECUTE
    3: "library",  # MH_FVMLIB
    4: "object",  # MH_CORE
    5: "executable",  # MH_PRELOAD
    6: "library",  # MH_DYLIB
    7: "library",  # MH_DYLINKER
    8: "library",  # MH_BUNDLE
    9: "library",  # MH_DYLIB_STUB
    10: "object",  # MH_DSYM
    11: "object",  # MH_KEXT_BUNDLE
    12: "object",  # MH_FILESET
}
# A stub has the commands of a library without its contents.
MH_DYLIB_STUB = 9

# loader.h: load_command.cmd. The highest bit, LC_REQ_DYLD, only tells dyld to refuse
# the file if it does not know the command; we leave it out.
LC_REQ_DYLD = 0x80000000
LC_SEGMENT, LC_SEGMENT_64, LC_SYMTAB = 0x01, 0x19, 0x02
LC_ID_DYLIB, LC_LOAD_DYLINKER, LC_RPATH = 0x0D, 0x0E, 0x1C
LC_DYLD_INFO, LC_DYLD_EXPORTS_TRIE = 0x22, 0x33
# LC_LOAD_DYLIB, LC_LOAD_WEAK_DYLIB, LC_REEXPORT_DYLIB, LC_LAZY_LOAD_DYLIB, LC_LOAD_UPWARD_DYLIB
LOADS_LIBRARY = {0x0C, 0x18, 0x1F, 0x20, 0x23}

# Not in loader.h: the largest libraries of Apple have some ten kilobytes.
COMMANDS_AT_MOST = 1 << 20

# loader.h: section.flags
S_ATTR_INSTRUCTIONS = 0x80000000 | 0x00000400

# loader.h: EXPORT_SYMBOL_FLAGS_*
EXPORT_KIND_MASK, EXPORT_THREAD_LOCAL = 0x03, 0x01
EXPORT_REEXPORT, EXPORT_STUB_AND_RESOLVER = 0x08, 0x10

# nlist.h: n_type
N_STAB, N_PEXT, N_TYPE, N_EXT = 0xE0, 0x10, 0x0E, 0x01
N_UNDF, N_PBUD, N_INDR = 0x00, 0x0C, 0x0A


class Layout(NamedTuple):
    """How one width and byte order stores each struct."""

    header: Struct  # cputype, filetype, ncmds, sizeofcmds
    header_size: int
    command: Struct  # cmd, cmdsize
    word: Struct
    pair: Struct  # two words
    symtab: Struct  # symoff, nsyms, stroff, strsize
    segment: Struct  # vmaddr, fileoff, filesize, nsects
    section: Struct  # addr, size, flags
    symbol: Struct  # n_strx, n_type, n_sect, n_value


# loader.h and nlist.h: mach_header's size, segment_command, section, nlist
_WIDTHS = {
    32: (28, "24xI4xII8xI4x", "32xII16xI8x", "IBB2xI"),
    64: (32, "24xQ8xQQ8xI4x", "32xQQ16xI12x", "IBB2xQ"),
}


@lru_cache(maxsize=4)
def _layout(order: str, bits: Literal[32, 64]) -> Layout:
    header_size, segment, section, symbol = _WIDTHS[bits]
    shared = ("II", "I", "II", "IIII")
    command, word, pair, symtab = (Struct(order + form) for form in shared)
    return Layout(
        Struct(order + "4xI4xIII"),
        header_size,
        command,
        word,
        pair,
        symtab,
        Struct(order + segment),
        Struct(order + section),
        Struct(order + symbol),
    )


class Image:
    """One Mach-O file, or one slice of a universal file."""

    def __init__(self, file: Window) -> None:
        self.slices: tuple[str, ...] = ()
        self.window = window = file
        magic = window.bytes(0, 4, "the magic number")
        if magic in UNIVERSAL_MAGICS:
            self.window = window = self._first_slice(file, UNIVERSAL_MAGICS[magic])
            magic = window.bytes(0, 4, "the magic number of the first slice")
        if magic == b"!<ar":
            raise file.bad(
                "this is a universal static library",
                hint="link it into a dynamic library first: clang -shared -Wl,-all_load",
            )
        if magic not in MAGICS:
            raise window.bad(f"the first slice begins with {magic.hex(' ')}: no Mach-O file", at=0)
        order, self.endian, self.bits = MAGICS[magic]
        self.layout = layout = _layout(order, self.bits)
        what = "the Mach-O header"
        self.cpu_type, self.file_type, count, size = window.unpack(layout.header, 0, what)
        if self.file_type not in KINDS:
            raise window.bad(f"the Mach-O file type is {self.file_type}, which we do not know")
        self.commands = list(self._read_commands(count, size))
        self._check_segments()

    def _first_slice(self, file: Window, record: Struct) -> Window:
        what = "the table of slices"
        (count,) = file.unpack(Struct(">I"), 4, what)
        if count >= FIRST_JAVA_VERSION:
            raise file.bad(
                "this is a Java class, or a universal Mach-O file with far too many slices",
                hint="give the native library that the class loads",
            )
        if not count:
            raise file.bad("this is a universal Mach-O file without a single slice")
        rows = list(record.iter_unpack(file.bytes(8, count * record.size, what)))
        slices = [
            file.view(offset, size, f"the {cpu_name(cpu)} slice") for cpu, offset, size in rows
        ]
        self.slices = tuple(cpu_name(cpu) for cpu, _, _ in rows)
        return slices[0]

    def _read_commands(self, count: int, size: int) -> Iterator[tuple[int, Window]]:
        layout, what = self.layout, "the load commands"
        if size > COMMANDS_AT_MOST:
            raise self.window.bad(f"{size} bytes of load commands, more than any linker writes")
        commands = self.window.view(layout.header_size, size, what)
        at = 0
        for _ in range(count):
            command, length = commands.unpack(layout.command, at, what)
            if length < layout.command.size:
                raise commands.bad(f"a load command of only {length} bytes", at=at)
            yield command & ~LC_REQ_DYLD, commands.view(at, length, "its load command")
            at += length

    def _check_segments(self) -> None:
        if KINDS[self.file_type] == "object" or self.file_type == MH_DYLIB_STUB:
            return
        for command in self.all(LC_SEGMENT, LC_SEGMENT_64):
            _, offset, size, _ = command.unpack(self.layout.segment, 0, "a segment")
            self.window.view(offset, size, "a segment")

    def all(self, *numbers: int) -> Iterator[Window]:
        """Give the load commands with one of these numbers."""
        return (command for number, command in self.commands if number in numbers)

    def strings(self, numbers: set[int], what: str) -> list[str]:
        """Give the string of each load command that consists of one.

        Its third word is the string's offset; other fields may lie between.
        """
        found = []
        for command in self.all(*numbers):
            (offset,) = command.unpack(self.layout.word, 8, what)
            # Such a string may also be ended by the end of its command.
            raw = command.bytes(offset, max(command.size - offset, 0), what)
            text = raw.partition(b"\0")[0]
            command.charge(len(text))
            found.append(text.decode("utf-8", "backslashreplace"))
        return found


def cpu_name(number: int) -> str:
    """Give our name for a ``cpu_type_t``."""
    return CPUS.get(number, f"macho-cpu-{number:#x}")


def read(window: Window) -> Binary:
    """Read all but the exports."""
    from libferry.binary.macho_view import MachOView

    image = Image(window)
    soname = image.strings({LC_ID_DYLIB}, "the library's own name")
    interpreter = image.strings({LC_LOAD_DYLINKER}, "the path of dyld")
    return Binary(
        path=window.path,
        format="macho",
        kind=KINDS[image.file_type],
        cpu=cpu_name(image.cpu_type),
        bits=image.bits,
        endian=image.endian,
        os="macos",
        soname=soname[0] if soname else None,
        needed=tuple(image.strings(LOADS_LIBRARY, "the name of a needed library")),
        rpath=tuple(image.strings({LC_RPATH}, "an rpath")),
        runpath=(),
        interpreter=interpreter[0] if interpreter else None,
        slices=image.slices,
        _stamp=window.stamp,
        _make_view=MachOView,
    )


def exports(window: Window) -> tuple[Export, ...]:
    """List the exports of the first slice."""
    image = Image(window)
    base, sections = _sections(image)
    code = AddressMap(sections)
    for command in image.all(LC_DYLD_EXPORTS_TRIE):
        offset, size = command.unpack(image.layout.pair, 8, "the place of the export trie")
        return tuple(_from_trie(image.window, offset, size, base, code))
    for command in image.all(LC_DYLD_INFO):
        offset, size = command.unpack(image.layout.pair, 40, "the place of the export trie")
        if size:
            return tuple(_from_trie(image.window, offset, size, base, code))
    for command in image.all(LC_SYMTAB):
        return tuple(_from_symbol_table(image, command, base, code))
    return ()


def _sections(image: Image) -> tuple[int, list[tuple[int, int, bool]]]:
    """Give the address of the header, and all sections: start, size, whether code."""
    base, layout = 0, image.layout
    sections = []
    for command in image.all(LC_SEGMENT, LC_SEGMENT_64):
        address, offset, size, count = command.unpack(layout.segment, 0, "a segment")
        if size and not offset:
            base = address
        raw = command.bytes(layout.segment.size, count * layout.section.size, "a section table")
        for start, length, flags in layout.section.iter_unpack(raw):
            sections.append((start, length, bool(flags & S_ATTR_INSTRUCTIONS)))
    return base, sections


def _export(
    raw: bytes,
    address: int,
    base: int,
    code: AddressMap[bool],
    kind: ExportKind | None = None,
    forward: str | None = None,
) -> Export:
    name = raw.removeprefix(b"_").decode("utf-8", "backslashreplace")
    if kind is None:
        found = code.find(base + address)
        kind = "function" if found and found[1] else "data"
    return Export(name, kind, None, address, None, forward=forward)


def _from_trie(
    window: Window, offset: int, size: int, base: int, code: AddressMap[bool]
) -> Iterator[Export]:
    what = "the export trie"
    view = window.view(offset, size, what)
    trie = _Trie(view, view.bytes(0, size, what))
    for name, at in trie.names():
        flags, at = trie.number(at)
        if flags & EXPORT_REEXPORT:
            _, at = trie.number(at)  # which of the needed libraries
            target = trie.text(at).removeprefix(b"_").decode("utf-8", "backslashreplace")
            plain = name.removeprefix(b"_").decode("utf-8", "backslashreplace")
            yield _export(name, 0, base, code, "forward", target or plain)
            continue
        address, _ = trie.number(at)
        kind: ExportKind | None = None
        if flags & EXPORT_STUB_AND_RESOLVER:
            kind = "ifunc"
        elif flags & EXPORT_KIND_MASK == EXPORT_THREAD_LOCAL:
            kind = "tls"
        yield _export(name, address, base, code, kind)


class _Trie:
    """The export trie: each node is the size of its export, the export, and its edges."""

    def __init__(self, window: Window, raw: bytes) -> None:
        self._window = window
        self._raw = raw

    def names(self) -> Iterator[tuple[bytes, int]]:
        """Give each name with the offset of its export. No node is visited twice."""
        waiting = [(0, b"")] if self._raw else []
        seen = {0}
        while waiting:
            node, name = waiting.pop()
            size, at = self.number(node)
            if size:
                yield name, at
            at += size
            edges = self._byte(at)
            at += 1
            children = []
            for _ in range(edges):
                label = self.text(at)
                child, at = self.number(at + len(label) + 1)
                if child not in seen:
                    seen.add(child)
                    # Long chains of short edges would make names add up without end.
                    self._window.charge(len(name))
                    children.append((child, name + label))
            waiting.extend(reversed(children))

    def _byte(self, at: int) -> int:
        if at < len(self._raw):
            return self._raw[at]
        raise self._window.bad("a node of the export trie lies beyond its end", at=at)

    def number(self, at: int) -> tuple[int, int]:
        """Read a ULEB128 of at most 64 bits; give it, and the offset behind it."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte(at)
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
        raise self._window.bad("a number in the export trie has more than 64 bits", at=at)

    def text(self, at: int) -> bytes:
        """Read a string that ends with NUL."""
        stop = self._raw.find(0, at)
        if stop < 0:
            raise self._window.bad("a name in the export trie has no end", at=at)
        # Nodes may overlap, so even edges without a label have to cost something.
        self._window.charge(stop - at + 1)
        return self._raw[at:stop]


def _from_symbol_table(
    image: Image, command: Window, base: int, code: AddressMap[bool]
) -> Iterator[Export]:
    symbol = image.layout.symbol
    symbols, count, strings, size = command.unpack(image.layout.symtab, 8, "the symbol table")
    raw = image.window.bytes(symbols, count * symbol.size, "the symbol table")
    table = image.window.view(strings, size, "the string table")
    for name, kind, _, value in symbol.iter_unpack(raw):
        if kind & (N_STAB | N_PEXT) or not kind & N_EXT:
            continue
        if kind & N_TYPE in (N_UNDF, N_PBUD, N_INDR):
            continue
        text = table.string(name, "the name of a symbol").encode()
        yield _export(text, value - base, base, code)
