"""Open a library in its session: hand its path to the loader that is there."""

from __future__ import annotations

from libferry import _core
from libferry.binary import Binary
from libferry.errors import LoadError
from libferry.runtime import wine
from libferry.runtime.services import Services
from libferry.runtime.worker import Worker
from libferry.sandbox.policy import LOADING, SERVING


def open_library(
    binary: Binary, abi: str, session: _core.Session, worker: Worker | None
) -> tuple[Services, int]:
    """The session's services, and the loader's handle of the library.

    Raises:
        LoadError: the loader refused it.
    """
    services = Services(session, abi)
    path = binary.path.absolute()
    windows = worker is not None and worker.runner.windows
    target = str(path)
    if windows:
        target = path.name if wine.is_system(path) else wine.windows_path(path)
    session.phase = LOADING
    handle, message = services.open(target)
    if not handle:
        raise _refused(binary, abi, message, windows)
    session.phase = SERVING
    if windows:
        _choose_errno(services, binary)
    return services, handle


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
