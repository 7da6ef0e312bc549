"""Each form is read back by a program that others wrote for it."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from junitparser import Error, Failure, JUnitXml
from sarif_pydantic import Sarif

from libferry.audit.report import Report
from libferry.audit.reports import data, junit, sarif, text
from libferry.audit.rules import RULES
from libferry.errors import FerryError

from .conftest import HOSTILE


def test_json(reports: list[Report]) -> None:
    read = json.loads(json.dumps(data.as_dict(reports)))
    assert read["schema"] == 1
    assert read["answer"] is False
    assert [target["target"] for target in read["targets"]] == ["old", "new"]
    first = read["targets"][0]["files"][0]
    assert first["findings"][0]["rule"] == "missing-version"
    assert first["needs"][0]["path"] == "/lib/libc.so.6"
    assert read["targets"][0]["files"][2]["error"]["error"] == "BadBinary"


def test_sarif(reports: list[Report]) -> None:
    log = Sarif.model_validate(json.loads(json.dumps(sarif.as_dict(reports, RULES))))
    old, new = log.runs
    assert old.results is not None
    assert [result.rule_id for result in old.results] == ["missing-version", "unheard-of"]
    assert [result.level.value for result in old.results if result.level] == ["error", "warning"]
    assert old.automation_details is not None
    assert old.automation_details.id == "libferry/old/"
    assert new.results == []


def test_every_rule_has_what_github_shows(reports: list[Report]) -> None:
    """GitHub documentation, "SARIF support for code scanning": the required properties."""
    (run, _) = sarif.as_dict(reports, RULES)["runs"]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        assert result["partialFingerprints"]
        (location,) = result["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"]
        assert location["physicalLocation"]["region"]["startLine"] == 1
    known = rules[0]
    assert RULES["missing-version"].explanation in known["help"]["markdown"]
    assert known["shortDescription"]["text"]
    assert known["fullDescription"]["text"]


def test_sarif_has_uris(reports: list[Report]) -> None:
    run = sarif.as_dict(reports, RULES)["runs"][0]
    first = run["results"][0]["locations"][0]
    assert first["physicalLocation"]["artifactLocation"]["uri"] == "dist/x.whl"
    assert first["logicalLocations"][0]["fullyQualifiedName"] == "pkg/_x.so"
    (notification,) = run["invocations"][0]["toolExecutionNotifications"]
    uri = notification["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert urlsplit(uri).path == "/abs/a%20b.so"


def test_a_finding_has_the_same_fingerprint_in_other_words(reports: list[Report]) -> None:
    from dataclasses import replace

    def prints(some: list[Report]) -> list[object]:
        return [r["partialFingerprints"] for r in sarif.as_dict(some, RULES)["runs"][0]["results"]]

    first = reports[0].files[0]
    said = replace(first, findings=(replace(first.findings[0], message="said otherwise"),))
    other = [replace(reports[0], files=(said, *reports[0].files[1:]))]
    assert prints(other) == prints(reports)


def test_junit(reports: list[Report]) -> None:
    read = JUnitXml.fromstring(junit.text(reports).encode())
    old, new = list(read)
    assert (old.tests, old.failures, old.errors) == (3, 1, 1)
    assert (new.tests, new.failures, new.errors) == (1, 0, 0)
    no, yes, unknown = list(old)
    assert isinstance(no.result[0], Failure)
    assert no.result[0].message == "no: it is too new"
    assert "fix: build it on an older system" in no.result[0].text
    assert not yes.result
    assert isinstance(unknown.result[0], Error)


def test_what_xml_cannot_hold_is_spelled_out(reports: list[Report]) -> None:
    case = list(next(iter(JUnitXml.fromstring(junit.text(reports).encode()))))[1]
    assert case.name == HOSTILE.replace("\x1b", "\\u001b").replace("\x00", "\\u0000")


def test_text_says_how_many_in_its_last_line(reports: list[Report]) -> None:
    *_, (last, _) = text.lines(reports[:1])
    assert last == "3 files for old; yes: 1, no: 1, unknown: 1, 1 error, 1 warning"


def test_text_names_three_of_many(reports: list[Report]) -> None:
    from dataclasses import replace

    unread = reports[0].files[2]
    files = tuple(replace(unread, file=f"{number}.so") for number in range(1000))
    written = [line for line, _ in text.lines([Report("x", files)])]
    assert written[0] == "0.so, 1.so, 2.so and 997 more files: unknown: it is empty"
    assert len(written) < 6


@pytest.mark.parametrize("form", ["json", "sarif", "junit"])
def test_nothing_was_asked(form: str) -> None:
    """An empty folder has no files, and that is an answer, too."""
    nothing = [Report("", ())]
    try:
        if form == "json":
            json.dumps(data.as_dict(nothing))
        elif form == "sarif":
            Sarif.model_validate(sarif.as_dict(nothing, RULES))
        else:
            assert len(list(JUnitXml.fromstring(junit.text(nothing).encode()))) == 1
    except FerryError:
        pytest.fail("an empty report cannot be written")
