"""From findings to the answer: yes, no or unknown, and the one line that says why."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from libferry.audit.model import Finding
from libferry.audit.rules import RULES

if TYPE_CHECKING:
    from libferry.audit.report import FileReport

_RANK = {"error": 0, "warning": 1, "note": 2}


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Errors first, and of those first what keeps the file from being loaded."""
    return tuple(sorted(findings, key=lambda one: (_RANK[one.severity], _group(one) != "load")))


def judge(
    file: str, target: str, findings: Sequence[Finding], *, strict: bool
) -> tuple[bool | None, str]:
    """The answer, and the line that says so.

    Args:
        file: the path, as the user knows it.
        target: the name of the target; empty if only the file itself was judged.
        findings: in order; see ``in_order``.
        strict: whether a warning is a reason to say no.
    """
    name = os.path.basename(file)
    where = f" on {target}" if target and target != "this" else " here" if target else ""
    against = [
        finding
        for finding in findings
        if finding.severity == "error" or (strict and finding.severity == "warning")
    ]
    if against:
        first = against[0]
        more = f" (and {len(against) - 1} more)" if len(against) > 1 else ""
        does_not = f" does not load{where}" if _prevents(first) else ""
        return False, f"no: {name}{does_not}: {first.message}{more}"
    unsure = [finding for finding in findings if finding.evidence.get("when") == "maybe"]
    if unsure:
        return None, f"unknown: {name} may not load{where}: {unsure[0].message}"
    if not target:
        return True, f"yes: nothing is wrong with {name} itself"
    return True, f"yes: {name} loads{where}"


def rejudged(report: FileReport, findings: Sequence[Finding], *, strict: bool) -> FileReport:
    """The same report with some of its findings left out."""
    if report.error is not None or len(findings) == len(report.findings):
        return report
    answer, reason = judge(report.file, report.target, findings, strict=strict)
    return replace(report, answer=answer, reason=reason, findings=tuple(findings))


def _group(finding: Finding) -> str:
    return RULES[finding.rule].group if finding.rule in RULES else "load"


def _prevents(finding: Finding) -> bool:
    return finding.severity == "error" and _group(finding) == "load"
