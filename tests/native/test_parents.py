"""Whose child a worker is: it has what confines the thread that asked for it, and dies with
the process, not with the thread."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import libferry as ferry

CLONE_NEWNET = 0x40000000  # include/uapi/linux/sched.h
PR_SET_NO_NEW_PRIVS = 38  # include/uapi/linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True)


def absolute() -> ferry.Library:
    return ferry.load("libc.so.6", header="int abs(int);", isolation="worker")


def no_new_privileges(process: int) -> str:
    """proc_pid_status(5)"""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("NoNewPrivs:"))


def on_a_thread(body: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            body()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def test_a_worker_outlives_the_thread_that_asked_for_it() -> None:
    kept: list[ferry.Library] = []
    on_a_thread(lambda: kept.append(absolute()))
    time.sleep(0.05)
    with kept[0] as lib:
        assert lib.abs(-3) == 3


def test_a_thread_that_may_gain_no_privileges_has_workers_that_may_not() -> None:
    on_a_thread(lambda: absolute().close())  # there is a parent for workers by now

    def confined() -> None:
        assert _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
        with absolute() as lib:
            assert no_new_privileges(lib.pid) == "1"
            assert lib.abs(-3) == 3

    def as_before() -> None:
        with absolute() as lib:
            assert no_new_privileges(lib.pid) == no_new_privileges(os.getpid())

    on_a_thread(confined)
    on_a_thread(as_before)


def test_a_thread_in_another_network_has_workers_there() -> None:
    on_a_thread(lambda: absolute().close())

    def elsewhere() -> None:
        if _libc.unshare(CLONE_NEWNET) != 0:
            return  # an ordinary user's thread cannot leave alone
        here = os.readlink("/proc/thread-self/ns/net")
        with absolute() as lib:
            assert os.readlink(f"/proc/{lib.pid}/ns/net") == here

    on_a_thread(elsewhere)


_HOST = """
import sys, threading, time
from tests.sandbox.attacks import attacker
def use():
    lib = attacker()
    print(lib.pid, flush=True)
    lib.spin()
thread = threading.Thread(target=use, daemon=True)
thread.start() if sys.argv[1] == "thread" else use()
time.sleep(100)
"""


@pytest.mark.needs("ziglang", install="pip install ziglang")
@pytest.mark.needs("libseccomp.so.2", install="apt-get install libseccomp2")
@pytest.mark.parametrize("where", ["main", "thread"])
def test_a_killed_host_takes_along_a_worker_that_has_been_stopped(where: str) -> None:
    """It cannot see its socket end."""
    command = [sys.executable, "-c", _HOST, where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout
        worker = int(host.stdout.readline())
        os.kill(worker, signal.SIGSTOP)
        host.kill()
        host.wait()
    deadline = time.monotonic() + 5
    while (is_there := Path(f"/proc/{worker}").exists()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_there
