"""How long a call may take, and Ctrl-C in one that takes too long."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import libferry as ferry

from .sides import SIDES, Side, compiled, opened
from .test_life import ended

SOURCE = r"""
EXPORT int plus(int a, int b) { return a + b; }
EXPORT void stuck(void) { volatile int turn = 0; for (;;) turn = turn; }
EXPORT int stuck_at(int value) { if (value == 3) stuck(); return value; }
EXPORT int half(int value, int *out) { stuck_at(value); *out = value / 2; return 0; }
EXPORT int stuck_many(int many, ...) { return stuck_at(many); }
EXPORT int apply(int (*function)(int), int value) { return function(value); }
"""

HEADER = """
int plus(int a, int b); void stuck(void); int stuck_at(int value);
int half(int value, FERRY_OUT int *out); int stuck_many(int many, ...);
int apply(int (*function)(int), int value);
"""

HERE: Side = ("x86_64-sysv", "worker")
SOON = 5.0  # seconds: what "at once" is on a machine with much to do


@pytest.fixture
def lib() -> Iterator[ferry.Library]:
    """The library above, which begins again."""
    with opened(HERE, SOURCE, HEADER, restart="next-call") as library:
        yield library


@pytest.mark.parametrize("side", [side for side in SIDES if side.id != "x86_64-sysv-in-process"])
def test_a_call_ends_in_its_time_whether_the_worker_was_awake_or_not(side: Side) -> None:
    with opened(side, SOURCE, HEADER, restart="next-call") as lib:
        for warm_calls in (1, 300):
            for _ in range(warm_calls):
                assert lib.plus(1, 2) == 3
            began = time.monotonic()
            with pytest.raises(ferry.DeadlineExceeded):
                lib.stuck.within(0.01)()
            assert 0.01 <= time.monotonic() - began < SOON


def test_it_is_the_function_that_has_the_timeout(lib: ferry.Library) -> None:
    hasty = lib.plus.within(0.5)
    assert hasty(1, 2) == 3
    assert hasty.within(None).timeout_ns == 0
    assert lib.plus.timeout_ns == 0
    assert lib.plus is not hasty


def test_a_function_may_have_more_time_than_its_library() -> None:
    source = "int usleep(unsigned us); EXPORT int rest(int ms) { usleep(ms * 1000); return ms; }"
    with opened(HERE, source, "int rest(int ms);", timeout=0.05, restart="next-call") as lib:
        assert lib.rest.within(30)(150) == 150
        assert lib.rest.within(None)(150) == 150
        with pytest.raises(ferry.DeadlineExceeded, match=r"timeout of 0\.05 s"):
            lib.rest(60_000)


def test_a_declaration_may_say_it(lib: ferry.Library) -> None:
    stuck = lib.function("void stuck(void)", timeout=0.02)
    for _ in range(2):
        for call in (stuck, lib.stuck, lib["stuck"]):
            with pytest.raises(ferry.DeadlineExceeded):
                call()
    lib.function("void stuck(void)")
    assert lib.stuck.timeout_ns == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda lib: lib.stuck.within(0.02)(),
        lambda lib: lib.half.within(0.02)(3),
        lambda lib: lib.stuck_many.within(0.02)(3, 1.5),
        lambda lib: lib.stuck_at.within(0.02).batch([(1,), (2,), (3,)]),
        lambda lib: lib.stuck.within(0.02).post().wait(),
        lambda lib: asyncio.run(awaited(lib.aio.stuck.within(0.02))),
        lambda lib: asyncio.run(awaited(lib.aio.half.within(0.02), 3)),
        lambda lib: lib.half.within(0.02).function(3, lib.out("int")),
    ],
)
def test_every_way_to_call_keeps_it(lib: ferry.Library, call: Callable[..., object]) -> None:
    began = time.monotonic()
    with pytest.raises(ferry.DeadlineExceeded):
        call(lib)
    assert time.monotonic() - began < SOON
    assert lib.plus(1, 2) == 3


async def awaited(function: Callable[..., Any], *values: object) -> object:
    """What a function gives that is awaited."""
    return await function(*values)


def test_map_keeps_it(lib: ferry.Library) -> None:
    numpy = pytest.importorskip("numpy")
    hasty = lib.stuck_at.within(0.05)
    assert hasty.map(numpy.array([1, 2], "i4")).tolist() == [1, 2]
    with pytest.raises(ferry.DeadlineExceeded):
        hasty.map(numpy.array([1, 2, 3], "i4"))


def test_the_librarys_timeout_holds_for_awaited_calls() -> None:
    with opened(HERE, SOURCE, HEADER, timeout=0.02, restart="next-call") as lib:
        began = time.monotonic()
        with pytest.raises(ferry.DeadlineExceeded):
            asyncio.run(awaited(lib.aio.stuck))
        assert time.monotonic() - began < SOON


def test_a_timeout_outlives_a_restart(lib: ferry.Library) -> None:
    stuck = lib.stuck.within(0.02)
    for _ in range(3):
        with pytest.raises(ferry.DeadlineExceeded):
            stuck()
    assert lib.restarts == 2


def test_others_are_told_that_their_worker_is_gone(lib: ferry.Library) -> None:
    outcomes: list[type] = []

    def wait() -> None:
        try:
            lib.stuck()
        except ferry.FerryError as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    with pytest.raises(ferry.DeadlineExceeded):
        lib.stuck.within(0.01)()
    for thread in threads:
        thread.join(10)
    assert outcomes == [ferry.LibraryCrashed] * 3


def test_who_waits_for_its_turn_too_long_is_told_and_ends_nobody() -> None:
    source = "int usleep(unsigned us); EXPORT int rest(int ms) { usleep(ms * 1000); return ms; }"
    with opened(HERE, source, "int rest(int ms);", threads="one") as lib:
        results: list[int] = []
        thread = threading.Thread(target=lambda: results.append(lib.rest(1000)))
        thread.start()
        time.sleep(0.2)
        with pytest.raises(ferry.DeadlineExceeded, match=r"no turn within 0\.01 s"):
            lib.rest.within(0.01)(1)
        thread.join(10)
        assert results == [1000]
        assert lib.rest.within(30)(1) == 1


def test_the_time_that_python_takes_in_a_callback_does_not_count(lib: ferry.Library) -> None:
    def slow(value: int) -> int:
        time.sleep(0.3)
        return value

    assert lib.apply.within(0.1)(slow, 5) == 5


@pytest.mark.parametrize(
    "use",
    [
        lambda lib: lib.plus.within(0.5),
        lambda lib: lib.half.within(0.5),
        lambda lib: lib.stuck_many.within(0.5),
        lambda lib: lib.function("int plus(int, int)", timeout=0.5),
        lambda lib: lib.aio.plus.within(0.5),
    ],
)
def test_a_call_in_this_process_cannot_be_ended(use: Callable[..., object]) -> None:
    with (
        opened(("x86_64-sysv", "in-process"), SOURCE, HEADER) as lib,
        pytest.raises(ferry.ArgumentTypeError, match="cannot be ended") as caught,
    ):
        use(lib)
    assert "isolation='worker'" in caught.value.hint


@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        (0, ferry.ArgumentValueError),
        (-1.0, ferry.ArgumentValueError),
        (float("nan"), ferry.ArgumentValueError),
        (1e300, ferry.ArgumentValueError),
        ("1", ferry.ArgumentTypeError),
        (True, ferry.ArgumentTypeError),
    ],
)
def test_what_is_no_time_is_refused(
    lib: ferry.Library, seconds: Any, error: type[ferry.FerryError]
) -> None:
    with pytest.raises(error, match="timeout is"):
        lib.plus.within(seconds)
    with pytest.raises(error, match="timeout is"):
        lib.function("int plus(int, int)", timeout=seconds)


# ---- Ctrl-C ----

_BEGIN = """
import asyncio, os, signal, sys, threading, time
import libferry as ferry
lib = ferry.load({file!r}, header={header!r}, isolation="worker", restart="next-call")
lib.plus(1, 2)
pid = lib.pid
"""

_SCRIPTS = {
    "a call": """
print("ready", flush=True)
try:
    lib.stuck()
except KeyboardInterrupt:
    print("interrupted", flush=True)
""",
    "a call that was posted": """
pending = lib.stuck.post()
print("ready", flush=True)
try:
    pending.wait()
except KeyboardInterrupt:
    print("interrupted", flush=True)
""",
    "a callback's call": """
def stuck(value):
    print("ready", flush=True)
    lib.stuck()
    return value
try:
    lib.apply(stuck, 1)
except KeyboardInterrupt:
    print("interrupted", flush=True)
""",
    "another thread's call": """
outcome, done = [], threading.Event()
def wait():
    try:
        lib.stuck()
    except ferry.FerryError as error:
        outcome.append(type(error).__name__)
    done.set()
thread = threading.Thread(target=wait)
thread.start()
print("ready", flush=True)
try:
    done.wait()
except KeyboardInterrupt:
    print("interrupted", flush=True)
assert not done.is_set(), "Python interrupts its main thread only"
os.kill(pid, signal.SIGKILL)
thread.join()
assert outcome == ["LibraryCrashed"], outcome
""",
    "an awaited call": """
async def main():
    print("ready", flush=True)
    await lib.aio.stuck()
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", flush=True)
assert lib.plus(1, 2) == 3, "an await that is called off leaves the others alone"
os.kill(pid, signal.SIGKILL)
while lib._ferry_session.state == "usable":
    time.sleep(0.001)
""",
}

_END = """
assert lib.plus(40, 2) == 42
assert lib.restarts == 1
assert sum(range(10)) == 45
assert threading.current_thread() is threading.main_thread()
print(pid, flush=True)
"""


def _begin() -> str:
    return _BEGIN.format(file=str(compiled(SOURCE, HERE[0])), header=HEADER)


def _script(name: str) -> list[str]:
    return [sys.executable, "-c", _begin() + _SCRIPTS[name] + _END]


def test_ctrl_c_twice_ends_a_call_that_blocks_an_event_loop() -> None:
    """The first one asyncio takes for itself: it cancels the task, which does not run."""
    script = """
async def main():
    print("ready", flush=True)
    lib.stuck()
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    command = [sys.executable, "-c", _begin() + script + _END]
    host = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert host.stdout
    assert host.stdout.readline() == "ready\n"
    for _ in range(2):
        time.sleep(0.2)
        host.send_signal(signal.SIGINT)
    out, err = host.communicate(timeout=60)
    assert (err, host.returncode) == ("", 0)
    assert out.startswith("interrupted")


@pytest.mark.parametrize("name", _SCRIPTS)
def test_ctrl_c_ends_the_call_and_nothing_else(name: str) -> None:
    pipe = subprocess.PIPE
    host = subprocess.Popen(_script(name), stdout=pipe, stderr=pipe, text=True)
    assert host.stdout
    assert host.stdout.readline() == "ready\n"
    time.sleep(0.2)  # until it is in C
    host.send_signal(signal.SIGINT)
    out, err = host.communicate(timeout=60)
    assert (err, host.returncode) == ("", 0)
    said, pid = out.split()
    assert said == "interrupted"
    assert ended(int(pid))


def test_ctrl_c_at_a_terminal_ends_the_call_and_nothing_else() -> None:
    ours, theirs = pty.openpty()
    host = subprocess.Popen(
        _script("a call"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: _control(theirs),
    )
    os.close(theirs)
    said = _read(ours, b"ready")
    time.sleep(0.2)
    os.write(ours, b"\x03")
    said += _read(ours, None)
    assert host.wait(60) == 0, said
    os.close(ours)
    assert b"interrupted" in said
    assert b"Traceback" not in said


def _control(terminal: int) -> None:
    """Make it the terminal that Ctrl-C comes from (tty_ioctl(4), TIOCSCTTY)."""
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def _read(terminal: int, until: bytes | None) -> bytes:
    """What is written there, up to ``until`` or to the end."""
    said = b""
    while until is None or until not in said:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # EIO: nobody has the other side any more
            break
        if not part:
            break
        said += part
    return said


def test_a_second_library_is_untouched_by_ctrl_c(lib: ferry.Library) -> None:
    with opened(HERE, SOURCE, HEADER) as other:
        timer = threading.Timer(0.2, lambda: signal.raise_signal(signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            lib.stuck()
        timer.join()
        assert other.plus(1, 2) == 3
    assert lib.plus(1, 2) == 3


SLOW = r"""
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static char *slow;
static void after_a_while(int number, siginfo_t *info, void *context)
{
    usleep(5000);
    mprotect((void *)((uintptr_t)info->si_addr & ~4095ul), 4096, PROT_READ | PROT_WRITE);
}
EXPORT char *slow_memory(size_t size)
{
    struct sigaction action = {.sa_sigaction = after_a_while, .sa_flags = SA_SIGINFO};
    slow = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(slow, 'x', size - 1);
    mprotect(slow, size, PROT_NONE);
    sigaction(SIGSEGV, &action, NULL);
    return slow;
}
"""


def test_one_timeout_is_for_all_pieces_of_what_is_read() -> None:
    """Each page takes 5 ms, each piece of 32 KiB 40 ms, and all of them 5 s."""
    size = 1024 * 4096
    with opened(HERE, SLOW, "char *slow_memory(size_t size);", timeout=1) as lib:
        memory = lib.slow_memory(size)
        began = time.monotonic()
        with pytest.raises(ferry.DeadlineExceeded, match=r"timeout of 1 s"):
            memory.read(size)
        assert 1 <= time.monotonic() - began < 1 + SOON
