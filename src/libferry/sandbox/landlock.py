"""Landlock: which files and ports the kernel itself lets a worker reach.

Landlock checks what a path leads to, after all links and mounts, in the moment that it
is opened; nothing that another thread does meanwhile can deceive it. It does not see
``stat`` and ``readlink``, UDP, or Unix sockets by path: those are left to the private
mount namespace, the network namespace and seccomp.

Each ABI version added rights (include/uapi/linux/landlock.h,
Documentation/userspace-api/landlock.rst), and a kernel refuses what it does not know. So
only what the running kernel has is asked for, and the report says what it lacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from libferry.sandbox import calls, plan
from libferry.sandbox.profile import ANY, Profile

# LANDLOCK_ACCESS_FS_*
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE_CHAR, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK = 1 << 6, 1 << 7, 1 << 8, 1 << 9
_MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM = 1 << 10, 1 << 11, 1 << 12
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15

# the highest right of each ABI: 1 has thirteen
_HANDLED_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}

# LANDLOCK_ACCESS_NET_*, since ABI 4
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
# LANDLOCK_SCOPE_*, since ABI 6: sockets of other processes by abstract name, and signals
_SCOPE_SOCKETS, _SCOPE_SIGNALS = 1 << 0, 1 << 1

NETWORK_ABI = 4
SCOPE_ABI = 6

# What each of our words for access means. Devices and block devices nobody may make.
_RIGHTS = {
    calls.READ: _READ_FILE | _READ_DIR,
    calls.EXECUTE: _EXECUTE | _READ_FILE,
    calls.WRITE: _WRITE_FILE | _TRUNCATE,
    calls.CREATE: (
        _REMOVE_DIR
        | _REMOVE_FILE
        | _MAKE_DIR
        | _MAKE_REG
        | _MAKE_SOCK
        | _MAKE_FIFO
        | _MAKE_SYM
        | _REFER
    ),
}


def handled_files(abi: int) -> int:
    """All rights on files that a kernel of that ABI can withhold."""
    return max(mask for since, mask in _HANDLED_FILES.items() if since <= abi)


def rights(access: int, abi: int) -> int:
    """Our access bits as Landlock's."""
    wanted = 0
    for bit, mask in _RIGHTS.items():
        if access & bit:
            wanted |= mask
    return wanted & handled_files(abi)


def step(profile: Profile, files: Mapping[str, int], abi: int) -> bytes:
    """The ruleset of a profile, for a kernel of ABI ``abi`` (1 or higher).

    Args:
        profile: whose ports count.
        files: paths that exist where the worker will be, and the access to each.
        abi: what ``_core.kernel()`` says.
    """
    paths = [(path, right) for path, access in files.items() if (right := rights(access, abi))]
    handled_ports = 0
    ports: list[tuple[int, int]] = []
    if abi >= NETWORK_ABI:
        for wanted, right in ((profile.connect, _CONNECT_TCP), (profile.listen, _BIND_TCP)):
            if ANY not in wanted:
                handled_ports |= right
                ports += _ports(wanted, right)
    scoped = _SCOPE_SOCKETS | _SCOPE_SIGNALS if abi >= SCOPE_ABI else 0
    return plan.landlock(handled_files(abi), handled_ports, scoped, paths, ports)


def _ports(wanted: Iterable[int | str], right: int) -> list[tuple[int, int]]:
    return [(port, right) for port in wanted if isinstance(port, int)]
