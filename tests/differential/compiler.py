"""zig cc: one compiler, which makes a library for every target."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .targets import Target


def compile_library(target: Target, source: str, directory: Path) -> Path:
    """Compile C without a C library; what a target needs of one, ``source`` brings."""
    (directory / "batch.c").write_text(source)
    library = directory / ("batch.dll" if target.is_windows else "libbatch.so")
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target.triple]
    # zig's default is to trap on undefined behaviour, by way of a runtime of its own.
    command += ["-std=c11", "-O2", "-ffreestanding", "-fno-sanitize=all", "-shared", "-nostdlib"]
    command += ["-o", library.name, "batch.c"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return library
