"""The ABIs, what their compilers say of C's own types, and where they are run.

The sizes here are claims. Every compiled library exports its compiler's own table of
them, and each test compares the two before anything else.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from .types import COMPLEX_PARTS, VECTORS, Scalar

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
WIDE_INTEGERS = {"__int128": 16, "unsigned __int128": 16}
INTEGERS = (*FIXED_INTEGERS, "long", "unsigned long", "size_t")
FLOATS = {"float": 4, "double": 8}
DATA_POINTERS = ("const char *", "const uint8_t *", "int32_t *")  # read, or written to
ADDRESSES = ("void *", "int *", "const double *", "struct opaque *")  # only handed on
POINTERS = (*ADDRESSES, *DATA_POINTERS)

SIGNED = (
    *("signed char", "short", "int", "long", "long long", "__int128"),
    *("int8_t", "int16_t", "int32_t", "int64_t"),
)


@dataclass(frozen=True)
class LongDouble:
    """``long double``: bytes of storage, bytes that count, bits of exponent and fraction.

    The fraction is without the leading one, which only the x87 writes down.
    """

    size: int
    used: int
    exponent: int
    fraction: int


BINARY64 = LongDouble(8, 8, 11, 52)
BINARY128 = LongDouble(16, 16, 15, 112)
X87_IN_12 = LongDouble(12, 10, 15, 63)
X87_IN_16 = LongDouble(16, 10, 15, 63)


@dataclass(frozen=True)
class Target:
    """One ABI: how to compile for it, and its sizes."""

    abi: str
    triple: str
    long: int
    pointer: int
    long_double: LongDouble
    char_is_signed: bool = True
    conventions: tuple[str, ...] = ("",)  # what may stand before a function's name
    flags: tuple[str, ...] = ()

    @property
    def is_windows(self) -> bool:
        return "windows" in self.triple

    @property
    def has_int128(self) -> bool:
        return self.pointer == 8

    @property
    def library(self) -> str:
        """What a library's file is called."""
        if self.is_windows:
            return "batch.dll"
        return "libbatch.dylib" if "macos" in self.triple else "libbatch.so"

    @property
    def integers(self) -> tuple[str, ...]:
        return (*INTEGERS, *WIDE_INTEGERS) if self.has_int128 else INTEGERS

    @property
    def scalars(self) -> tuple[Scalar, ...]:
        """Every type of C's own."""
        floats = (*FLOATS, "long double", *COMPLEX_PARTS)
        return tuple(map(Scalar, (*self.integers, *floats, *VECTORS, *POINTERS)))

    def size(self, name: str) -> int:
        if name.endswith("*") or name == "size_t":
            return self.pointer
        if name in ("long", "unsigned long"):
            return self.long
        if name == "long double":
            return self.long_double.size
        if name in COMPLEX_PARTS:
            return 2 * self.size(COMPLEX_PARTS[name])
        if name in VECTORS:
            element, count = VECTORS[name]
            return count * self.size(element)
        return (FIXED_INTEGERS | WIDE_INTEGERS | FLOATS)[name]

    def is_signed(self, name: str) -> bool:
        return self.char_is_signed if name == "char" else name in SIGNED

    def bounds(self, name: str, bits: int | None = None) -> tuple[int, int]:
        """Give the least and the greatest value of an integer type, or of some of its bits."""
        if name == "_Bool":
            return 0, 1
        bits = bits or 8 * self.size(name)
        return (
            (-(1 << bits - 1), (1 << bits - 1) - 1) if self.is_signed(name) else (0, ~(-1 << bits))
        )


BY_ATTRIBUTE = tuple(f"__attribute__(({name})) " for name in ("stdcall", "fastcall", "thiscall"))
BY_KEYWORD = ("__stdcall ", "__fastcall ", "__thiscall ")

# What mingw calls long double is not what Microsoft's ABI, and so libferry, does.
MICROSOFT = ("-mlong-double-64", "-mno-stack-arg-probe")

X86_64_SYSV = Target("x86_64-sysv", "x86_64-linux-gnu", 8, 8, X87_IN_16)
I386_SYSV = Target(
    "i386-sysv", "x86-linux-gnu", 4, 4, X87_IN_12, conventions=("", "", *BY_ATTRIBUTE)
)
AARCH64 = Target("aarch64-aapcs64", "aarch64-linux-gnu", 8, 8, BINARY128, char_is_signed=False)
X86_64_WINDOWS = Target(
    "x86_64-windows", "x86_64-windows-gnu", 4, 8, BINARY64,
    conventions=("", "", "__stdcall "), flags=MICROSOFT,
)  # fmt: skip
I386_WINDOWS = Target(
    "i386-windows", "x86-windows-gnu", 4, 4, BINARY64,
    conventions=("", "__cdecl ", *BY_KEYWORD, *BY_ATTRIBUTE), flags=MICROSOFT,
)  # fmt: skip
AARCH64_APPLE = Target("aarch64-apple", "aarch64-macos", 8, 8, BINARY64)
AARCH64_WINDOWS = Target(
    "aarch64-windows", "aarch64-windows-gnu", 4, 8, BINARY64, flags=("-mno-stack-arg-probe",)
)
ARM = Target("arm-hardfloat", "arm-linux-gnueabihf", 4, 4, BINARY64, char_is_signed=False)
RISCV64 = Target("riscv64-lp64d", "riscv64-linux-gnu", 8, 8, BINARY128, char_is_signed=False)
LOONGARCH64 = Target("loongarch64-lp64d", "loongarch64-linux-gnu", 8, 8, BINARY128)

# Those whose CPU the emulator has.
EMULATED = (
    *(AARCH64_APPLE, AARCH64_WINDOWS, X86_64_SYSV, X86_64_WINDOWS, I386_SYSV, I386_WINDOWS),
    *(AARCH64, ARM, RISCV64),
)

SETUP = "tools/setup-debian"


def qemu(cpu: str, sysroot: str, loader: str) -> tuple[pytest.MarkDecorator, ...]:
    """Give the marks for a CPU that qemu-user runs."""
    programs = (f"/usr/bin/qemu-{cpu}-static", f"/usr/local/bin/qemu-{cpu}", f"/usr/bin/qemu-{cpu}")
    return (
        pytest.mark.needs(*programs, install=SETUP),
        pytest.mark.needs(f"{sysroot}/lib/{loader}", install=SETUP),
    )


I386_LIBC = pytest.mark.needs("/lib/ld-linux.so.2", install="apt-get install libc6-i386")
AARCH64_QEMU = qemu("aarch64", "/usr/aarch64-linux-gnu", "ld-linux-aarch64.so.1")
ARM_QEMU = qemu("arm", "/usr/arm-linux-gnueabihf", "ld-linux-armhf.so.3")
RISCV64_QEMU = qemu("riscv64", "/usr/riscv64-linux-gnu", "ld-linux-riscv64-lp64d.so.1")
LOONGARCH64_QEMU = qemu(
    "loongarch64", "/usr/loongarch64-linux-gnu", "ld-linux-loongarch-lp64d.so.1"
)
WINE = pytest.mark.needs(
    "/usr/lib/wine/wine64", "/usr/bin/wine64", install="apt-get install wine64"
)
WINE32 = pytest.mark.needs("/usr/lib/x86_64-linux-gnu/wine/i386-windows/ntdll.dll", install=SETUP)

# Where the functions are run: an ABI, how far away, and what this machine needs for it.
SIDES = [
    pytest.param(X86_64_SYSV, "in-process", id="x86_64-sysv-in-process"),
    pytest.param(X86_64_SYSV, "worker", id="x86_64-sysv-worker"),
    pytest.param(I386_SYSV, "worker", id="i386-sysv", marks=I386_LIBC),
    pytest.param(AARCH64, "worker", id="aarch64-aapcs64", marks=AARCH64_QEMU),
    pytest.param(ARM, "worker", id="arm-hardfloat", marks=ARM_QEMU),
    pytest.param(RISCV64, "worker", id="riscv64-lp64d", marks=RISCV64_QEMU),
    pytest.param(LOONGARCH64, "worker", id="loongarch64-lp64d", marks=LOONGARCH64_QEMU),
    pytest.param(X86_64_WINDOWS, "worker", id="x86_64-windows", marks=WINE),
    pytest.param(I386_WINDOWS, "worker", id="i386-windows", marks=(WINE, WINE32)),
]
