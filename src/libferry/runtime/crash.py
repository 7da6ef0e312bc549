"""The words for a worker's end: what ended it, where, and what was called.

What is known comes from two sides. The system says how the process ended, and is to be
believed. The worker's fault record (``libferry.runtime.fault``) says where and why, and is
only used where it agrees with that; it is what a hostile library would forge.
"""

from __future__ import annotations

import reprlib
import signal
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from libferry import _core, unwind
from libferry.abi import ABIS
from libferry.errors import LibraryCrashed
from libferry.guard.sealed import Sealed
from libferry.runtime import fault as faults
from libferry.runtime.fault import Fault
from libferry.runtime.showing import kind
from libferry.unwind.cpus import CPUS

# What si_code says of a signal that the kernel sent; include/uapi/asm-generic/siginfo.h
_MEANINGS: dict[tuple[int, int], str] = {
    (signal.SIGSEGV, 1): "not mapped",
    (signal.SIGSEGV, 2): "no permission",
    (signal.SIGSEGV, 3): "beyond a bound",
    (signal.SIGSEGV, 4): "no permission by its protection key",
    (signal.SIGSEGV, 0x80): "an address that no program can have, or a forbidden instruction",
    (signal.SIGBUS, 1): "not aligned",
    (signal.SIGBUS, 2): "beyond the end of a mapped file",
    (signal.SIGBUS, 3): "an error of the hardware",
    (signal.SIGBUS, 4): "damaged memory",
    (signal.SIGFPE, 1): "an integer divided by zero",
    (signal.SIGFPE, 2): "an integer overflow",
    (signal.SIGFPE, 3): "divided by zero",
    (signal.SIGFPE, 4): "an overflow",
    (signal.SIGFPE, 5): "an underflow",
    (signal.SIGFPE, 6): "an inexact result",
    (signal.SIGFPE, 7): "an invalid operation",
    (signal.SIGILL, 1): "an unknown instruction",
    (signal.SIGILL, 2): "an unknown operand",
    (signal.SIGILL, 3): "an unknown addressing mode",
    (signal.SIGILL, 4): "an unknown trap",
    (signal.SIGILL, 5): "a privileged instruction",
    (signal.SIGTRAP, 1): "a breakpoint",
    (signal.SIGTRAP, 0x80): "a breakpoint",
    (signal.SIGSYS, 1): "a system call that its sandbox forbids",
}
_BY_PROCESS = 0  # SI_USER
_BY_THREAD = -6  # SI_TKILL, which raise() and abort() use

# NTSTATUS values of the exceptions a library is likely to end with; [MS-ERREF] 2.3.1
_EXCEPTIONS = {
    0x80000002: "EXCEPTION_DATATYPE_MISALIGNMENT",
    0x80000003: "EXCEPTION_BREAKPOINT",
    0xC0000005: "EXCEPTION_ACCESS_VIOLATION",
    0xC0000006: "EXCEPTION_IN_PAGE_ERROR",
    0xC000001D: "EXCEPTION_ILLEGAL_INSTRUCTION",
    0xC000008E: "EXCEPTION_FLT_DIVIDE_BY_ZERO",
    0xC0000094: "EXCEPTION_INT_DIVIDE_BY_ZERO",
    0xC0000095: "EXCEPTION_INT_OVERFLOW",
    0xC0000096: "EXCEPTION_PRIV_INSTRUCTION",
    0xC00000FD: "EXCEPTION_STACK_OVERFLOW",
    0xC0000374: "STATUS_HEAP_CORRUPTION",
    0xC0000409: "STATUS_STACK_BUFFER_OVERRUN",
    0xE06D7363: "an uncaught C++ exception",
}
# Of the first two, the first parameter says what was tried; EXCEPTION_RECORD, Microsoft
_ACCESSES = {0: "read", 1: "written", 8: "executed"}

# The worker's own reasons to end: CHANNEL_FAULT_... of native/channel.h
_REASONS = {
    0x1001: "C called a callback after it was released",
    0x1002: "calls and callbacks came out of order",
    0x1003: "the system gave no thread for one more call at once",
}
_FAULT_EXIT = 250  # CHANNEL_FAULT_EXIT

_NEAR_STACK = 64 * 1024  # bytes between the stack pointer and what an overflow touches

_CHECK = "if every call does this, check the declaration against the library's header"
# What the eight bits that Linux sees of a Windows exit code may be of: "abort" in
# Microsoft's C runtime reference; [MS-ERREF] 2.3.1 STATUS_STACK_BUFFER_OVERRUN, which is
# what __fastfail ends with whatever its reason, and STATUS_HEAP_CORRUPTION.
_WINDOWS_EXITS = {
    3: "abort() of a Windows C runtime ends so, with its reason on standard error",
    0x09: "a check for damage in the library ends so (__fastfail, 0xc0000409)",
    0x74: "a heap that is found damaged ends so (0xc0000374)",
}
_KILLED = (
    "somebody, or the system for lack of memory, has sent it that signal; a library that "
    "closes descriptors it did not open is ended so, too"
)
_UNRECORDED = (
    "it could write nothing down: a thread that the library itself made has used up its stack, "
    "or the library has a handler of its own for the signal"
)


@dataclass
class _Life:
    """What is known of a worker from its beginning."""

    abi: str
    out_of_memory: int | None
    sealed: weakref.ref[Sealed] | None
    fault: Fault | None = None


_lives: weakref.WeakKeyDictionary[_core.Session, _Life] = weakref.WeakKeyDictionary()


def begin(session: _core.Session, abi: str, sealed: Sealed | None = None) -> None:
    """Note what can only be known now of a worker that starts.

    Args:
        session: the worker's.
        abi: the worker's.
        sealed: the copy of its library that it opens.
    """
    _lives[session] = _Life(abi, _kills_for_memory(), weakref.ref(sealed) if sealed else None)


def _kills_for_memory() -> int | None:
    """How many processes the kernel has killed for lack of memory; None: it does not say."""
    try:
        text = Path("/proc/vmstat").read_bytes()
    except OSError:
        return None
    _, found, rest = text.partition(b"\noom_kill ")  # since Linux 4.13
    return int(rest.split(b"\n", 1)[0]) if found else None


def crash(session: _core.Session, tried: str) -> LibraryCrashed:
    """Describe how the worker of ``session`` ended."""
    death = session.death()
    if not death:
        happened = "its worker was ended, and the system has not let go of it yet"
        return LibraryCrashed(tried, happened, hint=again(session))
    unharmed = f"this process is unharmed; {again(session)}"
    number, left = death["signal"] or None, death["exit_code"]
    life = _lives.get(session)
    fault = fault_of(session)
    if fault is not None:
        number = fault.code if fault.kind == "signal" else None
        happened, hint = _recorded(fault), f"{unharmed}; {_CHECK}"
    elif number:
        happened, hint = _unrecorded(number, life, unharmed)
    else:
        # before it serves, it is no library's doing
        how = "the library ended its process: exit({})" if session.base else "exit code {}"
        happened = how.format(left)
        windows = life is not None and "windows" in life.abi
        known = _WINDOWS_EXITS.get(left) if windows else None
        hint = f"{known}; {unharmed}" if known else f"{unharmed}; {_CHECK}"
    error = LibraryCrashed(
        tried,
        happened,
        hint=hint,
        signal=number,
        code=fault.code if fault is not None and number is None else left or None,
        address=fault.address if fault is not None else None,
        program_counter=(fault.program_counter or None) if fault is not None else None,
    )
    if fault is not None and fault.kind != "reason":
        _attach(error, fault)
    return error


def again(session: _core.Session) -> str:
    """What brings a fresh worker."""
    home = getattr(session.services_of, "home", None)
    if home is None or not home.library._ferry_life.again:
        return "load the library again for a fresh worker"
    return "the next call starts a fresh worker, and what was made in the old one is refused there"


def fault_of(session: _core.Session) -> Fault | None:
    """The record of the end of a session's worker, if it left one of that end."""
    life, death = _lives.get(session), session.death()
    if life is None or not death:
        return None
    if life.fault is None and (record := session.fault()) is not None:
        sealed = life.sealed() if life.sealed else None
        life.fault = faults.read(life.abi, *record).with_copy(sealed)
    agrees = life.fault and _agrees(life.fault, death["signal"] or None, death["exit_code"])
    return life.fault if agrees else None


def _agrees(fault: Fault, number: int | None, left: int) -> bool:
    """Whether the record is of the end that the system has seen.

    A signal from outside leaves an older record or none, and of what a Windows program
    ends with, Linux sees eight bits.
    """
    if fault.kind == "signal":
        return number == fault.code or (number is None and left == _FAULT_EXIT)
    if number is not None:
        return False
    return left == {"exception": fault.code & 0xFF, "reason": _FAULT_EXIT}.get(fault.kind)


def _recorded(fault: Fault) -> str:
    if fault.kind == "reason":
        return f"its worker was ended: {_REASONS.get(fault.code, 'it does not say why')}"
    if fault.kind == "exception":
        name = _EXCEPTIONS.get(fault.code, f"exception {fault.code:#010x}")
        meaning = _ACCESSES.get(fault.parameters[0]) if fault.address is not None else None
    else:
        name = _signal_name(fault.code)
        meaning = _meaning(fault)
    happened = f"its worker was ended by {name}" + (f" ({meaning})" if meaning else "")
    return happened + (f" at address {fault.address:#x}" if fault.address is not None else "")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _meaning(fault: Fault) -> str | None:
    if fault.detail == _BY_PROCESS:
        return f"sent by process {fault.parameters[0]}"
    if fault.detail == _BY_THREAD:
        return "raised by itself"
    if _stack_overflowed(fault):
        return "stack overflow"
    return _MEANINGS.get((fault.code, fault.detail))


def _stack_overflowed(fault: Fault) -> bool:
    """Whether what was accessed lies where the stack would have gone on."""
    address = fault.address
    if fault.code != signal.SIGSEGV or address is None:
        return False
    near = abs(address - fault.stack_pointer) < _NEAR_STACK
    return near and not any(
        module.start <= address < module.end and module.accessible for module in fault.modules
    )


def _unrecorded(number: int, life: _Life | None, unharmed: str) -> tuple[str, str]:
    """What happened, and a hint, if only the system tells."""
    name = _signal_name(number)
    if number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT):
        return f"its worker was ended by {name}", f"{_UNRECORDED}; {unharmed}"
    happened = f"its worker was killed from outside: {name}"
    before = life.out_of_memory if life is not None else None
    now = _kills_for_memory()
    if number == signal.SIGKILL and before is not None and now is not None and now > before:
        happened += ", as the system was out of memory"
        return happened, f"give it more memory, or less to do; {unharmed}"
    return happened, f"{_KILLED}; {unharmed}"


# ---- where ----


def _attach(error: LibraryCrashed, fault: Fault) -> None:
    error.registers = _named(fault)
    error.explain_by(lambda: unwind.backtrace(fault))
    error.thread, error.lane = fault.thread, fault.lane


def _named(fault: Fault) -> dict[str, int]:
    cpu = CPUS[ABIS[fault.abi].cpu]
    named = {cpu.names[number]: value for number, value in fault.registers.items()}
    counter = "pc" if cpu.pc is None else cpu.names[cpu.pc]
    return named | {counter: fault.program_counter}


# ---- what was called ----

_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = _brief.maxlong = 80
_BYTES = 24


def called(error: BaseException, function: _core.Function, arguments: tuple[object, ...]) -> None:
    """Tell a crash which call it ended; a hook of the C core."""
    if isinstance(error, LibraryCrashed) and error.function is None and not function.service:
        error.function = function.__name__
        error.arguments = tuple(map(_argument, arguments))


@contextmanager
def in_rows(name: str, count: int) -> Iterator[None]:
    """What crashes in here is one of many calls; nobody knows which row it was."""
    try:
        yield
    except LibraryCrashed as error:
        error.tried = f"call {name} for {count:,} rows"
        error.function = name
        raise


def _argument(value: object) -> str:
    """A value as Python writes it, short: the whole of it may be gigabytes, or fail."""
    try:
        if isinstance(value, bytes | bytearray) and len(value) > _BYTES:
            return f"{value[:_BYTES]!r}... ({len(value):,} bytes)"
        return _brief.repr(value)
    except Exception:  # whatever somebody's __repr__ raises
        return kind(value)
