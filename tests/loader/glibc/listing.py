"""What the real loader says it would load: ``ld.so --list``, which runs nothing."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NATIVE = "/lib64/ld-linux-x86-64.so.2"
I386 = "/lib/ld-linux.so.2"

_LINE = re.compile(r"\t(?P<name>\S+)(?: => (?P<path>.+?))? \(0x[0-9a-f]+\)$")
_MISSING = re.compile(r"\t(?P<name>.+) => not found$")
_VERSION = re.compile(r"(\S+): (version `[^']+' not found \(required by [^)]+\))")


@dataclass(frozen=True)
class Listing:
    """One answer.

    Attributes:
        paths: of each name that was asked for; None if it was not found.
        versions: the complaints about versions.
        error: the last line of the error output, if the loader gave up.
    """

    paths: Mapping[str, str | None]
    versions: frozenset[str]
    error: str


def listing(
    loader: Sequence[str],
    path: str | Path,
    environment: Mapping[str, str] = {},
    folder: str | Path | None = None,
) -> Listing:
    """Ask a loader, given as the words of its command line, about a file."""
    answer = subprocess.run(
        [*loader, "--list", os.fspath(path)],
        capture_output=True,
        text=True,
        errors="backslashreplace",
        env={"LC_ALL": "C", **environment},
        cwd=folder,
        timeout=60,
    )
    paths: dict[str, str | None] = {}
    for line in answer.stdout.splitlines():
        if missing := _MISSING.match(line):
            paths[missing["name"]] = None
        elif (match := _LINE.match(line)) and "linux-vdso" not in line and "linux-gate" not in line:
            paths[match["name"]] = match["path"] or match["name"]
    found = {f"{file}: {what}" for file, what in _VERSION.findall(answer.stderr + answer.stdout)}
    lines = answer.stderr.strip().splitlines()
    gave_up = bool(answer.returncode) and not paths
    return Listing(paths, frozenset(found), lines[-1] if gave_up and lines else "")
