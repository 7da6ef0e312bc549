"""The sections about many threads that call one library in a worker at once."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from . import ours
from .build import optional
from .rounds import Contender, Run, Section

STEPS = 10_000  # of `work`: some 20 µs
CALLS = 4000
CHECKED_CALLS = 10_000_000
PIECE = 1000  # of those, at once for Python to check


def _run_threads(body: Callable[[int], object], threads: int) -> float:
    """Run so many at once and give the seconds; what one of them raises is raised."""
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            body(number)
        except BaseException as failure:
            failures.append(failure)

    started = [threading.Thread(target=guarded, args=(n,)) for n in range(threads)]
    begin = time.perf_counter()
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    seconds = time.perf_counter() - begin
    if failures:
        raise failures[0]
    return seconds


def _check(results: Sequence[int], numbers: range, number: int) -> None:
    if results != [value + number for value in numbers]:
        raise AssertionError(f"thread {number}: a result is wrong")


def _pieces(number: int, calls: int) -> Iterator[range]:
    """Numbers that no other thread has, as many at once as Python checks at once."""
    for start in range(number << 28, (number << 28) + calls, PIECE):
        yield range(start, start + PIECE)


def _one_by_one(lib: Any, number: int, calls: int) -> None:
    """Call `add` by the built-in `map`: little else is done then."""
    for numbers in _pieces(number, calls):
        _check(list(map(lib.add, numbers, itertools.repeat(number))), numbers, number)


def _by_map(lib: Any, number: int, calls: int) -> None:
    numpy = optional("numpy", "pip install numpy")
    for numbers in _pieces(number, calls):
        _check(lib.add.map(numpy.array(numbers, "i4"), number).tolist(), numbers, number)


def _working(lib: Any, _: int, calls: int) -> None:
    expected = lib.work(1, STEPS)
    for _ in range(calls):
        if lib.work(1, STEPS) != expected:
            raise AssertionError("a result is wrong")


def _contender(
    name: str, body: Callable[[Any, int, int], object], threads: int, calls: int = CALLS
) -> Contender:
    """Let so many threads do a part of the calls each."""
    share = calls // threads

    def open_(stack: ExitStack) -> Run:
        lib = ours.loaded(stack, "x86-64.so")
        return lambda _: _run_threads(lambda n: body(lib, n, share), threads) / calls

    return Contender(name, open_)


def _scaling(what: str, body: Callable[[Any, int, int], object]) -> list[Contender]:
    return [
        _contender(f"{what}, {threads} thread{'s' * (threads > 1)}", body, threads)
        for threads in (1, 2, 4, 8)
    ]


THREADS = Section(
    "threads",
    "Many threads and one worker",
    f"{CALLS:,} calls in all, spread over the threads; a ratio of 0.5 is twice the throughput. "
    f"`work` computes for some 20 µs in the worker, which is what can be done on several "
    "processors at once; how many there are is said above, and both sides share them. `add` "
    "is over before another thread of Python could have the GIL.",
    "work, 1 thread",
    [*_scaling("work", _working), *_scaling("add", _one_by_one)],
    count=1,
    rounds=10,
)

CHECKED = Section(
    "checked",
    "Ten million calls from eight threads",
    f"{CHECKED_CALLS:,} calls of `add` in one worker by eight threads, each with numbers of "
    f"its own, all results checked; one by one, and by `map` over {PIECE:,} rows at a time. "
    "A wrong result would stand here instead of the time of a call.",
    None,
    [
        _contender("one by one", _one_by_one, 8, CHECKED_CALLS),
        _contender("by map", _by_map, 8, CHECKED_CALLS),
    ],
    count=1,
    rounds=1,
)
