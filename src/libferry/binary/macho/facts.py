"""What the numbers in Mach-O files mean.

Each table names the header of Apple's that it follows: ``mach-o/loader.h``, ``fat.h``,
``nlist.h``, ``fixup-chains.h`` (Xcode 16; all but the last are also in the open source of
``cctools``, the last in that of ``dyld``), ``mach/machine.h`` and ``kern/cs_blobs.h`` (xnu).
"""

from __future__ import annotations

from struct import Struct
from typing import Literal

from libferry.binary.model import Endian, Kind

# loader.h: mach_header.magic as it lies in the file -> (order, endian, bits)
Magic = tuple[str, Endian, Literal[32, 64]]
MAGICS: dict[bytes, Magic] = {
    b"\xfe\xed\xfa\xce": (">", "big", 32),
    b"\xce\xfa\xed\xfe": ("<", "little", 32),
    b"\xfe\xed\xfa\xcf": (">", "big", 64),
    b"\xcf\xfa\xed\xfe": ("<", "little", 64),
}
# fat.h: fat_header.magic -> fat_arch as cputype, cpusubtype, offset, size
UNIVERSAL_MAGICS = {
    b"\xca\xfe\xba\xbe": Struct(">IIII4x"),
    b"\xca\xfe\xba\xbf": Struct(">IIQQ8x"),
}
FIRST_JAVA_VERSION = 45

# machine.h: cpu_type_t
X86_64, ARM64, ARM64_32 = 0x01000007, 0x0100000C, 0x0200000C
CPUS = {
    7: "i386",
    12: "arm",
    18: "ppc",
    X86_64: "x86_64",
    ARM64: "aarch64",
    0x01000012: "ppc64",
    ARM64_32: "aarch64",  # of the Apple Watch
}

# machine.h: cpu_subtype_t; its highest byte says what the code can do
SUBTYPE_MASK = 0x00FFFFFF
# (cpu_type_t, cpu_subtype_t) -> the name that lipo, otool and dyld have for it
# (cctools, libmacho/arch.c; dyld-1378, mach_o/Architecture.cpp)
ARCHITECTURES = {
    (7, 3): "i386",
    (12, 6): "armv6",
    (12, 9): "armv7",
    (12, 11): "armv7s",
    (12, 12): "armv7k",
    (18, 0): "ppc",
    (0x01000012, 0): "ppc64",
    (X86_64, 3): "x86_64",
    (X86_64, 8): "x86_64h",
    (ARM64, 0): "arm64",
    (ARM64, 1): "arm64v8",
    (ARM64, 2): "arm64e",
    (ARM64_32, 0): "arm64_32",
    (ARM64_32, 1): "arm64_32",
}
# machine.h: CPU_SUBTYPE_ARM64E_VERSIONED_ABI_MASK, CPU_SUBTYPE_ARM64_PTR_AUTH_MASK
ARM64E_VERSIONED, ARM64E_VERSION_SHIFT, ARM64E_VERSION_MASK = 0x80000000, 24, 0x0F

# loader.h: mach_header.filetype -> (what it is for us, the name that otool has for it)
FILE_TYPES: dict[int, tuple[Kind, str]] = {
    1: ("object", "OBJECT"),
    2: ("executable", "EXECUTE"),
    3: ("library", "FVMLIB"),
    4: ("object", "CORE"),
    5: ("executable", "PRELOAD"),
    6: ("library", "DYLIB"),
    7: ("library", "DYLINKER"),
    8: ("library", "BUNDLE"),
    9: ("library", "DYLIB_STUB"),
    10: ("object", "DSYM"),
    11: ("object", "KEXT_BUNDLE"),
    12: ("object", "FILESET"),
}
# A stub has the commands of a library without its contents.
MH_DYLIB_STUB = 9

# loader.h: mach_header.flags, from the lowest bit
FLAGS = (
    *("NOUNDEFS", "INCRLINK", "DYLDLINK", "BINDATLOAD", "PREBOUND", "SPLIT_SEGS"),
    *("LAZY_INIT", "TWOLEVEL", "FORCE_FLAT", "NOMULTIDEFS", "NOFIXPREBINDING"),
    *("PREBINDABLE", "ALLMODSBOUND", "SUBSECTIONS_VIA_SYMBOLS", "CANONICAL"),
    *("WEAK_DEFINES", "BINDS_TO_WEAK", "ALLOW_STACK_EXECUTION", "ROOT_SAFE"),
    *("SETUID_SAFE", "NO_REEXPORTED_DYLIBS", "PIE", "DEAD_STRIPPABLE_DYLIB"),
    *("HAS_TLV_DESCRIPTORS", "NO_HEAP_EXECUTION", "APP_EXTENSION_SAFE"),
    *(
        "NLIST_OUTOFSYNC_WITH_DYLDINFO",
        "SIM_SUPPORT",
        "IMPLICIT_PAGEZERO",
        "",
        "",
        "DYLIB_IN_CACHE",
    ),
)

# loader.h: load_command.cmd. The highest bit, LC_REQ_DYLD, only tells dyld to refuse
# the file if it does not know the command; we leave it out.
LC_REQ_DYLD = 0x80000000
LC_SEGMENT, LC_SEGMENT_64, LC_SYMTAB, LC_DYSYMTAB = 0x01, 0x19, 0x02, 0x0B
LC_ID_DYLIB, LC_LOAD_DYLINKER, LC_RPATH, LC_UUID = 0x0D, 0x0E, 0x1C, 0x1B
LC_SUB_FRAMEWORK, LC_SUB_CLIENT, LC_CODE_SIGNATURE, LC_DYLD_ENVIRONMENT = 0x12, 0x14, 0x1D, 0x27
LC_ENCRYPTION_INFO, LC_ENCRYPTION_INFO_64 = 0x21, 0x2C
LC_BUILD_VERSION, LC_DYLD_INFO, LC_DYLD_EXPORTS_TRIE, LC_DYLD_CHAINED_FIXUPS = (
    0x32,
    0x22,
    0x33,
    0x34,
)

# loader.h: the commands that name a library that is asked for; the last two flags of
# dylib_use_command come in the command for an ordinary or a weak library
LC_LOAD_DYLIB, LC_LOAD_WEAK_DYLIB, LC_REEXPORT_DYLIB = 0x0C, 0x18, 0x1F
LC_LAZY_LOAD_DYLIB, LC_LOAD_UPWARD_DYLIB = 0x20, 0x23
LOADS_LIBRARY = (
    *(LC_LOAD_DYLIB, LC_LOAD_WEAK_DYLIB, LC_REEXPORT_DYLIB),
    *(LC_LAZY_LOAD_DYLIB, LC_LOAD_UPWARD_DYLIB),
)
# loader.h: dylib_use_command, since macOS 15: its marker lies where others have a timestamp
USE_MARKER, USE_COMMAND_SIZE = 0x1A741800, 28
USE_WEAK, USE_REEXPORT, USE_UPWARD, USE_DELAYED_INIT = 1, 2, 4, 8
# dyld-1378, mach_o/UnsafeHeader.cpp, loadCommandToDylibKind
USES = {
    LC_LOAD_WEAK_DYLIB: USE_WEAK,
    LC_REEXPORT_DYLIB: USE_REEXPORT,
    LC_LOAD_UPWARD_DYLIB: USE_UPWARD,
}

# loader.h: LC_VERSION_MIN_* -> platform
VERSION_MIN = {0x24: "macOS", 0x25: "iOS", 0x2F: "tvOS", 0x30: "watchOS"}
# loader.h: PLATFORM_*, as dyld spells them (dyld-1378, mach_o/Platform.cpp)
PLATFORMS = {
    1: "macOS",
    2: "iOS",
    3: "tvOS",
    4: "watchOS",
    5: "bridgeOS",
    6: "macCatalyst",
    7: "iOS-simulator",
    8: "tvOS-simulator",
    9: "watchOS-simulator",
    10: "driverKit",
    11: "visionOS",
    12: "visionOS-simulator",
    13: "firmware",
}
# loader.h: TOOL_*
TOOLS = {1: "clang", 2: "swift", 3: "ld", 4: "lld", 5: "zig"}  # the last is of Zig's std.macho
TOOLS |= {1024: "metal", 1025: "airlld", 1026: "airnt", 1027: "airnt plugin", 1028: "airpack"}
TOOLS |= {1031: "gpuarchiver", 1032: "metal framework"}

# loader.h: section.flags
S_ATTR_INSTRUCTIONS = 0x80000000 | 0x00000400
SECTION_TYPE = 0xFF
S_THREAD_LOCAL_REGULAR, S_THREAD_LOCAL_ZEROFILL = 0x11, 0x12

# mach/vm_prot.h
VM_PROT_READ, VM_PROT_WRITE, VM_PROT_EXECUTE = 1, 2, 4

# loader.h: EXPORT_SYMBOL_FLAGS_*
EXPORT_KIND_MASK, EXPORT_THREAD_LOCAL, EXPORT_ABSOLUTE = 0x03, 0x01, 0x02
EXPORT_WEAK, EXPORT_REEXPORT, EXPORT_STUB_AND_RESOLVER = 0x04, 0x08, 0x10

# nlist.h: n_type, and n_desc of an undefined symbol
N_STAB, N_PEXT, N_TYPE, N_EXT = 0xE0, 0x10, 0x0E, 0x01
N_UNDF, N_PBUD, N_INDR = 0x00, 0x0C, 0x0A
N_WEAK_REF = 0x40
# nlist.h: GET_LIBRARY_ORDINAL -> loader.h: BIND_SPECIAL_DYLIB_*
SELF, MAIN_EXECUTABLE, FLAT_LOOKUP, WEAK_LOOKUP = 0, -1, -2, -3
NLIST_ORDINALS = {0xFE: FLAT_LOOKUP, 0xFF: MAIN_EXECUTABLE}
