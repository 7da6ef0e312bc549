"""zig cc: one compiler, which makes a library for every target."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .targets import Target


def compile_library(target: Target, source: str, directory: Path) -> Path:
    """Compile C without a C library; what a target needs of one, ``source`` brings."""
    (directory / "batch.c").write_text(source)
    library = directory / target.library
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target.triple, *target.flags]
    # zig's default is to trap on undefined behaviour, by way of a runtime of its own.
    command += ["-std=gnu11", "-O2", "-ffreestanding", "-fno-sanitize=all", "-fno-stack-protector"]
    command += ["-w", "-shared", "-nostdlib", "-o", library.name, "batch.c"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr}"
    return library
