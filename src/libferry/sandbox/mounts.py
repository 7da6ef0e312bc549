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
class _Followed:
    """Where paths lead, and the links on the way."""

    links: dict[str, str] = field(default_factory=dict)

    def follow(self, path: str) -> str | None:
        """The path without links; None if there is no such file."""
        waiting = [part for part in path.split("/") if part]
        at = ""
        followed = 0
        while waiting:
            part = waiting.pop(0)
            if part == ".":
                continue
            if part == "..":
                at = os.path.dirname(at) if at.strip("/") else ""
                continue
            here = f"{at}/{part}"
            try:
                target = os.readlink(here)
            except OSError:  # no link, or nothing
                at = here
                continue
            followed += 1
            if followed > _MOST_LINKS:
                return None
            self.links[here] = target
            waiting = [part for part in target.split("/") if part] + waiting
            at = "" if target.startswith("/") else at
        return at if at and os.path.exists(at) else None


def followed(files: Iterable[str]) -> dict[str, str]:
    """The path without links of each file that exists."""
    way = _Followed()
    return {path: leads for path in files if (leads := way.follow(path)) is not None}


def steps(files: Mapping[str, int], *, own_proc: str | None) -> list[bytes]:
    """The steps that make the root and move into it.

    Args:
        files: paths as they will be written, and the access to each.
        own_proc: options of the /proc that belongs to the new pid namespace; None if
            there is to be none.
    """
    followed = _Followed()
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
