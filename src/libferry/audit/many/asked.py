"""The work of one process: audit files of one tree, and say what the answers rest on.

Processes are started once for a tree and a target, so that what is known of a system is
kept from one file to the next. What they send back is written for a cheap trip: what many
files have in common, places and edges, is in a table once, and files have numbers.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from libferry.audit.asking import Asker, Question
from libferry.audit.inputs.installed import Installed
from libferry.audit.inputs.model import INSIDE, Item, Tree
from libferry.audit.inputs.wheel import PYTHON_FLAGS, is_of_python
from libferry.audit.judging import rejudged
from libferry.audit.many.watched import Stamp, Watched, places_of, stamp_of
from libferry.audit.report import Edge, FileReport
from libferry.target.system import System

Place = tuple[str, str]
"""A system, as ``format/cpu``, and a path there."""


@dataclass
class Answers:
    """What one process found out of some files.

    Attributes:
        reports: without their edges.
        edges: all that occur, once.
        edges_of: of each file, as numbers.
        places: what is at each place that was looked at.
        places_of: of each file, as numbers; its own first, unless it is in an archive.
        wide: places that count for all files of a system, as numbers.
        digests: of each file; "" if it is not wanted, or the file cannot be read.
    """

    reports: list[FileReport] = field(default_factory=list)
    edges: dict[Edge, int] = field(default_factory=dict)
    edges_of: list[list[int]] = field(default_factory=list)
    places: dict[Place, int] = field(default_factory=dict)
    stamps: list[Stamp] = field(default_factory=list)
    places_of: list[list[int]] = field(default_factory=list)
    wide: list[int] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)

    def whole(self) -> list[FileReport]:
        """The reports with their edges."""
        edges = list(self.edges)
        return [
            replace(report, needs=tuple(edges[number] for number in numbers))
            for report, numbers in zip(self.reports, self.edges_of, strict=True)
        ]


class Audit:
    """One tree and one question: gives the answers for some files at a time."""

    def __init__(self, question: Question, tree: Tree, *, keep: bool) -> None:
        """With ``keep``, say also what the answers rest on."""
        self._keep = keep
        self._root = os.path.realpath(tree.root) + "/"
        self._inside = tree.shown + INSIDE
        self._unpacked = bool(tree.content)
        self._all_inside = tree.whole and question.sysroot == str(tree.root) and self._unpacked
        self._installed = tree.root if tree.installs else None
        self._is_wheel = tree.kind == "wheel"
        self._strict = question.strict
        self._told: dict[str, set[str]] = {}
        one_file = tree.kind == "file"
        files = [item.file for item in tree.items] if question.together or one_file else []
        self._asker = Asker(
            question,
            files,
            carried=[] if one_file or tree.installs or tree.whole else [tree.root],
            directories=tree.directories,
            flags=PYTHON_FLAGS if tree.kind == "wheel" else (),
            around=self._around,
        )

    def _around(self, system: System) -> System:
        if self._installed is not None:
            system = Installed(system, self._installed)
        return Watched(system) if self._keep else system

    def system(self, kind: str) -> System:
        """The system for ``format/cpu``.

        Raises:
            LibraryNotFound: there is none.
        """
        format, _, cpu = kind.partition("/")
        return self._asker.system(format, cpu, "it")

    def ask(self, items: Sequence[Item]) -> Answers:
        """Audit some files."""
        answers = Answers()
        kinds: set[str] = set()
        for item in items:
            report = self._asker.report(item.file, item.shown)
            if self._is_wheel:
                new = [one for one in report.findings if not is_of_python(one)]
                report = rejudged(report, new, strict=self._strict)
            if self._unpacked:
                report = self._as_known(report)
            edges = answers.edges
            answers.edges_of.append([edges.setdefault(edge, len(edges)) for edge in report.needs])
            answers.reports.append(replace(report, needs=(), resolution=None))
            numbers: list[int] = []
            if self._keep and report.error is None:
                kind = f"{report.facts['format']}/{report.facts['cpu']}"
                system = self.system(kind)
                own = system.path_of(item.file)
                seen = places_of(report.resolution) if report.resolution is not None else set()
                numbers = self._numbers(answers, kind, [own, *(seen - {own})])
                seen.add(own)
                self._told.setdefault(kind, set()).update(seen)
                kinds.add(kind)
            answers.places_of.append(numbers)
            answers.digests.append(digest_of(item.file) if self._keep else "")
        for kind in kinds:
            watched = self.system(kind)
            assert isinstance(watched, Watched)
            others = watched.asked_of_all | (watched.asked - self._told[kind])
            answers.wide += self._numbers(answers, kind, others)
            watched.asked_of_all = set()
            watched.asked = set()
        return answers

    def _as_known(self, report: FileReport) -> FileReport:
        """The report with the archive's path in the place of the temporary folder's."""
        if self._installed is not None or self._all_inside:
            return report  # its paths are those of the system

        def known(value: Any) -> Any:
            if isinstance(value, str):
                return value.replace(self._root, self._inside)
            if isinstance(value, Mapping):
                return {name: known(one) for name, one in value.items()}
            if isinstance(value, list | tuple):
                return [known(one) for one in value]
            return value

        findings = tuple(
            replace(
                one,
                subject=known(one.subject),
                message=known(one.message),
                evidence=known(one.evidence),
                fix=known(one.fix),
            )
            for one in report.findings
        )
        needs = tuple(
            Edge(known(one.requester), known(one.name), known(one.path), one.state, known(one.how))
            for one in report.needs
        )
        return replace(
            report,
            reason=known(report.reason),
            findings=findings,
            needs=needs,
            error=known(report.error),
        )

    def _numbers(self, answers: Answers, kind: str, paths: Iterable[str]) -> list[int]:
        if self._all_inside:  # what it rests on has the digest of the archive
            return []
        system = self.system(kind)
        numbers = []
        for path in paths:
            number = answers.places.get((kind, path))
            if number is None:
                if self._unpacked and self._is_inside(system, path):
                    continue
                number = answers.places[kind, path] = len(answers.stamps)
                answers.stamps.append(stamp_of(system, path))
            numbers.append(number)
        return numbers

    def _is_inside(self, system: System, path: str) -> bool:
        found = system.find(path)
        if found is None or found.file is None:
            return path.startswith(self._root)
        return os.path.realpath(found.file).startswith(self._root)


def digest_of(file: Path) -> str:
    """SHA-256 of a file; "" if it cannot be read."""
    try:
        with open(file, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""
