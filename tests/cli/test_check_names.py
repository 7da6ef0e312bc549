"""What a file calls the libraries it needs is the file's word, and must not pass for ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.loader.bare import NEEDED, library


@pytest.mark.parametrize("options", [[], ["--tree"]])
def test_a_name_with_a_line_end_makes_no_line_of_its_own(
    tmp_path: Path, options: list[str]
) -> None:
    file = tmp_path / "liar.so"
    file.write_bytes(library([(NEEDED, "libx.so\nyes: it loads\x1b[2J")]))
    command = [sys.executable, "-m", "libferry", "check", str(file), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert r"libx.so\nyes: it loads\x1b[2J" in done.stdout
    assert not [line for line in done.stdout.split("\n") if line.strip().startswith("yes")]
    assert "\x1b" not in done.stdout
