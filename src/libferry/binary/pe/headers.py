"""What else the tables of a PE file say: hardening, thread-local storage, identity.

Most is a bit in a header. The load configuration is a struct that grew with each Windows;
it begins with its own size, and what lies behind that is not there. It holds what a
linker tells the loader: where the /GS cookie is, which functions may be called through
pointers (Control Flow Guard), which exception handlers are real (SafeSEH, 32-bit only),
where the dependencies may be looked for (/DEPENDENTLOADFLAG), and, if code of two CPUs is
in one file (Arm64EC, Arm64X), where the list of it is.

Specification: Microsoft, "PE Format"; winnt.h of the Windows SDK for the load configuration,
IMAGE_LOAD_CONFIG_DIRECTORY32 and 64, whose newer fields the specification leaves out.
"""

from __future__ import annotations

from struct import Struct
from typing import Literal, NamedTuple

from libferry.binary.model import Debug, Segment, Signature, Tls
from libferry.binary.pe.image import (
    CODE_VIEW_AT_MOST,
    DIRECTORY_CERTIFICATE,
    DIRECTORY_CLR,
    DIRECTORY_LOAD_CONFIG,
    DIRECTORY_TLS,
    DWORD,
    IMAGE_DEBUG_TYPE_CODEVIEW,
    IMAGE_FILE_MACHINE_AMD64,
    IMAGE_FILE_MACHINE_ARM64,
    IMAGE_SCN_CNT_CODE,
    IMAGE_SCN_MEM_EXECUTE,
    IMAGE_SCN_MEM_READ,
    IMAGE_SCN_MEM_WRITE,
    Image,
    debug_entries,
)
from libferry.binary.window import decode

Hybrid = Literal["arm64ec", "arm64x", "chpe"]

# "Optional Header", "DLL Characteristics": bit -> its name
DLL_CHARACTERISTICS = {
    0x0020: "HIGH_ENTROPY_VA",
    0x0040: "DYNAMIC_BASE",
    0x0080: "FORCE_INTEGRITY",
    0x0100: "NX_COMPAT",
    0x0200: "NO_ISOLATION",
    0x0400: "NO_SEH",
    0x0800: "NO_BIND",
    0x1000: "APPCONTAINER",
    0x2000: "WDM_DRIVER",
    0x4000: "GUARD_CF",
    0x8000: "TERMINAL_SERVER_AWARE",
}

# "Debug Type"
IMAGE_DEBUG_TYPE_REPRO = 16
IMAGE_DEBUG_TYPE_EX_DLLCHARACTERISTICS = 20
# "Extended DLL Characteristics"
IMAGE_DLLCHARACTERISTICS_EX_CET_COMPAT = 0x01
# CodeView: GUID as four numbers and eight bytes, age; a path follows. The signature RSDS
# is not in the specification; LLVM documents it in "The PDB File Format".
CODE_VIEW = Struct("<4sIHH8sI")
CODE_VIEW_SIGNATURE = b"RSDS"

# "The TLS Directory": addresses (not RVAs) of the data's start and end, of the index and
# of the callbacks; zeros that follow the data; characteristics
TLS = {32: Struct("<IIIIII"), 64: Struct("<QQQQII")}
POINTER = {32: Struct("<I"), 64: Struct("<Q")}
CALLBACKS_AT_MOST = 1 << 10
TLS_ALIGNMENT_SHIFT, TLS_ALIGNMENT_BITS = 20, 0xF  # IMAGE_SCN_ALIGN_*

# "The Attribute Certificate Table": length, revision, type
CERTIFICATE = Struct("<IHH")
WIN_CERT_TYPE_PKCS_SIGNED_DATA = 2

# winnt.h: bits -> offset of each field of the load configuration
LOAD_CONFIG: dict[str, dict[int, tuple[int, int]]] = {
    # name: {bits: (offset, width)}
    "dependent_load_flags": {32: (54, 2), 64: (78, 2)},
    "security_cookie": {32: (60, 4), 64: (88, 8)},
    "seh_table": {32: (64, 4), 64: (96, 8)},
    "seh_count": {32: (68, 4), 64: (104, 8)},
    "guard_check": {32: (72, 4), 64: (112, 8)},
    "guard_flags": {32: (88, 4), 64: (144, 4)},
    "hybrid": {32: (124, 4), 64: (200, 8)},
}
LOAD_CONFIG_AT_MOST = 1024
IMAGE_GUARD_CF_INSTRUMENTED = 0x100

# "The .cormeta Section" points to ECMA-335, II.25.3.3: runtime's version, then flags
CLR = Struct("<4xHH8xI")
COMIMAGE_FLAGS_ILONLY = 1


class LoadConfig(NamedTuple):
    """The load configuration; a field that the file does not have is 0.

    Attributes:
        dependent_load_flags: the ``LOAD_LIBRARY_SEARCH_*`` flags for its dependencies.
        security_cookie: address of the /GS cookie.
        seh_table, seh_count: the exception handlers that SafeSEH allows (32-bit).
        guard_check: address of the pointer to Control Flow Guard's check.
        guard_flags: ``IMAGE_GUARD_*``.
        hybrid: address of the list of code of the other CPU.
    """

    dependent_load_flags: int = 0
    security_cookie: int = 0
    seh_table: int = 0
    seh_count: int = 0
    guard_check: int = 0
    guard_flags: int = 0
    hybrid: int = 0

    @property
    def guard_cf(self) -> bool:
        """Whether its indirect calls are checked by Control Flow Guard."""
        return bool(self.guard_flags & IMAGE_GUARD_CF_INSTRUMENTED)


class Clr(NamedTuple):
    """The header of .NET code: the runtime's version, and whether there is nothing else."""

    runtime: tuple[int, int]
    only_managed: bool


def segments(image: Image) -> tuple[Segment, ...]:
    """Give the sections."""
    return tuple(
        Segment(
            name=decode(name.rstrip(b"\0")),
            address=rva,
            size=memory_size or file_size,
            offset=start,
            file_size=file_size,
            alignment=image.section_alignment,
            readable=bool(flags & IMAGE_SCN_MEM_READ),
            writable=bool(flags & IMAGE_SCN_MEM_WRITE),
            executable=bool(flags & (IMAGE_SCN_MEM_EXECUTE | IMAGE_SCN_CNT_CODE)),
        )
        for name, memory_size, rva, file_size, start, flags in image.headers
    )


def characteristics(image: Image) -> frozenset[str]:
    """Give the DLL characteristics by name."""
    flags = image.dll_characteristics
    return frozenset(name for bit, name in DLL_CHARACTERISTICS.items() if flags & bit)


def tls(image: Image) -> Tls | None:
    """Give the size of a thread's own data, and its alignment; 1 if the file does not say."""
    fields = _tls_directory(image)
    if fields is None:
        return None
    start, end, _, _, zeros, flags = fields
    shift = flags >> TLS_ALIGNMENT_SHIFT & TLS_ALIGNMENT_BITS
    return Tls(max(end - start, 0) + zeros, 1 << shift - 1 if shift else 1, "dynamic")


def tls_callbacks(image: Image) -> tuple[int, ...]:
    """Give the RVAs of functions that are called before the entry point."""
    fields = _tls_directory(image)
    if fields is None or not fields[3]:
        return ()
    what = "the TLS callbacks"
    pointer = POINTER[image.bits]
    table = image.at(fields[3] - image.base, what)
    found: list[int] = []
    for at in range(0, table.size - pointer.size + 1, pointer.size):
        (callback,) = table.unpack(pointer, at, what)
        if not callback:
            break
        if len(found) == CALLBACKS_AT_MOST:
            raise image.window.bad(f"{what} have no end")
        found.append(callback - image.base)
    return tuple(found)


def _tls_directory(image: Image) -> tuple[int, ...] | None:
    where = image.directory(DIRECTORY_TLS)
    if where is None:
        return None
    what = "the TLS directory"
    return image.at(where[0], what).unpack(TLS[image.bits], 0, what)


def debug(image: Image) -> Debug:
    """Give the identity of the PDB, and its path."""
    identity = link = None
    for kind, size, at in debug_entries(image):
        if kind == IMAGE_DEBUG_TYPE_CODEVIEW and CODE_VIEW.size <= size <= CODE_VIEW_AT_MOST:
            raw = image.window.bytes(at, size, "the CodeView record")
            signature, one, two, three, rest, age = CODE_VIEW.unpack_from(raw)
            if signature == CODE_VIEW_SIGNATURE:
                identity = f"{one:08x}{two:04x}{three:04x}{rest.hex()}{age:x}"
                link = decode(raw[CODE_VIEW.size :].split(b"\0")[0]) or None
                break
    # DWARF's sections, and the COFF symbols that GNU's and LLVM's linkers keep
    own = image.symbols[1] or any(row[0].startswith(b".debug") for row in image.headers)
    return Debug(identity, link, stripped=not own)


def is_reproducible(image: Image) -> bool:
    """Tell whether the time stamps are a hash of the contents (/Brepro)."""
    return any(kind == IMAGE_DEBUG_TYPE_REPRO for kind, _, _ in debug_entries(image))


def has_shadow_stack(image: Image) -> bool:
    """Tell whether it says that it runs with a shadow stack (/CETCOMPAT)."""
    for kind, size, at in debug_entries(image):
        if kind == IMAGE_DEBUG_TYPE_EX_DLLCHARACTERISTICS and size >= DWORD.size:
            (flags,) = image.window.unpack(DWORD, at, "the extended DLL characteristics")
            return bool(flags & IMAGE_DLLCHARACTERISTICS_EX_CET_COMPAT)
    return False


def signature(image: Image) -> Signature | None:
    """Give the signature, if there is one; its directory has a file offset, not an RVA."""
    where = image.directory(DIRECTORY_CERTIFICATE)
    if where is None or not where[1]:
        return None
    what = "the certificate table"
    _, _, kind = image.window.view(*where, what).unpack(CERTIFICATE, 0, what)
    return Signature("authenticode") if kind == WIN_CERT_TYPE_PKCS_SIGNED_DATA else None


def load_config(image: Image) -> LoadConfig | None:
    """Give the load configuration, as far as the file has it."""
    where = image.directory(DIRECTORY_LOAD_CONFIG)
    if where is None:
        return None
    what = "the load configuration"
    place = image.at(where[0], what)
    (size,) = place.unpack(DWORD, 0, what)
    raw = place.bytes(0, min(size, LOAD_CONFIG_AT_MOST), what)
    fields = {}
    for name, places in LOAD_CONFIG.items():
        offset, width = places[image.bits]
        if offset + width <= len(raw):
            fields[name] = int.from_bytes(raw[offset : offset + width], "little")
    return LoadConfig(**fields)


def hybrid(image: Image, config: LoadConfig | None) -> Hybrid | None:
    """Tell whether there is code of two CPUs in the file, and of which kind it is.

    Microsoft, "Arm64X PE files", https://learn.microsoft.com/windows/arm/arm64x-pe: one of
    Arm64EC says that it is for x64, one of Arm64X that it is for Arm64.
    """
    if config is None or not config.hybrid:
        return None
    kinds: dict[int, Hybrid] = {
        IMAGE_FILE_MACHINE_AMD64: "arm64ec",
        IMAGE_FILE_MACHINE_ARM64: "arm64x",
    }
    return kinds.get(image.machine, "chpe")


def clr(image: Image) -> Clr | None:
    """Give the header of .NET code, if there is any."""
    where = image.directory(DIRECTORY_CLR)
    if where is None:
        return None
    what = "the CLR header"
    major, minor, flags = image.at(where[0], what).unpack(CLR, 0, what)
    return Clr((major, minor), bool(flags & COMIMAGE_FLAGS_ILONLY))


RICH, RICH_START = b"Rich", b"DanS"
STUB_AT_MOST = 4096


def rich_header(image: Image) -> tuple[tuple[int, int, int], ...]:
    """Give product, build and number of objects of each of Microsoft's tools that took part.

    Between the DOS program and the PE header, Microsoft's linker writes this table, made
    unreadable with a key. It has never been documented; the layout is that of
    https://www.ntcore.com/files/richsign.htm.
    """
    raw = image.window.bytes(0, min(image.signature_at, STUB_AT_MOST), "the DOS program")
    end = raw.rfind(RICH)
    if end < 0 or end + 8 > len(raw):
        return ()
    (key,) = DWORD.unpack_from(raw, end + 4)
    (start,) = DWORD.unpack(RICH_START)
    words = [word ^ key for (word,) in DWORD.iter_unpack(raw[end % 4 : end])]
    if start not in words:
        return ()
    table = words[words.index(start) + 4 :]  # three words of padding
    return tuple(
        (tool >> 16, tool & 0xFFFF, count)
        for tool, count in zip(table[::2], table[1::2], strict=False)
    )


def compilers(image: Image) -> tuple[str, ...]:
    """Give the linker's version, and Microsoft's tools by their numbers."""
    tools = (
        f"Microsoft tool {product} build {build}"
        for product, build, _ in rich_header(image)
        if build
    )
    return (f"linker {image.linker[0]}.{image.linker[1]}", *dict.fromkeys(tools))
