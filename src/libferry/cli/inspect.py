"""``libferry inspect``: what a library file is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from libferry.binary import Binary, Export, read, words
from libferry.binary.describe import as_dict
from libferry.binary.mangled import can_demangle, demangle, is_mangled
from libferry.cli import output
from libferry.cli.installed import path_of
from libferry.errors import FerryError, NoRunner
from libferry.runtime import runner
from libferry.runtime.symbols import written

if TYPE_CHECKING:
    import typer

SHOWN_EXPORTS = 20  # on a terminal

_FORMATS = {"elf": "ELF", "pe": "PE", "macho": "Mach-O"}
_KINDS = {"library": "shared library", "executable": "executable", "object": "object file"}

_COUNTED = {
    "function": "functions",
    "data": "data",
    "tls": "thread-local",
    "ifunc": "functions chosen at load",
    "forward": "forwards",
}


def command(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="The library: a path, or the bare name of an installed one, such as libz.so.1.",
        ),
    ],
    exports: Annotated[
        bool | None,
        typer.Option(
            "--exports/--no-exports",
            show_default=False,
            help="List all exports, or none. Without either, a terminal shows the first "
            f"{SHOWN_EXPORTS}.",
        ),
    ] = None,
    sysroot: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Ask whether it runs with the C library in this folder."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Say what a library is, needs and exports.

    \b
    libferry inspect libz.so.1
    libferry inspect ./old.dll --exports
    libferry inspect ./old.dll --json --no-exports

    It also says whether this machine can call it, and through what, or why not. Nothing
    is loaded or run, and the file may be for any CPU and system.
    """
    binary = read(path_of(file))
    host = _host(binary, sysroot)
    if as_json:
        facts = as_dict(binary, exports=exports is not False)
        output.write_json(
            {**facts, "host": host.as_dict() if isinstance(host, FerryError) else host}
        )
        return
    output.line(_what(binary), "bold")
    rows = _facts(binary, host)
    if exports is not False:
        rows.append(("exports", _count(binary.exports)))
    output.fields(rows)
    if exports is not False:
        _list(binary.exports, all_of_them=bool(exports) or not output.to_terminal())


def _host(binary: Binary, sysroot: Path | None) -> dict[str, object] | FerryError:
    """What would host the library on this machine, or why nothing does."""
    try:
        if binary.kind != "library":
            raise NoRunner(
                f"host {binary.path.name}",
                f"it is an {_KINDS[binary.kind]}, and only libraries are loaded",
                hint="give the library that has the functions",
            )
        found = runner.find(runner.abi_of(binary).name, sysroot)
    except NoRunner as error:
        return error
    in_process = found.abi == runner.host_abi() and sysroot is None
    return {
        "abi": found.abi,
        "through": found.through,
        "isolation": ["in-process", "worker"] if in_process else ["worker"],
    }


def _what(binary: Binary) -> str:
    endian = " big-endian" if binary.endian == "big" else ""
    return (
        f"{_FORMATS[binary.format]} {binary.bits}-bit{endian} {binary.cpu} "
        f"{_KINDS[binary.kind]} for {binary.os}"
    )


def _facts(binary: Binary, host: dict[str, object] | FerryError) -> list[tuple[str, str]]:
    rows = [("file", str(binary.path))]
    if binary.slices:
        rows.append(("slices", f"{', '.join(binary.slices)}; this is about the first"))
    rows += [
        ("soname", binary.soname or "none"),
        ("needed", ", ".join(binary.needed) or "nothing"),
    ]
    rows += [
        (name, value)
        for name, value in (
            ("rpath", ":".join(binary.rpath)),
            ("runpath", ":".join(binary.runpath)),
            ("interpreter", binary.interpreter or ""),
        )
        if value
    ]
    rows += words.rows(binary)
    if isinstance(host, FerryError):
        rows += [("callable", f"no: {host.happened}"), ("hint", host.hint)]
    else:
        places = f"in a worker, through {host['through']}"
        if host["isolation"] != ["worker"]:
            places = f"in this process, or {places}"
        rows.append(("callable", f"yes, {places} ({host['abi']})"))
    return rows


def _count(exports: tuple[Export, ...]) -> str:
    kinds = Counter(export.kind for export in exports)
    counts = ", ".join(f"{_COUNTED[kind]}: {number}" for kind, number in kinds.most_common())
    return f"{len(exports)} ({counts})" if exports else "none"


def _list(exports: tuple[Export, ...], *, all_of_them: bool) -> None:
    shown = exports if all_of_them else exports[:SHOWN_EXPORTS]
    meant = demangle(export.name for export in shown)
    output.lines(f"  {_export(export, meant.get(export.name))}" for export in shown)
    if len(shown) < len(exports):
        output.line(f"  {len(exports) - len(shown)} more; to see all: --exports", "dim")
    if output.to_terminal() and not can_demangle() and any(is_mangled(e.name) for e in shown):
        output.line("  C++ names in plain: pip install 'libferry[demangle]'", "dim")


def _export(export: Export, demangled: str | None) -> str:
    name = written(export)
    if demangled:
        name += f"  {demangled}"
    notes: list[str] = [] if export.kind in ("function", "forward") else [export.kind]
    if export.ordinal is not None and export.name != f"#{export.ordinal}":
        notes.append(f"#{export.ordinal}")
    if notes:
        name += f" ({', '.join(notes)})"
    return f"{name} -> {export.forward}" if export.forward else name
