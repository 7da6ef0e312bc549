"""A host double: the other side of a worker's channel, one step at a time.

It writes a request and looks at the reply, as native/channel.h says, and knows
nothing of waiting: it never parks, and wakes the worker after every request.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from libferry.runtime.runner import WORKERS

# native/channel.h
MAGIC, VERSION = 0x59525246, 3
LANES, GUESTS, DEPTH = 64, 16, 64
HEADER, FAULT_AREA = 4096, 49 * 4096
LANES_OFFSET = HEADER + FAULT_AREA
FRAME_SIZE = 16384
ARENA = LANES_OFFSET + (LANES + GUESTS) * DEPTH * FRAME_SIZE
OPEN, SYMBOL, LENGTH, COPY, ERRNO_OF, CALLBACK, MAP = range(7)
BACK = 2
# native/frame.h
REPLY, ERRNO, RESULT, REQUEST, STACK_BYTES, FUNCTION, INTEGER = 0, 4, 16, 64, 68, 72, 80

FUTEX, FUTEX_WAKE = 202, 1  # x86-64; include/uapi/linux/futex.h

GIVE_UP_SECONDS = 30


class WorkerEnded(Exception):
    """The worker has left; the argument is its exit code (negative: a signal)."""


class Host:
    """A worker for this CPU, and its channel."""

    def __init__(self, spin_ns: int = 0) -> None:
        size = ARENA + (1 << 16)
        memory = os.memfd_create("channel")
        os.truncate(memory, size)
        self.memory = mmap.mmap(memory, size)
        self.words = memoryview(self.memory).cast("I")
        self.base_here = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        struct.pack_into("<IIIIQ", self.memory, 0, MAGIC, VERSION, spin_ns, 0, size)
        self.numbers = [0] * (LANES + GUESTS)
        self.arena = ARENA
        self.doorbell, theirs = socket.socketpair()
        with theirs:
            arguments = [str(theirs.fileno()), str(memory)]
            self.process = subprocess.Popen(
                [str(WORKERS / "worker-x86_64-sysv"), *arguments],
                pass_fds=(theirs.fileno(), memory),
            )
        os.close(memory)
        self.post(0, 0)
        self.reply(0)
        self.base, *self.services = struct.unpack_from("<9Q", self.memory, 24)

    def __enter__(self) -> Host:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        self.doorbell.close()

    def frame(self, lane: int, depth: int) -> int:
        """Where a frame lies in the channel."""
        return LANES_OFFSET + (lane * DEPTH + depth) * FRAME_SIZE

    def post(
        self, lane: int, depth: int, function: int = 0, integers: Sequence[int] = (), back: int = 0
    ) -> None:
        """Hand over a call (or, with BACK, a callback's return) at that depth."""
        at = self.frame(lane, depth)
        if not back:
            struct.pack_into("<HBBQ", self.memory, at + STACK_BYTES, 0, 0, 0, function)
            struct.pack_into(f"<{len(integers)}q", self.memory, at + INTEGER, *integers)
        self.numbers[lane] += 1
        request = self.frame(lane, 0) + REQUEST
        self.words[request // 4] = self.numbers[lane] << 8 | depth << 2 | back
        libc = ctypes.CDLL(None)
        libc.syscall(FUTEX, ctypes.c_void_p(self.base_here + request), FUTEX_WAKE, 1, None, None, 0)

    def start(self, lane: int) -> None:
        """Have the worker start a thread for a lane."""
        self.doorbell.send(bytes([lane]))

    def replied(self, lane: int) -> tuple[int, int] | None:
        """(depth, BACK or 0) of the reply to the last request, if there is one."""
        word = self.words[(self.frame(lane, 0) + REPLY) // 4]
        return (word >> 2 & 63, word & BACK) if word >> 8 == self.numbers[lane] else None

    def reply(self, *lanes: int) -> tuple[int, int, int]:
        """Wait for the first of these lanes that has a reply: (lane, depth, BACK or 0).

        Raises:
            WorkerEnded: it will not come.
        """
        for _ in range(GIVE_UP_SECONDS * 10000):
            for lane in lanes:
                if (found := self.replied(lane)) is not None:
                    return (lane, *found)
            if (code := self.process.poll()) is not None:
                raise WorkerEnded(code)
            time.sleep(0.0001)
        raise AssertionError("neither a reply nor the worker's end")

    def integer(self, lane: int, depth: int, cell: int = 0) -> int:
        """An argument of the callback at that depth."""
        at = self.frame(lane, depth) + INTEGER + 8 * cell
        return int(struct.unpack_from("<q", self.memory, at)[0])

    def function(self, lane: int, depth: int) -> int:
        """Which callback it is."""
        return int(struct.unpack_from("<Q", self.memory, self.frame(lane, depth) + FUNCTION)[0])

    def result(self, lane: int, depth: int) -> int:
        return int(struct.unpack_from("<q", self.memory, self.frame(lane, depth) + RESULT)[0])

    def errno(self, lane: int, depth: int) -> int:
        return int(struct.unpack_from("<i", self.memory, self.frame(lane, depth) + ERRNO)[0])

    def answer(self, lane: int, depth: int, result: int) -> None:
        """Return from the callback at that depth."""
        struct.pack_into("<q", self.memory, self.frame(lane, depth) + RESULT, result)
        self.post(lane, depth, back=BACK)

    def call(self, function: int, *integers: int, lane: int = 0, depth: int = 0) -> int:
        """Call a function that does not call back, and wait for its result."""
        self.post(lane, depth, function, integers)
        assert self.reply(lane) == (lane, depth, 0)
        return self.result(lane, depth)

    def put(self, data: bytes) -> int:
        """Copy bytes to the arena; their address in the worker."""
        at = self.arena
        self.memory[at : at + len(data)] = data
        self.arena += (len(data) + 63) // 64 * 64
        return int(self.base) + at

    def library(self, path: Path) -> dict[str, int]:
        """Open a library; its symbols' addresses."""
        handle = self.call(self.services[OPEN], self.put(bytes(path) + b"\0"), 0, 0)
        assert handle, "the library was not opened"
        return _Symbols(self, handle)

    def callback(self, number: int) -> int:
        """Make callback `number` lead here: int64_t (int64_t). Its address."""
        # struct ferry_callback: no stack arguments, and nothing beyond the host's line
        plan = self.put(struct.pack("<HHHBBII", 0, 128, 0, 0, 0, 0, 0))
        return self.call(self.services[CALLBACK], number, plan)

    def fault(self) -> tuple[int, int, int]:
        """(happened, code, address) of the fault record."""
        happened, code, address = struct.unpack_from("<IIQ", self.memory, 24 + 8 + 8 * 8)
        return happened, code, address


class _Symbols(dict[str, int]):
    def __init__(self, host: Host, handle: int) -> None:
        super().__init__()
        self.host, self.handle = host, handle

    def __missing__(self, name: str) -> int:
        text = self.host.put(name.encode() + b"\0")
        self[name] = self.host.call(self.host.services[SYMBOL], self.handle, text)
        assert self[name], f"no {name}"
        return self[name]
