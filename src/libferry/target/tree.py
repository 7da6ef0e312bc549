"""Paths of a tree of files that is not this machine's root, followed as its own kernel would.

Inside a copy of another system's root, ``/lib64/ld.so.1 -> /lib/ld-2.28.so`` means the
file in the copy, and so many ``..`` as you like do not leave it: what ``chroot`` does, done
by hand since ``chroot`` is for root only. The machine's own root is the case in which the
two coincide.

A loader asks for thousands of paths in a few folders, most of which are not there. So
what is known of a folder is kept, and a miss costs one ``lstat``.
"""

from __future__ import annotations

import os
import stat

MOST_LINKS = 40
"""Linux follows no more in one path (MAXSYMLINKS, include/linux/namei.h)."""

LONGEST_PATH = 4096
"""Linux takes no longer one (PATH_MAX, with the NUL; include/uapi/linux/limits.h)."""


class Tree:
    """One root folder, with what has been seen in it; what changes later is not noticed.

    Args:
        root: the folder; ``/`` for this machine's.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.path.realpath(root).rstrip("/")
        self._status: dict[str, os.stat_result | None] = {}
        self._folders: dict[str, str | None] = {}

    def file(self, path: str) -> tuple[str, os.stat_result] | None:
        """The path without links, and the status, of what is at a path; or None."""
        folder, slash, name = path.rpartition("/")
        if not slash or len(path) >= LONGEST_PATH or "\0" in path:
            return None
        if name in ("", ".", ".."):
            return self._walk(path)
        real = self._folders[folder] if folder in self._folders else self._folder(folder)
        if real is None:
            return None
        child = f"{real}/{name}"
        status = self._status[child] if child in self._status else self._lstat(child)
        if status is not None and stat.S_ISLNK(status.st_mode):
            return self._walk(child)
        return None if status is None else (child, status)

    def folder(self, path: str) -> str | None:
        """The path of a folder without links; None if it is none."""
        if not path.startswith("/") or len(path) >= LONGEST_PATH or "\0" in path:
            return None
        path = path.rstrip("/")
        real = self._folders[path] if path in self._folders else self._folder(path)
        return None if real is None else real or "/"

    def _folder(self, path: str) -> str | None:
        end = self._walk(path) if path else ("", None)
        real = end[0] if end and (end[1] is None or stat.S_ISDIR(end[1].st_mode)) else None
        self._folders[path] = None if real is None else real.rstrip("/")
        return self._folders[path]

    def _walk(self, path: str) -> tuple[str, os.stat_result] | None:
        """Follow a path name by name, as path_resolution(7) has it."""
        real, links = "", 0
        status = self._lstat("")
        rest = path.split("/")[::-1]
        while rest and status is not None:
            name = rest.pop()
            if not stat.S_ISDIR(status.st_mode):
                return None
            if name in ("", "."):
                continue
            if name == "..":
                real = real.rpartition("/")[0]
                status = self._lstat(real)
                continue
            child = f"{real}/{name}"
            below = self._lstat(child)
            if below is not None and stat.S_ISLNK(below.st_mode):
                links += 1
                target = self._readlink(child)
                if links > MOST_LINKS or not target:
                    return None
                rest += target.split("/")[::-1]
                if target.startswith("/"):
                    real, status = "", self._lstat("")
                continue
            real, status = child, below
        return None if status is None else (real or "/", status)

    def _lstat(self, real: str) -> os.stat_result | None:
        if real in self._status:
            return self._status[real]
        try:
            status = os.lstat(f"{self.root}{real}" or "/")
        except (OSError, ValueError):
            status = None
        self._status[real] = status
        return status

    def _readlink(self, real: str) -> str:
        try:
            return os.readlink(self.root + real)
        except OSError:
            return ""
