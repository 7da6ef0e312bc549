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

from collections.abc import Iterator
from functools import lru_cache
from operator import itemgetter
from struct import Struct
from typing import Literal, NamedTuple

from libferry.binary.addresses import AddressMap
from libferry.binary.model import Binary, Endian, Kind
from libferry.binary.window import Window

# gABI, "ELF Header": e_ident
MAGIC = b"\x7fELF"
BITS: dict[int, Literal[32, 64]] = {1: 32, 2: 64}  # EI_CLASS
ORDERS: dict[int, tuple[str, Endian]] = {1: ("<", "little"), 2: (">", "big")}  # EI_DATA
EV_CURRENT = 1

# gABI, "ELF Header": EI_OSABI. Linux is 3 only if a file uses GNU extensions,
# and 0 ("System V", or "nothing special") otherwise.
SYSTEMS = {
    0: "linux",
    1: "hpux",
    2: "netbsd",
    3: "linux",
    6: "solaris",
    7: "aix",
    9: "freebsd",
    12: "openbsd",
    64: "linux",  # ELFOSABI_ARM_AEABI
    97: "linux",  # ELFOSABI_ARM
}

# gABI, "ELF Header": e_type
ET_REL, ET_EXEC, ET_DYN, ET_CORE = 1, 2, 3, 4

# gABI, "ELF Header": e_machine, with our name for 32 and for 64 bits. An EM_X86_64
# file of 32 bits is the x32 ABI.
CPUS = {
    2: ("sparc", "sparc64"),
    3: ("i386", "i386"),
    4: ("m68k", "m68k"),
    8: ("mips", "mips64"),
    15: ("hppa", "hppa64"),
    18: ("sparc", "sparc64"),
    20: ("ppc", "ppc"),
    21: ("ppc64", "ppc64"),
    22: ("s390", "s390x"),
    40: ("arm", "arm"),
    42: ("sh4", "sh4"),
    43: ("sparc64", "sparc64"),
    50: ("ia64", "ia64"),
    62: ("x86_64", "x86_64"),
    183: ("aarch64", "aarch64"),
    243: ("riscv32", "riscv64"),
    247: ("bpf", "bpf"),
    258: ("loongarch32", "loongarch64"),
    0x9026: ("alpha", "alpha"),
}

# gABI, "Program Header": p_type and p_flags
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
PF_X = 1

# gABI, "Dynamic Section": d_tag; the last four are GNU's
DT_NULL, DT_NEEDED, DT_HASH, DT_STRTAB, DT_SYMTAB = 0, 1, 4, 5, 6
DT_STRSZ, DT_SYMENT, DT_SONAME, DT_RPATH, DT_RUNPATH = 10, 11, 14, 15, 29
DT_GNU_HASH, DT_VERSYM, DT_FLAGS_1, DT_VERDEF = 0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFFB, 0x6FFFFFFC
DF_1_PIE = 0x08000000


class Record:
    """One C struct in one class and byte order, read as the fields we use.

    The 32-bit and the 64-bit form of a struct differ in the width of fields and
    in their order. The tables below give both; the code sees neither.
    """

    __slots__ = ("_fields", "size", "struct")

    def __init__(self, order: str, form: tuple[str, str], wanted: str) -> None:
        codes, names = form
        self.struct = Struct(order + codes)
        self.size = self.struct.size
        self._fields = itemgetter(*(names.split().index(name) for name in wanted.split()))

    def rows(self, raw: bytes) -> Iterator[tuple[int, ...]]:
        """Read all structs in ``raw``, whose length is a multiple of ours."""
        return map(self._fields, self.struct.iter_unpack(raw))


# gABI, chapter 4 "ELF Header" and "Symbol Table", chapter 5 "Program Header" and
# "Dynamic Section": (codes of the struct module, names of the fields), by class
_HEADER_NAMES = (
    "type machine version entry phoff shoff flags ehsize phentsize phnum shentsize shnum shstrndx"
)
_HEADER = {32: ("HHI III I HHHHHH", _HEADER_NAMES), 64: ("HHI QQQ I HHHHHH", _HEADER_NAMES)}
_SEGMENT = {
    32: ("IIIIIIII", "type offset vaddr paddr filesz memsz flags align"),
    64: ("IIQQQQQQ", "type flags offset vaddr paddr filesz memsz align"),
}
_DYNAMIC = {32: ("II", "tag value"), 64: ("QQ", "tag value")}
_SECTION_NAMES = "name type flags addr offset size link info addralign entsize"
_SECTION = {32: ("IIIIIIIIII", _SECTION_NAMES), 64: ("IIQQQQIIQQ", _SECTION_NAMES)}
_SYMBOL = {
    32: ("IIIBBH", "name value size info other shndx"),
    64: ("IBBHQQ", "name info other shndx value size"),
}


class Layout(NamedTuple):
    """How one class and byte order stores each struct."""

    bits: Literal[32, 64]
    endian: Endian
    word: Struct
    half: Struct
    xword: Struct
    header: Record
    segment: Record
    dynamic: Record
    symbol: Record
    sections: Record
    section: Record
    sized: Record


@lru_cache(maxsize=4)
def _layout(elf_class: int, data: int) -> Layout:
    bits, (order, endian) = BITS[elf_class], ORDERS[data]
    return Layout(
        bits,
        endian,
        Struct(order + "I"),
        Struct(order + "H"),
        Struct(order + "Q"),
        Record(order, _HEADER[bits], "type machine version phoff phentsize phnum"),
        Record(order, _SEGMENT[bits], "type flags offset vaddr filesz memsz"),
        Record(order, _DYNAMIC[bits], "tag value"),
        Record(order, _SYMBOL[bits], "name info other shndx value"),
        Record(order, _HEADER[bits], "shoff shentsize shnum shstrndx"),
        Record(order, _SECTION[bits], "name type flags addr offset size link"),
        Record(order, _SYMBOL[bits], "name info shndx value size"),
    )


class Image:
    """The file as its loader sees it."""

    def __init__(self, window: Window) -> None:
        self.window = window
        ident = window.bytes(0, 16, "the ELF identification")
        elf_class, data, self.osabi = ident[4], ident[5], ident[7]
        if elf_class not in BITS or data not in ORDERS:
            raise window.bad(
                f"the ELF class is {elf_class} and the byte order {data}, "
                "where each can only be 1 or 2",
                at=4,
            )
        self.layout = layout = _layout(elf_class, data)
        raw = window.bytes(16, layout.header.size, "the ELF header")
        ((self.type, self.machine, version, offset, size, count),) = layout.header.rows(raw)
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
        self.segments = list(layout.segment.rows(raw))
        self.loads = [segment for segment in self.segments if segment[0] == PT_LOAD]
        self._map = AddressMap((s[3], s[5], s) for s in self.loads)
        self.entries = self._dynamic_entries()
        # The loader keeps one value for each tag: the last.
        self.tags = dict(self.entries)
        self._strings: Window | None = None

    def check_segments(self) -> None:
        """Refuse a file that ends before its segments do; see the top of this file."""
        for _, _, offset, _, size, _ in self.loads:
            if offset + size > self.window.size:
                raise self.window.bad(
                    f"a PT_LOAD segment ends at {offset + size:#x}, but the file at "
                    f"{self.window.size:#x}: it was cut short, and to load it would kill "
                    "the process with SIGBUS",
                    hint="copy or build the file again; if it is a .debug file, "
                    "give the library it belongs to",
                )

    def at(self, address: int, what: str) -> Window:
        """Give the part of the file from ``address`` to the end of its segment."""
        found = self._map.find(address)
        if found is None:
            raise self.window.bad(f"{what} is at address {address:#x}, which no PT_LOAD covers")
        into, (_, _, offset, _, size, _) = found
        if into >= size:
            raise self.window.bad(
                f"{what} is at address {address:#x}, for which the file has no bytes",
                hint="if this is a .debug file, which has the addresses of a library without "
                "its contents, give the library it belongs to; else get the file again",
            )
        return self.window.view(offset + into, size - into, "its segment")

    def _dynamic_entries(self) -> list[tuple[int, int]]:
        entry = self.layout.dynamic
        # The loader goes by the address, and if there are two, by the last.
        for kind, _, _, address, size, _ in reversed(self.segments):
            if kind == PT_DYNAMIC:
                what = "the dynamic section"
                raw = self.at(address, what).bytes(0, size - size % entry.size, what)
                entries: list[tuple[int, int]] = []
                for tag, value in entry.rows(raw):
                    if tag == DT_NULL:
                        return entries
                    entries.append((tag, value))
                raise self.window.bad("the dynamic section does not end with DT_NULL")
        return []

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
        interpreted = any(segment[0] == PT_INTERP for segment in self.segments)
        return "executable" if interpreted and DT_SONAME not in self.tags else "library"

    def interpreter(self) -> str | None:
        """Give the path in PT_INTERP."""
        for kind, _, offset, _, size, _ in self.segments:
            if kind == PT_INTERP:
                what = "the interpreter's path"
                return self.window.view(offset, size, what).string(0, what)
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

    needed = [
        image.string(value, "the name of a needed library")
        for tag, value in image.entries
        if tag == DT_NEEDED
    ]
    return Binary(
        path=window.path,
        format="elf",
        kind=image.kind(),
        cpu=cpu_name(image.machine, layout.bits),
        bits=layout.bits,
        endian=layout.endian,
        os=SYSTEMS.get(image.osabi, f"elf-osabi-{image.osabi}"),
        soname=string(DT_SONAME, "the soname"),
        needed=tuple(needed),
        rpath=_directories(string(DT_RPATH, "the rpath")),
        runpath=_directories(string(DT_RUNPATH, "the runpath")),
        interpreter=image.interpreter(),
        slices=(),
        _stamp=window.stamp,
        _make_view=ElfView,
    )


def _directories(path: str | None) -> tuple[str, ...]:
    # An empty item in the middle means the current directory and stays.
    return tuple(path.split(":")) if path else ()
