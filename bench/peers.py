"""The peers: other ways for Python to call `add`, in this process and in another.

Each is used the way its own documentation shows, with the faster form where it
offers two (argument types declared, a persistent connection). All of them call the
same function of the same library, except where the other process has to be 32-bit.
"""

from __future__ import annotations

import ctypes
import multiprocessing
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

from .answer import answer, ctypes_add
from .build import DECLARATIONS, SOURCES, NotAvailableError, cffi_module, library, optional
from .rounds import Contender, Run, statement

_MSL_NEEDS = "pip install msl-loadlib; apt-get install libc6-i386 lib32z1"


def with_ctypes(name: str, loader: type[ctypes.CDLL] = ctypes.CDLL) -> Contender:
    return Contender(
        name, lambda _: statement("f(1, 2)", f=ctypes_add(library("x86-64.so"), loader))
    )


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_int))


CtypesCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)


def ctypes_library() -> ctypes.CDLL:
    """Open the library with the types of its functions declared."""
    lib = ctypes.CDLL(str(library("x86-64.so")))
    number = ctypes.c_int
    lib.add.argtypes = [number] * 2
    lib.sum.argtypes = [number] * 12
    lib.mirror.argtypes, lib.mirror.restype = [Point], Point
    lib.apply.argtypes = [CtypesCallback, number, number]
    return lib


def cffi_abi() -> tuple[Any, Any]:
    """Open the library when the program runs; cffi calls it through libffi."""
    ffi = optional("cffi", "pip install cffi").FFI()
    ffi.cdef(DECLARATIONS)
    return ffi, ffi.dlopen(str(library("x86-64.so")))


def cffi_api() -> tuple[Any, Any]:
    """Compile an extension that calls the library directly."""
    module, _ = cffi_module()
    return module.ffi, module.lib


def with_cffi(name: str, opened: Callable[[], tuple[Any, Any]]) -> Contender:
    return Contender(name, lambda _: statement("f(1, 2)", f=opened()[1].add))


def start_multiprocessing(stack: ExitStack, method: str) -> tuple[Connection, int]:
    """Start a process that answers; give our end of the connection and its pid."""
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    process = context.Process(  # type: ignore[attr-defined]  # every context has it
        target=answer, args=(theirs, library("x86-64.so")), daemon=True
    )
    process.start()
    stack.callback(process.join)
    stack.callback(process.terminate)
    theirs.close()
    stack.callback(ours.close)
    return ours, process.pid


def with_multiprocessing(name: str) -> Contender:
    """Send the arguments through a multiprocessing connection, receive the result."""

    def open_(stack: ExitStack) -> Run:
        connection, _ = start_multiprocessing(stack, "spawn")
        return statement("send((1, 2)); recv()", send=connection.send, recv=connection.recv)

    return Contender(name, open_)


def start_msl_loadlib(stack: ExitStack) -> tuple[Callable[..., Any], int]:
    """Start msl-loadlib's 32-bit server; give what asks it, and its pid."""
    msl = optional("msl.loadlib", _MSL_NEEDS)
    try:
        client = msl.Client64(str(SOURCES / "server32.py"), path=str(library("i386.so")))
    except OSError as error:  # its server is a 32-bit program: "No such file" is the loader's
        raise NotAvailableError(_MSL_NEEDS) from error
    stack.callback(_end_msl_loadlib, client)
    return client.request32, client._client._proc.pid


def _end_msl_loadlib(client: Any) -> None:
    for stream in client.shutdown_server32():
        stream.close()


def with_msl_loadlib(name: str) -> Contender:
    """Ask msl-loadlib's 32-bit server, over HTTP on the loopback."""

    def open_(stack: ExitStack) -> Run:
        request, _ = start_msl_loadlib(stack)
        return statement("f('add', 1, 2)", f=request)

    return Contender(name, open_)
