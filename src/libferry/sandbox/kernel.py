"""What the running kernel lets us confine a worker with."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache

from libferry import _core
from libferry.sandbox import plan

# What cannot be executed; getting there is the answer.
_NO_PROGRAM = b"/dev/null/none"
# Options of a new /proc, the best first: where the one that we see has parts covered, as
# in most containers, the kernel grants only one that shows processes and nothing else.
_PROC_OPTIONS = ("", "subset=pid")


@dataclass(frozen=True)
class Kernel:
    """The kernel's answer.

    Attributes:
        landlock: Landlock's ABI version; 0 is none.
        seccomp: whether it takes filters.
        notification: whether a filter can hand calls to us.
        namespaces: which of user, mount, pid, net, ipc, uts, cgroup we may make.
        version: major and minor number.
    """

    landlock: int
    seccomp: bool
    notification: bool
    namespaces: frozenset[str]
    version: tuple[int, int]


def kernel() -> Kernel:
    """What this kernel has; it is tried once in a process."""
    found = _core.kernel()
    numbers = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return Kernel(
        landlock=int(found["landlock"]),
        seccomp=bool(found["seccomp"]),
        notification=bool(found["user_notification"]),
        namespaces=frozenset(found["namespaces"]) if "user" in found["namespaces"] else frozenset(),
        version=(int(numbers[1]), int(numbers[2])) if numbers else (0, 0),
    )


@cache
def proc_options() -> str | None:
    """The options with which a new pid namespace gets its /proc; None: it gets none."""
    spaces = plan.CLONE_NEWUSER | plan.CLONE_NEWPID | plan.CLONE_NEWNS
    for options in _PROC_OPTIONS:
        steps = [
            plan.namespaces(spaces),
            plan.map_ids(os.geteuid(), os.getegid()),
            plan.step(plan.PRIVATE_MOUNTS),
            plan.texts(plan.PROC, "/proc", options),
        ]
        try:
            _core.spawn([_NO_PROGRAM], [], {}, b"".join(steps))
        except _core.SpawnError as error:
            if error.kind == "EXEC":
                return options
    return None
