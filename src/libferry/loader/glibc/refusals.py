"""Why the loader refuses a file that it has taken for a library of this CPU.

In its order, with its words. All of these are fatal wherever the file was found: the loader
does not look for another one.

Source: glibc ``elf/dl-load.c``, ``_dl_map_object_from_fd``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from libferry.binary.elf.layout import (
    DF_1_PIE,
    ET_DYN,
    PF_X,
    PT_DYNAMIC,
    PT_GNU_STACK,
    PT_LOAD,
)
from libferry.loader.glibc import rules
from libferry.loader.glibc.facts import DF_1_NOOPEN, Facts
from libferry.loader.model import Problem
from libferry.target.model import Target

if TYPE_CHECKING:
    from libferry.loader.glibc.mapping import Process

# CPUs on which a file that says nothing of the stack gets an executable one:
# sysdeps/**/stackinfo.h, DEFAULT_STACK_PERMS
EXECUTABLE_STACKS = {"x86_64", "i386", "arm", "s390x", "ppc"}


def refusal(facts: Facts, path: str, name: str, process: Process) -> Problem | None:
    """What the loader finds wrong with a file when it maps it; None if nothing."""
    target = process.places.target
    if facts.sound or facts.found.file is None:
        return None
    loads = [header for header in facts.segments if header.type == PT_LOAD]
    page = target.page_size - 1
    old = rules.ALIGNED_LOAD.holds(target.version)

    def problem(id: str, words: str, rule: str = rules.MAP) -> Problem:
        return Problem(id, path, name, f"{name}: {words}", "load", rule)

    for load in loads:
        if old and load.alignment & page:
            words = "ELF load command alignment not page-aligned"
            return problem("page-size", words, rules.ALIGNED_LOAD.source)
        if old and (load.address - load.offset) & (load.alignment - 1):
            words = "ELF load command address/offset not properly aligned"
            return problem("page-size", words, rules.ALIGNED_LOAD.source)
        if not old and (load.address - load.offset) & page:
            words = "ELF load command address/offset not page-aligned"
            return problem("page-size", words, rules.ADDRESS_OFFSET.source)
    if not loads:
        return problem("not-a-library", "object file has no loadable segments")
    if facts.type != ET_DYN:
        return problem("not-a-library", "cannot dynamically load executable")
    dynamic = facts.of_type(PT_DYNAMIC)
    if dynamic is None or dynamic.file_size == 0:
        return problem("not-a-library", "object file has no dynamic section")
    if facts.broken is not None:
        cut = "cut short" in facts.broken.happened
        return problem("truncated" if cut else "not-a-library", facts.broken.happened)
    if process.dlopened and facts.flags_1 & DF_1_NOOPEN and not facts.flags_1 & DF_1_PIE:
        return problem("not-a-library", "shared object cannot be dlopen()ed")
    if facts.flags_1 & DF_1_PIE and rules.NO_PIE.holds(target.version):
        words = "cannot dynamically load position-independent executable"
        return problem("not-a-library", words, rules.NO_PIE.source)
    if (
        process.dlopened
        and rules.EXEC_STACK.holds(target.version)
        and wants_executable_stack(facts, target)
        and not (process.program and wants_executable_stack(process.program.facts, target))
    ):
        words = "cannot enable executable stack as shared object requires: Invalid argument"
        return problem("exec-stack-refused", words, rules.EXEC_STACK.source)
    facts.sound = process.dlopened and not process.program  # all of the above has been asked
    return None


def wants_executable_stack(facts: Facts, target: Target) -> bool:
    """Whether the stack has to be executable for this file."""
    stack = facts.of_type(PT_GNU_STACK)
    return target.cpu in EXECUTABLE_STACKS if stack is None else bool(stack.flags & PF_X)
