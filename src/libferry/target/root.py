"""A system whose files are here: this machine, or a copy of another one's root."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from libferry.binary.model import Binary
from libferry.binary.recognise import read
from libferry.errors import BadBinary
from libferry.target.carried import Carried, regular
from libferry.target.model import Target
from libferry.target.system import Found
from libferry.target.tree import Tree

LARGEST_DATA = 1 << 26
"""64 MiB: no ld.so.cache comes near, and a sparse file has any size."""


class RootSystem:
    """What loaders ask of a root folder (see ``System``).

    What has been looked at is kept, and a later change not noticed: make another one for
    another run.

    Args:
        root: ``/`` for this machine.
        target: whose files these are.
        carried: what is taken there (see ``Carried``).
    """

    complete = True

    def __init__(
        self,
        root: str | os.PathLike[str],
        target: Target,
        carried: Iterable[str | os.PathLike[str]] = (),
    ) -> None:
        self._tree = Tree(root)
        self._target = target
        # this machine has all of its files already
        self._carried = Carried(carried if self._tree.root else ())
        self._found: dict[str, Found | None] = {}
        self._data: dict[str, bytes | None] = {}
        self._readings = Readings()

    @property
    def target(self) -> Target:
        """Whose files these are."""
        return self._target

    def find(self, path: str) -> Found | None:
        """The regular file at an absolute path, or None."""
        if path in self._found:
            return self._found[path]
        found = self._carried.find(path) or regular(self._tree, path)
        self._found[path] = found
        return found

    def is_directory(self, path: str) -> bool:
        """Whether there is a folder at an absolute path."""
        return self._tree.folder(path) is not None or self._carried.is_directory(path)

    def real_folder(self, path: str) -> str | None:
        """The path of a folder without links; None if there is none."""
        return self._tree.folder(path)

    def names_in(self, path: str) -> list[str]:
        """What lies in a folder, sorted; nothing if it cannot be read."""
        real = self._tree.folder(path)
        try:
            return [] if real is None else sorted(os.listdir(self._tree.root + real))
        except OSError:
            return []

    def data(self, path: str) -> bytes | None:
        """The contents of a file that is no library, or None."""
        if path not in self._data:
            found = self.find(path)
            self._data[path] = None if found is None else contents(found.file)
        return self._data[path]

    def read(self, found: Found) -> Binary:
        """What the file says of itself; see ``System``."""
        return self._readings.of(found)

    def path_of(self, file: Path) -> str:
        """The target's path of a file of this machine: inside the root, or as it is here."""
        absolute = os.path.abspath(file)
        if self._carried.has(absolute) or not self._tree.root:
            return absolute
        real = os.path.join(os.path.realpath(os.path.dirname(absolute)), Path(absolute).name)
        inside = real.removeprefix(self._tree.root)
        return inside if inside != real and inside.startswith("/") else absolute


def contents(file: Path | None) -> bytes | None:
    """A file's bytes; None if it cannot be read, or is larger than any that we know."""
    if file is None:
        return None
    try:
        with open(file, "rb") as opened:
            data = opened.read(LARGEST_DATA + 1)
    except OSError:
        return None
    return data if len(data) <= LARGEST_DATA else None


class Readings:
    """What files have said of themselves, so that each is read once."""

    def __init__(self) -> None:
        self._read: dict[object, Binary | BadBinary] = {}

    def of(self, found: Found) -> Binary:
        """What a file says of itself.

        Raises:
            BadBinary: it is no library, or damaged, or not here at all.
        """
        before = self._read.get(found.identity)
        if isinstance(before, Binary):
            return before
        if before is None:
            try:
                return self._read.setdefault(found.identity, _read(found))  # type: ignore[return-value]
            except BadBinary as error:
                self._read[found.identity] = before = error
        raise BadBinary(before.tried, before.happened, hint=before.hint)


def _read(found: Found) -> Binary:
    if found.file is None:
        raise BadBinary(
            f"read {found.path}",
            "the file is not here: of this target, only a description is",
            hint="give a copy of that system's root: --sysroot DIR",
        )
    return read(found.file)
