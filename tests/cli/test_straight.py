"""A plain command line means the same with and without the option parser."""

from __future__ import annotations

import functools
import subprocess
import sys
from importlib import import_module
from inspect import signature
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libferry.cli import commands, straight
from tests.cli.conftest import LIBZ, NEEDS_LIBZ, ferry

WORDS = {
    "check": (
        *("liba.so", "dist/b.whl", "-t", "--target", "--target=rocky-8-arm64", "-tthis", "this"),
        *("--host", "python3", "--now", "--no-now", "--together", "--select", "load,security"),
        *("--json", "--json=yes", "--format", "sarif", "--rules", "--explain", "--jobs", "2"),
        *("--strict", "--stric", "--", "-", "", "-h", "--write-baseline", "--no-cache"),
    ),
    "explain": ("193", "-1073741515", "ENOEXEC", "--json", "no such file", "--", "--help", "-x"),
    "inspect": (
        *("libz.so.1", "--exports", "--no-exports", "--sysroot", "/srv/root", "--sysroot=/"),
        *("--json", "--sysroot=", "-"),
    ),
}


def by_typer(name: str, words: list[str]) -> dict[str, Any] | None:
    """What typer gives the command's function; None if it does not come to that."""
    module = import_module(f"libferry.cli.{name}")
    got: list[dict[str, Any]] = []

    @functools.wraps(module.command)
    def instead(**values: Any) -> None:
        got.append(values)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "command", instead)
        try:
            commands._make(name).main(words, prog_name=name, standalone_mode=False)
        except Exception:
            return None
    return got[0] if got else None


@st.composite
def lines(draw: st.DrawFn) -> tuple[str, list[str]]:
    name = draw(st.sampled_from(sorted(WORDS)))
    return name, draw(st.lists(st.sampled_from(WORDS[name]), max_size=6))


@given(lines())
@settings(deadline=None)  # the first one imports the command
def test_what_is_understood_is_what_typer_understands(line: tuple[str, list[str]]) -> None:
    name, words = line
    values = straight.values(name, words)
    if values is None:
        return
    command = import_module(f"libferry.cli.{name}").command
    defaults = {key: one.default for key, one in signature(command).parameters.items()}
    assert {**defaults, **values} == by_typer(name, words)


@pytest.mark.parametrize(
    "line",
    [
        "check liba.so",
        "check a.so b.so -t this --target windows-10-x64 --strict --format=json",
        "check --rules",
        "explain cannot open shared object file",
        "inspect libz.so.1 --no-exports --sysroot /srv/root",
    ],
)
def test_what_people_write_is_plain(line: str) -> None:
    name, *words = line.split()
    assert straight.values(name, words) is not None


@pytest.mark.parametrize("line", ["check --help", "check x --hots y", "check -- x", "explain -5"])
def test_the_rest_is_left_to_typer(line: str) -> None:
    assert straight.command(line.split()) is None


def test_a_misspelled_option_is_still_told() -> None:
    ran = ferry("check", "liba.so", "--hots", "python3")
    assert (ran.code, "--hots" in ran.err) == (2, True)


@NEEDS_LIBZ
@pytest.mark.parametrize("words", [("check", LIBZ), ("explain", "193")])
def test_a_question_about_one_file_imports_nothing_that_takes_long(words: tuple[str, ...]) -> None:
    """Each of these would be a tenth of the answer's time, or more."""
    script = (
        "import sys\n"
        "from libferry.cli import main\n"
        f"assert main({list(words)!r}) == 0\n"
        "sys.stderr.write(' '.join(sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd="/"
    )
    imported = set(ran.stderr.split())
    assert "libferry.cli.straight" in imported
    slow = {"typer", "click", "rich", "pydantic", "asyncio", "tomllib", "subprocess", "shutil"}
    slow |= {"json", "tempfile", "importlib.resources", "multiprocessing", "libferry.runtime"}
    slow |= {"libferry.abi", "libferry.contract", "libferry.target.linux"}
    if words[0] == "explain":
        slow.remove("tomllib")  # what it knows is in TOML
    assert not imported & slow
