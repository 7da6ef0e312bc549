"""The five ABIs, the C types, and what each type is on each ABI.

The sizes here are claims. Every compiled library exports its compiler's own table of
them, and ``check`` compares the two before anything else.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

# Each type by its text in C, and how long it is where all agree.
FIXED_INTEGERS = {
    "_Bool": 1,
    "char": 1,
    "signed char": 1,
    "unsigned char": 1,
    "short": 2,
    "unsigned short": 2,
    "int": 4,
    "unsigned int": 4,
    "long long": 8,
    "unsigned long long": 8,
    "int8_t": 1,
    "uint8_t": 1,
    "int16_t": 2,
    "uint16_t": 2,
    "int32_t": 4,
    "uint32_t": 4,
    "int64_t": 8,
    "uint64_t": 8,
}
INTEGERS = (*FIXED_INTEGERS, "long", "unsigned long", "size_t")
FLOATS = {"float": 4, "double": 8}
POINTERS = ("void *", "const char *", "const uint8_t *", "int32_t *")
TYPES = (*INTEGERS, *FLOATS, *POINTERS)


@dataclass(frozen=True)
class Target:
    """One ABI: how to compile for it, and its sizes."""

    abi: str
    triple: str
    long: int
    pointer: int
    char_is_signed: bool = True

    @property
    def is_windows(self) -> bool:
        return "windows" in self.triple

    @property
    def conventions(self) -> tuple[str, ...]:
        """What may stand before a function's name: nothing, or a calling convention."""
        return ("", "__stdcall ") if self.is_windows else ("",)

    def size(self, ctype: str) -> int:
        if ctype in POINTERS or ctype == "size_t":
            return self.pointer
        if ctype in ("long", "unsigned long"):
            return self.long
        return FIXED_INTEGERS.get(ctype) or FLOATS[ctype]

    def is_signed(self, ctype: str) -> bool:
        if ctype == "char":
            return self.char_is_signed
        return ctype in FLOATS or ctype in (
            *("signed char", "short", "int", "long", "long long"),
            *("int8_t", "int16_t", "int32_t", "int64_t"),
        )

    def bounds(self, ctype: str) -> tuple[int, int]:
        """Give the least and the greatest value of an integer type."""
        if ctype == "_Bool":
            return 0, 1
        bits = 8 * self.size(ctype)
        return (
            (-(1 << bits - 1), (1 << bits - 1) - 1) if self.is_signed(ctype) else (0, ~(-1 << bits))
        )


X86_64_SYSV = Target("x86_64-sysv", "x86_64-linux-gnu", long=8, pointer=8)
I386_SYSV = Target("i386-sysv", "x86-linux-gnu", long=4, pointer=4)
AARCH64 = Target("aarch64-aapcs64", "aarch64-linux-gnu", long=8, pointer=8, char_is_signed=False)
X86_64_WINDOWS = Target("x86_64-windows", "x86_64-windows-gnu", long=4, pointer=8)
I386_WINDOWS = Target("i386-windows", "x86-windows-gnu", long=4, pointer=4)

I386_LIBC = pytest.mark.needs("/lib/ld-linux.so.2", install="apt-get install libc6-i386")
QEMU = pytest.mark.needs("/usr/bin/qemu-aarch64-static", install="apt-get install qemu-user-static")
ARM_LIBC = pytest.mark.needs(
    "/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1", install="apt-get install libc6-arm64-cross"
)
WINE = pytest.mark.needs(
    "/usr/lib/wine/wine64", "/usr/bin/wine64", install="apt-get install wine64"
)
WINE32 = pytest.mark.needs(
    "/usr/lib/x86_64-linux-gnu/wine/i386-windows/ntdll.dll", install="tools/setup-debian"
)

# Where the functions are run: an ABI, how far away, and what this machine needs for it.
SIDES = [
    pytest.param(X86_64_SYSV, "in-process", id="x86_64-sysv-in-process"),
    pytest.param(X86_64_SYSV, "worker", id="x86_64-sysv-worker"),
    pytest.param(I386_SYSV, "worker", id="i386-sysv", marks=I386_LIBC),
    pytest.param(AARCH64, "worker", id="aarch64-aapcs64", marks=(QEMU, ARM_LIBC)),
    pytest.param(X86_64_WINDOWS, "worker", id="x86_64-windows", marks=WINE),
    pytest.param(I386_WINDOWS, "worker", id="i386-windows", marks=(WINE, WINE32)),
]
