"""The PE file as its loader sees it: headers, sections, data directories.

A PE file is a DOS program that prints "This program cannot be run in DOS mode",
with the real thing behind it, at the offset in its field ``e_lfanew``. Inside, all
addresses are RVAs: distances from where the image will lie in memory, where each
section is at its own address and not where it is in the file. To follow any of
them one goes through the section table.

Specification: Microsoft, "PE Format", https://learn.microsoft.com/windows/win32/debug/pe-format.
Where it is silent we do as the Windows and Wine loaders do, and say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING, Literal

from libferry.binary.addresses import AddressMap
from libferry.binary.model import Binary
from libferry.binary.window import Stamp, Window

if TYPE_CHECKING:
    from libferry.binary.view import View

# "MS-DOS Stub" and "Signature"
MAGIC = b"MZ"
E_LFANEW = 0x3C
SIGNATURE = b"PE\0\0"
OLDER_SIGNATURES = {b"NE": "16-bit Windows or OS/2", b"LE": "Windows VxD", b"LX": "32-bit OS/2"}

# "COFF File Header": machine, sections, time stamp, offset and length of the symbol table,
# size of the optional header, characteristics
COFF_HEADER = Struct("<HHIIIHH")
IMAGE_FILE_RELOCS_STRIPPED = 0x0001
IMAGE_FILE_DLL = 0x2000

# "Machine Types"
IMAGE_FILE_MACHINE_AMD64 = 0x8664
IMAGE_FILE_MACHINE_ARM64 = 0xAA64
CPUS = {
    0x014C: "i386",
    0x0166: "mips",
    0x01A6: "sh4",
    0x01C0: "arm",
    0x01C2: "arm",
    0x01C4: "arm",  # ARMNT
    0x01F0: "ppc",
    0x0200: "ia64",
    0x0EBC: "efi-bytecode",
    0x5032: "riscv32",
    0x5064: "riscv64",
    0x6232: "loongarch32",
    0x6264: "loongarch64",
    IMAGE_FILE_MACHINE_AMD64: "x86_64",
    0xA641: "aarch64",  # ARM64EC
    0xA64E: "aarch64",  # ARM64X
    IMAGE_FILE_MACHINE_ARM64: "aarch64",
}

# "Optional Header": magic; the linker's version; ImageBase; SectionAlignment and
# FileAlignment; the subsystem's version; SizeOfHeaders; Subsystem, DllCharacteristics;
# NumberOfRvaAndSizes
MAGIC_WORD = Struct("<H")
OPTIONAL: dict[int, tuple[Literal[32, 64], Struct]] = {
    0x10B: (32, Struct("<HBB24xIII8xHH8xI4xHH20xI")),
    0x20B: (64, Struct("<HBB20xQII8xHH8xI4xHH36xI")),
}
DIRECTORY = Struct("<II")  # RVA, size
DIRECTORY_EXPORT, DIRECTORY_IMPORT, DIRECTORY_RESOURCE, DIRECTORY_EXCEPTION = 0, 1, 2, 3
DIRECTORY_CERTIFICATE, DIRECTORY_RELOCATION, DIRECTORY_DEBUG, DIRECTORY_TLS = 4, 5, 6, 9
DIRECTORY_LOAD_CONFIG, DIRECTORY_DELAY_IMPORT, DIRECTORY_CLR = 10, 13, 14
DIRECTORIES_AT_MOST = 16

# "Section Table": name, virtual size, RVA, size in file, offset in file, characteristics
SECTION = Struct("<8sIIII12xI")
IMAGE_SCN_CNT_CODE, IMAGE_SCN_MEM_EXECUTE = 0x00000020, 0x20000000
IMAGE_SCN_MEM_READ, IMAGE_SCN_MEM_WRITE = 0x40000000, 0x80000000

# "Debug Directory (Image Only)": type, size of data, its RVA, its offset in the file
DEBUG = Struct("<12xIIII")
IMAGE_DEBUG_TYPE_CODEVIEW = 2
DEBUG_ENTRIES_AT_MOST = 64
CODE_VIEW_AT_MOST = 1024  # bytes: a signature, a GUID, an age, and a path

# "The .pdata Section", as x64 has it: begin, end, unwind information
FUNCTION = Struct("<I8x")
FUNCTIONS_AT_MOST = 1 << 20

DWORD = Struct("<I")

# A section as we use it: offset in the file, bytes in the file, holds code
Section = tuple[int, int, bool]


class Image:
    """The file as its loader sees it.

    Attributes:
        signature_at: offset of the PE signature in the file.
        machine, characteristics, time_stamp: of the COFF header.
        symbols: offset and number of COFF symbols, which GNU's linker writes.
        bits, base, linker, subsystem_version, subsystem, dll_characteristics: of the
            optional header.
        headers: the section table as it is in the file, a row of ``SECTION`` each.
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        at = self.signature_at = _signature_offset(window)
        self.machine, count, self.time_stamp, *self.symbols, optional_size, flags = window.unpack(
            COFF_HEADER, at + 4, "the COFF header"
        )
        self.characteristics = flags
        optional = at + 4 + COFF_HEADER.size
        (magic,) = window.unpack(MAGIC_WORD, optional, "the optional header")
        if magic not in OPTIONAL:
            raise window.bad(
                f"the optional header is of an unknown kind, {magic:#x}",
                at=optional,
            )
        self.bits, header = OPTIONAL[magic]
        fields = window.unpack(header, optional, "the optional header")
        self.linker, self.subsystem_version = fields[1:3], fields[6:8]
        self.base, self.section_alignment, alignment = fields[3:6]
        size, self.subsystem, self.dll_characteristics, directories = fields[8:]
        self._directories = window.bytes(
            optional + header.size,
            min(directories, DIRECTORIES_AT_MOST) * DIRECTORY.size,
            "the data directories",
        )
        raw = window.bytes(optional + optional_size, count * SECTION.size, "the section table")
        self.headers = tuple(SECTION.iter_unpack(raw))
        self.sections = AddressMap(self._loaded(alignment, size))

    def _loaded(self, alignment: int, headers: int) -> Iterator[tuple[int, int, Section]]:
        yield 0, headers, (0, min(headers, self.window.size), False)
        for number, row in enumerate(self.headers, 1):
            _, memory_size, rva, file_size, start, flags = row
            if file_size and start + file_size > self.window.size:
                raise self.window.bad(
                    f"section {number} ends at {start + file_size:#x}, but the file at "
                    f"{self.window.size:#x}: it was cut short",
                    hint="copy or build the file again",
                )
            # Not in the specification: Windows reads from whole disk sectors.
            start = start & ~0x1FF if alignment >= 0x200 else start
            code = bool(flags & (IMAGE_SCN_CNT_CODE | IMAGE_SCN_MEM_EXECUTE))
            yield rva, max(memory_size, file_size), (start, file_size, code)

    def directory(self, number: int) -> tuple[int, int] | None:
        """Give the RVA and size of a data directory, or None if it is not there."""
        if (number + 1) * DIRECTORY.size > len(self._directories):
            return None
        rva, size = DIRECTORY.unpack_from(self._directories, number * DIRECTORY.size)
        return (rva, size) if rva else None

    def at(self, rva: int, what: str) -> Window:
        """Give the part of the file from ``rva`` to the end of its section."""
        found = self.sections.find(rva)
        if found is None:
            raise self.window.bad(f"{what} is at RVA {rva:#x}, which is in no section")
        into, (start, size, _) = found
        if into > size:
            raise self.window.bad(f"{what} is at RVA {rva:#x}, for which the file has no bytes")
        return self.window.view(start + into, size - into, "its section")

    def string(self, rva: int, what: str) -> str:
        """Give the string at ``rva``."""
        return self.at(rva, what).string(0, what)

    def is_code(self, rva: int) -> bool:
        """Tell whether ``rva`` is in a section that holds code."""
        found = self.sections.find(rva)
        return found is not None and found[1][2]


def function_starts(image: Image) -> list[int]:
    """Give the RVAs where functions begin, of all that the exception directory lists.

    On x64 those are all that call another. Other CPUs have other tables, or none; for them
    this is empty.
    """
    where = image.directory(DIRECTORY_EXCEPTION)
    if where is None or image.machine != IMAGE_FILE_MACHINE_AMD64:
        return []
    what = "the exception directory"
    count = min(where[1] // FUNCTION.size, FUNCTIONS_AT_MOST)
    return sorted(image.at(where[0], what).table(FUNCTION, 0, count, what))


def debug_entries(image: Image) -> Iterator[tuple[int, int, int]]:
    """Give type, size and file offset of the data of each entry of the debug directory."""
    where = image.directory(DIRECTORY_DEBUG)
    if where is None:
        return
    what = "the debug directory"
    table = image.at(where[0], what)
    for number in range(min(where[1] // DEBUG.size, DEBUG_ENTRIES_AT_MOST)):
        kind, size, _, at = table.unpack(DEBUG, number * DEBUG.size, what)
        yield kind, size, at


def code_view(image: Image) -> bytes | None:
    """Give the CodeView record, which names the PDB file with the library's symbols."""
    for kind, size, at in debug_entries(image):
        if kind == IMAGE_DEBUG_TYPE_CODEVIEW and size <= CODE_VIEW_AT_MOST:
            return image.window.bytes(at, size, "the CodeView record")
    return None


def _signature_offset(window: Window) -> int:
    (at,) = window.unpack(DWORD, E_LFANEW, "the DOS header")
    signature = window.bytes(at, 4, "the PE signature") if at + 4 <= window.size else b""
    if signature == SIGNATURE:
        return int(at)
    if signature[:2] in OLDER_SIGNATURES:
        raise window.bad(
            f"this is a program for {OLDER_SIGNATURES[signature[:2]]}, older than PE",
            hint="use a 32-bit or 64-bit Windows build of the library",
        )
    raise window.bad(
        "the file begins as a DOS program but has no PE header: it is a real DOS program, "
        "or a Windows library that was cut short",
        at=at,
        hint="check that the file is complete, and that it is a 32-bit or 64-bit Windows library",
    )


def read(window: Window) -> Binary:
    """Read all but what the view reads late."""
    from libferry.binary.pe.exports import own_name
    from libferry.binary.pe.imports import dependencies

    image = Image(window)
    return Binary(
        path=window.path,
        format="pe",
        kind="library" if image.characteristics & IMAGE_FILE_DLL else "executable",
        cpu=CPUS.get(image.machine, f"pe-machine-{image.machine:#x}"),
        bits=image.bits,
        endian="little",
        os="windows",
        soname=own_name(image),
        needed=tuple(dependency.name for dependency in dependencies(image)),
        rpath=(),
        runpath=(),
        interpreter=None,
        slices=(),
        _stamp=window.stamp,
        _make_view=_view,
    )


def _view(path: Path, stamp: Stamp) -> View:
    from libferry.binary.pe.view import PeView

    return PeView(path, stamp)
