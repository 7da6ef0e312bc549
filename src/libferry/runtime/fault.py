"""What a worker left behind when it died, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Module:
    """One mapping of a file into the worker's memory.

    Attributes:
        start: its first address.
        end: the address behind its last.
        offset: where in the file it begins; 0 for a Windows module, mapped as a whole.
        path: the file, as the worker's system names it; may be empty or ``[stack]``.
        executable: whether the system lets it be executed.
    """

    start: int
    end: int
    offset: int
    path: str
    executable: bool


@dataclass(frozen=True)
class Fault:
    """The state of the thread that died.

    Attributes:
        abi: the worker's ABI, a key of ``libferry.abi.ABIS``.
        code: the signal's number, or the Windows exception's code.
        address: the address whose access faulted, or None.
        program_counter: where the fault happened.
        registers: the CPU's registers by their DWARF numbers.
        stack_base: the address of the first byte of ``stack``.
        stack: memory from the stack pointer upwards.
        modules: what is mapped where.
        frames: the callers that the worker found itself, on Windows.
    """

    abi: str
    code: int
    address: int | None
    program_counter: int
    registers: Mapping[int, int]
    stack_base: int
    stack: bytes
    modules: tuple[Module, ...]
    frames: tuple[int, ...] = ()
