"""What a root folder says of the system that it is: nothing is run for it.

The loader is asked itself, as a file. Its folders are compiled into it (a row of strings
such as ``/lib64/``, ``/usr/lib64/``), and so is its version, so that neither has to be
guessed from the name of the distribution.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from libferry.binary.recognise import read
from libferry.errors import FerryError, LibraryNotFound
from libferry.target.carried import regular
from libferry.target.cpuinfo import isa_of_this_cpu
from libferry.target.loaders import INTERPRETERS, Interpreter
from libferry.target.model import Target
from libferry.target.root import contents
from libferry.target.tree import Tree

# uname(2) has names of its own for what Binary.cpu calls otherwise
_MACHINES = {"armv7l": "arm", "armv8l": "arm", "i686": "i386", "ppc64le": "ppc64"}

# glibc 2.41, csu/version.c and elf/rtld.c (since 2.33, the loader has it, too)
_GLIBC_BANNER = re.compile(rb"(?:stable|development) release version (\d+)\.(\d+)")
_GLIBC_NODE = re.compile(rb"GLIBC_(\d+)\.(\d+)(?:\.\d+)?\0")
# glibc 2.41, elf/dl-load.c: system_dirs; each folder ends with a slash and a NUL
_GLIBC_FOLDERS = re.compile(rb"(?:/(?:usr/)?lib[\w/.+-]*/\0){2,}")
# musl 1.2.5, ldso/dynlink.c (the usage text) and src/internal/version.c
_MUSL_BANNER = b"musl libc ("
_MUSL_VERSION = re.compile(rb"\0([01])\.(\d{1,2})\.(\d{1,2})(?:-git[\w.-]*)?\0")
_MUSL_FOLDERS = ("/lib", "/usr/local/lib", "/usr/lib")  # dynlink.c, load_library

# os-release(5): where it is, in this order
_OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")


def this_cpu() -> str:
    """The CPU of this machine, by the name that ``Binary.cpu`` has for it."""
    machine = os.uname().machine
    return _MACHINES.get(machine, machine)


@cache
def this_machine(cpu: str | None = None) -> Target:
    """This machine as a target.

    Args:
        cpu: another CPU that it has a loader for, such as ``i386``; else its own.

    Raises:
        LibraryNotFound: it has no loader for that CPU.
    """
    cpu = cpu or this_cpu()
    own = {this_cpu(), "i386" if this_cpu() == "x86_64" else this_cpu()}
    target = derive(
        "/",
        name="this",
        cpu=cpu,
        isa=isa_of_this_cpu() if cpu in own else frozenset(),
        page_size=os.sysconf("SC_PAGE_SIZE"),
    )
    return replace(target, facts={"kernel": os.uname().release})


def derive(
    root: str | os.PathLike[str],
    *,
    name: str,
    cpu: str | None = None,
    isa: frozenset[str] = frozenset(),
    page_size: int = 4096,
) -> Target:
    """The system whose root folder this is.

    Args:
        root: the folder.
        name: what to call it.
        cpu: which, if there are loaders for several; else the first of ``INTERPRETERS``.
        isa: see ``Target``: no file says what CPU the machine has.
        page_size: the same, for its kernel.

    Raises:
        LibraryNotFound: there is no loader in it, or none for that CPU.
    """
    tree = Tree(root)
    for interpreter, data in _loaders(tree, cpu):
        version = _version(tree, interpreter, data)
        if version is None:
            continue
        folders = _folders(interpreter, data)
        return Target(
            name=name,
            title=_title(tree) or name,
            os="linux",
            cpu=interpreter.cpu,
            bits=interpreter.bits,
            endian=interpreter.endian,
            loader=interpreter.loader,
            version=version,
            interpreter=interpreter.path,
            isa=isa,
            abi=interpreter.abi,
            page_size=page_size,
            default_paths=folders,
            lib=folders[0].lstrip("/"),
            platform=interpreter.platform,
            sources={"version": interpreter.path, "default_paths": interpreter.path},
        )
    what = f"a loader for {cpu}" if cpu else "a loader"
    raise LibraryNotFound(
        f"find {what} in {os.fspath(root)}",
        "none of the known ones is there",
        hint=f"give the root folder of a Linux system: it has {INTERPRETERS[0].path} or the like",
    )


def _loaders(tree: Tree, cpu: str | None) -> Iterator[tuple[Interpreter, bytes]]:
    for one in INTERPRETERS:
        if cpu is not None and one.cpu != cpu:
            continue
        found = regular(tree, one.path)
        if found is None or found.file is None:
            continue
        try:
            binary = read(found.file)
        except FerryError:
            continue
        data = contents(found.file)
        if (binary.cpu, binary.bits, binary.endian) == one[:3] and data is not None:
            yield one, data


def _version(tree: Tree, interpreter: Interpreter, data: bytes) -> tuple[int, ...] | None:
    """The C library's version; None if this is another program in that place.

    (Alpine's gcompat puts a program of its own where glibc's loader is asked for.)
    """
    if interpreter.loader == "musl":
        match = _MUSL_VERSION.search(data) if _MUSL_BANNER in data else None
        return tuple(map(int, match.groups())) if match else None
    if not _GLIBC_NODE.search(data):
        return None
    for folder in ("", *_folders(interpreter, data)):
        found = regular(tree, f"{folder}/libc.so.6") if folder else None
        text = (contents(found.file) if found else None) if folder else data
        if text and (match := _GLIBC_BANNER.search(text)):
            return int(match[1]), int(match[2])
    return max((int(major), int(minor)) for major, minor in _GLIBC_NODE.findall(data))


def _folders(interpreter: Interpreter, data: bytes) -> tuple[str, ...]:
    if interpreter.loader == "musl":
        return _MUSL_FOLDERS
    match = _GLIBC_FOLDERS.search(data)
    if match is None:  # glibc's own default: elf/Makefile, slibdir and libdir
        folder = os.path.dirname(interpreter.path)
        return folder, f"/usr{folder}"
    return tuple(os.fsdecode(one).rstrip("/") for one in match[0].split(b"\0") if one)


def _title(tree: Tree) -> str:
    for path in _OS_RELEASE:
        found = regular(tree, path)
        data = contents(found.file) if found else None
        for line in (data or b"").decode("utf-8", "replace").splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "PRETTY_NAME":
                try:
                    return " ".join(shlex.split(value))
                except ValueError:
                    return value
    return ""
