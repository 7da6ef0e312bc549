"""What the README shows is what happens."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```console\n(.*?)```", README.read_text(), re.DOTALL)
# of each block the commands, each with what it prints, if that is shown
COMMANDS = [re.findall(r"^\$ (libferry .*)\n((?:[^$\n].*\n)*)", block, re.M) for block in BLOCKS]


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
SECCOMP = pytest.mark.needs("libseccomp.so.2", install="apt-get install libseccomp2")
OPENTELEMETRY = pytest.mark.needs("opentelemetry", install="pip install 'libferry[telemetry]'")


@WINDOWS_ZLIB
@WINE_32
@SQLITE
@SQLITE_HEADER
@HEADERS
@NUMPY
@SECCOMP
@OPENTELEMETRY
def test_the_sessions_say_what_they_say_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # one writes a file
    # offsets in the system's libraries, and numbers of processes, are left out: "..."
    results = doctest.testfile(str(README), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert results.attempted > 10
    assert results.failed == 0


@I386_ZLIB
@WINDOWS_ZLIB
@SECCOMP
@pytest.mark.parametrize(
    "commands", list(filter(None, COMMANDS)), ids=lambda commands: commands[0][0]
)
def test_the_commands_work(commands: list[tuple[str, str]], tmp_path: Path) -> None:
    """Those of a block one after the other: the first may write what the second reads."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command, shown in commands:
        done = subprocess.run(
            [sys.executable, "-m", "libferry", *shlex.split(command)[1:]],
            cwd=tmp_path,
            env=os.environ | {"PATH": programs},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == (1 if shown.startswith("no:") else 0), f"{command}: {done.stderr}"
        assert done.stdout or done.stderr
        if shown:
            assert printed(shown, done.stdout + done.stderr), f"{command} says {done.stdout}"


def printed(shown: str, output: str) -> bool:
    """Whether the output is what is shown, where ``...`` is anything."""
    return doctest.OutputChecker().check_output(
        re.sub(r"^ *\.\.\.$", "...", shown, flags=re.M), output, doctest.ELLIPSIS
    )


def test_the_make_targets_it_names_exist() -> None:
    makefile = (README.parent / "Makefile").read_text()
    for target in re.findall(r"^\$ make (\w+)", README.read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
