"""Where every library of this machine finds what it needs: CPU time for all of them.

Each contender is a process of its own that is told all paths at once, so that its start and
what it keeps from one library to the next both count. libtree (C) is run with ``-vvv``,
since it otherwise leaves out the C library and what comes with it, which is most of what
there is to find. lddtree is pax-utils', of Debian's package or of PyPI. Neither looks at
versions; libferry also compares those, as the loader does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from .build import NotAvailableError
from .rounds import Contender, Run, Section

FOLDER = "/usr/lib"
ELF_64_LIBRARY = b"\x7fELF\2"
EM_X86_64, ET_DYN = 62, 3

OURS = """
import sys
from libferry.errors import FerryError
from libferry.loader import Options, resolve
from libferry.target import system_for

system, options = system_for("this"), Options(symbols={symbols})
for path in sys.argv[1:]:
    try:
        resolve(path, system, options)
    except FerryError:
        pass
"""


@cache
def libraries() -> tuple[str, ...]:
    """The libraries for this CPU."""
    found = []
    for folder, _, names in os.walk(FOLDER):
        for name in names:
            path = os.path.join(folder, name)
            if ".so" not in name or os.path.islink(path) or not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                head = file.read(20)
            if head.startswith(ELF_64_LIBRARY) and (head[18], head[16]) == (EM_X86_64, ET_DYN):
                found.append(path)
    if not found:
        raise NotAvailableError(f"no libraries in {FOLDER}")
    return tuple(sorted(found))


def _process(command: Callable[[], list[str]]) -> Callable[[ExitStack], Run]:
    def open_(_: ExitStack) -> Run:
        words = [*command(), *libraries()]

        def run(count: int) -> float:
            used = 0.0
            for _ in range(count):
                quiet = subprocess.DEVNULL
                child = subprocess.Popen(words, stdout=quiet, stderr=quiet)
                _, _, usage = os.wait4(child.pid, 0)
                child.returncode = 0
                used += usage.ru_utime + usage.ru_stime
            return used / count

        return run

    return open_


def _ours(symbols: bool) -> Callable[[], list[str]]:
    return lambda: [sys.executable, "-c", OURS.format(symbols=symbols)]


def _libtree() -> list[str]:
    if not shutil.which("libtree"):
        raise NotAvailableError("apt-get install libtree")
    return ["libtree", "-vvv"]


def _lddtree() -> list[str]:
    script = shutil.which("lddtree")
    if script is None:
        raise NotAvailableError("apt-get install pax-utils")
    command = ["lddtree"]
    if b"python" in Path(script).read_bytes()[:80]:
        command = [sys.executable, script]  # this one has what it imports
    if subprocess.run([*command, libraries()[0]], capture_output=True).returncode:
        raise NotAvailableError(f"{script} does not work: pip install pyelftools")
    return command


RESOLVING = Section(
    "resolving",
    "Resolving every library of this machine",
    "CPU time of a process that finds what each library in /usr/lib needs, and what that "
    "needs, its start included. libferry compares symbol versions as well, and in a row of its "
    "own looks up every symbol, which nobody else does.",
    "libferry",
    [
        Contender("libferry", _process(_ours(symbols=False))),
        Contender("libferry, every symbol", _process(_ours(symbols=True))),
        Contender("libtree", _process(_libtree)),
        Contender("lddtree", _process(_lddtree)),
    ],
    count=1,
    rounds=3,
)
