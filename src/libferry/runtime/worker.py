"""Start a worker and hand it its end of the channel.

A Linux worker gets two descriptors, the socket and the memory, and is told their
numbers; and the sealed copy of its library, if that is what it is to open. Under Wine only
the standard streams become handles, one-way each: there the socket is both standard input
and standard output, and the memory is opened by its path in /proc. In both cases nothing
else is inherited, and the worker quits when the socket ends, however this process ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import starmap
from pathlib import Path

from libferry import _core
from libferry.errors import FerryError, LibraryCrashed, NoRunner, SandboxViolation
from libferry.guard.sealed import Sealed, own_descriptor
from libferry.runtime import crash, dumps, events, output, wine
from libferry.runtime.environment import child_environment
from libferry.runtime.output import Output, Pipes
from libferry.runtime.process import Process
from libferry.runtime.runner import Runner
from libferry.sandbox.confine import Confinement

START_TIMEOUT_NS = 60 * 10**9  # Wine may have a prefix to update
SOCKET, MEMORY, LIBRARY = 3, 4, 5  # a Linux worker's descriptors, beside its standard streams
LIBRARY_PLACE = own_descriptor(LIBRARY)  # the path by which it opens the sealed copy
QUIT_SECONDS = 1.0  # for destructors and atexit handlers; then it is killed


# Sockets of workers that other threads are starting. A worker lives as long as somebody
# has the other end of its socket, so a fork lets go of them.
_starting: set[socket.socket] = set()


@contextmanager
def _kept_from_forks(*ends: socket.socket) -> Iterator[None]:
    _starting.update(ends)
    try:
        yield
    finally:
        _starting.difference_update(ends)


def _let_go() -> None:
    while _starting:
        _starting.pop().close()


os.register_at_fork(after_in_child=_let_go)


@dataclass(frozen=True)
class Start:
    """All that a worker is started with: it can be done again, after a crash.

    Attributes:
        runner: what runs it.
        arena: bytes of memory that it shares with this process, whole pages.
        spin_ns: how long a caller looks for an answer before it sleeps.
        timeout_ns: how long a call may take; 0 is for ever.
        one_thread: whether its calls are made one after the other.
        output: where goes what it writes to its standard streams.
        confinement: its sandbox; None is none.
        dump: the folder that its crash is kept in; None is none.
        sealed: the copy of its library that it opens instead of the file; None is none.
    """

    runner: Runner
    arena: int
    spin_ns: int
    timeout_ns: int
    one_thread: bool
    output: Output = field(default_factory=lambda: Output("worker"))
    confinement: Confinement | None = None
    dump: Path | None = None
    sealed: Sealed | None = None


def _is_inherited(descriptor: int) -> bool:
    """Whether this process has that standard stream.

    One that was started without is given its number for the next thing it opens, such as
    our own end of the socket: with that a worker would never learn of our end. What
    Python opens is not inheritable.
    """
    try:
        return os.get_inheritable(descriptor)
    except OSError:
        return False


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
        crash.begin(self.session, runner.abi, start.sealed)
        if runner.windows:
            wine.ensure_running()
        began = time.perf_counter()
        # under Wine its standard output is the socket; the library's is standard error
        both = start.output.both and not runner.windows
        self._pipes = pipes = start.output.open(("stdout", "stderr") if both else ("stderr",))
        output.belongs(self.session, pipes)
        ours, theirs = socket.socketpair()
        with ours, theirs, _kept_from_forks(ours, theirs):
            born: list[tuple[int, int, int]] = []
            try:
                self._process, listener = self._spawn(theirs, born)
                _starting.discard(ours)  # from here on the session looks after it
                end = ours.detach()
            except BaseException:
                _end_newborn(born)
                raise
            finally:
                pipes.started()
            try:
                self.session.attach(
                    self._process.pid,
                    end,
                    START_TIMEOUT_NS,
                    listener=listener,
                    policy=start.confinement.policy if start.confinement else b"",
                )
                # with the session, which functions hold, and not with the library
                self._end = weakref.finalize(
                    self.session,
                    _end,
                    weakref.ref(self.session),
                    self._process,
                    end,
                    pipes,
                    os.getpid(),
                )
            except BaseException as error:
                self._process.kill()
                self._process.wait()
                pipes.finish()
                if isinstance(error, LibraryCrashed) and not isinstance(error, SandboxViolation):
                    raise self._failed(error.happened) from None
                if isinstance(error, OSError) and not isinstance(error, FerryError):
                    raise self._failed(str(error)) from None
                raise
        if start.dump:
            dumps.watch(self.session, start.dump, start.output.name, self.pid)
        seconds = time.perf_counter() - began
        events.started(self.session, start.output.name, self.pid, runner, seconds)

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def _spawn(
        self, theirs: socket.socket, born: list[tuple[int, int, int]]
    ) -> tuple[Process | subprocess.Popen[bytes], int]:
        """The process, and the listener of its filter or -1.

        Args:
            theirs: its end of the socket.
            born: is told of the process as soon as there is one.
        """
        streams = self._pipes.child
        confinement = self.start.confinement
        environment = child_environment(self.runner.environment)
        if confinement:
            environment = dict(confinement.environment)
            confinement.watch(self.session)
        memory = self.session.memory
        try:
            if self.runner.windows:
                path = rf"\\?\unix\proc\{os.getpid()}\fd\{memory}"
                process = subprocess.Popen(
                    [*self.runner.command, path],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=streams[2],
                    env=environment,
                    start_new_session=True,
                )
                return process, -1
            program, *options = self.runner.command
            words = (shutil.which(program) or program, *options, str(SOCKET), str(MEMORY))
            wanted = (
                [os.fsencode(word) for word in words],
                [os.fsencode(f"{name}={value}") for name, value in environment.items()],
                # a terminal can be typed to: a sandbox has none
                {SOCKET: theirs.fileno(), MEMORY: memory}
                | ({1: 1} if not confinement and _is_inherited(1) else {})
                | ({LIBRARY: self.start.sealed.descriptor} if self.start.sealed else {})
                | streams,
                confinement.plan if confinement else None,
            )
            # one step of the interpreter: Ctrl-C comes before it, or finds the child noted
            born.extend(starmap(_core.spawn, (wanted,)))
            pid, pidfd, listener = born[0]
            return Process(pid, pidfd), listener
        except OSError as error:
            if confinement and isinstance(error, _core.SpawnError) and error.step is not None:
                raise confinement.refused(error) from error
            raise self._failed(str(error)) from error

    def _failed(self, happened: str) -> NoRunner:
        return NoRunner(
            f"start a worker for {self.runner.abi} through {self.runner.through}",
            happened,
            hint="see what it says by hand: " + " ".join(self.runner.command),
        )

    def reap(self) -> bool:
        """Let the system forget the worker if it is gone; whether it is."""
        gone = self._process.poll() is not None
        if gone:
            self._pipes.finish(wait=False)
        return gone

    def close(self) -> None:
        """Let the worker quit in good order; end it if it does not. Twice is fine."""
        if self.start.confinement:
            self.start.confinement.leave(self.session)
        self.session.close()
        self._end()
        self.start = replace(self.start, sealed=None)


def _end_newborn(born: list[tuple[int, int, int]]) -> None:
    """End a child that nobody has taken over. The descriptor of it is for its Process to close."""
    for pid, _, listener in born:
        if listener >= 0:
            os.close(listener)
        os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):  # SIGCHLD is ignored
            os.waitpid(pid, 0)


def _end(
    session: weakref.ref[_core.Session],
    process: Process | subprocess.Popen[bytes],
    end: int,
    pipes: Pipes,
    owner: int,
) -> None:
    """Let the worker quit and reap it; in the process that owns it.

    The collector tells of a session that it is about to unmake when nobody can close it
    any more; its end of the socket is still open then.
    """
    left = session()
    if left is not None:
        left.close()
    if os.getpid() != owner:
        return
    if left is None and process.returncode is None:
        with suppress(OSError), socket.socket(fileno=os.dup(end)) as ours:
            ours.shutdown(socket.SHUT_WR)
    try:
        process.wait(QUIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        with suppress(subprocess.TimeoutExpired):  # somebody else traces it
            process.wait(QUIT_SECONDS)
    pipes.finish()
    events.ended(pipes.library, process.pid, process.returncode)
