"""Every library and program of this machine: we find what its own loader finds.

The loader is asked by ``ld.so --list``, which maps everything as for a start and prints
where it was. The expected values are what it prints now. All files are asked about with
FERRY_CASES set, every fifth otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from libferry.binary import read
from libferry.errors import BadBinary
from libferry.loader import Resolution, resolve
from libferry.target import system_for

from .listing import I386, NATIVE, listing

FOLDERS = ("/usr/lib", "/usr/lib32", "/usr/bin", "/usr/sbin", "/usr/libexec", "/usr/local", "/opt")
FEWEST = 30  # a smaller machine than any Debian with a compiler


def files(elf_class: int, machine: int) -> Iterator[str]:
    """The ELF files of one CPU that can be loaded, in an order that is the same every time."""
    start = bytes((0x7F, *b"ELF", elf_class))
    for folder in FOLDERS:
        for where, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(where, name)
                if not os.path.isfile(path) or os.path.islink(path):
                    continue
                with open(path, "rb") as file:
                    head = file.read(20)
                kind = int.from_bytes(head[16:18], "little")
                if head.startswith(start) and head[18] == machine and kind in (2, 3):
                    yield path


def is_loaded_by(path: str, interpreter: str) -> bool:
    """Whether glibc's loader is for it: static programs, and other C libraries, are not."""
    try:
        binary = read(path)
    except BadBinary:
        return False  # separate debugging information, and corpora of damaged files
    if binary.interpreter is not None:
        return binary.interpreter == interpreter
    return bool(binary.needed) and not any("musl" in name for name in binary.needed)


def ours(resolution: Resolution) -> dict[str, str | None]:
    return {
        node.name: node.path if node.found else None
        for node in resolution.root.walk()
        if node is not resolution.root and node.state in ("loaded", "missing")
    }


def by_path(paths: Mapping[str, str | None]) -> set[str]:
    """What was found, and the names of what was not.

    Not the loader itself: it was started by its own path there, and by the program's otherwise.
    """
    return {
        path or name
        for name, path in paths.items()
        if not os.path.basename(path or name).startswith("ld-linux")
    }


@pytest.mark.parametrize(
    ("cpu", "loader", "interpreter", "elf_class", "machine"),
    [
        pytest.param(
            *("x86_64", NATIVE, "/lib64/ld-linux-x86-64.so.2", 2, 62),
            marks=pytest.mark.needs(NATIVE, install="apt-get install libc6"),
        ),
        pytest.param(
            *("i386", I386, "/lib/ld-linux.so.2", 1, 3),
            marks=pytest.mark.needs(I386, install="apt-get install libc6-i386"),
        ),
    ],
)
def test_every_file_of_this_machine_gets_the_libraries_that_its_loader_finds(
    cpu: str, loader: str, interpreter: str, elf_class: int, machine: int
) -> None:
    every = 1 if "FERRY_CASES" in os.environ else 5
    paths = [path for path in files(elf_class, machine) if is_loaded_by(path, interpreter)]
    asked = paths[::every] if len(paths) > FEWEST * every else paths
    system = system_for("this", cpu=cpu)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        theirs = dict(zip(asked, pool.map(partial(listing, [loader]), asked), strict=True))

    different = {}
    for path in asked:
        resolution = resolve(path, system)
        versions = {one.message for one in resolution.problems if "version `" in one.message}
        if theirs[path].error:
            same = any(
                one.message.rpartition(": ")[2] in theirs[path].error for one in resolution.problems
            )
        else:
            same = by_path(ours(resolution)) == by_path(theirs[path].paths) and {
                one.rpartition("/")[2] for one in versions
            } == {one.rpartition("/")[2] for one in theirs[path].versions}
        if not same:
            different[path] = (ours(resolution), theirs[path], versions)

    assert different == {}
    assert len(asked) >= min(FEWEST, len(paths)) > 0
