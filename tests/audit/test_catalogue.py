"""The rules as a whole: complete, and described where a reader looks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from libferry.audit.catalogue import GROUPS, as_markdown
from libferry.audit.model import Rule
from libferry.audit.rules import RULES

ROOT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    """python -m libferry.audit.catalogue > docs/rules.md"""
    assert (ROOT / "docs" / "rules.md").read_text(encoding="utf-8") == as_markdown()


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_a_rule_says_all_that_it_should(rule: Rule) -> None:
    assert rule.group in GROUPS
    assert not rule.title.endswith(".")
    for text in (rule.explanation, rule.fix, rule.good, rule.bad, rule.source):
        assert text.strip()
    assert rule.good != rule.bad


def ids_in(file: Path) -> set[str]:
    """The first argument of each Problem(...), and what is called ``id``, if it is a word."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Problem":
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Starred) and isinstance(first.value, ast.Tuple):
                first = first.value.elts[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.add(first.value)
    return found


def test_every_problem_that_a_loader_reports_is_explained() -> None:
    files = sorted((ROOT / "src" / "libferry" / "loader").rglob("*.py"))
    found = set().union(*map(ids_in, files))
    assert len(found) > 5
    assert found <= RULES.keys()
