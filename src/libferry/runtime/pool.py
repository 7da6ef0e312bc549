"""``pool``: several workers of one library behind one object.

For a library that is not thread-safe, takes long, or crashes now and then: calls of any
threads go to whichever worker is free, and a worker that is lost is replaced while the
others go on. What a library keeps between calls, and what its pointers lead to, is one
worker's alone; ``session`` and ``sticky`` are for that. ``crew`` has the queue.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from libferry.contract import Signature
from libferry.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    LibraryClosed,
    SymbolNotFound,
)
from libferry.runtime.crew import Crew
from libferry.runtime.deadline import nanoseconds
from libferry.runtime.functions import Function
from libferry.runtime.library import Library
from libferry.runtime.loading import load
from libferry.runtime.options import check_kinds
from libferry.runtime.places import Functions, Member, Stats, Ticket
from libferry.runtime.telemetry import TracedFunction

MOST_CALLS = 48  # of a worker at once: a lane each, of 64, so that callbacks find one
WAITING = 100  # callers


def pool(
    path: str | os.PathLike[str],
    *,
    workers: int | None = None,
    calls: int = 1,
    waiting: int = WAITING,
    wait_timeout: float | None = None,
    **options: Any,
) -> Pool:
    """Open a native library in several workers, which share its calls.

    Args:
        path: the library, as for ``load``.
        workers: how many; by default one for each processor that this process may use.
        calls: how many a worker makes at once; more than one is for thread-safe libraries
            that wait a lot.
        waiting: how many callers may wait for a worker; one more gets ``PoolFull``.
        wait_timeout: seconds that each of them waits at most.
        options: all others are those of ``load``: ``header=``, ``timeout=`` of a call, …

    Raises:
        As ``load`` does, if the first worker cannot be started.
    """
    check_kinds("make a pool", path=path)
    name = Path(path).name
    if workers is None:
        workers = len(os.sched_getaffinity(0))
    _check(name, "workers", workers, 1, 1024)
    _check(name, "calls", calls, 1, MOST_CALLS)
    _check(name, "waiting", waiting, 0, 1 << 31)
    if wait_timeout != 0:  # which is: not at all
        nanoseconds(wait_timeout, f"make a pool of {name}", "wait_timeout")
    if options.setdefault("isolation", "worker") not in ("worker", "sandbox"):
        raise ArgumentTypeError(
            f"make a pool of {name}",
            f"isolation is {options['isolation']!r}, and a pool is of processes",
            hint="leave it away, or 'sandbox'; load() opens a library in this process",
        )
    if options.get("restart", "never") != "never":
        raise ArgumentTypeError(
            f"make a pool of {name}",
            "restart= is given, and a pool replaces its workers itself",
            hint="leave it away",
        )
    first = load(path, **options)
    # the declarations were read once; they are the same for all
    read = {"header": first._ferry_header, "contract": None, "include": (), "define": None}
    return Pool(
        Crew(
            name,
            first,
            partial(load, path, **(options | read)),
            workers=workers,
            calls=calls,
            waiting=waiting,
            wait_timeout=wait_timeout,
        ),
        first,
    )


def _check(name: str, what: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ArgumentValueError(
            f"make a pool of {name}",
            f"{what} is {value!r:.80}",
            hint=f"give a number from {least} to {most:,}",
        )


class Pool:
    """Several workers of one library. Made by ``pool``.

    The functions of its header are attributes; a call runs on a worker that is free. One
    from a callback runs on the worker that called back. A call that ends its worker raises
    what it would raise without a pool, and is not made again. ``with`` closes it at the end.

    Attributes:
        aio: its functions, to be awaited: ``await pool.aio.f(1, 2)``.
    """

    def __init__(self, crew: Crew, library: Library) -> None:
        self._crew = crew
        self._declared: Mapping[str, Signature] = library._ferry_header.functions
        self._constants = library._ferry_header.constants
        self.aio = PoolAio(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_crew" not in self.__dict__:
            raise AttributeError(name)
        if name not in self._declared and isinstance(self._constants.get(name), int | float | str):
            return self._constants[name]
        function = self.__dict__[name] = self[name]
        return function

    def __getitem__(self, name: str) -> PoolFunction:
        """The declared function of that name, even if a method has the same name."""
        self._signature(name)
        return PoolFunction(self._crew, name, self._declared[name])

    def _signature(self, name: str) -> Signature:
        if name not in self._declared:
            raise SymbolNotFound(
                f"call {name} of {self._crew.name}",
                "a pool has the functions that its header declares, and this is none",
                hint="declare it in header=; variables, buffers and callbacks are one worker's: "
                "with pool.session() as lib: ...",
            )
        return self._declared[name]

    @contextmanager
    def session(self) -> Iterator[Any]:
        """One worker for this caller alone: gives its ``Library`` until the ``with`` ends.

        If the worker is lost meanwhile, so is the session: its later calls say so. What the
        library still knows at the end, the next caller of that worker will meet.

        Raises:
            PoolFull: too many wait already, or it took too long.
        """
        ticket = Ticket(weight=self._crew.calls)
        held = self._crew.held.sessions
        lent = None
        try:
            lent = Lent(self._crew.take(ticket).library)
            held.append(ticket)
            yield lent
        finally:
            if lent is not None:
                object.__setattr__(lent, "_ferry_over", True)
            if ticket in held:
                held.remove(ticket)
            self._crew.give_back(ticket, failed=True)

    def sticky(self, key: Hashable) -> Sticky:
        """The pool with all calls on one worker: the same for the same key.

        If that worker is lost, the next call for the key says so, once; the calls after it
        are made by the one that takes its place.
        """
        try:
            member = self._crew.member_of(key)
        except TypeError:
            raise ArgumentTypeError(
                f"choose a worker of {self._crew.name}",
                f"{type(key).__name__} is no key: it cannot be hashed",
                hint="give a str, an int, or a tuple of such",
            ) from None
        return Sticky(self, key, member)

    def stats(self) -> Stats:
        """How many workers serve, how many callers wait, and so on, at this moment."""
        return self._crew.stats()

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._crew.closed

    def close(self, wait: bool = True) -> None:
        """End the workers: when all calls have returned, or with ``wait=False`` under them."""
        self._crew.close(wait=wait)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close(wait=kind is None or issubclass(kind, Exception))

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.stats().ready} workers ready"
        return f"<libferry.Pool {self._crew.name} ({state})>"


class PoolFunction:
    """A C function that any worker of a pool may run.

    Attributes:
        signature: the declaration.
    """

    def __init__(self, crew: Crew, name: str, signature: Signature) -> None:
        self.signature = signature
        self.__name__ = name
        self._crew = crew

    def __call__(self, *values: object) -> Any:
        """Call it on a worker that is free."""
        crew = self._crew
        held = crew.held
        if held.call is not None and held.call.functions is not None:
            return held.call.functions[self.__name__](*values)  # from a callback of that one
        ticket = Ticket()
        failed = True
        try:
            function = crew.take(ticket)[self.__name__]
            held.call = ticket
            result = function(*values)
            failed = False
            return result
        finally:
            held.call = None
            crew.give_back(ticket, failed=failed)

    def _through(self, use: Callable[[Any], Any]) -> Any:
        return _run(self._crew, self.__name__, Ticket(), use)

    def within(self, seconds: float | None) -> Callable[..., Any]:
        """The same function, whose calls may take ``seconds`` on the worker."""
        return lambda *values: self._through(lambda function: function.within(seconds)(*values))

    def map(self, *columns: Any, **options: Any) -> Any:
        """Over columns, on one worker."""
        return self._through(lambda function: function.map(*columns, **options))

    def batch(self, rows: Any) -> list[Any]:
        """Over tuples of arguments, on one worker."""
        result: list[Any] = self._through(lambda function: function.batch(rows))
        return result

    def __repr__(self) -> str:
        return f"<libferry.PoolFunction {self.signature}>"


def _run(crew: Crew, name: str, ticket: Ticket, use: Callable[[Any], Any]) -> Any:
    """Use a function on the worker that a ticket gets."""
    held = crew.held
    outer = held.call
    if outer is not None and outer.functions is not None and ticket.only in (None, outer.member):
        return use(outer.functions[name])
    failed = True
    try:
        function = crew.take(ticket)[name]
        held.call = ticket
        result = use(function)
        failed = False
        return result
    finally:
        held.call = outer
        crew.give_back(ticket, failed=failed)


class Sticky:
    """A pool whose calls all go to one worker. Made by ``Pool.sticky``.

    The pool remembers of each key that it was used, so that it can tell of a loss, until
    ``forget`` or the end of a ``with``.
    """

    def __init__(self, pool: Pool, key: Hashable, member: Member) -> None:
        self._pool = pool
        self._key = key
        self._member = member

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        self._pool._signature(name)
        return partial(self._call, name)

    def _call(self, name: str, *values: object) -> Any:
        crew = self._pool._crew

        def use(function: Any) -> Any:
            crew.meet(self._key, self._member)
            return function(*values)

        generation = self._member.generation
        ticket = Ticket(self._member)
        try:
            return _run(crew, name, ticket, use)
        except BaseException:
            if ticket.functions is not None and self._member.generation != generation:
                crew.told(self._key, self._member)
            raise

    def forget(self) -> None:
        """The key is done with: a loss of its worker need not be told."""
        self._pool._crew.forget(self._key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()


class Lent:
    """A library in a session: all that a ``Library`` has, until the session is over."""

    def __init__(self, library: Library) -> None:
        object.__setattr__(self, "_ferry_library", library)
        object.__setattr__(self, "_ferry_over", False)

    def _ferry_use(self) -> Library:
        if self._ferry_over:
            raise LibraryClosed(
                f"use {self._ferry_library.binary.path.name}",
                "the session is over, and its worker may be another's",
                hint="open one that lasts as long: with pool.session() as lib: ...",
            )
        library: Library = self._ferry_library
        return library

    def __getattr__(self, name: str) -> Any:
        return self._ferry_guard(getattr(self._ferry_use(), name))

    def __getitem__(self, name: str) -> Any:
        return self._ferry_guard(self._ferry_use()[name])

    def _ferry_guard(self, value: Any) -> Any:
        return LentFunction(self, value) if isinstance(value, Function | TracedFunction) else value

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._ferry_use(), name, value)

    def __contains__(self, name: object) -> bool:
        return name in self._ferry_use()

    def __dir__(self) -> list[str]:
        return dir(self._ferry_library)

    def __repr__(self) -> str:
        state = ", over" if self._ferry_over else ""
        return f"<session with {self._ferry_library!r}{state}>"


class LentFunction:
    """A function of a library in a session."""

    def __init__(self, lent: Lent, function: Function | TracedFunction) -> None:
        self._lent = lent
        self._function = function

    def __call__(self, *values: object) -> Any:
        """Call it, unless the session is over."""
        self._lent._ferry_use()
        return self._function(*values)

    def __getattr__(self, name: str) -> Any:
        self._lent._ferry_use()
        return getattr(self._function, name)

    def __repr__(self) -> str:
        return repr(self._function)


class PoolAio:
    """The functions of a pool, to be awaited. It is ``Pool.aio``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        if name.startswith("_"):
            raise AttributeError(name)
        self._pool._signature(name)
        crew = self._pool._crew

        async def call(*values: object) -> Any:
            ticket = Ticket()
            try:
                functions = await crew.take_async(ticket)
                running = asyncio.ensure_future(_await(functions, name, values))
            except BaseException:
                crew.give_back(ticket)
                raise
            # C cannot be called off: the worker is free when it has returned, whoever waits
            running.add_done_callback(lambda done: _returned(crew, ticket, done))
            return await asyncio.shield(running)

        call.__name__ = name
        self.__dict__[name] = call
        return call


async def _await(functions: Functions, name: str, values: tuple[object, ...]) -> Any:
    return await getattr(functions.library.aio, name)(*values)


def _returned(crew: Crew, ticket: Ticket, done: asyncio.Future[Any]) -> None:
    failed = done.cancelled() or done.exception() is not None
    crew.give_back(ticket, failed=failed)
