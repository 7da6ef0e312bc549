"""SARIF, which GitHub, GitLab, Azure and editors show beside the code.

It is made for findings on a line of a source file, and ours are in a binary. So the
location is the file as such, and what lies in an archive is the archive with the path in
it as its logical location. GitHub shows nothing without a line: it is the first.

Each target is a run of its own: GitHub keeps runs apart by ``automationDetails.id``, and
takes alerts for fixed that are missing in the next run of the same name. What is the same
finding from one upload to the next is said by ``partialFingerprints``.

Specification: SARIF 2.1.0 plus Errata 01 (OASIS, 2023); GitHub documentation, "SARIF
support for code scanning".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import libferry
from libferry.audit.inputs.model import INSIDE
from libferry.audit.model import Finding, Rule
from libferry.audit.report import FileReport, Report

VERSION = "2.1.0"
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
FINGERPRINT = "libferryFinding/v1"


def as_dict(reports: Sequence[Report], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """The whole log: a run for each target."""
    return {
        "$schema": SCHEMA,
        "version": VERSION,
        "runs": [_run(report, rules) for report in reports],
    }


def _run(report: Report, rules: Mapping[str, Rule]) -> dict[str, Any]:
    used = sorted({finding.rule for finding in report.findings})
    place = {rule: number for number, rule in enumerate(used)}
    failed = [file for file in report.files if file.error is not None]
    return {
        "tool": {
            "driver": {
                "name": "libferry",
                "version": libferry.__version__,
                "semanticVersion": libferry.__version__,
                "rules": [_rule(rule, rules.get(rule)) for rule in used],
            }
        },
        "automationDetails": {"id": f"libferry/{report.target or 'files'}/"},
        "invocations": [
            {
                "executionSuccessful": not failed,
                "toolExecutionNotifications": [_notification(file) for file in failed],
            }
        ],
        "results": [
            _result(finding, place[finding.rule], report.target) for finding in report.findings
        ],
    }


def _rule(name: str, rule: Rule | None) -> dict[str, Any]:
    if rule is None:  # a problem of the loader's that has no words of its own
        return {"id": name, "shortDescription": {"text": name.replace("-", " ")}}
    text = (
        f"{rule.explanation}\n\nFix: {rule.fix}\n\nGood: {rule.good}\n\nBad: {rule.bad}\n\n"
        f"Source: {rule.source}"
    )
    markdown = (
        f"{rule.explanation}\n\n**Fix:** {rule.fix}\n\nGood:\n\n{_code(rule.good)}\n\n"
        f"Bad:\n\n{_code(rule.bad)}\n\nSource: {rule.source}"
    )
    return {
        "id": name,
        "name": "".join(part.capitalize() for part in name.split("-")),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.explanation},
        "help": {"text": text, "markdown": markdown},
        "defaultConfiguration": {"level": rule.severity},
        "properties": {"tags": [rule.group], "precision": "high"},
    }


def _code(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _result(finding: Finding, index: int, target: str) -> dict[str, Any]:
    fix = f"\nFix: {finding.fix}" if finding.fix else ""
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": finding.severity,
        "message": {"text": _plain(finding.message + fix)},
        "locations": [_location(finding.file)],
        "partialFingerprints": {FINGERPRINT: _fingerprint(finding, target)},
        "properties": {
            "target": target,
            "subject": finding.subject,
            "evidence": dict(finding.evidence),
        },
    }


def _plain(message: str) -> str:
    """A message in which nothing is a link or a placeholder (SARIF 3.11.5, 3.11.6)."""
    for mark in "\\[]":
        message = message.replace(mark, "\\" + mark)
    return message.replace("{", "{{").replace("}", "}}")


def _location(file: str) -> dict[str, Any]:
    outer, mark, inner = file.partition(INSIDE)
    location: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(outer)},
            "region": {"startLine": 1},
        }
    }
    if mark:
        location["logicalLocations"] = [{"fullyQualifiedName": inner, "kind": "member"}]
    return location


def _uri(file: str) -> str:
    path = file.removeprefix("./").encode("utf-8", "backslashreplace")
    # an absolute one is a URI with a scheme; a first part with a colon looks like one
    return ("file://" if path.startswith(b"/") else "") + quote(path, safe="/")


def _fingerprint(finding: Finding, target: str) -> str:
    words = "\0".join((finding.rule, finding.file, finding.subject, target))
    return hashlib.sha256(words.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def _notification(file: FileReport) -> dict[str, Any]:
    return {
        "level": "error",
        "message": {"text": _plain(file.reason)},
        "locations": [_location(file.file)],
    }
