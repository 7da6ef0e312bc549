"""Why a library does not load: one rule for each problem that a loader's engine reports.

The engines (room ``loader``) find the problems, and say them as the loader would. Here each
is explained; the words are in the tables of ``elf_loading``, ``windows_loading`` and
``dyld_loading``.
"""

from __future__ import annotations

from collections.abc import Iterator

from libferry.audit.check import Check
from libferry.audit.rules.dyld_loading import DYLD
from libferry.audit.rules.elf_loading import ELF
from libferry.audit.rules.windows_loading import WINDOWS
from libferry.audit.rules.wording import in_groups, said
from libferry.audit.subject import Seen, Subject

# Problem.when: what loads today may still fail, and that is no error of the file's.
_FORMATS = {"elf": "an ELF file", "pe": "a Windows file", "macho": "a Mach-O file"}
_SYSTEMS = {"linux": "Linux", "windows": "Windows", "macos": "macOS"}
_SEVERITIES = {"load": "error", "call": "warning", "maybe": "warning"}


def problems(subject: Subject) -> Iterator[Seen]:
    """What the loader's engine reports."""
    if subject.target is not None and not subject.at_home:
        system = _SYSTEMS[subject.target.os]
        message = f"it is {_FORMATS[subject.binary.format]}, and {system} loads none"
        yield Seen(subject.target.name, message, rule="wrong-platform")
    if subject.resolution is None:
        return
    for group in in_groups(subject.resolution.problems):
        problem, words = group[0], said(subject, group)
        evidence: dict[str, object] = {
            "library": problem.library,
            "when": problem.when,
            "loader": problem.message,
            "source": problem.source,
        }
        yield Seen(
            subject=problem.subject,
            message=words.message,
            evidence=evidence | (words.evidence or {}),
            fix=words.fix,
            rule=problem.id,
            severity=_SEVERITIES[problem.when],
        )


CHECKS = (Check(problems, (*ELF, *WINDOWS, *DYLD)),)
