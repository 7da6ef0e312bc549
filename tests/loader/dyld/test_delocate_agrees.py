"""Which library of a wheel needs which: as delocate-listdeps sees it, and as we do.

delocate asks Apple's ``otool`` and ``lipo``, for which LLVM's stand in. It follows names
to files as dyld does, but knows no system: it takes every path below /usr/lib and /System
for a library that is there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from libferry.binary import read
from libferry.loader.dyld import resolve
from libferry.loader.model import Options
from libferry.target import DescribedSystem

from ...wheels import NATIVE, needs_wheels, unpack, wheels_of
from .conftest import target

LLVM = Path("/usr/lib/llvm-14/bin")

# LLVM 14's otool has no -m, which is a hint on how to read names with parentheses.
OTOOL = """#!/bin/sh
for each; do shift; [ "$each" = -m ] || set -- "$@" "$each"; done
exec {llvm}/llvm-otool "$@"
"""

pytestmark = [
    needs_wheels("macos-arm64"),
    needs_wheels("macos-x86_64"),
    pytest.mark.needs("delocate", install="pip install delocate"),
    pytest.mark.needs(f"{LLVM}/llvm-otool", install="apt-get install llvm-14"),
]

Edges = set[tuple[str, str]]

WHEELS = [(cpu, path) for cpu in ("arm64", "x86_64") for path in wheels_of(f"macos-{cpu}")]


def edges_of_delocate(wheel: Path, tools: Path) -> Edges:
    (tools / "otool").write_text(OTOOL.format(llvm=LLVM))
    (tools / "otool").chmod(0o755)
    (tools / "lipo").symlink_to(LLVM / "llvm-lipo")
    command = [sys.executable, "-m", "delocate.cmd.delocate_listdeps", "--all", "--depending"]
    done = subprocess.run(
        [*command, str(wheel)],
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    edges, needed = set(), ""
    for line in done.stdout.splitlines():
        if line.startswith(" "):
            edges.add((line.strip(), needed))
        else:
            needed = line.removesuffix(":")
    return edges


def our_edges(folder: Path, cpu: str) -> Edges:
    short = {"arm64": "arm64", "x86_64": "x64"}[cpu]
    system = DescribedSystem(target(f"macos-26-{short}"), [folder])
    edges = set()
    for path in sorted(folder.rglob("*")):
        if not path.name.endswith(NATIVE):
            continue
        resolution = resolve(read(path), str(path), system, Options())
        for need in resolution.root.needs:
            assert need.state in ("loaded", "again"), (path, need.name, need.tried)
            assert need.found is not None
            edges.add((str(path), need.found.real))
    inside = f"{folder}/"
    return {(a.removeprefix(inside), b.removeprefix(inside)) for a, b in edges}


@pytest.mark.parametrize(
    ("cpu", "wheel"), WHEELS, ids=[f"{path.name.split('-')[0]}-{cpu}" for cpu, path in WHEELS]
)
def test_the_libraries_of_a_wheel_need_what_delocate_says(
    cpu: str, wheel: Path, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    theirs = edges_of_delocate(wheel, tools)
    assert theirs
    assert our_edges(unpack(wheel, tmp_path / "unpacked"), cpu) == theirs
