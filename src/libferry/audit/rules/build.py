"""How a file was built: its name, its identity, and what of the builder is still in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import BinaryIO

from libferry.audit.check import Check
from libferry.audit.model import Rule
from libferry.audit.subject import Seen, Subject
from libferry.target.carried import is_of_system

ELF = frozenset({"elf"})
LIBRARIES = frozenset({"library"})

_LIBRARY_NAME = re.compile(r"lib.+\.so(\.\d+)*")


def no_soname(subject: Subject) -> Iterator[Seen]:
    """A library that is to be linked with, and has no name for that."""
    name = subject.file.rpartition("/")[2]
    folder = os.path.dirname(subject.binary.path)
    searched = subject.target.default_paths if subject.target else ()
    if is_of_system(folder) and folder not in searched:
        return  # a folder of plug-ins
    if subject.binary.soname is None and _LIBRARY_NAME.fullmatch(name):
        yield Seen("DT_SONAME", f"{name} has no soname: who links with it notes the path used")


def other_soname(subject: Subject) -> Iterator[Seen]:
    """A soname by which the file is not found."""
    soname = subject.binary.soname
    name = subject.file.rpartition("/")[2]
    if not soname or name == soname or not _LIBRARY_NAME.fullmatch(name):
        return
    # libz.so.1.3.1 is libz.so.1, by a link that ldconfig makes; and so is libz.so, to link with
    stem = soname.partition(".so")[0]
    if name.startswith((f"{soname}.", f"{stem}.so", f"{stem}-")) or "/" in soname:
        return
    if os.path.lexists(os.path.join(os.path.dirname(subject.binary.path), soname)):
        return
    yield Seen(soname, f"it calls itself {soname}, and its file is {name}")


def no_build_id(subject: Subject) -> Iterator[Seen]:
    """Nothing to find the debugging information by."""
    debug = subject.binary.debug
    if debug.build_id is None:
        what = {"elf": "build id", "pe": "PDB identity", "macho": "UUID"}[subject.binary.format]
        yield Seen(what, f"it has no {what}: nothing tells its builds apart")


def unstripped(subject: Subject) -> Iterator[Seen]:
    """Debugging information or a full symbol table in the file."""
    if not subject.binary.debug.stripped and subject.binary.format == "elf":
        yield Seen("symtab", "it has a full symbol table or debugging information in it")


def stripped(subject: Subject) -> Iterator[Seen]:
    """Neither names nor a way to find them."""
    debug = subject.binary.debug
    if debug.stripped and debug.build_id is None and debug.link is None:
        yield Seen("symtab", "it is stripped, and nothing leads to its debugging information")


# What is looked at of a file: a bounded part, since this is all that is read of most of it
SCANNED = 4 << 20
# Paths below a folder of the builder's with a source file's name: not each mention of /home
_PATH = re.compile(
    rb"(?<![\w.])/(?:home/[\w.+-]+|root|Users/[\w.+-]+|build(?:dir|s)?|__w|github|workspace|tmp)"
    rb"/[\w.+/@~-]{1,400}?\.(?:c|cc|cpp|cxx|h|hpp|rs|go|S|s|m|mm|f90|pyx)\b"
)
_FIRST = (
    b"/home/",
    b"/root/",
    b"/Users/",
    b"/build",
    b"/__w/",
    b"/github/",
    b"/workspace/",
    b"/tmp/",
)


def build_paths(subject: Subject) -> Iterator[Seen]:
    """Paths of source files on the machine that built it; in a PE file, of its PDB."""
    link = subject.binary.debug.link
    if link and re.match(r"[A-Za-z]:\\|/", link):
        yield Seen(link, f"it has the path of its debugging information on the builder: {link}")
    found = _source_paths(subject)
    if found:
        path = found.decode("utf-8", "backslashreplace")
        yield Seen(path, f"it has paths of the machine that built it, such as {path}")


def _source_paths(subject: Subject) -> bytes | None:
    try:
        with open(subject.binary.path, "rb") as file:
            data = _start(file)
    except OSError:
        return None
    if not any(map(data.__contains__, _FIRST)):
        return None
    match = _PATH.search(data)
    return match[0] if match else None


def _start(file: BinaryIO) -> bytes:
    return file.read(SCANNED)


CHECKS = (
    Check(
        no_soname,
        (
            Rule(
                id="no-soname",
                group="build",
                severity="note",
                title="A library to link with has no soname",
                explanation="The linker notes the soname of each library, and without one the path "
                "that it was given by: `-L. -la` notes `liba.so`, `./build/liba.so` that path. "
                "Incompatible versions then cannot be told apart either. A plug-in needs none.",
                fix="link with -Wl,-soname,liba.so.1, or libferry fix --soname liba.so.1 FILE",
                good="cc -shared -fPIC -o liba.so.1.0 a.c -Wl,-soname,liba.so.1",
                bad="cc -shared -fPIC -o liba.so a.c",
                source="ld(1), -soname; Debian Policy 8.1",
            ),
        ),
        ELF,
        LIBRARIES,
    ),
    Check(
        other_soname,
        (
            Rule(
                id="other-soname",
                group="build",
                severity="note",
                title="The file is not found by the name that it gives itself",
                explanation="Who was linked with the library asks for its soname, and the loader "
                "looks for a file of that name. A library that was renamed after it was linked, or "
                "is shipped without its link, is not found.",
                fix="make the link (ldconfig -n DIR), or libferry fix --soname NAME FILE",
                good="liba.so.1 -> liba.so.1.0    # soname liba.so.1",
                bad="mv liba.so.1 libnew.so    # soname liba.so.1",
                source="ldconfig(8); ld(1), -soname",
            ),
        ),
        ELF,
        LIBRARIES,
    ),
    Check(
        no_build_id,
        (
            Rule(
                id="no-build-id",
                group="build",
                severity="note",
                title="Nothing tells its builds apart",
                explanation="Debuggers, crash reports and symbol servers find debugging "
                "information by build id (ELF), the PDB's GUID (PE) or UUID (Mach-O).",
                fix="link with -Wl,--build-id=sha1, /DEBUG, or -Wl,-random_uuid",
                good="cc -shared -fPIC -o liba.so a.c -Wl,--build-id=sha1",
                bad="cc -shared -fPIC -o liba.so a.c -Wl,--build-id=none",
                source="ld(1), --build-id; PE format, 'Debug Directory'; loader.h, LC_UUID",
            ),
        ),
    ),
    Check(
        unstripped,
        (
            Rule(
                id="unstripped",
                group="build",
                severity="note",
                title="It has more symbols or debugging information than it needs to run",
                explanation="Names of internal functions, paths and types help a reader of crash "
                "reports, and everybody else who takes the file apart; and they take room.",
                fix="keep a copy, then strip: libferry fix --strip FILE",
                good="objcopy --only-keep-debug liba.so liba.debug && strip liba.so",
                bad="cc -g -shared -fPIC -o liba.so a.c",
                source="strip(1); Debian Policy 10.1",
            ),
        ),
        ELF,
    ),
    Check(
        stripped,
        (
            Rule(
                id="stripped",
                group="build",
                severity="note",
                title="A crash in it will have no names, and none can be found",
                explanation="It is stripped, and has neither build id nor debug link by which the "
                "rest could be found.",
                fix="keep the build id, and the file from before it was stripped",
                good="cc -shared -fPIC -o liba.so a.c -Wl,--build-id && strip liba.so",
                bad="cc -s -shared -fPIC -o liba.so a.c -Wl,--build-id=none",
                source="gdb manual, 'Debugging Information in Separate Files'",
            ),
        ),
        ELF,
    ),
    Check(
        build_paths,
        (
            Rule(
                id="build-path",
                group="build",
                severity="note",
                title="It has paths of the machine that built it",
                explanation="`__FILE__`, assertions, panics and debugging information keep the "
                "folder of the build. Two builds in different folders then differ, and the names "
                "of users and projects are published.",
                fix="compile with -ffile-prefix-map=$PWD=. (Rust: --remap-path-prefix; Go: "
                "-trimpath; MSVC: /pathmap, /PDBALTPATH:%_PDB%)",
                good="cc -g -ffile-prefix-map=$PWD=. -shared -fPIC -o liba.so a.c",
                bad="cc -g -shared -fPIC -o liba.so $PWD/a.c    # with assert()",
                source="reproducible-builds.org, 'Build path'",
            ),
        ),
    ),
)
