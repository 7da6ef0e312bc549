"""What a library exports, and who else in the process does.

In ELF a name belongs to the process, not to a library: the first that exports it serves
all, the library itself included. So every name that is exported by oversight is one that
another library may take over, or lose to. Windows and macOS bind a name to the library that
it was linked with.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from libferry.audit.check import Check
from libferry.audit.model import Rule
from libferry.audit.neighbours import LINKERS, in_common
from libferry.audit.subject import Seen, Subject
from libferry.target.carried import is_of_system

ELF = frozenset({"elf"})
LIBRARIES = frozenset({"library"})
SHOWN = 3


def leaked(subject: Subject) -> Iterator[Seen]:
    """Exports that the contract does not have, and the other way round."""
    promised = subject.settings.exports
    if promised is None:
        return
    exported = {export.name for export in subject.binary.exports} - LINKERS
    for name in sorted(exported - promised):
        yield Seen(name, f"it exports {name}, which is not in its contract", rule="leaked-symbol")
    for name in sorted(promised - exported):
        yield Seen(
            name, f"its contract has {name}, which it does not export", rule="missing-export"
        )


# What a runtime that is linked in exports -> whose own libraries rightly do. One name stands
# for each, which is in all versions: Itanium C++ ABI 2.5 and 1.6 (level 1), Go's runtime/cgo.
_RUNTIMES = (
    ("C++ runtime", "__cxa_throw", r"lib(std)?c\+\+(abi)?[.-]|libcxxrt|libsupc\+\+"),
    ("C++ standard library", "_ZSt9terminatev", r"lib(std)?c\+\+(abi)?[.-]|libcxxrt|libsupc\+\+"),
    ("unwinder", "_Unwind_RaiseException", r"libgcc_s|libunwind|libc\+\+|ld-|libc\."),
    ("Go runtime", "_cgo_topofstack", r"libgo\."),
)


def leaked_runtime(subject: Subject) -> Iterator[Seen]:
    """A runtime that was linked in, and whose names others now see."""
    elf = subject.elf
    if elf is None:
        return
    name = subject.binary.soname or subject.file.rpartition("/")[2]
    for runtime, witness, own in _RUNTIMES:
        own_trade = re.match(own, name) or _WATCHERS.match(name)
        if (witness, None) in elf.definitions and not own_trade:
            yield Seen(
                witness, f"it exports the {runtime} that is linked into it, {witness} and more"
            )


_ALLOCATOR = ("malloc", "free", "calloc", "realloc", "_Znwm", "_Znwj", "_ZdlPv")
# Whose trade it is: C libraries, allocators, and tools that watch a program from inside
_ALLOCATORS = re.compile(
    r"lib(c|ld|pthread|musl|stdc\+\+|c\+\+|jemalloc|tcmalloc|mimalloc|rpmalloc|hoard|snmalloc|"
    r"scudo|dmalloc|duma|efence|umem|failmalloc|nedmalloc|supc\+\+|cxxrt)[\w.+-]*|ld-",
)
_WATCHERS = re.compile(
    r"lib(a|l|t|ub|m|hwa)san\b|libclang_rt|libmemusage|libpcprofile|libmtrace|libc_malloc_debug|"
    r"libheaptrack|libgprofng|libgp-|libSegFault|libfakeroot|preloadable_|vgpreload|libtalloc_stub",
)


def allocator(subject: Subject) -> Iterator[Seen]:
    """A library that replaces malloc for the whole process."""
    elf = subject.elf
    if elf is None:
        return
    name = subject.binary.soname or subject.file.rpartition("/")[2]
    taken = [one for one in _ALLOCATOR if elf.definitions.get((one, None))]
    if taken and not _ALLOCATORS.match(name) and not _WATCHERS.match(name):
        words = ", ".join(taken)
        yield Seen(taken[0], f"it exports {words}, and so serves the whole process with them")


def clashes(subject: Subject) -> Iterator[Seen]:
    """The same strong name in two libraries of one process, and no version tells them apart."""
    name = subject.binary.soname or subject.file.rpartition("/")[2]
    if subject.elf is None or _WATCHERS.match(name):
        return
    of_system = is_of_system(os.path.dirname(subject.binary.path))
    for other in subject.others:
        same = other.binary.soname and other.binary.soname == subject.binary.soname
        if same or other.binary.format != "elf" or other.binary.kind != "library":
            continue
        common = in_common(subject.binary, other.binary)
        if common:
            shown = ", ".join(common[:SHOWN]) + (", …" if len(common) > SHOWN else "")
            name = other.path.rpartition("/")[2]
            yield Seen(
                name,
                f"it and {name} both export {shown}: the one loaded first serves both",
                {"library": other.path, "symbols": common},
                # one distribution's libraries are built and tested together
                severity="note" if of_system and is_of_system(os.path.dirname(other.path)) else "",
            )


CHECKS = (
    Check(
        leaked,
        (
            Rule(
                id="leaked-symbol",
                group="symbols",
                severity="warning",
                title="It exports what its contract does not have",
                explanation="Every exported name is one that others may begin to use, and on Linux "
                "one that another library of the process may take over, or be taken over by.",
                fix="compile with -fvisibility=hidden and export by attribute, or libferry fix "
                "--hide-symbol NAME FILE",
                good="cc -shared -fPIC -fvisibility=hidden -o liba.so a.c",
                bad="cc -shared -fPIC -o liba.so a.c    # helper() is exported, too",
                source="Drepper, 'How To Write Shared Libraries', 2.2; ld(1), --version-script",
            ),
            Rule(
                id="missing-export",
                group="symbols",
                severity="error",
                title="It does not export what its contract has",
                explanation="Whoever uses the contract finds no such name. Mostly C++ compiled it "
                'without `extern "C"`, it was not marked for export, or the linker dropped it.',
                fix='export it: extern "C", __attribute__((visibility("default"))), '
                "__declspec(dllexport)",
                good="nm -D --defined-only liba.so",
                bad="cc -shared -fPIC -fvisibility=hidden -o liba.so a.c",
                source="the contract that was given",
            ),
        ),
        kinds=LIBRARIES,
    ),
    Check(
        leaked_runtime,
        (
            Rule(
                id="leaked-runtime",
                group="symbols",
                severity="warning",
                title="It exports a runtime that is linked into it",
                explanation="`-static-libstdc++` and Go put a whole runtime into the library; if "
                "its names are exported, another library's calls may end in this copy, or this "
                "one's in another. Exceptions that cross from one C++ runtime into another, and "
                "two Go runtimes that share `crosscall2`, crash.",
                fix="link with -Wl,--exclude-libs,ALL, or libferry fix --hide-symbol NAME FILE",
                good="g++ -shared -fPIC -static-libstdc++ -static-libgcc -o liba.so a.cc "
                "-Wl,--exclude-libs,ALL",
                bad="g++ -shared -fPIC -static-libstdc++ -static-libgcc -o liba.so a.cc",
                source="Itanium C++ ABI, 2.5 'Exception Handling'; ld(1), --exclude-libs; Go, "
                "runtime/cgo",
            ),
        ),
        ELF,
        LIBRARIES,
    ),
    Check(
        allocator,
        (
            Rule(
                id="interposed-allocator",
                group="symbols",
                severity="warning",
                title="It replaces malloc for the whole process",
                explanation="A library that exports `malloc`, `free` or C++'s `operator new` "
                "serves everybody with them who is bound after it. Memory that the C library "
                "gave out before is then freed by this one.",
                fix="give them names of their own, or hide them: libferry fix --hide-symbol "
                "malloc FILE",
                good="cc -shared -fPIC -o liba.so a.c    # my_malloc, static",
                bad="cc -shared -fPIC -o liba.so a.c    # malloc",
                source="glibc manual, 'Replacing malloc'",
            ),
        ),
        ELF,
        LIBRARIES,
    ),
    Check(
        clashes,
        (
            Rule(
                id="symbol-clash",
                group="symbols",
                severity="warning",
                title="Two libraries of one process export the same name",
                explanation="The first in the order of search serves both, also for calls inside "
                "the second library. If the two are different functions, or different versions of "
                "one (two copies of zlib, say), that ends in wrong results or a crash.",
                fix="hide the names that are nobody else's business (-fvisibility=hidden), give "
                "them versions, or load the library in a namespace: libferry.load(FILE, "
                "isolation='namespace')",
                good="cc -shared -fPIC -fvisibility=hidden -o libb.so b.c -L. -la",
                bad="cc -shared -fPIC -o libb.so b.c -L. -la    # both export init()",
                source="gABI, 'Shared Object Dependencies'; dlopen(3), RTLD_GLOBAL",
            ),
        ),
        ELF,
        LIBRARIES,
    ),
)
