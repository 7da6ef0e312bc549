"""``libferry fix`` and ``libferry trace``, as a person types them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from libferry.audit.rules import RULES
from libferry.binary import read
from libferry.loader import glossary
from tests.edit.built import build, call

pytestmark = pytest.mark.needs("gcc", install="apt-get install gcc")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "libferry", *words], capture_output=True, text=True
    )


def test_a_fix_says_what_it_did_and_where_the_original_is(tmp_path: Path) -> None:
    library = build(tmp_path)
    done = run("fix", str(library), "--runpath", "$ORIGIN", "--hide-symbol", "sec*")
    assert done.returncode == 0
    assert f"{library}.orig" in done.stdout
    assert "1: secret" in done.stdout
    assert read(library).runpath == ("$ORIGIN",)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", "api  # the only one\n\ncount\n"),
        ("lib.h", "int api(int x);\nint count(void);\n"),
        ("lib.toml", "[library]\ndeclarations = 'int api(int x); int count(void);'\n"),
    ],
)
def test_what_to_keep_may_be_a_list_a_header_or_a_contract(
    tmp_path: Path, name: str, text: str
) -> None:
    library = build(tmp_path)
    (tmp_path / name).write_text(text)
    done = run("fix", str(library), "--keep-exports", str(tmp_path / name), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "helper" in json.loads(done.stdout)["hidden"]
    assert {export.name for export in read(library).exports} == {"api", "count"}


def test_written_elsewhere(tmp_path: Path) -> None:
    library = build(tmp_path)
    before = library.read_bytes()
    assert run("fix", str(library), "--strip", "-o", str(tmp_path / "o.so")).returncode == 0
    assert library.read_bytes() == before
    assert call(tmp_path / "o.so", {"api": 2}) == {"api": 47}


def test_what_no_loader_loads_is_exit_code_1(tmp_path: Path) -> None:
    library = build(tmp_path)
    done = run("fix", str(library), "--add-needed", "libnowhere.so.9")
    assert done.returncode == 1
    assert "libnowhere.so.9" in done.stderr
    assert "hint:" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--replace-needed", "libc.so.6"),
        ("--drop-version", "GLIBC_2.2.5"),
        ("--set-rpath", "a", "--runpath", "b"),
    ],
)
def test_mistakes_in_the_command_line_are_exit_code_2(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    assert run("fix", str(build(tmp_path)), *words).returncode == 2
    assert sorted(os.listdir(tmp_path)) == ["libtest.so", "test.c"]


def test_every_fix_that_a_finding_or_a_glossary_names_can_be_typed() -> None:
    """The options in their texts are those of the command."""
    known = set(re.findall(r"--[a-z-]+", run("fix", "--help").stdout))
    texts = [text for rule in RULES.values() for text in (rule.fix, rule.explanation, rule.good)]
    texts += [command for entry in glossary.entries() for command in entry.commands]
    named = [
        option
        for text in texts
        for part in text.split("libferry fix")[1:]
        for option in re.findall(r"--[a-z-]+", part.split(";")[0].split(", or ")[0])
    ]
    assert len(named) > 8
    assert set(named) <= known


def test_a_trace_leaves_the_streams_to_the_program() -> None:
    done = run("trace", "--", "/bin/echo", "--json", "hello")
    assert done.stdout == "--json hello\n"
    assert "as predicted" in done.stderr
    assert done.returncode == 0


def test_a_trace_as_data(tmp_path: Path) -> None:
    done = run("trace", "--json", "--", "/bin/true")
    assert json.loads(done.stdout)["agrees"] is True


def test_no_program_to_trace_is_exit_code_2() -> None:
    done = run("trace", "--", "./nothing-here")
    assert done.returncode == 2
