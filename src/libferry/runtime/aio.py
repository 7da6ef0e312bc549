"""``await lib.aio.f(...)``: calls that an event loop waits for.

A worker answers by itself: the call is posted, and one thread of the library, whatever
the number of calls, sleeps until any of them has its reply. In this process a C
function blocks the thread it runs on, so each call takes one of the loop's executor;
so does one of a library that takes one call at a time: a loop that waits for its turn
could not end the call that it waits for.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from libferry import _core
from libferry.errors import LibraryCrashed
from libferry.runtime import crash

if TYPE_CHECKING:
    from libferry.runtime.library import Library
    from libferry.runtime.telemetry import TracedAioFunction

_MOST = 48  # calls posted at once, by all loops: a lane each, of 64, so that others find one


class Aio:
    """The functions of a library, to be awaited. It is ``Library.aio``."""

    def __init__(self, library: Library) -> None:
        self._library = weakref.ref(library)
        self._waiter: _Waiter | None = None

    def __getattr__(self, name: str) -> AioFunction | TracedAioFunction:
        if name.startswith("_"):
            raise AttributeError(name)
        library = self._library()
        assert library is not None
        function, trace = library[name], library._ferry_trace
        made = self.__dict__[name] = (
            AioFunction(self, function)
            if trace is None
            else trace.awaited(AioFunction(self, function.function))
        )
        return made

    def _ferry_forget(self) -> None:
        """Look the functions up anew."""
        for name in [name for name in self.__dict__ if not name.startswith("_")]:
            del self.__dict__[name]

    def _ferry_waiter(self, session: _core.Session) -> _Waiter:
        waiter = self._waiter
        if waiter is None or waiter.session is not session:
            waiter = self._waiter = _Waiter(session)
        return waiter


class AioFunction:
    """A function of a library, to be awaited."""

    def __init__(self, aio: Aio, function: Any) -> None:
        self._aio = aio
        self._function = function
        self.__name__ = function.__name__

    async def __call__(self, *values: object) -> Any:
        """Call it."""
        loop = asyncio.get_running_loop()
        function = self._function
        if not isinstance(function, _core.Function):
            return await loop.run_in_executor(None, function, *values)
        if function.session.state == "gone":  # a restart takes its time
            self._function = function = await loop.run_in_executor(None, function.current)
        session = function.session
        if session.channel is None or session.lanes == 1:
            return await loop.run_in_executor(None, function, *values)
        return await self._aio._ferry_waiter(session).call(loop, function, values)

    def within(self, seconds: float | None) -> AioFunction:
        """The same function, whose calls may take ``seconds``; None is no limit."""
        return AioFunction(self._aio, self._function.within(seconds))


class _Waiter:
    """The thread that sleeps for all of a library's pending calls."""

    def __init__(self, session: _core.Session) -> None:
        self.session = session
        self._calls: dict[_core.Pending, Callable[[], object]] = {}
        self._posted = 0  # calls that nobody has ended yet
        self._lock = threading.Lock()
        self._running = False
        self._room: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]
        self._room = weakref.WeakKeyDictionary()

    async def call(
        self, loop: asyncio.AbstractEventLoop, function: _core.Function, values: tuple[object, ...]
    ) -> object:
        room = self._room.setdefault(loop, asyncio.Semaphore(_MOST))
        async with room:
            pending = self._post(function, values)
            if pending is None:  # other loops have posted what there is room for
                return await loop.run_in_executor(None, function, *values)
            done: asyncio.Future[None] = loop.create_future()
            self._add(pending, lambda: loop.call_soon_threadsafe(_set, done))
            try:
                await done
            except BaseException:
                # C cannot be called off: what it was lent is given back when it has returned
                self._abandon(pending)
                raise
            try:
                return self._end(pending)
            except LibraryCrashed as error:
                crash.called(error, function, values)
                raise

    def _post(self, function: _core.Function, values: tuple[object, ...]) -> _core.Pending | None:
        """Begin a call; None if that might have to wait for one of another loop's."""
        with self._lock:
            if self._posted >= _MOST:
                return None
            self._posted += 1
        try:
            return function.post(*values)
        except BaseException:
            self._ended()
            raise

    def _end(self, pending: _core.Pending) -> object:
        try:
            return pending.wait()
        finally:
            self._ended()

    def _ended(self) -> None:
        with self._lock:
            self._posted -= 1

    def _forget(self, pending: _core.Pending) -> None:
        with suppress(Exception):  # nobody is there any more to be told
            self._end(pending)

    def _abandon(self, pending: _core.Pending) -> None:
        """Nobody waits any more; the loop may be gone before the call returns."""
        with self._lock:
            known = pending in self._calls
            if known:
                self._calls[pending] = lambda: self._forget(pending)
        if not known:
            self._forget(pending)

    def _add(self, pending: _core.Pending, tell: Callable[[], object]) -> None:
        with self._lock:
            self._calls[pending] = tell
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="libferry aio", daemon=True).start()
        self.session.ring()

    def _run(self) -> None:
        while True:
            rung = self.session.bell
            with self._lock:
                ready = [pending for pending in self._calls if pending.ready()]
                tell = [self._calls.pop(pending) for pending in ready]
                waiting = list(self._calls)
                if not waiting and not tell:
                    self._running = False
                    return
            for one in tell:
                with suppress(RuntimeError):  # that loop is closed
                    one()
            if waiting:
                self.session.wait_any(waiting, rung)


def _set(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
