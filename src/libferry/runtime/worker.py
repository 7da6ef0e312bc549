"""Start a worker and hand it its end of the channel.

A Linux worker inherits two descriptors, the socket and the memory, and is told
their numbers. Under Wine only the standard streams become handles, one-way each:
there the socket is both standard input and standard output, and the memory is
opened by its path in /proc. In both cases nothing else is inherited, and the worker
quits when the socket ends, however this process ends.
"""

from __future__ import annotations

import os
import socket
import subprocess

from libferry import _core
from libferry.errors import FerryError, LibraryCrashed, NoRunner
from libferry.runtime import explain, wine
from libferry.runtime.runner import Runner

START_TIMEOUT_NS = 60 * 10**9  # Wine may have a prefix to update
QUIT_SECONDS = 1.0  # for destructors and atexit handlers; then it is killed

# Variables that would make the worker's loader load something into it.
_PRELOADS = ("LD_PRELOAD", "LD_AUDIT")


class Worker:
    """A worker process and the session it serves."""

    def __init__(self, runner: Runner, *, arena: int, spin_ns: int, timeout_ns: int) -> None:
        """Start it and wait until it serves.

        Raises:
            NoRunner: it cannot be started, or dies before it serves.
            ArenaFull: this system gives no shared memory of that size.
        """
        self.runner = runner
        self._owner = os.getpid()
        try:
            self.session = _core.Session(
                arena=arena, spin_ns=spin_ns, timeout_ns=timeout_ns, doorbell=runner.windows
            )
        except OSError as error:
            raise NoRunner(
                f"make a channel with an arena of {arena:,} bytes",
                os.strerror(error.errno or 0),
                hint="ask for a smaller arena=",
            ) from None
        if runner.windows:
            wine.ensure_running()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._process = self._start(theirs)
            try:
                self.session.attach(self._process.pid, ours.detach(), START_TIMEOUT_NS)
            except (FerryError, KeyboardInterrupt) as error:
                self._process.kill()
                self._process.wait()
                if isinstance(error, LibraryCrashed):
                    raise self._failed(error.happened) from None
                raise

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def _start(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        environment = {k: v for k, v in os.environ.items() if k not in _PRELOADS}
        environment.update(self.runner.environment)
        end, memory = theirs.fileno(), self.session.memory
        try:
            if self.runner.windows:
                path = rf"\\?\unix\proc\{os.getpid()}\fd\{memory}"
                return subprocess.Popen(
                    [*self.runner.command, path],
                    stdin=end,
                    stdout=end,
                    env=environment,
                    start_new_session=True,
                )
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
            hint="libferry doctor shows what this machine can host; by hand: "
            + " ".join(self.runner.command),
        )

    def crash(self, tried: str, hint: str | None = None) -> LibraryCrashed:
        """Describe how the worker ended."""
        return explain.crash(self.session, tried, hint)

    def close(self) -> None:
        """Let the worker quit in good order; end it if it does not. Twice is fine."""
        self.session.close()
        if os.getpid() != self._owner or self._process.returncode is not None:
            return
        try:
            self._process.wait(QUIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.session.kill()
            self._process.wait()
