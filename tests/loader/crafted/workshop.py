"""Make libraries and programs, load them for real, and compare with what we say."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from libferry.loader import Options, Resolution, resolve
from libferry.target.derive import derive, this_machine
from libferry.target.root import RootSystem
from libferry.target.system import System

DRIVER = Path(__file__).with_name("driver.c")
_UNSEEN = ("ld-linux", "linux-vdso", "linux-gate", "ld-2.")

# what a case leaves out is meant to be left out, and what it names is meant to be needed
GCC = ("gcc", "-w", "-Wl,--no-as-needed", "-Wl,--unresolved-symbols=ignore-all", "-Wl,-z,lazy")


@dataclass(frozen=True)
class Loader:
    """A loader to ask: this machine's, or one in a folder, started by its path.

    Attributes:
        root: the folder of its system; None for this machine.
        command: how it is started; empty if the kernel does it.
        libraries: the folder of its C library, if ``root`` is given.
        compiler: for its libraries.
        linker: for its programs, which may need an older C library than this machine's.
        target: what is different from what the root folder says.
    """

    root: Path | None = None
    command: tuple[str, ...] = ()
    libraries: str = ""
    compiler: tuple[str, ...] = GCC
    linker: tuple[str, ...] = (*GCC, "-rdynamic")
    target: Mapping[str, Any] = field(default_factory=dict)

    def system(self, carried: Path) -> System:
        if self.root is None:
            return RootSystem("/", replace(this_machine(), **self.target))
        target = derive(self.root, name=self.root.name, isa=this_machine().isa)
        return RootSystem(self.root, replace(target, **self.target), [carried])


@dataclass(frozen=True)
class Outcome:
    """What both said: the libraries, by the path from the workshop, or the error."""

    loaded: tuple[str, ...] = ()
    error: str = ""
    resolution: Resolution | None = None


NO_VERSIONS = "no version information available"  # glibc elf/dl-version.c, match_symbol


class Workshop:
    """A folder in which things are made, and judged by one loader."""

    def __init__(self, folder: Path, loader: Loader) -> None:
        self.folder = folder
        self.loader = loader

    def library(
        self,
        path: str,
        code: str = "",
        needs: Sequence[str] = (),
        *options: str,
        soname: str | None = None,
    ) -> str:
        """Make a library without a C library; soname "" for none."""
        name = Path(path).name if soname is None else soname
        named = [f"-Wl,-soname,{name}"] if name else []
        source = code or f"int in_{Path(path).stem.replace('-', '_').split('.')[0]};"
        self._link(
            self.loader.compiler,
            path,
            source,
            needs,
            "-shared",
            "-fPIC",
            "-nostdlib",
            *named,
            *options,
        )
        return path

    def program(self, path: str, needs: Sequence[str] = (), *options: str, code: str = "") -> str:
        """Make a program that can do what ``driver.c`` says, and has more code."""
        self._link(self.loader.linker, path, DRIVER.read_text() + code, needs, *options)
        return path

    def _link(
        self,
        compiler: Sequence[str],
        path: str,
        source: str,
        needs: Sequence[str],
        *options: str,
    ) -> None:
        output = self.folder / path
        output.parent.mkdir(parents=True, exist_ok=True)
        command = [
            *compiler,
            *("-x", "c", "-", "-x", "none", "-o", str(output)),
            *(str(self.folder / need) for need in needs),
            *options,
        ]
        subprocess.run(command, input=source, text=True, check=True, capture_output=True)

    def start(
        self,
        program: str,
        *words: str,
        environment: Mapping[str, str] = {},
        folder: str = "",
    ) -> tuple[tuple[str, ...], str]:
        """Run a program: what it has loaded, or the error."""
        loader = self.loader
        given = dict(environment)
        command = list(loader.command)
        if loader.root is not None:
            path = ":".join(filter(None, (given.pop("LD_LIBRARY_PATH", ""), loader.libraries)))
            command += ["--inhibit-cache", "--library-path", path]
        answer = subprocess.run(
            [*command, str(self.folder / program), *words],
            capture_output=True,
            text=True,
            errors="backslashreplace",
            env={"LC_ALL": "C", **given},
            cwd=self.folder / folder,
            timeout=60,
        )
        lines = answer.stdout.splitlines()
        errors = [line.removeprefix("error ") for line in lines if line.startswith("error ")]
        # a warning may come after the error
        told = [line for line in answer.stderr.strip().splitlines() if NO_VERSIONS not in line]
        if answer.returncode:
            return (), (errors or told or [f"ended with {answer.returncode}"])[-1]
        places = (line.removeprefix("loaded ") for line in lines if line.startswith("loaded "))
        return self._short(places, self.folder / folder), ""

    def predict(
        self,
        subject: str,
        host: str | None = None,
        environment: Mapping[str, str] = {},
        folder: str = "",
        now: bool = False,
        secure: bool = False,
    ) -> tuple[tuple[str, ...], Resolution]:
        """What we say."""
        if self.loader.root is not None:  # as ``start`` has to say it
            libraries = "/" + os.path.relpath(self.loader.libraries, self.loader.root)
            path = ":".join(filter(None, (environment.get("LD_LIBRARY_PATH", ""), libraries)))
            environment = {**environment, "LD_LIBRARY_PATH": path}
        resolution = resolve(
            self.folder / subject,
            self.loader.system(self.folder),
            Options(
                host=None if host is None else str(self.folder / host),
                environment=environment,
                working_directory=str(self.folder / folder),
                now=now,
                secure=secure,
            ),
        )
        nodes = (*resolution.scope, *resolution.order) if host else resolution.order
        files = (str(node.found.file) for node in nodes if node.found)
        return self._short(dict.fromkeys(files), self.folder), resolution

    def predict_file(self, file: Path, host: str) -> tuple[tuple[str, ...], Resolution]:
        """What we say of a file that cannot be read as a library at all, or of one."""
        return self.predict(str(file.relative_to(self.folder)), host)

    def _short(self, paths: Iterable[str], folder: Path) -> tuple[str, ...]:
        """Paths from the workshop without links; without the loader and the kernel's part."""
        short = []
        for path in paths:
            if not path or os.path.basename(path).startswith(_UNSEEN):
                continue
            real = os.path.realpath(folder / path)
            inside = os.path.relpath(real, os.path.realpath(self.folder))
            short.append(os.path.basename(real) if inside.startswith("..") else inside)
        return tuple(short)

    def judge(
        self,
        program: str,
        *words: str,
        environment: Mapping[str, str] = {},
        folder: str = "",
        now: bool = False,
        secure: bool = False,
    ) -> Outcome:
        """Start a program for real; ours has to be the same, and is given."""
        loaded, error = self.start(program, *words, environment=environment, folder=folder)
        ours, resolution = self.predict(program, None, environment, folder, now, secure)
        return self._same(loaded, error, ours[1:], resolution, folder)

    def judge_dlopen(
        self,
        library: str,
        host: str,
        environment: Mapping[str, str] = {},
        mode: str = "now",
        folder: str = "",
    ) -> Outcome:
        """Have a program load a library for real; ours has to be the same, and is given."""
        loaded, error = self.start(
            host, f"{mode}:{self.folder / library}", environment=environment, folder=folder
        )
        ours, resolution = self.predict(library, host, environment, folder, mode == "now")
        return self._same(loaded, error, ours[1:], resolution, folder)

    def _same(
        self,
        loaded: tuple[str, ...],
        error: str,
        ours: tuple[str, ...],
        resolution: Resolution,
        folder: str,
    ) -> Outcome:
        fatal = [problem.message for problem in resolution.problems if problem.when == "load"]
        if error:
            assert fatal, (error, ours)
            assert error.endswith(fatal[0]) or _is_same(error, fatal[0], self.folder / folder), (
                error,
                fatal,
            )
        else:
            assert not fatal, (loaded, fatal)
            assert loaded == ours
        return Outcome(loaded, error, resolution)


def _is_same(error: str, ours: str, folder: Path) -> bool:
    """Whether both say the same, glibc with relative paths where the search path is relative."""
    words = ours.split(" ")
    theirs = error.split(" ")[-len(words) :]

    def absolute(word: str) -> str:
        inner = word.strip("(:)")
        return word.replace(inner, os.path.normpath(folder / inner)) if inner else word

    return [*map(absolute, theirs)] == [*map(absolute, words)]
