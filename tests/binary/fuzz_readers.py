"""Fuzz the readers: `python -m tests.binary.fuzz_readers FOLDER -max_total_time=60`.

FOLDER has files to begin with, and gets those that reach something new; everything behind
it is for libFuzzer. Atheris watches which branches of ``libferry.binary`` a file takes and
changes the files that took new ones. Only BadBinary may come out, of any part, in seconds
and in some hundred megabytes: libFuzzer ends a run that takes longer or more.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["libferry.binary"]):
    pass

from .everything import read_everything

LIMITS = ["-timeout=10", "-rss_limit_mb=800", "-max_len=131072"]


def main() -> None:
    """Fuzz until time is up, or until something is wrong."""
    memory = os.memfd_create("fuzzed")
    path = Path(f"/proc/self/fd/{memory}")

    def one(data: bytes) -> None:
        os.ftruncate(memory, 0)
        os.pwrite(memory, data, 0)
        read_everything(path)

    folder, *options = sys.argv[1:]
    atheris.Setup([sys.argv[0], *LIMITS, f"-artifact_prefix={folder}/", *options, folder], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
