"""The half of the allocation counts that runs with the counter of `allocations.c` preloaded.

    python -m bench.counted COUNTER NAME

writes how often a call of `add` allocates, here and in the process of the library.
`PYTHONMALLOC=malloc` lets Python take its objects from malloc, too.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any, Literal
from unittest import mock

import libferry as ferry

from .build import optional

CALLS = 10_000
HEADER = "int add(int a, int b); unsigned long allocations(void);"


def _nothing() -> int:
    return 0


def _ours(
    path: str, isolation: Literal["in-process", "worker"]
) -> tuple[Callable[[int, int], int], Callable[[], int]]:
    # a worker is given no preloads of ours; here they are what it is about
    environment = "libferry.runtime.worker.child_environment"
    with mock.patch(environment, lambda more: os.environ | dict(more)):
        lib: Any = ferry.load(path, header=HEADER, isolation=isolation)
    return lib.add, lib.allocations if isolation == "worker" else _nothing


def _ctypes(path: str) -> tuple[Callable[[int, int], int], Callable[[], int]]:
    add = ctypes.CDLL(path).add
    add.argtypes = [ctypes.c_int, ctypes.c_int]
    return add, _nothing


def _cffi(path: str) -> tuple[Callable[[int, int], int], Callable[[], int]]:
    ffi = optional("cffi", "pip install cffi").FFI()
    ffi.cdef(HEADER)
    return ffi.dlopen(path).add, _nothing


OPENED = {
    "in-process": lambda path: _ours(path, "in-process"),
    "worker": lambda path: _ours(path, "worker"),
    "ctypes": _ctypes,
    "cffi": _cffi,
}


def main() -> None:
    path, name = sys.argv[1:]
    here = ctypes.CDLL(path).allocations
    here.restype = ctypes.c_ulong
    add, there = OPENED[name](path)

    def allocated(calls: int) -> tuple[int, int]:
        """Give what was allocated here and there meanwhile."""
        numbers = [1] * calls
        theirs, ours = there(), here()
        for number in numbers:
            add(number, 2)  # 3: Python has the small ints already
        ours = here() - ours
        return ours, there() - theirs

    allocated(CALLS)
    # what asking takes is in both counts
    (few, few_there), (many, many_there) = allocated(1), allocated(1 + CALLS)
    print((many - few) / CALLS, (many_there - few_there) / CALLS)


if __name__ == "__main__":
    main()
