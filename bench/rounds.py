"""Rounds: the part of a benchmark that keeps it honest on a machine in use.

A machine's speed drifts: another program starts, the clock changes, a host moves a
guest. Two contenders measured one after the other differ by that drift. Here all
contenders of a section are open at the same time and are measured in rounds, each
one once per round, a different one first every time. A ratio is computed within
each round, where both sides saw the same weather, and the median of those ratios
is reported. Medians of times are reported beside them and are worth less.

Contenders in Python are called by `timeit`, the same way for all: the function is
a local variable, the collector is off, the loop is `for _ in repeat(None, n)`. The
loop is not subtracted from anything; it is a row of its own.
"""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from .build import NotAvailableError
from .units import show_time

# Gives the seconds that one of `count` calls took.
Run = Callable[[int], float]


@dataclass(frozen=True)
class Contender:
    """Somebody who can be measured: `open` gets it ready and says how to run it."""

    name: str
    open: Callable[[ExitStack], Run]


@dataclass(frozen=True)
class Section:
    """Contenders that do the same work, measured beside each other.

    Attributes:
        key: the name on the command line.
        title: the heading.
        why: what is measured, and why so.
        reference: the contender that the table's ratios refer to, if any.
        contenders: who takes part, in the order of the table.
        count: calls per round; None finds a count that fills `ROUND_SECONDS`.
        rounds: how many rounds; None takes the command line's.
        show: writes a value; they are seconds but for counts of something else.
    """

    key: str
    title: str
    why: str
    reference: str | None
    contenders: Sequence[Contender]
    count: int | None = None
    rounds: int | None = None
    show: Callable[[float], str] = show_time


@dataclass
class Outcome:
    """What came out of a section: seconds per call for each round, or why not."""

    section: Section
    seconds: dict[str, list[float]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratios(self, name: str, reference: str) -> list[float]:
        """Compute the ratio of two contenders in each round."""
        pairs = zip(self.seconds[name], self.seconds[reference], strict=True)
        return [mine / theirs if theirs else float("inf") for mine, theirs in pairs]

    def differences(self, name: str, reference: str) -> list[float]:
        """Compute the seconds that one takes more than the other in each round."""
        pairs = zip(self.seconds[name], self.seconds[reference], strict=True)
        return [mine - theirs for mine, theirs in pairs]


ROUND_SECONDS = 0.01


def statement(code: str, **names: object) -> Run:
    """Make a run of a statement, whose names become local variables."""
    setup = "; ".join(f"{name} = _{name}" for name in names)
    values = {f"_{name}": value for name, value in names.items()}
    timer = timeit.Timer(code, setup or "pass", globals=values)
    return lambda count: timer.timeit(count) / count


def measure(section: Section, rounds: int) -> Outcome:
    """Open every contender, run the rounds, close them all."""
    outcome = Outcome(section)
    with ExitStack() as stack:
        runs: dict[str, tuple[Run, int]] = {}
        for contender in section.contenders:
            try:
                run = contender.open(stack)
                runs[contender.name] = run, section.count or _fitting_count(run)
            except NotAvailableError as error:
                outcome.absent[contender.name] = f"not available: {error}"
            except Exception as error:  # one contender's failure is a result as well
                outcome.absent[contender.name] = f"failed: {type(error).__name__}: {error}"
        order = list(runs)
        for name in order:
            outcome.seconds[name] = []
        for _ in range(section.rounds or rounds):
            order = order[1:] + order[:1]
            for name in tuple(order):
                run, count = runs[name]
                try:
                    if section.count is None:
                        run(1 + count // 4)  # caches warm again, a sleeping worker awake
                    outcome.seconds[name].append(run(count))
                except Exception as error:
                    outcome.absent[name] = f"failed: {type(error).__name__}: {error}"
                    del outcome.seconds[name]
                    order.remove(name)
    return outcome


def _fitting_count(run: Run) -> int:
    count = 1
    while True:
        best = min(run(count) for _ in range(3))  # the first may wait for a worker to wake up
        if best * count > ROUND_SECONDS / 5:
            return max(1, round(ROUND_SECONDS / best))
        count *= 2
