"""One Mach-O file, or one slice of a universal file: its header and load commands.

All load commands together are a few kilobytes at the file's start. They are read once,
as bytes; what one of them says is unpacked when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from struct import Struct
from typing import Any, Literal, NamedTuple

from libferry.binary.macho.facts import (
    ARCHITECTURES,
    CPUS,
    FILE_TYPES,
    FIRST_JAVA_VERSION,
    LC_REQ_DYLD,
    LC_SEGMENT,
    LC_SEGMENT_64,
    MAGICS,
    MH_DYLIB_STUB,
    SUBTYPE_MASK,
    UNIVERSAL_MAGICS,
)
from libferry.binary.window import Window, decode

# Not in loader.h: the largest libraries of Apple have some ten kilobytes.
COMMANDS_AT_MOST = 1 << 20


class Layout(NamedTuple):
    """How one width and byte order stores each struct."""

    header: Struct  # cputype, cpusubtype, filetype, ncmds, sizeofcmds, flags
    header_size: int
    command: Struct  # cmd, cmdsize
    word: Struct
    pair: Struct  # two words
    symtab: Struct  # symoff, nsyms, stroff, strsize
    segment: Struct  # segname, vmaddr, vmsize, fileoff, filesize, maxprot, initprot, nsects
    section: Struct  # sectname, segname, addr, size, align, flags
    symbol: Struct  # n_strx, n_type, n_desc, n_value


# loader.h and nlist.h: mach_header's size, segment_command, section, nlist
_WIDTHS = {
    32: (28, "8x16s7I4x", "16s16sII4xI8xI8x", "IBxHI"),
    64: (32, "8x16s4Q3I4x", "16s16sQQ4xI8xI12x", "IBxHQ"),
}


@lru_cache(maxsize=4)
def _layout(order: str, bits: Literal[32, 64]) -> Layout:
    header_size, segment, section, symbol = _WIDTHS[bits]
    shared = ("II", "I", "II", "IIII")
    command, word, pair, symtab = (Struct(order + form) for form in shared)
    return Layout(
        Struct(order + "4x6I"),
        header_size,
        command,
        word,
        pair,
        symtab,
        Struct(order + segment),
        Struct(order + section),
        Struct(order + symbol),
    )


class Section(NamedTuple):
    """A section: its names, where it lies in memory, its alignment in bytes, its flags."""

    name: str
    segment: str
    address: int
    size: int
    alignment: int
    flags: int


class RawSegment(NamedTuple):
    """A segment as its load command has it, with its sections."""

    name: str
    address: int
    size: int
    offset: int
    file_size: int
    maximum: int
    initial: int
    sections: tuple[Section, ...]


class Command(NamedTuple):
    """A load command: its number without LC_REQ_DYLD, and its place among the commands."""

    number: int
    at: int
    size: int


class Image:
    """One Mach-O file, or one slice of a universal file.

    Args:
        file: all of the file.
        index: which slice, if it is universal.
    """

    def __init__(self, file: Window, index: int = 0) -> None:
        self.slices: tuple[tuple[int, int], ...] = ()
        self.window = window = file
        magic = window.bytes(0, 4, "the magic number")
        if magic in UNIVERSAL_MAGICS:
            self.window = window = self._slice(file, UNIVERSAL_MAGICS[magic], index)
            magic = window.bytes(0, 4, "the magic number of the slice")
        if magic == b"!<ar":
            raise file.bad(
                "this is a universal static library",
                hint="link it into a dynamic library first: clang -shared -Wl,-all_load",
            )
        if magic not in MAGICS:
            raise window.bad(f"the slice begins with {magic.hex(' ')}: no Mach-O file", at=0)
        order, self.endian, self.bits = MAGICS[magic]
        self.layout = layout = _layout(order, self.bits)
        self.cpu_type, self.cpu_subtype, self.file_type, count, size, self.flags = window.unpack(
            layout.header, 0, "the Mach-O header"
        )
        if self.file_type not in FILE_TYPES:
            raise window.bad(f"the Mach-O file type is {self.file_type}, which we do not know")
        self.commands = self._read_commands(count, size)
        self._check_segments()

    def _slice(self, file: Window, record: Struct, index: int) -> Window:
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
            file.view(offset, size, f"the {architecture(cpu, subtype)} slice")
            for cpu, subtype, offset, size in rows
        ]
        self.slices = tuple((cpu, subtype) for cpu, subtype, _, _ in rows)
        return slices[index]

    def _read_commands(self, count: int, size: int) -> list[Command]:
        if size > COMMANDS_AT_MOST:
            raise self.window.bad(f"{size} bytes of load commands, more than any linker writes")
        start, what = self.layout.header_size, "the load commands"
        self._area = self.window.view(start, size, what)
        self._raw = raw = self.window.bytes(start, size, what)
        unpack, smallest, at = self.layout.command.unpack_from, self.layout.command.size, 0
        commands = []
        for _ in range(count):
            if at + smallest > size:
                raise self._area.bad("there are fewer load commands than the header says", at=at)
            number, length = unpack(raw, at)
            if length < smallest:
                raise self._area.bad(f"a load command of only {length} bytes", at=at)
            if at + length > size:
                raise self._area.bad(f"a load command of {length} bytes is too long", at=at)
            commands.append(Command(number & ~LC_REQ_DYLD, at, length))
            at += length
        return commands

    def _check_segments(self) -> None:
        if self.kind == "object" or self.file_type == MH_DYLIB_STUB:
            return
        for command in self.all(LC_SEGMENT, LC_SEGMENT_64):
            _, _, _, offset, size, _, _, _ = self.unpack(self.layout.segment, command, 0)
            self.window.view(offset, size, "a segment")

    @property
    def kind(self) -> Literal["library", "executable", "object"]:
        """What the file type is for us."""
        return FILE_TYPES[self.file_type][0]

    def all(self, *numbers: int) -> Iterator[Command]:
        """Give the load commands with one of these numbers."""
        return (command for command in self.commands if command.number in numbers)

    def unpack(self, struct: Struct, command: Command, offset: int) -> tuple[Any, ...]:
        """Read one C struct inside a load command."""
        if offset + struct.size > command.size:
            raise self._area.bad(
                f"a load command {command.number:#x} of only {command.size} bytes", at=command.at
            )
        return struct.unpack_from(self._raw, command.at + offset)

    def bytes(self, command: Command, offset: int, size: int) -> bytes:
        """Read ``size`` bytes inside a load command."""
        if offset + size > command.size:
            raise self._area.bad(
                f"a load command {command.number:#x} of only {command.size} bytes", at=command.at
            )
        return self._raw[command.at + offset : command.at + offset + size]

    def string(self, command: Command, what: str) -> str:
        """Give the string of a load command, whose third word is the string's offset.

        It may also be ended by the end of its command.
        """
        (offset,) = self.unpack(self.layout.word, command, 8)
        if offset > command.size:
            raise self._area.bad(f"{what} lies beyond its load command", at=command.at)
        end = command.at + command.size
        raw = self._raw[command.at + offset : end].partition(b"\0")[0]
        self._area.charge(len(raw))
        return decode(raw)

    def strings(self, numbers: tuple[int, ...], what: str) -> list[str]:
        """Give the string of each load command with one of these numbers."""
        return [self.string(command, what) for command in self.all(*numbers)]

    def segments(self) -> Iterator[RawSegment]:
        """Give the segments with their sections, in the file's order."""
        layout = self.layout
        for command in self.all(LC_SEGMENT, LC_SEGMENT_64):
            name, address, size, offset, file_size, maximum, initial, count = self.unpack(
                layout.segment, command, 0
            )
            raw = self.bytes(command, layout.segment.size, count * layout.section.size)
            sections = tuple(
                # no more than 2**15 bytes: mach-o/arch.h, and what any linker accepts
                Section(_name(section), _name(of), start, length, 1 << min(align, 15), flags)
                for section, of, start, length, align, flags in layout.section.iter_unpack(raw)
            )
            yield RawSegment(
                _name(name), address, size, offset, file_size, maximum, initial, sections
            )


def _name(raw: bytes) -> str:
    return decode(raw.rstrip(b"\0"))


def architecture(cpu_type: int, subtype: int) -> str:
    """Give the name that lipo and dyld have for a CPU."""
    known = ARCHITECTURES.get((cpu_type, subtype & SUBTYPE_MASK))
    return known or f"{cpu_name(cpu_type)}.{subtype & SUBTYPE_MASK}"


def cpu_name(number: int) -> str:
    """Give our name for a ``cpu_type_t``."""
    return CPUS.get(number, f"macho-cpu-{number:#x}")
