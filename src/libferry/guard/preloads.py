"""What would be loaded into a program uninvited, and what it takes the place of.

The loader puts libraries into a program that it never asked for: those of LD_PRELOAD
and of /etc/ld.so.preload in front of all others, so that their functions are found first,
and those of LD_AUDIT, which are told of everything (ld.so(8)). Other variables decide where
libraries are looked for, and how the C library behaves.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path

from libferry.binary import read
from libferry.errors import BadBinary, FerryError, UnexpectedCode

PRELOAD_FILE = Path("/etc/ld.so.preload")

# ld.so(8): those that name libraries, with what is between two names
LISTS = {"LD_PRELOAD": "[ :]", "LD_AUDIT": ":"}
HARMLESS = ("LD_BIND_NOW",)  # everything is bound at once


def check(environment: Mapping[str, str], allowed: Collection[str]) -> None:
    """Refuse an environment that would bring more than is allowed.

    Args:
        environment: of the program.
        allowed: names of libraries, or their paths, and of variables.

    Raises:
        UnexpectedCode: it brings something else.
    """
    found = []
    for name, value in environment.items():
        if not (name.startswith("LD_") or name == "GLIBC_TUNABLES"):
            continue
        if not value or name in HARMLESS or name in allowed:
            continue
        if name not in LISTS:
            found.append(f"{name} is set ({value})")
        else:
            parts = filter(None, re.split(LISTS[name], value))
            found += [f"{name} names {p}" for p in parts if not _is_allowed(p, allowed)]
    found += [f"{PRELOAD_FILE} names {p}" for p in from_file() if not _is_allowed(p, allowed)]
    if found:
        raise UnexpectedCode(
            "run the program",
            "; ".join(found),
            hint="unset it, or allow it by the library's or the variable's name: --allow-preload",
        )


def _is_allowed(path: str, allowed: Collection[str]) -> bool:
    return path in allowed or Path(path).name in allowed


def from_file() -> list[str]:
    """The libraries that /etc/ld.so.preload names: blanks or colons between, # for a comment."""
    try:
        text = PRELOAD_FILE.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return []
    return [p for line in text.splitlines() for p in re.split(r"[\s:]+", line.split("#")[0]) if p]


def in_order(program: Path, environment: Mapping[str, str]) -> list[Path]:
    """What the program's own loader would load when it starts, in the order of its search.

    Empty for a program that has no loader: a script, or one that is statically linked.

    Raises:
        UnexpectedCode: the loader cannot tell; the program would not start either.
    """
    try:
        binary = read(program)
    except BadBinary:
        return []
    if binary.format != "elf" or not binary.interpreter:
        return []
    listed = subprocess.run(
        [binary.interpreter, "--list", program],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        env=dict(environment),
    )
    if listed.returncode != 0:
        raise UnexpectedCode(
            f"list what {program.name} loads",
            listed.stderr.strip() or f"its loader ended with {listed.returncode}",
            hint="install what is missing",
        )
    names = (line.partition("=>")[2] or line for line in listed.stdout.splitlines())
    paths = (name.rpartition(" (")[0].strip() for name in names)
    return [program, *(Path(path) for path in paths if path.startswith("/"))]


def interposed(program: Path, environment: Mapping[str, str]) -> dict[str, list[str]]:
    """The names that each preload exports and a later library does, too: those it takes over."""
    order = in_order(program, environment)
    wanted = {*re.split(LISTS["LD_PRELOAD"], environment.get("LD_PRELOAD", "")), *from_file()}
    preloads = [p for p in order[1:] if str(p) in wanted or p.name in wanted or _same(p, wanted)]
    exports = {path: _exports(path) for path in order} if preloads else {}
    found = {}
    for preload in preloads:
        later = (exports[path] for path in order[order.index(preload) + 1 :])
        found[str(preload)] = sorted(exports[preload] & set().union(*later))
    return found


def _same(path: Path, wanted: Collection[str]) -> bool:
    return any(os.path.realpath(other) == os.path.realpath(path) for other in wanted if other)


def _exports(path: Path) -> set[str]:
    try:
        return {export.name for export in read(path).exports}
    except FerryError:
        return set()
