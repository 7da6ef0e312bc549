"""The sections: who is measured beside whom.

A name that appears here is the contender's name in the table and in `goals.py`.
"""

from __future__ import annotations

import ctypes
import random
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from . import limit, ours, peers
from .allocations import ALLOCATIONS
from .build import NotAvailableError, library
from .callbacks import CALLBACK, CALLBACK_HOT
from .columns import MAP
from .pin import anywhere, same_cpu, two_cpus
from .reading import READING, READING_MEMORY
from .resolving import RESOLVING
from .rounds import Contender, Run, Section, statement
from .structures import BY_VALUE, BY_VALUE_HOT
from .threads import CHECKED, THREADS

LIBZ = Path("/usr/lib/x86_64-linux-gnu/libz.so.1")
MEBIBYTE = 1 << 20

# ---- calls ----------------------------------------------------------------------

IN_PROCESS = Section(
    "in-process",
    "A call in this process",
    "`add(1, 2)` from a loop, the function in a local variable. The loop alone and an "
    "extension's function that does nothing are the floor: no call can be faster than them. "
    "Everybody releases the GIL around the call, except where it says that it is kept.",
    "ctypes",
    [
        Contender("the loop alone", lambda _: statement("pass")),
        limit.nothing("a C function that does nothing"),
        ours.add("libferry", "x86-64.so", isolation="in-process"),
        ours.add_keeping_gil("libferry, GIL kept"),
        peers.with_ctypes("ctypes"),
        peers.with_ctypes("ctypes, GIL kept", ctypes.PyDLL),
        peers.with_cffi("cffi, ABI mode", peers.cffi_abi),
        peers.with_cffi("cffi, API mode", peers.cffi_api),
    ],
)

HOT = Section(
    "hot",
    "A call in another process, one after the other",
    "`add(1, 2)` again, now answered by another process while both are busy. The limit is one "
    "word through shared memory with both sides spinning, carrying no arguments and calling "
    "nothing: from a C program, and from Python, which is what a Python library can hope for. "
    "The limit is pinned to two CPUs, the best it can have. Nobody else is pinned: where its "
    "worker runs is a library's own affair, and part of what is measured.",
    "the limit, from Python",
    [
        limit.in_c("the limit, from C", "spin", two_cpus),
        limit.spinning_from_python("the limit, from Python", two_cpus),
        limit.spinning_from_python("the limit from Python, not pinned", anywhere),
        ours.add("libferry worker x86-64", "x86-64.so"),
        ours.add("libferry worker i386", "i386.so"),
        ours.add("libferry worker Wine x86-64", "x86-64.dll"),
        ours.add("libferry worker Wine i386", "i386.dll"),
        peers.with_multiprocessing("multiprocessing Connection"),
        peers.with_msl_loadlib("msl-loadlib, 32-bit server"),
    ],
)

PARKED = Section(
    "parked",
    "A call to a sleeping worker, asleep again after it",
    "Both sides sleep at once instead of spinning (`spin=False`), so each call is two futex "
    "wakes and two futex waits. What they cost depends on where the two sides run, so they are "
    "pinned to one CPU, pinned to two, and left to the scheduler. Two CPUs that have gone idle "
    "wake each other by an interrupt, which on a virtual machine goes through the host.",
    "the limit, same CPU",
    [
        limit.in_c("the limit, same CPU", "park", same_cpu),
        limit.parked_from_python("the limit from Python, same CPU", same_cpu),
        ours.add("libferry worker, same CPU", "x86-64.so", same_cpu, spin=False),
        limit.in_c("the limit, two CPUs", "park", two_cpus),
        limit.parked_from_python("the limit from Python, two CPUs", two_cpus),
        ours.add("libferry worker, two CPUs", "x86-64.so", two_cpus, spin=False),
        limit.in_c("the limit, not pinned", "park", anywhere),
        limit.parked_from_python("the limit from Python, not pinned", anywhere),
        ours.add("libferry worker, not pinned", "x86-64.so", anywhere, spin=False),
    ],
)


def _after_gaps(contender: Contender) -> Contender:
    """Time each call for itself, a millisecond after the one before."""

    def open_(stack: ExitStack) -> Run:
        once = contender.open(stack)

        def run(count: int) -> float:
            each = []
            for _ in range(count):
                time.sleep(0.001)
                each.append(once(1))
            return statistics.median(each)

        return run

    return Contender(contender.name, open_)


SPARSE = Section(
    "sparse",
    "One call each millisecond",
    "The settings are the defaults and nobody is pinned. Each call is timed for itself, so "
    "about a tenth of a microsecond of it is the clock's; a round is the median of 20 calls.",
    "the limit, from C",
    [
        limit.in_c("the limit, from C", "gap", anywhere),
        _after_gaps(limit.parked_from_python("the limit, from Python", anywhere)),
        _after_gaps(ours.add("libferry worker x86-64", "x86-64.so")),
        _after_gaps(peers.with_multiprocessing("multiprocessing Connection")),
        _after_gaps(peers.with_msl_loadlib("msl-loadlib, 32-bit server")),
    ],
    count=20,
)

# ---- a mebibyte -----------------------------------------------------------------


def _content() -> bytes:
    return random.Random(0).randbytes(MEBIBYTE)


def _libz() -> Path:
    if not LIBZ.exists():
        raise NotAvailableError("apt-get install zlib1g")
    return LIBZ


def _callee(_: ExitStack) -> Run:
    crc32 = ctypes.CDLL(str(_libz())).crc32
    crc32.argtypes = [ctypes.c_ulong, ctypes.c_char_p, ctypes.c_uint]
    crc32.restype = ctypes.c_ulong
    return statement("f(0, data, size)", f=crc32, data=_content(), size=MEBIBYTE)


def _with_buffer(stack: ExitStack) -> Run:
    lib = ours.opened(stack, _libz(), ours.ZLIB)
    data = ours.buffer(lib, _content())
    return statement("f(0, data, size)", f=lib.crc32, data=data, size=MEBIBYTE)


def _with_bytes(stack: ExitStack) -> Run:
    lib = ours.opened(stack, _libz(), ours.ZLIB)
    return statement("f(0, data, size)", f=lib.crc32, data=_content(), size=MEBIBYTE)


BULK = Section(
    "bulk",
    "A mebibyte by pointer",
    "zlib's `crc32` over 1 MiB of random bytes, the same installed libz for everybody. The "
    "callee's own time is a call by ctypes in this process on the same bytes. A `Buffer` lies "
    "in memory that both processes see; `bytes` are copied there for each call.",
    "the callee alone",
    [
        Contender("the callee alone", _callee),
        Contender("libferry worker, Buffer", _with_buffer),
        Contender("libferry worker, bytes", _with_bytes),
    ],
)

# ---- starting -------------------------------------------------------------------


def _start(name: str, first: Callable[[ExitStack], object], keep: Any = None) -> Contender:
    """Time from nothing to the first answer; ending is not timed.

    `keep` is done once before, for what has to be running already.
    """

    def open_(stack: ExitStack) -> Run:
        if keep is not None:
            keep(stack)

        def run(_: int) -> float:
            with ExitStack() as ending:
                begin = time.perf_counter()
                first(ending)
                return time.perf_counter() - begin

        run(1)  # what is missing shows here; and files are in the page cache now
        return run

    return Contender(name, open_)


def _first_add(file: str) -> Callable[[ExitStack], object]:
    return lambda stack: ours.opened(stack, library(file), ours.ADD).add(1, 2)


def _first_zlib(stack: ExitStack) -> object:
    return ours.opened(stack, _libz(), ours.ZLIB).zlibVersion()


def _first_multiprocessing(method: str) -> Callable[[ExitStack], object]:
    def first(stack: ExitStack) -> object:
        connection, _ = peers.start_multiprocessing(stack, method)
        connection.send((1, 2))
        return connection.recv()

    return first


def _first_msl_loadlib(stack: ExitStack) -> object:
    return peers.start_msl_loadlib(stack)[0]("add", 1, 2)


START = Section(
    "start",
    "From `load()` to the first answer",
    "All in one process that has done it once before, so files are in the page cache. Under "
    "Wine another worker is open the whole time, so the wineserver is already running. The "
    "limit is Python's `subprocess` starting the C worker of the limit, for one exchange.",
    "the limit",
    [
        _start("the limit", limit.start),
        _start("libferry worker x86-64, libz", _first_zlib),
        _start("libferry worker x86-64", _first_add("x86-64.so")),
        _start("libferry worker i386", _first_add("i386.so")),
        _start("libferry worker AArch64, qemu", _first_add("aarch64.so")),
        _start("libferry worker Wine x86-64", *[_first_add("x86-64.dll")] * 2),
        _start("libferry worker Wine i386", *[_first_add("i386.dll")] * 2),
        _start("multiprocessing, fork", _first_multiprocessing("fork")),
        _start("multiprocessing, spawn", _first_multiprocessing("spawn")),
        _start("msl-loadlib, 32-bit server", _first_msl_loadlib),
    ],
    count=1,
    rounds=30,
)

# ---- idle -----------------------------------------------------------------------

IDLE_SECONDS = 2.0


def _idle(name: str, start: Callable[[ExitStack], int]) -> Contender:
    """Time on a CPU of a process that has answered once and is asked nothing more."""

    def open_(stack: ExitStack) -> Run:
        pid = start(stack)

        def run(_: int) -> float:
            before = cpu_seconds(pid)
            time.sleep(IDLE_SECONDS)
            return cpu_seconds(pid) - before

        time.sleep(0.1)  # for the spinning after the answer to end
        return run

    return Contender(name, open_)


def cpu_seconds(pid: int) -> float:
    """Give the time all threads have been on a CPU, to the nanosecond if the kernel counts it.

    `/proc/PID/stat` counts ticks of 10 ms, which hides a process that wakes up
    briefly; `schedstat` does not.
    """
    try:
        threads = Path(f"/proc/{pid}/task").iterdir()
        counts = [(thread / "schedstat").read_text().split()[0] for thread in threads]
        return sum(map(int, counts)) * 1e-9
    except FileNotFoundError:
        user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / 100


def _idle_ours(file: str) -> Callable[[ExitStack], int]:
    def start(stack: ExitStack) -> int:
        lib = ours.opened(stack, library(file), ours.ADD)
        lib.add(1, 2)
        return ours.worker_pid(lib)

    return start


def _idle_multiprocessing(stack: ExitStack) -> int:
    connection, pid = peers.start_multiprocessing(stack, "spawn")
    connection.send((1, 2))
    connection.recv()
    return pid


def _idle_msl_loadlib(stack: ExitStack) -> int:
    request, pid = peers.start_msl_loadlib(stack)
    request("add", 1, 2)
    return pid


IDLE = Section(
    "idle",
    f"CPU time of an idle worker, over {IDLE_SECONDS:.0f} s",
    "What the worker's process costs while it is asked nothing, a tenth of a second after its "
    "last answer: time on a CPU of all its threads, as the kernel's scheduler counts it.",
    None,
    [
        _idle("libferry worker x86-64", _idle_ours("x86-64.so")),
        _idle("libferry worker i386", _idle_ours("i386.so")),
        _idle("libferry worker Wine x86-64", _idle_ours("x86-64.dll")),
        _idle("multiprocessing Connection", _idle_multiprocessing),
        _idle("msl-loadlib, 32-bit server", _idle_msl_loadlib),
    ],
    count=1,
    rounds=1,
)

ALL = [
    IN_PROCESS,
    HOT,
    PARKED,
    SPARSE,
    BY_VALUE,
    BY_VALUE_HOT,
    CALLBACK,
    CALLBACK_HOT,
    MAP,
    THREADS,
    CHECKED,
    ALLOCATIONS,
    BULK,
    START,
    IDLE,
    *READING,
    READING_MEMORY,
    RESOLVING,
]
