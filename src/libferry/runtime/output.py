"""What a library writes to its standard streams.

A worker's standard error is a pipe to this process. What comes is passed on, unchanged
and at once, to this process's own standard error, and the last lines are kept for the
error of a crash. With ``output=`` it goes elsewhere, and standard output comes along.

Nothing here is on the way of a call. One thread reads the pipes of all workers; a user's
callable, or a handler of ``logging``, may take its time, so such a library has a thread
of its own. Whoever is not read blocks on its full pipe, 64 KiB, and nobody else does.
Three oddities:

- Descriptor 2 need not be standard error: in a process that was started without one it
  is the next file that was opened. So it gets what a child would have inherited, and
  nothing if it is closed on exec.
- A child of the library may keep the pipe open for ever. So the end of a worker counts,
  not the end of its pipe.
- What was written before a call returned, or before a death, is in the pipe by then.
  Whoever asks reads it there, and need not wait for the thread.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import logging
import os
import select
import signal
import struct
import termios
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Literal, NamedTuple, overload

from libferry import _core
from libferry.errors import ArgumentTypeError

KEPT = 50  # lines, for the error of a crash
CAPTURED = 10_000  # lines, of output="capture"
LINE = 4096  # bytes; a longer line is given in pieces
CHUNK = 1 << 16  # a pipe's capacity; pipe(7)
MOST = 1 << 20  # bytes taken and not delivered: /proc/sys/fs/pipe-max-size; pipe(7)
# A pipe that poll calls writable takes this much at once; PIPE_BUF, pipe(7)
PIECE = select.PIPE_BUF
FLUSH_SECONDS = 0.5  # for the last lines of a worker that has ended

STDERR = 2
_LEVELS = {"stdout": logging.INFO, "stderr": logging.WARNING}

Tell = Callable[[str, str], object]
Wish = Literal["capture", "log"] | Tell | None


class Line(NamedTuple):
    """A line that a library wrote, without its end."""

    stream: str
    text: str


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode(errors="replace")


class Lines(Sequence[Line]):
    """The last lines of a library, oldest first, up to ``most``."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._lines: deque[tuple[str, bytes]] = deque(maxlen=most)

    def _add(self, stream: str, lines: Iterable[bytes]) -> None:
        self._lines.extend(zip(itertools.repeat(stream), lines))

    def _now(self) -> list[Line]:
        return [Line(stream, _text(line)) for stream, line in self._lines.copy()]

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> Line: ...
    @overload
    def __getitem__(self, index: slice) -> list[Line]: ...
    def __getitem__(self, index: int | slice) -> Line | list[Line]:
        return self._now()[index]

    def __iter__(self) -> Iterator[Line]:
        """Those that are there now, whatever comes meanwhile."""
        return iter(self._now())

    def clear(self) -> None:
        """Forget them."""
        self._lines.clear()

    def __repr__(self) -> str:
        return f"<libferry.Lines: {len(self)}>"


def short_name(file: str) -> str:
    """The name of a library by which it is logged: its file's up to the first dot."""
    return file.split(".")[0] or file


class Output:
    """Where that of one library goes; the same for all of its workers.

    Attributes:
        name: the library's name, for loggers: that of its file up to the first dot.
        lines: those that were kept.
        tell: whom each line is told, or None.
        both: whether standard output is read, too.
        passed_on: whether it goes to this process's standard error.
    """

    def __init__(self, file: str, wish: Wish = None) -> None:
        self.name = short_name(file)
        self.lines = Lines(CAPTURED if wish == "capture" else KEPT)
        self.both = wish is not None
        self.passed_on = wish is None
        self.tell: Tell | None = None
        if wish == "log":
            self.tell = partial(_log, logging.getLogger(f"libferry.output.{self.name}"))
        elif callable(wish):
            self.tell = wish
        elif wish not in ("capture", None):
            raise ArgumentTypeError(
                f"load {file}",
                f"output is {wish!r:.80}",
                hint="'capture', 'log', or a callable that takes (stream, line)",
            )
        self.reader = _everybody if self.tell is None else Reader(f"libferry output {self.name}")

    def open(self, streams: Sequence[str]) -> Pipes:
        """The pipes of one more worker."""
        return Pipes(self, streams)


def _log(logger: logging.Logger, stream: str, line: str) -> None:
    logger.log(_LEVELS[stream], "%s", line)


class _Stream:
    """This end of one pipe."""

    def __init__(self, name: str, descriptor: int, output: Output) -> None:
        self.name = name
        self.descriptor = descriptor
        self.done = threading.Event()
        self.last: deque[bytes] = deque(maxlen=KEPT)
        # the collector may call close() from within any of these methods
        self.lock = threading.RLock()
        self._lines = output.lines
        self._passed_on = output.passed_on
        # weak: what is told is often a method of an object that has the library, and a
        # thread, or the end that a worker waits for, must not keep that alive
        self._told = weakref.ref(output) if output.tell is not None else None
        self._rest = b""  # of a line that has not ended yet
        self._pending: deque[bytes] = deque()  # chunks to pass on, or lines to tell
        self._size = 0

    @property
    def blocked(self) -> bool:
        """Whether something is left to deliver; meanwhile nothing is read."""
        return bool(self._pending)

    @property
    def over(self) -> bool:
        return self.descriptor < 0 and not self._pending

    def read(self, most: int = CHUNK) -> None:
        """Take what is there."""
        with self.lock:
            while most > 0 and self.descriptor >= 0 and self._size < MOST:
                try:
                    data = os.read(self.descriptor, min(most, CHUNK))
                except BlockingIOError:
                    return
                if not data:
                    self._shut()
                    return
                self._take(data)
                most -= len(data)

    def drain(self) -> None:
        """Take what was written up to now, and not what a child goes on writing."""
        with self.lock:
            if self.descriptor >= 0:
                there = fcntl.ioctl(self.descriptor, termios.FIONREAD, bytes(4))
                self.read(struct.unpack("i", there)[0])

    def close(self) -> None:
        """Take the rest, and let go of the pipe."""
        with self.lock:
            self.drain()
            self._shut()

    def _shut(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
            if self._rest:
                self._keep([self._rest])
                self._rest = b""

    def _take(self, data: bytes) -> None:
        if self._told is None:  # those before are too old at once
            *lines, rest = (self._rest + data).rsplit(b"\n", self._lines.most)
            lines = lines[-self._lines.most :]
        else:
            *lines, rest = (self._rest + data).split(b"\n")
        if max(map(len, (rest, *lines))) > LINE:
            lines = [piece for line in lines for piece in _pieces(line)]
            *more, rest = _pieces(rest)
            lines += more
        self._rest = rest
        if self._passed_on:
            self._pending.append(data)
            self._size += len(data)
        self._keep(lines)

    def _keep(self, lines: list[bytes]) -> None:
        self.last.extend(lines)
        self._lines._add(self.name, lines)
        if self._told is not None:
            self._pending.extend(lines)
            self._size += sum(len(line) + 1 for line in lines)

    def lines(self) -> tuple[str, ...]:
        """The last ones, and what there is of one more."""
        with self.lock:
            rest = [self._rest] if self._rest else []
            return tuple(_text(line) for line in [*self.last, *rest][-KEPT:])

    def deliver(self) -> None:
        """Bring it where it goes, as far as that goes without waiting for a pipe."""
        while self._pending:
            part = self._pending[0]
            if self._told is not None:
                self._tell(self._told(), _text(part))
                done = size = len(part) + 1
            else:
                done, size = _to_stderr(part), len(part)
            with self.lock:
                self._size -= done
                if done == size:
                    self._pending.popleft()
                else:
                    self._pending[0] = part[done:]
            if not done:
                return

    def _tell(self, output: Output | None, line: str) -> None:
        if output is None or output.tell is None:
            return  # the library is gone
        try:
            output.tell(self.name, line)
        except BaseException as error:  # nobody is here whom it could end
            output.reader.report(error)

    def forget(self) -> None:
        """In the child of a fork: it is the parent's."""
        self.lock = threading.RLock()
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1
        self._pending = deque()
        self.done.set()


def _pieces(line: bytes) -> list[bytes]:
    return [line[at : at + LINE] for at in range(0, max(len(line), 1), LINE)]


def _to_stderr(data: bytes) -> int:
    """Write some of it to standard error; how much of it is dealt with."""
    try:
        if fcntl.fcntl(STDERR, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
            return len(data)  # something else that got its number
        poll = select.poll()
        poll.register(STDERR, select.POLLOUT)
        return os.write(STDERR, data[:PIECE]) if poll.poll(0) else 0
    except BlockingIOError:
        return 0
    except OSError:  # closed, or nobody reads it any more
        return len(data)


class Reader:
    """A thread that reads pipes, as long as there are any."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.RLock()
        self._streams: list[_Stream] = []
        # Wakes the thread. Once there is one it stays, so that ringing needs no lock: the
        # collector may close a library in the middle of anything, as in a thread that add()
        # has just started and, with the lock held, waits for.
        self._bell = -1
        self._thread: threading.Thread | None = None
        self._reported = False
        _readers.add(self)

    def add(self, streams: Iterable[_Stream]) -> None:
        """Read these, too."""
        with self._lock:
            self._streams += streams
            if self._bell < 0:
                self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                self._hang_up = weakref.finalize(self, os.close, self._bell)
                self._hang_up.atexit = False  # until the very end somebody may ring
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                try:
                    self._thread.start()
                except RuntimeError as error:
                    raise OSError(errno.EAGAIN, str(error)) from None
            self.ring()

    def ring(self) -> None:
        """Have the thread look again."""
        if self._bell >= 0:
            os.eventfd_write(self._bell, 1)

    @property
    def here(self) -> bool:
        """Whether this is the thread itself."""
        return threading.current_thread() is self._thread

    def report(self, error: BaseException) -> None:
        """Tell of an exception of the user's callable; of the first one."""
        if not self._reported:
            self._reported = True
            kind, thread = type(error), threading.current_thread()
            threading.excepthook(
                threading.ExceptHookArgs((kind, error, error.__traceback__, thread))
            )

    def _run(self) -> None:
        # a write to a pipe that nobody reads must be an error, whatever the program does
        # with the signal; a callable may start programs, which would inherit this
        if self is _everybody:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
        while streams := self._left():
            poll = select.poll()
            poll.register(self._bell, select.POLLIN)
            for stream in streams:
                if stream.blocked:
                    poll.register(STDERR, select.POLLOUT)
                elif (descriptor := stream.descriptor) >= 0:  # another thread may close it
                    poll.register(descriptor, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._bell in ready:
                os.eventfd_read(self._bell)
            for stream in streams:
                if stream.descriptor in ready and not stream.blocked:
                    stream.read()
                stream.deliver()

    def _left(self) -> list[_Stream]:
        """What is still to be read or delivered; if it is nothing, the thread ends."""
        with self._lock:
            over = [stream for stream in self._streams if stream.over]
            self._streams = [stream for stream in self._streams if not stream.over]
            if not self._streams:
                self._thread = None
            streams = list(self._streams)
        for stream in over:
            stream.done.set()
        return streams

    def forget(self) -> None:
        """In the child of a fork there is no such thread, and the pipes are the parent's."""
        self._lock = threading.RLock()
        for stream in self._streams:
            stream.forget()
        self._streams = []
        if self._bell >= 0:
            self._hang_up()
        self._bell, self._thread = -1, None


_readers: weakref.WeakSet[Reader] = weakref.WeakSet()
_everybody = Reader("libferry output")


def _after_fork_in_child() -> None:
    for reader in list(_readers):
        reader.forget()


os.register_at_fork(after_in_child=_after_fork_in_child)


class Pipes:
    """The pipes of one worker.

    Attributes:
        library: the name of its library.
        child: its descriptors, by their numbers there; to be let go of once it runs.
    """

    def __init__(self, output: Output, streams: Sequence[str]) -> None:
        self.library = output.name
        self._reader = output.reader
        self.child: dict[int, int] = {}
        self._streams: list[_Stream] = []
        try:
            for name in streams:
                ours, theirs = os.pipe()
                self.child[1 if name == "stdout" else 2] = theirs
                self._streams.append(_Stream(name, ours, output))
                os.set_blocking(ours, False)
            self._reader.add(self._streams)
        except BaseException:
            self.started()
            self.finish(wait=False)
            raise

    def started(self) -> None:
        """It has its ends, or nobody ever will: let go of them."""
        while self.child:
            os.close(self.child.popitem()[1])

    def drain(self) -> None:
        """Take what was written up to now."""
        for stream in self._streams:
            stream.drain()
        self._reader.ring()

    def last(self) -> tuple[str, ...]:
        """The last lines of standard error up to now."""
        self.drain()
        return next(stream.lines() for stream in self._streams if stream.name == "stderr")

    def finish(self, *, wait: bool = True) -> None:
        """The worker has ended: deliver the rest, if that can be done soon. Twice is fine."""
        for stream in self._streams:
            stream.close()
        self._reader.ring()
        if wait and not self._reader.here:
            for stream in self._streams:
                stream.done.wait(FLUSH_SECONDS)


_pipes: weakref.WeakKeyDictionary[_core.Session, Pipes] = weakref.WeakKeyDictionary()


def belongs(session: _core.Session, pipes: Pipes) -> None:
    """Remember whose they are."""
    _pipes[session] = pipes


def of(session: _core.Session) -> Pipes | None:
    """The pipes of a session's worker."""
    return _pipes.get(session)
