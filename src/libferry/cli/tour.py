"""``libferry tour``: one C library, compiled for every target and called here."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from libferry.abi import ABIS, Abi, CallPlan, Move, frame
from libferry.build import compile_library
from libferry.cli import output
from libferry.cli.failure import NO
from libferry.contract import declare
from libferry.errors import FerryError
from libferry.runtime import Library, load, runner

SOURCE = Path(__file__).with_name("tour.c")
HEADER = """
int add(int a, int b);
uint32_t checksum(const void *data, size_t size);
const char *greeting(const char *language);
double discount(double price, int percent);
int withdraw(int amount, int *balance);
struct account { double balance; int branch; };
struct account deposit(struct account account, int amount);
int count(const int *values, int length, int (*is_wanted)(int value));
"""


def _withdraw(library: Library) -> tuple[object, object]:
    balance = library.out("int")
    balance.value = 100
    return library.withdraw(30, balance), balance.value


def _deposit(library: Library) -> object:
    account = library.deposit({"balance": 70.5, "branch": 42}, 30)
    return account.balance, account.branch


def _is_odd(value: int) -> bool:
    return value % 2 == 1


# What is called -> how, and what has to come back.
CALLS: dict[str, tuple[Callable[[Library], object], object]] = {
    "add(2, -5)": (lambda library: library.add(2, -5), -3),
    # FNV's own test vector: http://www.isthe.com/chongo/src/fnv/test_fnv.c
    'checksum("foobar", 6)': (lambda library: library.checksum(b"foobar", 6), 0xBF9CF968),
    'greeting("zh")': (lambda library: library.greeting("zh"), "你好"),
    "discount(80.0, 25)": (lambda library: library.discount(80.0, 25), 60.0),
    "withdraw(30, &balance)": (_withdraw, (30, 70)),
    "deposit({70.5, 42}, 30)": (_deposit, (100.5, 42)),
    "count([3, 8, 5], 3, is_odd)": (lambda library: library.count([3, 8, 5], 3, _is_odd), 2),
}

# Their arguments go to a different place on every ABI, and so does a structure.
SHOWN, SHOWN_STRUCTURE = "discount", "deposit"
HOT_CALLS = 1000
HOT_ROUNDS = 9


@dataclass(frozen=True)
class Stop:
    """What the tour found out about one target."""

    abi: str
    through: str = ""
    isolation: str = ""
    wrong: tuple[str, ...] = ()
    load_seconds: float = 0.0
    call_seconds: float = 0.0
    error: FerryError | None = None


def command() -> int:
    """See it work: a C library for every target, called here.

    \b
    libferry tour

    The compiler comes with: pip install 'libferry[build]'. Its first run takes some ten
    seconds. A target that this machine cannot host is shown with what to install.

    A hot call is one of many in a row, add(2, 3): the median, on this machine as busy
    as it is.

    The exit code is 1 if a target gave a wrong result.
    """
    with tempfile.TemporaryDirectory(prefix="libferry-tour-") as folder:
        hosted, stops = [], {}
        for abi in ABIS:
            try:
                runner.find(abi)
                hosted.append(abi)
            except FerryError as error:
                stops[abi] = Stop(abi, error=error)
        with _working(f"compiling for {len(hosted)} targets"), ThreadPoolExecutor() as pool:
            source = SOURCE.read_text(encoding="utf-8")
            made = pool.map(
                lambda abi: compile_library(source, abi, Path(folder) / abi, "tour"), hosted
            )
            files = dict(zip(hosted, made, strict=True))
        for abi, file in files.items():  # nothing moves meanwhile: it would be measured, too
            stops[abi] = _visit(abi, file)
    _show([stops[abi] for abi in ABIS])
    return NO if any(stop.wrong for stop in stops.values()) else 0


@contextmanager
def _working(what: str) -> Iterator[None]:
    """Say what takes its time, to a person who waits."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


def _visit(abi: str, file: Path) -> Stop:
    start = time.perf_counter()
    try:
        with load(file, header=HEADER) as library:
            loaded = time.perf_counter() - start
            wrong = []
            for what, (call, expected) in CALLS.items():
                result = call(library)
                if result != expected:
                    wrong.append(f"{what} gave {result!r} instead of {expected!r}")
            return Stop(
                abi, library.through, library.isolation, tuple(wrong), loaded, _hot(library)
            )
    except FerryError as error:
        return Stop(abi, error=error)


def _hot(library: Library) -> float:
    """Seconds for one call when it is made again and again: the median of a few rounds."""
    add = library.add
    rounds = []
    for _ in range(HOT_ROUNDS):
        start = time.perf_counter()
        for _ in range(HOT_CALLS):
            add(2, 3)
        rounds.append(time.perf_counter() - start)
    return median(rounds) / HOT_CALLS


def _show(stops: list[Stop]) -> None:
    output.line("One C library, compiled for each target, and called there:")
    output.line()
    output.fields((f"  {what}", repr(expected)) for what, (_, expected) in CALLS.items())
    output.line()
    output.table(
        ["target", "through", "isolation", "results", "load", "hot call"],
        [_row(stop) for stop in stops],
        styles=["bold"],
    )
    for stop in stops:
        output.lines(f"{stop.abi}: {wrong}" for wrong in stop.wrong)
    missing = [(stop.abi, stop.error) for stop in stops if stop.error]
    if missing:
        output.line()
        output.line("Not called here:")
        for abi, error in missing:
            output.fields([(f"  {abi}", error.happened), ("  hint", error.hint)])
    output.line()
    header = declare(HEADER, runner.host_abi())
    output.line(f"What crosses is the registers and the stack. For {header.functions[SHOWN]}:")
    output.line()
    names = [parameter.name for parameter in header.functions[SHOWN].parameters]
    rows = [[*_places(abi, SHOWN), _result(abi)] for abi in ABIS.values()]
    output.table(["target", *names, "result"], rows, styles=["bold"])
    output.line()
    output.line("and for struct account { double balance; int branch; }, by value:")
    output.line()
    rows = [_places(abi, SHOWN_STRUCTURE)[:2] for abi in ABIS.values()]
    output.table(["target", "account"], rows, styles=["bold"])


def _row(stop: Stop) -> tuple[str, ...]:
    if stop.error:
        return (stop.abi, "not here", "", "", "", "")
    return (
        stop.abi,
        stop.through,
        stop.isolation,
        "wrong" if stop.wrong else "as expected",
        f"{stop.load_seconds * 1e3:.1f} ms",
        f"{stop.call_seconds * 1e6:.2f} µs",
    )


def _places(abi: Abi, function: str) -> list[str]:
    """An ABI's name, and where it wants each argument of a function."""
    plan = declare(HEADER, abi.name).functions[function].plan
    return [abi.name, *(_places_of(abi, plan, moves) for moves in plan.arguments)]


def _result(abi: Abi) -> str:
    """Where the shown function leaves its result."""
    x87 = declare(HEADER, abi.name).functions[SHOWN].plan.x87
    return "st(0)" if x87 else abi.vector_registers[0]


def _places_of(abi: Abi, plan: CallPlan, moves: tuple[Move, ...]) -> str:
    """Where one argument goes: one place, several, or that of its address."""
    for reference in plan.references:
        if reference.at == moves[0].offset:
            return f"its address in {_places_at(abi, reference.cell, reference.width)}"
    return ", ".join(_places_at(abi, move.offset, move.width) for move in moves)


def _places_at(abi: Abi, offset: int, width: int) -> str:
    """The registers, or the piece of stack, that some bytes of the frame become."""
    if offset >= abi.stack_image:
        return f"stack + {offset - abi.stack_image}"
    registers, start, cell = abi.integer_registers, frame.INTEGER, abi.integer_cell
    if offset >= abi.vector_cells:
        registers, start, cell = abi.vector_registers, abi.vector_cells, abi.vector_cell
    return ", ".join(registers[(at - start) // cell] for at in range(offset, offset + width, cell))
