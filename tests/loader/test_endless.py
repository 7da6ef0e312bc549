"""Libraries that need more, and deeper, than any program does."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import libferry
from libferry.loader import resolve
from libferry.target import system_for
from tests.loader.bare import NEEDED, RPATH, RUNPATH, library

DEEP = 3000  # three times Python's stack


@pytest.mark.parametrize("last", [RUNPATH, RPATH])
def test_a_chain_longer_than_the_stack_is_followed_to_its_end(tmp_path: Path, last: int) -> None:
    """The last one is missing, so that the answer needs the whole chain.

    With an RPATH at the end, which is also everybody's above it that has no RUNPATH.
    """
    for number in range(DEEP):
        tag = last if number == DEEP - 1 else RUNPATH
        names = [(NEEDED, f"lib{number + 1}.so"), (tag, "$ORIGIN")]
        (tmp_path / f"lib{number}.so").write_bytes(library(names))
    report = libferry.check(tmp_path / "lib0.so")
    missing = [finding for finding in report.findings if finding.rule == "missing-library"]
    assert [finding.subject for finding in missing] == [f"lib{DEEP}.so"]


def test_all_nodes_are_walked_depth_first(tmp_path: Path) -> None:
    for name, needs in {"a": "bc", "b": "d", "c": "", "d": ""}.items():
        names = [(NEEDED, f"{need}.so") for need in needs] + [(RUNPATH, "$ORIGIN")]
        (tmp_path / f"{name}.so").write_bytes(library(names))
    root = resolve(tmp_path / "a.so", system_for("this")).root
    assert [Path(node.path).stem for node in root.walk() if node.found] == ["a", "b", "d", "c"]


def test_the_time_for_missing_libraries_grows_as_their_number(tmp_path: Path) -> None:
    """Ten times as many may take some 10 times as long; it was 100 times."""
    taken = []
    for count in (1000, 10_000):
        file = tmp_path / f"needs{count}.so"
        file.write_bytes(library([(NEEDED, f"libgone{number}.so") for number in range(count)]))
        before = time.process_time()
        report = libferry.check(file)
        taken.append(time.process_time() - before)
        assert sum(finding.rule == "missing-library" for finding in report.findings) == count
    assert taken[1] < 30 * taken[0]
