"""``libferry fix``: change what a library says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from libferry.binary import read
from libferry.cli import output
from libferry.cli.failure import UsageError
from libferry.edit import Changes, fix
from libferry.edit.keeping import names_to_keep


def command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The library or program.")],
    set_rpath: Annotated[
        str | None,
        typer.Option(metavar="DIRS", help="Look here (colons between) for what it needs: RPATH."),
    ] = None,
    runpath: Annotated[
        str | None,
        typer.Option(metavar="DIRS", help="The same as RUNPATH, such as '$ORIGIN'."),
    ] = None,
    remove_rpath: Annotated[
        bool, typer.Option("--remove-rpath", help="Remove RPATH and RUNPATH.")
    ] = False,
    add_needed: Annotated[
        list[str] | None, typer.Option(metavar="LIB", help="Need this library, too.")
    ] = None,
    remove_needed: Annotated[
        list[str] | None, typer.Option(metavar="LIB", help="Need it no longer, nor its versions.")
    ] = None,
    replace_needed: Annotated[
        list[str] | None, typer.Option(metavar="OLD=NEW", help="Need another one in its place.")
    ] = None,
    soname: Annotated[str | None, typer.Option(metavar="NAME", help="Its own name.")] = None,
    interpreter: Annotated[
        str | None, typer.Option(metavar="PATH", help="The loader that a program asks for.")
    ] = None,
    clear_execstack: Annotated[
        bool, typer.Option("--clear-execstack", help="Ask for no executable stack.")
    ] = False,
    drop_version: Annotated[
        list[str] | None,
        typer.Option(metavar="LIB:VERSION", help="Ask for this symbol version no longer."),
    ] = None,
    weaken_version: Annotated[
        list[str] | None,
        typer.Option(metavar="LIB:VERSION", help="Load also where the version is missing."),
    ] = None,
    hide_symbol: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Export no name that fits, as in 'Go_*'."),
    ] = None,
    keep_exports: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Export only these: a list, a .h, or a contract."),
    ] = None,
    rename_symbol: Annotated[
        list[str] | None, typer.Option(metavar="OLD=NEW", help="Rename an export or import.")
    ] = None,
    strip: Annotated[bool, typer.Option("--strip", help="Leave out what no loader needs.")] = False,
    out: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="OUT", help="Write it there instead.")
    ] = None,
    no_backup: Annotated[bool, typer.Option("--no-backup", help="Keep no FILE.orig.")] = False,
    resign: Annotated[bool, typer.Option("--resign", help="Also if it is signed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Change a library, and prove that nothing else changed.

    \b
    libferry fix libx.so --runpath '$ORIGIN'
    libferry fix libx.so --keep-exports x.h --strip
    libferry fix libx.so --clear-execstack -o fixed/libx.so
    libferry fix libx.so --replace-needed libfoo.so.1=libfoo-3f2a.so.1

    The changed file takes the place of the original, which is kept as FILE.orig, when it
    has been compared with it and the library's own loader, where this machine has one,
    has mapped and bound it. Nothing of the library is run. Many options may be given
    several times.
    """
    if set_rpath is not None and runpath is not None:
        raise UsageError(
            "libferry fix", "--set-rpath and --runpath exclude each other", hint="give one of them"
        )
    changes = Changes(
        search_path=set_rpath if set_rpath is not None else runpath,
        search_tag="rpath" if set_rpath is not None else "runpath",
        remove_search_path=remove_rpath,
        add_needed=tuple(add_needed or ()),
        remove_needed=tuple(remove_needed or ()),
        replace_needed=tuple(_pair(one, "=", "--replace-needed") for one in replace_needed or ()),
        soname=soname,
        interpreter=interpreter,
        clear_execstack=clear_execstack,
        drop_versions=tuple(_pair(one, ":", "--drop-version") for one in drop_version or ()),
        weaken_versions=tuple(_pair(one, ":", "--weaken-version") for one in weaken_version or ()),
        hide=tuple(hide_symbol or ()),
        keep=names_to_keep(keep_exports, read(file)) if keep_exports is not None else None,
        rename=tuple(_pair(one, "=", "--rename-symbol") for one in rename_symbol or ()),
        strip=strip,
    )
    done = fix(file, changes, output=out, backup=not no_backup, resign=resign)
    if as_json:
        output.write_json(
            {
                "path": str(done.path),
                "backup": None if done.backup is None else str(done.backup),
                "hidden": list(done.hidden),
                "loader": done.loader,
                "notes": list(done.notes),
            }
        )
        return
    rows = [("changed", str(done.path))]
    if done.backup is not None:
        rows.append(("original", str(done.backup)))
    if done.hidden:
        rows.append(("hidden", f"{len(done.hidden)}: {', '.join(done.hidden[:8])}"))
    rows.append(("compared", "nothing else differs"))
    if done.loader is not None:
        rows.append(("loader", f"{done.loader} has nothing new against it"))
    output.fields([*rows, *(("note", note) for note in done.notes)])


def _pair(text: str, sign: str, option: str) -> tuple[str, str]:
    first, found, second = text.partition(sign)
    if not (first and found and second):
        raise UsageError(
            "libferry fix",
            f"{option} {text} is no pair",
            hint=f"give two names with {sign} between",
        )
    return first, second
