"""A report for a person: the answer and its reason, the fix, then what else was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from libferry.audit.model import Finding
from libferry.audit.report import FileReport, Report

if TYPE_CHECKING:
    from libferry.loader.model import Resolution

Line = tuple[str, str]
"""A line and its style."""

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
_ANSWERS = {True: "bold green", False: "bold red", None: "bold yellow"}


def lines(report: Report, *, notes: bool = False, tree: bool = False) -> Iterator[Line]:
    """All lines of a report.

    Args:
        report: of one file or several.
        notes: whether to show what is worth knowing, and wrong with nothing.
        tree: whether to show what is loaded.
    """
    for number, file in enumerate(report.files):
        if number:
            yield "", ""
        shows_tree = tree and file.resolution is not None
        yield from _file(file, notes=notes, trail=not shows_tree)
        if shows_tree:
            assert file.resolution is not None
            yield from _tree(file.resolution)
    if report.known:
        yield "", ""
        yield f"{_count(report.known, 'finding')} left out: the baseline has them", "dim"
    if len(report.files) > 1:
        answers = Counter(file.answer for file in report.files)
        yield "", ""
        yield (
            ", ".join(
                f"{word}: {answers[answer]}"
                for answer, word in ((True, "yes"), (False, "no"), (None, "unknown"))
                if answers[answer]
            ),
            "bold",
        )


def _file(file: FileReport, *, notes: bool, trail: bool) -> Iterator[Line]:
    yield file.reason, _ANSWERS[file.answer]
    if file.error is not None:
        yield f"  hint: {file.error['hint']}", ""
        return
    shown = [one for one in file.findings if notes or one.severity != "note"]
    first = shown[0] if shown and file.answer is not True else None
    if first and first.fix:
        yield f"  fix: {first.fix}", "bold cyan"
    for place in _trail(first) if first and trail else ():
        yield f"  {place}", ""
    yield from _floors(file)
    said = {first.fix} if first else set()
    for finding in shown:
        if finding is first:
            continue
        head = f"{finding.severity} {finding.rule}: {finding.message}"
        yield f"  {head}", _STYLES[finding.severity]
        if finding.fix and finding.fix not in said and finding.severity != "note":
            said.add(finding.fix)
            yield f"    fix: {finding.fix}", ""
    hidden = len(file.findings) - len(shown)
    if hidden:
        yield f"  {_count(hidden, 'note')}: --notes shows them", "dim"


def _tree(resolution: Resolution) -> Iterator[Line]:
    """What is loaded, and below what is not found, each place in its order."""
    from libferry.loader.text import tree

    for line in tree(resolution).split("\n"):
        yield f"  {line}", ""


def _trail(finding: Finding) -> Iterator[str]:
    """Where the loader looked."""
    tried = finding.evidence.get("tried")
    for step in cast("list[dict[str, str]]", tried if isinstance(tried, list) else []):
        reason = f": {step['reason']}" if step["reason"] else ""
        yield f"tried {step['path']} ({step['source']}){reason}"


def _floors(file: FileReport) -> Iterator[Line]:
    """The newest version it needs of each library. musl's loader asks for no versions."""
    floors = cast("list[dict[str, Any]]", file.facts.get("newest_versions", []))
    if file.facts.get("loader") == "musl":
        return
    words = []
    for floor in floors:
        symbols = floor["symbols"]
        because = f" ({symbols[0]}{', …' if len(symbols) > 1 else ''})" if symbols else ""
        words.append(f"{floor['version']}{because}")
    if words:
        yield f"  needs {', '.join(words)}", "dim"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
