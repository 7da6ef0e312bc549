"""A pool: calls spread over workers, and what happens when some are lost, or none is free."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import libferry as ferry

from .conftest import Compile
from .sides import SIDES, Side, opened
from .test_life import ended

SOURCE = """
#include <stdlib.h>
#include <unistd.h>
static int total;
int worker(void) { return getpid(); }
int add(int a, int b) { return a + b; }
int count(int by) { return total += by; }
int nap(int ms) { usleep(ms * 1000); return getpid(); }
void die(void) { abort(); }
int apply(int (*f)(int), int value) { return f(value); }
static int inside, clashes;
int not_thread_safe(void) {
    if (__atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST) > 1) clashes++;
    usleep(1000);
    __atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
    return clashes;
}
"""
HEADER = """
#define LIMIT 12
int worker(void); int add(int a, int b); int count(int by); int nap(int ms); void die(void);
int apply(int (*f)(int), int value); int not_thread_safe(void);
"""
Make = Callable[..., ferry.Pool]


@pytest.fixture(scope="session")
def pooled_file(compile_c: Compile) -> Path:
    return compile_c(SOURCE)


@pytest.fixture
def make(pooled_file: Path) -> Iterator[Make]:
    """Make pools that are closed at the end, whatever still runs in them."""
    made = []

    def one(**options: Any) -> ferry.Pool:
        made.append(ferry.pool(pooled_file, header=HEADER, **options))
        return made[-1]

    yield one
    for pool in made:
        pool.close(wait=False)


def until(true: Callable[[], object]) -> None:
    limit = time.monotonic() + 20
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.005)


def at_once(count: int, function: Callable[..., Any], *values: object) -> list[Any]:
    """The results of that many threads that call it at the same time."""
    with ThreadPoolExecutor(count) as threads:
        return [one.result() for one in [threads.submit(function, *values) for _ in range(count)]]


# ---- spreading ----


def test_a_pool_has_the_functions_and_constants_of_the_header(make: Make) -> None:
    pool = make(workers=2)
    assert pool.add(1, 2) == 3
    assert pool["add"](1, 2) == 3
    assert pool.LIMIT == 12
    assert pool.add.batch([(1, 2), (3, 4)]) == [3, 7]
    with pytest.raises(ferry.SymbolNotFound, match="declares"):
        print(pool.missing)
    with pytest.raises(ferry.ArgumentTypeError):
        pool.add(1)


def test_calls_of_several_threads_run_on_several_workers(make: Make) -> None:
    pool = make(workers=3)
    until(lambda: pool.stats().ready == 3)
    pids = at_once(3, pool.nap, 300)
    assert len(set(pids)) == 3
    assert os.getpid() not in pids


def test_who_waits_is_served_in_order(make: Make) -> None:
    pool = make(workers=1)
    order: list[int] = []

    def call(n: int) -> None:
        pool.nap(20)
        order.append(n)

    threads = [threading.Thread(target=call, args=(n,)) for n in range(5)]
    for n, thread in enumerate(threads):
        thread.start()
        until(lambda n=n: pool.stats().waiting == n or pool.stats().calls > n)  # type: ignore[misc]
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3, 4]


def test_a_worker_may_make_several_calls_at_once(make: Make) -> None:
    pool = make(workers=2, calls=4)
    until(lambda: pool.stats().ready == 2)
    pids = at_once(8, pool.nap, 300)
    assert sorted(pids.count(pid) for pid in set(pids)) == [4, 4]


def test_a_library_that_is_not_thread_safe_has_one_call_at_a_time(make: Make) -> None:
    pool = make(workers=2)
    assert set(at_once(8, lambda: [pool.not_thread_safe() for _ in range(10)][-1])) == {0}


@pytest.mark.parametrize("side", [SIDES[2], SIDES[3]])
def test_a_pool_may_be_for_another_processor(side: Side) -> None:
    with opened(side, "EXPORT int f(int a) { return a + 1; }", "int f(int a);") as lib:
        file = lib.binary.path
    with ferry.pool(file, workers=2, header="int f(int a);") as pool:
        assert at_once(4, pool.f, 1) == [2, 2, 2, 2]


# ---- callbacks ----


def test_a_call_from_a_callback_runs_on_the_worker_that_called_back(make: Make) -> None:
    pool = make(workers=1)
    with pool.session() as lib:
        assert lib.apply(lambda n: n + 1, 1) == 2
    assert pool.apply(lambda n: pool.add(n, pool.worker() * 0 + 1), 41) == 42


def test_a_thread_that_would_wait_for_itself_is_refused(make: Make) -> None:
    pool = make(workers=1)
    with pool.session(), pytest.raises(ferry.NestedTooDeep, match="wait for itself"):
        pool.add(1, 2)
    assert pool.add(1, 2) == 3


# ---- crashes ----


def test_a_crash_is_told_to_its_caller_alone_and_the_worker_replaced(make: Make) -> None:
    pool = make(workers=2)
    until(lambda: pool.stats().ready == 2)
    with ThreadPoolExecutor(1) as thread:
        other = thread.submit(pool.nap, 300)
        until(lambda: pool.stats().running == 1)
        with pytest.raises(ferry.LibraryCrashed, match="SIGABRT"):
            pool.die()
        assert pool.add(1, 2) == 3  # with the new one
        assert other.result() > 0
    until(lambda: pool.stats().ready == 2)
    assert pool.stats().lost == 1


def test_a_worker_that_is_killed_between_calls_fails_nobody(make: Make) -> None:
    pool = make(workers=1)
    pid = pool.worker()
    os.kill(pid, signal.SIGKILL)
    assert ended(pid)
    time.sleep(0.05)  # for the watcher of workers, which sleeps on the same news
    assert pool.worker() != pid


def test_a_missed_deadline_replaces_the_worker(make: Make) -> None:
    pool = make(workers=1, timeout=0.1)
    with pytest.raises(ferry.DeadlineExceeded):
        pool.nap(60_000)
    with pytest.raises(ferry.DeadlineExceeded, match=r"0\.05 s"):
        pool.nap.within(0.05)(60_000)
    assert pool.add(1, 2) == 3


def test_a_library_that_cannot_be_opened_again_is_told(
    make: Make, pooled_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / "lib.so"
    file.write_bytes(pooled_file.read_bytes())
    with ferry.pool(file, workers=1, header=HEADER) as pool:
        file.rename(tmp_path / "gone")
        with pytest.raises(ferry.LibraryCrashed):
            pool.die()
        with pytest.raises(ferry.LibraryNotFound):
            pool.add(1, 2)
        (tmp_path / "gone").rename(file)
        until(lambda: _works(pool))


def _works(pool: ferry.Pool) -> bool:
    try:
        return bool(pool.add(1, 2) == 3)
    except ferry.LibraryNotFound:
        return False


# ---- back-pressure ----


def test_a_full_pool_refuses_with_numbers(make: Make) -> None:
    pool = make(workers=1, waiting=1)
    with ThreadPoolExecutor(2) as threads:
        for n in range(2):
            threads.submit(pool.nap, 300)
            until(lambda n=n: pool.stats().running + pool.stats().waiting == n + 1)  # type: ignore[misc]
        with pytest.raises(ferry.PoolFull) as caught:
            pool.add(1, 2)
    assert "1 wait already, and 1 may; 1 calls run on 1 workers of 1" in str(caught.value)
    assert "workers=" in caught.value.hint
    assert pool.stats().refused == 1


def test_nobody_waits_longer_than_agreed(make: Make) -> None:
    pool = make(workers=1, wait_timeout=0.05)
    with pool.session(), ThreadPoolExecutor(1) as thread:
        refused = thread.submit(pool.add, 1, 2).exception()
    assert isinstance(refused, ferry.PoolFull)
    assert "no worker was free within 0.05 s" in str(refused)
    assert pool.add(1, 2) == 3


def test_ctrl_c_ends_the_wait_for_a_worker(pooled_file: Path) -> None:
    script = f"""
import os, signal, threading, time, libferry as ferry
with ferry.pool({str(pooled_file)!r}, header={HEADER!r}, workers=1) as pool:
    threading.Thread(target=pool.nap, args=(800,)).start()
    while not pool.stats().running: pass
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        pool.add(1, 2)
    except KeyboardInterrupt:
        print(pool.stats().waiting, pool.stats().running, pool.add(1, 2))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert (done.stdout, done.stderr) == (b"0 1 3\n", b"")


# ---- sessions ----


def test_a_session_has_one_worker_for_itself(make: Make) -> None:
    pool = make(workers=2, calls=2)
    until(lambda: pool.stats().ready == 2)
    with pool.session() as lib:
        assert [lib.count(n) for n in (1, 2, 3)] == [1, 3, 6]
        assert lib.pid not in at_once(4, pool.nap, 50)
        data = lib.new("int[3]", [1, 2, 3])
        assert data[1] == 2


def test_a_session_that_crashed_stays_so(make: Make) -> None:
    pool = make(workers=1)
    with pool.session() as lib:
        with pytest.raises(ferry.LibraryCrashed, match="SIGABRT"):
            lib.die()
        with pytest.raises(ferry.LibraryCrashed, match="earlier call"):
            lib.add(1, 2)
    assert pool.count(5) == 5


def test_what_a_session_lent_refuses_when_it_is_over(make: Make) -> None:
    pool = make(workers=1)
    with pool.session() as lib:
        add = lib.add
        assert add(1, 2) == 3
    uses: list[Callable[[], Any]] = [
        lambda: add(1, 2),
        lambda: lib.add,
        lambda: lib["add"],
        lambda: add.batch([]),
    ]
    for use in uses:
        with pytest.raises(ferry.LibraryClosed, match="session is over"):
            use()


def test_a_session_that_closed_its_library_costs_the_pool_nothing(make: Make) -> None:
    pool = make(workers=1)
    with pool.session() as lib:
        lib.close()
    assert pool.add(1, 2) == 3


# ---- keys ----


def test_the_same_key_has_the_same_worker(make: Make) -> None:
    pool = make(workers=3)
    until(lambda: pool.stats().ready == 3)
    assert {pool.sticky(n).worker() for n in range(3)} == set(at_once(3, pool.nap, 100))
    for key in ("a", 7, ("b", 2)):
        assert len({pool.sticky(key).worker() for _ in range(5)}) == 1
    assert [pool.sticky("x").count(1) for _ in range(3)] == [1, 2, 3]


def test_a_lost_worker_is_told_once_to_each_key(make: Make) -> None:
    pool = make(workers=1)
    one, two = pool.sticky("one"), pool.sticky("two")
    one.count(1), two.count(1)
    with pytest.raises(ferry.LibraryCrashed, match="SIGABRT"):
        one.die()
    assert one.count(1) == 1
    with pytest.raises(ferry.LibraryCrashed, match="'two': its worker was lost since"):
        two.count(1)
    assert two.count(1) == 2
    assert pool.sticky("three").count(1) == 3


def test_a_key_that_is_forgotten_is_told_nothing(make: Make) -> None:
    pool = make(workers=1)
    with pool.sticky("one") as one:
        one.count(1)
    with pytest.raises(ferry.LibraryCrashed):
        pool.die()
    assert one.count(1) == 1


def test_a_key_waits_for_its_own_worker_and_holds_up_nobody(make: Make) -> None:
    pool = make(workers=2)
    until(lambda: pool.stats().ready == 2)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(pool.sticky(0).nap, 300)
        until(lambda: pool.stats().running == 1)
        second = threads.submit(pool.sticky(0).nap, 1)
        until(lambda: pool.stats().waiting == 1)
        assert pool.add(1, 2) == 3
        assert not first.done()
        assert first.result() == second.result()


def test_what_cannot_be_hashed_is_no_key(make: Make) -> None:
    with pytest.raises(ferry.ArgumentTypeError, match="list is no key"):
        make(workers=1).sticky([])  # type: ignore[arg-type]


# ---- asyncio ----


def test_a_loop_waits_for_workers(make: Make) -> None:
    pool = make(workers=2)

    async def all_of_them() -> list[Any]:
        return list(await asyncio.gather(*(pool.aio.add(n, 1) for n in range(20))))

    assert asyncio.run(all_of_them()) == list(range(1, 21))
    assert pool.stats().running == 0


def test_a_loop_is_told_of_crashes_and_of_a_full_pool(make: Make) -> None:
    pool = make(workers=1, waiting=1)

    async def crash_and_more() -> list[Any]:
        calls = (pool.aio.die(), pool.aio.add(1, 2), pool.aio.add(1, 2))
        return list(await asyncio.gather(*calls, return_exceptions=True))

    crashed, done, full = asyncio.run(crash_and_more())
    assert isinstance(crashed, ferry.LibraryCrashed)
    assert done == 3
    assert isinstance(full, ferry.PoolFull)


def test_a_call_nobody_awaits_any_more_keeps_its_worker_until_it_returns(make: Make) -> None:
    pool = make(workers=1)

    async def give_up() -> list[int]:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pool.aio.nap(400), 0.05)
        busy = pool.stats().running
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pool.aio.add(1, 2), 0.05)  # while it waits in the queue
        waiting = pool.stats().waiting
        return [busy, waiting, await pool.aio.add(1, 2)]

    assert asyncio.run(give_up()) == [1, 0, 3]


# ---- its end ----


def test_closing_waits_for_calls_and_refuses_new_ones(make: Make) -> None:
    pool = make(workers=1)
    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(pool.nap, 100) for _ in range(2)]
        until(lambda: pool.stats().waiting == 1)
        pool.close()
        assert len({call.result(timeout=0) for call in calls}) == 1
    with pytest.raises(ferry.LibraryClosed):
        pool.add(1, 2)
    pool.close()


def test_closing_at_once_ends_the_calls(make: Make) -> None:
    pool = make(workers=1)
    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(pool.nap, 15_000) for _ in range(2)]
        until(lambda: pool.stats().waiting == 1)
        pool.close(wait=False)
        for call in calls:
            with pytest.raises(ferry.LibraryClosed):
                call.result(timeout=20)


def test_a_fork_cannot_use_its_parents_pool(make: Make) -> None:
    pool = make(workers=1)
    child = os.fork()
    if child == 0:
        try:
            pool.add(1, 2)
        except ferry.LibraryClosed as error:
            pool.close()
            os._exit(42 if "fork" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
    assert pool.add(1, 2) == 3


def test_a_pool_that_nobody_holds_ends_its_workers(pooled_file: Path) -> None:
    pool: ferry.Pool | None = ferry.pool(pooled_file, header=HEADER, workers=1)
    assert pool is not None
    pid = pool.worker()
    pool = None
    gc.collect()
    assert ended(pid)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"workers": 0}, ferry.ArgumentValueError),
        ({"workers": "many"}, ferry.ArgumentValueError),
        ({"calls": 1000}, ferry.ArgumentValueError),
        ({"waiting": -1}, ferry.ArgumentValueError),
        ({"wait_timeout": -1}, ferry.ArgumentValueError),
        ({"isolation": "in-process"}, ferry.ArgumentTypeError),
        ({"restart": "next-call"}, ferry.ArgumentTypeError),
    ],
)
def test_what_makes_no_pool_is_refused(
    make: Make, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match="make a pool of lib"):
        make(**options)
