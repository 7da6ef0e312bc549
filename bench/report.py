"""The results as tables: on the terminal, and as `docs/benchmarks.md`."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .goals import GOALS
from .rounds import Outcome
from .units import show_ratio

HEADINGS = ["contender", "median", "ratio", "middle half", "goal"]

HOW = """\
Every number is from one run of `python -m bench`. The contenders of a section are open at the
same time and measured in rounds, each once per round, a different one first every time. A ratio
is computed within each round, and the table shows the median of these ratios and their middle
half; so a ratio need not be the quotient of two medians beside it, and is worth more than they
are. Contenders in Python are called by `timeit`: the function is a local variable, the garbage
collector is off, and nothing is subtracted for the loop."""


def rows(outcome: Outcome) -> Iterator[list[str]]:
    """Give a section's rows without their goals: one for each contender, absent or not."""
    reference = outcome.section.reference
    for contender in outcome.section.contenders:
        name = contender.name
        if name not in outcome.seconds:
            yield [name, outcome.absent[name], "", ""]
            continue
        ratio = middle = ""
        if reference is not None and reference in outcome.seconds:
            ratios = outcome.ratios(name, reference)
            ratio = show_ratio(statistics.median(ratios))
            if len(ratios) > 1 and name != reference:
                low, _, high = statistics.quantiles(ratios, n=4)
                middle = f"{show_ratio(low)} to {show_ratio(high)}"
        yield [name, outcome.section.show(outcome.median(name)), ratio, middle]


def verdicts(outcome: Outcome, name: str) -> Iterator[tuple[str, str]]:
    """Give `yes`, `no` or `?` for each goal of a contender, with the goal and the number."""
    for goal in GOALS:
        if (goal.section, goal.contender) == (outcome.section.key, name):
            value = goal.measured(outcome)
            promise = goal.describe(outcome.section.reference)
            if value is None:
                yield "?", f"{promise}: not measured"
            else:
                yield "yes" if goal.kept(value) else "no", f"{promise}: {goal.show(value)}"


def print_section(console: Console, outcome: Outcome) -> None:
    """Show a section's table on the terminal; the goals in words are below it."""
    section = outcome.section
    title = section.title + (f"; ratios to {section.reference}" if section.reference else "")
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in HEADINGS:
        right = heading in HEADINGS[1:4]
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for row in rows(outcome):
        name = row[0]
        if name not in outcome.seconds:  # the reason is too long for a column
            row[1] = "–"
        answers = " ".join(answer for answer, _ in verdicts(outcome, name))
        table.add_row(*map(escape, row), answers, style="red" if "no" in answers else "")
    console.print(table)
    for contender in section.contenders:
        for answer, goal in verdicts(outcome, contender.name):
            style = {"yes": "green", "no": "red", "?": "yellow"}[answer]
            line = f"{answer:4}{contender.name}: {goal}"
            console.print(line, style=style, markup=False, highlight=False)
    for reason in dict.fromkeys(outcome.absent.values()):
        names = "; ".join(name for name, its in outcome.absent.items() if its == reason)
        console.print(f"{reason}: {names}", style="yellow", markup=False, highlight=False)
    console.print()


def markdown(machine: dict[str, str], outcomes: Sequence[Outcome]) -> str:
    """Write the page of the documentation."""
    parts = [
        "# Benchmarks",
        "<!-- written by `python -m bench --write`; edit bench/report.py instead -->",
        HOW,
        "## The machine",
        markdown_table(["", ""], [[name, value] for name, value in machine.items()]),
    ]
    for outcome in outcomes:
        parts.append(f"## {outcome.section.title}")
        parts.append(outcome.section.why)
        lines = []
        for row in rows(outcome):
            goals = [f"{goal}, **{answer}**" for answer, goal in verdicts(outcome, row[0])]
            lines.append([*row, "\n".join(goals)])
        parts.append(markdown_table(_headings(outcome), lines))
    parts.append("## What is not reached")
    parts.append(not_reached(outcomes))
    return "\n\n".join(parts) + "\n"


def not_reached(outcomes: Sequence[Outcome]) -> str:
    """List the goals that were missed, and those this run could not tell about."""
    missed, unknown = [], []
    sections = {outcome.section.key: outcome for outcome in outcomes}
    for goal in GOALS:
        outcome = sections.get(goal.section)
        value = goal.measured(outcome) if outcome else None
        line = f"- {goal.section}, {goal.contender}: the goal is {goal.describe()}"
        if value is None:
            unknown.append(f"{line}; not measured.")
        elif not goal.kept(value):
            missed.append(f"{line}; measured {goal.show(value)}.")
    if not missed and not unknown:
        return "Every goal was reached in this run."
    text = "\n".join(missed) or "No goal that was measured was missed in this run."
    if unknown:
        text += "\n\nNot measured in this run:\n\n" + "\n".join(unknown)
    return text


def _headings(outcome: Outcome) -> list[str]:
    reference = outcome.section.reference
    return [
        f"ratio to {reference}" if heading == "ratio" and reference else heading
        for heading in HEADINGS
    ]


def markdown_table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.replace("|", "\\|").replace("\n", "<br>") for c in cells) + " |"

    return "\n".join([line(headings), line(["---"] * len(headings)), *map(line, lines)])
