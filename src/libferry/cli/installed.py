"""A file as it is typed: a path, or the bare name of an installed library."""

from __future__ import annotations

import os
from pathlib import Path

from libferry.loader.search import locate


def path_of(file: str, sysroot: Path | None = None) -> str:
    """The path that is meant; a bare ``libz.so.1`` that is not here is the installed one.

    ``libferry call`` takes a bare name for an installed library only, since it runs
    what it finds. To read a file that happens to lie here does no harm.

    Raises:
        LibraryNotFound: no such library is installed; the message lists the places.
    """
    by_name = "/" not in file and (".so" in file or file.lower().endswith(".dll"))
    if not by_name or os.path.exists(file):
        return file
    from libferry.runtime import runner, wine

    folder = wine.system_folder("x86_64-windows")
    found = locate(file, cpu=runner.host_cpu(), sysroot=sysroot, windows_folder=folder)
    return os.fspath(found)
