"""One C library, compiled for nine sides and called on each.

The test cases of CPython's ctypes (Lib/test/test_ctypes, Modules/_ctypes/_ctypes_test.c)
try what people found to go wrong in twenty years: their inputs and results are facts that
hold for any foreign function interface. ctypes runs them on the machine that it was built
for. Here the same C, written anew, is compiled for every ABI that this machine can host.

A test module has the declarations as C text, which the compiler reads, too, and so
checks; and the definitions, each marked API.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest

import libferry
from libferry.build.zig import compile_library

from .places import ARM_LIBC, I386, QEMU, WINE, WINE32, needs

PRELUDE = """
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef _WIN32
#define API __declspec(dllexport)
#else
#define API
#endif
"""

ARM = (
    needs("/usr/bin/qemu-arm-static", "apt-get install qemu-user-static"),
    needs("/usr/arm-linux-gnueabihf/lib/libc.so.6", "apt-get install libc6-armhf-cross"),
)
RISCV = (
    needs("/usr/bin/qemu-riscv64-static", "apt-get install qemu-user-static"),
    needs("/usr/riscv64-linux-gnu/lib/libc.so.6", "apt-get install libc6-riscv64-cross"),
)
LOONGARCH = (
    needs("qemu-loongarch64", "tools/setup-debian"),
    needs("/usr/loongarch64-linux-gnu/lib/ld-linux-loongarch-lp64d.so.1", "tools/setup-debian"),
)

Side = tuple[str, Literal["in-process", "worker"]]  # ABI, isolation

IN_PROCESS: Side = ("x86_64-sysv", "in-process")
NATIVE_SIDES: list[Any] = [
    pytest.param(IN_PROCESS, id="in-process"),
    pytest.param(("x86_64-sysv", "worker"), id="worker"),
]
WINDOWS_SIDES: list[Any] = [
    pytest.param(("x86_64-windows", "worker"), id="windows", marks=WINE),
    pytest.param(("i386-windows", "worker"), id="windows-i386", marks=(WINE, WINE32)),
]
SIDES: list[Any] = [
    *NATIVE_SIDES,
    pytest.param(("i386-sysv", "worker"), id="i386", marks=I386),
    pytest.param(("aarch64-aapcs64", "worker"), id="arm64", marks=(QEMU, ARM_LIBC)),
    pytest.param(("arm-hardfloat", "worker"), id="arm", marks=ARM),
    pytest.param(("riscv64-lp64d", "worker"), id="riscv64", marks=RISCV),
    pytest.param(("loongarch64-lp64d", "worker"), id="loongarch64", marks=LOONGARCH),
    *WINDOWS_SIDES,
]


@contextmanager
def opened(
    side: Side, header: str, source: str, folders: pytest.TempPathFactory
) -> Iterator[libferry.Library]:
    """Compile the library for that side, and open it there."""
    abi, isolation = side
    path = compile_library(PRELUDE + header + source, abi, folders.mktemp("c"), "cases")
    with libferry.load(path, header=header, isolation=isolation) as library:
        assert (library.abi, library.isolation) == side
        yield library
