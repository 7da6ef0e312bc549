"""How the supervisor answers what the filter hands to it (native/confine.h).

A table of rows, one a call that is looked at, and for each phase the list of paths with
the access to each. No row, or one that does not hold, is a violation. Paths are compared
as they are written: the supervisor says what was tried, Landlock and the mount namespace
see to it that nothing else happens. Each path is listed as it is written and without
links, since a program may write either.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from libferry.sandbox import calls
from libferry.sandbox.needs import needs_of
from libferry.sandbox.places import Places
from libferry.sandbox.plan import padded, text
from libferry.sandbox.profile import Profile

# native/confine.h, enum confine_phase and confine_kind
STARTING, LOADING, SERVING = range(3)
EXEC_ONCE, PATH, LOADING_ONLY, SELF_SIGNAL, CONTINUE_AND_LOG, ALLOW, PORT = range(1, 8)

_NONE = 0xFF  # ROW_NONE
_ANY = 0xFFFFFFFF  # ROW_ANY
_ROW = struct.Struct("<II13BxH")
_HEAD = struct.Struct("<IIII")
_ALL_PHASES = 1 << STARTING | 1 << LOADING | 1 << SERVING


@dataclass(frozen=True)
class _Row:
    """One row; the fields are those of ``struct confine_row``."""

    arch: int
    nr: int
    kind: int
    access: int = 0
    path: int | None = None
    dirfd: int | None = None
    path2: int | None = None
    dirfd2: int | None = None
    flags: int | None = None
    flags_are: int = 0
    at_flags: int | None = None
    address: int | None = None
    target: int | None = None
    distinct: int = 0
    phases: int = 0
    port: int = 0

    def pack(self) -> bytes:
        indices = (self.path, self.dirfd, self.path2, self.dirfd2, self.flags)
        return _ROW.pack(
            self.arch,
            self.nr,
            self.kind,
            self.access,
            *(_NONE if index is None else index for index in indices),
            self.flags_are,
            *(
                _NONE if index is None else index
                for index in (self.at_flags, self.address, self.target)
            ),
            self.distinct,
            self.phases,
            self.port,
        )


def policy(
    profile: Profile,
    places: Places,
    arch: int,
    host: int,
    *,
    emulated: bool,
    own_root: bool,
    own_pids: bool,
    real: Mapping[str, str],
) -> bytes:
    """The policy of a profile.

    Args:
        profile: what is allowed.
        places: where, in each phase.
        arch: the audit architecture of the worker's code.
        host: that of this process, whose code executes the worker.
        emulated: whether an emulator runs it.
        own_root: whether it has a root of its own, in which it may look at everything.
        own_pids: whether it has a pid namespace of its own, in which it is 1.
        real: the path without links of each path that exists.
    """
    prefixes = [_prefixes(phase, real, own_root=own_root) for phase in places.phases]
    newer: set[str] = set()
    if arch != host:  # what libseccomp could not translate
        for need in (*needs_of(profile, emulated=emulated), profile):
            newer |= calls.NEWER.keys() & set(need.allow)
    rows = _rows(
        arch,
        host,
        processes=profile.processes,
        code=profile.code or emulated,
        connect=profile.connect,
        listen=profile.listen,
        own_pids=own_pids,
        newer=tuple(sorted(newer)),
    )
    return _packed(rows, prefixes)


def learning_policy(arch: int, host: int) -> bytes:
    """The policy that lets everything pass, and notes it down."""
    rows = [
        _row(CONTINUE_AND_LOG, name, arch) for name in (*calls.PATH_CALLS, *calls.ADDRESS_CALLS)
    ]
    rows += [_row(CONTINUE_AND_LOG, name, arch, distinct) for name, distinct in _DISTINCT.items()]
    # signals to itself are the worker's business, and to others are no workload's
    rows += [_row(SELF_SIGNAL, name, arch) for name in calls.SIGNAL_CALLS]
    rows.append(_Row(arch, _ANY, CONTINUE_AND_LOG))
    if arch != host:
        rows.append(_row(EXEC_ONCE, "execve", host))
    return _packed([row.pack() for row in rows if row is not None], [{}, {}, {}])


# Arguments whose values make another act of a call: what profiles have conditions on.
_DISTINCT = {
    "clone": 1 << 0,
    "fcntl": 1 << 1,
    "fcntl64": 1 << 1,
    "ioctl": 1 << 1,
    "prctl": 1 << 0,
    "socket": 1 << 0 | 1 << 1,
    **{name: 1 << index for name, index in calls.PROTECTION_CALLS.items()},
}


@cache
def _rows(
    arch: int,
    host: int,
    *,
    processes: bool,
    code: bool,
    connect: tuple[int | str, ...],
    listen: tuple[int | str, ...],
    own_pids: bool,
    newer: tuple[str, ...],
) -> tuple[bytes, ...]:
    rows = [_row(PATH if processes else EXEC_ONCE, "execve", arch)]
    if arch != host:
        rows.append(_row(EXEC_ONCE, "execve", host))
    for name in calls.PATH_CALLS:
        if name not in calls.PROCESS_CALLS or (processes and name != "execve"):
            rows.append(_row(PATH, name, arch))
    if not code:
        rows += [_before_serving(name, arch) for name in calls.PROTECTION_CALLS]
    for name, ports in (("connect", connect), ("bind", listen)):
        rows += [_row(PORT, name, arch, port=port) for port in ports if isinstance(port, int)]
    for name in calls.ADDRESS_CALLS:
        rows.append(_row(ALLOW, name, arch))  # in no phase: only for the address to be told
    # in a pid namespace, where it is 1, the filter has let those to itself pass
    signals = ALLOW if own_pids and not processes else SELF_SIGNAL
    rows += [_row(signals, name, arch) for name in calls.SIGNAL_CALLS]
    rows += [_Row(arch, calls.NEWER[name], ALLOW, phases=_ALL_PHASES) for name in newer]
    return tuple(row.pack() for row in rows if row is not None)


def _before_serving(name: str, arch: int) -> _Row | None:
    """The row of a call that makes memory executable: then nobody may any more."""
    if not calls.takes_a_structure(name, arch):
        return _row(LOADING_ONLY, name, arch)
    row = _row(ALLOW, name, arch)
    return row and replace(row, phases=1 << STARTING | 1 << LOADING)


def _row(kind: int, name: str, arch: int, distinct: int = 0, port: int = 0) -> _Row | None:
    """The row of a call, with what the tables know of its arguments."""
    nr = calls.number(name, arch)
    if nr is None:
        return None
    hidden = calls.takes_a_structure(name, arch)
    protection = None if hidden else calls.PROTECTION_CALLS.get(name)
    path = calls.PATH_CALLS.get(name)
    row = _Row(
        arch,
        nr,
        kind,
        address=calls.ADDRESS_CALLS.get(name),
        target=calls.SIGNAL_CALLS.get(name),
        distinct=distinct,
        port=port,
    )
    if protection is not None:
        return replace(row, flags=protection, flags_are=calls.FLAGS_PROTECTION)
    if path is not None:
        return replace(
            row,
            access=path.access,
            path=path.path,
            dirfd=path.dirfd,
            path2=path.path2,
            dirfd2=path.dirfd2,
            flags=path.flags,
            flags_are=path.flags_are,
            at_flags=path.at_flags,
        )
    return row


def _prefixes(
    phase: Mapping[str, int], real: Mapping[str, str], *, own_root: bool
) -> dict[str, int]:
    prefixes = {"/": calls.LOOK} if own_root else {}
    for path, access in phase.items():
        for spelled in {path, real.get(path, path)}:
            prefixes[spelled] = prefixes.get(spelled, 0) | access
    return prefixes


def _packed(rows: Sequence[bytes], phases: Sequence[Mapping[str, int]]) -> bytes:
    lists = []
    for phase in phases:
        for path, access in phase.items():
            name = text(path)
            lists.append(struct.pack("<II", access, len(name)) + padded(name))
    head = _HEAD.pack(len(rows), *map(len, phases))
    return head + b"".join(rows) + b"".join(lists)
