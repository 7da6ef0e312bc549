"""What a library asks of the machine and of the process beyond other libraries.

An x86 library can say which level of the instruction set it was compiled for, and the loader
refuses to load it on less. (Compilers only say so with ``-Wl,-z,x86-64-v3`` or the like.)

Thread-local storage in the initial-exec model lies at a fixed offset from the thread pointer,
in a block that is made when the process starts. What comes later has to fit into what was
left over in it: 1664 bytes, less what others have taken. So two libraries that load each by
itself may not load together, and the message, ``cannot allocate memory in static TLS block``,
names the one that came last.

Source: glibc ``sysdeps/x86/dl-prop.h``, ``dl_isa_level_check``; ``elf/dl-reloc.c``,
``_dl_try_allocate_static_tls``; ``elf/dl-tls.c``, ``_dl_determine_tlsoffset``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from libferry.binary.elf.layout import PT_TLS
from libferry.errors import BadBinary
from libferry.loader.glibc import rules
from libferry.loader.glibc.facts import Facts
from libferry.loader.glibc.mapping import Loaded
from libferry.loader.model import Problem
from libferry.target.model import Target


def isa_levels(new: Sequence[Loaded], target: Target) -> Iterator[Problem]:
    """Libraries for a better CPU than the target has."""
    if target.cpu not in ("x86_64", "i386") or not rules.ISA_LEVEL.holds(target.version):
        return
    for one in new:
        if not one.facts.isa_needed:
            continue
        needed = set(one.facts.isa_needed) - {rules.X86_BASELINE}
        if needed - target.isa:
            sure = target.isa and not target.facts.get("isa_at_least")
            message = f"{one.path}: CPU ISA level is lower than required"
            yield Problem(
                "isa-too-new",
                one.path,
                max(needed),
                message,
                "load" if sure else "maybe",
                rules.ISA_LEVEL.source,
            )


def static_tls(
    new: Sequence[Loaded], before: Sequence[Loaded], target: Target
) -> Iterator[Problem]:
    """Libraries loaded later that do not fit into what is left of the static block.

    Args:
        new: what is loaded now, in the order in which it is relocated.
        before: what the process started with.
        target: whose loader.
    """
    most = rules.THREAD_ALIGNMENT
    used = 0
    for one in before:
        block = one.facts.of_type(PT_TLS)
        if block is not None:
            most = max(most, block.alignment)
            used = _aligned(used + block.size, max(block.alignment, 1))
    left = _aligned(used + rules.STATIC_TLS_SURPLUS, most) - used
    for one in new:
        block = one.facts.of_type(PT_TLS)
        if block is None or not block.size or not _is_static(one.facts):
            continue
        alignment = max(block.alignment, 1)
        size = block.size + block.address % alignment
        if alignment <= most and size <= left:
            left = (left - size) // alignment * alignment
            continue
        message = f"{one.path}: cannot allocate memory in static TLS block"
        yield Problem("static-tls-exhausted", one.path, one.path, message, "load", rules.STATIC_TLS)


def _is_static(facts: Facts) -> bool:
    try:
        return facts.view is not None and facts.view.uses_static_tls
    except BadBinary:
        return False


def _aligned(number: int, alignment: int) -> int:
    return -(-number // alignment) * alignment
