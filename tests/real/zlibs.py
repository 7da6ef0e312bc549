"""zlib as Debian built it, six ways."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest

from .places import ARM_LIBC, I386, QEMU, WINE, WINE32, needs

NATIVE = "/usr/lib/x86_64-linux-gnu/libz.so.1"
LIB32 = "/usr/lib32/libz.so.1"
ARM64 = "build/debian/arm64/lib/aarch64-linux-gnu/libz.so.1"
WIN64 = "/usr/x86_64-w64-mingw32/lib/zlib1.dll"
WIN32 = "/usr/i686-w64-mingw32/lib/zlib1.dll"

HAS_NATIVE = needs(NATIVE, "apt-get install zlib1g")
HAS_LIB32 = needs(LIB32, "apt-get install lib32z1")
HAS_ARM64 = needs(ARM64, "tools/setup-debian")
HAS_WIN64 = needs(WIN64, "apt-get install libz-mingw-w64")
HAS_WIN32 = needs(WIN32, "apt-get install libz-mingw-w64")

SIDES: list[Any] = [
    pytest.param((NATIVE, "in-process", "x86_64-sysv"), id="in-process", marks=HAS_NATIVE),
    pytest.param((NATIVE, "worker", "x86_64-sysv"), id="worker", marks=HAS_NATIVE),
    pytest.param((LIB32, "worker", "i386-sysv"), id="i386", marks=(HAS_LIB32, I386)),
    pytest.param(
        (ARM64, "worker", "aarch64-aapcs64"), id="arm64", marks=(HAS_ARM64, QEMU, ARM_LIBC)
    ),
    pytest.param((WIN64, "worker", "x86_64-windows"), id="windows", marks=(HAS_WIN64, WINE)),
    pytest.param(
        (WIN32, "worker", "i386-windows"), id="windows-i386", marks=(HAS_WIN32, WINE, WINE32)
    ),
]


@cache
def mebibyte() -> bytes:
    """Give 1 MiB, half of it words and half of it noise; the same each time."""
    chance = random.Random(0)
    words = [b"notice", b"of", b"maintenance", b"the", b"branch", b"on", b"Friday"]
    text = b" ".join(chance.choices(words, k=1 << 18))
    half = 1 << 19
    return text[:half] + chance.randbytes(half)
