"""A worker in reserve: started, and waiting to be given a library.

It is made by a thread of its own, and there is no lock: a fork in the middle would leave
it locked for ever. Whoever takes the worker out of the queue has it.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque

from libferry.errors import FerryError
from libferry.runtime.worker import Start, Worker

CALM = 0.05  # seconds to let the callers go on before starting a process beside them


class Spare:
    """At most one started worker, made when it is asked for and kept until it is taken.

    Attributes:
        closed: whether no more are wanted.
    """

    def __init__(self, start: Start) -> None:
        self._start = start
        self._ready: deque[Worker] = deque()
        self._making: threading.Thread | None = None
        self.closed = False

    def prepare(self) -> None:
        """Begin to make one, unless there is one."""
        making = self._making is not None and self._making.is_alive()
        if self._ready or making or self.closed:
            return
        self._making = threading.Thread(
            target=_make, args=(self._start, weakref.ref(self)), name="libferry spare", daemon=True
        )
        self._making.start()

    def take(self) -> Worker | None:
        """The worker, if it is ready and alive."""
        while self._ready:
            try:
                worker = self._ready.popleft()
            except IndexError:  # another thread was quicker
                return None
            if worker.session.state == "usable" and not worker.reap():
                return worker
            worker.close()
        return None

    def close(self) -> None:
        """End it, and make no more. Twice is fine."""
        self.closed = True
        worker = self.take()
        if worker is not None:
            worker.close()

    def keep(self, worker: Worker) -> None:
        """Have this one in reserve."""
        self._ready.append(worker)
        if self.closed:
            self.close()


def _make(start: Start, owner: weakref.ref[Spare]) -> None:
    time.sleep(CALM)
    if not _wanted(owner()):
        return
    try:
        worker = Worker(start)
    except FerryError:  # it is said when one is needed
        return
    spare = owner()
    if spare is None:
        worker.close()
    else:
        spare.keep(worker)


def _wanted(spare: Spare | None) -> bool:
    return spare is not None and not spare.closed
