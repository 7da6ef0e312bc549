"""``libferry run``: a program, and nothing in it that was not expected."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Annotated

import typer

from libferry.cli import output
from libferry.cli.failure import UsageError
from libferry.errors import SandboxUnavailable, UnexpectedCode
from libferry.guard import Expected, Loaded, LoadedFile, preloads, snapshot, watching
from libferry.guard.files import of_descriptor
from libferry.guard.snapshot import interposed

BY_SIGNAL = 128  # as shells add it to the number


def command(
    words: Annotated[
        list[str], typer.Argument(metavar="-- PROGRAM [ARGS]", help="The program and its words.")
    ],
    allow_preload: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-preload",
            metavar="NAME",
            help="A library that may be preloaded, or a variable of the loader's that may be set.",
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option("--snapshot", metavar="FILE", help="Write down what is loaded."),
    ] = None,
    expect: Annotated[
        Path | None,
        typer.Option("--expect", metavar="FILE", help="Let nothing run that is not in there."),
    ] = None,
) -> int:
    """Run a program in a clean environment, and know what code is in it.

    \b
    libferry run -- ./server --port 0
    libferry run --snapshot server.json -- ./server --selftest
    libferry run --expect server.json -- ./server --port 0
    LD_PRELOAD=libjemalloc.so.2 libferry run --allow-preload libjemalloc.so.2 -- ./server

    Variables that change what the loader does (LD_PRELOAD, LD_AUDIT, LD_LIBRARY_PATH,
    GLIBC_TUNABLES, ...) and /etc/ld.so.preload are refused unless they are allowed.

    A snapshot has the digest of every program and library that ran, in the program and in
    all that it started, and the names that each preload takes over. With --expect, a file
    that is not in the snapshot, or has other bytes, ends the program before its code runs.
    Kernels before 5.5 cannot tell: then what the loader says it will load is compared before
    the start, and what is loaded later is not looked at.

    The program's exit code is this command's, and 128 and the number of the signal that
    ended it. No program that is set-user-ID gains anything under --snapshot and --expect.
    """
    environment = dict(os.environ)
    found = shutil.which(words[0])
    if found is None:
        raise UsageError(
            "libferry run", f"there is no program {words[0]}", hint="give its path, or correct PATH"
        )
    program = Path(found).absolute()
    preloads.check(environment, allow_preload or ())
    if record is None and expect is None:
        _restore_signals()
        os.execve(program, words, environment)
    taken = preloads.interposed(program, environment)
    guard = _Guard(expect, taken)
    guard.refuse(program)
    try:
        code = watching.run(words, program, environment, guard.judge)
    except SandboxUnavailable as error:
        output.remark("note", f"{error.happened}; what is loaded later is not looked at")
        code = _run_compared(words, program, environment, guard)
    guard.refuse(program)
    if record is not None:
        Loaded(guard.seen.values()).write(record, interposed=taken)
    return code if code >= 0 else BY_SIGNAL - code


class _Guard:
    """What was seen of a program, and what of it was not expected."""

    def __init__(self, expect: Path | None, taken: dict[str, list[str]]) -> None:
        self.seen: dict[tuple[str, str | None], LoadedFile] = {}
        self.differences: list[str] = []
        self._file = expect
        self._expected = Expected.of(snapshot(expect)) if expect else None
        known = interposed(expect) if expect else taken
        for preload, names in taken.items():
            more = sorted(set(names) - set(known.get(preload, ())))
            if more:
                self.differences.append(f"{preload} takes over {', '.join(more)}")

    def judge(self, file: LoadedFile) -> bool:
        """Whether a file's code may run."""
        self.seen.setdefault((file.path, file.digest), file)
        found = self._expected.differences([file]) if self._expected else []
        self.differences += found
        return not found

    def refuse(self, program: Path) -> None:
        """Raise if there was a difference.

        Raises:
            UnexpectedCode: there was.
        """
        if self.differences:
            raise UnexpectedCode(
                f"run {program.name}",
                "; ".join(dict.fromkeys(self.differences)),
                hint="if that is right, record it anew: libferry run --snapshot "
                f"{self._file} -- {program}",
            )


def _run_compared(
    words: list[str], program: Path, environment: dict[str, str], guard: _Guard
) -> int:
    """Compare what the loader says it will load, and run the program."""
    for path in preloads.in_order(program, environment) or [program]:
        with open(path, "rb") as file:
            guard.judge(of_descriptor(file.fileno(), os.path.realpath(path)))
    if guard.differences:
        return 0
    child = os.posix_spawn(program, words, environment, setsigdef=_IGNORED)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)  # by CPython


def _restore_signals() -> None:
    for number in _IGNORED:
        signal.signal(number, signal.SIG_DFL)
