"""The sections about what is passed: a structure by value, and twelve numbers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from . import ours, peers
from .rounds import Contender, Run, Section, statement

TWELVE = "f(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)"
WHY = (
    "`struct point mirror(struct point)`, two `int`s that come back by value as well, called "
    "with an object of the library's own and with a dict; and `sum` of twelve `int`s. Beside "
    "them `add(1, 2)`, which is what a call costs at all."
)


def _calls(
    who: str, opened: Callable[[ExitStack], tuple[Any, object]], *, dicts: bool = True
) -> list[Contender]:
    """Call with two numbers, a structure, a dict, and twelve numbers.

    `opened` gives the functions, and a point as the contender makes them.
    """

    def point(stack: ExitStack) -> Run:
        functions, value = opened(stack)
        return statement("f(p)", f=functions.mirror, p=value)

    def named(stack: ExitStack) -> Run:
        return statement('f({"x": 1, "y": 2})', f=opened(stack)[0].mirror)

    return [
        Contender(
            f"{who}, two numbers", lambda stack: statement("f(1, 2)", f=opened(stack)[0].add)
        ),
        Contender(f"{who}, a structure", point),
        *([Contender(f"{who}, a dict", named)] if dicts else []),
        Contender(
            f"{who}, twelve numbers", lambda stack: statement(TWELVE, f=opened(stack)[0].sum)
        ),
    ]


def _ours(file: str, isolation: str = "worker") -> Callable[[ExitStack], tuple[Any, object]]:
    def opened(stack: ExitStack) -> tuple[Any, object]:
        lib = ours.loaded(stack, file, isolation)
        return lib, lib.new("struct point", x=1, y=2)

    return opened


def _ctypes(_: ExitStack) -> tuple[Any, object]:
    return peers.ctypes_library(), peers.Point(1, 2)


def _cffi(opened: Callable[[], tuple[Any, Any]]) -> Callable[[ExitStack], tuple[Any, object]]:
    def with_point(_: ExitStack) -> tuple[Any, object]:
        ffi, lib = opened()
        return lib, ffi.new("struct point *", (1, 2))[0]

    return with_point


BY_VALUE = Section(
    "by-value",
    "A structure by value, and twelve numbers, in this process",
    WHY,
    "libferry, two numbers",
    [
        *_calls("libferry", _ours("x86-64.so", "in-process")),
        *_calls("ctypes", _ctypes, dicts=False),
        *_calls("cffi, ABI mode", _cffi(peers.cffi_abi)),
        *_calls("cffi, API mode", _cffi(peers.cffi_api)),
    ],
)

BY_VALUE_HOT = Section(
    "by-value-hot",
    "A structure by value, and twelve numbers, in another process",
    "The same calls of workers, one after the other.",
    "x86-64, two numbers",
    [*_calls("x86-64", _ours("x86-64.so")), *_calls("i386", _ours("i386.so"))],
)
