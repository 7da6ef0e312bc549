"""How the tests run the command, and what they run it on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

LIBZ = "/usr/lib/x86_64-linux-gnu/libz.so.1"
DLL32 = "/usr/i686-w64-mingw32/lib/zlib1.dll"

NEEDS_LIBZ = pytest.mark.needs(LIBZ, install="apt-get install zlib1g")
NEEDS_DLL32 = pytest.mark.needs(DLL32, install="apt-get install libz-mingw-w64")
NEEDS_WINE = pytest.mark.needs(
    "/usr/lib/wine/wine64", "/usr/bin/wine64", install="apt-get install wine64"
)
NEEDS_WINE32 = pytest.mark.needs(
    "/usr/lib/x86_64-linux-gnu/wine/i386-windows/ntdll.dll", install="tools/setup-debian"
)
NEEDS_ZIG = pytest.mark.needs("ziglang", install="pip install 'libferry[build]'")

COMMAND = (sys.executable, "-m", "libferry")


@dataclass(frozen=True)
class Ran:
    """What came of one command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def ferry(*words: str | bytes, environment: dict[str, str] | None = None) -> Ran:
    """Run ``libferry`` with its streams piped, and check that it ends in good order."""
    done = subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        check=False,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    out = done.stdout.decode("utf-8", "surrogateescape")
    err = done.stderr.decode("utf-8", "surrogateescape")
    assert "Traceback" not in err
    assert "\x1b" not in out + err, "colour in a pipe"
    return Ran(done.returncode, out, err)
