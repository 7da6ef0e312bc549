"""The command ``libferry``: one file per command, and what they share.

``words`` turns command-line words into C arguments, ``output`` writes for a person or
for a program, ``failure`` knows what an error looks like and which exit code it is,
``commands`` which commands there are, and ``app`` is all of them together. ``straight``
saves a plain question the wait for the option parser.
What a command does is in the rooms; here it is asked for and shown.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from libferry.cli import failure, output, straight
from libferry.errors import FerryError

INTERRUPTED = 128 + 2  # as a shell reports a program that SIGINT ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = words[: words.index("--")] if "--" in words else words
    as_json = "--json" in options
    _prepare_streams()
    try:
        try:
            command = straight.command(words)
            return int(command() or 0) if command else _parsed(words)
        except FerryError as error:
            return failure.show(error, as_json=as_json)
        except OSError as error:  # nothing but the output; the rest became a FerryError
            output.discard()
            return failure.show(failure.cannot_write(error), as_json=False)
    except KeyboardInterrupt:
        return INTERRUPTED
    except output.ReaderGone:  # also from showing an error
        return output.READER_GONE


def _parsed(words: list[str]) -> int:
    from libferry.cli import app

    return app.run(words)


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
