"""JUnit's XML, which Jenkins and GitLab show as test results.

Nobody owns the format; this is what both read (Jenkins' ``junit-10.xsd``). A target is a
test suite and a file a test case: no is a failure, "could not be found out" an error.
XML 1.0 cannot hold most control characters in any form; they are spelled out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from libferry.audit.report import FileReport, Report

# XML 1.0, production 2: what is no character
_IMPOSSIBLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(reports: Sequence[Report]) -> str:
    """The whole document."""
    return "\n".join(_lines(reports)) + "\n"


def _lines(reports: Sequence[Report]) -> Iterator[str]:
    files = [file for report in reports for file in report.files]
    yield '<?xml version="1.0" encoding="utf-8"?>'
    yield f'<testsuites name="libferry check" {_counts(files)}>'
    for report in reports:
        name = _attribute(report.target or "files")
        yield f"  <testsuite name={name} {_counts(report.files)}>"
        for file in report.files:
            yield from _case(file, report.target)
        yield "  </testsuite>"
    yield "</testsuites>"


def _counts(files: Sequence[FileReport]) -> str:
    failures = sum(file.answer is False for file in files)
    errors = sum(file.answer is None for file in files)
    return f'tests="{len(files)}" failures="{failures}" errors="{errors}" skipped="0" time="0"'


def _case(file: FileReport, target: str) -> Iterator[str]:
    names = f"classname={_attribute(target or 'files')} name={_attribute(file.file)}"
    yield f'    <testcase {names} time="0">'
    if file.answer is not True:
        kind = "failure" if file.answer is False else "error"
        first = next((one.rule for one in file.findings), "unreadable")
        yield f"      <{kind} type={_attribute(first)} message={_attribute(file.reason)}>"
        yield _text("\n".join(_details(file)))
        yield f"      </{kind}>"
    elif file.findings:
        yield f"      <system-out>{_text(chr(10).join(_details(file)))}</system-out>"
    yield "    </testcase>"


def _details(file: FileReport) -> Iterator[str]:
    if file.error is not None:
        yield f"{file.error.get('happened', '')}"
        yield f"hint: {file.error.get('hint', '')}"
    for finding in file.findings:
        yield f"{finding.severity} {finding.rule}: {finding.message}"
        if finding.fix:
            yield f"  fix: {finding.fix}"


def _possible(words: str) -> str:
    return _IMPOSSIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", words)


def _text(words: str) -> str:
    return escape(_possible(words))


def _attribute(words: str) -> str:
    # line ends in attributes would be read as spaces
    return quoteattr(_possible(words), {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})
