"""Every side on which a C library is tried: its ABI, and where it lives."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any, Literal

import pytest

import libferry as ferry
from libferry.build import compile_library

Isolation = Literal["in-process", "worker"]

_ARM64 = "apt-get install qemu-user-static libc6-arm64-cross"
_ARM = "apt-get install qemu-user-static libc6-armhf-cross"
_RISCV = "apt-get install qemu-user-static libc6-riscv64-cross"
_SETUP = "tools/setup-debian"

# (ABI, isolation, what must exist, what brings it)
_SIDES: tuple[tuple[str, Isolation, str, str], ...] = (
    ("x86_64-sysv", "in-process", "ziglang", "pip install ziglang"),
    ("x86_64-sysv", "worker", "ziglang", "pip install ziglang"),
    ("i386-sysv", "worker", "/lib/ld-linux.so.2", "apt-get install libc6-i386"),
    ("aarch64-aapcs64", "worker", "/usr/aarch64-linux-gnu", _ARM64),
    ("arm-hardfloat", "worker", "/usr/arm-linux-gnueabihf", _ARM),
    ("riscv64-lp64d", "worker", "/usr/riscv64-linux-gnu", _RISCV),
    ("loongarch64-lp64d", "worker", "/usr/loongarch64-linux-gnu", _SETUP),
    ("x86_64-windows", "worker", "/usr/lib/wine/wine64", "apt-get install wine64"),
    (
        "i386-windows",
        "worker",
        "/usr/lib/x86_64-linux-gnu/wine/i386-windows/ntdll.dll",
        _SETUP,
    ),
)

SIDES = [
    pytest.param(
        (abi, isolation),
        id=f"{abi}-{isolation}",
        marks=[
            pytest.mark.needs("ziglang", install="pip install ziglang"),
            pytest.mark.needs(need, install=install),
        ],
    )
    for abi, isolation, need, install in _SIDES
]
Side = tuple[str, Isolation]

EXPORT = """
#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT
#endif
"""


@functools.cache
def compiled(source: str, abi: str) -> Path:
    """The library of a source, compiled once a run for each ABI."""
    folder = Path(tempfile.mkdtemp(prefix="libferry-tests-"))
    return compile_library(EXPORT + source, abi, folder, "lib")


def opened(side: Side, source: str, header: str, **options: Any) -> ferry.Library:
    """The library of a source, where ``side`` says."""
    abi, isolation = side
    return ferry.load(compiled(source, abi), header=header, isolation=isolation, **options)
