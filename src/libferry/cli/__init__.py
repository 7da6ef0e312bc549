"""The command ``libferry``: one file per command, and what they share.

``words`` turns command-line words into C arguments, ``output`` writes for a person or
for a program, ``failure`` knows what an error looks like and which exit code it is, and
``commands`` which commands there are.
What a command does is in the rooms; here it is asked for and shown.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import libferry
from libferry.cli import failure, output
from libferry.cli.commands import STYLE, Commands
from libferry.errors import FerryError

INTERRUPTED = 128 + 2  # as a shell reports a program that SIGINT ended

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = words[: words.index("--")] if "--" in words else words
    as_json = "--json" in options
    _prepare_streams()
    try:
        try:
            code = app(words, prog_name="libferry", standalone_mode=False)
        except FerryError as error:
            return failure.show(error, as_json=as_json)
        except _ClickUsageError as error:
            return failure.show(failure.from_click(error), as_json=as_json)
        except OSError as error:  # nothing but the output; the rest became a FerryError
            output.discard()
            return failure.show(failure.cannot_write(error), as_json=False)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except typer.Exit as exit_:  # from showing an error
        return exit_.exit_code
    return int(code or 0)


def _prepare_streams() -> None:
    """Make the streams such that writing any text to them cannot fail.

    A program started with a stream closed (``>&-``) finds None in its place.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
