"""What is known and shall not be said again: a file of findings.

A project that begins to check has findings already. Written into a baseline, they are
left out from then on, and only new ones count. A finding is recognised by its rule, its
subject and its file, not by its message, so that other words or versions of libferry do not
bring it back; and the paths are relative to the baseline's folder, so that it can be
committed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from libferry.audit.judging import rejudged
from libferry.audit.model import Finding
from libferry.audit.report import FileReport, Report
from libferry.errors import SettingsError

FORMAT = 1

Key = tuple[str, str, str]


class Baseline:
    """The findings that are known.

    Attributes:
        path: the file; what its paths are relative to is its folder.
        known: rule, file and subject of each.
    """

    def __init__(self, path: Path, known: frozenset[Key]) -> None:
        self.path = path
        self.known = known

    def without_known(self, report: Report, *, strict: bool = False) -> Report:
        """The report as it is without what is known."""
        files: list[FileReport] = []
        left_out = report.known
        for file in report.files:
            new = [one for one in file.findings if _key(one, self.path.parent) not in self.known]
            left_out += len(file.findings) - len(new)
            files.append(rejudged(file, new, strict=strict))
        return replace(report, files=tuple(files), known=left_out)


def read_baseline(path: Path) -> Baseline:
    """Read what ``write_baseline`` wrote.

    Raises:
        SettingsError: there is no such file, or it is none of ours.
    """
    tried = f"read the baseline {path}"
    hint = "write one: libferry check --write-baseline FILE …"
    try:
        import json  # late: most runs have none

        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            happened = f"it has the format {data['format']!r}, and {FORMAT} is known"
            raise SettingsError(tried, happened, hint=hint)
        known = frozenset(
            (str(one["rule"]), str(one["file"]), str(one["subject"])) for one in data["findings"]
        )
    except OSError as error:
        raise SettingsError(tried, (error.strerror or str(error)).lower(), hint=hint) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(tried, "it is no baseline", hint=hint) from None
    return Baseline(path, known)


def write_baseline(path: Path, findings: Iterable[Finding]) -> int:
    """Write down findings as known, and give how many they are.

    Raises:
        SettingsError: it cannot be written.
    """
    keys = sorted({_key(finding, path.parent) for finding in findings})
    rows = [{"rule": rule, "file": file, "subject": subject} for rule, file, subject in keys]
    import json

    text = json.dumps({"format": FORMAT, "findings": rows}, indent=1) + "\n"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"write the baseline {path}",
            (error.strerror or str(error)).lower(),
            hint="give a path that can be written",
        ) from None
    return len(keys)


def _key(finding: Finding, folder: Path) -> Key:
    """What a finding is recognised by; a member of an archive has a path with ``!/`` in it."""
    outer, mark, member = finding.file.partition("!/")
    file = os.path.relpath(os.path.abspath(outer), os.path.abspath(folder))
    return finding.rule, file + mark + member, finding.subject
