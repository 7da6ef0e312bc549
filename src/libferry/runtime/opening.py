"""Open a library in its session: hand its path to the loader that is there."""

from __future__ import annotations

from dataclasses import dataclass

from libferry import _core
from libferry.abi import ABIS
from libferry.binary import Binary
from libferry.contract import declare
from libferry.errors import LoadError
from libferry.runtime import wine
from libferry.runtime.binding import compile_plan
from libferry.runtime.services import NUMBERS, Services
from libferry.runtime.worker import Worker


@dataclass(frozen=True)
class Opened:
    """An open library: in which worker, if in any, and the loader's handle of it."""

    worker: Worker | None
    session: _core.Session
    services: Services
    handle: int


def open_library(binary: Binary, abi: str, session: _core.Session, worker: Worker | None) -> Opened:
    """Open it in that session.

    Raises:
        LoadError: the loader refused it.
    """
    services = Services(session, abi)
    path = binary.path.absolute()
    windows = worker is not None and worker.runner.windows
    target = str(path)
    if windows:
        target = path.name if wine.is_system(path) else wine.windows_path(path)
    handle, message = services.open(target)
    if not handle:
        raise _refused(binary, abi, message, windows)
    if windows:
        _choose_errno(services, binary)
    elif worker and worker.start.output.both:
        _buffer_lines(services, session, abi, handle)
    return Opened(worker, session, services, handle)


_LINE_BUFFERED = 1  # _IOLBF of glibc's and musl's <stdio.h>
_SETVBUF = "int setvbuf(uintptr_t stream, uintptr_t buffer, int mode, size_t size);"


def _buffer_lines(services: Services, session: _core.Session, abi: str, handle: int) -> None:
    """Have C write each line of its standard output when it ends.

    C's ``stdout`` collects 4,096 bytes before it writes them to a pipe, and what was
    collected is lost in a crash. A library may do without a C library; then so do we.
    """
    stdout, setvbuf = (services.symbol(handle, name) for name in ("stdout", "setvbuf"))
    if not stdout or not setvbuf:
        return
    stream = int.from_bytes(services.read(stdout, ABIS[abi].pointer_size), "little")
    plan = compile_plan(declare(_SETVBUF, abi).functions["setvbuf"], NUMBERS)
    _core.Function(session, setvbuf, "setvbuf", plan, False, False)(stream, 0, _LINE_BUFFERED, 0)


def _refused(binary: Binary, abi: str, message: str, windows: bool) -> LoadError:
    hint = (
        "install what is missing, or set LD_LIBRARY_PATH to its folder; for a library of "
        "another system give sysroot="
    )
    if "undefined symbol" in message:
        hint = (
            "it was linked without the library that has this symbol: link it again, or "
            "load one that names all it needs (libferry inspect shows what it names)"
        )
    if windows:
        missing = wine.missing_imports(binary)
        if missing:
            message += f"; missing: {', '.join(missing)}"
        hint = "put the DLLs that it needs into its folder; libferry inspect lists them"
    return LoadError(f"open {binary.path.name} ({abi})", message, hint=hint)


def _choose_errno(services: Services, binary: Binary) -> None:
    """Windows has an errno per C runtime; report that of the one this DLL uses."""
    needed = [name.lower() for name in (binary.path.name, *binary.needed)]
    for name in needed:
        if name.startswith(("msvcr", "crtdll", "ucrtbase")) and services.errno_of(name):
            return
    if any(name.startswith("api-ms-win-crt") for name in needed):
        services.errno_of("ucrtbase.dll")
