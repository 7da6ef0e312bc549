"""A kept answer is used if nothing changed, and never if something did.

Each test makes libraries with a compiler, audits twice with a change between, and compares
the second answer with one that was found out afresh.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from libferry.audit.asking import Question
from libferry.audit.many import Run, check_inputs
from libferry.audit.many import asked as asking
from libferry.audit.report import Report

pytestmark = pytest.mark.needs("cc", install="apt-get install gcc")

NUMBER = 20  # files: enough to be kept


def compile_(folder: Path, name: str, *options: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "x.c"
    source.write_text("int f(void) { return 1; }")
    command = ["cc", "-shared", "-fPIC", "-nostdlib", "-o", name, "x.c", f"-Wl,-soname,{name}"]
    subprocess.run([*command, *options], cwd=folder, check=True)
    source.unlink()
    return folder / name


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Libraries that need ``libdep.so``, looked for in two folders, the first of them empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "tree"
    dep = compile_(root / "second", "libdep.so")
    run_path = "-Wl,-rpath,$ORIGIN/first:$ORIGIN/second"
    one = compile_(root, "lib0.so", str(dep), run_path, "-Wl,--no-as-needed", str(dep))
    for number in range(1, NUMBER):
        shutil.copy(one, root / f"lib{number}.so")
    (root / "first").mkdir()
    settle()
    return root


def settle() -> None:
    """Let the clock of the file system pass the time of what was just written."""
    time.sleep(0.05)


@pytest.fixture
def audited(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are really audited, one process doing all."""
    names: list[str] = []
    original = asking.Audit.ask

    def ask(self: asking.Audit, items: object) -> object:
        names.extend(item.file.name for item in items)  # type: ignore[attr-defined]
        return original(self, items)  # type: ignore[arg-type]

    monkeypatch.setattr(asking.Audit, "ask", ask)
    return names


def check(path: Path, *, keep: bool = True, jobs: int = 1) -> Report:
    (report,) = check_inputs([path], [Question()], Run(jobs, keep))
    return report


def as_afresh(path: Path) -> Report:
    """The kept answer, after seeing that it is what an audit without a cache says."""
    kept = check(path)
    assert kept.files == check(path, keep=False).files
    return kept


def test_nothing_changed(tree: Path, audited: list[str]) -> None:
    first = check(tree)
    assert len(audited) == NUMBER + 1
    assert first.answer is True
    audited.clear()
    assert check(tree).files == first.files
    assert audited == []


def test_one_file_changed(tree: Path, audited: list[str]) -> None:
    check(tree)
    audited.clear()
    with open(tree / "lib7.so", "ab") as file:
        file.write(b"more")
    settle()
    check(tree)
    assert audited == ["lib7.so"]


def test_a_dependency_is_gone(tree: Path) -> None:
    assert check(tree).answer is True
    (tree / "second/libdep.so").unlink()
    assert as_afresh(tree).answer is False


def test_a_dependency_is_replaced(tree: Path) -> None:
    assert check(tree).answer is True
    data = (tree / "second/libdep.so").read_bytes()
    (tree / "second/libdep.so").write_bytes(data[:200])  # cut short
    settle()
    assert as_afresh(tree).answer is not True


def test_a_file_appears_where_it_was_looked_for_in_vain(tree: Path) -> None:
    """None of the files that the answer was made of has changed."""
    assert check(tree).answer is True
    (tree / "first/libdep.so").write_text("no library, but the loader stops at it")
    settle()
    assert as_afresh(tree).answer is False


def test_a_folder_for_newer_cpus_appears(tree: Path) -> None:
    """glibc looks into glibc-hwcaps below each folder, and no step says that it is not there."""
    assert check(tree).answer is True
    folder = tree / "second/glibc-hwcaps/x86-64-v2"
    folder.mkdir(parents=True)
    shutil.copy(tree / "second/libdep.so", folder)
    settle()
    edges = {edge.path for file in as_afresh(tree).files for edge in file.needs}
    fresh = {edge.path for file in check(tree, keep=False).files for edge in file.needs}
    assert edges == fresh


def test_the_same_contents_with_other_times(tree: Path, audited: list[str]) -> None:
    """As in a fresh checkout, or from a backup."""
    check(tree)
    audited.clear()
    for file in tree.rglob("*.so"):
        copy = file.with_suffix(".new")
        copy.write_bytes(file.read_bytes())
        copy.replace(file)
    settle()
    check(tree)
    assert audited == []


def test_the_environment_of_the_loader(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "second/libdep.so").rename(tree.parent / "libdep.so")
    settle()
    assert check(tree).answer is False
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tree.parent))
    assert as_afresh(tree).answer is True


def test_a_damaged_cache(tree: Path) -> None:
    first = check(tree)
    for file in (tree.parent / "cache").rglob("*.json"):
        file.write_bytes(file.read_bytes()[:1000])
    assert check(tree).files == first.files


def test_no_cache_writes_nothing(tree: Path) -> None:
    check(tree, keep=False)
    assert not (tree.parent / "cache").exists()


def test_a_cache_that_cannot_be_written(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert check(tree).answer is True


def test_several_processes_find_the_same(tree: Path) -> None:
    alone = check(tree, keep=False, jobs=1)
    together = check(tree, keep=False, jobs=2)
    assert together.files == alone.files
    assert check(tree, jobs=2).files == alone.files
    assert check(tree, jobs=2).files == alone.files


def test_an_archive_that_did_not_change_is_not_unpacked(
    tree: Path, audited: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tree.parent / "t.tar.gz"
    subprocess.run(["tar", "-C", str(tree), "-czf", str(archive), "."], check=True)
    first = check(archive)
    assert first.answer is True
    assert len(audited) == NUMBER + 1
    audited.clear()
    os.utime(archive)
    monkeypatch.setenv("TMPDIR", "/proc/nowhere")  # where nothing can be unpacked
    again = check(archive)
    assert audited == []
    assert [file.file for file in again.files] == [file.file for file in first.files]
    assert again.answer is True
