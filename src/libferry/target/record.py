"""Record a system whose files are here: what ``libferry target describe`` writes.

What is recorded are the libraries that its loader finds by name, each with the symbol
versions that it has. A copy of the file then answers for that system without it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fnmatch import fnmatchcase

from libferry.binary.model import Binary
from libferry.errors import BadBinary
from libferry.target.model import Given, Target
from libferry.target.root import RootSystem

_LINKS = ("/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin")  # usrmerge(8)
_LIBRARY = re.compile(r"\.so(\.|$)")


def record(system: RootSystem, *, exports: bool = False) -> Target:
    """The target of a system with what lies in its folders.

    Args:
        system: this machine, or a root folder.
        exports: whether to record the names that each library exports: it makes the
            description complete, and ten times as large.
    """
    target = system.target
    given: dict[str, Given] = {}
    folders = search_folders(system)
    for path, binary in _libraries(system, folders):
        folder, _, file = path.rpartition("/")
        # what only a RUNPATH leads to has its path for a name: a search does not find it
        name = file if folder in folders or path == target.interpreter else path
        if (binary.soname or file) != file or name in given:
            continue  # the loader looks for file names, and takes the first
        try:
            versions = frozenset(binary.versions_given)
            names = frozenset(one.name for one in binary.exports) if exports else None
        except BadBinary:
            continue  # damaged where the loader would look, too
        given[name] = Given(file, path, versions or None, names)
    links = {
        link: real
        for link in _LINKS
        if (real := system.real_folder(link)) is not None and real != link
    }
    return replace(target, given=given, facts={**target.facts, "links": links})


def _libraries(system: RootSystem, folders: Iterable[str]) -> Iterator[tuple[str, Binary]]:
    """Every library for the target's CPU in these folders, in their order.

    Behind them come the folders that those libraries name as RPATH or RUNPATH.
    """
    target = system.target
    known: dict[object, Binary | None] = {}
    if target.interpreter is not None:
        binary = _library(system, target.interpreter, known)
        if binary is not None:
            yield target.interpreter, binary
    left, seen = list(folders), set(folders)
    while left:
        folder = left.pop(0)
        for name in system.names_in(folder):
            path = f"{folder}/{name}"
            binary = _library(system, path, known) if _LIBRARY.search(name) else None
            if binary is not None:
                yield path, binary
                named = [*binary.rpath, *binary.runpath]
                more = [one for one in named if one.startswith("/") and "$" not in one]
                left += [one for one in more if one not in seen]
                seen.update(more)


def _library(system: RootSystem, path: str, known: dict[object, Binary | None]) -> Binary | None:
    """What a file says, if it is a library for the target's CPU."""
    found = system.find(path)
    if found is None:
        return None
    if found.identity not in known:
        try:
            binary = system.read(found)
            fits = (binary.cpu, binary.bits) == (system.target.cpu, system.target.bits)
            known[found.identity] = binary if fits else None
        except BadBinary:
            known[found.identity] = None
    return known[found.identity]


def search_folders(system: RootSystem) -> tuple[str, ...]:
    """The folders where the loader finds a library by its name, in their order."""
    target = system.target
    if target.loader == "musl":
        # ldso/dynlink.c, load_library: instead of the default folders
        stem = (target.interpreter or "").rpartition("/")[2].partition(".so")[0]
        data = system.data(f"/etc/{stem}.path")
        folders = re.split("[:\n]+", os.fsdecode(data)) if data else target.default_paths
    else:
        folders = (*_configured(system), *target.default_paths)
    return tuple(dict.fromkeys(folder for folder in folders if folder.startswith("/")))


def _configured(system: RootSystem) -> Iterator[str]:
    """What /etc/ld.so.conf names: ldconfig(8), elf/ldconfig.c, parse_conf."""
    seen: set[str] = set()  # files may include each other

    def folders(file: str) -> Iterator[str]:
        seen.add(file)
        for line in os.fsdecode(system.data(file) or b"").splitlines():
            words = line.partition("#")[0].split()
            if words and words[0] == "include":
                for path in (path for word in words[1:] for path in _matching(system, file, word)):
                    if path not in seen:
                        yield from folders(path)
            elif words and words[0] != "hwcap":
                yield " ".join(words).partition("=")[0].rstrip("/ ")

    yield from folders("/etc/ld.so.conf")


def _matching(system: RootSystem, file: str, pattern: str) -> Iterator[str]:
    """The files of an ``include``, sorted as glob(3) does."""
    if not pattern.startswith("/"):
        pattern = f"{file.rpartition('/')[0]}/{pattern}"
    folder, _, name = pattern.rpartition("/")
    for found in sorted(system.names_in(folder)):
        if fnmatchcase(found, name) and not found.startswith("."):
            yield f"{folder}/{found}"
