r"""Side by side: which DLLs a manifest fetches from elsewhere.

A program's manifest holds for the whole process, that of a DLL (its resource 2) for what
that DLL imports. An assembly is looked for in WinSxS if it is signed, and beside the
program (the DLL): ``name.dll`` with a manifest inside, ``name.manifest``, and both of them
in a folder ``name``. Without it the program or DLL is refused with error 14001.
"""

from __future__ import annotations

import ntpath
from typing import NamedTuple, cast

from libferry.binary.model import Binary
from libferry.binary.pe.manifest import Assembly, Manifest, parse_manifest
from libferry.binary.pe.view import PeView
from libferry.errors import FerryError
from libferry.loader.windows.rules import ASSEMBLIES_OF_WINDOWS
from libferry.target.system import System


class Context(NamedTuple):
    """What one manifest leads to (an activation context).

    Attributes:
        files: where a DLL of that name is taken from.
        missing: assemblies that are surely not there.
        unknown: those of which that is not known.
    """

    files: dict[str, str]
    missing: tuple[Assembly, ...]
    unknown: tuple[Assembly, ...]


NONE = Context({}, (), ())


def context_of(binary: Binary, path: str, system: System) -> Context:
    """What the manifest of a program or DLL leads to.

    Raises:
        BadBinary: there is a manifest, and it is none.
    """
    manifest = _manifest(binary, path, system)
    if manifest is None or not manifest.dependencies:
        return NONE
    files: dict[str, str] = {}
    missing: list[Assembly] = []
    unknown: list[Assembly] = []
    for assembly in manifest.dependencies:
        if assembly.name.lower() in ASSEMBLIES_OF_WINDOWS:
            continue  # its DLLs are also in the system's folder, where they are found
        beside = _private(assembly, ntpath.dirname(path), system)
        if beside is not None:
            files |= beside
        elif assembly not in manifest.optional:
            # a signed one may have been installed in WinSxS, of which no list is at hand
            (unknown if assembly.token and system.complete else missing).append(assembly)
    return Context(files, tuple(missing), tuple(unknown))


def _manifest(binary: Binary, path: str, system: System) -> Manifest | None:
    inside = cast(PeView, binary.view).manifest
    if inside is not None or binary.kind == "library":
        return inside
    raw = system.data(f"{path}.manifest")
    return None if raw is None else parse_manifest(raw, f"read {path}.manifest")


def _private(assembly: Assembly, folder: str, system: System) -> dict[str, str] | None:
    """The files of an assembly beside the program; None if there is none."""
    for place in (folder, ntpath.join(folder, assembly.name)):
        raw = system.data(ntpath.join(place, f"{assembly.name}.manifest"))
        if raw is not None:
            tried = f"read {ntpath.join(place, assembly.name)}.manifest"
            return _files(parse_manifest(raw, tried), place)
        inside = system.find(ntpath.join(place, f"{assembly.name}.dll"))
        if inside is not None and inside.file is not None:
            try:
                view = system.read(inside).view
            except FerryError:
                continue
            if isinstance(view, PeView) and view.manifest and view.manifest.identity:
                return {f"{assembly.name.lower()}.dll": inside.path}
    return None


def _files(manifest: Manifest, place: str) -> dict[str, str]:
    return {name: ntpath.join(place, name) for name in manifest.files}
