"""Start a worker and hand it its end of the channel.

A Linux worker inherits two descriptors, the socket and the memory, and is told
their numbers. Under Wine only the standard streams become handles, one-way each:
there the socket is both standard input and standard output, and the memory is
opened by its path in /proc. In both cases nothing else is inherited, and the worker
quits when the socket ends, however this process ends.
"""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from libferry import _core
from libferry.errors import FerryError, LibraryCrashed, NoRunner
from libferry.runtime import wine
from libferry.runtime.environment import child_environment
from libferry.runtime.runner import Runner
from libferry.sandbox.confine import Confinement

START_TIMEOUT_NS = 60 * 10**9  # Wine may have a prefix to update
QUIT_SECONDS = 1.0  # for destructors and atexit handlers; then it is killed


@contextmanager
def _above_streams(descriptor: int) -> Iterator[int]:
    """A copy that is none of the three standard streams.

    A process that was started with one of those closed is given its number for the
    next thing it opens; Popen would then put /dev/null there for the child.
    """
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    try:
        yield copy
    finally:
        os.close(copy)


@dataclass(frozen=True)
class Start:
    """All that a worker is started with: it can be done again, after a crash.

    Attributes:
        runner: what runs it.
        arena: bytes of memory that it shares with this process, whole pages.
        spin_ns: how long a caller looks for an answer before it sleeps.
        timeout_ns: how long a call may take; 0 is for ever.
        one_thread: whether its calls are made one after the other.
        confinement: its sandbox; None is none.
    """

    runner: Runner
    arena: int
    spin_ns: int
    timeout_ns: int
    one_thread: bool
    confinement: Confinement | None = None


class Worker:
    """A worker process and the session it serves."""

    def __init__(self, start: Start) -> None:
        """Start it and wait until it serves.

        Raises:
            NoRunner: it cannot be started, or dies before it serves.
            ArenaFull: this system gives no shared memory of that size.
        """
        self.start = start
        self.runner = runner = start.runner
        try:
            self.session = _core.Session(
                arena=start.arena,
                spin_ns=start.spin_ns,
                timeout_ns=start.timeout_ns,
                doorbell=runner.windows,
                one_thread=start.one_thread,
            )
        except OSError as error:
            raise NoRunner(
                f"make a channel with an arena of {start.arena:,} bytes",
                os.strerror(error.errno or 0),
                hint="ask for a smaller arena=",
            ) from None
        if runner.windows:
            wine.ensure_running()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._process = self._spawn(theirs)
            end = ours.detach()
            try:
                self.session.attach(self._process.pid, end, START_TIMEOUT_NS)
            except BaseException as error:
                self._process.kill()
                self._process.wait()
                if isinstance(error, LibraryCrashed):
                    raise self._failed(error.happened) from None
                if isinstance(error, OSError) and not isinstance(error, FerryError):
                    raise self._failed(str(error)) from None
                raise
        # with the session, which functions hold, and not with the library
        self._end = weakref.finalize(
            self.session, _end, weakref.ref(self.session), self._process, end, os.getpid()
        )

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def _spawn(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        environment = child_environment(self.runner.environment)
        try:
            if self.runner.windows:
                path = rf"\\?\unix\proc\{os.getpid()}\fd\{self.session.memory}"
                return subprocess.Popen(
                    [*self.runner.command, path],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    env=environment,
                    start_new_session=True,
                )
            with (
                _above_streams(theirs.fileno()) as end,
                _above_streams(self.session.memory) as memory,
            ):
                return subprocess.Popen(
                    [*self.runner.command, str(end), str(memory)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(end, memory),
                    env=environment,
                    start_new_session=True,
                )
        except OSError as error:
            raise self._failed(str(error)) from None

    def _failed(self, happened: str) -> NoRunner:
        return NoRunner(
            f"start a worker for {self.runner.abi} through {self.runner.through}",
            happened,
            hint="see what it says by hand: " + " ".join(self.runner.command),
        )

    def close(self) -> None:
        """Let the worker quit in good order; end it if it does not. Twice is fine."""
        self.session.close()
        self._end()


def _end(
    session: weakref.ref[_core.Session],
    process: subprocess.Popen[bytes],
    end: int,
    owner: int,
) -> None:
    """Let the worker quit and reap it; in the process that owns it.

    The collector tells of a session that it is about to unmake when nobody can close it
    any more; its end of the socket is still open then.
    """
    left = session()
    if left is not None:
        left.close()
    if os.getpid() != owner or process.returncode is not None:
        return
    if left is None:
        with suppress(OSError), socket.socket(fileno=os.dup(end)) as ours:
            ours.shutdown(socket.SHUT_WR)
    try:
        process.wait(QUIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        with suppress(subprocess.TimeoutExpired):  # somebody else traces it
            process.wait(QUIT_SECONDS)
