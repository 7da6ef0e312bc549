"""The numbers of ``errno``: one name has several, and one number several names."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache

from libferry.loader.glossary.reading import ERRNO_FILE, FOLDER


@dataclass(frozen=True, slots=True)
class Errno:
    """One number that ``errno`` may have on one system.

    Attributes:
        name: such as ``ENOEXEC``.
        number: what it is there.
        os: as in ``Binary``.
        cpus: those that have this number; empty for all that no other row names.
        source: the header.
    """

    name: str
    number: int
    os: str
    cpus: tuple[str, ...]
    source: str


@cache
def _tables() -> tuple[tuple[Errno, ...], dict[str, dict[str, str]]]:
    with open(FOLDER / ERRNO_FILE, "rb") as file:
        data = tomllib.load(file)
    rows = []
    for table in data["numbers"]:
        words = table["rows"].split()
        for name, number in zip(words[::2], words[1::2], strict=True):
            cpus = tuple(table["cpus"])
            rows.append(Errno(name, int(number), table["os"], cpus, table["source"]))
    return tuple(rows), data["messages"]


def errnos() -> tuple[Errno, ...]:
    """All numbers of all systems."""
    return _tables()[0]


def messages() -> dict[str, dict[str, str]]:
    """What strerror says of each name: by ``glibc``, ``musl`` where it differs, ``zh_CN``."""
    return _tables()[1]


@cache
def numbers(os: str, cpu: str) -> dict[str, int]:
    """The numbers on one system, by name."""
    found = {row.name: row.number for row in errnos() if row.os == os and not row.cpus}
    found |= {row.name: row.number for row in errnos() if row.os == os and cpu in row.cpus}
    return found
