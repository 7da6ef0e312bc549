"""The life of a library: it is opened, its worker crashes, it is opened again.

A crash ends a session for good. Calls that were under way get its error, and are never
made again by themselves: they may have had effects. If the library may be restarted, the
*next* use of it starts a worker as the first one was started, opens the library in it,
and runs its initialiser. One thread does that, and the others wait for it.

A function that somebody kept finds its way by itself: the C core asks ``successor`` for
the same function in the new session, once, and hands its calls on.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from libferry import _core
from libferry.contract import Signature
from libferry.errors import ArgumentTypeError, ArgumentValueError, LibraryCrashed
from libferry.guard import Expected
from libferry.runtime import events, explain
from libferry.runtime.instance import Instance
from libferry.runtime.loaded import Contents
from libferry.runtime.opening import Opened, open_library
from libferry.runtime.spare import Spare
from libferry.runtime.worker import Start, Worker

if TYPE_CHECKING:
    from libferry.runtime.library import Library

Restart = Literal["never", "next-call"] | int

PERIOD = 60.0  # seconds in which so many restarts are made at most


def check_restart(restart: object, *, spare: bool) -> None:
    """Whether that says when to restart, and whether a spare would be used.

    Raises:
        ArgumentTypeError, ArgumentValueError: it does not.
    """
    hint = "'never', 'next-call', or the number of restarts that a minute may have"
    if restart == "never" and spare:
        raise ArgumentTypeError(
            "load a library", "spare=True, and it is never restarted", hint="restart='next-call'"
        )
    if restart in ("never", "next-call"):
        return
    if isinstance(restart, bool) or not isinstance(restart, int):
        raise ArgumentTypeError("load a library", f"restart is {restart!r:.80}", hint=hint)
    if restart < 1:
        raise ArgumentValueError("load a library", f"restart is {restart}", hint=hint)


@dataclass(frozen=True)
class Again:
    """How a library begins again after a crash.

    Attributes:
        start: what its workers are started with.
        restart: whether, and how often, it may.
        spare: whether a started worker is kept in reserve for it.
        expected: what may be loaded in it, or None for anything.
    """

    start: Start
    restart: Restart
    spare: bool
    expected: Expected | None


class Life:
    """Which instance of a library is the present one, and how the next one comes.

    Attributes:
        restarts: how many there were.
    """

    def __init__(
        self,
        library: Library,
        opened: Opened,
        again: Again | None,
        initialise: Callable[[Library], object] | None,
    ) -> None:
        self.restarts = 0
        self._library = library
        self._again = again if again is not None and again.restart != "never" else None
        self._initialiser = initialise
        self._now = Instance(library, opened)
        self._young: Instance | None = None  # whose initialiser runs
        self._tried: deque[float] = deque()  # when restarts were, not longer ago than PERIOD
        self._lock = threading.RLock()
        self._spare = Spare(again.start) if again is not None and again.spare else None

    @property
    def again(self) -> bool:
        """Whether a crash is followed by a restart."""
        return self._again is not None

    @property
    def now(self) -> Instance:
        """The present instance, which may be over; of its initialiser, the one to be."""
        young = self._young
        if young is not None and threading.get_ident() in young.callbacks.threads:
            return young
        return self._now

    def home(self) -> Instance:
        """The present instance, begun again if its worker is gone and that may be done.

        Raises:
            LibraryCrashed: there were too many restarts.
            FerryError: the restart failed; the crash is its cause.
        """
        now = self.now
        again = self._again
        if again is None or now is not self._now or now.session.state != "gone":
            return now
        with self._lock:
            now = self.now
            if now is self._now and now.session.state == "gone":
                now = self._restart(again, now)
            return now

    def begin(self) -> None:
        """Initialise the first instance."""
        with self._lock:
            self._initialise(self._now)
        if self._spare is not None:
            self._spare.prepare()

    def close(self) -> None:
        """End it for good, whoever is restarting it meanwhile. Twice is fine."""
        self._again = None  # and with it goes the library's verified copy
        if self._spare is not None:
            self._spare.close()
        closed = None
        while closed is not self._now:
            closed = self._now
            closed.close()
        young = self._young
        if young is not None:
            young.close()

    # ---- beginning again ----

    def _restart(self, again: Again, past: Instance) -> Instance:
        assert past.worker is not None
        tried = f"restart {self._library.binary.path.name}"
        crash = explain.gone(past.session, tried)
        self._count(again.restart, crash)
        past.over = f" at {explain.when(past.session)}"
        past.worker.reap()
        try:
            young = self._open(again)
            try:
                young.session.family = past.session.family
                self._initialise(young)
            except BaseException:
                young.close()
                raise
        except Exception as error:
            raise error from crash
        self._now = young
        if past.session.closed:  # somebody has closed it meanwhile
            young.close()
            return young
        self.restarts += 1
        assert young.worker is not None
        events.restarted(again.start.output.name, past.worker.pid, young.worker.pid)
        self._library._ferry_forget()
        if self._spare is not None:
            self._spare.prepare()
        return young

    def _count(self, restart: Restart, crash: LibraryCrashed) -> None:
        """Count a restart. Raises if there were too many."""
        if not isinstance(restart, int):
            return
        now = time.monotonic()
        while self._tried and self._tried[0] <= now - PERIOD:
            self._tried.popleft()
        if len(self._tried) >= restart:
            wait = self._tried[0] + PERIOD - now
            crash.happened += (
                f"; it was restarted {len(self._tried)} times in {PERIOD:.0f} s, and is again, "
                f"by the first call in {wait:.0f} s"
            )
            crash.hint = (
                "find out what makes it crash; load(restart=) says how many restarts there may be"
            )
            raise crash
        self._tried.append(now)

    def _open(self, again: Again) -> Instance:
        library = self._library
        worker = (self._spare.take() if self._spare else None) or Worker(again.start)
        sealed = again.start.sealed
        contents = Contents(library.binary, worker, None, again.expected, sealed)
        try:
            opened = open_library(library.binary, library.abi, worker.session, contents)
            return Instance(library, opened)
        except BaseException:
            worker.close()
            contents.close()
            raise

    def _initialise(self, young: Instance) -> None:
        """Run the initialiser, for which ``young`` is the library."""
        if self._initialiser is None:
            return
        me = threading.get_ident()
        young.callbacks.threads.add(me)
        self._young = young
        try:
            self._initialiser(self._library)
        finally:
            self._young = None
            young.callbacks.threads.discard(me)


def successor(function: _core.Function) -> _core.Function:
    """The same function where its library is now: the C core asks when its worker is gone.

    Raises:
        FerryError: there is none.
    """
    session = function.session
    home: Instance | None = getattr(session.services_of, "home", None)
    if home is None or function.service or not isinstance(function.signature, Signature):
        explain.ended(session, function, session.state)
    now = home.library._ferry_home()
    if now.session.state != "usable" or now.session is session:
        explain.ended(now.session, function, now.session.state)
    return now.bind(function.signature, keep_gil=function.keep_gil, timeout_ns=function.timeout_ns)
