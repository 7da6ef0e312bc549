"""Call frame information: for every instruction, where the caller's registers are.

A compiler knows at each instruction where it has put the return address and the registers
that it must give back. It writes that down as a table with a row for each instruction and
a column for each register, compressed into a program: "for the next 4 bytes of code the
frame is 16 bytes further; r6 is saved 16 below it". A *CIE* begins such programs, an *FDE*
continues it for one function, and to find a row one runs both until the address is passed.

Every row is told relative to the *CFA*, the canonical frame address: the stack pointer's
value in the caller before the call.

Specification: DWARF 5, 6.4 "Call Frame Information" and 7.24 for the codes; LSB Core 5.0,
10.6.1 for ``.eh_frame``; DWARF for the Arm 64-bit Architecture, 4.2 for its codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from libferry.unwind.cpus import Cpu
from libferry.unwind.cursor import Bases, Cursor
from libferry.unwind.expressions import Load, evaluate
from libferry.unwind.limits import Budget, NotUnwindable

REMEMBERED_AT_MOST = 64
REGISTERS_AT_MOST = 256
EM_AARCH64 = 183

# DWARF 5, 7.24, table 7.29; the last four are GNU's and Arm's
_ADVANCE_LOC, _OFFSET, _RESTORE = 0x40, 0x80, 0xC0
_NOP, _SET_LOC, _ADVANCE_1, _ADVANCE_2, _ADVANCE_4 = 0x00, 0x01, 0x02, 0x03, 0x04
_OFFSET_EXTENDED, _RESTORE_EXTENDED, _UNDEFINED, _SAME_VALUE = 0x05, 0x06, 0x07, 0x08
_REGISTER, _REMEMBER, _RESTORE_STATE = 0x09, 0x0A, 0x0B
_DEF_CFA, _DEF_CFA_REGISTER, _DEF_CFA_OFFSET, _DEF_CFA_EXPRESSION = 0x0C, 0x0D, 0x0E, 0x0F
_EXPRESSION, _OFFSET_EXTENDED_SF, _DEF_CFA_SF, _DEF_CFA_OFFSET_SF = 0x10, 0x11, 0x12, 0x13
_VAL_OFFSET, _VAL_OFFSET_SF, _VAL_EXPRESSION = 0x14, 0x15, 0x16
_NEGATE_RA_STATE_WITH_PC, _NEGATE_RA_STATE = 0x2C, 0x2D
_ARGS_SIZE, _NEGATIVE_OFFSET = 0x2E, 0x2F

_ADVANCES = {_ADVANCE_1: 1, _ADVANCE_2: 2, _ADVANCE_4: 4}


class Program(NamedTuple):
    """Instructions, and the address they lie at."""

    code: bytes
    address: int


@dataclass(frozen=True)
class Common:
    """A CIE: what the FDEs of a file have in common."""

    code_factor: int
    data_factor: int
    return_column: int
    encoding: int
    augmented: bool
    signal: bool
    program: Program


@dataclass(frozen=True)
class Entry:
    """An FDE: the program of one function."""

    common: Common
    start: int
    size: int
    program: Program


class Saved(NamedTuple):
    """Where a register of the caller's is."""

    how: Literal["undefined", "same", "at", "value", "register", "expression", "value of"]
    number: int = 0
    code: bytes = b""


@dataclass
class Row:
    """The row of one instruction. The CFA is a register and a number, or an expression."""

    cfa_register: int | None = None
    cfa_offset: int = 0
    cfa_code: bytes | None = None
    saved: dict[int, Saved] = field(default_factory=dict)

    def copy(self) -> Row:
        """A row to go on from."""
        return Row(self.cfa_register, self.cfa_offset, self.cfa_code, dict(self.saved))


class _Run:
    """Runs instructions until they pass an address."""

    def __init__(self, entry: Entry, address: int, cpu: Cpu, budget: Budget) -> None:
        self.common = entry.common
        self.address = address
        self.cpu = cpu
        self.budget = budget
        self.at = entry.start
        self.row = Row()
        self.initial: Mapping[int, Saved] = {}
        self.remembered: list[Row] = []

    def run(self, program: Program) -> None:
        cursor = Cursor(program.code, self.cpu.word, program.address)
        while cursor.at < cursor.end and self.at <= self.address:
            self.budget.spend()
            self._step(cursor)

    def _step(self, cursor: Cursor) -> None:
        code = cursor.byte()
        low = code & 0x3F
        high = code & 0xC0
        if high == _ADVANCE_LOC:
            self.at += low * self.common.code_factor
        elif high == _OFFSET:
            self._save(low, Saved("at", cursor.uleb() * self.common.data_factor))
        elif high == _RESTORE:
            self._restore(low)
        elif code in _ADVANCES:
            self.at += cursor.unsigned(_ADVANCES[code]) * self.common.code_factor
        elif code == _SET_LOC:
            self.at = cursor.pointer(self.common.encoding, Bases())
        elif not (self._cfa(code, cursor) or self._register(code, cursor)):
            self._state(code, cursor)

    def _cfa(self, code: int, cursor: Cursor) -> bool:
        row, factor = self.row, self.common.data_factor
        if code in (_DEF_CFA, _DEF_CFA_SF):
            row.cfa_register, row.cfa_code = cursor.uleb(), None
            row.cfa_offset = cursor.uleb() if code == _DEF_CFA else cursor.sleb() * factor
        elif code == _DEF_CFA_REGISTER:
            row.cfa_register, row.cfa_code = cursor.uleb(), None
        elif code == _DEF_CFA_OFFSET:
            row.cfa_offset = cursor.uleb()
        elif code == _DEF_CFA_OFFSET_SF:
            row.cfa_offset = cursor.sleb() * factor
        elif code == _DEF_CFA_EXPRESSION:
            row.cfa_code = cursor.raw(cursor.uleb())
        else:
            return False
        return True

    def _register(self, code: int, cursor: Cursor) -> bool:
        factor = self.common.data_factor
        if code not in _ONE_REGISTER:
            return False
        number = cursor.uleb()
        if code == _RESTORE_EXTENDED:
            self._restore(number)
        elif code == _OFFSET_EXTENDED:
            self._save(number, Saved("at", cursor.uleb() * factor))
        elif code == _OFFSET_EXTENDED_SF:
            self._save(number, Saved("at", cursor.sleb() * factor))
        elif code == _NEGATIVE_OFFSET:
            self._save(number, Saved("at", -cursor.uleb() * factor))
        elif code == _VAL_OFFSET:
            self._save(number, Saved("value", cursor.uleb() * factor))
        elif code == _VAL_OFFSET_SF:
            self._save(number, Saved("value", cursor.sleb() * factor))
        elif code == _REGISTER:
            self._save(number, Saved("register", cursor.uleb()))
        elif code == _EXPRESSION:
            self._save(number, Saved("expression", code=cursor.raw(cursor.uleb())))
        elif code == _VAL_EXPRESSION:
            self._save(number, Saved("value of", code=cursor.raw(cursor.uleb())))
        else:
            self._save(number, Saved("undefined" if code == _UNDEFINED else "same"))
        return True

    def _state(self, code: int, cursor: Cursor) -> None:
        if code == _REMEMBER:
            if len(self.remembered) >= REMEMBERED_AT_MOST:
                raise NotUnwindable("too many rows are remembered")
            self.remembered.append(self.row.copy())
        elif code == _RESTORE_STATE:
            if not self.remembered:
                raise NotUnwindable("no row was remembered")
            self.row = self.remembered.pop()
        elif code == _ARGS_SIZE:
            cursor.uleb()  # how much a caller has pushed; the CFA counts it already
        elif code in (_NEGATE_RA_STATE, _NEGATE_RA_STATE_WITH_PC):
            # Signed or not, the address is in the same bits; what is above is cut off.
            if self.cpu.machine != EM_AARCH64:
                raise NotUnwindable("an instruction of another CPU")
        elif code != _NOP:
            raise NotUnwindable("an unknown instruction")

    def _save(self, number: int, saved: Saved) -> None:
        if len(self.row.saved) >= REGISTERS_AT_MOST:
            raise NotUnwindable("too many registers")
        self.row.saved[number] = saved

    def _restore(self, number: int) -> None:
        if number in self.initial:
            self._save(number, self.initial[number])
        else:
            self.row.saved.pop(number, None)


_ONE_REGISTER = {
    _OFFSET_EXTENDED,
    _RESTORE_EXTENDED,
    _UNDEFINED,
    _SAME_VALUE,
    _REGISTER,
    _EXPRESSION,
    _OFFSET_EXTENDED_SF,
    _VAL_OFFSET,
    _VAL_OFFSET_SF,
    _VAL_EXPRESSION,
    _NEGATIVE_OFFSET,
}


def row_at(entry: Entry, address: int, cpu: Cpu, budget: Budget) -> Row:
    """The row of the instruction at ``address``, in the file's own counting."""
    run = _Run(entry, address, cpu, budget)
    run.run(entry.common.program)
    run.initial = dict(run.row.saved)
    run.run(entry.program)
    return run.row


def caller(
    row: Row,
    return_column: int,
    registers: Mapping[int, int],
    cpu: Cpu,
    load: Load,
    budget: Budget,
) -> tuple[dict[int, int], int | None]:
    """The caller's registers, and the return address; None if this function has no caller.

    A register whose place cannot be read is left out, unless it is the return address.
    """

    def compute(code: bytes, first: int | None = None) -> int:
        return evaluate(code, cpu.word, registers, load, budget, first)

    def value(saved: Saved) -> int:
        if saved.how == "at":
            return load(cfa + saved.number & cpu.mask, cpu.word)
        if saved.how == "value":
            return cfa + saved.number & cpu.mask
        if saved.how == "expression":
            return load(compute(saved.code, cfa), cpu.word)
        if saved.how == "value of":
            return compute(saved.code, cfa)
        if saved.number not in registers:
            raise NotUnwindable("a register is not known")
        return registers[saved.number]

    if row.cfa_code is not None:
        cfa = compute(row.cfa_code)
    elif row.cfa_register is not None and row.cfa_register in registers:
        cfa = registers[row.cfa_register] + row.cfa_offset & cpu.mask
    else:
        raise NotUnwindable("the frame is relative to a register that is not known")
    found = dict(registers)
    found[cpu.sp] = cfa
    for number, saved in row.saved.items():
        if saved.how == "same":
            continue
        if saved.how == "undefined":
            if number == return_column:
                return found, None
            found.pop(number, None)
            continue
        try:
            found[number] = value(saved)
        except NotUnwindable:
            if number == return_column:
                raise
            found.pop(number, None)
    if return_column not in found:
        raise NotUnwindable("the return address is not known")
    return found, found[return_column]
