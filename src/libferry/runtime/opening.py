"""Open a library in its session: hand its path to the loader that is there."""

from __future__ import annotations

from dataclasses import dataclass

from libferry import _core
from libferry.abi import ABIS
from libferry.binary import Binary
from libferry.contract import declare
from libferry.errors import LoadError
from libferry.runtime import wine
from libferry.runtime.loaded import Contents
from libferry.runtime.reasons import refusal
from libferry.runtime.services import Services
from libferry.runtime.worker import Worker
from libferry.sandbox.policy import LOADING, SERVING


@dataclass(frozen=True)
class Opened:
    """An open library: where it is, and the loader's handle of it."""

    session: _core.Session
    contents: Contents
    services: Services
    handle: int

    @property
    def worker(self) -> Worker | None:
        """The process it is in, or None for this one."""
        return self.contents.worker

    @property
    def isolation(self) -> str:
        """How far away it is kept, as ``load`` takes it."""
        if self.worker:
            return "sandbox" if self.worker.start.confinement else "worker"
        return "namespace" if self.contents.namespace else "in-process"

    def close(self) -> None:
        """Close it, and end its worker."""
        if self.worker:
            self.worker.close()
        else:
            self.session.close(self.handle)
        self.contents.close()


def open_library(binary: Binary, abi: str, session: _core.Session, contents: Contents) -> Opened:
    """Open it in that session.

    Raises:
        LoadError: the loader refused it.
        NamespacesFull: it had no room for it.
        UnexpectedCode: something else was loaded than was expected.
    """
    services = Services(session, abi)
    session.phase = LOADING
    handle, message = contents.open(services)
    if not handle:
        raise _refused(binary, abi, message, contents)
    session.phase = SERVING
    if contents.windows:
        _choose_errno(services, binary)
    elif contents.worker and contents.worker.start.output.both:
        _buffer_lines(services, abi, handle)
    contents.check(services, abi)
    return Opened(session, contents, services, handle)


_LINE_BUFFERED = 1  # _IOLBF of glibc's and musl's <stdio.h>
_SETVBUF = "int setvbuf(uintptr_t stream, uintptr_t buffer, int mode, size_t size);"


def _buffer_lines(services: Services, abi: str, handle: int) -> None:
    """Have C write each line of its standard output when it ends.

    C's ``stdout`` collects 4,096 bytes before it writes them to a pipe, and what was
    collected is lost in a crash. A library may do without a C library; then so do we.
    """
    stdout, setvbuf = (services.symbol(handle, name) for name in ("stdout", "setvbuf"))
    if not stdout or not setvbuf:
        return
    stream = int.from_bytes(services.read(stdout, ABIS[abi].pointer_size), "little")
    call = services.reach(setvbuf, declare(_SETVBUF, abi).functions["setvbuf"])
    call(stream, 0, _LINE_BUFFERED, 0)


def _refused(binary: Binary, abi: str, message: str, contents: Contents) -> LoadError:
    hint = (
        "install what is missing, or set LD_LIBRARY_PATH to its folder; for a library of "
        "another system give sysroot="
    )
    if "undefined symbol" in message:
        hint = (
            "it was linked without the library that has this symbol: link it again, or "
            "load one that names all it needs (libferry inspect shows what it names)"
        )
    if contents.windows:
        missing = wine.missing_imports(binary)
        if missing:
            message += f"; missing: {', '.join(missing)}"
        hint = "put the DLLs that it needs into its folder; libferry inspect lists them"
    runner = contents.worker.runner if contents.worker else None
    return refusal(f"open {binary.path.name} ({abi})", message, hint, binary, abi, runner)


def _choose_errno(services: Services, binary: Binary) -> None:
    """Windows has an errno per C runtime; report that of the one this DLL uses."""
    needed = [name.lower() for name in (binary.path.name, *binary.needed)]
    for name in needed:
        if name.startswith(("msvcr", "crtdll", "ucrtbase")) and services.errno_of(name):
            return
    if any(name.startswith("api-ms-win-crt") for name in needed):
        services.errno_of("ucrtbase.dll")
