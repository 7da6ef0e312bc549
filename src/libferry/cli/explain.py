"""``libferry explain``: what an error code or a loader's message means."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated

from libferry.cli import output
from libferry.cli.failure import UNKNOWN
from libferry.loader import glossary
from libferry.loader.glossary import Errno, Match

if TYPE_CHECKING:
    import typer

SHOWN = 3  # meanings in full

# a negative number is not an option
PARSER = {"context_settings": {"ignore_unknown_options": True}}

_SYSTEMS = {"linux": "Linux", "windows": "Windows", "macos": "macOS"}
_LOADERS = {"kernel": "the kernel", "windows": "", "glibc": "glibc", "musl": "musl", "dyld": "dyld"}


def command(
    words: Annotated[
        list[str],
        typer.Argument(metavar="CODE|NAME|MESSAGE", help="As it was printed; quotes are optional."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> int:
    """Say what an error code or a loader's message means.

    \b
    libferry explain 193
    libferry explain ENOEXEC
    libferry explain 0xC0000135
    libferry explain "libx.so: cannot allocate memory in static TLS block"

    A number may be decimal, hexadecimal or negative; a message may have anything around
    it. It says which system means what by it, what to look at, and what to run next. Exit
    code 2: it means nothing that is known here.
    """
    asked = " ".join(words)
    found = glossary.explain(asked)
    near = () if found else glossary.near(asked)
    if as_json:
        meanings = [_as_dict(match) for match in found]
        output.write_json({"asked": asked, "meanings": meanings, "near": list(near)})
    elif found:
        _show(found)
    else:
        output.remark("error", f"nothing is known of {asked!r}", "bold red")
        hint = f"near matches: {'; '.join(near)}" if near else "paste the line with the message"
        output.remark("hint", hint, "bold cyan")
    return 0 if found else UNKNOWN


def _show(found: tuple[Match, ...]) -> None:
    for number, match in enumerate(found[:SHOWN]):
        if number:
            output.line()
        output.line(_title(match), "bold")
        output.fields(_rows(match))
    if len(found) > SHOWN:
        output.line()
        output.line("also:", "bold")
        output.lines(f"  {_title(match)}" for match in found[SHOWN:])


def _title(match: Match) -> str:
    """Such as ``ENOEXEC (Linux: 8; macOS: 8): Exec format error``."""
    entry = match.entry
    if match.errnos:
        shown = ", ".join(sorted({row.name for row in match.errnos}))
        return f"{shown} ({_numbers(match.errnos)})" + (f": {match.text}" if match.text else "")
    assert entry is not None
    by = ", ".join(filter(None, (_SYSTEMS.get(entry.system, entry.system), _LOADERS[entry.loader])))
    what = ", ".join(entry.names) or entry.id
    codes = ", ".join(f"{code:#x}" if code > 0xFFFF else str(code) for code in entry.numbers)
    return f"{what} ({by}{f': {codes}' if codes else ''})"


def _numbers(rows: tuple[Errno, ...]) -> str:
    parts = []
    for os, of_os in groupby(rows, key=lambda row: row.os):
        of_all = list(of_os)
        numbers = [
            f"{row.number}" + (f" on {'/'.join(row.cpus)}" if row.cpus else "") for row in of_all
        ]
        parts.append(f"{_SYSTEMS.get(os, os)}: {', '.join(numbers)}")
    return "; ".join(parts)


def _rows(match: Match) -> list[tuple[str, str]]:
    entry = match.entry
    if entry is None:
        return [("source", "; ".join(sorted({row.source for row in match.errnos})))]
    rows = [
        ("message", entry.messages[0] if entry.messages else ""),
        ("said by", entry.said_by),
        ("when", entry.when),
        ("meaning", entry.meaning),
        *(("check", line) for line in entry.check),
        *(("next", line) for line in match.commands),
        ("source", entry.source),
    ]
    return [(name, value) for name, value in rows if value]


def _as_dict(match: Match) -> dict[str, object]:
    entry = match.entry
    return {
        "id": entry.id if entry else None,
        "system": entry.system if entry else None,
        "loader": entry.loader if entry else None,
        "names": list(entry.names) if entry else [],
        "numbers": list(entry.numbers) if entry else [],
        "errno": [
            {"name": row.name, "number": row.number, "os": row.os, "cpus": list(row.cpus)}
            for row in match.errnos
        ],
        "text": match.text,
        "values": dict(match.values),
        "said_by": entry.said_by if entry else "",
        "when": entry.when if entry else "",
        "meaning": entry.meaning if entry else "",
        "check": list(entry.check) if entry else [],
        "commands": list(match.commands),
        "rule": entry.rule if entry else "",
        "source": entry.source if entry else "; ".join(sorted({r.source for r in match.errnos})),
    }
