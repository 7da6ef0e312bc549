"""A root of its own for the worker: an empty file system with what it needs bound in.

Everything has the path that it has outside. A path may lead through links (``/lib`` to
``usr/lib``, ``/etc/alternatives``): they are made anew, and what is bound is where they
lead. What lies in a folder that is bound anyway is not bound again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from libferry.sandbox import calls, plan

# Where the new root is put together: a folder that is always there, and that nothing is
# bound from. (The kernel lets a namespace mount a /proc if it sees one whole; what we mount
# over it ourselves does not count.)
_SCAFFOLD = "/proc"
_MOST_LINKS = 40  # in one path: the kernel's own limit (path_resolution(7))
_ROOT_OPTIONS = "size=1m,nr_inodes=4096,mode=755"
_WRITING = calls.WRITE | calls.CREATE
_RUNNING = calls.MAP | calls.EXECUTE


@dataclass
class Followed:
    """Where paths lead, and the links on the way; each part of a path is read once."""

    links: dict[str, str] = field(default_factory=dict)
    _known: dict[str, str | None] = field(default_factory=dict)

    def follow(self, path: str) -> str | None:
        """The absolute path without links; None if there is no such file."""
        return self._follow(os.path.normpath(path), _MOST_LINKS)

    def _follow(self, path: str, links_left: int) -> str | None:
        if path == "/":
            return path
        if path not in self._known:
            self._known[path] = None  # a link to itself leads nowhere
            self._known[path] = self._read(path, links_left)
        return self._known[path]

    def _read(self, path: str, links_left: int) -> str | None:
        above, _, name = path.rpartition("/")
        folder = self._follow(above or "/", links_left)
        if folder is None:
            return None
        here = f"{folder.rstrip('/')}/{name}"
        try:
            target = os.readlink(here)
        except OSError:  # no link, or nothing
            return here if os.path.exists(here) else None
        self.links[here] = target
        if not links_left:
            return None
        # ".." after a link is the folder above where the link led, and not of its name
        return self._from(folder, target, links_left - 1)

    def _from(self, folder: str, target: str, links_left: int) -> str | None:
        at: str | None = "/" if target.startswith("/") else folder
        for part in target.split("/"):
            if at is None:
                return None
            if part == "..":
                at = os.path.dirname(at)
            elif part not in ("", "."):
                at = self._follow(f"{at.rstrip('/')}/{part}", links_left)
        return at


def steps(files: Mapping[str, int], followed: Followed, *, own_proc: str | None) -> list[bytes]:
    """The steps that make the root and move into it.

    Args:
        files: paths as they will be written, and the access to each.
        followed: what has been found out of where they lead.
        own_proc: options of the /proc that belongs to the new pid namespace; None if
            there is to be none.
    """
    real: dict[str, int] = {}
    for path, access in files.items():
        leads = followed.follow(path)
        if leads is not None and not _is_below(leads, _SCAFFOLD):
            real[leads] = real.get(leads, 0) | access
    binds = _binds(real)
    root = _SCAFFOLD
    made = {"", "/"}
    result = [
        plan.step(plan.PRIVATE_MOUNTS),
        plan.tmpfs(root, _ROOT_OPTIONS, plan.MS_NOSUID | plan.MS_NODEV),
    ]
    for path, flags in binds.items():
        if not _is_in(path, binds):
            folder = os.path.isdir(path)
            result += _folders(root, path if folder else os.path.dirname(path), made)
            if not folder:
                result.append(plan.texts(plan.TOUCH, root + path))
        result.append(plan.bind(path, root + path, flags))
    for path, target in followed.links.items():
        if not _is_in(path, binds) and not _is_below(path, _SCAFFOLD):
            result += _folders(root, os.path.dirname(path), made)
            result.append(plan.texts(plan.SYMLINK, target, root + path))
    if own_proc is not None:
        result += _folders(root, "/proc", made)
        result.append(plan.texts(plan.PROC, root + "/proc", own_proc))
    result += [plan.texts(plan.PIVOT, root), plan.texts(plan.READONLY, "/")]
    return result


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _ancestors(path: str) -> Iterable[str]:
    while (path := os.path.dirname(path)) not in ("", "/"):
        yield path


def _is_in(path: str, binds: Mapping[str, int]) -> bool:
    return any(folder in binds for folder in _ancestors(path))


def _binds(real: Mapping[str, int]) -> dict[str, int]:
    """What has to be bound, outer folders first, and the flags of each mount."""
    binds: dict[str, int] = {}
    granted: dict[str, int] = {}
    for path in sorted(real):
        access = real[path]
        for folder in _ancestors(path):
            access |= granted.get(folder, 0)
        granted[path] = access
        flags = plan.MS_NOSUID
        if not access & _WRITING:
            flags |= plan.MS_RDONLY
        if not access & _RUNNING:
            flags |= plan.MS_NOEXEC
        if not _is_below(path, "/dev"):
            flags |= plan.MS_NODEV
        outer = next((folder for folder in _ancestors(path) if folder in binds), None)
        if outer is None or binds[outer] != flags:
            binds[path] = flags
    return binds


def _folders(root: str, path: str, made: set[str]) -> list[bytes]:
    """Steps for a folder and those above it, each once."""
    missing = [folder for folder in (path, *_ancestors(path)) if folder not in made]
    made.update(missing)
    return [plan.mkdir(root + folder) for folder in reversed(missing)]
