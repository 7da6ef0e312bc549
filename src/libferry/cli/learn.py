"""``libferry learn``: run a workload once, and write the profile that covers it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from libferry.cli import output
from libferry.cli.failure import NO, UsageError
from libferry.sandbox import learning

PARSER = {"context_settings": {"ignore_unknown_options": True}}


def command(
    words: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND...", help="What to run, after --.")
    ],
    to: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the profile here."),
    ] = None,
) -> int:
    """Run a workload once, and write the smallest sandbox profile that covers it.

    \b
    libferry learn -o notice.toml -- python -m mytests
    libferry learn -- libferry call --isolation sandbox ./lib.so 'int f(void)'

    Every library that the command loads with isolation="sandbox" may do what it likes,
    this once, and is watched: use data that you trust, and let the workload do
    everything that will be done. The profile begins with "pure" and has one line for
    each thing that the libraries did beside it. Read it before you use it.

    The exit code is that of the command, or 1 if no library was loaded.
    """
    program = shutil.which(words[0])
    if program is None:
        raise UsageError(
            "libferry learn", f"there is no program {words[0]!r}", hint="give it after --"
        )
    with tempfile.TemporaryDirectory(prefix="libferry-learn-") as folder:
        environment = os.environ | {learning.VARIABLE: folder}
        code = subprocess.run([program, *words[1:]], env=environment, check=False).returncode
        grants, libraries = learning.collect(Path(folder))
    if not libraries:
        output.remark("error", "the command loaded no library with isolation='sandbox'", "bold red")
        output.remark("hint", "load(path, isolation='sandbox') is what is learnt from", "bold cyan")
        return NO
    text = learning.profile_text(grants, libraries)
    if to is None:
        output.write(text)
    else:
        try:
            to.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"write {to}", error.strerror or str(error), hint="give another -o"
            ) from None
        output.remark(
            "note", f"{to} has what {', '.join(libraries)} did; read it before you use it"
        )
    return code if code >= 0 else 128 - code
