"""``map`` in a worker: pieces of each column go there and back through the arena.

While the worker is at one piece, the next ones are copied to it and the results of those
before are copied from it, so that copying takes no time of its own as long as it takes
less than the calls. The worker finds the next piece in a queue (``native/map.h``) and
need not be called for it. A column that lies in the arena is not copied at all.
"""

from __future__ import annotations

import os
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from libferry import _core
from libferry.errors import ChannelError
from libferry.runtime.pace import Pace

if TYPE_CHECKING:
    from libferry.runtime.bulk import Column, Job

QUEUE = 8  # MAP_QUEUE in map.h
SLOTS = 8  # pieces under way at most; it divides QUEUE
PIECE_BYTES = 1 << 20  # of all columns, results included; a slot has as many
_QUEUE = struct.Struct(f"<8xI116x{QUEUE}Q")  # struct ferry_queue
_OPEN = 0xFFFFFFFF  # its `end`: more may come

# How often a worker looks for the next piece: a quarter of a millisecond, about what the
# system takes to clear a huge page of the results.
LOOKS = 20_000

# Waiting for a piece: a call may have returned just before the piece was posted; the next
# one may call back, and is then waited for.
TURNS = 5

# A worker that has been called a few times in quick succession waits for the next call on
# a processor of its own; else it wakes up on ours, and the two would take turns.
WARM_CALLS = 9
WARM_ROWS = 2048
WORTH_WARMING = 1 << 17  # rows

Progress = Callable[[int, int], object]


class _Place:
    """Where one column, or the results, are for the worker."""

    def __init__(self, job: Job, column: Column, dtype: Any, rows: int) -> None:
        import numpy

        self.column = column
        session = job.function.session
        found = _in_arena(session, column) if column.dtype == dtype else None
        self.dense = column.flags.c_contiguous and column.dtype == dtype
        self.buffer: _core.Buffer | None = None
        if found is None:
            self.buffer = _core.Buffer(session, max(1, rows * dtype.itemsize), clear=False)
            self.copy: Column = numpy.frombuffer(memoryview(self.buffer), dtype)
            self.address, self.stride = self.buffer.address, dtype.itemsize
        else:
            self.address, self.stride = found, column.strides[0]

    def of_row(self, row: int) -> tuple[int, int]:
        """The worker's address of a piece that begins with ``row``, and the stride."""
        return (self.address + (0 if self.buffer else row * self.stride)), self.stride

    def fill(self, start: int, stop: int) -> None:
        if self.buffer is None:
            return
        if self.dense:
            _core.queue_copy(self.buffer, self.column[start:stop])
        else:
            self.copy[: stop - start] = self.column[start:stop]

    def take(self, start: int, stop: int) -> None:
        if self.buffer:
            self.column[start:stop] = self.copy[: stop - start]


def _in_arena(session: _core.Session, column: Column) -> int | None:
    """The worker's address of the first element, if the worker sees the whole column."""
    from numpy.lib.array_utils import byte_bounds

    assert session.channel is not None
    address, size = session.channel
    low, high = byte_bounds(column)
    if not len(column) or low < address or high > address + size:
        return None
    return session.base + column.ctypes.data - address


class _Slot:
    """Room for one piece of every column, and for what describes it."""

    def __init__(self, job: Job, rows: int) -> None:
        session = job.function.session
        self.job = job
        self.inputs = {
            n: _Place(job, column, job.dtype(n), rows) for n, column in job.columns.items()
        }
        self.out = None if job.flat is None else _Place(job, job.flat, job.flat.dtype, rows)
        self.copied = all(place.buffer for place in (*self.inputs.values(), self.out) if place)
        self.description = _core.Buffer(session, job.description_bytes())
        self.frame = _core.Buffer(session, job.frame_bytes())
        self.rows = -1  # that are described
        job.function.fill(self.frame, self.frame.address, job.constants)

    def fill(self, start: int, stop: int) -> None:
        """Copy the rows, and describe them."""
        for place in self.inputs.values():
            place.fill(start, stop)
        if self.copied and self.rows == stop - start:
            return
        columns = {n: place.of_row(start) for n, place in self.inputs.items()}
        inputs = self.job.inputs(columns, self.frame.address)
        out = self.out.of_row(start) if self.out else (0, 0)
        data = self.job.describe(stop - start, self.frame.address, inputs, out)
        memoryview(self.description)[: len(data)] = data
        self.rows = stop - start

    def take(self, start: int, stop: int) -> None:
        """Copy the results from there."""
        if self.out:
            self.out.take(start, stop)


class _Queue:
    """The pieces under way. Leaving it ends the call, whatever is left undone."""

    def __init__(self, job: Job, run: _core.Function, slots: list[_Slot]) -> None:
        self._job = job
        self._run = run
        self._slots = slots
        self._buffer = _core.Buffer(job.function.session, _QUEUE.size)
        addresses = [slots[n % len(slots)].description.address for n in range(QUEUE)]
        looks = LOOKS if len(os.sched_getaffinity(0)) > 1 else 0
        _QUEUE.pack_into(self._buffer, 0, looks, *addresses)
        self._pieces: deque[tuple[int, int]] = deque()
        self._posted = 0
        self._call: _core.Pending | None = None

    def __enter__(self) -> _Queue:
        return self

    def __exit__(self, *_: object) -> None:
        self.pause()

    def __len__(self) -> int:
        return len(self._pieces)

    def pause(self) -> None:
        """Let the worker do what is posted, and return."""
        _core.queue_post(self._buffer, self._posted, self._posted)
        call, self._call = self._call, None
        if call is not None:
            call.wait()

    def post(self, start: int, stop: int, *, last: bool = False) -> None:
        """Give a piece to the worker, which waits for another one unless it is the last."""
        self._slots[self._posted % len(self._slots)].fill(start, stop)
        self._pieces.append((start, stop))
        self._posted += 1
        _core.queue_post(self._buffer, self._posted, self._posted if last else _OPEN)
        if self._call is None:
            self._call = self._run.post(self._buffer)

    def take(self) -> int:
        """Wait for the oldest piece; how many rows are done."""
        number = self._posted - len(self._pieces)
        for _ in range(TURNS):
            if _core.queue_wait(self._buffer, number + 1, self._call):
                break
            if self._call is None:
                self._call = self._run.post(self._buffer)
            else:
                call, self._call = self._call, None
                call.wait()
        else:
            raise ChannelError(
                self._job.tried,
                "the worker says that it has done all rows, and has not",
                hint="the library has damaged or attacked its worker; load it again",
            )
        start, stop = self._pieces.popleft()
        self._slots[number % len(self._slots)].take(start, stop)
        return stop


def run_there(job: Job, run: _core.Function, progress: Progress | None) -> None:
    """Call the function for every row of ``job``; ``run`` is the worker's ``map_queue``."""
    if not job.rows:
        return
    room = job.function.session.arena_free // (2 * SLOTS)
    most = max(1, min(min(PIECE_BYTES, room) // max(1, job.row_bytes()), job.rows))
    pace = Pace(most)
    slots = [_Slot(job, most) for _ in range(SLOTS if job.rows > most else 1)]
    with _Queue(job, run, slots) as queue:

        def take() -> None:
            done = queue.take()
            if progress is not None:
                if job.function.session.lanes == 1:  # progress may call the library, too
                    queue.pause()
                progress(done, job.rows)

        def one(begin: int) -> int:
            """A piece for itself; where the next one begins."""
            end = min(begin + min(pace.rows, WARM_ROWS), job.rows)
            since = time.perf_counter()
            queue.post(begin, end, last=True)
            take()
            queue.pause()
            pace.took(end - begin, time.perf_counter() - since)
            return end

        begin = one(0)
        for _ in range(WARM_CALLS if job.rows >= WORTH_WARMING else 0):
            begin = one(begin)
        while begin < job.rows:
            end = min(begin + pace.rows, job.rows)
            if len(queue) == len(slots):
                take()
            queue.post(begin, end, last=end == job.rows)
            begin = end
        while len(queue):
            take()
