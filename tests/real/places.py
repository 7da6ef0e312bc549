"""Where a library can live, and what this machine needs for it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

I386 = pytest.mark.needs("/lib/ld-linux.so.2", install="apt-get install libc6-i386")
QEMU = pytest.mark.needs("/usr/bin/qemu-aarch64-static", install="apt-get install qemu-user-static")
ARM_LIBC = pytest.mark.needs(
    "/usr/aarch64-linux-gnu/lib/libc.so.6", install="apt-get install libc6-arm64-cross"
)
WINE = pytest.mark.needs(
    "/usr/lib/wine/wine64", "/usr/bin/wine64", install="apt-get install wine64"
)
WINE32 = pytest.mark.needs(
    "/usr/lib/x86_64-linux-gnu/wine/i386-windows/ntdll.dll", install="tools/setup-debian"
)


def needs(path: str, install: str) -> pytest.MarkDecorator:
    return pytest.mark.needs(path, install=install)
