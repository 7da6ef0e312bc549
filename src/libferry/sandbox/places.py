"""Which files a worker may reach, in each phase of its life.

*Starting*: the program itself, its interpreter or its emulator, the C library. *Loading*:
the library and what it needs, found as the dynamic loader will find it. *Serving*: what
the profile says, and no longer the folders of libraries, unless it may make code.

A library's own folder is not opened up: it may be a home, or /tmp. Only the library
itself and the files that it names (DT_NEEDED, by DT_RUNPATH and DT_RPATH) are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from libferry.binary import Binary, read
from libferry.errors import FerryError
from libferry.loader import locate
from libferry.loader.search import DEFAULT_FOLDERS
from libferry.sandbox import calls
from libferry.sandbox.needs import need
from libferry.sandbox.profile import LIBRARY, Profile

_CODE = calls.READ | calls.LOOK | calls.MAP
_READ = calls.READ | calls.LOOK
_WRITE = _READ | calls.WRITE | calls.CREATE
_EXECUTE = _CODE | calls.EXECUTE

# Of "/" these are left out: the worker gets its own, or none.
_NOT_FILES = ("proc", "sys", "dev")
_SEARCH = "LD_LIBRARY_PATH"
_MOST_NEEDED = 256  # libraries that one library needs, beside those of the system


@dataclass(frozen=True)
class Program:
    """What is started, and for what.

    Attributes:
        command: the words before the worker's own arguments.
        worker: the worker's file.
        cpu: that of the worker, as ``libferry.binary`` names it.
        host: that of this process.
        emulated: whether the command is an emulator's.
        sysroot: the folder with the target's C library, if it is not this system's.
        library: the library to be opened; None for a worker that opens none.
        place: the path in /proc of a descriptor that it is opened by; None: by its own path,
            to which there is no way otherwise.
    """

    command: tuple[str, ...]
    worker: str
    cpu: str
    host: str
    emulated: bool
    sysroot: Path | None
    library: Binary | None
    place: str | None = None


@dataclass(frozen=True)
class Places:
    """Paths as they will be written, and the access to each (``calls.READ``, ...).

    Attributes:
        starting, loading, serving: what there is, in each phase.
        absent: what may be asked for in all of them, and is not there.
        searched: where the loader may ask, while it loads, for what is not there.
        given: what it may open, while it loads, by a descriptor that it was given.
    """

    starting: Mapping[str, int]
    loading: Mapping[str, int]
    serving: Mapping[str, int]
    absent: tuple[str, ...] = ()
    searched: tuple[str, ...] = ()
    given: tuple[str, ...] = ()

    @property
    def all(self) -> dict[str, int]:
        """Every path of every phase."""
        return _joined((self.starting, self.loading, self.serving))

    @property
    def phases(self) -> list[dict[str, int]]:
        """What may be asked for in each phase, in their order."""
        asked = dict.fromkeys(self.absent, _READ)
        searched = dict.fromkeys(self.searched, _READ)
        given = dict.fromkeys(self.given, _CODE)
        return [
            _joined((self.starting, asked, searched)),
            _joined((self.loading, asked, searched, given)),
            _joined((self.serving, asked)),
        ]


def places(profile: Profile, program: Program) -> Places:
    """Where a library with that profile may go."""
    folders = _library_folders(program)
    if _SEARCH in profile.environment:
        named = os.environ.get(_SEARCH, "").replace(";", ":").split(":")
        folders += [_absolute(folder) for folder in named if folder.startswith("/")]
    loader = need("loader")
    tables = [need("worker"), need("qemu")] if program.emulated else [need("worker")]
    # iconv(3) and setlocale(3) read a table of encodings, which differs by CPU
    tables_of_encodings = [f"{folder}/gconv" for folder in folders]
    always = _joined(
        [
            *(_of(table, program) for table in (*tables, profile)),
            dict.fromkeys(tables_of_encodings, _READ),
        ]
    )
    libraries = _joined(
        [
            dict.fromkeys(folders, _CODE),
            dict.fromkeys(_expanded(loader.read, program), _READ),
        ]
    )
    files, searched = _closure(program, folders)
    starting = {program.worker: _CODE, program.command[0]: _EXECUTE}
    if program.emulated:  # whose own interpreter is executed with it
        starting |= {f"/{folder}": _EXECUTE for folder in DEFAULT_FOLDERS.get(program.host, ())}
    loading = _joined([always, libraries, dict.fromkeys(files, _CODE), {program.worker: _CODE}])
    serving = _joined([always, libraries]) if profile.code else always
    absent = [path for table in (*tables, profile) for path in _expanded(table.absent, program)]
    return Places(
        _joined([loading, starting]),
        loading,
        serving,
        tuple(absent),
        (*searched, *_expanded(loader.absent, program)),
        (program.place,) if program.place else (),
    )


def _of(profile: Profile, program: Program) -> dict[str, int]:
    lists = (
        (profile.read, _READ),
        (profile.write, _WRITE),
        (profile.execute, _EXECUTE),
    )
    return _joined(dict.fromkeys(_expanded(paths, program), access) for paths, access in lists)


def _joined(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    joined: dict[str, int] = {}
    for part in parts:
        for path, access in part.items():
            joined[path] = joined.get(path, 0) | access
    return joined


def _expanded(paths: Iterable[str], program: Program) -> list[str]:
    """Paths without ``~`` and ``$LIBRARY``; "/" as the folders that are in it."""
    expanded = []
    for path in paths:
        if path == "/":
            expanded += [f"/{name}" for name in os.listdir("/") if name not in _NOT_FILES]
        elif path.split("/", 1)[0] == LIBRARY:
            if program.library is not None:
                folder = str(program.library.path.absolute().parent)
                expanded.append(_absolute(folder + path[len(LIBRARY) :]))
        else:
            expanded.append(_absolute(os.path.expanduser(path)))
    return expanded


def _absolute(path: str) -> str:
    """The path as the supervisor compares it: absolute, with single slashes."""
    return "/" + os.path.abspath(path).lstrip("/")


def _library_folders(program: Program) -> list[str]:
    """Where the system's own libraries are, for the loaders that take part."""
    folders = []
    if program.sysroot is not None:
        folders.append(str(program.sysroot))
    if program.sysroot is None or program.emulated:
        # an emulator may be linked with libraries, and tells a path of its sysroot only
        # after it has looked for it there
        folders += [f"/{folder}" for folder in DEFAULT_FOLDERS.get(program.cpu, ())]
    if program.emulated:
        folders += [f"/{folder}" for folder in DEFAULT_FOLDERS.get(program.host, ())]
        folders += ["/lib", "/usr/lib"] if program.sysroot is not None else []
    return list(dict.fromkeys(folders))


def _closure(program: Program, folders: Sequence[str]) -> tuple[list[str], list[str]]:
    """The library with what it needs that is not in the system's folders, and where the
    loader will have looked for it."""
    if program.library is None:
        return [], []
    found: dict[str, None] = {str(program.library.path.absolute()): None}
    if program.place:
        found.clear()
    searched: dict[str, None] = {}
    waiting: list[tuple[Binary, tuple[str, ...]]] = [(program.library, ())]
    while waiting and len(found) < _MOST_NEEDED:
        binary, inherited = waiting.pop()
        rpath = () if binary.runpath else (*_origin(binary, binary.rpath), *inherited)
        own = (*rpath, *_origin(binary, binary.runpath))
        searched |= dict.fromkeys(own)
        for name in binary.needed:
            path = _find(name, own, folders, program)
            if path is None or path in found:
                continue
            found[path] = None
            try:
                waiting.append((read(Path(path)), rpath))
            except (FerryError, OSError):
                continue  # the loader will say what is wrong with it
    return list(found), list(searched)


def _origin(binary: Binary, folders: Iterable[str]) -> tuple[str, ...]:
    """Search folders with ``$ORIGIN`` (ld.so(8)) filled in."""
    here = str(binary.path.absolute().parent)
    filled = (folder.replace("${ORIGIN}", here).replace("$ORIGIN", here) for folder in folders)
    # one that is no absolute path would count from the current folder, and that is "/"
    return tuple(_absolute(folder) for folder in filled if folder.startswith("/"))


def _find(name: str, own: Iterable[str], folders: Iterable[str], program: Program) -> str | None:
    """Where the loader will find a needed library; None if that is open to it anyway."""
    if "/" in name:
        return os.path.abspath(name)
    for folder in own:
        if os.path.exists(path := os.path.join(folder, name)):
            return path
    if program.sysroot is not None or any(
        os.path.exists(os.path.join(folder, name)) for folder in folders
    ):
        return None
    try:
        return str(locate(name, cpu=program.cpu).absolute())
    except FerryError:
        return None
