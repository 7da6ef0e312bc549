"""The soak: `python -m bench.soak [--seconds 3600] [--cycles 10000]`.

Eight threads call four libraries of different ABIs and break them in every way that
`storm.py` has; then one library is opened and closed many times. At the end there is to be
no wrong answer, no hang, and nothing left: no descriptor, mapping, process or file, and no
more memory than before. What happened is shown, and kept in build/soak.json for
docs/reliability.md.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import gc
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import libferry as ferry
from libferry.build import compile_library

from .storm import BYSTANDER, CALLS, EXPLAINED, HEADER, SOURCE, Seat, Tally, call_once, fault_once

RESULT = Path(__file__).parents[1] / "build" / "soak.json"
THREADS = 8
ABIS = ("x86_64-sysv", "i386-sysv", "aarch64-aapcs64", "x86_64-windows")
CALLS_A_FAULT = 40
HANG_SECONDS = 120.0  # for one operation; a timeout is 5, and a start under Wine may take 60
WARM = 50  # cycles before memory is looked at: caches fill
GROWTH = 8 << 20  # bytes that memory may grow: the allocator's affair
LONG = 120  # seconds: in a shorter storm caches and the allocator are all there is to see


def open_seats(folder: Path) -> list[Seat]:
    """A library for each ABI that runs here; the others are named."""
    seats = []
    for abi in ABIS:
        seat = Seat(compile_library(SOURCE, abi, folder, f"soak-{abi}"), abi)
        try:
            seat.library()
        except ferry.NoRunner as error:
            print(f"{abi}: not here: {error.hint}", flush=True)
            continue
        seats.append(seat)
    return seats


def resident() -> int:
    """Bytes of memory that this process has, without what malloc keeps for later.

    Each of its arenas keeps some, and which thread frees into which is chance.
    """
    with suppress(AttributeError):  # a C library without it keeps little
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def holdings() -> dict[str, int]:
    """What could be left behind."""
    gc.collect()
    mapped = Path("/proc/self/maps").read_text().splitlines()
    temporary = Path(tempfile.gettempdir())
    tasks = Path("/proc/self/task").glob("*/children")  # each thread has its own
    children = [pid for task in tasks for pid in task.read_text().split()]
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "mapped channels": sum("libferry-channel" in line for line in mapped),
        "processes": len(children),
        "threads": threading.active_count(),
        "files in /dev/shm": len(list(Path("/dev/shm").glob("*ferry*"))),
        "temporary files": len(list(temporary.glob(f"libferry-{os.getpid()}*"))),
    }


def left_behind(before: dict[str, int], within: float = 20.0) -> dict[str, int]:
    """What is there more than before, once all that ends has ended."""
    until = time.monotonic() + within
    while True:
        now = holdings()
        more = {name: now[name] - before[name] for name in now if now[name] > before[name]}
        if not more or time.monotonic() > until:
            return more
        time.sleep(0.1)


def grown(samples: list[int]) -> int:
    """By how many bytes memory grew from the second quarter to the last."""
    quarter = len(samples) // 4
    if quarter == 0:
        return 0
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    return int(statistics.median(late) - statistics.median(early))


class Storm:
    """The threads, and a watch over them."""

    def __init__(self, seats: list[Seat], seed: int) -> None:
        self.tally = Tally()
        self.memory: list[int] = []
        self._seats = seats
        self._over = threading.Event()
        self._began = [time.monotonic()] * THREADS
        self._threads = [
            threading.Thread(target=self._run, args=(n, seed), daemon=True) for n in range(THREADS)
        ]

    def _run(self, number: int, seed: int) -> None:
        random = Random(f"{seed} {number}")
        try:
            while not self._over.is_set():
                self._began[number] = time.monotonic()
                seat = random.choice(self._seats)
                act = fault_once if random.randrange(CALLS_A_FAULT) == 0 else call_once
                act(seat, random, self.tally)
        except BaseException as error:
            self.tally.fail(f"a thread ended: {error!r}")

    def run(self, seconds: float) -> None:
        """Let it rage for so long, and calm down. A hang ends the program."""
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.start()
        while time.monotonic() < until and not self.tally.wrong:
            time.sleep(min(1.0, seconds / 50))
            self.memory.append(resident())
            self._watch()
        self._over.set()
        while any(thread.is_alive() for thread in self._threads):
            time.sleep(0.05)
            self._watch()

    def _watch(self) -> None:
        alive = [n for n, thread in enumerate(self._threads) if thread.is_alive()]
        if any(time.monotonic() - self._began[n] > HANG_SECONDS for n in alive):
            faulthandler.dump_traceback(all_threads=True)
            print("a hang", file=sys.stderr, flush=True)
            os._exit(3)


def settle(seats: list[Seat]) -> None:
    """Use each library once in every way, and close it: what stays after that may stay."""
    for seat in seats:
        for call in CALLS:
            call(seat.library(), Random(0))
        seat.close()


def cycle(file: Path, count: int) -> dict[str, Any]:
    """Open and close a library so many times."""
    memory: list[int] = []
    before: dict[str, int] = {}
    began = time.perf_counter()
    for n in range(WARM + count):
        if n == WARM:
            before, began = holdings(), time.perf_counter()
        with ferry.load(file, header=HEADER, isolation="worker", arena=1 << 16) as lib:
            assert lib.add(n, 1) == n + 1
        if n >= WARM and n % max(1, count // 100) == 0:
            memory.append(resident())
    took = time.perf_counter() - began
    return {
        "cycles": count,
        "left": left_behind(before),
        "grown": grown(memory),
        "seconds": took,
    }


def show(result: dict[str, Any]) -> None:
    print(f"calls with the right answer: {result['calls']}")
    print(f"libraries opened: {result['opened']}")
    for what, seen in result["seen"].items():
        count = result["injected"].get(what, "")
        print(f"  {what} {count}: {', '.join(f'{n} {c}' for n, c in seen.items())}")
    print(f"left behind: {result['left'] or 'nothing'}; memory grew by {result['grown']:,} bytes")
    print(f"opened and closed: {result['cycle']}")


def main() -> None:
    """Run it; the exit code is 1 if anything went wrong."""
    seconds = float(os.environ.get("FERRY_SOAK_SECONDS", "3600"))
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="Soak libferry.")
    parser.add_argument("--seconds", type=float, default=seconds)
    parser.add_argument("--cycles", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("FERRY_SEED", "0")))
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    # the errors of threads that close() overtakes have nobody to be told
    sys.unraisablehook = lambda what: (
        None if isinstance(what.exc_value, EXPLAINED) else sys.__unraisablehook__(what)
    )
    with tempfile.TemporaryDirectory(prefix="ferry-soak-") as folder:
        seats = open_seats(Path(folder))
        settle(seats)
        before = holdings()
        storm = Storm(seats, options.seed)
        storm.run(options.seconds)
        for seat in seats:
            seat.close()
        tally = storm.tally
        result = {
            "seconds": options.seconds,
            "threads": THREADS,
            "calls": dict(sorted(tally.calls.items())),
            "opened": {seat.abi: seat.opened for seat in seats},
            "injected": dict(tally.injected.most_common()),
            "seen": {what: dict(seen.most_common()) for what, seen in tally.seen.items()},
            "bystander": BYSTANDER,
            "wrong": tally.wrong,
            "left": left_behind(before),
            "grown": grown(storm.memory),
            "cycle": cycle(seats[0].file, options.cycles),
        }
    options.result.parent.mkdir(parents=True, exist_ok=True)
    options.result.write_text(json.dumps(result, indent=1))
    show(result)
    failures = list(tally.wrong[:10])
    for where, long in ((result, options.seconds >= LONG), (result["cycle"], True)):
        if where["left"]:
            failures.append(f"left behind: {where['left']}")
        if long and where["grown"] > GROWTH:
            failures.append(f"memory grew by {where['grown']:,} bytes")
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
