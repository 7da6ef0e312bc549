"""What the running kernel lets us confine a worker with."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from libferry import _core


@dataclass(frozen=True)
class Kernel:
    """The kernel's answer.

    Attributes:
        landlock: Landlock's ABI version; 0 is none.
        seccomp: whether it takes filters.
        notification: whether a filter can hand calls to us.
        namespaces: which of user, mount, pid, net, ipc, uts we may make.
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
