"""All commands as one group, for the option parser and for its help."""

from __future__ import annotations

from typing import Annotated

import typer

import libferry
from libferry.cli import failure, output
from libferry.cli.commands import STYLE, Commands

# Newer typers carry their own copy of click, older ones import it: its usage error has
# no name that is good for both, but a base class of this one it is in each.
_ClickUsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(name="libferry", cls=Commands, **STYLE)


def _version(wanted: bool) -> None:
    if wanted:
        output.write(f"libferry {libferry.__version__}\n")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _libferry(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    """Call native libraries that this process cannot hold.

    A library may be 32-bit, for another CPU, a Windows DLL, or simply not trusted:
    libferry gives it a small process of its own, and calls it there.

    \b
    libferry inspect zlib1.dll            what is this file?
    libferry layout point.h               where do the members of its structures lie?
    libferry doctor                       what can this machine host?
    libferry tour                         see it work, for every target
    libferry run -- ./server              a program, and what code is in it
    libferry fix libx.so --runpath '$ORIGIN'   change what a library says of itself
    libferry target list                  where it may have to run
    libferry explain 193                  what does this error code or message mean?
    libferry learn -- python work.py      what does a library do? write its sandbox's profile
    libferry call libz.so.1 'const char *zlibVersion(void)'

    Exit codes: 0, it worked; 1, the answer is no (it crashed, it exports no such name,
    nothing here can host it); 2, it could not be found out (no such file, a mistake in
    the command line or in the declaration).
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(failure.UNKNOWN)


def run(words: list[str]) -> int:
    """Follow a command line, and give the exit code.

    Raises:
        FerryError: of the command; a UsageError if the words mean nothing.
        KeyboardInterrupt: somebody had enough of it.
        OSError: the answer cannot be written.
    """
    try:
        return int(app(words, prog_name="libferry", standalone_mode=False) or 0)
    except _ClickUsageError as error:
        raise failure.from_click(error) from None
    except typer.Abort:
        raise KeyboardInterrupt from None
