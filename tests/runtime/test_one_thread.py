"""A library that is not thread-safe is entered by one thread at a time, and says so itself.

The library here counts who is inside, and stays there for a moment: two threads that enter
it at once are seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import libferry as ferry

from .conftest import Compile

SOURCE = """
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static atomic_int inside, overlaps, calls;

static int enter(void)
{
    if (atomic_fetch_add(&inside, 1)) atomic_fetch_add(&overlaps, 1);
    usleep(500);
    return atomic_fetch_add(&calls, 1) + 1;
}

int work(int value) { enter(); atomic_fetch_sub(&inside, 1); return value; }
int seen_overlaps(void) { return overlaps; }
int seen_calls(void) { return calls; }

/* The callback may call the library again: the same thread, which is inside already. */
int call_back(int (*function)(int), int value)
{
    enter();
    value = function(value);
    atomic_fetch_sub(&inside, 1);
    return value;
}
int nested(int value) { return value + 1; }
void pause_ms(int ms) { usleep(1000u * (unsigned)ms); }

/* The kind that insists on the thread it was opened by. */
static pthread_t opener;
__attribute__((constructor)) static void opened(void) { opener = pthread_self(); }
int on_opening_thread(void) { return pthread_equal(pthread_self(), opener) != 0; }
"""

HEADER = """
int work(int value); int seen_overlaps(void); int seen_calls(void);
int call_back(int (*function)(int), int value); int nested(int value);
void pause_ms(int ms); int on_opening_thread(void);
"""

THREADS, ROUNDS = 8, 20


@pytest.fixture(scope="module")
def file(compile_c: Compile) -> Path:
    return compile_c(SOURCE, "-pthread")


@pytest.fixture(params=["in-process", "worker"])
def lib(request: pytest.FixtureRequest, file: Path) -> Iterator[ferry.Library]:
    with ferry.load(file, header=HEADER, isolation=request.param, threads="one") as library:
        yield library


def on_threads(run: Callable[[int], object]) -> None:
    failures: list[BaseException] = []

    def keep(number: int) -> None:
        try:
            run(number)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=keep, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize("isolation", ["in-process", "worker"])
def test_otherwise_threads_are_inside_at_once(file: Path, isolation: str) -> None:
    """The library would see it: what it does not see below does not happen."""
    with ferry.load(file, header=HEADER, isolation=isolation) as lib:  # type: ignore[arg-type]
        on_threads(lambda number: [lib.work(i) for i in range(ROUNDS)])
        assert lib.seen_overlaps() > 0


def test_only_one_thread_is_inside(lib: ferry.Library) -> None:
    def run(number: int) -> None:
        assert [lib.work(number + i) for i in range(ROUNDS)] == [number + i for i in range(ROUNDS)]

    on_threads(run)
    assert (lib.seen_overlaps(), lib.seen_calls()) == (0, THREADS * ROUNDS)


@pytest.mark.parametrize("isolation", ["in-process", "worker"])
def test_the_header_may_say_so(file: Path, isolation: str) -> None:
    header = HEADER + "FERRY_NOT_THREAD_SAFE;"
    with ferry.load(file, header=header, isolation=isolation) as lib:  # type: ignore[arg-type]
        on_threads(lambda number: [lib.work(i) for i in range(ROUNDS)])
        assert lib.seen_overlaps() == 0


def test_a_callback_may_call_the_library_again(lib: ferry.Library) -> None:
    """Its thread is inside already; the others wait until the outer call has returned."""

    def again(value: int) -> int:
        result: int = lib.nested(value)
        return result

    def run(number: int) -> None:
        with lib.callback("int (*)(int)", again) as callback:
            for i in range(ROUNDS):
                assert lib.call_back(callback, number * i) == number * i + 1

    on_threads(run)
    assert (lib.seen_overlaps(), lib.seen_calls()) == (0, THREADS * ROUNDS)


def test_callbacks_nest(lib: ferry.Library) -> None:
    def deeper(value: int) -> int:
        if value == 0:
            return 0
        result: int = lib.call_back(callback, value - 1) + 1
        return result

    with lib.callback("int (*)(int)", deeper) as callback:
        assert lib.call_back(callback, 10) == 10


def test_a_callback_that_raises_lets_the_next_thread_in(lib: ferry.Library) -> None:
    def fail(value: int) -> int:
        raise LookupError(value)

    def run(number: int) -> None:
        with lib.callback("int (*)(int)", fail) as callback, pytest.raises(LookupError):
            lib.call_back(callback, number)

    on_threads(run)
    assert lib.seen_calls() == THREADS


def test_an_argument_that_is_refused_lets_the_next_thread_in(lib: ferry.Library) -> None:
    with pytest.raises(ferry.ArgumentTypeError):
        lib.work("1")
    on_threads(lambda number: lib.work(number))
    assert lib.seen_calls() == THREADS


def test_rows_and_pending_calls_wait_for_their_turn(lib: ferry.Library) -> None:
    np = pytest.importorskip("numpy")

    def run(number: int) -> None:
        if number % 2:
            assert list(lib.work.map(np.arange(ROUNDS, dtype="i4"))) == list(range(ROUNDS))
        else:
            assert lib.work.batch([(i,) for i in range(ROUNDS)]) == list(range(ROUNDS))

    on_threads(run)
    assert (lib.seen_overlaps(), lib.seen_calls()) == (0, THREADS * ROUNDS)


def test_awaited_calls_wait_for_their_turn(lib: ferry.Library) -> None:
    async def all_at_once() -> list[int]:
        return list(await asyncio.gather(*(lib.aio.work(i) for i in range(ROUNDS))))

    assert asyncio.run(all_at_once()) == list(range(ROUNDS))
    assert (lib.seen_overlaps(), lib.seen_calls()) == (0, ROUNDS)


def test_who_waits_for_a_turn_is_refused_when_the_library_closes(lib: ferry.Library) -> None:
    inside, leave, refused = threading.Event(), threading.Event(), threading.Event()

    def stay(value: int) -> int:
        inside.set()
        leave.wait()
        return value

    def hold() -> None:
        with contextlib.suppress(ferry.LibraryClosed):  # a worker ends with its calls
            lib.call_back(stay, 0)

    def wait() -> None:
        with pytest.raises(ferry.LibraryClosed):
            lib.work(1)
        refused.set()

    holding, waiting = threading.Thread(target=hold), threading.Thread(target=wait)
    holding.start()
    inside.wait()
    waiting.start()
    time.sleep(0.1)  # so that it waits; if it does not yet, it is refused all the same
    lib.close()
    waiting.join()
    leave.set()
    holding.join()
    assert refused.is_set()


def test_a_worker_calls_on_the_thread_that_opened_the_library(file: Path) -> None:
    with ferry.load(file, header=HEADER, isolation="worker", threads="one") as lib:

        def run(number: int) -> None:
            assert lib.on_opening_thread()
            with lib.callback("int (*)(int)", lambda _: lib.on_opening_thread()) as callback:
                assert lib.call_back(callback, 0)

        on_threads(run)


def test_a_call_while_one_of_this_thread_is_pending_is_refused(file: Path) -> None:
    """It would wait for itself: the worker of such a library has one lane."""
    with ferry.load(file, header=HEADER, isolation="worker", threads="one") as lib:
        pending = lib.work.post(1)
        with pytest.raises(ferry.NestedTooDeep, match="one at a time"):
            lib.work(2)
        assert pending.wait() == 1
        assert lib.work(2) == 2
