r"""Run a Windows program through Wine, and compare what its loader does.

With ``WINEDEBUG=+loaddll,+module`` Wine writes on standard error, between the program's own
lines, what it loads and whose entry point it calls:

    0114:trace:loaddll:build_module Loaded L"Z:\\tmp\\base.dll" at 0000000001630000: native
    0114:trace:module:process_attach (L"base.dll",000000000101FB00) - END

It has DLLs of its own for Windows', in another order and number than Windows has them. So
compared are those that the program brings: from which folder each is taken, and in which
order they are initialised. What it has to say of bindings is of Wine's own DLLs.
"""

from __future__ import annotations

import ntpath
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from libferry.binary import Binary
from libferry.errors import NotTraceable
from libferry.loader import windows
from libferry.loader.model import Node, Options, Resolution
from libferry.loader.resolve import resolve
from libferry.loader.tracing.compare import Comparison
from libferry.target import System, system_for

_TRACE = re.compile(rb"[0-9a-f]{4}:(trace|fixme|warn|err):")
_LOADED = re.compile(r'trace:loaddll:build_module Loaded L"(.*)" at [0-9A-Fa-f]+: (native|builtin)')
_STARTED = re.compile(r'trace:module:process_attach \(L"(.*)",[0-9A-Fa-f]+\) - END')

TARGETS = {"x86_64": "windows-10-x64", "i386": "windows-10-x86"}


def trace_windows(
    command: Sequence[str], binary: Binary, variables: Mapping[str, str]
) -> tuple[int, Resolution, Comparison]:
    """Run it; its exit code, what was predicted, and what came of it.

    Raises:
        NotTraceable: there is no Wine, or none for this CPU.
    """
    from libferry.runtime import wine

    program = wine.program()
    if program is None or binary.cpu not in TARGETS:
        raise NotTraceable(
            f"trace {binary.path.name}",
            f"there is no Wine for {binary.cpu} here",
            hint="predict what its loader does: libferry check; or apt-get install wine64",
        )
    system = system_for(TARGETS[binary.cpu])
    options = Options(working_directory=system.path_of(Path.cwd()))
    prediction = resolve(binary, system, options)
    comparer = _Comparer(prediction, system, options)
    wine.ensure_running()
    environment = {**variables, **wine.environment(), "WINEDEBUG": "+loaddll,+module"}
    process = subprocess.Popen(
        [program, str(binary.path), *command[1:]], env=environment, stderr=subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        comparer.take(_traces(process.stderr))
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    return code, prediction, comparer.finish()


def _traces(lines: Iterable[bytes]) -> Iterator[str]:
    """Wine's lines; the program's own go where they were meant to."""
    for line in lines:
        if _TRACE.match(line):
            yield line.decode("utf-8", "replace")
        else:
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()


class _Comparer:
    """Takes Wine's lines, and compares them."""

    def __init__(self, prediction: Resolution, system: System, options: Options) -> None:
        self.result = Comparison()
        self._system, self._options = system, options
        self._program = prediction.root.path
        self._expected = {_key(node.path): node for node in prediction.order if _brought(node)}
        self._starts = [
            _key(node.path)
            for node in prediction.initialisers
            if _brought(node) and node.path != self._program
        ]
        self._seen: set[str] = set()

    def take(self, lines: Iterable[str]) -> None:
        """Compare line by line."""
        for line in lines:
            if found := _LOADED.search(line):
                self._loaded(found[1].replace("\\\\", "\\"))
            elif found := _STARTED.search(line):
                self._started(found[1].replace("\\\\", "\\"))

    def finish(self) -> Comparison:
        """The result, after the last line."""
        for key, node in self._expected.items():
            if key not in self._seen:
                self.result.differs("load", node.name, f"{node.path} is loaded", "it was not")
        return self.result

    def _loaded(self, path: str) -> None:
        key = _key(path)
        if path[:2].upper() != "Z:":
            name = ntpath.basename(key)
            wrong = next((one for one in self._expected if ntpath.basename(one) == name), None)
            if wrong is not None and wrong not in self._seen:
                self._seen.add(wrong)
                self.result.libraries += 1
                self.result.differs("search", name, self._expected[wrong].path, path)
            return
        self.result.libraries += 1
        self._seen.add(key)
        if key in self._expected:
            return
        # not there from the beginning: LoadLibrary asked for it
        options = Options(host=self._program, working_directory=self._options.working_directory)
        resolution = windows.resolve_name(ntpath.basename(path), self._system, options)
        if _key(resolution.root.path) != key:
            predicted = resolution.root.path if resolution.root.found else "it is not found"
            self.result.differs("search", ntpath.basename(path), predicted, path)
            return
        new = [node for node in resolution.initialisers if _brought(node)]
        self._starts += [_key(node.path) for node in new if _key(node.path) not in self._expected]
        self._expected |= {_key(node.path): node for node in resolution.order if _brought(node)}

    def _started(self, name: str) -> None:
        name = ntpath.basename(name).lower()
        due = next((path for path in self._starts if ntpath.basename(path) == name), None)
        if due is None:
            return
        self.result.initialisers += 1
        if self._starts[0] != due:
            self.result.differs("initialiser", due, f"{self._starts[0]} is next", due)
        self._starts.remove(due)


def _brought(node: Node) -> bool:
    """Whether it is a file of the program's, and not Windows'."""
    return node.found is not None and node.found.file is not None


def _key(path: str) -> str:
    return ntpath.normpath(path).lower()
