"""Be the host of adversaries: `python -m tests.fuzz.attacked FOLDER --cases 100 --seed 0`.

FOLDER has what `building.build` makes. Each case is a session with a worker that attacks,
or with a lawful one whose library does, and threads that call it in every way there is.
Whatever comes back, a call returns or raises one of our errors, in time; what was not lent
is untouched; and when all is over nothing is left of it.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import os
import sys
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import libferry as ferry
from libferry.runtime import runner, worker
from tests.processes import children

from .operations import HEADER, OPERATIONS

LAWFUL = runner.WORKERS
STUCK_SECONDS = 60  # a case that takes as long is a hang
LATE_SECONDS = 30  # and so is one operation
ALLOWED = (
    ferry.ArenaFull,
    ferry.ChannelError,
    ferry.DeadlineExceeded,
    ferry.LibraryClosed,
    ferry.LibraryCrashed,
    ferry.LoadError,
    ferry.NoRunner,
    ferry.RowErrors,
    ferry.SymbolNotFound,
    UnicodeDecodeError,  # text is decoded as the API says
)

outcomes: Counter[str] = Counter()
failures: list[str] = []


def explain(error: ferry.LibraryCrashed) -> None:
    """Look at all that the worker has left behind for it: that is the worker's word, too."""
    try:
        str(error), repr(error), repr(error.registers), repr(error.backtrace)
    except Exception as broken:
        failures.append("".join(traceback.format_exception(broken)))


def note(error: BaseException | None) -> None:
    outcomes["returned" if error is None else type(error).__name__] += 1
    if isinstance(error, ferry.LibraryCrashed):
        explain(error)
    if error is not None and not isinstance(error, ALLOWED):
        failures.append("".join(traceback.format_exception(error)))


def call_on(lib: ferry.Library, seed: int) -> None:
    """What one thread of the host does with the session, until that is over."""
    random = Random(seed)
    for _ in range(random.randrange(5, 60)):
        operation = random.choice(OPERATIONS)
        began = time.monotonic()
        try:
            operation(lib, random)
            note(None)
        except BaseException as error:
            note(error)
        if (took := time.monotonic() - began) > LATE_SECONDS:
            failures.append(f"{operation.__name__} took {took:.0f} s")
        if lib._ferry_session.death() or lib.closed:
            return


def play(folder: Path, seed: int) -> None:
    """One case: one session."""
    random = Random(seed)
    played = random.random() < 0.7
    runner.WORKERS = folder / "workers" if played else LAWFUL
    os.environ["FERRY_ADVERSARY"] = str(seed)
    try:
        lib = ferry.load(
            folder / "library.so",
            header=HEADER,
            isolation="worker",
            timeout=random.choice([0.05, 0.2, 0.5]),
            arena=1 << random.randrange(17, 23),
            spin=random.random() < 0.6,
            threads=random.choice([None, None, "one"]),
        )
        if not played:
            lib.start_attack(seed)
    except ferry.FerryError as error:
        return note(error)
    others = [
        threading.Thread(target=call_on, args=(lib, seed + 1 + n))
        for n in range(random.choice([0, 0, 0, 2]))
    ]
    for other in others:
        other.start()
    call_on(lib, seed)
    if random.random() < 0.5:
        lib.close()
    for other in others:
        other.join()
    lib.close()
    return None


def calls_right(folder: Path) -> None:
    """After all that, a lawful worker is what it was."""
    runner.WORKERS = LAWFUL
    with ferry.load(folder / "library.so", header=HEADER, isolation="worker") as lib:
        assert [lib.add(n, 1) for n in range(10)] == list(range(1, 11))
        assert lib.apply(lambda x: x + 1, 1) == 2


def holdings() -> dict[str, int]:
    """What this process has that it could forget to give back."""
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "mapped channels": Path("/proc/self/maps").read_text().count("libferry-channel"),
        "threads": threading.active_count(),
        "processes": len(children()),
    }


def settled(before: dict[str, int], within: float = 20.0) -> dict[str, int]:
    """What is held once all that ends has ended; threads may take a moment to see it."""
    until = time.monotonic() + within
    while (now := holdings()) != before and time.monotonic() < until:
        gc.collect()
        time.sleep(0.05)
    return {name: now[name] - before[name] for name in now if now[name] != before[name]}


def reported(what: Any) -> None:
    """An error that nobody could be told: a guest's, or a callback's second."""
    if not isinstance(what.exc_value, ALLOWED):
        failures.append(f"unraisable in {what.object!r}: {what.exc_value!r}")


def broken(what: threading.ExceptHookArgs) -> None:
    failures.append("".join(traceback.format_exception(what.exc_value)))


def main() -> None:
    """Play as many cases as asked for, and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=1e9, help="no case begins after as many")
    options = parser.parse_args()
    worker.START_TIMEOUT_NS = 10**9
    worker.QUIT_SECONDS = 0.05
    sys.unraisablehook = reported
    threading.excepthook = broken
    calls_right(options.folder)
    gc.collect()
    before = holdings()
    until, played = time.monotonic() + options.seconds, 0
    while played < options.cases and time.monotonic() < until and not failures:
        faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True)
        seed = options.seed + played
        print(f"seed {seed}", file=sys.stderr, flush=True)
        play(options.folder, seed)
        if played % 20 == 0:
            calls_right(options.folder)
        played += 1
    faulthandler.dump_traceback_later(STUCK_SECONDS, exit=True)
    calls_right(options.folder)
    if left := settled(before):
        failures.append(f"left behind: {left}")
    faulthandler.cancel_dump_traceback_later()
    shown = ", ".join(f"{name} {count}" for name, count in outcomes.most_common())
    print(f"{played} cases: {shown}", file=sys.stderr)
    if failures:
        again = f"--seed {options.seed + played - 1} --cases 1"
        sys.exit(f"{failures[0]}\nmore of it: {len(failures) - 1}; again: {again}")


if __name__ == "__main__":
    main()
