"""A system of which only a description is here: what it is delivered with, by name.

That a library is not in the description does not mean that it is not there: somebody may
have installed it. So ``complete`` is false, and "not found" means "not known".
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from libferry.binary.model import Binary
from libferry.target.carried import Carried
from libferry.target.model import Target
from libferry.target.root import Readings, contents
from libferry.target.system import Found


class DescribedSystem:
    """What loaders ask of a description (see ``System``).

    Args:
        target: the description.
        carried: what is taken there (see ``Carried``).
    """

    complete = False

    def __init__(self, target: Target, carried: Iterable[str | os.PathLike[str]] = ()) -> None:
        self._target = target
        self._carried = Carried(carried)
        links = target.facts.get("links", {})
        self._links: Mapping[str, str] = links if isinstance(links, Mapping) else {}
        self._given = {self._real(given.path): given for given in target.given.values()}
        self._folders = {
            "/",
            *map(self._real, target.default_paths),
            *(folder for path in self._given for folder in map(str, Path(path).parents)),
        }
        self._found: dict[str, Found | None] = {}
        self._readings = Readings()

    @property
    def target(self) -> Target:
        """The description."""
        return self._target

    def find(self, path: str) -> Found | None:
        """The regular file at an absolute path, or None."""
        if path not in self._found:
            self._found[path] = self._carried.find(path) or self._described(path)
        return self._found[path]

    def _described(self, path: str) -> Found | None:
        real = self._real(path)
        given = self._given.get(real)
        return None if given is None else Found(path, real, ("given", real), None, given)

    def _real(self, path: str) -> str:
        """The path without the links that are known: ``/lib`` to ``/usr/lib``, mostly."""
        path = os.path.normpath(path)
        for link, to in self._links.items():
            if path == link or path.startswith(f"{link}/"):
                return to + path[len(link) :]
        return path

    def is_directory(self, path: str) -> bool:
        """Whether there is a folder at an absolute path, as far as is known."""
        return self._real(path) in self._folders or self._carried.is_directory(path)

    def data(self, path: str) -> bytes | None:
        """The contents of a carried file; of a described one, nothing is known."""
        found = self.find(path)
        return None if found is None else contents(found.file)

    def read(self, found: Found) -> Binary:
        """What a carried file says of itself; see ``System``."""
        return self._readings.of(found)

    def path_of(self, file: Path) -> str:
        """The path that a file of this machine has there: the same."""
        return os.path.abspath(file)
