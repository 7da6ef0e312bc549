"""What is being taken to a target: the library in question, and what lies beside it.

It is seen there at the path that it has here. A library that lies in a folder of the
system (``/usr/lib``) is taken alone: what lies beside it there is the system's, and the
target has its own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from libferry.target.system import Found
from libferry.target.tree import Tree

SYSTEM_FOLDERS = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run"),
    *("/sbin", "/sys", "/usr"),
)
"""Of the Filesystem Hierarchy Standard 3.0, what belongs to the system; all below, too,
except ``/usr/local``, which is for the machine's owner (section 4.9)."""


def is_of_system(folder: str) -> bool:
    """Whether a folder belongs to the system, so that a target has its own."""
    if folder == "/":
        return True
    if f"{folder}/".startswith("/usr/local/"):
        return f"{folder}/" in ("/usr/local/", "/usr/local/lib/")
    return any(f"{folder}/".startswith(f"{system}/") for system in SYSTEM_FOLDERS)


class Carried:
    """Files of this machine, at the paths that they have here.

    Args:
        paths: a folder stands for all below it; a file for its folder, if that is not
            one of the system.
    """

    def __init__(self, paths: Iterable[str | os.PathLike[str]]) -> None:
        self._tree = Tree("/")
        self._files: set[str] = set()
        self._folders: set[str] = set()
        for path in paths:
            absolute = os.path.abspath(path)
            if os.path.isdir(absolute):
                self._folders.add(absolute)
                continue
            self._files.add(absolute)
            folder = os.path.dirname(absolute)
            if not is_of_system(folder):
                self._folders.add(folder)
        self._prefixes = tuple(f"{folder.rstrip('/')}/" for folder in self._folders)

    def has(self, path: str) -> bool:
        """Whether a path is among what is carried, be there a file or not."""
        if path in self._files:
            return True
        if not self._prefixes or not path.startswith("/"):
            return False
        if "/." in path or "//" in path:
            path = os.path.normpath(path)
            return path in self._files or path.startswith(self._prefixes)
        return path.startswith(self._prefixes)

    def find(self, path: str) -> Found | None:
        """The carried regular file at a path, or None."""
        return regular(self._tree, path) if self.has(path) else None

    def is_directory(self, path: str) -> bool:
        """Whether a carried folder is at a path, or one that leads to what is carried."""
        inside = f"{os.path.normpath(path)}/"
        if inside.startswith(self._prefixes):
            return self._tree.folder(path) is not None
        return any(f"{one}/".startswith(inside) for one in (*self._files, *self._folders))


def regular(tree: Tree, path: str) -> Found | None:
    """The regular file of a tree at a path, or None."""
    seen = tree.file(path)
    if seen is None:
        return None
    real, status = seen
    if not stat.S_ISREG(status.st_mode):
        return None
    return Found(path, real, (status.st_dev, status.st_ino), Path(tree.root + real))
