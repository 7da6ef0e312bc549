"""What happens to workers: told to ``logging``, and to whoever counts it.

The logger is ``libferry``. That a worker starts, or ends in good order, is worth a line
to who looks for something (debug); that one was replaced is good to know (info); that
one was lost is a warning. No call passes through here unless it ends its worker.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from typing import Literal

from libferry import _core
from libferry.errors import DeadlineExceeded, FerryError, SandboxViolation
from libferry.runtime.runner import Runner

Kind = Literal["started", "ended", "lost", "restarted"]

log = logging.getLogger("libferry")
log.addHandler(logging.NullHandler())  # a library's custom: the program says where it goes

_LOSSES = {DeadlineExceeded: "missed a deadline", SandboxViolation: "did what is forbidden"}

live: set[int] = set()  # the process ids of the workers that serve
observers: list[Callable[[Kind, str], None]] = []  # told what happened, and to which library
_workers: weakref.WeakKeyDictionary[_core.Session, tuple[str, int]] = weakref.WeakKeyDictionary()


def _tell(kind: Kind, library: str) -> None:
    for observer in observers:
        observer(kind, library)


def started(session: _core.Session, library: str, pid: int, runner: Runner, seconds: float) -> None:
    """A worker serves."""
    _workers[session] = (library, pid)
    live.add(pid)
    log.debug(
        "%s: worker %d started in %.1f ms (%s, through %s)",
        library,
        pid,
        seconds * 1e3,
        runner.abi,
        runner.through,
    )
    _tell("started", library)


def ended(library: str, pid: int, code: int | None) -> None:
    """A worker is gone; unless it was lost before, it had been told to go."""
    if pid in live:
        live.discard(pid)
        log.debug("%s: worker %d ended (exit code %s)", library, pid, code)
        _tell("ended", library)


class _OneLine:
    """An error's words, made when a handler asks for them: who waits for the error does not
    wait until the stack of the crash has been unwound. A record that is kept does not keep
    the error, and with it all that its traceback holds.
    """

    def __init__(self, error: FerryError) -> None:
        self._error = weakref.ref(error)
        self._short = f"{error.tried}: {error.happened}"

    def __str__(self) -> str:
        error = self._error()
        return " ".join((self._short if error is None else str(error)).split())


def lost(session: _core.Session, error: FerryError) -> None:
    """A worker died, took too long, or did what it must not. Only the first time counts."""
    library, pid = _workers.pop(session, ("", 0))
    if not pid:
        return
    live.discard(pid)
    what = next((words for kind, words in _LOSSES.items() if isinstance(error, kind)), "was lost")
    log.warning("%s: worker %d %s: %s", library, pid, what, _OneLine(error))
    _tell("lost", library)


def restarted(library: str, old: int, new: int) -> None:
    """A worker took the place of one that was lost."""
    log.info("%s: worker %d replaces worker %d", library, new, old)
    _tell("restarted", library)
