"""Start the program with ``LD_DEBUG``, and read its loader's log.

The log goes to a file of its own for each process (``LD_DEBUG_OUTPUT``), so that the
program's streams stay its own. Only the process that was started is compared: what that
one starts in turn has been predicted by nobody.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from libferry.binary import Binary, read
from libferry.errors import BadBinary, LibraryNotFound, NotTraceable
from libferry.loader import glibc
from libferry.loader.glibc.mapping import Loaded
from libferry.loader.glibc.starting import places_of
from libferry.loader.model import Node, Options, Resolution
from libferry.loader.resolve import resolve
from libferry.loader.tracing.compare import Comparer, Comparison
from libferry.loader.tracing.log import events
from libferry.loader.tracing.wine import trace_windows
from libferry.target import System, system_for

SCRIPTS_AT_MOST = 4  # as many as Linux follows: fs/exec.c, exec_binprm


@dataclass(frozen=True)
class Traced:
    """What a program did.

    Attributes:
        program: the program that ran.
        code: its exit code; negative if a signal ended it.
        prediction: what its loader should do.
        comparison: what it did beside that.
    """

    program: Path
    code: int
    prediction: Resolution
    comparison: Comparison

    @property
    def agrees(self) -> bool:
        """Whether all was as predicted."""
        return not self.comparison.differences


def trace(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Traced:
    """Run a program, and compare what its loader did with what was predicted.

    Args:
        command: the program, and its arguments.
        environment: its environment; this process's if None.

    Raises:
        LibraryNotFound: there is no such program.
        BadBinary: it is none.
        NotTraceable: its loader tells nothing: it is linked statically, or for musl, or for
            another system.
    """
    variables = dict(os.environ if environment is None else environment)
    path = _program(command[0], variables)
    binary = read(path)
    if binary.format == "pe":
        return Traced(path, *trace_windows(command, binary, variables))
    _check(binary)
    system = system_for("this", cpu=binary.cpu)
    relevant = {name: value for name, value in variables.items() if name.startswith("LD_")}
    options = Options(environment=relevant, working_directory=os.getcwd())
    prediction = resolve(binary, system, options)
    dlopen = _Dlopen(system, options, prediction)
    comparer = Comparer(prediction, system, options, dlopen)
    with tempfile.TemporaryDirectory() as folder:
        variables |= {
            "LD_DEBUG": "libs,files,bindings,scopes",
            "LD_DEBUG_OUTPUT": f"{folder}/log",
        }
        try:
            process = subprocess.Popen(command, executable=shutil.which(command[0]), env=variables)
        except (OSError, ValueError) as error:
            raise _no_program(command[0], error) from None
        try:
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        log = Path(folder) / f"log.{process.pid}"
        if not log.exists():
            raise NotTraceable(
                f"trace {path.name}",
                "its loader wrote no log",
                hint="a program with more rights than its user is not traced; run it as that user",
            )
        with log.open(encoding="utf-8", errors="surrogateescape") as lines:
            for event in events(lines, process.pid):
                comparer.take(event)
    return Traced(path, code, prediction, comparer.finish())


def _program(word: str, variables: Mapping[str, str]) -> Path:
    """The program that the kernel starts: of a script, its interpreter."""
    found = shutil.which(word, path=variables.get("PATH"))
    if found is None and word.lower().endswith(".exe") and os.path.isfile(word):
        found = word  # Wine does not ask whether it may be executed
    if found is None:
        raise LibraryNotFound(
            f"trace {word}", "there is no such program", hint="give its path, as ./program"
        )
    path = Path(found)
    for _ in range(SCRIPTS_AT_MOST):
        try:
            if not path.is_file():  # a pipe would keep us waiting
                break
            with path.open("rb") as file:
                first = file.readline(256)
        except (OSError, ValueError) as error:
            raise _no_program(word, error) from None
        if not first.startswith(b"#!"):
            break
        words = first[2:].split()
        if not words:
            raise BadBinary(
                f"trace {word}", "its first line names no interpreter", hint="correct that line"
            )
        path = Path(os.fsdecode(words[0]))
        if path.name == "env" and len(words) > 1:
            # env replaces itself with that program, in the same process
            raise BadBinary(
                f"trace {word}",
                f"it is a script that {path} finds a program for",
                hint=f"trace that program: libferry trace -- {os.fsdecode(words[-1])} {found}",
            )
    return path.absolute()


def _no_program(word: str, error: OSError | ValueError) -> LibraryNotFound:
    reason = getattr(error, "strerror", None) or str(error)
    return LibraryNotFound(
        f"trace {word}",
        f"it cannot be started: {reason}",
        hint="check its first line, and its mode",
    )


def _check(binary: Binary) -> None:
    happened = hint = ""
    if binary.format != "elf":
        happened = "it is a Mach-O program, which runs on macOS only"
        hint = "predict what its loader does: libferry check"
    elif binary.interpreter is None:
        happened, hint = "it has no interpreter: no loader takes part in it", "it needs no library"
    elif "ld-musl" in binary.interpreter:
        happened = "musl's loader writes no log"
        hint = f"see what it finds: {binary.interpreter} --list {binary.path}"
    if happened:
        raise NotTraceable(f"trace {binary.path.name}", happened, hint=hint)


class _Dlopen:
    """Predicts ``dlopen`` in a program: the caller's search path counts, and its scope."""

    def __init__(self, system: System, options: Options, program: Resolution) -> None:
        self._system, self._options = system, options
        self._program = program
        self._places = places_of(system, options, program.root.path)

    def __call__(self, name: str, by: str) -> tuple[Node, Resolution | None]:
        """Where it is looked for, and what follows if it is found."""
        program = self._loaded(self._program.root.path)
        user = self._loaded(by) or program
        node = Node(name)
        if "/" in name:
            located = self._places.by_path(name, f"path, asked for by {by}")
        elif user is not None:
            located = self._places.search(name, user.plan(self._places, program))
        else:
            located = self._places.search(name, self._places.plan(self._places.environment))
        node.tried, node.how, node.found = list(located.tried), located.how, located.found
        if located.found is None or located.found.file is None or located.verdict.fatal:
            return node, None
        options = Options(
            host=self._program.root.path,
            environment=self._options.environment,
            working_directory=self._options.working_directory,
            symbols=False,
        )
        try:
            binary = self._system.read(located.found)
            # by the path that it was found at, which is not the one without links
            resolution = glibc.resolve(binary, located.found.path, self._system, options)
        except BadBinary:
            node.state = "refused"
            return node, None
        node.state = resolution.root.state
        return node, resolution

    def _loaded(self, path: str) -> Loaded | None:
        found = self._system.find(os.path.abspath(path)) if path else None
        if found is None:
            return None
        one = Loaded(Node(path), found, self._places.facts(found), None)
        if path == self._program.root.path:
            one.origin = found.real.rpartition("/")[0] or "/"
        return one
