"""Windows 7, 10 and 11, as they are delivered: which DLLs, KnownDLLs and API sets each has.

A Windows is a version, a CPU and a few tables of names that versions share, so each fact is
written down once in ``data/windows``, with its source. Nothing is known of what the
DLLs export, but for functions that came later than the DLL (``later.toml``).
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from libferry.target.model import Given, Target

_DATA = Path(__file__).parent / "data" / "windows"

SYSTEM32 = r"C:\Windows\System32"
SYSWOW64 = r"C:\Windows\SysWOW64"
DRIVERS = (".sys", ".exe")  # hosts of API sets that are of the kernel


class Release(NamedTuple):
    """One Windows.

    Attributes:
        version: the build too, where it decides what is there.
        tables: which tables of ``data/windows`` it has.
        cpus: that it is delivered for.
    """

    title: str
    version: tuple[int, ...]
    tables: str
    known: str
    cpus: tuple[str, ...]


# Builds: those whose API sets are in api-sets.toml
RELEASES = {
    "windows-7": Release("Windows 7 SP1", (6, 1, 7601), "windows-7", "windows-7", ("x86", "x64")),
    "windows-10": Release(
        "Windows 10", (10, 0, 19041), "windows-10", "windows-10", ("x86", "x64", "arm64")
    ),
    "windows-11": Release(
        "Windows 11", (10, 0, 22621), "windows-11", "windows-10", ("x86", "x64", "arm64")
    ),
}
CPUS: dict[str, tuple[str, Literal[32, 64]]] = {
    "x86": ("i386", 32),
    "x64": ("x86_64", 64),
    "arm64": ("aarch64", 64),
}
# There is no 32-bit Windows 11: 32-bit programs run in WOW64, with a system folder of
# their own (learn.microsoft.com/windows/win32/winprog64/file-system-redirector).
ONLY_64_BIT = ("windows-11",)


def releases() -> tuple[str, ...]:
    """The names of the targets."""
    return tuple(f"{name}-{cpu}" for name, release in RELEASES.items() for cpu in release.cpus)


def target(name: str) -> Target:
    """One of ``releases()``."""
    of, _, architecture = name.rpartition("-")
    release = RELEASES[of]
    cpu, bits = CPUS[architecture]
    system = _table("system")
    sets = _hosts(_table("api-sets")[release.tables]["hosts"])
    certain = set(_words(system["everywhere"][architecture]))
    for version, names in system["later"].items():
        if tuple(map(int, version.split("."))) <= release.version:
            certain |= set(_words(names))
    if release.version >= (6, 2):
        certain |= {host for host in sets.values() if host and not host.endswith(DRIVERS)}
    likely = set()
    if release.version >= (10, 0):
        likely = set(_words(system["everywhere"]["arm64"])) - certain
    folder = SYSWOW64 if of in ONLY_64_BIT and bits == 32 else SYSTEM32
    source = "target/data/windows/system.toml"
    given = {one: Given(one, rf"{folder}\{one}", source=source) for one in sorted(certain)}
    if bits == 64:  # what 32-bit programs get
        for one in sorted(_words(system["everywhere"]["x86"])):
            given[rf"SysWOW64\{one}"] = Given(one, rf"{SYSWOW64}\{one}", source=source)
    return Target(
        name=name,
        title=f"{release.title}, {architecture}",
        os="windows",
        cpu=cpu,
        bits=bits,
        endian="little",
        loader="windows",
        version=release.version,
        default_paths=(folder,),
        given=given,
        facts={
            "known_dlls": tuple(_words(_table("known-dlls")[release.known]["names"])),
            "api_sets": sets,
            "likely": tuple(sorted(likely)),
            "separate": system["separate"],
            "later": {
                f"{row['library']}!{function}": (row["version"], _page(row, function))
                for row in _table("later")["since"]
                for function in row["functions"]
            },
        },
        sources={
            "known_dlls": "target/data/windows/known-dlls.toml",
            "api_sets": f"apisetschema.dll {_table('api-sets')[release.tables]['build']}",
            "given": source,
        },
    )


def _page(row: Mapping[str, Any], function: str) -> str:
    where = f"{row['header']}/nf-{row['header']}-{function.lower()}"
    return str(row.get("page", f"https://learn.microsoft.com/windows/win32/api/{where}"))


@cache
def _table(name: str) -> Mapping[str, Any]:
    return tomllib.loads(_DATA.joinpath(f"{name}.toml").read_text("utf-8"))


def _hosts(text: str) -> dict[str, str]:
    """The host of each API set; "" if it has none."""
    sets: dict[str, str] = {}
    host = ""
    for word in _words(text):
        if word.endswith(":"):
            host = "" if word == "-:" else word[:-1]
        else:
            sets[word] = host
    return sets


def _words(text: str) -> Iterator[str]:
    return iter(text.split())
