"""How an ELF file stores its structs, and the constants that its readers share.

The 32-bit and the 64-bit class differ in the width of fields and in their order, and
each comes in both byte orders. The tables here give each struct in each form.

Specification: System V gABI, chapters 4 "Object Files" and 5 "Program Loading and
Dynamic Linking", https://gabi.xinuos.com. Constants have the names of ``elf.h``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from operator import itemgetter
from struct import Struct
from typing import Literal, NamedTuple

from libferry.binary.model import Endian

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

# gABI, "Program Header": p_type and p_flags; those from PT_GNU_STACK on are GNU's
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_TLS = 1, 2, 3, 4, 7
PT_GNU_STACK, PT_GNU_RELRO, PT_GNU_PROPERTY = 0x6474E551, 0x6474E552, 0x6474E553
PF_X, PF_W, PF_R = 1, 2, 4

# gABI, "Dynamic Section": d_tag; those from DT_GNU_HASH on are GNU's and Solaris'
DT_NULL, DT_NEEDED, DT_PLTRELSZ, DT_HASH, DT_STRTAB, DT_SYMTAB = 0, 1, 2, 4, 5, 6
DT_RELA, DT_RELASZ, DT_STRSZ, DT_SYMENT, DT_INIT, DT_FINI = 7, 8, 10, 11, 12, 13
DT_SONAME, DT_RPATH, DT_SYMBOLIC, DT_REL, DT_RELSZ, DT_PLTREL = 14, 15, 16, 17, 18, 20
DT_TEXTREL, DT_JMPREL, DT_BIND_NOW, DT_INIT_ARRAY, DT_FINI_ARRAY = 22, 23, 24, 25, 26
DT_INIT_ARRAYSZ, DT_FINI_ARRAYSZ, DT_RUNPATH, DT_FLAGS = 27, 28, 29, 30
DT_PREINIT_ARRAY, DT_PREINIT_ARRAYSZ, DT_RELRSZ, DT_RELR = 32, 33, 35, 36
DT_GNU_HASH, DT_DEPAUDIT, DT_AUDIT = 0x6FFFFEF5, 0x6FFFFEFB, 0x6FFFFEFC
DT_VERSYM, DT_FLAGS_1, DT_VERDEF, DT_VERNEED = 0x6FFFFFF0, 0x6FFFFFFB, 0x6FFFFFFC, 0x6FFFFFFE
DT_AUXILIARY, DT_FILTER = 0x7FFFFFFD, 0x7FFFFFFF
DT_MIPS_SYMTABNO = 0x70000011  # MIPS psABI supplement, "Dynamic Section"

# gABI, "Dynamic Section": DT_FLAGS; elf.h: DT_FLAGS_1
DF_NAMES = {1: "ORIGIN", 2: "SYMBOLIC", 4: "TEXTREL", 8: "NOW", 16: "STATIC_TLS"}
DF_1_NAMES = {
    0x1: "NOW",
    0x2: "GLOBAL",
    0x4: "GROUP",
    0x8: "NODELETE",
    0x10: "LOADFLTR",
    0x20: "INITFIRST",
    0x40: "NOOPEN",
    0x80: "ORIGIN",
    0x100: "DIRECT",
    0x400: "INTERPOSE",
    0x800: "NODEFLIB",
    0x1000: "NODUMP",
    0x2000: "CONFALT",
    0x4000: "ENDFILTEE",
    0x200000: "EDITED",
    0x1000000: "GLOBAUDIT",
    0x2000000: "SINGLETON",
    0x8000000: "PIE",
}
DF_1_PIE = 0x08000000

# gABI, "ELF Header": e_machine, of those that a rule of their own applies to
EM_386, EM_MIPS, EM_PPC64, EM_S390, EM_ARM = 3, 8, 21, 22, 40
EM_X86_64, EM_AARCH64, EM_RISCV, EM_LOONGARCH, EM_ALPHA = 62, 183, 243, 258, 0x9026

# gABI, "Symbol Table": st_info, st_other and st_shndx
STB_LOCAL, STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE = 0, 1, 2, 10
STV_INTERNAL, STV_HIDDEN, STV_PROTECTED = 1, 2, 3
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_COMMON, STT_TLS, STT_GNU_IFUNC = 0, 1, 2, 5, 6, 10
SHN_UNDEF, SHN_ABS = 0, 0xFFF1


class ProgramHeader(NamedTuple):
    """One program header, in the order that both classes are brought to."""

    type: int
    flags: int
    offset: int
    address: int
    file_size: int
    size: int
    alignment: int


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

    order: str
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

    def __reduce__(self) -> tuple[Callable[[int, int], Layout], tuple[int, int]]:
        """Let what has a layout be pickled, which ``Struct`` cannot be."""
        return layout_of, (self.bits // 32, 1 if self.endian == "little" else 2)


@lru_cache(maxsize=4)
def layout_of(elf_class: int, data: int) -> Layout:
    """Give the layout for the two bytes of ``e_ident`` that decide it."""
    bits, (order, endian) = BITS[elf_class], ORDERS[data]
    return Layout(
        order,
        bits,
        endian,
        Struct(order + "I"),
        Struct(order + "H"),
        Struct(order + "Q"),
        Record(order, _HEADER[bits], "type machine version phoff phentsize phnum flags"),
        Record(order, _SEGMENT[bits], "type flags offset vaddr filesz memsz align"),
        Record(order, _DYNAMIC[bits], "tag value"),
        Record(order, _SYMBOL[bits], "name info other shndx value"),
        Record(order, _HEADER[bits], "shoff shentsize shnum shstrndx"),
        Record(order, _SECTION[bits], "name type flags addr offset size link"),
        Record(order, _SYMBOL[bits], "name info shndx value size"),
    )
