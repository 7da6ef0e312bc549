"""The command line of the benchmarks."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from rich.console import Console

from .machine import describe
from .report import markdown, not_reached, print_section
from .rounds import measure
from .sections import ALL

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def main() -> None:
    """Measure, show, and write the page if asked to."""
    keys = [section.key for section in ALL]
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure libferry.")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(keys))
    parser.add_argument("--rounds", type=int, default=60, help="rounds of each section (60)")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(keys):
        parser.error(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(keys)}")
    if options.write and options.sections:
        parser.error("--write is for a run of all sections")

    console = Console()
    machine = describe()
    for name, value in machine.items():
        console.print(f"{name}: {value}", markup=False, highlight=False)
    if os.getloadavg()[0] > 0.5:
        console.print("This machine is busy: trust the ratios, not the times.", style="yellow")
    console.print()

    outcomes = []
    for section in ALL:
        if not options.sections or section.key in options.sections:
            outcomes.append(measure(section, options.rounds))
            print_section(console, outcomes[-1])
    if not options.sections:
        console.print("What is not reached", style="bold")
        console.print(not_reached(outcomes), markup=False, highlight=False)
    if options.write:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(markdown(machine, outcomes), encoding="utf-8")
        console.print(f"\nwritten: {PAGE.relative_to(PAGE.parent.parent)}")
