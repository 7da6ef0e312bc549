"""Keeps the two sides of a crossing on chosen CPUs while they are measured.

Waking a sleeper costs several times more on another CPU than on one's own, so a
time for a parked call means nothing without saying where the two sides were.
"""

from __future__ import annotations

import os
from pathlib import Path

from .build import NotAvailableError
from .rounds import Run


def same_cpu() -> tuple[int, int]:
    """Choose CPUs for the host and the worker: one for both."""
    first = min(os.sched_getaffinity(0))
    return first, first


def two_cpus() -> tuple[int, int]:
    """Choose CPUs for the host and the worker: one for each."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        raise NotAvailableError("a machine with two CPUs")
    return first, others[0]


def anywhere() -> None:
    """Leave it to the scheduler."""


def pinned(run: Run, worker: int, cpus: tuple[int, int] | None) -> Run:
    """Pin this thread and the worker during a run, and let both go after it."""
    if cpus is None:
        return run
    host_cpu, worker_cpu = cpus
    all_cpus = os.sched_getaffinity(0)

    def run_pinned(count: int) -> float:
        os.sched_setaffinity(0, {host_cpu})
        _pin_process(worker, {worker_cpu})
        try:
            return run(count)
        finally:
            os.sched_setaffinity(0, all_cpus)
            _pin_process(worker, all_cpus)

    return run_pinned


def _pin_process(pid: int, cpus: set[int]) -> None:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cpus)
