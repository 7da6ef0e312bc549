"""What an answer rests on: the places that were looked at, found or not.

A kept answer is good for as long as a loader would see the same. That is more than the
files that it found: a library that appears in a folder searched earlier changes the answer,
although none of the files has changed. So every place counts.

Most of them are in the resolution, which has all steps. What is not there, an engine has
asked for once and kept for all files: the cache of ldconfig, whether a folder is there, a
manifest. Those places count for all files of that system.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from libferry.binary.model import Binary
from libferry.loader.model import Resolution
from libferry.target.model import Target
from libferry.target.system import Found, System

Stamp = tuple[int, int, int, int, int] | Literal["folder", "given", "nothing", "changed"]
"""What is at a place: device, inode, size, times of contents and of status in ns; a folder;
a library that is only described; nothing; or not what was there a moment ago."""


class Watched:
    """A system that remembers what it was asked, and answers as the system in it."""

    def __init__(self, inner: System) -> None:
        self.inner = inner
        self.asked: set[str] = set()
        self.asked_of_all: set[str] = set()

    @property
    def target(self) -> Target:
        """See ``System``."""
        return self.inner.target

    @property
    def complete(self) -> bool:
        """See ``System``."""
        return self.inner.complete

    def find(self, path: str) -> Found | None:
        """See ``System``."""
        self.asked.add(path)
        return self.inner.find(path)

    def is_directory(self, path: str) -> bool:
        """See ``System``."""
        self.asked_of_all.add(path)
        return self.inner.is_directory(path)

    def data(self, path: str) -> bytes | None:
        """See ``System``."""
        self.asked_of_all.add(path)
        return self.inner.data(path)

    def read(self, found: Found) -> Binary:
        """See ``System``."""
        return self.inner.read(found)

    def path_of(self, file: Path) -> str:
        """See ``System``."""
        return self.inner.path_of(file)


def places_of(resolution: Resolution) -> set[str]:
    """Every place in a resolution."""
    places: set[str] = set()
    for top in (resolution.root, *resolution.scope):
        for node in top.walk():
            places.update(step.path for step in node.tried)
            if node.found is not None:
                places.add(node.found.path)
    return places


def stamp_of(system: System, place: str) -> Stamp:
    """What is at a place."""
    found = system.find(place)
    if found is None:
        return "folder" if system.is_directory(place) else "nothing"
    if found.file is None:
        return "given"
    try:
        status = os.stat(found.file)
    except OSError:
        return "changed"
    identity = status.st_dev, status.st_ino
    if isinstance(found.identity, tuple) and found.identity != identity:
        return "changed"  # since the loader's engine saw it
    return (*identity, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
