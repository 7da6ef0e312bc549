"""The rules for people: as a list, one in full, and as docs/rules.md."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby

from libferry import tables
from libferry.audit.model import Rule
from libferry.audit.rules import RULES
from libferry.errors import SettingsError

GROUPS = {
    "load": "What keeps a library from being loaded",
    "portability": "Where it runs, and where no longer",
    "security": "What makes an attack easier",
    "symbols": "What it exports, and who else does",
    "runtime": "What goes wrong once it is loaded",
    "build": "How it was built",
}

_HEAD = """\
# The rules of `libferry check`

Select them by name or by group: `--select load,security`, `--ignore unstripped`; or in
`pyproject.toml`, under `[tool.libferry.check]`. `libferry check --explain RULE` prints one of
these at the terminal.

*This page is made from the rules themselves: `python -m libferry.audit.catalogue`.*
"""


def rule(name: str) -> Rule:
    """One rule.

    Raises:
        SettingsError: there is none of that name.
    """
    if name not in RULES:
        hint = tables.near(name, RULES, "see libferry check --rules")
        raise SettingsError("explain a rule", f"there is no rule {name!r}", hint=hint)
    return RULES[name]


def explained(one: Rule) -> str:
    """All that is to be said of a rule, as text."""
    return (
        f"{one.id} ({one.severity}, {one.group}): {one.title}\n\n"
        f"{one.explanation}\n\n"
        f"fix:     {one.fix}\n"
        f"good:    {one.good}\n"
        f"bad:     {one.bad}\n"
        f"source:  {one.source}\n"
    )


def as_markdown() -> str:
    """The page docs/rules.md."""
    return "".join(_markdown())


def _markdown() -> Iterator[str]:
    yield _HEAD
    order = list(GROUPS)
    rules = sorted(RULES.values(), key=lambda one: order.index(one.group))
    for group, members in groupby(rules, key=lambda one: one.group):
        yield f"\n## {GROUPS[group]} (`{group}`)\n"
        for one in members:
            yield (
                f"\n### {one.id}\n\n**{one.title}** ({one.severity})\n\n{one.explanation}\n\n"
                f"Fix: {one.fix}\n\n```sh\n# good\n{one.good}\n# bad\n{one.bad}\n```\n\n"
                f"Source: {one.source}\n"
            )


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
