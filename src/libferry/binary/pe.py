"""PE: Windows libraries and programs, and Wine's.

A PE file is a DOS program that prints "This program cannot be run in DOS mode",
with the real thing behind it, at the offset in its field ``e_lfanew``. Inside, all
addresses are RVAs: distances from where the image will lie in memory, where each
section is at its own address and not where it is in the file. To follow any of
them one goes through the section table.

Exports are three parallel-looking arrays that are not parallel. The first has the
addresses, one for each ordinal. The other two have the names and, for each name,
the index into the first. So one address may have no name, or several. An address
that points into the export directory itself is none: it is the text of a forward,
such as ``NTDLL.RtlAllocateHeap``.

Specification: Microsoft, "PE Format", https://learn.microsoft.com/windows/win32/debug/pe-format.
Where it is silent we do as the Windows and Wine loaders do, and say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Literal

from libferry.binary.addresses import AddressMap
from libferry.binary.model import Binary, Export, ExportKind
from libferry.binary.window import Window

# "MS-DOS Stub" and "Signature"
MAGIC = b"MZ"
E_LFANEW = 0x3C
SIGNATURE = b"PE\0\0"
OLDER_SIGNATURES = {b"NE": "16-bit Windows or OS/2", b"LE": "Windows VxD", b"LX": "32-bit OS/2"}

# "COFF File Header"
# machine, sections, time stamp, size of optional header, characteristics
COFF_HEADER = Struct("<HHI8xHH")
COFF_HEADER_SIZE = 20
IMAGE_FILE_DLL = 0x2000

# "Machine Types"
CPUS = {
    0x014C: "i386",
    0x0166: "mips",
    0x01A6: "sh4",
    0x01C0: "arm",
    0x01C2: "arm",
    0x01C4: "arm",
    0x01F0: "ppc",
    0x0200: "ia64",
    0x0EBC: "efi-bytecode",
    0x5032: "riscv32",
    0x5064: "riscv64",
    0x6232: "loongarch32",
    0x6264: "loongarch64",
    0x8664: "x86_64",
    0xA641: "aarch64",  # ARM64EC
    0xA64E: "aarch64",  # ARM64X
    0xAA64: "aarch64",
}

# "Optional Header": magic -> bits, and where its fields are: ImageBase with its
# width, SizeOfHeaders, NumberOfRvaAndSizes
OPTIONAL: dict[int, tuple[Literal[32, 64], int, Struct, int]] = {
    0x10B: (32, 28, Struct("<I"), 92),
    0x20B: (64, 24, Struct("<Q"), 108),
}
FILE_ALIGNMENT_OFFSET = 36
SIZE_OF_HEADERS_OFFSET = 60
DIRECTORY = Struct("<II")  # RVA, size
DIRECTORY_EXPORT, DIRECTORY_IMPORT, DIRECTORY_DELAY_IMPORT = 0, 1, 13
DIRECTORY_EXCEPTION, DIRECTORY_DEBUG = 3, 6

# "Section Table": virtual size, RVA, size in file, offset in file, characteristics
SECTION = Struct("<8xIIII12xI")
IMAGE_SCN_CNT_CODE, IMAGE_SCN_MEM_EXECUTE = 0x00000020, 0x20000000

# "Export Directory Table": RVA of the DLL's name, ordinal base, number of addresses,
# number of names, RVAs of the addresses, the names and the names' indices
EXPORTS = Struct("<12xIIIIIII")
# Not in the specification: ordinals are 16 bits wherever they are used.
EXPORTS_AT_MOST = 1 << 16

# "Import Directory Table" and "Delay-Load Directory Table"
IMPORT = Struct("<12xII")  # RVA of the name, RVA of the address table
DELAY_IMPORT = Struct("<II24x")  # attributes, RVA of the name
# Not in the specification: Visual C++ 6 wrote addresses for RVAs, and left this bit 0.
DELAY_IMPORT_HAS_RVAS = 1

# "Debug Directory (Image Only)": type, size of data, its RVA, its offset in the file
DEBUG = Struct("<12xIIII")
IMAGE_DEBUG_TYPE_CODEVIEW = 2
DEBUG_ENTRIES_AT_MOST = 64
CODE_VIEW_AT_MOST = 1024  # bytes: a signature, a GUID, an age, and a path

# "The .pdata Section", as x64 has it: begin, end, unwind information
IMAGE_FILE_MACHINE_AMD64 = 0x8664
FUNCTION = Struct("<I8x")
FUNCTIONS_AT_MOST = 1 << 20

WORD = Struct("<H")
DWORD = Struct("<I")

# A section as we use it: offset in the file, bytes in the file, holds code
Section = tuple[int, int, bool]


class Image:
    """The file as its loader sees it."""

    def __init__(self, window: Window) -> None:
        self.window = window
        at = _signature_offset(window)
        self.machine, count, self.time_stamp, optional_size, self.characteristics = window.unpack(
            COFF_HEADER, at + 4, "the COFF header"
        )
        optional = at + 4 + COFF_HEADER_SIZE
        (magic,) = window.unpack(WORD, optional, "the optional header")
        if magic not in OPTIONAL:
            raise window.bad(
                f"the optional header is of an unknown kind, {magic:#x}",
                at=optional,
            )
        self.bits, base_at, base_word, directories = OPTIONAL[magic]
        (self.base,) = window.unpack(base_word, optional + base_at, "the image base")
        self._directories = optional + directories + 4
        (self._directory_count,) = window.unpack(
            DWORD, optional + directories, "the number of data directories"
        )
        (alignment,) = window.unpack(DWORD, optional + FILE_ALIGNMENT_OFFSET, "the file alignment")
        (headers,) = window.unpack(DWORD, optional + SIZE_OF_HEADERS_OFFSET, "the headers' size")
        self._sections = AddressMap(
            self._read_sections(optional + optional_size, count, alignment, headers)
        )

    def _read_sections(
        self, offset: int, count: int, alignment: int, headers: int
    ) -> Iterator[tuple[int, int, Section]]:
        yield 0, headers, (0, min(headers, self.window.size), False)
        raw = self.window.bytes(offset, count * SECTION.size, "the section table")
        for number, row in enumerate(SECTION.iter_unpack(raw), 1):
            memory_size, rva, file_size, start, flags = row
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
        if number >= self._directory_count:
            return None
        at = self._directories + number * DIRECTORY.size
        rva, size = self.window.unpack(DIRECTORY, at, "the data directories")
        return (rva, size) if rva else None

    def at(self, rva: int, what: str) -> Window:
        """Give the part of the file from ``rva`` to the end of its section."""
        found = self._sections.find(rva)
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
        found = self._sections.find(rva)
        return found is not None and found[1][2]

    def export_directory(self) -> tuple[int, ...] | None:
        """Give the fields of the export directory that ``EXPORTS`` lists."""
        where = self.directory(DIRECTORY_EXPORT)
        if where is None:
            return None
        what = "the export directory"
        return self.at(where[0], what).unpack(EXPORTS, 0, what)

    def needed(self) -> list[str]:
        """Give the names of the DLLs that are imported, then of those loaded late."""
        names = []
        for name, table in self._descriptors(DIRECTORY_IMPORT, IMPORT, "the import table"):
            if not name or not table:
                break
            names.append(self.string(name, "the name of an imported DLL"))
        what = "the delay-load table"
        for attributes, name in self._descriptors(DIRECTORY_DELAY_IMPORT, DELAY_IMPORT, what):
            if not name:
                break
            rva = name if attributes & DELAY_IMPORT_HAS_RVAS else name - self.base
            names.append(self.string(rva, "the name of a delay-loaded DLL"))
        return list(dict.fromkeys(names))

    def _descriptors(self, number: int, record: Struct, what: str) -> Iterator[tuple[int, ...]]:
        """Read the rows of a table; loaders go by its empty last row, not by its size."""
        where = self.directory(number)
        if where is None:
            return
        table = self.at(where[0], what)
        for offset in range(0, table.size, record.size):
            # Behind a section's bytes in the file, memory is filled with zeros.
            row = table.bytes(offset, min(record.size, table.size - offset), what)
            yield record.unpack(row.ljust(record.size, b"\0"))


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


def code_view(image: Image) -> bytes | None:
    """Give the CodeView record, which names the PDB file with the library's symbols."""
    where = image.directory(DIRECTORY_DEBUG)
    if where is None:
        return None
    what = "the debug directory"
    table = image.at(where[0], what)
    for number in range(min(where[1] // DEBUG.size, DEBUG_ENTRIES_AT_MOST)):
        kind, size, _, at = table.unpack(DEBUG, number * DEBUG.size, what)
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
    """Read all but the exports."""
    from libferry.binary.pe_view import PeView

    image = Image(window)
    directory = image.export_directory()
    name = directory[0] if directory else 0
    return Binary(
        path=window.path,
        format="pe",
        kind="library" if image.characteristics & IMAGE_FILE_DLL else "executable",
        cpu=CPUS.get(image.machine, f"pe-machine-{image.machine:#x}"),
        bits=image.bits,
        endian="little",
        os="windows",
        soname=image.string(name, "the DLL's name") if name else None,
        needed=tuple(image.needed()),
        rpath=(),
        runpath=(),
        interpreter=None,
        slices=(),
        _stamp=window.stamp,
        _make_view=PeView,
    )


def exports(window: Window) -> tuple[Export, ...]:
    """List the exports by ordinal; an address with several names comes once for each."""
    image = Image(window)
    directory = image.export_directory()
    if directory is None:
        return ()
    _, base, count, name_count, addresses_at, names_at, indices_at = directory
    if count > EXPORTS_AT_MOST or name_count > EXPORTS_AT_MOST:
        raise window.bad(
            f"{count} exports with {name_count} names: ordinals have 16 bits, "
            f"so there can be no more than {EXPORTS_AT_MOST}"
        )
    if not count:
        return ()
    what = "the export address table"
    addresses = image.at(addresses_at, what).table(DWORD, 0, count, what)
    names = _names(image, name_count, names_at, indices_at)

    found = []
    start, size = image.directory(DIRECTORY_EXPORT) or (0, 0)
    for index, rva in enumerate(addresses):
        if not rva:
            continue  # an ordinal that is not used
        kind: ExportKind
        if start <= rva < start + size:
            kind, address, forward = "forward", 0, image.string(rva, "the text of a forward")
        else:
            kind = "function" if image.is_code(rva) else "data"
            address, forward = rva, None
        for name in names.get(index, [f"#{base + index}"]):
            found.append(Export(name, kind, None, address, ordinal=base + index, forward=forward))
    return tuple(found)


def _names(image: Image, count: int, names_at: int, indices_at: int) -> dict[int, list[str]]:
    """Give the names for each index into the address table."""
    names: dict[int, list[str]] = {}
    if count:
        what = "the export name table"
        rvas = image.at(names_at, what).table(DWORD, 0, count, what)
        what = "the export ordinal table"
        indices = image.at(indices_at, what).table(WORD, 0, count, what)
        for rva, index in zip(rvas, indices, strict=True):
            names.setdefault(index, []).append(image.string(rva, "the name of an export"))
    return names
