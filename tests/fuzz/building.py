"""The adversaries, compiled: they know the channel by the protocol's own headers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NATIVE = HERE.parents[1] / "native"


def build(folder: Path) -> None:
    """Put the adversaries into ``folder``: ``library.so``, and ``workers/``, a package's."""
    options = ["-target", "x86_64-linux-gnu.2.17", "-std=c11", "-O1", "-Wall", "-Wextra"]
    options += ["-Werror", "-Wno-unused-function", "-fno-sanitize=all", f"-I{NATIVE}", "-pthread"]
    compiler = [sys.executable, "-m", "ziglang", "cc", *options]
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    (folder / "workers").mkdir(exist_ok=True)
    library = ["-shared", "-fPIC", "-o", str(folder / "library.so"), "adversary_library.c"]
    worker = ["-fPIE", "-pie", "-o", str(folder / "workers" / "worker-x86_64-sysv")]
    for made in (library, [*worker, "adversary_worker.c"]):
        subprocess.run([*compiler, *made], cwd=HERE, env=environment, check=True)
