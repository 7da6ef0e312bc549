"""Which instructions this machine has, by the names that binaries ask for them.

x86-64 has levels: v2 is what nearly every x86-64 since 2009 has, v3 adds AVX2, v4 AVX-512.
A library says which one it wants in a GNU property; glibc looks in folders of these names.
"""

from __future__ import annotations

from functools import cache

# x86-64 psABI 1.0, section 3.1.1 "Processor Architecture", table 3.1, by the names that
# Linux has for the features in /proc/cpuinfo (Linux 6.12, arch/x86/include/asm/cpufeatures.h):
# SSE3 is pni, LZCNT is abm; OSFXSR and OSXSAVE are Linux' own business, cx16 CMPXCHG16B.
X86_64_LEVELS = {
    "x86-64": "cmov cx8 fpu fxsr mmx syscall sse sse2",
    "x86-64-v2": "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3",
    "x86-64-v3": "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave",
    "x86-64-v4": "avx512f avx512bw avx512cd avx512dq avx512vl",
}

# Linux 6.12, arch/arm64/kernel/cpuinfo.c: hwcap_str; what libraries are built for most
_AARCH64_FEATURES = frozenset(
    ["atomics", "asimddp", "sve", "sve2", "paca", "bti", "fphp", "crc32", "aes", "sm3", "sm4"]
)


def x86_64_levels(flags: frozenset[str]) -> frozenset[str]:
    """The levels that a CPU with these flags has; each includes those before it."""
    levels = []
    for level, needed in X86_64_LEVELS.items():
        if not flags.issuperset(needed.split()):
            break
        levels.append(level)
    return frozenset(levels)


@cache
def isa_of_this_cpu() -> frozenset[str]:
    """The levels (x86-64) and features (AArch64) of this machine; empty if it does not say."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines = [line.partition(":") for line in file]
    except OSError:
        return frozenset()
    for key, _, value in lines:
        if key.strip() == "flags":
            return x86_64_levels(frozenset(value.split()))
        if key.strip() == "Features":
            return _AARCH64_FEATURES & frozenset(value.split())
    return frozenset()
