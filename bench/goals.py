"""The goals: what libferry has set itself, as facts that a run can check."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Literal

from .rounds import Outcome
from .units import show_bytes, show_count, show_ratio, show_time

Unit = Literal["times", "faster", "more", "seconds", "count", "bytes"]


@dataclass(frozen=True)
class Goal:
    """One promise about one contender.

    Attributes:
        section: the section's key.
        contender: who promises.
        limit: the value that just keeps the promise.
        unit: `times` the other contender's time at most, so often `faster` than it at
            least, seconds `more` than it at most, or just `seconds`, `bytes` or a `count`.
        than: the other contender.
    """

    section: str
    contender: str
    limit: float
    unit: Unit
    than: str = ""

    def describe(self, reference: str | None = None) -> str:
        """Write the promise; the reference of a table need not be named in it."""
        than = "" if self.than == reference else f" {self.than}"
        match self.unit:
            case "times":
                return f"≤ {self.limit:g} ×{than}"
            case "faster":
                return f"≥ {self.limit:g} × as fast as {self.than}"
            case "more":
                return f"≤ +{show_time(self.limit)}{than and ' on'}{than}"
            case "bytes":
                return f"≤ {show_bytes(self.limit)}"
            case "count":
                return f"≤ {show_count(self.limit)}" if self.limit else "none"
        return f"≤ {show_time(self.limit)}" if self.limit else "no time"

    def measured(self, outcome: Outcome) -> float | None:
        """Compute what the promise is about, or None if somebody was absent."""
        names = {self.contender, self.than or self.contender}
        if not names <= outcome.seconds.keys():
            return None
        if self.unit == "times":
            return statistics.median(outcome.ratios(self.contender, self.than))
        if self.unit == "faster":
            return statistics.median(outcome.ratios(self.than, self.contender))
        if self.unit == "more":
            return statistics.median(outcome.differences(self.contender, self.than))
        return outcome.median(self.contender)

    def kept(self, value: float) -> bool:
        """Whether what was measured keeps the promise."""
        return value >= self.limit if self.unit == "faster" else value <= self.limit

    def show(self, value: float) -> str:
        if self.unit in ("times", "faster"):
            return f"{show_ratio(value)} ×"
        if self.unit == "bytes":
            return show_bytes(value)
        if self.unit == "count":
            return show_count(value)
        return ("+" if self.unit == "more" and value >= 0 else "") + show_time(value)


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
    Goal("by-value", "libferry, a structure", 1.5, "times", "libferry, two numbers"),
    Goal("by-value", "libferry, twelve numbers", 1.5, "times", "libferry, two numbers"),
    Goal("by-value-hot", "x86-64, a structure", 1.5, "times", "x86-64, two numbers"),
    Goal("by-value-hot", "x86-64, twelve numbers", 1.5, "times", "x86-64, two numbers"),
    Goal("by-value-hot", "i386, a structure", 1.5, "times", "i386, two numbers"),
    Goal("by-value-hot", "i386, twelve numbers", 1.5, "times", "i386, two numbers"),
    Goal("callback", "libferry, one callback", 1.2, "times", "cffi, API mode, one callback"),
    Goal("callback", "libferry, one callback", 1.2, "times", "cffi, ABI mode, one callback"),
    Goal("callback", "libferry, each of 100", 1.2, "times", "cffi, API mode, each of 100"),
    Goal("callback", "libferry, each of 100", 1.2, "times", "cffi, ABI mode, each of 100"),
    Goal("callback-hot", "x86-64, each of 100", 2, "times", "x86-64, none"),
    Goal("callback-hot", "x86-64, one callback", 2, "times", "x86-64, none"),
    Goal("callback-hot", "i386, each of 100", 2, "times", "i386, none"),
    Goal("callback-hot", "i386, one callback", 2, "times", "i386, none"),
    Goal("map", "in-process", 100, "faster", "ctypes, a loop"),
    Goal("map", "worker x86-64", 1.2, "times", "in-process"),
    Goal("map", "worker i386", 1.2, "times", "in-process"),
    Goal("map", "worker Wine x86-64", 1.5, "times", "in-process"),
    Goal("map", "worker Wine i386", 1.5, "times", "in-process"),
    Goal("threads", "work, 2 threads", 0.6, "times", "work, 1 thread"),
    Goal("allocations", "in-process", 0, "count"),
    Goal("allocations", "worker x86-64, this side", 0, "count"),
    Goal("allocations", "worker x86-64, its side", 0, "count"),
    Goal("reading-elf", "libferry", 8, "faster", "LIEF"),
    Goal("reading-elf", "libferry", 50, "faster", "pyelftools, names only"),
    Goal("reading-pe", "libferry", 8, "faster", "LIEF"),
    Goal("reading-macho", "libferry", 8, "faster", "LIEF"),
    Goal("reading-memory", "libferry", 40 << 20, "bytes"),
    Goal("resolving", "libferry", 50, "faster", "lddtree"),
    Goal("resolving", "libferry", 4, "times", "libtree"),
]
