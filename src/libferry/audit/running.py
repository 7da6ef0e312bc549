"""Ask all rules of one file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from libferry.audit.facts import facts_of
from libferry.audit.judging import in_order, judge
from libferry.audit.model import Finding, Severity
from libferry.audit.report import Edge, FileReport
from libferry.audit.rules import CHECKS, RULES
from libferry.audit.subject import Settings, Subject
from libferry.errors import BadBinary, FerryError

if TYPE_CHECKING:
    from libferry.audit.check import Check
    from libferry.audit.subject import Seen
    from libferry.binary.model import Binary
    from libferry.target.system import System


def audit_file(
    path: str | os.PathLike[str],
    system: System | None,
    settings: Settings | None = None,
    *,
    file: str | None = None,
) -> FileReport:
    """Judge one file. A file that cannot be read is a report, too: nothing is raised for it.

    Args:
        path: the file.
        system: where it shall run; None to judge only the file itself.
        settings: what is asked; everything by default.
        file: what to call it, if it is not known by its path (a member of an archive).
    """
    from libferry.binary.recognise import read

    name = file or os.fspath(path)
    try:
        return audit_binary(read(path), system, settings or Settings(), name)
    except FerryError as error:
        target = system.target.name if system else ""
        return FileReport(name, target, None, f"unknown: {error}", error=error.as_dict())


def audit_binary(
    binary: Binary, system: System | None, settings: Settings, file: str
) -> FileReport:
    """Judge one file that has been read; see ``audit_file``.

    Raises:
        FerryError: what the target has cannot be read.
    """
    subject = Subject(file, binary, system, settings)
    findings = in_order(list(_findings(subject)))
    target = system.target.name if system else ""
    answer, reason = judge(file, target, findings, strict=settings.strict)
    return FileReport(
        file,
        target,
        answer,
        reason,
        findings,
        needs=tuple(_edges(subject)),
        facts=facts_of(subject),
        resolution=subject.resolution,
    )


def _findings(subject: Subject) -> Iterator[Finding]:
    """Each case once; of a part of the file that cannot be read, too."""
    selection, binary = subject.settings.selection, subject.binary
    had: set[tuple[str, str]] = set()
    for check in CHECKS:
        if binary.format not in check.formats or binary.kind not in check.kinds:
            continue
        if not any(selection.asks(rule.id, rule.group, subject.file) for rule in check.rules):
            continue
        for finding in _seen(subject, check):
            rule = RULES.get(finding.rule)
            group = rule.group if rule else "load"
            key = (finding.rule, finding.subject)
            if key not in had and selection.asks(finding.rule, group, subject.file):
                had.add(key)
                yield finding


def _seen(subject: Subject, check: Check) -> Iterator[Finding]:
    try:
        for seen in check.look(subject):
            yield _finding(subject, check, seen)
    except BadBinary as error:
        yield Finding(
            rule="damaged",
            severity="error",
            file=subject.file,
            subject=error.happened,
            message=error.happened,
            fix=error.hint,
        )


def _finding(subject: Subject, check: Check, seen: Seen) -> Finding:
    rule = RULES.get(seen.rule) if seen.rule else check.rules[0]
    severity = seen.severity or (rule.severity if rule else "error")
    return Finding(
        rule=seen.rule or check.rules[0].id,
        severity=cast("Severity", severity),
        file=subject.file,
        subject=seen.subject,
        message=seen.message,
        evidence=seen.evidence,
        fix=seen.fix or (rule.fix if rule else ""),
    )


def _edges(subject: Subject) -> Iterator[Edge]:
    if subject.resolution is None:
        return
    for node in subject.resolution.root.walk():
        if node.requester is not None:
            found = node.found.path if node.found else None
            yield Edge(node.requester.path, node.name, found, node.state, node.how)
