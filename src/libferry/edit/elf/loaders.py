"""Have a real loader look at a library, without running any of it.

``ld.so --list FILE`` maps a library and all that it needs, checks the versions and, with
``LD_WARN`` and ``LD_BIND_NOW``, applies the relocations; initialisers and the functions
that choose implementations are not called (glibc elf/rtld.c, __RTLD_NOIFUNC). musl's
loader does the same. For another CPU they run under qemu-user.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from libferry.binary import Binary
from libferry.errors import NoRunner

SECONDS = 60
MUSL_CPUS = {"arm": "armhf"}  # musl's own names of CPUs, where they are not ours

_COMPLAINT = re.compile(
    r"not found|undefined symbol|cannot |invalid|wrong ELF class|Error |error|Inconsistency"
    r"|no version information|Not a valid|unexpected reloc"
)
_UNDEFINED = re.compile(r"undefined symbol: ([^\s,]+)|: ([^\s:]+): symbol not found")
_FOUND = re.compile(r"=> (/\S+) \(0x")


@dataclass(frozen=True)
class Verdict:
    """What a loader said.

    Attributes:
        loader: which one.
        complaints: its lines that are one, without addresses and this file's name.
        folders: where it found what the library needs.
        ended: its exit code; negative if a signal ended it.
    """

    loader: str
    complaints: frozenset[str]
    folders: tuple[str, ...]
    ended: int


def undefined(complaints: Iterable[str]) -> Iterator[str]:
    """The symbols that are complained of."""
    for line in complaints:
        if hit := _UNDEFINED.search(line):
            yield hit[1] or hit[2]


def ask(binary: Binary, path: Path, folders: Iterable[str] = ()) -> Verdict | None:
    """Have the library's loader list it; None if there is no such loader here.

    Args:
        binary: what it says of itself.
        path: the file.
        folders: where to look besides.
    """
    command = _command(binary)
    if command is None:
        return None
    loader = os.path.basename(command[-1])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LD_")}
    environment |= {"LD_WARN": "1", "LD_BIND_NOW": "1", "LC_ALL": "C"}
    if folders:
        command = (*command, "--library-path", ":".join(folders))
    try:
        done = subprocess.run(
            [*command, "--list", str(path)],
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout + done.stderr).splitlines()
    complaints = frozenset(
        _plain(line, path)
        for line in lines
        if _COMPLAINT.search(line) and "weak version" not in line  # that is a warning
    )
    found = dict.fromkeys(os.path.dirname(hit[1]) for hit in map(_FOUND.search, lines) if hit)
    return Verdict(loader, complaints, tuple(found), done.returncode)


def _plain(line: str, path: Path) -> str:
    line = line.replace(str(path), "FILE").replace(path.name, "FILE")
    return re.sub(r"\(0x[0-9a-f]+\)|0x[0-9a-f]+", "", line).strip()


def _command(binary: Binary) -> tuple[str, ...] | None:
    """How its loader is started."""
    from libferry.runtime import runner

    if is_for_musl(binary):
        loader = f"/lib/ld-musl-{MUSL_CPUS.get(binary.cpu, binary.cpu)}.so.1"
        return (loader,) if os.access(loader, os.X_OK) and runner.host_cpu() == binary.cpu else None
    try:
        found = runner.find(runner.abi_of(binary).name)
    except NoRunner:
        return None
    if not found.emulated:
        return found.command[:1]
    root = found.command[found.command.index("-L") + 1]
    interpreter = runner.interpreter_of(found.abi)
    return (*found.command[:-1], f"{root}{interpreter}")


def is_for_musl(binary: Binary) -> bool:
    """Whether it was linked with musl, whose C library is ``libc.so`` or has its name."""
    if binary.interpreter:
        return "ld-musl" in binary.interpreter
    return any(name == "libc.so" or name.startswith("libc.musl-") for name in binary.needed)
