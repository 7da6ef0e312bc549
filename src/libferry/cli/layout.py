"""``libferry layout``: where the members of a structure lie."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated

import typer

from libferry.abi import ABIS, Record
from libferry.cli import output
from libferry.cli.failure import NO, UsageError
from libferry.contract import Header, read_header
from libferry.contract.layout import Pair, Row, compare, rows
from libferry.errors import DeclarationError
from libferry.runtime import runner


def command(
    header: Annotated[
        str, typer.Argument(metavar="HEADER", help="A header's path, or C declarations.")
    ],
    abi: Annotated[
        str | None, typer.Option(metavar="ABI", help="Whose layout; this machine's by default.")
    ] = None,
    record: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only this one, such as 'struct point'; may be given several times. "
            "Without it: all that the header itself defines.",
        ),
    ] = None,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Two ABIs to compare; shows where they disagree."),
    ] = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="With --diff: also show what both agree on.")
    ] = False,
    include: Annotated[
        list[Path] | None,
        typer.Option("--include", "-I", metavar="DIR", help="Where to look for what it includes."),
    ] = None,
    define: Annotated[
        list[str] | None,
        typer.Option("--define", "-D", metavar="NAME=VALUE", help="A macro to define before it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Show where the members of structures and unions lie.

    \b
    libferry layout point.h
    libferry layout point.h --abi i386-windows --record 'struct point'
    libferry layout point.h --diff x86_64-sysv x86_64-windows
    libferry layout 'struct s { char c; double d; };'

    An offset is in bytes. That of a bit-field is followed by its lowest bit, as in 4:3,
    and its size is in bits. With --diff the exit code is 1 if anything differs.
    """
    if abi is not None and diff is not None:
        raise UsageError(
            "libferry layout", "--abi and --diff exclude each other", hint="give one of them"
        )
    macros = dict(_macro(text) for text in define or [])
    wanted = [_known(name) for name in diff or (abi or runner.host_abi(),)]
    headers = [
        read_header(header, name, include=include or (), define=macros or None) for name in wanted
    ]
    if diff is not None:
        _compare(headers, wanted, record or [], show_all=show_all, as_json=as_json)
        return
    found = _records(headers[0], record or [], header)
    if as_json:
        output.write_json({"abi": wanted[0], "records": [_as_dict(one) for one in found]})
        return
    for position, one in enumerate(found):
        if position:
            output.line()
        _show(one, wanted[0])


def _known(abi: str) -> str:
    if abi in ABIS:
        return abi
    near = difflib.get_close_matches(abi, ABIS, 3, 0.4)
    raise UsageError(
        "libferry layout",
        f"no such ABI: {abi}",
        hint=f"near matches: {', '.join(near)}" if near else f"there are {', '.join(ABIS)}",
    )


def _macro(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    return name, value if equals else "1"


def _records(header: Header, names: list[str], what: str) -> list[Record]:
    if not names and not header.records:
        raise DeclarationError(
            f"lay out the records of {what}",
            "it defines none itself",
            hint="--record NAME shows one of those that it includes",
        )
    return [_record(header, name) for name in names or header.records]


def _record(header: Header, name: str) -> Record:
    found = _find(header, name)
    if found is None:
        bare = {known.rpartition(" ")[2] for known in header.types}
        near = difflib.get_close_matches(name.rpartition(" ")[2], bare, 3, 0.6)
        raise DeclarationError(
            f"lay out {name}",
            "no struct or union of that name is defined",
            hint=f"near matches: {', '.join(near)}" if near else "check its name",
        )
    return found


def _find(header: Header, name: str) -> Record | None:
    for spelling in (name, f"struct {name}", f"union {name}"):
        found = header.types.get(spelling)
        if isinstance(found, Record):
            return found
    return None


def _show(record: Record, abi: str) -> None:
    size = _bytes(record.size)
    output.line(f"{record.name}: {size}, aligned to {record.alignment} ({abi})", "bold")
    cells = [(_offset(row), _size(row), row.type or "(padding)", row.name) for row in rows(record)]
    if cells:
        output.table(("offset", "size", "type", "name"), cells)


def _offset(row: Row) -> str:
    return str(row.offset) if row.bits is None else f"{row.offset}:{row.bit}"


def _size(row: Row) -> str:
    if row.bits is None:
        return str(row.size)
    return "1 bit" if row.bits == 1 else f"{row.bits} bits"


def _as_dict(record: Record) -> dict[str, object]:
    return {
        "name": record.name,
        "kind": record.kind,
        "size": record.size,
        "alignment": record.alignment,
        "rows": [row.as_dict() for row in rows(record)],
    }


def _compare(
    headers: list[Header], abis: list[str], names: list[str], *, show_all: bool, as_json: bool
) -> None:
    first, second = headers
    chosen = names or list({**dict.fromkeys(first.records), **dict.fromkeys(second.records)})
    if not chosen:
        _records(first, [], "the header")
    compared: list[tuple[str, list[Pair]]] = []
    for name in chosen:
        pair = (_find(first, name), _find(second, name))
        if pair == (None, None):
            _record(first, name)
        compared.append((name, compare(*pair)))
    differing = [name for name, pairs in compared if any(pair.differs for pair in pairs)]
    shown = [(n, pairs) for n, pairs in compared if show_all or n in differing]
    if as_json:
        output.write_json(
            {
                "abis": abis,
                "differ": differing,
                "records": [
                    {
                        "name": name,
                        "rows": [_pair(p, abis) for p in pairs if show_all or p.differs],
                    }
                    for name, pairs in shown
                ],
            }
        )
    else:
        for position, (name, pairs) in enumerate(shown):
            if position:
                output.line()
            output.line(name, "bold")
            cells = [
                (pair.name, _cell(pair.first), _cell(pair.second), "differs" * pair.differs)
                for pair in pairs
                if show_all or pair.differs
            ]
            output.table(("member", *abis, ""), cells)
        if not differing:
            output.line(f"{abis[0]} and {abis[1]} agree on all {len(compared)}")
    if differing:
        raise typer.Exit(NO)


def _cell(side: Row | int | None) -> str:
    if side is None:
        return "not there"
    if isinstance(side, int):
        return str(side)
    form = f", {side.form}" if side.form not in ("", "binary32", "binary64") else ""
    return f"at {_offset(side)}, {_size(side) if side.bits else _bytes(side.size)}{form}"


def _bytes(size: int) -> str:
    return "1 byte" if size == 1 else f"{size} bytes"


def _pair(pair: Pair, abis: list[str]) -> dict[str, object]:
    sides = (
        side.as_dict() if isinstance(side, Row) else side for side in (pair.first, pair.second)
    )
    return {"member": pair.name, **dict(zip(abis, sides, strict=True)), "differs": pair.differs}
