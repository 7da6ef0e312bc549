"""Many threads call one library; calls come in every rhythm."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import libferry as ferry

from .conftest import HEADER


def test_every_thread_gets_its_own_answers(lib: ferry.Library) -> None:
    def work(seed: int) -> bool:
        return all(lib.add(seed, i) == seed + i for i in range(2000))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_more_threads_than_lanes_take_turns(worker: ferry.Library) -> None:
    """The channel has 64 lanes; all are held for a while by calls that sleep."""

    def work(value: int) -> int:
        worker.pause_ms(20)
        result: int = worker.add(value, 1)
        return result

    with ThreadPoolExecutor(100) as pool:
        assert list(pool.map(work, range(300))) == list(range(1, 301))


def test_errno_belongs_to_the_thread(lib: ferry.Library) -> None:
    def work(value: int) -> bool:
        for _ in range(500):
            lib.set_errno(value)
            if lib.errno != value:
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(1, 9)))


def test_many_threads_before_leave_errno_of_this_one(lib: ferry.Library) -> None:
    lib.set_errno(9)
    for _ in range(100):
        thread = threading.Thread(target=lib.set_errno, args=(5,))
        thread.start()
        thread.join()
    assert lib.errno == 9


def test_a_call_made_while_converting_an_argument_leaves_the_outer_errno(
    lib: ferry.Library,
) -> None:
    class Inner:
        def __index__(self) -> int:
            lib.set_errno(5)
            return 9

    lib.set_errno(Inner())
    assert lib.errno == 9


def test_threads_that_call_while_converting_do_not_block_each_other(
    worker: ferry.Library,
) -> None:
    """An argument's __index__ may call the library; no lane is held meanwhile."""

    class Slow:
        def __index__(self) -> int:
            worker.pause_ms(5)
            return 1

    with ThreadPoolExecutor(80) as pool:
        assert list(pool.map(lambda _: worker.add(Slow(), 1), range(160))) == [2] * 160


def test_no_call_is_lost_or_made_twice_in_any_rhythm(worker: ferry.Library) -> None:
    """Bursts make a lane hot, pauses of every length let it turn cold in between."""
    expected = 0
    for pause in [0.0, 0.00001, 0.00005, 0.0001, 0.0002, 0.001] * 20:
        for _ in range(40):
            expected += 1
            assert worker.count_call() == expected
        until = time.perf_counter() + pause
        while time.perf_counter() < until:
            pass


def test_no_call_is_made_twice_when_the_host_is_slow_to_return(library_file: Path) -> None:
    """A lane that turns hot takes back that it was parked (lane.c)."""
    for _ in range(10):
        with ferry.load(library_file, header=HEADER, isolation="worker") as lib:
            for expected in range(1, 60):
                assert lib.count_call() == expected
                time.sleep(0.00002)


def test_without_spinning_the_answers_are_the_same(library_file: Path) -> None:
    with ferry.load(library_file, header=HEADER, isolation="worker", spin=False) as lib:
        assert [lib.count_call() for _ in range(2000)] == list(range(1, 2001))


def test_the_interpreter_runs_on_while_a_call_takes_long(lib: ferry.Library) -> None:
    caller = threading.Thread(target=lib.pause_ms, args=(300,))
    caller.start()
    ticks = 0
    while caller.is_alive():
        ticks += 1
        time.sleep(0.01)
    assert ticks > 5


def test_an_idle_worker_uses_no_processor(worker: ferry.Library) -> None:
    def cpu_ns() -> int:
        return int(Path(f"/proc/{worker.pid}/schedstat").read_text().split()[0])

    for _ in range(1000):
        worker.add(1, 2)
    time.sleep(0.1)
    before = cpu_ns()
    time.sleep(0.5)
    assert cpu_ns() - before < 1_000_000
