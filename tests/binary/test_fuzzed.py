"""Files that a fuzzer makes: a short run of fuzz_readers.py; `make soak` has a long one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import SOURCE, Build

SECONDS = float(os.environ.get("FERRY_FUZZ_SECONDS", "6"))
FEWEST = 100  # a run that has done less has not begun

TARGETS = ("s390x-linux-gnu", "arm-linux-gnueabihf", "riscv64-linux-musl")

# A block of Go's, of either form; the addresses lead into the file's beginning.
GO = """
    const char text[] __attribute__((section(".go.buildinfo"), aligned(16), used)) =
        "\\xff Go buildinf:\\x08\\x02PPPPPPPPQQQQQQQQ\\x08go1.22.3\\x30"
        "0123456789abcdefpath\\tx\\nmod\\tx\\tv1\\n0123456789abcdef";
"""


@pytest.mark.needs("atheris", install="pip install atheris")
def test_the_readers_stand_a_fuzzer(
    build: Build, small_elf: Path, small_pe: Path, small_macho: Path, tmp_path: Path
) -> None:
    """In a process of its own, with a limit on its memory."""
    seeds = [small_elf, small_pe, small_macho, build("x86_64-linux-gnu", GO, "-nostdlib", "-s")]
    seeds += [build(target, SOURCE, "-nostdlib", "-s") for target in TARGETS]
    for number, seed in enumerate(seeds):
        shutil.copyfile(seed, tmp_path / f"seed-{number}")
    options = [f"-max_total_time={SECONDS:.0f}", f"-seed={os.environ.get('FERRY_SEED', '1')}"]
    [os.environ.get("PYTHONPATH", "src"), "."]
    done = subprocess.run(
        [sys.executable, "-m", "tests.binary.fuzz_readers", str(tmp_path), *options],
        cwd=Path(__file__).parents[2],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", "src"), "."])},
        capture_output=True,
        text=True,
        timeout=SECONDS + 200,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    runs = re.search(r"Done (\d+) runs", done.stderr)
    assert runs, done.stderr[-2000:]
    assert int(runs[1]) >= FEWEST
