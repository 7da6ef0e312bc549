"""Loaders of other releases of glibc and for other CPUs, each in a folder of its own."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from .workshop import GCC, Loader

BUILD = Path(__file__).parents[3] / "build/debian"
QEMU_ARM64 = "qemu-aarch64-static"

# Debian's architecture: triplet of its folders, name of the loader, zig's name with the
# oldest C library that programs are linked for, and what starts it
_CPUS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "amd64": ("x86_64-linux-gnu", "ld-linux-x86-64.so.2", "x86_64-linux-gnu.2.17", ()),
    "i386": ("i386-linux-gnu", "ld-linux.so.2", "x86-linux-gnu.2.17", ()),
    "arm64": (
        *("aarch64-linux-gnu", "ld-linux-aarch64.so.1", "aarch64-linux-gnu.2.17"),
        (QEMU_ARM64,),
    ),
}


@cache
def loader(release: str, arch: str, *qemu: str, page_size: int = 4096) -> Loader:
    """The loader of one release; ``qemu`` are options for what runs it."""
    triplet, name, zig, start = _CPUS[arch]
    root = BUILD / f"{release}-{arch}-libc6"
    folder = root / "lib" / triplet
    compiler = (
        *(sys.executable, "-m", "ziglang", "cc", "-target", zig),
        *("-w", "-O1", "-Wl,--no-as-needed", "-Wl,-z,lazy"),
    )
    return Loader(
        root=root,
        command=(*start, *qemu, str(folder / name)),
        libraries=str(folder),
        compiler=GCC if arch == "amd64" else compiler,
        linker=(*compiler, "-rdynamic", "-ldl"),
        target={"page_size": page_size},
    )


def release(name: str, arch: str) -> Any:
    """A test's parameter: one release, which has to be there, with what runs it."""
    marks = [
        pytest.mark.needs(f"build/debian/{name}-{arch}-libc6", install="tools/setup-debian"),
        pytest.mark.needs("ziglang", install="pip install --group dev"),
    ]
    if arch == "arm64":
        install = "apt-get install qemu-user-static"
        marks.append(pytest.mark.needs(QEMU_ARM64, install=install))
    return pytest.param((name, arch), id=f"{name}-{arch}", marks=marks)


AMD64 = [release(name, "amd64") for name in ("bullseye", "trixie", "sid")]
ALL = [
    *AMD64,
    *(release(name, arch) for arch in ("i386", "arm64") for name in ("bullseye", "trixie")),
]
