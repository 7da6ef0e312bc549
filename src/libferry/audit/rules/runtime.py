"""What goes wrong once a library is loaded: threads, Go, and C runtimes that do not mix."""

from __future__ import annotations

import re
from collections.abc import Iterator

from libferry.audit.check import Check
from libferry.audit.model import Rule
from libferry.audit.subject import Seen, Subject
from libferry.binary.model import Binary
from libferry.errors import BadBinary

ELF, PE = frozenset({"elf"}), frozenset({"pe"})
LIBRARIES = frozenset({"library"})

# glibc 2.41, elf/dl-tunables.list: glibc.rtld.optional_static_tls
OPTIONAL_STATIC_TLS = 512

# Libraries that are loaded with the program, and may count on the static block
_AT_START = re.compile(r"(ld-|lib(c|pthread|m|dl|rt|thread_db|asan|tsan|lsan|hwasan)\b)")


def initial_exec(subject: Subject) -> Iterator[Seen]:
    """A library that needs its thread-local variables in the static block."""
    elf, binary = subject.elf, subject.binary
    name = binary.soname or subject.file.rpartition("/")[2]
    if elf is None or _AT_START.match(name):
        return
    tls = elf.tls
    if tls is not None and tls.size and tls.model == "initial-exec":
        large = tls.size > OPTIONAL_STATIC_TLS
        yield Seen(
            "PT_TLS",
            f"its {tls.size} bytes of thread-local variables must fit into the static block"
            + (f", of which dlopen has {OPTIONAL_STATIC_TLS}" if large else ""),
            {"size": tls.size, "alignment": tls.alignment},
            severity="warning" if large else "note",
        )


def tls_alignment(subject: Subject) -> Iterator[Seen]:
    """PT_TLS that begins elsewhere than its alignment says, or is aligned beyond a page."""
    elf = subject.elf
    if elf is None:
        return
    page = subject.target.page_size if subject.target else 4096
    for segment in elf.headers.segments:
        if segment.type != PT_TLS or segment.alignment < 2:
            continue
        beside = segment.address % segment.alignment
        if beside:
            yield Seen(
                "PT_TLS",
                f"its thread-local block begins {beside} bytes beside its alignment of "
                f"{segment.alignment}, so that it straddles where it should not",
                {"address": segment.address, "alignment": segment.alignment},
            )
        elif segment.alignment > page:
            yield Seen(
                "PT_TLS",
                f"its thread-local block is aligned to {segment.alignment} bytes, more than a page",
                {"alignment": segment.alignment, "page_size": page},
            )


def go_runtimes(subject: Subject) -> Iterator[Seen]:
    """Two Go runtimes in one process."""
    if not _is_go_library(subject.binary):
        return
    for other in subject.others:
        if _is_go_library(other.binary):
            name = other.path.rpartition("/")[2]
            yield Seen(name, f"it and {name} both bring a Go runtime into the process")


def _is_go_library(binary: Binary) -> bool:
    """Whether there is a Go runtime in it; in a program, too, which then loads another."""
    try:
        return binary.go is not None
    except BadBinary:
        return False


# DLL -> the C runtime that it is, by its Visual Studio; Microsoft, "C runtime (CRT) and C++
# standard library (STL) .lib files" and "Redistributing Visual C++ Files"
_C_RUNTIMES = (
    (re.compile(r"msvcrt\.dll"), "msvcrt"),
    (re.compile(r"msvcr(t?\d+)d?\.dll"), "msvcr{}"),
    (re.compile(r"ucrtbased?\.dll|api-ms-win-crt-.*\.dll"), "ucrt"),
    (re.compile(r"crtdll\.dll"), "crtdll"),
)
_DEBUG = re.compile(
    r"(msvc[rp]\d+|msvcp\d+_\w+|ucrtbase|vcruntime\d+(_\d+)?|mfc\d+u?|concrt\d+)d\.dll"
)
_SYSTEM = re.compile(r"^[a-z]:[\\/]windows[\\/]", re.IGNORECASE)


def _c_runtimes(binary: Binary) -> set[str]:
    found = set()
    for name in map(str.lower, binary.needed):
        for pattern, runtime in _C_RUNTIMES:
            if match := pattern.fullmatch(name):
                found.add(runtime.format(*match.groups()))
    return found


def mixed_c_runtimes(subject: Subject) -> Iterator[Seen]:
    """Memory or files of one C runtime handed to another."""
    own = _c_runtimes(subject.binary)
    if len(own) > 1:
        words = " and ".join(sorted(own))
        yield Seen(words, f"it uses {words}, two C runtimes, itself", {"runtimes": sorted(own)})
        return
    for other in subject.others:
        if _SYSTEM.match(other.path):
            continue  # Windows' own libraries give nothing away that is freed by others
        theirs = _c_runtimes(other.binary)
        if own and theirs and own.isdisjoint(theirs):
            name = re.split(r"[\\/]", other.path)[-1]
            one, two = next(iter(own)), sorted(theirs)[0]
            yield Seen(name, f"it uses {one}, and {name} in the same process uses {two}")


def debug_c_runtime(subject: Subject) -> Iterator[Seen]:
    """The debugging version of a C or C++ runtime."""
    for name in subject.binary.needed:
        if _DEBUG.fullmatch(name.lower()):
            yield Seen(name, f"it asks for {name}, which only Visual Studio brings")


PT_TLS = 7

CHECKS = (
    Check(
        initial_exec,
        (
            Rule(
                id="initial-exec-tls",
                group="runtime",
                severity="warning",
                title="Its thread-local variables need room in the static block",
                explanation="The model initial-exec is the fastest, and is for what is loaded with "
                "the program. A library that is opened later has to take from a reserve: 512 bytes "
                "that glibc keeps for it, none on musl. jemalloc, OpenMP runtimes and graphics "
                "drivers are known for using it up, and it is the library loaded last that fails.",
                fix="compile with -ftls-model=global-dynamic -mtls-dialect=gnu2; or load it with "
                "the program: LD_PRELOAD, or GLIBC_TUNABLES=glibc.rtld.optional_static_tls=4096",
                good="cc -shared -fPIC -ftls-model=global-dynamic -o liba.so a.c",
                bad="cc -shared -fPIC -ftls-model=initial-exec -o liba.so a.c",
                source="Drepper, 'ELF Handling For Thread-Local Storage', 4.3; glibc "
                "elf/dl-tunables.list",
            ),
        ),
        ELF,
        LIBRARIES,
    ),
    Check(
        tls_alignment,
        (
            Rule(
                id="tls-alignment",
                group="runtime",
                severity="warning",
                title="Its thread-local block is not where its alignment says",
                explanation="The loader copies the block for each thread to an address with the "
                "alignment of `PT_TLS`. If the block does not begin at such an address in the "
                "file, loaders and linkers disagree about the rest, and a variable that is meant "
                "to lie within one cache line or page straddles two. Alignments beyond a page are "
                "kept by few loaders.",
                fix="align the first thread-local variable as the largest one, or link with a "
                "newer linker",
                good="_Thread_local _Alignas(64) char line[64];",
                bad="_Thread_local _Alignas(8192) char page[8192];",
                source="Drepper, 'ELF Handling For Thread-Local Storage', 3; llvm-project "
                "issue 84743",
            ),
        ),
        ELF,
    ),
    Check(
        go_runtimes,
        (
            Rule(
                id="two-go-runtimes",
                group="runtime",
                severity="warning",
                title="Two Go runtimes in one process",
                explanation="Each `-buildmode=c-shared` library has a runtime of its own, with its "
                "own threads, garbage collector and signal handlers, and they fight for the last. "
                "If both export `crosscall2` or `_cgo_topofstack`, one calls into the other and "
                "crashes. None can be unloaded.",
                fix="build one library from both, or give one a worker: libferry.load(FILE, "
                "isolation='worker')",
                good="go build -buildmode=c-shared -o libboth.so ./both",
                bad="program -la -lb    # both of go build -buildmode=c-shared",
                source="golang.org/issue/65050; Go, os/signal, 'Non-Go programs that call Go code'",
            ),
        ),
        kinds=LIBRARIES,
    ),
    Check(
        mixed_c_runtimes,
        (
            Rule(
                id="mixed-c-runtimes",
                group="runtime",
                severity="warning",
                title="Two C runtimes in one process",
                explanation="Windows has a C runtime for each compiler: `msvcrt.dll` (old MinGW), "
                "`msvcr100.dll` (Visual Studio 2010) and others, the Universal C Runtime (2015 and "
                "later). Each has its own heap, files, locale and `errno`. What one allocated, "
                "another must not free, and a `FILE *` of one is nothing to another.",
                fix="build all of it for one runtime (x86_64-w64-mingw32ucrt-gcc, zig cc), or let "
                "each library free what it allocated",
                good="zig cc -target x86_64-windows-gnu -shared -o a.dll a.c    # ucrt",
                bad="a.dll with msvcrt.dll in a process of Python, which has ucrt",
                source="Microsoft, 'Potential errors passing CRT objects across DLL boundaries'",
            ),
        ),
        PE,
    ),
    Check(
        debug_c_runtime,
        (
            Rule(
                id="debug-c-runtime",
                group="runtime",
                severity="warning",
                title="It needs a debugging C runtime",
                explanation="Built with `/MDd`, it asks for `ucrtbased.dll`, `vcruntime140d.dll` "
                "or `msvcr100d.dll`, which come with Visual Studio and may not be shipped. "
                "Elsewhere it ends in error 126.",
                fix="build it with /MD (CMAKE_BUILD_TYPE=Release)",
                good="cl /LD /MD a.c",
                bad="cl /LD /MDd a.c",
                source="Microsoft, 'Redistributing Visual C++ Files': debug versions",
            ),
        ),
        PE,
    ),
)
