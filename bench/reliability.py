"""What faults cost: `python -m bench.reliability [SECTION ...] [--write]`.

The sections are measured as the benchmarks are (rounds.py), but each sample is a fault of its
own, so the tail counts as much as the median. `--write` puts the numbers into
docs/reliability.md, between its marks; the words around them are written by hand.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace

from rich.console import Console

from .faults import CRASH, CRASHES, HOT, LIFE, RESTART, START
from .faults_page import PAGE, page
from .machine import describe
from .rounds import Outcome, measure
from .units import show_ratio, show_time

SECTIONS = (CRASH, RESTART, START, HOT)


@dataclass(frozen=True)
class Goal:
    """A promise: the median of a contender is at most so much, or so often another's."""

    section: str
    contender: str
    limit: float
    than: str = ""

    def verdict(self, outcome: Outcome) -> str:
        if not {self.contender, self.than or self.contender} <= outcome.seconds.keys():
            return "not measured"
        if self.than:
            value = statistics.median(outcome.ratios(self.contender, self.than))
            promise, shown = f"≤ {self.limit:g} × {self.than}", f"{show_ratio(value)} ×"
        else:
            value = outcome.median(self.contender)
            promise, shown = f"≤ {show_time(self.limit)}", show_time(value)
        return f"{promise}: {shown}, **{'yes' if value <= self.limit else 'no'}**"


GOALS = (
    Goal("crash", "libferry x86-64, a fault", 1e-3),
    Goal("crash", "libferry i386, a fault", 1e-3),
    Goal("crash", "libferry x86-64, kill -9", 1e-3),
    Goal("restart", "libferry x86-64, restart=", 5e-3),
    Goal("restart", "libferry x86-64, by hand", 5e-3),
    Goal("start", "libferry, sandbox", 5e-3),
    Goal("start", "libferry, sandbox and spare", 1e-3),
    Goal("hot", "libferry, sandbox", 1.05, "libferry, worker"),
)


def percentile(samples: list[float], percent: int) -> float:
    """The sample that so many percent are not above."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def rows(outcome: Outcome) -> Iterator[list[str]]:
    """A line for each contender: median, 99th percentile, slowest, how many, goal."""
    for contender in outcome.section.contenders:
        name = contender.name
        if name not in outcome.seconds:
            yield [name, outcome.absent[name], "", "", "", ""]
            continue
        samples = outcome.seconds[name]
        goals = [g for g in GOALS if (g.section, g.contender) == (outcome.section.key, name)]
        yield [
            name,
            show_time(statistics.median(samples)),
            show_time(percentile(samples, 99)),
            show_time(max(samples)),
            str(len(samples)),
            "<br>".join(goal.verdict(outcome) for goal in goals),
        ]


def main() -> None:
    """Measure, show, and write the page if asked to."""
    keys = [*(section.key for section in SECTIONS), "life"]
    parser = argparse.ArgumentParser(prog="python -m bench.reliability")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(keys))
    parser.add_argument("--rounds", type=int, help="samples of each contender")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(keys):
        parser.error(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(keys)}")
    if options.write and options.sections:
        parser.error("--write is for a run of all sections")
    console = Console()
    measured = []
    for section in SECTIONS:
        if options.sections and section.key not in options.sections:
            continue
        rounds = options.rounds or section.rounds
        outcome = measure(replace(section, rounds=rounds), CRASHES)
        measured.append((section, list(rows(outcome))))
        console.print(f"[bold]{section.title}[/bold]")
        for row in measured[-1][1]:
            console.print("  " + "; ".join(filter(None, row)), markup=False, highlight=False)
    lives = []
    if not options.sections or "life" in options.sections:
        lives = LIFE()
        for line in lives:
            console.print("  " + "; ".join(line), markup=False, highlight=False)
    if options.write:
        PAGE.write_text(page(describe(), measured, lives), encoding="utf-8")
        console.print(f"written: {PAGE.name}")


if __name__ == "__main__":
    main()
