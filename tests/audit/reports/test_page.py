"""The page opens without a network, and no name in it becomes markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from libferry.audit.report import Report
from libferry.audit.reports import page
from libferry.audit.rules import RULES

from .conftest import HOSTILE

TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "h1", "nav", "button", "main"),
    *("noscript", "h2", "p", "ul", "li", "b", "footer", "script"),
}


class Read(HTMLParser):
    """A page as a browser without scripts reads it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open, []).append(data)


@pytest.fixture
def text(reports: list[Report]) -> str:
    return page.text(reports, RULES)


def test_a_hostile_name_is_no_markup(text: str) -> None:
    read = Read(text)
    assert {tag for tag, _ in read.tags} <= TAGS
    assert [tag for tag, _ in read.tags].count("script") == 2
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)
    assert "<img" not in text


def test_a_hostile_name_is_in_the_data_as_it_is(text: str, reports: list[Report]) -> None:
    data = json.loads(Read(text).texts["script"][0])
    assert HOSTILE in data["files"]
    assert data["targets"][0]["cells"][1]["findings"][0][3] == HOSTILE
    assert HOSTILE in data["targets"][0]["graph"]["nodes"]


def test_the_program_makes_no_markup() -> None:
    """All that turns text into elements or programs, by the names that the web has for it."""
    for name in ("page.js", "graph.js"):
        program = page._beside(name)
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|"
            r"new Function|setHTML|createContextualFragment|srcdoc|javascript:",
            program,
        )


def test_it_fetches_nothing(text: str) -> None:
    read = Read(text)
    assert not any({"src", "href"} & set(attributes) for _, attributes in read.tags)
    style = "".join(read.texts["style"])
    assert "url(" not in style
    assert "@import" not in style


def test_its_policy_allows_its_own_program_only(text: str) -> None:
    read = Read(text)
    policy = next(a["content"] for tag, a in read.tags if a.get("http-equiv"))
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for kind, element in (("style-src", "style"), ("script-src", "script")):
        digest = hashlib.sha256(read.texts[element][-1].encode()).digest()
        assert f"{kind} 'sha256-{base64.b64encode(digest).decode()}'" in policy


def test_each_finding_comes_with_its_explanation(text: str) -> None:
    rules = json.loads(Read(text).texts["script"][0])["rules"]
    rule = RULES["missing-version"]
    told = rules["missing-version"]
    assert (told["explanation"], told["good"], told["bad"], told["source"]) == (
        *(rule.explanation, rule.good, rule.bad, rule.source),
    )


def test_without_scripts_there_is_a_summary(text: str) -> None:
    words = " ".join(part for parts in Read(text).texts.values() for part in parts)
    assert "3 files for old; yes: 1, no: 1, unknown: 1" in words
    assert "no: it is too new" in words


def test_the_graph_has_what_needs_what(text: str) -> None:
    graph = json.loads(Read(text).texts["script"][0])["targets"][0]["graph"]
    names = graph["nodes"]
    edges = {(names[start], names[end], state) for start, end, _, state, _ in graph["edges"]}
    assert edges == {
        ("/x/_x.so", "/lib/libc.so.6", "loaded"),
        ("/x/_x.so", HOSTILE, "missing"),
    }
