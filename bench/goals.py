"""The goals: what libferry has set itself, as facts that a run can check."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Literal

from .rounds import Outcome


@dataclass(frozen=True)
class Goal:
    """One promise about one contender.

    Attributes:
        section: the section's key.
        contender: who promises.
        most: the largest value that still keeps the promise.
        unit: `times` the other contender, seconds `more` than it, or `seconds`.
        than: the other contender.
    """

    section: str
    contender: str
    most: float
    unit: Literal["times", "more", "seconds"]
    than: str = ""

    def describe(self, reference: str | None = None) -> str:
        """Write the promise; the reference of a table need not be named in it."""
        than = "" if self.than == reference else f" {self.than}"
        if self.unit == "times":
            return f"≤ {self.most:g} ×{than}"
        if self.unit == "more":
            return f"≤ +{show_time(self.most)}{than and ' on'}{than}"
        return f"≤ {show_time(self.most)}" if self.most else "no time"

    def measured(self, outcome: Outcome) -> float | None:
        """Compute what the promise is about, or None if somebody was absent."""
        names = {self.contender, self.than or self.contender}
        if not names <= outcome.seconds.keys():
            return None
        if self.unit == "times":
            return statistics.median(outcome.ratios(self.contender, self.than))
        if self.unit == "more":
            return statistics.median(outcome.differences(self.contender, self.than))
        return outcome.median(self.contender)

    def show(self, value: float) -> str:
        if self.unit == "times":
            return f"{show_ratio(value)} ×"
        return ("+" if self.unit == "more" and value >= 0 else "") + show_time(value)


def show_ratio(ratio: float) -> str:
    """Write a ratio with as many digits as mean anything."""
    return f"{ratio:.0f}" if ratio >= 99.5 else f"{ratio:.2f}"


def show_time(seconds: float) -> str:
    """Write a time with the unit that suits it."""
    if seconds == 0:
        return "0"
    for unit, size in (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3)):
        if abs(seconds) < 999.5 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


GOALS = [
    Goal("in-process", "libferry", 0.25, "times", "ctypes"),
    Goal("in-process", "libferry", 0.7, "times", "cffi, API mode"),
    Goal("in-process", "libferry, GIL kept", 0.12, "times", "ctypes"),
    Goal("hot", "libferry worker x86-64", 2, "times", "the limit, from Python"),
    Goal("hot", "libferry worker i386", 1.1, "times", "libferry worker x86-64"),
    Goal("hot", "libferry worker Wine x86-64", 10, "times", "the limit, from Python"),
    Goal("hot", "libferry worker Wine i386", 10, "times", "the limit, from Python"),
    Goal("parked", "libferry worker, same CPU", 1.4, "times", "the limit, same CPU"),
    Goal("bulk", "libferry worker, Buffer", 5e-6, "more", "the callee alone"),
    Goal("bulk", "libferry worker, bytes", 1.5, "times", "the callee alone"),
    Goal("start", "libferry worker x86-64, libz", 5e-3, "seconds"),
    Goal("start", "libferry worker x86-64", 5e-3, "seconds"),
    Goal("start", "libferry worker i386", 5e-3, "seconds"),
    Goal("idle", "libferry worker x86-64", 0, "seconds"),
    Goal("idle", "libferry worker i386", 0, "seconds"),
    Goal("idle", "libferry worker Wine x86-64", 0, "seconds"),
]
