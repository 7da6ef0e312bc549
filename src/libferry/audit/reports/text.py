"""Many files for a person: what is wrong with which, and what is wrong with many.

Five thousand times the report of one file is read by nobody. The files that will not do
are listed, each with its reason and fix; everything else by rule, with the files in which
it was found; and the last line says how many there were.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from libferry.audit.model import Finding
from libferry.audit.report import Report

NAMED = 3
"""Files that are named of those that have the same finding."""

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
_ANSWERS = {True: "bold green", False: "bold red", None: "bold yellow"}
_WORDS = {True: "yes", False: "no", None: "unknown"}


def lines(reports: Sequence[Report], *, notes: bool = False) -> Iterator[tuple[str, str]]:
    """All lines, each with its style; those for several targets below each other."""
    for number, report in enumerate(reports):
        if number:
            yield "", ""
        if len(reports) > 1 and report.target:
            yield f"{report.target}:", "bold"
        yield from _report(report, notes=notes)


def _report(report: Report, *, notes: bool) -> Iterator[tuple[str, str]]:
    listed = [file for file in report.files if file.answer is False]
    for file in listed:
        yield f"{file.file}: {file.reason}", _ANSWERS[False]
        if file.findings and file.findings[0].fix:
            yield f"  fix: {file.findings[0].fix}", ""
    unknown = _by_reason(report)
    for (reason, hint), files in unknown:
        yield f"{_named(files)}: {reason}", _ANSWERS[None]
        if hint:
            yield f"  hint: {hint}", ""
    if listed or unknown:
        yield "", ""
    groups = _by_rule(report, notes=notes)
    for (severity, rule), findings in groups:
        found = {finding.file: finding for finding in reversed(findings)}
        yield f"{severity} {rule}: {_count(len(found), 'file')}", _STYLES[severity]
        for path in sorted(found)[:NAMED]:
            yield f"  {path}: {found[path].message}", ""
        if len(found) > NAMED:
            yield f"  and {_count(len(found) - NAMED, 'more file')}", "dim"
    if groups:
        yield "", ""
    yield summary(report), _ANSWERS[report.answer]
    if not report.files:
        yield "  hint: no native file is there; packages in a folder are given by name: *.whl", ""


def _by_reason(report: Report) -> list[tuple[tuple[str, str], list[str]]]:
    """The files of which it could not be found out, by the reason and what to do."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for file in report.files:
        if file.answer is None:
            hint = str(file.error.get("hint", "")) if file.error is not None else ""
            groups[file.reason, hint].append(file.file)
    return list(groups.items())


def _named(files: list[str]) -> str:
    more = len(files) - NAMED
    return ", ".join(files[:NAMED]) + (f" and {_count(more, 'more file')}" if more > 0 else "")


def _by_rule(report: Report, *, notes: bool) -> list[tuple[tuple[str, str], list[Finding]]]:
    """Findings other than each file's reason, the gravest and most frequent first."""
    groups: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for file in report.files:
        for finding in file.findings if file.answer is True else file.findings[1:]:
            if notes or finding.severity != "note":
                groups[finding.severity, finding.rule].append(finding)
    order = list(_STYLES)
    return sorted(groups.items(), key=lambda one: (order.index(one[0][0]), -len(one[1])))


def summary(report: Report) -> str:
    """The last line: how many files, what was answered, and how much was found."""
    answers = Counter(file.answer for file in report.files)
    found = Counter(finding.severity for finding in report.findings)
    parts = [f"{_WORDS[answer]}: {answers[answer]}" for answer in _WORDS if answers[answer]]
    parts += [_count(number, severity) for severity, number in found.most_common()]
    if report.known:
        parts.append(f"{report.known} more in the baseline")
    where = f" for {report.target}" if report.target else ""
    return f"{_count(len(report.files), 'file')}{where}; " + ", ".join(parts or ["nothing found"])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
