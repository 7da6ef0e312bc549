"""Answers kept from one run to the next, in ``$XDG_CACHE_HOME/libferry/check``.

For each input and question there is one file. An answer in it counts again if everything
that it rests on is as it was: libferry's own rules; the question, with the environment
that the loader heeds; and every place that was looked at, the file itself among them. A
place is as it was if its stamp is (device, inode, size, two times), or else if its contents
have the same digest, as after a fresh checkout.

What was changed while it was audited is not kept: its time of change is not before the run,
and clocks of file systems have ticks of a few milliseconds.

It is JSON: a file that somebody else could write is not to be unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import libferry
from libferry.audit.asking import Question, loader_environment
from libferry.audit.many.asked import Answers, digest_of
from libferry.audit.many.watched import Stamp, stamp_of
from libferry.audit.model import Finding
from libferry.audit.report import Edge, FileReport
from libferry.errors import FerryError
from libferry.target.system import System

FORMAT = 1
TICK = 20_000_000  # ns; the coarse clock of Linux ticks every 4 ms, others every 10

_ROOMS = ("audit", "binary", "loader", "target")


def folder() -> Path:
    """Where answers are kept (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "libferry/check"


@cache
def rules_version() -> str:
    """Which rules these are: the version, and the state of the source."""
    seen = hashlib.sha256(libferry.__version__.encode())
    root = Path(libferry.__file__).parent
    for room in _ROOMS:
        for file in sorted((root / room).rglob("*")):
            if file.suffix in (".py", ".toml", ".txt"):
                status = file.stat()
                seen.update(f"{file} {status.st_size} {status.st_mtime_ns}".encode())
    return seen.hexdigest()


def key_of(question: Question, what: str) -> str:
    """The name of the file for an input: of ``what``, its path or its digest."""
    asked = asdict(question)
    asked["selection"] = [
        sorted(question.selection.select),
        sorted(question.selection.ignore),
        [(pattern, sorted(ids)) for pattern, ids in question.selection.per_file],
    ]
    asked["exports"] = None if question.exports is None else sorted(question.exports)
    target = Path(question.target or "")
    asked["target file"] = digest_of(target) if target.is_file() else ""
    asked["loader"] = loader_environment()
    asked["from"] = os.getcwd()
    words = json.dumps([FORMAT, rules_version(), asked, what], sort_keys=True, default=dict)
    return hashlib.sha256(words.encode("utf-8", "backslashreplace")).hexdigest()


class Kept:
    """The kept answers for one input and question."""

    def __init__(self, path: Path) -> None:
        """Read what is there; what cannot be read is as if it were not there."""
        self.places: list[list[Any]] = []
        self.edges: list[Edge] = []
        self.files: dict[str, list[Any]] = {}
        self.wide: list[int] = []
        self.total = -1
        try:
            data = json.loads(path.read_bytes())
            self.edges = [Edge(*edge) for edge in data["edges"]]
            self.places, self.wide, self.files = data["places"], data["wide"], data["files"]
            self.total = data["total"]
        except (OSError, ValueError, LookupError, TypeError):
            self.files = {}

    def valid(self, system_of: Callable[[str], System]) -> dict[str, FileReport]:
        """The answers that still count, by the shown path of the file."""
        systems: dict[str, System | None] = {}
        same: dict[int, bool] = {}

        def is_same(number: int) -> bool:
            if number not in same:
                kind, path, stamp, digest = self.places[number]
                if kind not in systems:
                    try:
                        systems[kind] = system_of(kind)
                    except FerryError:
                        systems[kind] = None
                system = systems[kind]
                same[number] = system is not None and _is_as_it_was(system, path, stamp, digest)
            return same[number]

        wide = {self.places[number][0] for number in self.wide if not is_same(number)}
        found = {}
        for shown, (kind, numbers, edges, report) in self.files.items():
            if kind not in wide and all(map(is_same, numbers)):
                found[shown] = self._report(shown, edges, report)
        return found

    def _report(self, shown: str, edges: list[int], report: dict[str, Any]) -> FileReport:
        findings = tuple(
            Finding(rule, severity, shown, subject, message, evidence, fix)
            for rule, severity, subject, message, evidence, fix in report["findings"]
        )
        return FileReport(
            shown,
            report["target"],
            report["answer"],
            report["reason"],
            findings,
            tuple(map(self.edges.__getitem__, edges)),
            report["facts"],
        )


def _is_as_it_was(system: System, path: str, stamp: Any, digest: str) -> bool:
    now = stamp_of(system, path)
    if isinstance(now, str) or isinstance(stamp, str):
        return bool(now == stamp)
    if list(now) == stamp:
        return True
    found = system.find(path)
    return (
        bool(digest)
        and now[2] == stamp[2]
        and found is not None
        and (found.file is not None and digest_of(found.file) == digest)
    )


class Keeping:
    """Collects the answers of one run, and writes them down."""

    def __init__(self, path: Path, system_of: Callable[[str], System]) -> None:
        self._path = path
        self._system_of = system_of
        self._start = time.time_ns() - TICK
        self._places: dict[tuple[str, str], int] = {}
        self._rows: list[list[Any]] = []
        self._edges: dict[Edge, int] = {}
        self._files: dict[str, list[Any]] = {}
        self._wide: set[int] = set()

    def add(self, answers: Answers) -> None:
        """Take what one process found out."""
        numbers = [self._place(*each) for each in zip(answers.places, answers.stamps, strict=True)]
        edges = [self._edges.setdefault(edge, len(self._edges)) for edge in answers.edges]
        self._wide.update(numbers[each] for each in answers.wide)
        each_file = zip(
            answers.reports, answers.edges_of, answers.places_of, answers.digests, strict=True
        )
        for report, its_edges, its_places, digest in each_file:
            if report.error is not None or not digest:
                continue
            its = [numbers[each] for each in its_places]
            if its:
                self._rows[its[0]][3] = digest
            kind = f"{report.facts['format']}/{report.facts['cpu']}"
            self._files[report.file] = [kind, its, [edges[one] for one in its_edges], _row(report)]

    def adopt(self, kept: Kept, files: Iterable[str]) -> None:
        """Keep some of what was kept before."""
        for shown in files:
            kind, places, edges, report = kept.files[shown]
            its = [self._row_of(kept.places[number]) for number in places]
            its_edges = [
                self._edges.setdefault(kept.edges[number], len(self._edges)) for number in edges
            ]
            self._files[shown] = [kind, its, its_edges, report]
        self._wide.update(self._row_of(kept.places[number]) for number in kept.wide)

    def _row_of(self, row: list[Any]) -> int:
        kind, path, kept, digest = row
        stamp: Any = kept if isinstance(kept, str) else tuple(kept)
        number = self._place((kind, path), stamp)
        self._rows[number][3] = self._rows[number][3] or digest
        return number

    def _place(self, place: tuple[str, str], stamp: Stamp) -> int:
        number = self._places.get(place)
        if number is None:
            number = self._places[place] = len(self._rows)
            self._rows.append([*place, stamp, ""])
        elif self._rows[number][2] != stamp:  # two processes saw different things
            self._rows[number][2] = "changed"
        return number

    def _is_good(self, number: int) -> bool:
        stamp = self._rows[number][2]
        return stamp != "changed" if isinstance(stamp, str) else max(stamp[3:]) < self._start

    def write(self, total: int) -> None:
        """Write it, whole or not at all; a cache that cannot be written is none.

        Args:
            total: how many files the input has, with those that cannot be read.
        """
        good = [self._is_good(number) for number in range(len(self._rows))]
        digests = {row[2]: row[3] for row in self._rows if row[3]}
        for row in self._rows:
            kind, path, stamp, digest = row
            if isinstance(stamp, str) or digest:
                continue
            if stamp not in digests:
                found = self._system_of(kind).find(path)
                digests[stamp] = digest_of(found.file) if found and found.file else ""
            row[3] = digests[stamp]
        data = {
            "total": total,
            "places": self._rows,
            "edges": [
                [edge.requester, edge.name, edge.path, edge.state, edge.how] for edge in self._edges
            ],
            "wide": sorted(self._wide),
            "files": {
                shown: row
                for shown, row in self._files.items()
                if all(good[number] for number in row[1])
            },
        }
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(data, separators=(",", ":")), encoding="ascii")
            partial.replace(self._path)
        except (OSError, TypeError, ValueError):
            partial.unlink(missing_ok=True)


def _row(report: FileReport) -> dict[str, Any]:
    return {
        "target": report.target,
        "answer": report.answer,
        "reason": report.reason,
        "facts": dict(report.facts),
        "findings": [
            [one.rule, one.severity, one.subject, one.message, dict(one.evidence), one.fix]
            for one in report.findings
        ],
    }
