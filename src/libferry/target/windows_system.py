r"""The files of a Windows, as its loader sees them.

Names there have no case, and paths have a drive: what is being taken there is seen in
``C:\app``, whatever folder of this machine it is in; a folder with a copy of a Windows
(or of Wine's drive C:) is ``C:``; all else of this machine is on ``Z:``, as under Wine.
"""

from __future__ import annotations

import ntpath
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from libferry.binary.model import Binary
from libferry.target.model import Target
from libferry.target.root import Readings, contents
from libferry.target.system import Found

APPLICATION = r"C:\app"
ALL_OF_THIS_MACHINE = "Z:\\"
NO_NAME = "\N{NO-BREAK SPACE}/"  # below what no file is
FOLDER_AT_MOST = 100_000  # names that are looked at in one folder


class WindowsSystem:
    """What Windows' loader asks (see ``System``).

    Args:
        target: whose files these are.
        carried: files and folders of this machine that are taken there. Several folders
            keep their places to each other: the one above them all is ``C:\\app``.
        root: a folder that is ``C:`` there; then what the target is known to have counts for
            nothing.
    """

    def __init__(
        self,
        target: Target,
        carried: Iterable[str | os.PathLike[str]] = (),
        root: str | os.PathLike[str] | None = None,
    ) -> None:
        self._target = target
        self._places: list[tuple[str, str]] = []
        folders = [_folder(os.path.abspath(path)) for path in carried]
        if folders:
            self._places.append((APPLICATION, os.path.commonpath(folders)))
        if root is not None:
            self._places.append(("C:\\", os.path.abspath(root)))
        self._places.append((ALL_OF_THIS_MACHINE, "/"))
        self.complete = root is not None
        given = {} if self.complete else target.given
        self._given = {one.path.lower(): one for one in given.values()}
        self._given_folders = {ntpath.dirname(path) for path in self._given}
        self._names: dict[str, dict[str, str]] = {}
        self._found: dict[str, Found | None] = {}
        self._readings = Readings()

    @property
    def target(self) -> Target:
        """Whose files these are."""
        return self._target

    def find(self, path: str) -> Found | None:
        """The regular file at an absolute path, or None."""
        path = ntpath.normpath(path)
        key = path.lower()
        if key not in self._found:
            self._found[key] = self._look(path, key)
        return self._found[key]

    def _look(self, path: str, key: str) -> Found | None:
        if given := self._given.get(key):
            return Found(given.path, given.path, ("given", key), None, given)
        here = self._here(path)
        if here is None:
            return None
        status = os.stat(here)
        if not stat.S_ISREG(status.st_mode):
            return None
        return Found(path, path, (status.st_dev, status.st_ino), Path(here))

    def is_directory(self, path: str) -> bool:
        """Whether there is a folder at an absolute path, as far as is known."""
        path = ntpath.normpath(path)
        if path.lower() in self._given_folders:
            return True
        here = self._here(path)
        return here is not None and os.path.isdir(here)

    def _here(self, path: str) -> str | None:
        """Where a path of the target is on this machine, if there is anything."""
        key = path.lower()
        for place, folder in self._places:
            prefix = place.lower().rstrip("\\")
            if key != prefix and not key.startswith(f"{prefix}\\"):
                continue
            here = folder
            for name in filter(None, key[len(prefix) :].split("\\")):
                here = os.path.join(here, self._in(here).get(name, NO_NAME))
            if os.path.exists(here):
                return here
        return None

    def _in(self, folder: str) -> dict[str, str]:
        """The names in a folder of this machine, by how Windows compares them."""
        if folder not in self._names:
            names: dict[str, str] = {}
            try:
                with os.scandir(folder) as entries:
                    for number, entry in enumerate(entries):
                        if number == FOLDER_AT_MOST:
                            break
                        names.setdefault(entry.name.lower(), entry.name)
            except OSError:
                pass
            self._names[folder] = names
        return self._names[folder]

    def data(self, path: str) -> bytes | None:
        """The contents of a file that is no library, such as a manifest; or None."""
        found = self.find(path)
        return None if found is None else contents(found.file)

    def read(self, found: Found) -> Binary:
        """What the file says of itself; see ``System``."""
        return self._readings.of(found)

    def path_of(self, file: Path) -> str:
        """The target's path of a file of this machine."""
        absolute = os.path.abspath(file)
        for place, folder in self._places:
            prefix = folder.rstrip("/") + "/"
            if absolute.startswith(prefix):
                return ntpath.join(place, absolute[len(prefix) :].replace("/", "\\"))
        return ntpath.join(ALL_OF_THIS_MACHINE, absolute.lstrip("/").replace("/", "\\"))


def _folder(path: str) -> str:
    return path if os.path.isdir(path) else os.path.dirname(path)
