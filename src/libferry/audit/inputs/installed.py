"""A system with a package installed on it, without installing it.

The files of a ``.deb`` know each other by the paths that they have once installed. So the
package's tree lies over the system's: what is in the tree is found there first.
"""

from __future__ import annotations

import os
from pathlib import Path

from libferry.binary.model import Binary
from libferry.target.model import Target
from libferry.target.root import RootSystem
from libferry.target.system import Found, System


class Installed:
    """What loaders ask of a system and a tree over it (see ``System``)."""

    def __init__(self, system: System, tree: Path) -> None:
        self._system = system
        self._over = RootSystem(tree, system.target)
        self._tree = os.path.realpath(tree)

    @property
    def target(self) -> Target:
        """The system's."""
        return self._system.target

    @property
    def complete(self) -> bool:
        """As far as the system's is."""
        return self._system.complete

    def find(self, path: str) -> Found | None:
        """The package's file at a path, or the system's."""
        return self._over.find(path) or self._system.find(path)

    def is_directory(self, path: str) -> bool:
        """Whether one of the two has a folder there."""
        return self._over.is_directory(path) or self._system.is_directory(path)

    def data(self, path: str) -> bytes | None:
        """The contents of the package's file, or of the system's."""
        data = self._over.data(path)
        return self._system.data(path) if data is None else data

    def read(self, found: Found) -> Binary:
        """What a file says of itself."""
        return self._system.read(found)

    def path_of(self, file: Path) -> str:
        """Where a file of the package will be."""
        real = os.path.join(os.path.realpath(file.parent), file.name)
        inside = real.removeprefix(self._tree)
        return inside if inside != real else self._system.path_of(file)
