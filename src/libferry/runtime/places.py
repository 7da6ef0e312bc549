"""A pool's places for workers, and what a caller has of one while it has it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from libferry.runtime.library import Library


class Functions(dict[str, Any]):
    """The functions of one worker's library, by name, as they are used."""

    def __init__(self, library: Library) -> None:
        super().__init__()
        self.library = library

    def __missing__(self, name: str) -> Any:
        function = self[name] = self.library[name]
        return function


class Member:
    """A worker's place in the pool; ``functions`` is None until it serves."""

    def __init__(self) -> None:
        self.functions: Functions | None = None
        self.running = 0  # calls now
        self.generation = 0  # how often the worker was lost
        self.starting = False
        self.error: Exception | None = None  # why it could not be started
        self.tried = 0.0  # when


class Ticket:
    """A caller's, from asking for a worker to giving it back."""

    __slots__ = ("error", "functions", "member", "only", "wake", "weight")

    def __init__(self, only: Member | None = None, weight: int = 1) -> None:
        self.only = only
        self.weight = weight  # of the calls that a worker makes at once
        self.member: Member | None = None
        self.functions: Functions | None = None
        self.error: Exception | None = None
        self.wake: Callable[[], bool] | None = None


class Held(threading.local):
    """What this thread has of the pool: the call that it is in, and sessions."""

    def __init__(self) -> None:
        self.call: Ticket | None = None
        self.sessions: list[Ticket] = []


@dataclass(frozen=True)
class Stats:
    """The numbers of a pool.

    Attributes:
        workers: how many it is to have.
        ready: how many serve now; the others are being started, or cannot be.
        running: calls now; a session counts as all that its worker could make.
        waiting: callers that wait for a worker now.
        calls: calls and sessions so far.
        lost: workers that were lost so far.
        refused: callers that got ``PoolFull`` so far.
    """

    workers: int
    ready: int
    running: int
    waiting: int
    calls: int
    lost: int
    refused: int
