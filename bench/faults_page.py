"""docs/reliability.md: the words stay, the numbers between the marks are written anew."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .report import markdown_table
from .rounds import Section

PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"
SOAK = Path(__file__).parent.parent / "build" / "soak.json"
BEGIN = "<!-- written by `make reliability`: begin -->"
END = "<!-- written by `make reliability`: end -->"
HEADINGS = ["", "median", "99 of 100", "slowest", "samples", "goal"]


def page(
    machine: dict[str, str],
    measured: Sequence[tuple[Section, list[list[str]]]],
    lives: list[list[str]],
) -> str:
    """The page with new numbers."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    assert found, f"{PAGE.name} has lost its marks"
    parts = ["### The machine", markdown_table(["", ""], [[*line] for line in machine.items()])]
    for section, lines in measured:
        parts += [f"### {section.title}", section.why, markdown_table(HEADINGS, lines)]
    parts += [
        "### The end of a host",
        "Each host has a worker when it ends; ten seconds later nothing of it may be left.",
        markdown_table(["how it ends", "hosts", "workers alive", "files left"], lives),
        "### The soak",
        *_soak(),
    ]
    return before + "\n\n".join([BEGIN, *parts, END]) + after


def _soak() -> Iterator[str]:
    if not SOAK.exists():
        yield "`make soak` was not run on this machine."
        return
    soak = json.loads(SOAK.read_text())
    calls = sum(soak["calls"].values())
    cycle = soak["cycle"]
    yield (
        f"{soak['threads']} threads for {soak['seconds']:,.0f} seconds on "
        f"{', '.join(soak['calls'])}: {calls:,} operations with the right answer, "
        f"{len(soak['wrong'])} with a wrong one, {sum(soak['injected'].values()):,} faults, "
        f"{sum(soak['opened'].values()):,} libraries opened. Left behind: "
        f"{_left(soak['left'])}; memory grew by {soak['grown'] / 1024:,.0f} KiB."
    )
    yield (
        f"Then one library was opened and closed {cycle['cycles']:,} times in "
        f"{cycle['seconds']:,.0f} seconds. Left behind: {_left(cycle['left'])}; memory grew by "
        f"{cycle['grown'] / 1024:,.0f} KiB."
    )
    lines = [
        [what, f"{soak['injected'].get(what, ''):,}" if what in soak["injected"] else "", seen]
        for what, seen in ((w, _seen(s)) for w, s in sorted(soak["seen"].items()))
    ]
    yield markdown_table(["fault", "how often", "what the caller saw"], lines)


def _left(left: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in left.items()) or "nothing"


def _seen(seen: dict[str, Any]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in seen.items())
