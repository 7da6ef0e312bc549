"""Where the example libraries of msl-loadlib are, and the six sides to call them from.

msl-loadlib answers the same question as libferry (how does a 64-bit Python call a 32-bit
library?) by a 32-bit Python server, and ships C++ and Fortran libraries to show it. They
were built by others, years apart and with other compilers. Each wheel on PyPI holds only
those for its own system, so `make msl-loadlib` unpacks the two for other systems than
this one beside each other in build/.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from .places import ARM_LIBC, I386, QEMU, ROOT, WINE, WINE32, needs

EXAMPLES = "msl/examples/loadlib"
ARM64 = ROOT / "build/msl-loadlib/linux-arm64" / EXAMPLES
WINDOWS = ROOT / "build/msl-loadlib/windows" / EXAMPLES
OTHER_SYSTEMS = "make msl-loadlib"
THIS_SYSTEM = pytest.mark.needs("msl", install="pip install --group dev")


def _installed() -> Path:
    spec = importlib.util.find_spec("msl")
    folders = list(spec.submodule_search_locations or []) if spec else []
    return Path(folders[0] if folders else "msl") / "examples/loadlib"


def sides(name: str, native: str, i386: str, arm64: str) -> list[Any]:
    """Give a parameter for each side: path, isolation, ABI.

    ``name`` is the library's, such as ``cpp_lib``; the others are the runtime library of
    its language on that side, and the package that brings it.
    """
    linux = _installed()

    def runtime(file_and_package: str) -> pytest.MarkDecorator:
        file, package = file_and_package.split()
        return needs(file, f"apt-get install {package}")

    return [
        pytest.param(
            (linux / f"{name}64.so", "in-process", "x86_64-sysv"),
            id="in-process",
            marks=(THIS_SYSTEM, runtime(native)),
        ),
        pytest.param(
            (linux / f"{name}64.so", "worker", "x86_64-sysv"),
            id="worker",
            marks=(THIS_SYSTEM, runtime(native)),
        ),
        pytest.param(
            (linux / f"{name}32.so", "worker", "i386-sysv"),
            id="i386",
            marks=(THIS_SYSTEM, I386, runtime(i386)),
        ),
        pytest.param(
            (ARM64 / f"{name}aarch64.so", "worker", "aarch64-aapcs64"),
            id="arm64",
            marks=(needs(str(ARM64), OTHER_SYSTEMS), QEMU, ARM_LIBC, runtime(arm64)),
        ),
        pytest.param(
            (WINDOWS / f"{name}64.dll", "worker", "x86_64-windows"),
            id="windows",
            marks=(needs(str(WINDOWS), OTHER_SYSTEMS), WINE),
        ),
        pytest.param(
            (WINDOWS / f"{name}32.dll", "worker", "i386-windows"),
            id="windows-i386",
            marks=(needs(str(WINDOWS), OTHER_SYSTEMS), WINE, WINE32),
        ),
    ]
