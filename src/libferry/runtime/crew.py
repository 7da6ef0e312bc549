"""The workers of a pool, and the callers who wait for one.

A caller has a *ticket*: for any worker, for a certain one, or for one that nobody else
uses meanwhile. It is served at once, or waits in one queue, first come first served;
only a ticket for a certain worker lets others pass while that one is busy. What is
busy least is taken first, and of several such the one that was used last: it may still
be looking out for a call, which makes the next one quicker by far.

A worker that is lost is replaced on a thread of its own, so nobody waits for that who
can have another. Where it cannot be replaced, the reason is told to callers instead of
letting them wait, and it is tried again later, when somebody asks.

One lock guards it all and is never held while C runs, or anything of the user's. A
ticket is given back in a ``finally`` that begins before it is served: however Ctrl-C
falls, no worker stays taken.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Hashable
from functools import partial

from libferry.errors import (
    LibraryClosed,
    LibraryCrashed,
    LoadError,
    NestedTooDeep,
    PoolFull,
)
from libferry.runtime import events, explain
from libferry.runtime.library import Library
from libferry.runtime.places import Functions, Held, Member, Stats, Ticket

RETRY_SECONDS = 1.0  # after a worker could not be started

_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_count_fork)


def _lost(member: Member) -> bool:
    """Whether the worker that was there is gone."""
    functions = member.functions
    return functions is not None and functions.library._ferry_session.state != "usable"


class Crew:
    """The workers of one pool."""

    def __init__(
        self,
        name: str,
        first: Library,
        start: Callable[[], Library],
        *,
        workers: int,
        calls: int,
        waiting: int,
        wait_timeout: float | None,
    ) -> None:
        self.name = name
        self.calls = calls
        self.held = Held()
        self.members = [Member() for _ in range(workers)]
        self._start = start
        self._waiting = waiting
        self._wait_timeout = wait_timeout
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # for close()
        # workers that can take a call, by the calls they are making; used last is last
        self._free: list[list[Member]] = [[] for _ in range(calls)]
        self._queue: dict[Ticket, None] = {}  # an ordered set
        self._out = 0  # tickets that were served and not given back
        self._keys: dict[Hashable, int] = {}  # the generation that a sticky key met last
        self._closed = False
        self._forks = _forks
        self._served = self._lost = self._refused = 0
        self.members[0].functions = Functions(first)
        self._free[0].append(self.members[0])
        with self._lock:
            for member in self.members[1:]:
                self._begin(member, None)

    # ---- asking for a worker ----

    def take(self, ticket: Ticket) -> Functions:
        """Wait until the ticket is served.

        Raises:
            PoolFull: too many wait already, or it took too long.
            LibraryClosed: the pool was closed.
        """
        with self._usable():
            if not self._queue and self._serve(ticket):
                assert ticket.functions is not None
                return ticket.functions
            gate = threading.Lock()
            gate.acquire()
            ticket.wake = partial(_open, gate)
            waiting = self._enqueue(ticket)
        if waiting:
            limit = -1 if self._wait_timeout is None else self._wait_timeout
            if not gate.acquire(timeout=limit):
                self._expire(ticket)
        return _served(ticket)

    async def take_async(self, ticket: Ticket) -> Functions:
        """The same for an event loop."""
        loop = asyncio.get_running_loop()
        with self._usable():
            done = loop.create_future()
            ticket.wake = lambda: _wake(loop, done)
            waiting = self._enqueue(ticket)
        if waiting:
            try:
                async with asyncio.timeout(self._wait_timeout):
                    await done
            except TimeoutError:
                self._expire(ticket)
        return _served(ticket)

    def _usable(self) -> threading.Lock:
        """The lock, if there is still something to do under it."""
        lock = self._own_lock()
        if self._closed:
            raise _closed(self.name)
        return lock

    def _own_lock(self) -> threading.Lock:
        """The lock, unless it is the parent's: one of its threads may have it for ever."""
        if self._forks != _forks:
            raise LibraryClosed(
                f"call {self.name}",
                "this process is a fork, and the pool belongs to its parent",
                hint="make a pool after the fork, once in each process",
            )
        return self._lock

    def _enqueue(self, ticket: Ticket) -> bool:
        """Put it at the end, and serve whom there is a worker for; whether it has to wait."""
        if self._closed:
            raise _closed(self.name)
        self._queue[ticket] = None
        self._serve_all()
        if ticket not in self._queue:
            return False
        self._start_again()
        error = self._missing(ticket) or self._own(ticket)
        if error is None and len(self._queue) <= self._waiting:
            return True
        del self._queue[ticket]
        if error is None:
            self._refused += 1
            others = len(self._queue)
            raise self._full(f"{others} wait already, and {self._waiting} may")
        raise error

    def _own(self, ticket: Ticket) -> NestedTooDeep | None:
        """The error if this thread would wait for itself."""
        wanted = self.members if ticket.only is None else [ticket.only]
        mine = [one.member for one in (self.held.call, *self.held.sessions) if one is not None]
        if all(member in mine for member in wanted):
            return NestedTooDeep(
                f"call {self.name}",
                "this thread has all workers that could make the call, and would wait for itself",
                hint="call through what session() gave; or give the pool more workers=",
            )
        return None

    def _full(self, happened: str) -> PoolFull:
        running = sum(member.running for member in self.members)
        ready = sum(member.functions is not None for member in self.members)
        return PoolFull(
            f"call {self.name}",
            f"{happened}; {running} calls run on {ready} workers of {len(self.members)}",
            hint="call less at once, or give the pool more workers=, waiting= or wait_timeout=",
        )

    def _expire(self, ticket: Ticket) -> None:
        with self._lock:
            if ticket in self._queue:
                del self._queue[ticket]
                self._refused += 1
                raise self._full(f"no worker was free within {self._wait_timeout} s")

    # ---- serving; all of this under the lock ----

    def _serve(self, ticket: Ticket) -> bool:
        """Give it a worker if one can take it."""
        while (member := self._choose(ticket)) is not None:
            self._free[member.running].remove(member)
            if _lost(member):
                self._replace(member)
                continue
            self._count(member, ticket.weight)
            ticket.member, ticket.functions = member, member.functions
            self._out += 1
            self._served += 1
            return True
        return False

    def _choose(self, ticket: Ticket) -> Member | None:
        for running in range(self.calls + 1 - ticket.weight):
            free = self._free[running]
            if ticket.only is None and free:
                return free[-1]
            if ticket.only in free:
                return ticket.only
        return None

    def _count(self, member: Member, calls: int) -> None:
        member.running += calls
        if member.running < self.calls:
            self._free[member.running].append(member)

    def _serve_all(self) -> None:
        for ticket in list(self._queue):
            if not any(self._free):
                return
            if self._serve(ticket):
                del self._queue[ticket]
                if ticket.wake is not None and not ticket.wake():
                    self._take_back(ticket)
            elif ticket.only is None:
                return  # it waits for a worker to become idle: nobody passes

    def _take_back(self, ticket: Ticket) -> Member | None:
        """The member that made the call; None if there was none, or it was replaced."""
        member = ticket.member
        if member is None:
            return None
        ticket.member = None
        self._out -= 1
        if member.functions is not ticket.functions:
            return None
        if member.running < self.calls:
            self._free[member.running].remove(member)
        self._count(member, -ticket.weight)
        return member

    def give_back(self, ticket: Ticket, *, failed: bool = False) -> None:
        """The caller is done, or no longer waits. ``failed``: the worker may be lost."""
        if self._forks != _forks:
            return  # the lock may be a parent's thread's, for ever
        with self._lock:
            self._queue.pop(ticket, None)
            member = self._take_back(ticket)
            if failed and member is not None and _lost(member):
                self._free[member.running].remove(member)
                self._replace(member)
            if self._queue:
                self._serve_all()
            if self._closed:
                self._changed.notify_all()

    # ---- replacing workers ----

    def _replace(self, member: Member) -> None:
        """Its worker is lost, and it is in no list of free ones."""
        functions = member.functions
        assert functions is not None
        member.functions, member.running = None, 0
        member.generation += 1
        self._lost += 1
        self._begin(member, functions.library)

    def _begin(self, member: Member, old: Library | None) -> None:
        member.starting, member.error = True, None
        name = f"libferry pool {self.name}"
        filling = threading.Thread(target=self._fill, args=(member, old), name=name, daemon=True)
        try:
            filling.start()
        except RuntimeError as failure:  # there is no room for a thread
            self._settle(member, failure)

    def _start_again(self) -> None:
        """Try once more those that could not be started some time ago."""
        for member in self.members:
            if member.error and time.monotonic() - member.tried > RETRY_SECONDS:
                self._begin(member, None)

    def _fill(self, member: Member, old: Library | None) -> None:
        """Start a worker: on a thread of its own."""
        if old is not None and old._ferry_session.state == "gone":
            # one that died between two calls has nobody else to tell of it
            explain.gone(old._ferry_session, f"replace a worker of {self.name}")
        library: Library | None = None
        error: Exception | None = None
        if not self._closed:
            try:
                library = self._start()
            except BaseException as failure:  # whatever it is: callers wait to be told
                error = failure if isinstance(failure, Exception) else _left(self.name, failure)
                events.log.warning("%s: no worker for the pool: %s", self.name, failure)
        with self._lock:
            unwanted = library if self._closed else None
            if self._closed or library is None:
                self._settle(member, error)
            else:
                member.starting = False
                member.functions = Functions(library)
                self._free[0].append(member)
                self._serve_all()
            self._changed.notify_all()
        if unwanted is not None:
            unwanted.close()
        if old is not None:
            old.close()
            if library is not None:
                events.restarted(self.name, old.pid, library.pid)

    def _settle(self, member: Member, error: Exception | None) -> None:
        """There will be no worker for now; under the lock."""
        member.starting = False
        member.error, member.tried = error, time.monotonic()
        self._fail(self._missing)

    def _missing(self, ticket: Ticket) -> Exception | None:
        """Why there is no worker that could ever serve it."""
        wanted = self.members if ticket.only is None else [ticket.only]
        return wanted[0].error if all(member.error for member in wanted) else None

    def _fail(self, reason: Callable[[Ticket], Exception | None]) -> None:
        """Send those away that wait in vain."""
        for ticket in list(self._queue):
            ticket.error = reason(ticket)
            if ticket.error is not None:
                del self._queue[ticket]
                if ticket.wake is not None:
                    ticket.wake()

    # ---- keys that stay with a worker ----

    def member_of(self, key: Hashable) -> Member:
        """The same for the same key, as long as the pool lives."""
        return self.members[hash(key) % len(self.members)]

    def meet(self, key: Hashable, member: Member) -> None:
        """A key's call begins.

        Raises:
            LibraryCrashed: its worker was replaced since the last one.
        """
        known = self._keys.get(key)
        self._keys[key] = member.generation
        if known not in (None, member.generation):
            raise LibraryCrashed(
                f"call {self.name} for {key!r:.80}",
                "its worker was lost since the last call for it, and with it what the library knew",
                hint="begin again: from the next call on it is a fresh worker",
            )

    def told(self, key: Hashable, member: Member) -> None:
        """A key's call failed, so it knows if its worker was lost."""
        self._keys[key] = member.generation

    def forget(self, key: Hashable) -> None:
        """Nothing is kept for that key any more."""
        self._keys.pop(key, None)

    # ---- the whole ----

    def stats(self) -> Stats:
        """How it is doing.

        Raises:
            LibraryClosed: it belongs to this process's parent.
        """
        with self._own_lock():
            return Stats(
                workers=len(self.members),
                ready=sum(member.functions is not None for member in self.members),
                running=sum(member.running for member in self.members),
                waiting=len(self._queue),
                calls=self._served,
                lost=self._lost,
                refused=self._refused,
            )

    @property
    def closed(self) -> bool:
        """Whether it takes no calls any more."""
        return self._closed or self._forks != _forks

    def close(self, *, wait: bool) -> None:
        """Take no more calls; end the workers, after the calls or under them.

        Raises:
            NestedTooDeep: it would wait for a call or a session of this thread.
        """
        if self._forks != _forks:
            return
        if wait and (self.held.call is not None or self.held.sessions):
            raise NestedTooDeep(
                f"close the pool of {self.name}",
                "this thread has one of its workers, and would wait for itself",
                hint="close it after the call or the session, or with close(wait=False)",
            )
        with self._lock:
            self._closed = True
            if not wait:
                self._fail(lambda ticket: _closed(self.name))
            while wait and (self._out or self._queue or self._any_starting()):
                self._changed.wait()
            libraries = [one.functions.library for one in self.members if one.functions is not None]
            for member in self.members:
                member.functions = None
            self._free = [[] for _ in range(self.calls)]
        # at once: one that is stuck in a call takes a moment to be ended
        threads = [threading.Thread(target=library.close) for library in libraries]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _any_starting(self) -> bool:
        return any(member.starting for member in self.members)


def _closed(name: str) -> LibraryClosed:
    return LibraryClosed(f"call {name}", "the pool is closed", hint="make a new one")


def _left(name: str, failure: BaseException) -> LoadError:
    """An initialiser's ``sys.exit()`` is no reason for the callers to exit."""
    return LoadError(
        f"start a worker for the pool of {name}",
        f"its initialiser raised {type(failure).__name__}",
        hint="an initialiser runs on a thread of the pool: let it raise an error that says why",
    )


def _served(ticket: Ticket) -> Functions:
    if ticket.error is not None:
        raise ticket.error
    assert ticket.functions is not None
    return ticket.functions


def _open(gate: threading.Lock) -> bool:
    gate.release()
    return True


def _wake(loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]) -> bool:
    """Tell a loop; False if it is closed."""

    def tell() -> None:
        if not done.done():
            done.set_result(None)

    try:
        loop.call_soon_threadsafe(tell)
    except RuntimeError:
        return False
    return True
