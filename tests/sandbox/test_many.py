"""Sandboxes in numbers: a pool of them, and one with a spare."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

import libferry as ferry
from tests.sandbox.library import HEADER, library, sandboxed

pytestmark = [
    pytest.mark.needs("ziglang", install="pip install ziglang"),
    pytest.mark.needs("libseccomp.so.2", install="apt-get install libseccomp2"),
]


def until(happens: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while not happens() and time.monotonic() < end:
        time.sleep(0.01)
    return happens()


def test_a_pool_of_sandboxes_shares_the_calls() -> None:
    with (
        ferry.pool(library(), header=HEADER, isolation="sandbox", workers=3) as pool,
        ThreadPoolExecutor(8) as threads,
    ):
        assert list(threads.map(pool.add, range(200), range(200))) == list(range(0, 400, 2))


def test_a_pool_replaces_who_did_what_is_forbidden() -> None:
    with ferry.pool(library(), header=HEADER, isolation="sandbox", workers=2) as pool:
        for number in range(4):
            with pytest.raises(ferry.SandboxViolation) as caught:
                pool.open_file("/etc/passwd", os.O_RDONLY)
            assert caught.value.path == "/etc/passwd"
            assert pool.add(number, 1) == number + 1
        assert pool.stats().lost == 4
        assert until(lambda: pool.stats().ready == 2)


def test_a_spare_is_as_confined_as_the_first() -> None:
    """It was started before the library was opened in it: its phases begin anew."""
    with sandboxed(restart="next-call", spare=True) as lib:
        for _ in range(3):
            assert until(lambda: bool(lib._ferry_life._spare._ready))  # type: ignore[union-attr]
            with pytest.raises(ferry.SandboxViolation) as caught:
                lib.open_file("/etc/passwd", os.O_RDONLY)
            assert caught.value.syscall == "openat"
            assert lib.add(1, 2) == 3
            assert lib.threads(4) == 4
        with pytest.raises(ferry.SandboxViolation, match="openat"):
            lib.opens_library("libutil.so.1")  # the time for loading is over
