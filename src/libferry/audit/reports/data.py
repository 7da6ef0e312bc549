"""A run as plain data: what ``--format json`` writes.

The schema is stable: ``schema`` counts up when something is renamed or taken away, and not
when something is added. ``docs/check.md`` has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import libferry
from libferry.audit.model import Finding, Rule
from libferry.audit.report import FileReport, Report

SCHEMA = 1


def answer_of(reports: Sequence[Report]) -> bool | None:
    """No if it is no on one target; None if it could not be found out on one."""
    answers = {report.answer for report in reports}
    return False if False in answers else None if None in answers else True


def as_dict(reports: Sequence[Report]) -> dict[str, Any]:
    """The whole run."""
    return {
        "schema": SCHEMA,
        "libferry": libferry.__version__,
        "answer": answer_of(reports),
        "targets": [report_as_dict(report) for report in reports],
    }


def report_as_dict(report: Report) -> dict[str, Any]:
    """What is known for one target."""
    return {
        "target": report.target,
        "answer": report.answer,
        "known": report.known,
        "files": [file_as_dict(file) for file in report.files],
    }


def file_as_dict(file: FileReport) -> dict[str, Any]:
    """What is known of one file on one target."""
    return {
        "file": file.file,
        "target": file.target,
        "answer": file.answer,
        "reason": file.reason,
        "findings": [finding_as_dict(finding) for finding in file.findings],
        "needs": [
            {
                "requester": edge.requester,
                "name": edge.name,
                "path": edge.path,
                "state": edge.state,
                "how": edge.how,
            }
            for edge in file.needs
        ],
        "facts": dict(file.facts),
        "error": None if file.error is None else dict(file.error),
    }


def finding_as_dict(finding: Finding) -> dict[str, Any]:
    """One finding."""
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "file": finding.file,
        "subject": finding.subject,
        "message": finding.message,
        "evidence": dict(finding.evidence),
        "fix": finding.fix,
    }


def rule_as_dict(rule: Rule) -> dict[str, str]:
    """One rule, with all that explains it."""
    return {
        "id": rule.id,
        "group": rule.group,
        "severity": rule.severity,
        "title": rule.title,
        "explanation": rule.explanation,
        "fix": rule.fix,
        "good": rule.good,
        "bad": rule.bad,
        "source": rule.source,
    }
