"""Why a loader refused a library: what it says, and what it does not.

A loader names the first thing that is wrong, and neither who needs it nor where it looked;
Windows' names nothing at all. What it did can be predicted, though, and the prediction is
kept with the error. It is made when the loader has refused, so that a load that succeeds
costs nothing; and if it cannot be made, or does not agree with what the loader said, then
the loader's words stay as they are.
"""

from __future__ import annotations

import ntpath
import os
import posixpath
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from libferry.abi import ABIS
from libferry.errors import LoadError
from libferry.runtime.environment import child_environment

if TYPE_CHECKING:
    from libferry.audit import Finding
    from libferry.binary import Binary
    from libferry.loader import Node, Options, Problem, Resolution
    from libferry.runtime.runner import Runner
    from libferry.target import System

PLACES = 6  # of one kind, that are named in a message

# What Wine is: the newest of those that it can be configured as.
_WINDOWS = {"x86_64": "windows-10-x64", "i386": "windows-10-x86"}


def refusal(
    tried: str, said: str, hint: str, binary: Binary, abi: str, runner: Runner | None
) -> LoadError:
    """The error for what a loader refused, with all that can be said of it.

    Args:
        tried: what was being done.
        said: what the loader said.
        hint: what to do about it, as far as that says.
        binary: the library.
        abi: its ABI.
        runner: what its worker runs in; None if it was loaded into this process.
    """
    try:
        system, options = _circumstances(binary, abi, runner)
        resolution = _resolve(binary, system, options)
        problem = next((one for one in resolution.problems if _agrees(one, said, resolution)), None)
        reason = _reason(problem, resolution) if problem is not None else ""
    except Exception:  # whatever is wrong with the explanation, the error is worth more
        return LoadError(tried, said, hint=hint)
    if problem is not None:
        hint += f"; all that is wrong: libferry check {binary.path}"
    error = LoadError(tried, "; ".join(filter(None, (said, reason))), hint=hint)
    error.explain_by(resolution, partial(_findings, binary, system, options))
    return error


def _resolve(binary: Binary, system: System, options: Options) -> Resolution:
    from libferry.loader import resolve

    return resolve(binary, system, options)


def _findings(binary: Binary, system: System, options: Options) -> Sequence[Finding]:
    from libferry.audit import Settings
    from libferry.audit.running import audit_binary

    try:
        settings = Settings(loading=options)
        return audit_binary(binary, system, settings, str(binary.path)).findings
    except Exception:  # as above
        return ()


def _circumstances(binary: Binary, abi: str, runner: Runner | None) -> tuple[System, Options]:
    """Whose loader it was, and what it had."""
    from libferry.loader import Options
    from libferry.target import system_for

    folder = binary.path.parent
    if runner is None:
        options = Options(
            host=os.path.realpath("/proc/self/exe"),
            environment=_loaders_environment(),
            working_directory=os.getcwd(),
            now=True,
        )
        return system_for("this"), options
    if runner.windows:
        return system_for(_WINDOWS[binary.cpu], carried=[folder]), Options()
    root = _root(runner)
    environment = child_environment(_library_path(runner))
    options = Options(environment=environment, working_directory=os.getcwd(), now=True)
    cpu = ABIS[abi].cpu
    if root is None:
        return system_for("this", cpu=cpu), options
    return system_for(sysroot=root, cpu=cpu, carried=[folder]), options


def _loaders_environment() -> dict[str, str]:
    """What the loader saw when this process started: it has not looked since."""
    with open("/proc/self/environ", "rb") as file:
        pairs = (os.fsdecode(pair).partition("=") for pair in file.read().split(b"\0"))
        return {name: value for name, _, value in pairs if name.startswith("LD_")}


def _root(runner: Runner) -> Path | None:
    """The folder with another CPU's system."""
    if "-L" in runner.command:
        return Path(runner.command[runner.command.index("-L") + 1])
    return None


def _library_path(runner: Runner) -> dict[str, str]:
    """What the loader was told on its command line counts as LD_LIBRARY_PATH."""
    if "--library-path" not in runner.command:
        return {}
    return {"LD_LIBRARY_PATH": runner.command[runner.command.index("--library-path") + 1]}


# ---- in words ----


def _agrees(problem: Problem, said: str, resolution: Resolution) -> bool:
    """Whether the prediction is about what the loader said; Windows' says nothing."""
    if problem.when != "load":
        return False
    return resolution.target.os == "windows" or os.path.basename(problem.subject) in said


def _reason(problem: Problem, resolution: Resolution) -> str:
    if problem.id == "missing-symbol":
        asked = ", ".join(_names(resolution)) or "nothing"
        return f"{_name(problem.library)} needs the symbol, and none of these has it: {asked}"
    node = next((one for one in resolution.root.walk() if _is_about(one, problem)), None)
    if node is None:
        # Windows' loader has not said what it is about
        return problem.message if resolution.target.os == "windows" else ""
    needed = "" if node.requester is None else f"{node.name} is needed by {node.requester.path}"
    looked = "; ".join(_places(node, ntpath if resolution.target.os == "windows" else posixpath))
    return ", ".join(filter(None, (needed, f"looked in {looked}" if looked else "")))


def _is_about(node: Node, problem: Problem) -> bool:
    return node.name == problem.subject and node.state in ("missing", "unknown", "refused")


def _places(node: Node, paths: ModuleType) -> Iterator[str]:
    """Who said where to look, and the folders; with a reason, where a file was passed over."""
    folders: dict[str, dict[str, None]] = {}
    for step in node.tried:
        folder, name = paths.split(step.path)
        if name.lower() != paths.basename(node.name).lower():
            folder = step.path.rstrip("/")
        reason = f": {step.reason}" if step.outcome in ("skipped", "fatal") else ""
        folders.setdefault(step.source, {})[f"{folder}{reason}"] = None
    for source, names in folders.items():
        if all(paths.basename(name) == source for name in names):
            yield source  # ld.so.cache is a file, and no folder
            continue
        more = [f"{len(names) - PLACES} more"] if len(names) > PLACES else []
        yield f"{source} ({', '.join([*list(names)[:PLACES], *more])})"


def _names(resolution: Resolution) -> list[str]:
    return list(dict.fromkeys(_name(node.path) for node in resolution.order))


def _name(path: str) -> str:
    return os.path.basename(path)
