"""Writing for two readers: a person at a terminal, and a program behind a pipe.

Everything goes through ``write``, which knows what to do when the reader is gone.
Text from a library or a file is never interpreted as markup, and on a terminal its
control characters are shown instead of sent: a library's name must not be able to
move the cursor.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

READER_GONE = 128 + 13  # as a shell reports a program that SIGPIPE ended
WIDE = 10_000  # columns: nothing is folded for a program


class ReaderGone(Exception):
    """Nobody reads what is written any more, so the command may end."""


def to_terminal() -> bool:
    """Whether a person is reading standard output."""
    return sys.stdout.isatty()


def write(text: str) -> None:
    """Write to standard output; end the command if nobody can read it."""
    _write(text.encode(sys.stdout.encoding, "backslashreplace"))


def write_exactly(text: str, encoding: str) -> None:
    """Write text of a library: with the bytes it had, or safely on a terminal."""
    if to_terminal():
        write(visible(text))
    else:
        _write(text.encode(encoding, "surrogateescape"))


def _write(data: bytes) -> None:
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        discard()
        raise ReaderGone from None


def discard() -> None:
    """Send what is still buffered nowhere: Python flushes it once more when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def write_json(value: object) -> None:
    """Write one JSON value and a line end."""
    import json  # late: most answers are text

    write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def line(text: str = "", style: str = "") -> None:
    """Write a line, in a style where there are styles."""
    if to_terminal():
        _print(_text((visible(text), style)))
    else:
        write(visible(text) + "\n")


def lines(texts: Iterable[str]) -> None:
    """Write plain lines, of which there may be many, at once."""
    write("".join(visible(text) + "\n" for text in texts))


def fields(rows: Iterable[tuple[str, str]]) -> None:
    """Write names and values below each other."""
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        if to_terminal():
            _print(_text((f"{name:{width}}", "bold"), "  ", visible(value)))
        else:
            line(f"{name:{width}}  {value}")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], styles: Sequence[str] = ()) -> None:
    """Write a table whose columns are as wide as they must be."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for position, name in enumerate(head):
        style = styles[position] if position < len(styles) else ""
        first_or_piped = position == 0 or not to_terminal()
        made.add_column(name, style=style, no_wrap=first_or_piped, overflow="fold")
    for row in rows:
        made.add_row(*(_text(visible(cell)) for cell in row))
    console = _console()
    with console.capture() as captured:
        console.print(made)
    write("\n".join(text.rstrip() for text in captured.get().splitlines()) + "\n")


def remark(label: str, text: str, style: str = "bold") -> None:
    """Write ``label: text`` to standard error, for errors, hints and notes."""
    text = visible(text)
    try:
        if sys.stderr.isatty():
            from rich.console import Console

            console = Console(stderr=True, highlight=False, soft_wrap=True)
            console.print(_text((f"{label}:", style), " ", text))
        else:
            sys.stderr.write(f"{label}: {text}\n")
        sys.stderr.flush()
    except OSError:
        pass  # there is nowhere left to complain


def visible(text: str) -> str:
    """The text with control characters spelled out, other than line ends and tabs."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode()
        for char in text
    )


def _text(*parts: str | tuple[str, str]) -> Text:
    from rich.text import Text

    return Text.assemble(*parts)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if to_terminal() else WIDE, highlight=False, soft_wrap=False)


def _print(text: Text) -> None:
    console = _console()
    with console.capture() as captured:
        console.print(text, soft_wrap=True)
    write(captured.get())
