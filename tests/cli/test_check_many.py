"""``libferry check`` of many files, as a pipeline calls it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from junitparser import JUnitXml
from sarif_pydantic import Sarif

NATIVE = Path("/usr/lib/x86_64-linux-gnu/libz.so.1")

pytestmark = pytest.mark.needs(str(NATIVE), install="apt-get install zlib1g")


def check(*words: str | Path, code: int = 0, where: Path) -> str:
    """Run it with a cache of its own; give what it writes."""
    done = subprocess.run(
        [sys.executable, "-m", "libferry", "check", *map(str, words)],
        env={**os.environ, "XDG_CACHE_HOME": str(where / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty good libraries, which takes two processes."""
    made = tmp_path / "made"
    made.mkdir()
    for number in range(20):
        shutil.copy(NATIVE, made / f"lib{number}.so")
    return made


def answers(folder: Path, *words: str, code: int = 0) -> list[dict[str, object]]:
    told = json.loads(check(folder, "--json", *words, code=code, where=folder.parent))
    targets: list[dict[str, object]] = told["targets"]
    return targets


def test_every_form_of_a_good_folder(folder: Path) -> None:
    where = folder.parent
    (target,) = answers(folder)
    files = target["files"]
    assert isinstance(files, list)
    assert [file["answer"] for file in files] == [True] * 20
    log = Sarif.model_validate(json.loads(check(folder, "--format", "sarif", where=where)))
    assert len(log.runs) == 1
    read = JUnitXml.fromstring(check(folder, "--format", "junit", where=where).encode())
    assert (read.tests, read.failures, read.errors) == (20, 0, 0)
    last = check(folder, where=where).splitlines()[-1]
    assert last.startswith("20 files for this; yes: 20")


def test_several_targets_and_a_page(folder: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    words = ("-t", "debian-12-amd64", "-t", "debian-12-arm64", "--html", str(page))
    amd64, arm64 = answers(folder, *words, code=1)
    assert amd64["target"] == "debian-12-amd64"
    assert arm64["answer"] is False  # it is for another CPU
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_one_bad_file_among_many(folder: Path) -> None:
    (folder / "lib7.so").write_bytes(NATIVE.read_bytes()[:3000])
    done = check(folder, code=2, where=folder.parent)
    assert "lib7.so: unknown: " in done
    assert done.splitlines()[-1].startswith("20 files; yes: 19, unknown: 1")


def test_an_archive_that_is_damaged_is_not_known_to_be_good(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"PK\x03\x04" + bytes(100))
    told = check(tmp_path / "x.whl", code=2, where=tmp_path)
    assert "damaged zip file" in told


@pytest.mark.parametrize("words", [("--format", "xml"), ("--json", "--jobs", "0")])
def test_a_mistake_in_the_command_line(folder: Path, words: tuple[str, ...]) -> None:
    check(folder, *words, code=2, where=folder.parent)


def test_a_folder_with_nothing_to_check_says_so_and_what_to_give(tmp_path: Path) -> None:
    folder = tmp_path / "dist"
    folder.mkdir()
    (folder / "notes.txt").write_text("nothing native")
    first, hint = check(folder, where=tmp_path).splitlines()
    assert first == "0 files; nothing found"
    assert hint.endswith("packages in a folder are given by name: *.whl")
