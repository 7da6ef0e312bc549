"""From a word of the command line to a system: ``this``, a name, a file, a root folder.

Most questions are about this machine, so what reads the list of the others is imported
when one of them is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from libferry.errors import LibraryNotFound
from libferry.tables import near
from libferry.target.derive import derive, this_machine
from libferry.target.model import Target
from libferry.target.root import RootSystem
from libferry.target.system import System

Paths = Iterable[str | os.PathLike[str]]

_OTHERS = ("macos",)  # a file for each target there, in data/OS


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
        name_or_path: ``this``, a name of ``list_targets()`` (with options behind it:
            ``rocky-8-arm64+4k``), or the path of a TOML file; None for what ``sysroot``
            says of itself, or this machine.
        sysroot: a folder with the root of that system. With a name or file, too, its files
            are those of that target.
        cpu: which, if the system has loaders for several.
        carried: files and folders of this machine that are taken there (the library in
            question); they are seen at the paths that they have here.

    Raises:
        LibraryNotFound: there is no such target, or no loader in the root folder.
        TargetError: the file does not describe a target.
    """
    if name_or_path in (None, "this"):
        if sysroot is None:
            return this(cpu, carried=carried)
        name = Path(os.path.abspath(sysroot)).name or "/"
        return RootSystem(sysroot, derive(sysroot, name=name, cpu=cpu), carried)
    target = target_for(str(name_or_path))
    if target.os == "windows":
        from libferry.target.windows_system import WindowsSystem

        return WindowsSystem(target, carried, sysroot)
    if sysroot is not None:
        return RootSystem(sysroot, target, carried)
    from libferry.target.described import DescribedSystem

    return DescribedSystem(target, carried)


def target_for(name_or_path: str) -> Target:
    """The description that somebody means: a name of the list, or the path of a file.

    Raises:
        LibraryNotFound: there is neither.
        TargetError: the file does not describe a target.
    """
    if name_or_path == "this":
        return this_machine()
    from libferry.target import file, linux, windows

    if name_or_path.endswith(".toml") or "/" in name_or_path:
        return file.load(Path(name_or_path))
    name, *options = name_or_path.split("+")
    tried = f"find the target {name_or_path}"
    if name not in list_targets():
        raise LibraryNotFound(
            tried,
            "there is no target of that name",
            hint=near(name, list_targets(), "see what there is: libferry target list"),
        )
    if name in linux.releases():
        for option in options:
            if option not in linux.OPTIONS:
                raise LibraryNotFound(
                    tried,
                    f"+{option} means nothing",
                    hint=near(option, linux.OPTIONS, f"known: {', '.join(linux.OPTIONS)}"),
                )
        return linux.target(name, tuple(options))
    if options:
        raise LibraryNotFound(
            tried, f"{name} has no options", hint=f"leave out +{'+'.join(options)}"
        )
    if name in windows.releases():
        return windows.target(name)
    return file.load(_files()[name])


@cache
def _files() -> dict[str, Path]:
    """The targets that have a file each, by name."""
    data = Path(__file__).parent / "data"
    return {path.stem: path for name in _OTHERS for path in sorted(data.glob(f"{name}/*.toml"))}


def list_targets() -> tuple[str, ...]:
    """The names that ``system_for`` knows."""
    from libferry.target import linux, windows

    return ("this", *linux.releases(), *windows.releases(), *_files())
