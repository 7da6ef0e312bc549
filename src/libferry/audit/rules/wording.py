"""What a loader says, in words for somebody who has to do something about it.

A loader names the first thing that it misses, and stops; its message is kept as evidence.
Here the same is said with what is known besides: what the target has instead, which symbol
asks for it, which program would have it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from libferry.audit.subject import Subject
from libferry.audit.versions import parse, symbols_of
from libferry.errors import BadBinary
from libferry.loader.model import Node, Problem
from libferry.target.model import UNCHECKED

SHOWN = 3

# A library that is missing: what to do where the search path is not ELF's.
# dlls/dynamic-link-library-search-order; dyld(1), @rpath and @loader_path
_CARRY = {
    "pe": "put the DLL beside the program, or name its folder with AddDllDirectory "
    "(Python: os.add_dll_directory)",
    "macho": "install the library there, or carry it along: install_name_tool -change NAME "
    "@rpath/FILENAME FILE && install_name_tool -add_rpath @loader_path FILE",
}


class Said(NamedTuple):
    """A message, what is to be done if it is not what the rule says, and more evidence."""

    message: str
    fix: str = ""
    evidence: dict[str, object] | None = None


# What begins a symbol's name -> the program that has it, by which it is loaded
_HOSTS = (
    (re.compile(r"_?Py[A-Z_]"), "python3"),
    (re.compile(r"PL_|Perl_|boot_"), "perl"),
    (re.compile(r"rb_[a-z]"), "ruby"),
    (re.compile(r"luaL?_"), "lua"),
    (re.compile(r"zend_|php_"), "php"),
    (re.compile(r"ap_[a-z]"), "apache2"),
    (re.compile(r"Rf?_[a-z]"), "R"),
    (re.compile(r"napi_|node_module"), "node"),
    (re.compile(r"Tcl_|Tk_"), "tclsh"),
    (re.compile(r"ngx_"), "nginx"),
)

# What begins a symbol's name -> whose it is, and what to do: its library's own sources
_LIBRARIES = (
    (re.compile(r"_ZSt|_ZNS?t?K?St|__cxa_|__gxx_|_Zn[wa]|_Zd[la]|_ZT[VI]N10__cxxabiv1"),
     "libstdc++", "link it with g++ instead of gcc, or with -lstdc++"),
    (re.compile(r"_Unwind_|__(?:u?div|u?mod|mul)[dt]i\d"), "libgcc_s", "link it with -lgcc_s"),
    (re.compile(r"__\w+_chk$"), "glibc (_FORTIFY_SOURCE)",
     "compile it for that C library, or with -U_FORTIFY_SOURCE"),
    (re.compile(r"__isoc23_"), "glibc 2.38", "compile it on an older system, or with -std=gnu17"),
    (re.compile(r"pthread_"), "libpthread", "link it with -pthread"),
    (re.compile(r"dl(open|sym|close|error)$"), "libdl", "link it with -ldl"),
    (re.compile(r"GOMP_|omp_"), "libgomp", "link it with -fopenmp"),
    (re.compile(r"__(?:asan|ubsan|tsan|msan|lsan)_"), "a sanitizer",
     "preload the sanitizer's library, or build it without -fsanitize"),
    (re.compile(r"__gcov_|__llvm_profile_"), "a coverage runtime", "build it without --coverage"),
)  # fmt: skip


def in_groups(problems: Sequence[Problem]) -> Iterator[list[Problem]]:
    """The problems, those that are one thing together: a library's missing symbols, say."""

    def what(problem: Problem) -> tuple[str, ...]:
        if problem.id == "missing-version":
            parsed = parse(problem.subject)
            return problem.id, problem.library, parsed[0] if parsed else problem.subject
        if problem.id in ("missing-symbol", "missing-symbol-later", "missing-procedure"):
            return problem.id, problem.library, problem.when
        return problem.id, problem.library, problem.subject, problem.message

    for _, members in groupby(sorted(problems, key=what), key=what):
        yield list(members)


def said(subject: Subject, problems: Sequence[Problem]) -> Said:
    """What to say of problems that are one thing; see ``in_groups``."""
    words = _WORDS.get(problems[0].id)
    made = words(subject, problems) if words else None
    made = made or Said(problems[0].message)
    if problems[0].id == "missing-library" and not made.fix:
        made = made._replace(fix=_CARRY.get(subject.binary.format, ""))
    return made


def _whose(subject: Subject, problem: Problem) -> str:
    """``libx.so `` if it is not the file itself that has the problem, but what it needs."""
    assert subject.resolution is not None
    if problem.library == subject.resolution.root.path:
        return ""
    return f"{problem.library.rpartition('/')[2]} "


def _library(subject: Subject, problems: Sequence[Problem]) -> Said | None:
    (problem, *_) = problems
    asked = subject.not_there.get(problem.subject)
    if asked is None or problem.subject == subject.resolution_root.path:
        return None
    verb = "is not there" if problem.when == "load" else "is not known to be there"
    tried = [
        {"path": step.path, "source": step.source, "reason": step.reason} for step in asked.tried
    ]
    return Said(f"{_whose(subject, problem)}needs {asked.name}, which {verb}",
                evidence={"tried": tried})  # fmt: skip


def _foreign(subject: Subject, problems: Sequence[Problem]) -> Said | None:
    """glibc passes over such a file in silence, and says "No such file" in the end."""
    (problem, *_) = problems
    root, target = subject.resolution_root, subject.target
    if target is None:
        return None
    if problem.subject in (root.path, root.name):
        binary = subject.binary
        is_for, there = [binary.cpu], [target.cpu]
        if binary.bits != target.bits:
            is_for.append(f"{binary.bits}-bit")
            there.append(f"{target.bits}-bit")
        if binary.endian != target.endian:
            is_for.append(f"{binary.endian}-endian")
            there.append(f"{target.endian}-endian")
        return Said(f"it is for {', '.join(is_for)}, and the target is {', '.join(there)}")
    node = next((n for n in root.walk() if n.name == problem.subject and n.tried), None)
    seen = [step for step in node.tried if step.outcome in ("skipped", "fatal")] if node else []
    if not seen:
        return None
    what = "another CPU" if problem.id == "wrong-machine" else "another kind of process"
    places = ", ".join(step.path for step in seen[:SHOWN])
    assert node is not None
    tried = [
        {"path": step.path, "source": step.source, "reason": step.reason} for step in node.tried
    ]
    return Said(
        f"{_whose(subject, problem)}needs {problem.subject}, and what is there is for {what}: "
        f"{places}",
        evidence={"tried": tried},
    )


# Whose versions they are -> what to do, where it is not what to do about glibc
_CXX = (
    "build it with an older g++ (manylinux' images have one that needs little), or link it with "
    "-static-libstdc++ -static-libgcc"
)
_OLDER = {"GLIBCXX": _CXX, "CXXABI": _CXX, "GCC": "build it with an older gcc, or link it with "
          "-static-libgcc"}  # fmt: skip


def _version(subject: Subject, problems: Sequence[Problem]) -> Said | None:
    needs = sorted(
        ((parse(problem.subject) or ("", ()), problem) for problem in problems),
        key=lambda need: need[0],
    )
    problem = needs[-1][1]
    family, _ = needs[-1][0]
    node = subject.by_path.get(problem.library)
    if not family or node is None or node.binary is None:
        return None
    has, source = _newest_given(subject, node, problem.subject, family)
    target = subject.target
    if has and family == "GLIBC" and target is not None and target.loader == "glibc":
        # libm's newest version may be older than the C library that it is a part of
        has = f"GLIBC_{'.'.join(map(str, target.version[:2]))}"
    names = symbols_of(node.binary, problem.subject)
    because = f" (symbol {names[0]}{', …' if len(names) > 1 else ''})" if names else ""
    there = f", and there it is {has} at most" if has else ""
    doubt = f"; {source}" if UNCHECKED in source else ""
    return Said(
        f"{_whose(subject, problem)}needs {problem.subject}{there}{because}{doubt}",
        _OLDER.get(family, ""),
        {
            "versions": [one.subject for _, one in needs],
            "symbols": list(names),
            "newest_there": has,
            "source": source,
        },
    )


def _newest_given(subject: Subject, node: Node, version: str, family: str) -> tuple[str, str]:
    """The newest version of a family that the library has on the target, and who says so."""
    assert node.binary is not None
    assert subject.resolution is not None
    soname = next(
        (need.library for need in node.binary.versions_needed if need.version == version), None
    )
    for one in subject.resolution.order:
        if one.name != soname and one.path.rpartition("/")[2] != soname:
            continue
        given = one.found.given if one.found else None
        try:
            versions = one.binary.versions_given if one.binary else (given and given.versions) or ()
        except BadBinary:
            return "", ""
        counted = [parsed for name in versions if (parsed := parse(name)) and parsed[0] == family]
        if counted:
            newest = f"{family}_{'.'.join(map(str, max(counted)[1]))}"
            return newest, given.source if given else ""
    return "", ""


def _symbols(subject: Subject, problems: Sequence[Problem]) -> Said:
    names = sorted({problem.subject for problem in problems})
    shown = ", ".join(names[:SHOWN])
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    first = problems[0]
    nobody = "which nobody in the process has"
    # CPython, Python/pystate.c: dlopenflags = RTLD_NOW; ctypes, py_dl_open: mode |= RTLD_NOW;
    # others' dlopen, such as Java's, is lazy
    when = ", once it is called, or at once by RTLD_NOW, as in Python (--now)"
    later = when if first.when == "call" else ""
    message = f"{_whose(subject, first)}needs {shown}{more}, {nobody}{later}"
    return Said(message, _who_has(names, subject), {"symbols": names})


def _who_has(names: Sequence[str], subject: Subject) -> str:
    """What to do about missing symbols, by whose names they are."""
    for name in names:
        for pattern, host in _HOSTS:
            if pattern.match(name) and not subject.settings.loading.host:
                return f"it is made for {host}, which has them: libferry check --host {host} FILE"
    for name in names:
        for pattern, whose, what in _LIBRARIES:
            if pattern.match(name):
                return f"{name} is {whose}'s: {what}"
    return ""


_WORDS: dict[str, Callable[[Subject, Sequence[Problem]], Said | None]] = {
    "missing-library": _library,
    "wrong-class": _foreign,
    "wrong-endianness": _foreign,
    "wrong-machine": _foreign,
    "missing-version": _version,
    "missing-symbol": _symbols,
    "missing-symbol-later": _symbols,
}
