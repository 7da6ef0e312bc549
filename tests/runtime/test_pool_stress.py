"""A pool under many threads, crashes and kills: nobody is lost, and nothing is left."""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import libferry as ferry

from .conftest import Compile
from .test_life import ended
from .test_pool import HEADER, SOURCE, until


@pytest.fixture(scope="session")
def pooled_file(compile_c: Compile) -> Path:
    return compile_c(SOURCE)


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def test_sixteen_threads_and_random_crashes_lose_no_caller_and_no_answer(
    pooled_file: Path,
) -> None:
    before = descriptors()
    pids: set[int] = set()
    seed = random.randrange(1 << 32)
    tally = {"answers": 0, "crashes": 0}
    lock = threading.Lock()

    def caller(pool: ferry.Pool, number: int) -> None:
        dice = random.Random(seed + number)
        for turn in range(120):
            choice = dice.random()
            try:
                if choice < 0.04:
                    pool.die()
                    raise AssertionError("it should have crashed")
                if choice < 0.06:
                    os.kill(pool.worker(), signal.SIGKILL)
                elif choice < 0.2:
                    with pool.session() as lib:
                        pids.add(lib.pid)
                        start = lib.count(0)
                        assert [lib.count(1) for _ in range(3)] == [start + n for n in (1, 2, 3)]
                elif choice < 0.4:
                    key = dice.randrange(6)
                    pids.add(pool.sticky(key).worker())
                else:
                    assert pool.add(number, turn) == number + turn
                with lock:
                    tally["answers"] += 1
            except ferry.LibraryCrashed:
                with lock:
                    tally["crashes"] += 1

    with ferry.pool(pooled_file, header=HEADER, workers=4) as pool:
        with ThreadPoolExecutor(16) as threads:
            callers = [threads.submit(caller, pool, number) for number in range(16)]
            for one in callers:
                one.result(timeout=120)
        while (stats := pool.stats()).ready < 4:
            time.sleep(0.01)
    assert sum(tally.values()) == 16 * 120, seed
    assert tally["crashes"] > 20, seed
    assert (stats.running, stats.waiting, stats.refused) == (0, 0, 0), seed
    assert all(ended(pid) for pid in pids)
    del pool, callers, one
    until(lambda: descriptors() <= before + 1)  # the one that watches for deaths
