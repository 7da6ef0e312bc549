"""Ask all rules of one file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from libferry.audit.model import Finding, Severity
from libferry.audit.report import Edge, FileReport
from libferry.audit.rules import CHECKS, RULES
from libferry.audit.subject import Settings, Subject
from libferry.errors import BadBinary, FerryError

if TYPE_CHECKING:
    from libferry.audit.check import Check
    from libferry.audit.subject import Seen
    from libferry.target.system import System

_RANK = {"error": 0, "warning": 1, "note": 2}


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

    settings = settings or Settings()
    name = file or os.fspath(path)
    target = system.target.name if system else ""
    try:
        binary = read(path)
        subject = Subject(name, binary, system, settings)
        findings = tuple(sorted(_findings(subject), key=lambda one: _RANK[one.severity]))
        answer, reason = _answer(subject, findings)
        return FileReport(
            name,
            target,
            answer,
            reason,
            findings,
            needs=tuple(_edges(subject)),
            facts=_facts(subject),
            resolution=subject.resolution,
        )
    except FerryError as error:
        return FileReport(name, target, None, f"unknown: {error}", error=error.as_dict())


def _findings(subject: Subject) -> Iterator[Finding]:
    selection = subject.settings.selection
    damaged: set[str] = set()
    had: set[tuple[str, str]] = set()
    for check in CHECKS:
        if subject.binary.format not in check.formats or subject.binary.kind not in check.kinds:
            continue
        if not any(selection.asks(rule.id, rule.group, subject.file) for rule in check.rules):
            continue
        try:
            for seen in check.look(subject):
                finding = _finding(subject, check, seen)
                group = RULES[finding.rule].group if finding.rule in RULES else "load"
                key = (finding.rule, finding.subject)
                if key not in had and selection.asks(finding.rule, group, subject.file):
                    had.add(key)
                    yield finding
        except BadBinary as error:
            if error.happened not in damaged:
                damaged.add(error.happened)
                yield Finding(
                    "damaged", "error", subject.file, subject.file, error.happened, {}, error.hint
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


def _answer(subject: Subject, findings: tuple[Finding, ...]) -> tuple[bool | None, str]:
    """Yes, no or unknown, and the line that says so."""
    name = os.path.basename(subject.file)
    where = f" on {subject.target.name}" if subject.target else ""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        first = errors[0]
        more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
        is_load = first.rule in RULES and RULES[first.rule].group == "load"
        does_not = f" does not load{where}" if is_load else ""
        return False, f"no: {name}{does_not}: {first.message}{more}"
    unsure = [finding for finding in findings if finding.evidence.get("when") == "maybe"]
    if unsure:
        return None, f"unknown: {name} may not load{where}: {unsure[0].message}"
    if subject.resolution is None:
        return True, f"yes: nothing is wrong with {name} itself"
    return True, f"yes: {name} loads{where}"


def _edges(subject: Subject) -> Iterator[Edge]:
    if subject.resolution is None:
        return
    for node in subject.resolution.root.walk():
        if node.requester is not None:
            found = node.found.path if node.found else None
            yield Edge(node.requester.path, node.name, found, node.state, node.how)


def _facts(subject: Subject) -> dict[str, object]:
    binary = subject.binary
    return {
        "format": binary.format,
        "kind": binary.kind,
        "cpu": binary.cpu,
        "bits": binary.bits,
        "os": binary.os,
        "soname": binary.soname,
    }
