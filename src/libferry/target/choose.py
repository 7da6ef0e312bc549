"""From a word of the command line to a system: ``this``, a name, a file, a root folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from libferry.errors import LibraryNotFound
from libferry.target.derive import derive, this_machine
from libferry.target.root import RootSystem
from libferry.target.system import System

Paths = Iterable[str | os.PathLike[str]]


def this(cpu: str | None = None, *, carried: Paths = ()) -> RootSystem:
    """This machine.

    Args:
        cpu: another CPU than its own for which it has a loader, such as ``i386``.
        carried: see ``system_for``; all of this machine's files are there anyway.

    Raises:
        LibraryNotFound: it has no loader for that CPU.
    """
    return RootSystem("/", this_machine(cpu), carried)


def system_for(
    name_or_path: str | None = None,
    *,
    sysroot: str | os.PathLike[str] | None = None,
    cpu: str | None = None,
    carried: Paths = (),
) -> System:
    """The system that somebody means.

    Args:
        name_or_path: ``this``, a name of ``list_targets()``, or the path of a TOML file;
            None for what ``sysroot`` says of itself, or this machine.
        sysroot: a folder with the root of that system.
        cpu: which, if the system has loaders for several.
        carried: files and folders of this machine that are taken there (the library in
            question); they are seen at the paths that they have here.

    Raises:
        LibraryNotFound: there is no such target, or no loader in the root folder.
    """
    if sysroot is not None:
        name = Path(os.path.abspath(sysroot)).name or "/"
        return RootSystem(sysroot, derive(sysroot, name=name, cpu=cpu), carried)
    if name_or_path in (None, "this"):
        return this(cpu, carried=carried)
    raise LibraryNotFound(
        f"find the target {name_or_path}",
        "there is no target of that name",
        hint="see what there is: libferry target list",
    )


def list_targets() -> tuple[str, ...]:
    """The names that ``system_for`` knows."""
    return ("this",)
