"""What makes an attack easier: what hardening leaves undone, by format.

Compilers and linkers have protections that cost next to nothing, and each leaves a mark in
the file. Severity follows what the distributions do: a missing one that all of them switch
on is a warning, one that only some do is a note.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from libferry.audit.check import Check
from libferry.audit.model import Rule
from libferry.audit.subject import Seen, Subject

ELF, PE, MACHO = frozenset({"elf"}), frozenset({"pe"}), frozenset({"macho"})

# Folders in which everybody may make a file: Filesystem Hierarchy Standard 3.0, 3.18 and
# 5.15; shm_overview(7)
_OPEN_TO_ALL = ("/tmp", "/var/tmp", "/dev/shm", "/usr/tmp")


def executable_stack(subject: Subject) -> Iterator[Seen]:
    """ELF: PT_GNU_STACK, or none; Mach-O: a flag."""
    if (elf := subject.elf) and elf.hardening.executable_stack and elf.headers.tags:
        why = "asks for one" if elf.hardening.stack_header else "does not say that it needs none"
        yield Seen("PT_GNU_STACK", f"the stack becomes executable: the file {why}")
    if (macho := subject.macho) and "ALLOW_STACK_EXECUTION" in macho.flags:
        yield Seen("MH_ALLOW_STACK_EXECUTION", "the stack becomes executable")


def text_relocations(subject: Subject) -> Iterator[Seen]:
    """DT_TEXTREL."""
    if (elf := subject.elf) and elf.hardening.text_relocations:
        yield Seen("DT_TEXTREL", "its code is changed when it is loaded, and so is not shared")


def no_relro(subject: Subject) -> Iterator[Seen]:
    """No PT_GNU_RELRO, where there is something to relocate."""
    if (elf := subject.elf) and elf.hardening.relro == "none" and elf.headers.tags:
        yield Seen("PT_GNU_RELRO", "what the loader fills in stays writable")


def lazy_binding(subject: Subject) -> Iterator[Seen]:
    """RELRO without NOW leaves the addresses of functions writable."""
    elf = subject.elf
    if elf and elf.hardening.relro == "partial" and any(one.lazy for one in elf.references):
        yield Seen("DT_FLAGS", "functions are bound at their first call: the table stays writable")


def no_pie(subject: Subject) -> Iterator[Seen]:
    """A program that lies at the same address each time."""
    fixed = bool(subject.elf and not subject.elf.hardening.pie)
    if fixed or (subject.macho and "PIE" not in subject.macho.flags):
        yield Seen("PIE", "the program lies at the same address each time")


def no_aslr(subject: Subject) -> Iterator[Seen]:
    """PE: DYNAMIC_BASE, and HIGH_ENTROPY_VA with 64 bits."""
    characteristics = subject.pe.characteristics if subject.pe else frozenset()
    if "DYNAMIC_BASE" not in characteristics:
        yield Seen("DYNAMIC_BASE", "it lies at the same address each time")
    elif subject.binary.bits == 64 and "HIGH_ENTROPY_VA" not in characteristics:
        message = "its address is chosen among those below 4 GiB only"
        yield Seen("HIGH_ENTROPY_VA", message, severity="note")


def no_nx(subject: Subject) -> Iterator[Seen]:
    """PE: NX_COMPAT."""
    if (pe := subject.pe) and "NX_COMPAT" not in pe.characteristics:
        yield Seen("NX_COMPAT", "it does not say that it runs with data that is not executable")


def no_cfg(subject: Subject) -> Iterator[Seen]:
    """PE: Control Flow Guard."""
    if (pe := subject.pe) and "GUARD_CF" not in pe.characteristics:
        yield Seen("GUARD_CF", "calls through pointers are not checked (Control Flow Guard)")


# CPU -> the features that GNU properties can name for it, and the rule
_BRANCHES = {
    "x86_64": (("IBT", "SHSTK"), "no-cet"),
    "i386": (("IBT", "SHSTK"), "no-cet"),
    "aarch64": (("BTI", "PAC"), "no-bti"),
}


def unguarded_branches(subject: Subject) -> Iterator[Seen]:
    """ELF: GNU properties; PE: a bit of the debug directory."""
    cpu = subject.binary.cpu
    if (pe := subject.pe) and cpu == "x86_64" and not pe.shadow_stack:
        yield Seen("CET_COMPAT", "it is not built for a shadow stack", rule="no-cet")
    if (elf := subject.elf) and cpu in _BRANCHES:
        wanted, rule = _BRANCHES[cpu]
        missing = [feature for feature in wanted if feature not in elf.properties.features]
        if missing:
            words = " and ".join(missing)
            yield Seen(words, f"not all of its code is compiled for {words}", rule=rule)


def writable_code(subject: Subject) -> Iterator[Seen]:
    """Memory that is writable and executable at once."""
    for segment in subject.binary.segments:
        if segment.writable and segment.executable and segment.size:
            yield Seen(
                f"{segment.name} {segment.address:#x}",
                f"{segment.name} at {segment.address:#x} is writable and executable",
            )


def search_paths(subject: Subject) -> Iterator[Seen]:
    """RPATH and RUNPATH that somebody else may fill, or that depend on the current folder."""
    binary = subject.binary
    here = subject.target is not None and subject.target.name == "this"
    for name, folders in (("RPATH", binary.rpath), ("RUNPATH", binary.runpath)):
        for folder in folders:
            if not folder.startswith(("/", "$", "@")):
                said = f"{folder!r}, which means" if folder else "an empty item, which means"
                yield Seen(
                    folder or "(empty)",
                    f"{name} has {said} the folder that the process happens to be in",
                    rule="relative-search-path",
                )
            elif _open_to_all(folder) or (here and _is_writable(folder)):
                yield Seen(
                    folder,
                    f"{name} has {folder}, where everybody may put a library",
                    rule="writable-search-path",
                )


def _open_to_all(folder: str) -> bool:
    return any(f"{folder}/".startswith(f"{one}/") for one in _OPEN_TO_ALL)


def _is_writable(folder: str) -> bool:
    try:
        return bool(os.stat(folder).st_mode & 0o002)
    except (OSError, ValueError):
        return False


_GLIBC_HARDENING = "Debian wiki, 'Hardening'; dpkg-buildflags(1), FEATURE AREAS, hardening"
_PE = "PE format, 'DLL Characteristics'"
PROGRAMS = frozenset({"executable"})

CHECKS = (
    Check(
        executable_stack,
        (
            Rule(
                id="executable-stack",
                group="security",
                severity="warning",
                title="It makes the stack of the whole process executable",
                explanation=(
                    "One library is enough: an older glibc makes the stacks of all threads "
                    "executable for it, and 2.41 refuses to `dlopen` it (see "
                    "`exec-stack-refused`). Mostly nobody wanted that: an assembly file without "
                    "`.note.GNU-stack` makes the linker set the flag, or leave the header out."
                ),
                fix="link with -Wl,-z,noexecstack, or clear the flag: libferry fix "
                "--clear-execstack FILE",
                good="cc -shared -fPIC -o liba.so a.c -Wl,-z,noexecstack",
                bad="cc -shared -fPIC -o liba.so a.c -Wl,-z,execstack",
                source="elf(5), PT_GNU_STACK; glibc NEWS for 2.41; mach-o/loader.h, "
                "MH_ALLOW_STACK_EXECUTION",
            ),
        ),
        frozenset({"elf", "macho"}),
    ),
    Check(
        text_relocations,
        (
            Rule(
                id="text-relocation",
                group="security",
                severity="warning",
                title="Its code is changed when it is loaded",
                explanation=(
                    "Code that is not position-independent has addresses in it, which the loader "
                    "writes. Each process gets a copy of its own, the code is writable meanwhile, "
                    "and SELinux and Android refuse it: `cannot restore segment prot after "
                    "reloc`."
                ),
                fix="compile all of it with -fPIC; find the culprit with -Wl,-z,text",
                good="cc -shared -fPIC -o liba.so a.c -Wl,-z,text",
                bad="cc -m32 -fno-pic -shared -o liba.so a.c -Wl,-z,notext",
                source="gABI, 'Dynamic Section', DT_TEXTREL; SELinux, execmod",
            ),
        ),
        ELF,
    ),
    Check(
        no_relro,
        (
            Rule(
                id="no-relro",
                group="security",
                severity="warning",
                title="What the loader fills in stays writable",
                explanation="With `-z relro` the tables of addresses become read-only once the "
                "loader has filled them in. It is what compilers' drivers do by default on most "
                "systems, so that its absence is rarely meant.",
                fix="link with -Wl,-z,relro,-z,now",
                good="cc -shared -fPIC -o liba.so a.c -Wl,-z,relro,-z,now",
                bad="cc -shared -fPIC -o liba.so a.c -Wl,-z,norelro",
                source=f"ld(1), -z relro; {_GLIBC_HARDENING}",
            ),
        ),
        ELF,
    ),
    Check(
        lazy_binding,
        (
            Rule(
                id="lazy-binding",
                group="security",
                severity="note",
                title="The addresses of functions stay writable (no full RELRO)",
                explanation="Functions that are bound at their first call need a table that stays "
                "writable, and so can be changed to lead elsewhere. With `-z now` all are bound "
                "at load, and the table becomes read-only; missing functions show at once, too.",
                fix="link with -Wl,-z,now",
                good="cc -shared -fPIC -o liba.so a.c -Wl,-z,relro,-z,now",
                bad="cc -shared -fPIC -o liba.so a.c -Wl,-z,relro,-z,lazy",
                source=f"ld(1), -z now; {_GLIBC_HARDENING}: bindnow",
            ),
        ),
        ELF,
    ),
    Check(
        no_pie,
        (
            Rule(
                id="no-pie",
                group="security",
                severity="warning",
                title="The program lies at the same address each time",
                explanation="A position-independent program is put at a random address (ASLR), "
                "as libraries always are. One that is not has its code where an attacker knows.",
                fix="compile with -fPIE and link with -pie",
                good="cc -fPIE -pie -o program main.c",
                bad="cc -no-pie -o program main.c",
                source=f"{_GLIBC_HARDENING}: pie; mach-o/loader.h, MH_PIE",
            ),
        ),
        frozenset({"elf", "macho"}),
        PROGRAMS,
    ),
    Check(
        no_aslr,
        (
            Rule(
                id="no-aslr",
                group="security",
                severity="warning",
                title="Windows may not put it at a random address",
                explanation="`/DYNAMICBASE` allows another address than the preferred one, and "
                "`/HIGHENTROPYVA` one from the whole 64-bit range. Old MinGW linkers set neither.",
                fix="link with /DYNAMICBASE /HIGHENTROPYVA, or -Wl,--dynamicbase,--high-entropy-va",
                good="x86_64-w64-mingw32-gcc -shared -o a.dll a.c -Wl,--dynamicbase",
                bad="x86_64-w64-mingw32-gcc -shared -o a.dll a.c -Wl,--disable-dynamicbase",
                source=f"{_PE}: DYNAMIC_BASE, HIGH_ENTROPY_VA",
            ),
        ),
        PE,
    ),
    Check(
        no_nx,
        (
            Rule(
                id="no-nx",
                group="security",
                severity="warning",
                title="It does not say that it runs with data that is not executable",
                explanation="Without `/NXCOMPAT` in the program, a 32-bit process runs without "
                "data execution prevention, so that injected data can be run.",
                fix="link with /NXCOMPAT, or -Wl,--nxcompat",
                good="x86_64-w64-mingw32-gcc -shared -o a.dll a.c -Wl,--nxcompat",
                bad="x86_64-w64-mingw32-gcc -shared -o a.dll a.c -Wl,--disable-nxcompat",
                source=f"{_PE}: NX_COMPAT",
            ),
        ),
        PE,
    ),
    Check(
        no_cfg,
        (
            Rule(
                id="no-cfg",
                group="security",
                severity="note",
                title="Calls through pointers are not checked (Control Flow Guard)",
                explanation="With `/guard:cf` a call through a pointer only reaches functions that "
                "the compiler listed. GCC does not have it, clang and MSVC do.",
                fix="compile and link with /guard:cf, or -mguard=cf",
                good="clang-cl /guard:cf /LD a.c /link /guard:cf",
                bad="x86_64-w64-mingw32-gcc -shared -o a.dll a.c",
                source=f"{_PE}: GUARD_CF",
            ),
        ),
        PE,
    ),
    Check(
        unguarded_branches,
        (
            Rule(
                id="no-cet",
                group="security",
                severity="note",
                title="Not all of its code is compiled for Intel's CET",
                explanation="Indirect branches are to land on `endbr64` (IBT), and returns are "
                "compared with a shadow stack (SHSTK). The linker marks a file only if all of its "
                "objects are; one library without the mark switches it off for the process.",
                fix="compile everything with -fcf-protection=full; on Windows link with /CETCOMPAT",
                good="gcc -fcf-protection=full -shared -fPIC -o liba.so a.c",
                bad="gcc -fcf-protection=none -shared -fPIC -o liba.so a.c",
                source="x86-64 psABI, '.note.gnu.property'; PE format, 'Extended DLL "
                "Characteristics'",
            ),
            Rule(
                id="no-bti",
                group="security",
                severity="note",
                title="Not all of its code is compiled for Arm's BTI and PAC",
                explanation="Indirect branches are to land on `bti`, and return addresses are "
                "signed. The linker marks a file only if all of its objects are.",
                fix="compile everything with -mbranch-protection=standard",
                good="aarch64-linux-gnu-gcc -mbranch-protection=standard -shared -fPIC -o liba.so "
                "a.c -Wl,-z,force-bti",
                bad="aarch64-linux-gnu-gcc -mbranch-protection=none -shared -fPIC -o liba.so a.c",
                source="AAELF64, 'Program Property'",
            ),
        ),
        frozenset({"elf", "pe"}),
    ),
    Check(
        writable_code,
        (
            Rule(
                id="writable-code",
                group="security",
                severity="warning",
                title="A segment is writable and executable at once",
                explanation="What can be written and run makes every mistake with memory an entry. "
                "SELinux and Apple silicon refuse it. Packers, `-N`, and sections that somebody "
                "put code in by hand are the causes.",
                fix="keep code and data in sections of their own; do not link with -N or omagic",
                good="cc -shared -fPIC -o liba.so a.c",
                bad="cc -shared -fPIC -o liba.so a.c -Wl,--omagic",
                source="gABI, 'Program Header', p_flags; ld(1), --omagic",
            ),
        ),
    ),
    Check(
        search_paths,
        (
            Rule(
                id="writable-search-path",
                group="security",
                severity="warning",
                title="The loader looks for libraries where everybody may put one",
                explanation="Whoever makes a library of the right name there has it run with the "
                "rights of whoever uses this file.",
                fix="remove the folder: libferry fix --runpath '$ORIGIN' FILE",
                good="cc -shared -fPIC -o liba.so a.c -Wl,-rpath,'$ORIGIN'",
                bad="cc -shared -fPIC -o liba.so a.c -Wl,-rpath,/tmp/build",
                source="ld.so(8); CWE-426",
            ),
            Rule(
                id="relative-search-path",
                group="security",
                severity="warning",
                title="The loader looks for libraries in the folder that the process is in",
                explanation="A folder that does not begin with `/` or `$ORIGIN`, and an empty item "
                "(a stray colon, `-rpath ''`), mean the current folder at the start of the "
                "program, wherever that is: what lies there is run. musl does the same.",
                fix="write $ORIGIN: libferry fix --runpath '$ORIGIN' FILE",
                good="cc -shared -fPIC -o liba.so a.c -Wl,-rpath,'$ORIGIN/lib'",
                bad="cc -shared -fPIC -o liba.so a.c -Wl,-rpath,lib",
                source="glibc elf/dl-load.c, fillin_rpath; CWE-426",
            ),
        ),
        ELF,
    ),
)
