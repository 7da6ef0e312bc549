"""What fails when symbols are bound: ``ldso/dynlink.c``, do_relocs.

All symbols are looked up before anything runs, in one list of libraries and by name alone.
Only ``dlopen`` with RTLD_LAZY leaves those for later that are missing (since 1.1.17), as
far as they are called or reached through the offset table, and the library does not ask
for all at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from libferry.binary.elf.relocation_types import INITIAL_EXEC, TYPES
from libferry.binary.elf.symbols import Symbol
from libferry.binary.elf.view import ElfView
from libferry.loader.model import Options, Problem
from libferry.loader.musl import rules
from libferry.loader.musl.process import Dso, Process, When


def check(process: Process, dsos: Iterable[Dso], scope: list[Dso], options: Options) -> None:
    """Report what binding these libraries would.

    Args:
        process: whose problems are added to.
        dsos: in the order in which they are bound.
        scope: where symbols are searched.
        options: whether all symbols are wanted at once.
    """
    available = frozenset[str]().union(*map(process.names_of, scope))
    known = all(dso.found is None or dso.found.file or dso.found.given for dso in scope)
    whole = known and not any(problem.when == "maybe" for problem in process.problems)
    for dso in dsos:
        if (view := dso.view) is None or dso is process.itself:
            continue
        process.problems += _of_one(process, dso, view, available, scope, options, whole=whole)


def _of_one(
    process: Process,
    dso: Dso,
    view: ElfView,
    available: frozenset[str],
    scope: list[Dso],
    options: Options,
    *,
    whole: bool,
) -> Iterator[Problem]:
    target = process.target
    where = f"Error relocating {dso.name}: "
    wrong_machine = dso.binary is not None and dso.binary.cpu != target.cpu
    reported = False
    for number in _unsupported(view, target.cpu):
        message = f"{where}unsupported relocation type {number}"
        id = "wrong-machine" if wrong_machine else "unsupported-relocation"
        yield Problem(id, dso.name, dso.name, message, "load", rules.RELOCATE)
        reported = True
    if wrong_machine:
        if not reported:
            yield Problem("wrong-machine", dso.name, dso.name, "", "load", rules.MAP)
        return
    deferred = process.running and not options.now and not view.flags & {"NOW", "BIND_NOW"}
    deferred = deferred and rules.DEFERRED.holds(target.version)
    missing = [*_not_found(process, view, available)]
    if not whole:
        # what is not known may have the rest
        missing = [one for one in missing if one.of_libc]
    names = _in_order(view, {one.name for one in missing})
    late = _deferrable(view, set(names), target.cpu) if deferred and names else set()
    for name in names:
        message = f"{where}{name}: symbol not found"
        when: When = "call" if name in late else "load" if whole else "maybe"
        id = "missing-symbol-later" if when == "call" else "missing-symbol"
        yield Problem(id, dso.name, name, message, when, rules.LOOKUP)
    glibcs = [one.name for one in missing if one.of_glibc]
    if glibcs:
        message = f"{where}{glibcs[0]}: symbol not found"
        when = "call" if late.issuperset(glibcs) else "load" if whole else "maybe"
        yield Problem("glibc-on-musl", dso.name, "libc.so.6", message, when, rules.LOOKUP)
    if process.running and rules.NO_INITIAL_EXEC.holds(target.version):
        yield from _initial_exec(process, dso, view, scope)
    if view.has_relr and not rules.RELR.holds(target.version):
        yield Problem("relr-unsupported", dso.name, dso.name, "", "load", rules.RELR.source)
    page = target.page_size
    # what is mapped is whole pages of the file, whatever is in them
    if any((segment.address - segment.offset) % page for segment in view.segments):
        yield Problem("page-size", dso.name, dso.name, "", "load", rules.MAP)


def _unsupported(view: ElfView, cpu: str) -> list[int]:
    """The types of relocations that this CPU's musl does not know, in their order."""
    kinds = rules.RELOCATIONS.get(cpu)
    if kinds is None:
        return []
    numbers = {name: number for number, name in TYPES.get(view.headers.machine, {}).items()}
    found = []
    for name in view.relocation_counts:
        if name == "RELR":
            continue
        number = numbers[name] if name in numbers else int(name, 0)
        if number not in kinds[0] and number not in kinds[1]:
            found.append(number)
    return found


class Missing(NamedTuple):
    """A name that is looked up in vain.

    Attributes:
        of_libc: whether the library says that a C library has it.
        of_glibc: whether it says that glibc has it.
    """

    name: str
    of_libc: bool = False
    of_glibc: bool = False


def _not_found(process: Process, view: ElfView, available: frozenset[str]) -> Iterator[Missing]:
    lfs64 = rules.LFS64.holds(process.target.version)
    own = process.names_of(process.itself) if process.itself else frozenset()
    for reference in view.references:
        if reference.weak or reference.name in available:
            continue
        if lfs64 and rules.without_64(reference.name) in own:
            continue
        of_glibc = (reference.version or "").startswith("GLIBC_")
        yield Missing(reference.name, rules.is_reserved(reference.library or ""), of_glibc)
    # its own symbols are looked up, too, and there are some that are never found
    invisible = {
        number: symbol
        for number, symbol in enumerate(view.symbols, 1)
        if _is_invisible(symbol) and symbol.name not in available
    }
    if invisible:
        bound = {relocation.symbol for relocation in view.relocations()}
        yield from (Missing(one.name) for number, one in invisible.items() if number in bound)


def _in_order(view: ElfView, names: set[str]) -> list[str]:
    """The names in the order in which they are looked up: that of the relocations."""
    if len(names) < 2:
        return list(names)
    numbers = {number: one.name for number, one in enumerate(view.symbols, 1) if one.name in names}
    bound = (numbers[one.symbol] for one in view.relocations() if one.symbol in numbers)
    return list(dict.fromkeys(bound))


def _is_invisible(symbol: Symbol) -> bool:
    return (
        symbol.defined
        and symbol.binding != "local"
        and symbol.kind != ""
        and (
            symbol.hidden or symbol.kind == "ifunc" or (not symbol.address and symbol.kind != "tls")
        )
    )


def _deferrable(view: ElfView, names: set[str], cpu: str) -> set[str]:
    """Those of the names that only relocations are about which may wait."""
    symbols = view.symbols
    numbers = {number: one.name for number, one in enumerate(symbols, 1) if one.name in names}
    may_wait = {TYPES[view.headers.machine].get(number) for number in rules.RELOCATIONS[cpu][0]}
    at_once = {
        numbers[one.symbol]
        for one in view.relocations()
        if one.symbol in numbers and one.type not in may_wait
    }
    return names - at_once


def _initial_exec(process: Process, dso: Dso, view: ElfView, scope: list[Dso]) -> Iterator[Problem]:
    """Offsets from the thread pointer that the start of the program did not know of."""
    machine = view.headers.machine
    kinds = {TYPES[machine][number] for number in INITIAL_EXEC.get(machine, ())}
    if not kinds & view.relocation_counts.keys():
        return
    symbols = view.symbols
    for relocation in view.relocations():
        if relocation.type not in kinds:
            continue
        name = symbols[relocation.symbol - 1].name if relocation.symbol else ""
        local = not name or symbols[relocation.symbol - 1].binding == "local"
        given = dso
        if not local:
            given = next((one for one in scope if name in process.names_of(one)), dso)
        if not given.startup:
            message = (
                f"Error relocating {dso.name}: {name}: initial-exec TLS resolves to dynamic "
                f"definition in {given.name}"
            )
            source = rules.NO_INITIAL_EXEC.source
            yield Problem("static-tls-exhausted", dso.name, name, message, "load", source)
            return
