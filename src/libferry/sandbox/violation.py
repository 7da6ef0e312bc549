"""A forbidden act as an error."""

from __future__ import annotations

import weakref
from typing import Protocol

from libferry import _core
from libferry.errors import LibraryCrashed, SandboxViolation
from libferry.sandbox.acts import Act

_SYSTEM_CALL = 31  # SIGSYS, include/uapi/asm-generic/signal.h: a filter's KILL
_UNTOLD = (
    "this kernel does not say which: from Linux 5.5 on the error names it, and `strace -f` does"
)

# The architecture of each sandboxed session's worker, and its profile's name.
_sandboxes: weakref.WeakKeyDictionary[_core.Session, tuple[int, str]] = weakref.WeakKeyDictionary()


def watch(session: _core.Session, own: int, profile: str) -> None:
    """Note what a session's violations are to be explained by.

    Args:
        session: of a sandboxed worker.
        own: the audit architecture of its code.
        profile: the profile's name.
    """
    _sandboxes[session] = own, profile


class Trapped(Protocol):
    """A system call that SIGSYS was about."""

    @property
    def number(self) -> int:
        """Which, ..."""

    @property
    def architecture(self) -> int:
        """... of which table."""

    @property
    def arguments(self) -> tuple[int, ...]:
        """As they were in registers; empty if that is not known."""


def explained(
    crash: LibraryCrashed, session: _core.Session, trapped: Trapped | None
) -> LibraryCrashed:
    """The crash as a SandboxViolation, if that is what it was.

    Args:
        crash: how the worker's end looks without a sandbox.
        session: the worker's.
        trapped: what its fault record says, where the kernel could not hand it over.
    """
    if session not in _sandboxes:
        return crash
    own, profile = _sandboxes[session]
    told = session.death().get("violation")
    if told is not None:
        act = Act.told(told, own)
    elif trapped is not None:
        act = Act.trapped(trapped.number, trapped.architecture, trapped.arguments, own)
    elif crash.signal == _SYSTEM_CALL:
        return _violation(crash, profile, "a system call that it made", _UNTOLD)
    else:
        return crash
    allow = "; ".join(grant.line() for grant in act.grants())
    error = _violation(
        crash,
        profile,
        str(act),
        f"if the library may do that, add to its profile or contract: {allow}"
        if allow
        else "no profile allows that: do not load this library",
    )
    error.syscall, error.path, error.allow = act.name, act.target, allow
    if told is not None:
        error.program_counter = told["instruction_pointer"]
    return error


def _violation(crash: LibraryCrashed, profile: str, what: str, hint: str) -> SandboxViolation:
    error = SandboxViolation(
        crash.tried,
        f"its sandbox ({profile}) does not allow {what}, and ended its worker",
        hint=hint,
        signal=crash.signal,
        code=crash.code,
        address=crash.address,
        program_counter=crash.program_counter,
    )
    error.function, error.arguments = crash.function, crash.arguments
    error.registers, error.backtrace = crash.registers, crash.backtrace
    error.output, error.dump = crash.output, crash.dump
    return error
