"""How a library that begins again ends, and the worker that it keeps in reserve."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import libferry as ferry
from tests.processes import children

from .sides import compiled
from .test_life import ended
from .test_restart import HERE, SOURCE, crash, load


@pytest.fixture
def lib() -> Iterator[ferry.Library]:
    """A library that begins again."""
    with load() as library:
        yield library


# ---- its end ----


def test_closing_after_a_crash_or_a_restart_ends_everything(lib: ferry.Library) -> None:
    plus = lib.plus
    crash(lib)
    assert plus(1, 2) == 3
    lib.close()
    assert lib.closed
    assert ended(lib.pid)
    for use in (lambda: plus(1, 2), lambda: lib.plus(1, 2), lambda: lib.buffer(1)):
        with pytest.raises(ferry.LibraryClosed):
            use()


def test_a_crashed_library_that_is_closed_stays_closed(lib: ferry.Library) -> None:
    plus = lib.plus
    crash(lib)
    lib.close()
    for use in (lambda: plus(1, 2), lambda: lib.plus(1, 2), lambda: lib.buffer(1)):
        with pytest.raises(ferry.LibraryClosed):
            use()
    assert lib.restarts == 0


def test_closing_while_it_is_restarted_ends_the_new_worker(lib: ferry.Library) -> None:
    begun, go_on, pids = threading.Event(), threading.Event(), []

    def initialise(library: ferry.Library) -> None:
        pids.append(library.pid)
        if len(pids) > 1:
            begun.set()
            go_on.wait(10)

    errors: list[type] = []

    def use() -> None:
        try:
            slow.plus(1, 2)
        except ferry.FerryError as error:
            errors.append(type(error))

    slow = load(initialise=initialise)
    crash(slow)
    thread = threading.Thread(target=use)
    thread.start()
    assert begun.wait(10)
    slow.close()
    go_on.set()
    thread.join(10)
    assert errors == [ferry.LibraryClosed]
    assert all(ended(pid) for pid in pids)


def test_a_fork_does_not_restart_its_parents_library(lib: ferry.Library) -> None:
    crash(lib)
    child = os.fork()
    if child == 0:
        try:
            lib.plus(1, 2)
        except ferry.LibraryClosed as error:
            os._exit(42 if "fork" in str(error) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    assert lib.plus(1, 2) == 3


@pytest.mark.parametrize("spare", [False, True])
def test_a_library_that_is_dropped_leaves_no_process(spare: bool) -> None:
    before = children()
    lib = load(spare=spare)
    crash(lib)
    plus = lib.plus
    assert plus(1, 2) == 3
    gone = weakref.ref(lib)
    del lib
    gc.collect()
    assert plus(1, 2) == 3, "a function keeps its library"
    del plus
    until = time.monotonic() + 10
    while (gone() or not children() <= before) and time.monotonic() < until:
        gc.collect()
        time.sleep(0.01)
    assert gone() is None
    assert children() <= before


# ---- a worker in reserve ----


def test_a_fork_while_a_worker_starts_does_not_keep_it_alive() -> None:
    script = (
        "import os, time, libferry as ferry\n"
        "from libferry.runtime.worker import Worker\n"
        "spawn, forks = Worker._spawn, []\n"
        "def forking(*arguments):\n"
        "    spawn(*arguments)\n"
        "    forks.append(os.fork())\n"
        "    if forks[-1] == 0:\n"
        "        os.close(1); os.close(2); time.sleep(60); os._exit(0)\n"
        "Worker._spawn = forking\n"
        f"lib = ferry.load({str(compiled(SOURCE, HERE[0]))!r}, isolation='worker')\n"
        "print(lib.pid, *forks, flush=True)\n"
        "os._exit(0)\n"
    )
    # a worker has its host's standard streams, too: their end is not waited for
    host = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert host.stdout
    pid, fork = map(int, host.stdout.readline().split())
    host.wait(10)
    try:
        assert ended(pid)
    finally:
        os.kill(fork, signal.SIGKILL)


def wait_for_spare(lib: ferry.Library) -> int:
    """The process in reserve."""
    spare = lib._ferry_life._spare
    assert spare is not None
    until = time.monotonic() + 10
    while not spare._ready and time.monotonic() < until:
        time.sleep(0.001)
    return spare._ready[0].pid


def test_a_spare_takes_the_place_of_a_worker_that_is_gone() -> None:
    with load(spare=True, initialise=lambda lib: lib.setup(7)) as lib:
        for times in range(1, 4):
            reserve = wait_for_spare(lib)
            assert reserve != lib.pid
            crash(lib)
            assert lib.add(0) == 7
            assert (lib.pid, lib.restarts) == (reserve, times)


def test_a_spare_that_died_is_not_used() -> None:
    with load(spare=True) as lib:
        reserve = wait_for_spare(lib)
        os.kill(reserve, signal.SIGKILL)
        assert ended(reserve)
        crash(lib)
        assert lib.plus(1, 2) == 3


def test_a_spare_ends_with_its_library() -> None:
    lib = load(spare=True)
    reserve = wait_for_spare(lib)
    lib.close()
    assert ended(reserve)
    lib = load(spare=True)  # and one that is being made
    lib.close()
    before = {thread.name for thread in threading.enumerate()}
    until = time.monotonic() + 10
    while "libferry spare" in before and time.monotonic() < until:
        before = {thread.name for thread in threading.enumerate()}
        time.sleep(0.01)
    assert not lib._ferry_life._spare._ready  # type: ignore[union-attr]


@pytest.mark.parametrize("way", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)", "1"])
@pytest.mark.parametrize("wait", [0.0, 0.0525, 0.5])  # before, while and after it starts
def test_no_spare_outlives_its_host(way: str, wait: float) -> None:
    script = (
        "import os, signal, sys, time, libferry as ferry\n"
        f"lib = ferry.load({str(compiled(SOURCE, HERE[0]))!r}, isolation='worker',"
        " restart='next-call', spare=True)\n"
        f"time.sleep({wait})\nprint(lib.pid, flush=True)\n{way}\n"
    )
    with orphans_are_ours():
        host = subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        before = children()
        out, err = host.communicate(timeout=60)
        assert ended(int(out))
        assert err == ""
        until = time.monotonic() + 10
        while not _only_zombies(children() - before) and time.monotonic() < until:
            time.sleep(0.01)
        assert _only_zombies(children() - before)


@contextmanager
def orphans_are_ours() -> Iterator[None]:
    """What a child leaves behind becomes ours (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    prctl = ctypes.CDLL(None).prctl
    assert prctl(36, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        prctl(36, 0, 0, 0, 0)


def _only_zombies(pids: set[int]) -> bool:
    states = []
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            continue
        states.append(stat.rpartition(")")[2].split()[0])
    return all(state in "ZX" for state in states)
