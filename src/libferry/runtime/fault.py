"""What a worker left behind when it died, as plain values.

The worker may be hostile, and what it says of its death is the last it can lie about. The
bytes are copied from the channel once; every count in them is cut to what there is, every
text is matched by a pattern that takes one pass, and what matches nothing is left out. So
any bytes whatever make a ``Fault``.
"""

from __future__ import annotations

import re
import signal
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from libferry.abi import ABIS
from libferry.guard.sealed import Sealed

# native/channel.h: struct ferry_fault, then struct ferry_fault_area up to its stack
_FAULT = struct.Struct("<IIQQIIII8Q")
_AREA = struct.Struct("<IIQII64Q64Q")
_REGISTERS = 64
HEAD = _FAULT.size + _AREA.size
"""Bytes of the two."""

_NO_LANE = 2**32 - 1
_PROCESS_SENT = 2**31  # si_code is an int, and not above 0 if a process sent the signal
_FROM_KERNEL = 0x80  # SI_KERNEL; asm-generic/siginfo.h. It comes without an address.

Kind = Literal["signal", "exception", "reason", "unknown"]
_KINDS: dict[int, Kind] = {1: "signal", 2: "exception", 3: "reason"}

# Whose siginfo_t has the address that was accessed (sigaction(2)), and whose exception
# record: EXCEPTION_ACCESS_VIOLATION, EXCEPTION_IN_PAGE_ERROR (EXCEPTION_RECORD, Microsoft)
_WITH_ADDRESS = {
    ("signal", int(signal.SIGSEGV)),
    ("signal", int(signal.SIGBUS)),
    ("exception", 0xC0000005),
    ("exception", 0xC0000006),
}

# How many registers the DWARF numbering of each CPU begins with; the pc follows, or is the
# last of them. native/worker/linux.c has the sources.
_NUMBERED = {"x86_64": 17, "i386": 9, "aarch64": 32, "arm": 16, "riscv64": 32, "loongarch64": 32}

# The DWARF numbers of the registers that a system call's arguments are in, by the CPU and
# the kernel's table: syscall(2), "Architecture calling conventions"; uapi/linux/audit.h.
_SYSTEM_CALLS = {
    ("x86_64", 0xC000003E): (5, 4, 1, 10, 8, 9),  # rdi rsi rdx r10 r8 r9
    ("x86_64", 0x40000003): (3, 2, 1, 4, 5, 6),  # int 0x80: rbx rcx rdx rsi rdi rbp
    ("i386", 0x40000003): (3, 1, 2, 6, 7, 5),  # ebx ecx edx esi edi ebp
    ("aarch64", 0xC00000B7): (0, 1, 2, 3, 4, 5),
    ("arm", 0x40000028): (0, 1, 2, 3, 4, 5),
    ("riscv64", 0xC00000F3): (10, 11, 12, 13, 14, 15),
    ("loongarch64", 0xC0000102): (4, 5, 6, 7, 8, 9),
}

# proc(5), /proc/pid/maps: start-end rwxp offset device inode path
_MAPPED = re.compile(
    r"^([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([r-])([w-])([x-])[ps] ([0-9a-f]{1,16}) \S+ \d+ *(.*)\n",
    re.MULTILINE | re.ASCII,
)
_MODULE = re.compile(r"^([0-9a-f]{1,16})-([0-9a-f]{1,16}) (.+)\n", re.MULTILINE | re.ASCII)


class Module(NamedTuple):
    """One mapping of a file into the worker's memory.

    Attributes:
        start: its first address.
        end: the address behind its last.
        offset: where in the file it begins; 0 for a Windows module, mapped as a whole.
        path: the file, as the worker's system names it; may be empty or ``[stack]``.
        executable: whether the system lets it be executed.
        accessible: whether it may be read or written.
    """

    start: int
    end: int
    offset: int
    path: str
    executable: bool
    accessible: bool = True


@dataclass(frozen=True)
class SystemCall:
    """A system call that was refused.

    Attributes:
        number: which, ...
        architecture: ... of this table, by the kernel's ``AUDIT_ARCH_`` numbers.
        arguments: all six, as they were in registers; empty for an unknown architecture.
    """

    number: int
    architecture: int
    arguments: tuple[int, ...]


@dataclass(frozen=True)
class Fault:
    """The state of the thread that died.

    Attributes:
        abi: the worker's ABI, a key of ``libferry.abi.ABIS``.
        code: the signal's number, the Windows exception's code, or a reason.
        address: the address whose access faulted, or None.
        program_counter: where the fault happened.
        registers: the CPU's registers by their DWARF numbers.
        stack_base: the address of the first byte of ``stack``.
        stack: memory from the stack pointer upwards.
        modules: what is mapped where.
        frames: the return addresses that the worker found itself, on Windows.
        kind: what ``code`` is.
        detail: of a signal its ``si_code``.
        lane: whose call was on that thread; None if it was the library's own.
        thread: the system's number of the thread.
        parameters: of SIGSYS the system call's number and architecture, of a signal that
            was sent the process and the user, of an exception its own.
        copies: by a module's path, the copy that was mapped: the file may be another by now.
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
    kind: Kind = "signal"
    detail: int = 0
    lane: int | None = None
    thread: int = 0
    parameters: tuple[int, ...] = ()
    copies: Mapping[str, Sealed] = field(default_factory=dict)

    def with_copy(self, sealed: Sealed | None) -> Fault:
        """The same, where the library was mapped from a sealed copy of its file."""
        if sealed is None:
            return self
        path = str(sealed.path.absolute())
        modules = tuple(
            module._replace(path=path) if module.path == sealed.mapped_as else module
            for module in self.modules
        )
        return replace(self, modules=modules, copies={path: sealed})

    @property
    def stack_pointer(self) -> int:
        """The stack pointer; 0 if it is not known."""
        return self.registers.get(_STACK_POINTERS[ABIS[self.abi].cpu], 0)

    @property
    def system_call(self) -> SystemCall | None:
        """What SIGSYS was about; None for all else."""
        if self.kind != "signal" or self.code != signal.SIGSYS or len(self.parameters) < 2:
            return None
        number, architecture = self.parameters[:2]
        places = _SYSTEM_CALLS.get((ABIS[self.abi].cpu, architecture), ())
        return SystemCall(number, architecture, tuple(self.registers.get(n, 0) for n in places))


_STACK_POINTERS = {
    "x86_64": 7, "i386": 4, "aarch64": 31, "arm": 13, "riscv64": 2, "loongarch64": 3,
}  # fmt: skip


def read(abi: str, head: bytes, stack: bytes, maps: bytes) -> Fault:
    """Read what ``Session.fault`` has copied, whatever it is.

    Args:
        abi: the ABI of the worker.
        head: ``HEAD`` bytes.
        stack: what was on the stack.
        maps: the text of what was mapped.
    """
    _, code, address, pc, kind, detail, lane, thread, *parameters = _FAULT.unpack_from(head)
    count, _, stack_base, _, found, *numbers = _AREA.unpack_from(head, _FAULT.size)
    detail -= 2**32 if detail >= _PROCESS_SENT else 0
    what = _KINDS.get(kind, "unknown")
    text = maps.decode("utf-8", "surrogateescape")
    known = (what, code) in _WITH_ADDRESS and (
        what == "exception" or (detail > 0 and detail != _FROM_KERNEL)
    )
    return Fault(
        abi=abi,
        code=code,
        address=address if known else None,
        program_counter=pc,
        registers=dict(enumerate(numbers[: min(count, _NUMBERED[ABIS[abi].cpu])])),
        stack_base=stack_base,
        stack=stack,
        modules=_windows_modules(text) if "windows" in ABIS[abi].os else _mapped(text),
        frames=tuple(numbers[_REGISTERS:][:found]),
        kind=what,
        detail=detail,
        lane=None if lane == _NO_LANE else lane,
        thread=thread,
        parameters=tuple(parameters),
    )


def _mapped(maps: str) -> tuple[Module, ...]:
    return tuple(
        Module(int(start, 16), int(end, 16), int(at, 16), path, run == "x", read + write != "--")
        for start, end, read, write, run, at, path in _MAPPED.findall(maps)
    )


def _windows_modules(maps: str) -> tuple[Module, ...]:
    return tuple(
        Module(int(start, 16), int(end, 16), 0, path, executable=True)
        for start, end, path in _MODULE.findall(maps)
    )
