"""One page with all that was found: it opens from a disk, without a network.

The page is a template, a style and a program, which are files beside this one, and the
data as JSON. The program makes every element itself and gives it its text as text: no
markup is ever made of a name, and names come from files that somebody else wrote. The page's
own content security policy says the same once more, by digests: nothing runs but that
program, and nothing is fetched.

Without JavaScript there is a summary, written here with everything escaped.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import libferry
from libferry.audit.model import Rule
from libferry.audit.report import FileReport, Report
from libferry.audit.reports.data import rule_as_dict
from libferry.audit.reports.text import summary

WITHOUT_SCRIPT = 200
"""Files that are listed for those who have no JavaScript."""


def text(reports: Sequence[Report], rules: Mapping[str, Rule]) -> str:
    """The whole page.

    Args:
        reports: one for each target.
        rules: all that may be named in them.
    """
    style, program = _beside("page.css"), _beside("graph.js") + _beside("page.js")
    policy = (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(program)}; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": escape(policy),
        "style": style,
        "program": program,
        "data": _in_script(_data(reports, rules)),
        "plain": "\n".join(_plain(reports)),
        "version": escape(libferry.__version__),
    }
    # in one pass over the template: what is put in is not looked at again
    pieces = _beside("page.html").split("@@")
    return "".join(parts[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _in_script(data: object) -> str:
    """JSON that ends no script element and begins no comment."""
    text = json.dumps(data, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _data(reports: Sequence[Report], rules: Mapping[str, Rule]) -> dict[str, Any]:
    files: dict[str, int] = {}
    for report in reports:
        for file in report.files:
            files.setdefault(file.file, len(files))
    used = {finding.rule for report in reports for finding in report.findings}
    return {
        "rules": {
            name: rule_as_dict(rules[name]) if name in rules else {"id": name} for name in used
        },
        "files": list(files),
        "targets": [_target(report, files) for report in reports],
    }


def _target(report: Report, files: Mapping[str, int]) -> dict[str, Any]:
    return {
        "name": report.target or "files",
        "answer": report.answer,
        "summary": summary(report),
        "known": report.known,
        "cells": [_cell(file, files[file.file]) for file in report.files],
        "graph": _graph(report.files, files),
    }


def _cell(file: FileReport, number: int) -> dict[str, Any]:
    return {
        "file": number,
        "answer": file.answer,
        "reason": file.reason,
        "hint": "" if file.error is None else file.error.get("hint", ""),
        "facts": {
            name: value
            for name, value in file.facts.items()
            if isinstance(value, str | int) and value != ""
        },
        "findings": [
            [one.rule, one.severity, one.subject, one.message, one.fix] for one in file.findings
        ],
    }


def _graph(reports: Sequence[FileReport], files: Mapping[str, int]) -> dict[str, Any]:
    """What needs what: nodes by path, or by name where there is no file."""
    nodes: dict[str, int] = {}
    states: dict[int, str] = {}
    edges: dict[tuple[int, int], list[Any]] = {}
    roots: dict[int, int] = {}
    for report in reports:
        # the first thing that is asked for is asked for by the file itself
        own = report.needs[0].requester if report.needs else report.file
        roots[files[report.file]] = nodes.setdefault(own, len(nodes))
        for edge in report.needs:
            start = nodes.setdefault(edge.requester, len(nodes))
            end = nodes.setdefault(edge.path or edge.name, len(nodes))
            if edge.state != "again":
                states[end] = edge.state
            edges.setdefault((start, end), [start, end, edge.name, edge.state, edge.how])
    return {
        "nodes": list(nodes),
        "states": states,
        "edges": list(edges.values()),
        "roots": roots,
    }


def _plain(reports: Sequence[Report]) -> Iterator[str]:
    """The summary for those who have no JavaScript."""
    for report in reports:
        yield f"<h2>{escape(report.target or 'files')}</h2>"
        yield f"<p>{escape(summary(report))}</p>"
        listed = [file for file in report.files if file.answer is not True]
        if listed:
            yield "<ul>"
            for file in listed[:WITHOUT_SCRIPT]:
                yield f"<li><b>{escape(file.file)}</b>: {escape(file.reason)}</li>"
            yield "</ul>"
        found = Counter(finding.rule for finding in report.findings)
        for rule, count in found.most_common():
            yield f"<p>{escape(rule)}: {count}</p>"
