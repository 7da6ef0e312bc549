"""The limit as contenders: `limit.c` with its host in C, and with its host in Python."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from .build import limit_module, limit_program
from .pin import pinned
from .rounds import Contender, Run, statement


def in_c(name: str, mode: str, cpus: Callable[[], tuple[int, int] | None]) -> Contender:
    """Exchange the word with both halves in C; `mode` is the one of `limit.c`."""

    def open_(stack: ExitStack) -> Run:
        host_cpu, worker_cpu = cpus() or (-1, -1)
        program = subprocess.Popen(
            [limit_program(), "host"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        stack.enter_context(program)  # closes its input, which ends it, and waits
        asks, answers = program.stdin, program.stdout
        assert asks is not None
        assert answers is not None

        def run(count: int) -> float:
            asks.write(f"{mode} {count} {host_cpu} {worker_cpu}\n")
            asks.flush()
            return float(answers.readline()) * 1e-9

        return run

    return Contender(name, open_)


def spinning_from_python(name: str, cpus: Callable[[], tuple[int, int] | None]) -> Contender:
    """Exchange the word from Python; the worker spins only while it is measured.

    A worker that has just been woken may share the host's CPU, until the scheduler
    sees two programs that never sleep and parts them. So the first run is not timed.
    """

    def open_(stack: ExitStack) -> Run:
        where = cpus()
        module, channel, worker = _attached(stack)
        timed = statement("f()", f=module.spin)

        def run(count: int) -> float:
            module.use(channel)
            module.start_spinning()
            try:
                timed(count)
                return timed(count)
            finally:
                module.rest()

        return pinned(run, worker.pid, where)

    return Contender(name, open_)


def parked_from_python(name: str, cpus: Callable[[], tuple[int, int] | None]) -> Contender:
    """Exchange the word from Python, both sides asleep at once."""

    def open_(stack: ExitStack) -> Run:
        where = cpus()
        module, channel, worker = _attached(stack)
        timed = statement("f()", f=module.park)

        def run(count: int) -> float:
            module.use(channel)
            return timed(count)

        return pinned(run, worker.pid, where)

    return Contender(name, open_)


def nothing(name: str) -> Contender:
    """Call a C function of an extension that does nothing with its two arguments."""
    return Contender(name, lambda _: statement("f(1, 2)", f=limit_module().nothing))


def start(stack: ExitStack) -> None:
    """Start the worker and exchange the word once."""
    module, channel, _ = _attached(stack)
    module.use(channel)
    module.park()


def _attached(stack: ExitStack) -> tuple[Any, int, subprocess.Popen[bytes]]:
    module, program = limit_module(), limit_program()
    fd = os.memfd_create("limit")
    stack.callback(os.close, fd)
    os.ftruncate(fd, 4096)
    channel = module.attach(fd)
    worker = subprocess.Popen([program, "worker", str(fd)], pass_fds=[fd])
    stack.callback(worker.wait)
    stack.callback(worker.kill)
    return module, channel, worker
