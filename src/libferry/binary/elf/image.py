"""ELF: Linux, the BSDs, Android and most else.

An ELF file tells everything twice. Sections are the linker's account of it,
segments the loader's, and only the second has to be there and to be true:
``strip --strip-section-headers`` removes the sections of a library that still
loads. So we read what the loader reads, and nothing else:

    file header ─▶ program headers ─▶ PT_DYNAMIC ─▶ addresses of everything else

The surprise is in the last step. The dynamic section gives the string table, the
symbol table and so on as *addresses in memory*, and each must go back through
the PT_LOAD segments to an offset in the file. Sizes are as odd: nothing says how
many symbols there are (see ``symbols.py``).

PT_LOAD is also where a file that was cut short shows. The loader maps segments
without looking at the file's length, and the first access behind its end kills
the whole process with SIGBUS. We therefore refuse such a file before ``dlopen``
sees it.

Specification: System V gABI, chapters 4 "Object Files" and 5 "Program Loading and
Dynamic Linking", https://gabi.xinuos.com. Constants have the names of ``elf.h``.
"""

from __future__ import annotations

from functools import partial

from libferry.binary.addresses import AddressMap
from libferry.binary.elf.layout import (
    BITS,
    CPUS,
    DF_1_PIE,
    DT_FLAGS_1,
    DT_NEEDED,
    DT_NULL,
    DT_RPATH,
    DT_RUNPATH,
    DT_SONAME,
    DT_STRSZ,
    DT_STRTAB,
    ET_CORE,
    ET_EXEC,
    ET_REL,
    EV_CURRENT,
    ORDERS,
    PT_DYNAMIC,
    PT_INTERP,
    PT_LOAD,
    SYSTEMS,
    ProgramHeader,
    layout_of,
)
from libferry.binary.model import Binary, Kind
from libferry.binary.window import Window


class Headers:
    """What the headers and the dynamic section say: all that is kept of a file.

    Attributes:
        layout: how the file stores its structs.
        osabi, type, machine, flags: of the ELF header.
        segments: the program headers; loads: those of them that are mapped.
        entries: the dynamic section, in its order; tags: the last value for each tag,
            which is the one that the loader keeps.
    """

    def __init__(self, window: Window) -> None:
        ident = window.bytes(0, 16, "the ELF identification")
        elf_class, data, self.osabi = ident[4], ident[5], ident[7]
        if elf_class not in BITS or data not in ORDERS:
            raise window.bad(
                f"the ELF class is {elf_class} and the byte order {data}, "
                "where each can only be 1 or 2",
                at=4,
            )
        self.layout = layout = layout_of(elf_class, data)
        (header,) = layout.header.rows(window.bytes(16, layout.header.size, "the ELF header"))
        self.type, self.machine, version, offset, size, count, self.flags = header
        if version != EV_CURRENT or ident[6] != EV_CURRENT:
            raise window.bad(f"the ELF version is {version}, where only 1 exists", at=20)
        if not ET_REL <= self.type <= ET_CORE:
            raise window.bad(
                f"the ELF type is {self.type:#x}: neither library, program, object nor core file",
                at=16,
            )
        if self.type in (ET_REL, ET_CORE):
            count = 0  # An object has no segments, and those of a core are for debuggers.
        if count and size != layout.segment.size:
            raise window.bad(
                f"program headers have {size} bytes instead of {layout.segment.size}", at=offset
            )
        raw = window.bytes(offset, count * size, "the program header table") if count else b""
        self.segments = list(map(ProgramHeader._make, layout.segment.rows(raw)))
        self.loads = [segment for segment in self.segments if segment.type == PT_LOAD]
        self._map = AddressMap((s.address, s.size, s) for s in self.loads)
        self.entries = self._dynamic_entries(window)
        self.tags = dict(self.entries)

    def at(self, window: Window, address: int, what: str) -> Window:
        """Give the part of the file from ``address`` to the end of its segment."""
        found = self._map.find(address)
        if found is None:
            raise window.bad(f"{what} is at address {address:#x}, which no PT_LOAD covers")
        into, segment = found
        if into >= segment.file_size:
            raise window.bad(
                f"{what} is at address {address:#x}, for which the file has no bytes",
                hint="if this is a .debug file, which has the addresses of a library without "
                "its contents, give the library it belongs to; else get the file again",
            )
        return window.view(segment.offset + into, segment.file_size - into, "its segment")

    def _dynamic_entries(self, window: Window) -> list[tuple[int, int]]:
        entry = self.layout.dynamic
        # The loader goes by the address, and if there are two, by the last.
        for segment in reversed(self.segments):
            if segment.type == PT_DYNAMIC:
                what = "the dynamic section"
                size = segment.file_size - segment.file_size % entry.size
                raw = self.at(window, segment.address, what).bytes(0, size, what)
                entries: list[tuple[int, int]] = list(entry.struct.iter_unpack(raw))
                try:
                    return entries[: [tag for tag, _ in entries].index(DT_NULL)]
                except ValueError:
                    raise window.bad("the dynamic section does not end with DT_NULL") from None
        return []


class Image:
    """The file as its loader sees it: its headers, and a window on the rest."""

    def __init__(self, window: Window, headers: Headers | None = None) -> None:
        """Take the headers from an earlier image of the same file, or read them."""
        self.window = window
        self.headers = headers = headers or Headers(window)
        self.layout = headers.layout
        self.type, self.machine = headers.type, headers.machine
        self.segments, self.loads = headers.segments, headers.loads
        self.entries, self.tags = headers.entries, headers.tags
        self._strings: Window | None = None

    def check_segments(self) -> None:
        """Refuse a file that ends before its segments do; see the top of this file."""
        for segment in self.loads:
            end = segment.offset + segment.file_size
            if end > self.window.size:
                raise self.window.bad(
                    f"a PT_LOAD segment ends at {end:#x}, but the file at "
                    f"{self.window.size:#x}: it was cut short, and to load it would kill "
                    "the process with SIGBUS",
                    hint="copy or build the file again; if it is a .debug file, "
                    "give the library it belongs to",
                )

    def at(self, address: int, what: str) -> Window:
        """Give the part of the file from ``address`` to the end of its segment."""
        return self.headers.at(self.window, address, what)

    def strings(self) -> Window:
        """Give the dynamic string table."""
        if self._strings is None:
            address = self.tags.get(DT_STRTAB)
            if address is None:
                raise self.window.bad("the dynamic section names no string table (DT_STRTAB)")
            table = self.at(address, "the dynamic string table")
            size = min(self.tags.get(DT_STRSZ, table.size), table.size)
            self._strings = table.view(0, size, "the dynamic string table")
        return self._strings

    def string(self, offset: int, what: str) -> str:
        """Give the string at ``offset`` of the dynamic string table."""
        return self.strings().string(offset, what)

    def texts(self, tag: int, what: str) -> tuple[str, ...]:
        """Give what each entry with this tag names, in the file's order."""
        return tuple(self.string(value, what) for found, value in self.entries if found == tag)

    def needed(self) -> tuple[str, ...]:
        """Give the names of needed libraries."""
        return self.texts(DT_NEEDED, "the name of a needed library")

    def kind(self) -> Kind:
        """Tell libraries from programs, which both can be ET_DYN.

        Linkers mark position-independent programs with DF_1_PIE, but only since
        about 2015. Before, an interpreter is the sign; but libc.so.6 has one
        too, to be run for its version. It also has a soname, and programs do not.
        """
        if self.type in (ET_REL, ET_CORE):
            return "object"
        if self.type == ET_EXEC or self.tags.get(DT_FLAGS_1, 0) & DF_1_PIE:
            return "executable"
        interpreted = any(segment.type == PT_INTERP for segment in self.segments)
        return "executable" if interpreted and DT_SONAME not in self.tags else "library"

    def interpreter(self) -> str | None:
        """Give the path in PT_INTERP."""
        for segment in self.segments:
            if segment.type == PT_INTERP:
                what = "the interpreter's path"
                return self.window.view(segment.offset, segment.file_size, what).string(0, what)
        return None


def cpu_name(machine: int, bits: int) -> str:
    """Give our name for an ``e_machine``."""
    names = CPUS.get(machine)
    return names[bits == 64] if names else f"elf-machine-{machine}"


def read(window: Window) -> Binary:
    """Read all but the exports."""
    from libferry.binary.elf.view import ElfView

    image = Image(window)
    image.check_segments()
    layout, tags = image.layout, image.tags

    def string(tag: int, what: str) -> str | None:
        return image.string(tags[tag], what) if tag in tags else None

    return Binary(
        path=window.path,
        format="elf",
        kind=image.kind(),
        cpu=cpu_name(image.machine, layout.bits),
        bits=layout.bits,
        endian=layout.endian,
        os=SYSTEMS.get(image.headers.osabi, f"elf-osabi-{image.headers.osabi}"),
        soname=string(DT_SONAME, "the soname"),
        needed=image.needed(),
        rpath=_directories(string(DT_RPATH, "the rpath")),
        runpath=_directories(string(DT_RUNPATH, "the runpath")),
        interpreter=image.interpreter(),
        slices=(),
        _stamp=window.stamp,
        _make_view=partial(ElfView, image.headers),
    )


def _directories(path: str | None) -> tuple[str, ...]:
    # An empty item in the middle means the current directory and stays.
    return tuple(path.split(":")) if path else ()
