"""What the README shows is what happens."""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
COMMANDS = re.findall(r"^\$ (libferry .*)$", README.read_text(), re.MULTILINE)


WINDOWS_ZLIB = pytest.mark.needs(
    "/usr/i686-w64-mingw32/lib/zlib1.dll", install="apt-get install libz-mingw-w64"
)
WINE_32 = pytest.mark.needs(
    "/usr/lib/x86_64-linux-gnu/wine/i386-windows/ntdll.dll", install="tools/setup-debian"
)
I386_ZLIB = pytest.mark.needs("/usr/lib32/libz.so.1", install="apt-get install lib32z1")
SQLITE = pytest.mark.needs(
    "/usr/lib/x86_64-linux-gnu/libsqlite3.so.0", install="apt-get install libsqlite3-0"
)
SQLITE_HEADER = pytest.mark.needs(
    "/usr/include/sqlite3.h", install="apt-get install libsqlite3-dev"
)
HEADERS = pytest.mark.needs("ziglang", install="pip install 'libferry[headers]'")
NUMPY = pytest.mark.needs("numpy", install="pip install numpy")


@WINDOWS_ZLIB
@WINE_32
@SQLITE
@SQLITE_HEADER
@HEADERS
@NUMPY
def test_the_sessions_say_what_they_say_here() -> None:
    results = doctest.testfile(str(README), module_relative=False)
    assert results.attempted > 10
    assert results.failed == 0


@I386_ZLIB
@WINDOWS_ZLIB
@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_work(command: str) -> None:
    words = [sys.executable, "-m", "libferry", *shlex.split(command)[1:]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_make_targets_it_names_exist() -> None:
    makefile = (README.parent / "Makefile").read_text()
    for target in re.findall(r"^\$ make (\w+)", README.read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
