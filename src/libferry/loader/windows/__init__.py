"""Windows' loader: what LoadLibraryEx, or the start of a program, would do.

``Options`` that are its own:

- ``flags``: those of LoadLibraryEx by name (``LOAD_WITH_ALTERED_SEARCH_PATH``,
  ``LOAD_LIBRARY_SEARCH_*``); ``SafeDllSearchMode=0``, as in the registry;
  ``SetDllDirectory=FOLDER``; ``SetDefaultDllDirectories=FLAG|FLAG``;
- ``directories``: what AddDllDirectory was given;
- ``environment``: ``PATH``; ``working_directory``: a Windows path, or nothing is known of it;
- ``host``: the program, whose folder is the application directory. Without one, the
  library's own folder stands for it, and the process is of the target's CPU.

No Windows ran these rules: they are those of Microsoft's documentation, and Wine's loader
agrees where it implements them (``tests/loader/windows``).
"""

from __future__ import annotations

import ntpath
from collections.abc import Iterable

from libferry.binary.model import Binary
from libferry.errors import BadBinary
from libferry.loader.model import Node, Options, Problem, Resolution
from libferry.loader.windows import rules
from libferry.loader.windows.engine import Loader
from libferry.loader.windows.process import Process, Search
from libferry.loader.windows.rules import ALTERED, SEARCH_FLAGS
from libferry.target.system import System

__all__ = ["error_number", "resolve", "resolve_name"]


def resolve(binary: Binary, path: str, system: System, options: Options) -> Resolution:
    """What happens to a library that is loaded by its full path, or to a program.

    Args:
        binary: what the file says.
        path: of the target.
    """
    if binary.kind == "executable" and binary.format == "pe" and options.host is None:
        return _resolve(path, system, options, program=path, of=binary)
    return _resolve(path, system, options, program=options.host)


def resolve_name(name: str, system: System, options: Options) -> Resolution:
    """What LoadLibraryEx does with a name or path, in the process of ``options.host``."""
    return _resolve(name, system, options, program=options.host)


def error_number(resolution: Resolution) -> int | None:
    """What GetLastError gives; None if it loads, as far as is known."""
    return error_number_of(resolution.problems)


def error_number_of(problems: Iterable[Problem]) -> int | None:
    """The number of the first problem that keeps it from loading."""
    for problem in problems:
        if problem.when == "load":
            return int(problem.message.split(":")[0].removeprefix("error "))
    return None


def _resolve(
    name: str,
    system: System,
    options: Options,
    *,
    program: str | None,
    of: Binary | None = None,
) -> Resolution:
    host = _host(system, program)
    cpu = system.target.cpu if host is None or host.binary is None else host.binary.cpu
    process = Process(system, options, program or name, cpu)
    loader = Loader(process)
    loader.start(host)
    flags = tuple(flag for flag in options.flags if flag in SEARCH_FLAGS or flag == ALTERED)
    scope: list[Node] = []
    if of is not None and host is not None:
        root = host
        _check_program(loader, root, of)
        if root.state == "loaded":
            loader.take_program(root)
            loader.below(root, Search())
    else:
        if host is not None and host.binary is not None:
            loader.take_program(host)
            loader.below(host, Search())
            loader.problems.clear()  # of a process that runs
        scope = list(loader.order)
        root = loader.load(name, Search(flags))
    return Resolution(
        target=system.target,
        root=root,
        order=tuple(loader.order[len(scope) :]),
        initialisers=tuple(n for n in loader.initialisers if n not in scope),
        problems=tuple(loader.problems),
        scope=tuple(scope),
    )


def _host(system: System, program: str | None) -> Node | None:
    """The program as a module; None if it is not here, and only its folder counts."""
    if program is None:
        return None
    found = system.find(ntpath.normpath(program))
    if found is None or found.file is None:
        return None
    try:
        binary = system.read(found)
    except BadBinary:
        return None
    if binary.format != "pe":
        return None
    return Node(program, state="loaded", found=found, binary=binary, how="the program")


def _check_program(loader: Loader, root: Node, binary: Binary) -> None:
    """What CreateProcess looks at before the loader does."""
    process = loader.process
    if not process.runs(binary.cpu):
        root.state = "refused"
        loader.report(
            "wrong-bitness",
            root,
            root.name,
            f"{process.target.title} runs no {binary.cpu} programs",
            rules.ERRORS,
        )
    needed = tuple(map(int, (binary.minimum_os or "0").split(".")))
    if needed > process.target.version:
        root.state = "refused"
        loader.report(
            "minimum-os", root, root.name, f"it asks for {binary.minimum_os}", rules.ERRORS
        )
