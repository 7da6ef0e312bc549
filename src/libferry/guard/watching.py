"""Run a program, and look at each file of code before the kernel runs it.

The child puts the filter on itself and hands the listener over; from then on each execve and
each executable mapping, its own and its children's, waits for ``_answer``. What is looked at:

* an executable mapping of a file: the descriptor that is mapped;
* mprotect to executable: the files that are mapped there;
* execve: the file, the interpreters of a script, and the loader that a program names. The
  kernel maps these itself, and no call of the program's tells of it.

The child is an ordinary fork, and no worker's (native/extension/spawn.c): that one leaves the
terminal's session, and its execve is answered for it, where here it is the first to be judged.

This finds what was swapped or slipped in. It is no wall against the program itself: one
that is hostile can let another thread exchange a descriptor between look and use
(seccomp_unotify(2) says so), or write code to anonymous memory, as every JIT compiler does.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from libferry.binary import read
from libferry.errors import FerryError, SandboxUnavailable
from libferry.guard import filter as seccomp
from libferry.guard.files import LoadedFile, loaded_file, mappings, of_descriptor

# linux/seccomp.h
NOTIFICATION = struct.Struct("QIIiIQ6Q")  # id, pid, flags; nr, arch, ip, arguments
RESPONSE = struct.Struct("QqiI")
RECEIVE, SEND, IS_VALID = 0xC0502100, 0xC0182101, 0x40082102
CONTINUE = 1

AT_FDCWD = -100
PATH_MAX = 4096
SCRIPT_DEPTH = 5  # the kernel's limit for scripts that interpret scripts
SCRIPT_LINE = 256  # BINPRM_BUF_SIZE

# a terminal sends these to the program itself, and the kernel says so (sigaction(2), si_code)
FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
SI_KERNEL = 0x80
FORWARDED = {*FROM_TERMINAL, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM}

Judge = Callable[[LoadedFile], bool]


def run(words: Sequence[str], program: Path, environment: Mapping[str, str], judge: Judge) -> int:
    """Run a program under the eyes of ``judge``; how it ended, as ``os.waitstatus_to_exitcode``.

    Args:
        words: its argument vector.
        program: its file.
        environment: its environment.
        judge: asked once for each file before its code runs; False ends the program.

    Raises:
        SandboxUnavailable: this kernel does not tell of calls.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = os.fork()
        if child == 0:
            _become(words, program, environment, theirs)
        theirs.close()
        message, descriptors, _, _ = socket.recv_fds(ours, 16, 1)
    if not descriptors:
        os.waitpid(child, 0)
        number = int(message or b"0")
        raise SandboxUnavailable(
            f"watch what {program.name} loads",
            f"the kernel does not let us: {os.strerror(number)}",
            hint="it takes Linux 5.5 or later, and no other such watcher around this one",
        )
    listener = descriptors[0]
    try:
        return _Watch(child, listener, judge).serve()
    finally:
        os.close(listener)


def _become(
    words: Sequence[str], program: Path, environment: Mapping[str, str], channel: socket.socket
) -> None:
    """In the child: never returns."""
    try:
        try:
            listener = seccomp.install(platform.machine())
        except (OSError, KeyError) as error:
            number = error.errno if isinstance(error, OSError) else errno.ENOSYS
            channel.send(b"%d" % (number or 0))
            os._exit(127)
        socket.send_fds(channel, [b"0"], [listener])
        os.close(listener)
        channel.close()
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # CPython ignores them
            signal.signal(number, signal.SIG_DFL)
        os.execve(program, list(words), dict(environment))
    except OSError as error:
        os.write(2, f"error: run {program}: {error.strerror}\n".encode())
    finally:
        os._exit(126)


class _Watch:
    """A program that runs, and its listener."""

    def __init__(self, child: int, listener: int, judge: Judge) -> None:
        self._child = child
        self._listener = listener
        self._judge = judge
        self._process = os.pidfd_open(child)

    def serve(self) -> int:
        """Answer until the program has ended; how it did."""
        signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
        threading.Thread(target=self._forward, daemon=True).start()
        waiting = select.poll()
        waiting.register(self._listener, select.POLLIN)
        waiting.register(self._process, select.POLLIN)
        while True:
            ready = dict(waiting.poll())
            if ready.get(self._listener, 0) & select.POLLIN:
                self._answer()
            elif self._process in ready:
                _, status = os.waitpid(self._child, 0)
                os.close(self._process)
                return os.waitstatus_to_exitcode(status)

    def _forward(self) -> None:
        while True:
            got = signal.sigwaitinfo(FORWARDED)
            if got.si_signo in FROM_TERMINAL and got.si_code == SI_KERNEL:
                continue
            with suppress(OSError):
                signal.pidfd_send_signal(self._process, got.si_signo)

    def _answer(self) -> None:
        buffer = bytearray(NOTIFICATION.size)
        try:
            fcntl.ioctl(self._listener, RECEIVE, buffer)
        except OSError:
            return  # it was killed meanwhile
        number, thread, _, call, arch, _, *arguments = NOTIFICATION.unpack(buffer)
        files = _files(thread, call, seccomp.CALLS[arch], arguments)
        refused = [file for file in files if not self._judge(file)]
        with suppress(OSError):  # the same: it was killed
            fcntl.ioctl(self._listener, IS_VALID, struct.pack("Q", number))
            if refused:
                self._end(thread)
            answer = (0, -errno.EPERM, 0) if refused else (0, 0, CONTINUE)
            fcntl.ioctl(self._listener, SEND, bytearray(RESPONSE.pack(number, *answer)))

    def _end(self, thread: int) -> None:
        """Kill the program, and then what of it was about to run the code: it may wait for it."""
        for process in (self._child, thread):
            with suppress(OSError):
                os.kill(process, signal.SIGKILL)


def _files(
    thread: int, call: int, calls: seccomp.Calls, arguments: Sequence[int]
) -> list[LoadedFile]:
    """The files whose code would run by that call."""
    if call == calls.execve:
        return _executed(thread, AT_FDCWD, arguments[0])
    if call == calls.execveat:
        return _executed(thread, _signed(arguments[0]), arguments[1])
    if call in (calls.mprotect, calls.pkey_mprotect):
        return _mapped_at(thread, arguments[0], arguments[0] + arguments[1])
    if call != calls.mmap:
        return [LoadedFile(f"old_mmap of process {thread}", None, None, 0, "cannot be looked at")]
    place = f"/proc/{thread}/fd/{_signed(arguments[4])}"
    try:
        return [_of_path(place, os.readlink(place))]
    except OSError:
        return []  # no such descriptor: the call will fail


def _signed(argument: int) -> int:
    return struct.unpack("i", struct.pack("I", argument & 0xFFFFFFFF))[0]  # type: ignore[no-any-return]


def _mapped_at(thread: int, start: int, end: int) -> list[LoadedFile]:
    found = {}
    for mapping in mappings(thread):
        low, high = (int(word, 16) for word in mapping.range.split("-"))
        if low < end and start < high:
            found[mapping.identity] = mapping
    return [loaded_file(thread, mapping) for mapping in found.values()]


def _executed(thread: int, folder: int, address: int) -> list[LoadedFile]:
    """The file that is executed, and what the kernel will load to run it."""
    base = f"/proc/{thread}/cwd" if folder == AT_FDCWD else f"/proc/{thread}/fd/{folder}"
    try:
        with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
            name = os.fsdecode(_string_at(memory.fileno(), address))
        path = os.path.join(os.readlink(base), name) if name else os.readlink(base)
    except OSError:
        return [LoadedFile(f"a program of process {thread}", None, None, 0, "cannot be looked at")]
    place = base if not name else _place(thread, path)  # an open file may have no path
    found: list[LoadedFile] = []
    while len(found) <= SCRIPT_DEPTH and os.path.exists(place):
        found.append(_of_path(place, path if place == base else os.path.realpath(place)))
        path = _runs_by(place)
        if not path:
            break
        place = _place(thread, os.path.join(os.readlink(f"/proc/{thread}/cwd"), path))
    return found  # nothing: the call will fail; a shell tries all of PATH


def _place(thread: int, path: str) -> str:
    """Where we find what a process finds by a path."""
    for own in ("/proc/self/", "/proc/thread-self/"):
        if path.startswith(own):
            return f"/proc/{thread}/{path.removeprefix(own)}"
    return f"/proc/{thread}/root{path}"


def _string_at(memory: int, address: int) -> bytes:
    """A terminated string, up to the end of its page or, if it goes on, of the next ones."""
    text = b""
    while len(text) < PATH_MAX and b"\0" not in text:
        at = address + len(text)
        text += os.pread(memory, 4096 - at % 4096, at)
    return text.split(b"\0", 1)[0]


def _runs_by(place: str) -> str:
    """What the kernel needs to run that file: a script's interpreter, a program's loader."""
    try:
        with open(place, "rb") as file:
            line = file.read(SCRIPT_LINE).split(b"\n", 1)[0]
        if line.startswith(b"#!"):
            return os.fsdecode(line[2:].split(maxsplit=1)[0]) if line[2:].split() else ""
        return read(place).interpreter or ""
    except (OSError, FerryError):
        return ""


def _of_path(place: str, path: str) -> LoadedFile:
    """What is to be said of a file that is opened by ``place`` and known as ``path``."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return LoadedFile(path, None, None, 0, os.strerror(error.errno or 0).lower())
    try:
        return of_descriptor(descriptor, path)
    finally:
        os.close(descriptor)
