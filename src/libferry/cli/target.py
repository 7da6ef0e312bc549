"""``libferry target``: the systems that a library may have to run on."""

from __future__ import annotations

from typing import Annotated

import typer

from libferry.cli import output
from libferry.cli.commands import STYLE
from libferry.target import file, linux, list_targets, system_for, target_for
from libferry.target.model import UNCHECKED, Given, Target
from libferry.target.record import record
from libferry.target.root import RootSystem

SHOWN = 3  # symbol versions of one library

app = typer.Typer(**STYLE)

Json = Annotated[bool, typer.Option("--json", help="Answer with JSON.")]


@app.callback()
def group() -> None:
    """List, show and record the systems that a library may have to run on.

    \b
    libferry target list kylin
    libferry target show kylin-v10-server-arm64
    libferry target describe > our-box.toml
    libferry check libx.so --target our-box.toml

    A target is a name of the list, `this` for this machine, or a TOML file. Behind a name
    of Linux, a machine that differs is told by `+`: pages of another size (`+4k`, `+16k`,
    `+64k`), or the CPU's level (`+x86-64-v2` to `+x86-64-v4`, `+hygon`, `+zhaoxin`), as in
    rocky-8-arm64+4k. Without, it is what the distribution is delivered for.
    """


@app.command("list")
def list_(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TEXT]...", help="Only names and titles with all of these."),
    ] = None,
    as_json: Json = False,
) -> int:
    """List the known targets. Exit code 1: there is none with these words."""
    rows = [(name, _title(name)) for name in list_targets()]
    wanted = [word.lower() for word in words or ()]
    rows = [row for row in rows if all(word in " ".join(row).lower() for word in wanted)]
    if as_json:
        output.write_json([{"name": name, "title": title} for name, title in rows])
    else:
        width = max((len(name) for name, _ in rows), default=0)
        output.lines(f"{name:<{width}}  {title}" for name, title in rows)
    return 0 if rows else 1


def _title(name: str) -> str:
    if name in linux.releases():
        return linux.title(name)
    return target_for(name).title


@app.command("show")
def show(
    target: Annotated[
        str | None, typer.Argument(metavar="TARGET", help="A name, `this`, or a TOML file.")
    ] = None,
    sysroot: Annotated[
        str | None, typer.Option(metavar="DIR", help="What is in this root folder.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Show what is known of a target, and who says so."""
    one = system_for(target, sysroot=sysroot).target
    if as_json:
        output.write_json(_as_dict(one))
        return 0
    output.line(f"{one.name}: {one.title}", "bold")
    output.fields(_rows(one))
    if one.given:
        output.line()
        output.line("libraries that are there:", "bold")
        output.lines(f"  {_library(given)}" for given in one.given.values())
    return 0


def _rows(one: Target) -> list[tuple[str, str]]:
    doubts = [key for key, text in one.sources.items() if UNCHECKED in text]
    rows = [
        ("cpu", f"{one.cpu}, {one.bits}-bit, {one.endian}-endian"),
        ("abi", one.abi),
        ("isa", ", ".join(sorted(one.isa))),
        ("loader", f"{one.loader} {'.'.join(map(str, one.version))}"),
        ("interpreter", one.interpreter or ""),
        ("folders", ", ".join(one.default_paths)),
        ("pages", f"{one.page_size} bytes"),
        *((f"source, {key}", " ".join(text.split())) for key, text in one.sources.items()),
        ("unchecked", ", ".join(doubts)),
    ]
    return [(name, value) for name, value in rows if value]


def _library(given: Given) -> str:
    versions = sorted(given.versions or (), key=_number)
    left_out = "... " if len(versions) > SHOWN else ""
    return f"{given.path}  {left_out}{' '.join(versions[-SHOWN:])}".rstrip()


def _number(version: str) -> tuple[bool, list[int]]:
    """GLIBC_2.9 before GLIBC_2.10, and both behind GLIBC_PRIVATE."""
    numbers = [int(part) for part in version.rpartition("_")[2].split(".") if part.isdigit()]
    return bool(numbers), numbers


def _as_dict(one: Target) -> dict[str, object]:
    return {
        "name": one.name,
        "title": one.title,
        "os": one.os,
        "cpu": one.cpu,
        "bits": one.bits,
        "endian": one.endian,
        "abi": one.abi,
        "isa": sorted(one.isa),
        "loader": one.loader,
        "version": ".".join(map(str, one.version)),
        "interpreter": one.interpreter,
        "default_paths": list(one.default_paths),
        "page_size": one.page_size,
        "lib": one.lib,
        "platform": one.platform,
        "given": {
            given.name: {
                "path": given.path,
                "versions": None if given.versions is None else sorted(given.versions),
                "exports": None if given.exports is None else sorted(given.exports),
                "source": given.source,
            }
            for given in one.given.values()
        },
        "facts": dict(one.facts),
        "sources": dict(one.sources),
        "unchecked": [key for key, text in one.sources.items() if UNCHECKED in text],
    }


@app.command("describe")
def describe(
    sysroot: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Describe what is in this root folder, not this machine."),
    ] = None,
    cpu: Annotated[
        str | None, typer.Option(metavar="CPU", help="Which, if it has loaders for several.")
    ] = None,
    exports: Annotated[
        bool, typer.Option("--exports", help="Write the names that each library exports, too.")
    ] = False,
) -> int:
    """Record a machine: write a TOML file that says what it has.

    \b
    libferry target describe > our-box.toml
    libferry target describe --sysroot /mnt/image > image.toml

    It has the libraries that the loader finds by name, with their symbol versions, the
    size of a page and the CPU's level. Nothing is run.
    """
    system = system_for(sysroot=sysroot, cpu=cpu)
    assert isinstance(system, RootSystem)
    output.write(file.dump(record(system, exports=exports)))
    return 0
