"""The section about what a scalar call allocates: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack

from .build import allocation_counter
from .rounds import Contender, Run, Section
from .units import show_count


def _counted(name: str, who: str, side: int = 0) -> Contender:
    """Count in a process of its own; `side` 1 is the library's."""

    def open_(_: ExitStack) -> Run:
        counter = str(allocation_counter())
        environment = os.environ | {
            "LD_PRELOAD": counter,
            "PYTHONMALLOC": "malloc",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }

        def run(_: int) -> float:
            command = [sys.executable, "-m", "bench.counted", counter, who]
            counts = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            return float(counts.stdout.split()[side])

        run(1)
        return run

    return Contender(name, open_)


ALLOCATIONS = Section(
    "allocations",
    "What a call allocates",
    "Calls of malloc and its kin in a call of `add(1, 2)`, counted by a library that is "
    "preloaded into both processes; Python takes its objects from malloc as well "
    "(`PYTHONMALLOC=malloc`). The result is one of the small numbers that Python keeps: for "
    "any other, the int that is handed to the caller is one allocation.",
    None,
    [
        _counted("in-process", "in-process"),
        _counted("worker x86-64, this side", "worker"),
        _counted("worker x86-64, its side", "worker", 1),
        _counted("ctypes", "ctypes"),
        _counted("cffi, ABI mode", "cffi"),
    ],
    count=1,
    rounds=1,
    show=show_count,
)
