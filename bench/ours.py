"""The seam to libferry: every use of its API by the benchmarks is in this file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .build import DECLARATIONS, NotAvailableError, library, optional
from .pin import anywhere, pinned
from .rounds import Contender, Run, statement

ADD = "int add(int a, int b);"
ZLIB = """
const char *zlibVersion(void);
unsigned long crc32(unsigned long crc, const unsigned char *buf, unsigned int len);
"""


def load(path: Path | str, header: str, isolation: str = "worker", **options: object) -> Any:
    """Load a library, or say what this machine lacks for it."""
    ferry = optional("libferry", "pip install -e .")
    if not hasattr(ferry, "load"):
        raise NotAvailableError("pip install -e . (this libferry has no load yet)")
    try:
        return ferry.load(str(path), header=header, isolation=isolation, **options)
    except ferry.NoRunner as error:
        raise NotAvailableError(str(error.hint)) from error


def opened(stack: ExitStack, path: Path | str, header: str, **options: Any) -> Any:
    """Load a library that is closed with the stack."""
    lib = load(path, header, **options)
    stack.callback(lib.close)
    return lib


def loaded(stack: ExitStack, file: str, isolation: str = "worker") -> Any:
    """Load one of the libraries of `library.c`, with all its functions."""
    return opened(stack, library(file), DECLARATIONS, isolation=isolation)


def worker_pid(lib: Any) -> int:
    return int(lib.pid)


def buffer(lib: Any, content: bytes) -> Any:
    """Allocate a buffer that the worker sees as well, and fill it."""
    made = lib.buffer(len(content))
    memoryview(made).cast("B")[:] = content
    return made


def add(
    name: str, file: str, cpus: Callable[[], tuple[int, int] | None] = anywhere, **options: Any
) -> Contender:
    """Call `add(1, 2)` of one of our libraries, with the two sides on the given CPUs."""

    def open_(stack: ExitStack) -> Run:
        where = cpus()
        lib = opened(stack, library(file), ADD, **options)
        lib.add(1, 2)
        run = statement("f(1, 2)", f=lib.add)
        return pinned(run, worker_pid(lib), where) if where else run

    return Contender(name, open_)


def add_keeping_gil(name: str) -> Contender:
    """Call `add(1, 2)` in this process, declared short enough to keep the GIL."""

    def open_(stack: ExitStack) -> Run:
        lib = opened(stack, library("x86-64.so"), ADD, isolation="in-process")
        return statement("f(1, 2)", f=lib.function("int add(int a, int b)", gil="keep"))

    return Contender(name, open_)
