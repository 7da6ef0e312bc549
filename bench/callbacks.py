"""The sections about callbacks: C functions that call Python."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from . import ours, peers
from .build import cffi_module
from .rounds import Contender, Run, Section, statement

MANY = 100


def plus(value: int) -> int:
    return value + 1


def _calls(who: str, opened: Callable[[ExitStack], tuple[Any, object]]) -> list[Contender]:
    """Call a function that calls back not at all, once, and many times.

    `opened` gives the functions, and `plus` as the contender passes it.
    """

    def calling(times: int) -> Callable[[ExitStack], Run]:
        def open_(stack: ExitStack) -> Run:
            functions, callback = opened(stack)
            return statement(f"f(callback, 1, {times})", f=functions.apply, callback=callback)

        return open_

    def each(stack: ExitStack) -> Run:
        """Give the time of one of many, the call's own spread over them."""
        run = calling(MANY)(stack)
        return lambda count: run(count) / MANY

    return [
        Contender(f"{who}, none", calling(0)),
        Contender(f"{who}, one callback", calling(1)),
        Contender(f"{who}, each of {MANY}", each),
    ]


def _ours(file: str, isolation: str = "worker") -> Callable[[ExitStack], tuple[Any, object]]:
    def opened(stack: ExitStack) -> tuple[Any, object]:
        lib = ours.loaded(stack, file, isolation)
        return lib, lib.callback("int (*)(int)", plus)

    return opened


def _ctypes(_: ExitStack) -> tuple[Any, object]:
    return peers.ctypes_library(), peers.CtypesCallback(plus)


def _cffi_abi(_: ExitStack) -> tuple[Any, object]:
    ffi, lib = peers.cffi_abi()
    return lib, ffi.callback("int(int)", plus)


def _cffi_api(_: ExitStack) -> tuple[Any, object]:
    module, _compiler = cffi_module()
    module.ffi.def_extern(name="plus")(plus)
    return module.lib, module.lib.plus


CALLBACK = Section(
    "callback",
    "A callback in this process",
    "`apply` calls a function pointer so many times: a Python function that adds 1. A call "
    "without callbacks, a call with one, and what each costs in a call with a hundred. cffi's "
    'callbacks are an `extern "Python"` function in API mode and `ffi.callback` in ABI mode.',
    "cffi, API mode, each of 100",
    [
        *_calls("libferry", _ours("x86-64.so", "in-process")),
        *_calls("ctypes", _ctypes),
        *_calls("cffi, ABI mode", _cffi_abi),
        *_calls("cffi, API mode", _cffi_api),
    ],
)

CALLBACK_HOT = Section(
    "callback-hot",
    "A callback from another process",
    "The same from workers: the way there and back is made once for the call and once more "
    "for each callback in it.",
    "x86-64, none",
    [*_calls("x86-64", _ours("x86-64.so")), *_calls("i386", _ours("i386.so"))],
)
