"""Findings and rules: the plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning", "note"]
Group = Literal["load", "portability", "security", "symbols", "runtime", "build"]


@dataclass(frozen=True)
class Rule:
    """One thing that can be wrong.

    Attributes:
        id: in kebab-case, such as ``missing-library``; stable.
        group: what it is about; ``--select`` takes ids and groups.
        severity: of its findings, if they do not say otherwise. An ``error`` makes
            ``libferry check`` answer no.
        title: one line, without a full stop.
        explanation: why it matters, and how it comes about; Markdown paragraphs.
        fix: what to do.
        good, bad: an example each, as commands or linker flags.
        source: specification, manual page or source file that it follows from.
    """

    id: str
    group: Group
    severity: Severity
    title: str
    explanation: str
    fix: str
    good: str
    bad: str
    source: str


@dataclass(frozen=True)
class Finding:
    """One thing wrong or worth knowing, in one file.

    Attributes:
        rule: the id.
        severity: as the rule's, or what the case makes of it.
        file: the path, as the user knows it.
        subject: the library, symbol, segment or path that it is about.
        message: what is wrong, one line.
        evidence: what was seen, as plain data for ``--json``.
        fix: what to type next, or "".
    """

    rule: str
    severity: Severity
    file: str
    subject: str
    message: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    fix: str = ""
