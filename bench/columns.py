"""The section about bulk calls: a function over ten million rows of numpy arrays."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from . import ours, peers
from .build import optional
from .rounds import Contender, Run, Section

ROWS = 10_000_000
LOOP_ROWS = 500_000  # of those: a loop costs the same for each


def _numpy() -> Any:
    return optional("numpy", "pip install numpy")


def _numbers(dtype: str) -> tuple[Any, Any]:
    """Give two columns."""
    numpy = _numpy()
    ascending = numpy.arange(ROWS, dtype=dtype)
    return ascending, ascending[::-1] * numpy.dtype(dtype).type(2)


def _points() -> tuple[Any]:
    x, y = _numbers("i4")
    points = _numpy().empty(ROWS, [("x", "i4"), ("y", "i4")])
    points["x"], points["y"] = x, y
    return (points,)


def _timed(work: Callable[[], object], rows: int) -> float:
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) / rows


def _loop(name: str, opened: Callable[[], Any]) -> Contender:
    """Call `add` in a `for` loop, over lists of the same numbers."""

    def open_(_: ExitStack) -> Run:
        add = opened().add
        a, b = (column[:LOOP_ROWS].tolist() for column in _numbers("i4"))

        def loop() -> Sequence[int]:
            results = []
            for x, y in zip(a, b, strict=True):
                results.append(add(x, y))  # the loop is what is measured
            return results

        loop()
        return lambda _: _timed(loop, LOOP_ROWS)

    return Contender(name, open_)


def _in_numpy(name: str) -> Contender:
    def open_(_: ExitStack) -> Run:
        a, b = _numbers("i4")
        return lambda _: _timed(lambda: a + b, ROWS)

    return Contender(name, open_)


def _mapped(
    name: str,
    file: str,
    isolation: str = "worker",
    function: str = "add",
    columns: Callable[[], tuple[Any, ...]] = lambda: _numbers("i4"),
    check: Callable[..., Any] = lambda a, b: a + b,
) -> Contender:
    """Map a function over its columns; the first time all results are checked."""

    def open_(stack: ExitStack) -> Run:
        given = columns()
        mapped = getattr(ours.loaded(stack, file, isolation), function).map
        if not (mapped(*given) == check(*given)).all():
            raise AssertionError(f"{name}: wrong results")
        return lambda _: _timed(lambda: mapped(*given), ROWS)

    return Contender(name, open_)


def _others(where: str, file: str, isolation: str = "worker") -> list[Contender]:
    """Map functions of other types than `add`."""

    def mirrored(points: Any) -> Any:
        turned = points.copy()
        turned["x"], turned["y"] = points["y"], points["x"]
        return turned

    def mixed() -> tuple[Any, Any]:
        return _numbers("i4")[0], _numbers("f8")[1]

    doubles = lambda: _numbers("f8")  # noqa: E731
    return [
        _mapped(f"{where}, two doubles", file, isolation, "add_doubles", doubles),
        _mapped(f"{where}, int and double", file, isolation, "scale", mixed, lambda n, x: n * x),
        _mapped(f"{where}, a structure", file, isolation, "mirror", _points, mirrored),
    ]


MAP = Section(
    "map",
    "Ten million rows, by `map`",
    f"`add` over two columns of {ROWS:,} `int32`s, into a new one; the time is that of a row. "
    "The loops call it from a `for` statement over lists of the same numbers, without the "
    f"time it takes to make them, for the first {LOOP_ROWS:,} of the rows. numpy's `a + b` "
    "calls nothing. Other functions than `add` have rows of their own: two doubles, a mixed "
    "signature, and a structure by value that comes back as one.",
    "in-process",
    [
        _mapped("in-process", "x86-64.so", "in-process"),
        _mapped("worker x86-64", "x86-64.so"),
        _mapped("worker i386", "i386.so"),
        _mapped("worker Wine x86-64", "x86-64.dll"),
        _mapped("worker Wine i386", "i386.dll"),
        *_others("in-process", "x86-64.so", "in-process"),
        *_others("worker x86-64", "x86-64.so"),
        *_others("worker i386", "i386.so"),
        _loop("ctypes, a loop", peers.ctypes_library),
        _loop("cffi, ABI mode, a loop", lambda: peers.cffi_abi()[1]),
        _loop("cffi, API mode, a loop", lambda: peers.cffi_api()[1]),
        _in_numpy("numpy's a + b"),
    ],
    count=1,
    rounds=10,
)
