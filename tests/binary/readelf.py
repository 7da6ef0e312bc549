"""ELF files as binutils' ``readelf`` prints them: another reading of the same bytes."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

OPTIONS = ["-W", "-l", "-d", "-n", "-V", "-r", "--dyn-syms"]

_SEGMENT = re.compile(
    r"  (\S+) +(0x\w+) (0x\w+) 0x\w+ (0x\w+) (0x\w+) ([R ][W ][E ]) +(0x\w+|0)$", re.MULTILINE
)
_SYMBOL = re.compile(
    r" +\d+: (\w+) +(\d+|0x\w+) (\w+) +(\w+|<OS specific>: 10) +(\w+) +(?:\[.*?\] +)?"
    r"(\w+)(?: (.*))?$"
)
_RELOCATION = re.compile(r"^[0-9a-f]{8,16} +[0-9a-f]+ +(R_\w+)", re.MULTILINE)
_NEED = re.compile(r"Version: 1  File: (\S+)  Cnt")
_NEEDED = re.compile(r"  Name: (\S+)  Flags: (\S+)  Version: \d+")
_GIVEN = re.compile(r"Rev: 1  Flags: (.*?)  Index: \d+  Cnt: \d+  Name: (\S+)")
_TAG = re.compile(r"^ 0x\w+ \((\w+)\) +(.*)$", re.MULTILINE)
_PROPERTY = re.compile(r"(x86 ISA needed|x86 ISA used|x86 feature|AArch64 feature): (.*)")

# (name, version, hidden, type, binding, visibility, defined, address, size)
Symbol = tuple[str, str | None, bool, str, str, str, bool, int, int]


@dataclass
class Readelf:
    """What it says of one file."""

    segments: list[tuple[str, int, int, int, int, str, int]] = field(default_factory=list)
    symbols: list[Symbol] = field(default_factory=list)
    relocations: Counter[str] = field(default_factory=Counter)
    relr: int = 0
    needs: list[tuple[str, str, bool]] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    tags: list[tuple[str, str]] = field(default_factory=list)
    build_id: str | None = None
    abi: str | None = None
    properties: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, kind: str) -> list[tuple[str, int, int, int, int, str, int]]:
        """The segments of one type: (type, offset, address, file size, size, flags, align)."""
        return [segment for segment in self.segments if segment[0] == kind]


def readelf(paths: Sequence[Path]) -> dict[Path, Readelf]:
    """Ask for all files at once: a process for each would be most of the time."""
    # The name is only printed if there are two files or more.
    command = ["readelf", *OPTIONS, *map(str, paths), str(paths[0])]
    done = subprocess.run(
        command, env={**os.environ, "LC_ALL": "C"}, capture_output=True, errors="replace"
    )
    found: dict[Path, Readelf] = {}
    for part in done.stdout.split("\nFile: ")[1:]:
        name, _, text = part.partition("\n")
        found[Path(name)] = _parse(text)
    return found


def _parse(text: str) -> Readelf:
    said = Readelf(
        segments=[
            (kind, *(int(number, 16) for number in numbers), flags, int(align, 16))
            for kind, *numbers, flags, align in _SEGMENT.findall(text)
        ],
        relocations=Counter(_RELOCATION.findall(text)),
        relr=sum(map(int, re.findall(r"^  (\d+) offsets$", text, re.MULTILINE))),
        given=[name for flags, name in _GIVEN.findall(text) if "BASE" not in flags],
        tags=_TAG.findall(text),
    )
    library = ""
    for line in text.splitlines():
        if need := _NEED.search(line):
            library = need[1]
        elif needed := _NEEDED.search(line):
            said.needs.append((library, needed[1], needed[2] == "WEAK"))
        elif symbol := _SYMBOL.match(line):
            said.symbols.append(_symbol(*symbol.groups(default="")))
        elif "Build ID: " in line:
            said.build_id = said.build_id or line.partition("Build ID: ")[2].strip()
        elif "OS: Linux, ABI: " in line:
            said.abi = line.partition("ABI: ")[2].strip()
        elif found := _PROPERTY.search(line):
            # GCS is younger than some readelfs
            names = found[2].replace("<unknown: 4>", "GCS").split(", ")
            said.properties[found[1]] = tuple(names)
    return said


def _symbol(
    value: str, size: str, kind: str, binding: str, visibility: str, section: str, name: str
) -> Symbol:
    needed = re.search(r" \(\d+\)$", name)  # also of a program's copy of a variable
    name, at, version = name[: needed.start() if needed else None].partition("@")
    hidden = bool(at) and not version.startswith("@") and not needed
    defined = section != "UND"
    extent = int(size, 0)
    if binding.endswith(" 10"):  # in a file that is not marked as GNU's
        binding = "UNIQUE"
    text = version.lstrip("@") or None
    return name, text, hidden, kind, binding, visibility, defined, int(value, 16), extent
