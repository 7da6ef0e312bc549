"""What differs between versions of glibc's loader, and between CPUs, as tables.

The loader has kept one shape since 1998; what changed are single rules. Each has a row
here with the versions in which it holds, from the first to the last, and where in glibc's
source it is. What is true of all versions is in the code, with its function's name.

Sources are glibc's own files, ``elf/dl-load.c`` and the like, and its ``NEWS``, which says
in which version a rule came or went.
"""

from __future__ import annotations

from typing import NamedTuple

Version = tuple[int, ...]

FIRST: Version = (2, 0)
LAST: Version = (999,)


class Rule(NamedTuple):
    """A rule that holds ``since`` one version and ``until`` before another."""

    since: Version
    until: Version
    source: str

    def holds(self, version: Version) -> bool:
        """Whether this version of glibc has the rule."""
        return self.since <= version[:2] < self.until


# glibc-hwcaps/<level>/ below every folder that is searched
GLIBC_HWCAPS = Rule((2, 33), LAST, "glibc 2.33 NEWS; elf/dl-hwcaps.c, _dl_important_hwcaps")
# tls/, <platform>/, <hwcap>/ and all combinations of them
LEGACY_HWCAPS = Rule(FIRST, (2, 37), "glibc 2.37 NEWS; 2.36 elf/dl-hwcaps.c, _dl_important_hwcaps")
# p_align itself has to be a multiple of the page size
ALIGNED_LOAD = Rule(FIRST, (2, 35), "glibc 2.34 elf/dl-load.c, _dl_map_object_from_fd")
ADDRESS_OFFSET = Rule((2, 35), LAST, "glibc 2.35 elf/dl-load.c, _dl_map_object_from_fd")
# a position-independent program is no library
NO_PIE = Rule((2, 30), LAST, "glibc 2.30 NEWS; elf/dl-load.c, _dl_map_object_from_fd")
# before, the packed relocations are silently not applied
RELR = Rule((2, 36), LAST, "glibc 2.36 NEWS; elf/dl-version.c, _dl_check_map_versions")
ISA_LEVEL = Rule((2, 33), LAST, "sysdeps/x86/dl-prop.h, dl_isa_level_check")
# dlopen no longer makes the stack executable
EXEC_STACK = Rule((2, 41), LAST, "glibc 2.41 NEWS; elf/dl-load.c, _dl_map_object_from_fd")
# the order of initialisers: depth first, or the older pairwise moving
SORT_DEPTH_FIRST = Rule((2, 35), LAST, "glibc 2.35 NEWS; elf/dl-sort-maps.c, _dl_sort_maps_dfs")

SEARCH = "elf/dl-load.c, _dl_map_object (2.42: _dl_map_new_object)"
VERIFY = "elf/dl-load.c, open_verify"
MAP = "elf/dl-load.c, _dl_map_object_from_fd"
TOKENS = "elf/dl-load.c, _dl_dst_substitute"
VERSIONS = "elf/dl-version.c, match_symbol"
SYMBOLS = "elf/dl-lookup.c, _dl_lookup_symbol_x"
STATIC_TLS = "elf/dl-reloc.c, _dl_allocate_static_tls"
PROGRAM = "Linux fs/binfmt_elf.c, load_elf_binary"


class Cpu(NamedTuple):
    """What the loader of one CPU asks of a file.

    Attributes:
        machine: e_machine.
        cache: the flags of its entries in ld.so.cache.
        flags_mask, flags: the part of e_flags that must have this value.
        hwcaps: the glibc-hwcaps folders that it knows, best first.
        legacy: the hardware bits that were folders before 2.37: name, number of the bit,
            and the word of ``Target.isa`` without which it is not there.
        source: where the last three are.
    """

    machine: int
    cache: int
    flags_mask: int = 0
    flags: int = 0
    hwcaps: tuple[str, ...] = ()
    legacy: tuple[tuple[str, int, str], ...] = ()
    source: str = ""


# machine: elf.h. cache: sysdeps/generic/ldconfig.h, FLAG_*, with FLAG_ELF_LIBC6, by
# _DL_CACHE_DEFAULT_ID in sysdeps/**/dl-cache.h
CPUS = {
    "x86_64": Cpu(
        *(62, 0x0303),
        hwcaps=("x86-64-v4", "x86-64-v3", "x86-64-v2"),
        legacy=(("x86_64", 1, ""), ("avx512_1", 2, "avx512_1")),
        source="sysdeps/x86_64/dl-hwcaps-subdirs.c; 2.36 sysdeps/x86/dl-procinfo.c",
    ),
    "i386": Cpu(
        *(3, 0x0003),
        legacy=(("sse2", 0, ""),),
        source="2.36 sysdeps/x86/dl-procinfo.c; sysdeps/x86/dl-hwcap.h, HWCAP_IMPORTANT",
    ),
    "aarch64": Cpu(
        *(183, 0x0A03),
        legacy=(("atomics", 8, "atomics"),),
        source="2.36 sysdeps/unix/sysv/linux/aarch64/dl-procinfo.h, HWCAP_IMPORTANT",
    ),
    "arm": Cpu(
        *(40, 0x0903),
        legacy=(("vfp", 6, ""), ("neon", 12, "neon")),
        source="2.36 sysdeps/unix/sysv/linux/arm/dl-procinfo.h, HWCAP_IMPORTANT",
    ),
    "riscv64": Cpu(
        *(243, 0x1003),
        flags_mask=0x6,
        flags=0x4,
        source="sysdeps/riscv/dl-machine.h, elf_machine_matches_host: EF_RISCV_FLOAT_ABI",
    ),
    "loongarch64": Cpu(258, 0x1203),
    "ppc64": Cpu(
        *(21, 0x0503),
        hwcaps=("power10", "power9"),
        source="sysdeps/powerpc/powerpc64/le/dl-hwcaps-subdirs.c",
    ),
    "s390x": Cpu(
        *(22, 0x0403),
        hwcaps=("z17", "z16", "z15", "z14", "z13"),
        source="sysdeps/s390/s390-64/dl-hwcaps-subdirs.c",
    ),
}

# The bits that ld.so.cache has for platforms before 2.37: sysdeps/x86/dl-procinfo.c, from
# _DL_FIRST_PLATFORM = 48. Other CPUs' are not told apart there.
PLATFORM_BITS = {"i586": 48, "i686": 49, "haswell": 50, "xeon_phi": 51}
TLS_BIT = 63  # _DL_HWCAP_TLS_MASK

# EI_OSABI that are taken, with the first EI_ABIVERSION that is not: sysdeps/gnu/ldsodefs.h
# and, for 64 on Arm, sysdeps/unix/sysv/linux/arm/ldsodefs.h. How many versions of the GNU ABI
# there are is LIBC_ABI_MAX, counted from libc-abis.
ABI_VERSIONS = {0: 1, 3: 5}
ARM_ABI = 64

# Bytes that are left in the static block of thread-local storage for what comes later.
# elf/dl-tls.c: LEGACY_TLS is chosen so that the sum remains what TLS_STATIC_SURPLUS was
# before 2.32 (64 + DL_NNS * 100).
STATIC_TLS_SURPLUS = 1664
THREAD_ALIGNMENT = 64  # TCB_ALIGNMENT, sysdeps/*/nptl/tls.h

# The loader that programs of the old and of the new world ask for: Loongnix 20's gcc, and
# glibc 2.36 sysdeps/unix/sysv/linux/loongarch/shlib-versions
LOONGARCH_LOADERS = {
    "/lib64/ld.so.1": "old-world",
    "/lib64/ld-linux-loongarch-lp64d.so.1": "new-world",
}
# The oldest version of the C library in each, which every library of that world asks for and
# the other has not: 2.27 is what the old one was made from, 2.36 the first with the new one.
LOONGARCH_VERSIONS = {"GLIBC_2.27": "old-world", "GLIBC_2.36": "new-world"}

X86_BASELINE = "x86-64-baseline"  # every x86-64 CPU has it
