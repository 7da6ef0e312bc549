"""What the soak does to libraries: calls whose answers are known, and faults.

A library is shared by several threads, so a fault that one of them injects is met by the
others amid their calls. Each answer is checked; an error has to be one that the fault
explains.
"""

from __future__ import annotations

import inspect
import os
import random
import signal
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import libferry as ferry

SOURCE = r"""
#ifdef _WIN32
#define EXPORT __declspec(dllexport)
#else
#define EXPORT
#endif
typedef unsigned char byte;
struct pair { int a; double b; };

EXPORT int add(int a, int b) { return (int)((unsigned)a + (unsigned)b); }
EXPORT unsigned crc(const byte *data, unsigned size)
{
    unsigned crc = ~0u;

    while (size--) {
        crc ^= *data++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0xedb88320u & -(crc & 1));
    }
    return ~crc;
}
EXPORT void invert(byte *data, unsigned size) { while (size--) { *data = (byte)~*data; data++; } }
EXPORT unsigned length(const char *text) { unsigned n = 0; while (*text++) n++; return n; }
EXPORT const char *name(void) { return "a name"; }
EXPORT struct pair mirror(struct pair p)
{
    struct pair mirrored = {-p.a, -p.b};

    return mirrored;
}
EXPORT int apply(int (*f)(int), int value, int times)
{
    while (times--)
        value = f(value);
    return value;
}
EXPORT void write_to(unsigned address) { *(volatile int *)(__UINTPTR_TYPE__)address = 1; }
EXPORT void trap(void) { __builtin_trap(); }
static volatile int deep;
EXPORT int overflow(int n)
{
    volatile char room[4096];

    room[n & 4095] = (char)n;
    deep = n;
    return overflow(n + 1) + room[n & 4095];
}
EXPORT void stay(void) { for (;;) deep = 1; }
"""

HEADER = """
struct pair { int a; double b; };
int add(int a, int b); unsigned crc(const unsigned char *data, unsigned size);
void invert(unsigned char *data, unsigned size); unsigned length(const char *text);
const char *name(void); struct pair mirror(struct pair p);
int apply(int (*f)(int), int value, int times);
void write_to(unsigned address); void trap(void); int overflow(int n); void stay(void);
"""

RESTARTS: dict[str, Any] = (
    {"restart": "next-call"} if "restart" in inspect.signature(ferry.load).parameters else {}
)
TIMEOUT = 5.0  # of every call; a busy machine that runs qemu and Wine takes a while


class WrongAnswer(Exception):
    """A call came back with something else than what C computes."""


def same(found: object, expected: object) -> None:
    if found != expected:
        raise WrongAnswer(f"{found!r}, not {expected!r}")


# ---- calls ----


def _add(lib: Any, chance: Random) -> None:
    for _ in range(chance.randrange(1, 50)):
        a, b = chance.randrange(1 << 30), chance.randrange(1 << 30)
        same(lib.add(a, b), a + b)


def _bytes(lib: Any, chance: Random) -> None:
    data = chance.randbytes(chance.randrange(3000))
    same(lib.crc(data, len(data)), zlib.crc32(data))
    changed = bytearray(data)
    lib.invert(changed, len(changed))
    same(bytes(changed), bytes(255 - value for value in data))


def _buffer(lib: Any, chance: Random) -> None:
    data = chance.randbytes(chance.randrange(1, 3000))
    with lib.buffer(len(data)) as buffer:
        memoryview(buffer)[:] = data
        same(lib.crc(buffer, len(data)), zlib.crc32(data))


def _text(lib: Any, chance: Random) -> None:
    text = "x" * chance.randrange(500)
    same(lib.length(text), len(text))
    same(lib.name(), "a name")


def _record(lib: Any, chance: Random) -> None:
    a, b = chance.randrange(1 << 30), chance.random()
    mirrored = lib.mirror({"a": a, "b": b})
    same((mirrored.a, mirrored.b), (-a, -b))


def _callback(lib: Any, chance: Random) -> None:
    times, by = chance.randrange(1, 30), chance.randrange(100)
    same(lib.apply(lambda value: value + by, 1, times), 1 + times * by)


def _batch(lib: Any, chance: Random) -> None:
    rows = [(n, chance.randrange(1000)) for n in range(chance.randrange(1, 200))]
    same(lib.add.batch(rows), [a + b for a, b in rows])


def _map(lib: Any, chance: Random) -> None:
    column = list(range(chance.randrange(1, 3000)))
    by = chance.randrange(1000)
    same(lib.add.map(column, by).tolist(), [n + by for n in column])


CALLS = (_add, _bytes, _buffer, _text, _record, _callback, _batch, _map)


# ---- libraries, which come and go ----


class Seat:
    """One library for one ABI; whoever finds it broken opens it again."""

    def __init__(self, file: Path, abi: str) -> None:
        self.file, self.abi = file, abi
        self.opened = 0
        self._lock = threading.Lock()
        self._lib: ferry.Library | None = None

    def library(self) -> ferry.Library:
        with self._lock:
            if self._lib is None:
                self._lib = ferry.load(
                    self.file,
                    header=HEADER,
                    isolation="worker",
                    timeout=TIMEOUT,
                    arena=1 << 20,
                    **RESTARTS,
                )
                self.opened += 1
            return self._lib

    def renew(self, broken: ferry.Library) -> None:
        """The next one who asks gets another; if it starts again by itself, not always."""
        if RESTARTS and not broken.closed and random.random() < 0.8:
            return
        with self._lock:
            if self._lib is broken:
                self._lib = None
        broken.close()

    def close(self) -> None:
        with self._lock:
            if self._lib is not None:
                self._lib.close()
            self._lib = None


# ---- faults ----


def _signal(number: signal.Signals) -> Callable[[ferry.Library], None]:
    def send(lib: ferry.Library) -> None:
        pid = lib.pid
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        until = time.monotonic() + 2 * TIMEOUT
        while time.monotonic() < until and lib.pid == pid:
            lib.add(1, 1)

    return send


def _close(lib: ferry.Library) -> None:
    lib.close()
    lib.add(1, 1)


Fault = Callable[[Any], object]

# what is injected, how, and how often beside the others
FAULTS: tuple[tuple[str, Fault, int], ...] = (
    ("a write to address 16", lambda lib: lib.write_to(16), 10),
    ("an illegal instruction", lambda lib: lib.trap(), 10),
    ("a stack overflow", lambda lib: lib.overflow(0), 10),
    ("kill -9 from outside", _signal(signal.SIGKILL), 10),
    ("SIGTERM from outside", _signal(signal.SIGTERM), 10),
    ("SIGSTOP, with a timeout", _signal(signal.SIGSTOP), 2),
    ("a call that never ends", lambda lib: lib.stay(), 2),
    ("close() under others' calls", _close, 10),
)

# What anybody may see of any of them: two threads may break one library at once.
EXPLAINED = (
    ferry.LibraryCrashed,
    ferry.DeadlineExceeded,
    ferry.LibraryClosed,
    ferry.RowErrors,
)


class Tally:
    """What happened, of all threads together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()
        self.seen: dict[str, Counter[str]] = {}
        self.wrong: list[str] = []

    def call(self, abi: str) -> None:
        with self._lock:
            self.calls[abi] += 1

    def saw(self, what: str, error: BaseException | None) -> None:
        with self._lock:
            name = "no error" if error is None else type(error).__name__
            self.seen.setdefault(what, Counter())[name] += 1

    def inject(self, what: str) -> None:
        with self._lock:
            self.injected[what] += 1

    def fail(self, what: str) -> None:
        with self._lock:
            self.wrong.append(what)


BYSTANDER = "another thread's fault"
OF_THE_PAST = "belongs to the worker that crashed"


def call_once(seat: Seat, chance: Random, tally: Tally) -> None:
    """A call with a known answer, or an error that somebody's fault explains."""
    lib = seat.library()
    call = chance.choice(CALLS)
    try:
        call(lib, chance)
        tally.call(seat.abi)
    except EXPLAINED as error:
        tally.saw(BYSTANDER, error)
        seat.renew(lib)
    except Exception as error:
        if isinstance(error, ferry.ArgumentTypeError) and OF_THE_PAST in error.happened:
            tally.saw(BYSTANDER, error)  # between making a Buffer and passing it
        else:
            tally.fail(f"{seat.abi}, {call.__name__}: {error!r}")


def fault_once(seat: Seat, chance: Random, tally: Tally) -> None:
    """Inject a fault, and see what the one sees who did."""
    lib = seat.library()
    ((what, inject, _),) = chance.choices(FAULTS, [weight for *_, weight in FAULTS])
    tally.inject(what)
    pid = lib.pid
    try:
        inject(lib)
        tally.saw(what, None)
        if not RESTARTS or lib.pid == pid:  # between two calls it starts again unseen
            tally.fail(f"{seat.abi}, {what}: nobody noticed")
    except EXPLAINED as error:
        tally.saw(what, error)
    except Exception as error:
        tally.fail(f"{seat.abi}, {what}: {error!r}")
    seat.renew(lib)
