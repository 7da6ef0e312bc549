"""The backtrace of a worker that has died, and how it is written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass

from libferry.abi import ABIS
from libferry.runtime.fault import Fault
from libferry.unwind.cpus import CPUS, Cpu
from libferry.unwind.limits import FRAMES_AT_MOST, STEPS, SYMBOLS, Budget
from libferry.unwind.modules import DELETED, Budgets, Modules
from libferry.unwind.walking import Walk

WORKER = "worker-"
NAME_AT_MOST = 1000  # characters; some C++ names go on for pages


@dataclass(frozen=True)
class Frame:
    """One function that was running.

    Attributes:
        address: the instruction that faulted, or where a caller would have gone on.
        module: the path of the file it is in, as the worker's system named it, or None.
        offset: the address as that file counts, which is what ``addr2line`` takes; without
            a file, the distance from where it was mapped.
        symbol: the function's name in the file's symbol table, or None.
        symbol_offset: how far behind the function's begin the address is.
    """

    address: int
    module: str | None
    offset: int
    symbol: str | None
    symbol_offset: int

    @property
    def file_name(self) -> str:
        """The last part of the module's path."""
        return file_name(self.module or "")

    def __str__(self) -> str:
        if not self.file_name:
            return f"{self.address:#x}"
        where = f"{_printable(self.file_name)}+{self.offset:#x}"
        if self.symbol is None:
            return where
        return f"{where} ({_printable(self.symbol)}+{self.symbol_offset:#x})"


def backtrace(fault: Fault, limit: int = 64, *, worker: bool = False) -> tuple[Frame, ...]:
    """The functions that were running, innermost first.

    It reads the files that were mapped, from where the worker said that they are. Whatever
    is in them and in the fault, it ends soon and raises nothing: what cannot be followed
    any further ends the backtrace.

    Args:
        fault: what the worker left behind.
        limit: how many frames at most.
        worker: whether to show libferry's worker too, which called the library. The
            backtrace ends before it otherwise, unless it begins there.
    """
    abi = ABIS.get(fault.abi)
    cpu = CPUS.get(abi.cpu) if abi else None
    if abi is None or cpu is None:
        return (Frame(fault.program_counter, None, 0, None, 0),)
    limit = max(1, min(limit, FRAMES_AT_MOST))
    with ExitStack() as opened:
        steps = Budget(STEPS)
        modules = Modules(fault, cpu, opened, Budgets(steps, Budget(SYMBOLS)))
        walk = Walk(fault, cpu, modules, steps)
        if "windows" in abi.os:
            found = _found_by_worker(fault, cpu, modules, walk)[:limit]
        else:
            found = walk.addresses(limit)
        frames = [_frame(modules, address, exact) for address, exact in found]
    return tuple(frames if worker else _without_worker(frames))


def _found_by_worker(
    fault: Fault, cpu: Cpu, modules: Modules, walk: Walk
) -> list[tuple[int, bool]]:
    """The frames that a Windows worker found itself, which may begin with the fault's.

    After a jump to where no code is, a chain of frame pointers misses who jumped.
    """
    pc = fault.program_counter & cpu.mask
    callers = [address & cpu.mask for address in fault.frames[:FRAMES_AT_MOST]]
    if callers[:1] == [pc]:
        callers = callers[1:]
    if not modules.is_code(pc):
        jumped = [address for address, _ in walk.addresses(2)[1:]]
        if jumped != callers[:1]:
            callers = jumped + callers
    return [(pc, True)] + [(address, False) for address in callers]


def _frame(modules: Modules, address: int, exact: bool) -> Frame:
    behind = 0 if exact else 1
    place = modules.find(address - behind)
    if place is None:
        return Frame(address, None, 0, None, 0)
    offset = place.offset + behind
    symbol = place.symbol()
    path = place.module.path or None
    if symbol is None or not symbol.name:
        return Frame(address, path, offset, None, 0)
    return Frame(address, path, offset, symbol.name, offset - symbol.start)


def _without_worker(frames: list[Frame]) -> Iterable[Frame]:
    seen_library = False
    for number, frame in enumerate(frames):
        if not frame.file_name.startswith(WORKER):
            seen_library = True
        elif seen_library:
            return frames[:number]
    return frames


def file_name(path: str) -> str:
    """The last part of a path of Linux or Windows."""
    return re.split(r"[/\\]", path.removesuffix(DELETED))[-1]


def _printable(name: str) -> str:
    """A name from a file, without what a terminal would take for a command."""
    shown = "".join(char if char.isprintable() else "?" for char in name[:NAME_AT_MOST])
    return shown + "..." if len(name) > NAME_AT_MOST else shown
