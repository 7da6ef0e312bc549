"""``libferry trace``: what a program's loader does, beside what was predicted."""

from __future__ import annotations

from typing import Annotated

import typer

from libferry.cli import output
from libferry.cli.failure import NO
from libferry.loader.tracing import Traced, trace

PARSER = {"context_settings": {"ignore_unknown_options": True}}

SHOWN = 10  # differences, without --all


def command(
    words: Annotated[
        list[str], typer.Argument(metavar="-- PROGRAM [ARGUMENTS]", help="What to run.")
    ],
    show_all: Annotated[bool, typer.Option("--all", help="Show all differences.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> int:
    """Run a program, and compare its loader with the prediction.

    \b
    libferry trace -- ./server --port 0
    libferry trace --json -- python3 -c 'import ssl'

    Compared are the files that are tried for each library, which library gives each
    symbol, and the order of initialisers; for what dlopen loads, too. The program keeps
    its streams. Exit code: 0, all was as predicted; 1, something was not; 2, its loader
    tells nothing (glibc's does), or there is no such program.
    """
    done = trace(words)
    if as_json:
        output.write_json(_as_dict(done))
    else:
        _show(done, show_all)
    return 0 if done.agrees else NO


def _show(done: Traced, show_all: bool) -> None:
    found = done.comparison
    counted = (
        f"{found.libraries} libraries, {found.initialisers} initialisers, {found.bindings} bindings"
    )
    if done.agrees:
        output.remark("trace", f"as predicted: {counted}")
    else:
        number = len(found.differences) + found.more
        output.remark("trace", f"{number} differences in {counted}", "bold red")
    for one in found.differences if show_all else found.differences[:SHOWN]:
        output.remark(one.what, f"{one.about}: predicted {one.predicted}; seen {one.seen}")
    if not show_all and len(found.differences) > SHOWN:
        output.remark("more", "to see all: --all", "dim")
    if done.code:
        output.remark("program", f"its exit code was {done.code}")


def _as_dict(done: Traced) -> dict[str, object]:
    found = done.comparison
    return {
        "program": str(done.program),
        "exit_code": done.code,
        "agrees": done.agrees,
        "libraries": found.libraries,
        "initialisers": found.initialisers,
        "bindings": found.bindings,
        "skipped": found.skipped,
        "differences": [
            {"what": one.what, "about": one.about, "predicted": one.predicted, "seen": one.seen}
            for one in found.differences
        ],
        "more": found.more,
    }
