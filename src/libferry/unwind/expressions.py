"""DWARF expressions: a small stack machine that computes an address.

Call frame information falls back to it where "register plus number" does not do: in
procedure linkage tables, where the frame depends on how far into an entry we are, and in
signal frames, where the registers are in a record of the kernel's.

Specification: DWARF 5, 2.5 "DWARF Expressions", 7.7.1 for the codes, and 6.4.2 for what
call frame information may not use.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from libferry.unwind.cursor import Cursor
from libferry.unwind.limits import Budget, NotUnwindable

STACK_AT_MOST = 256

Load = Callable[[int, int], int]
"""Reads an unsigned integer of so many bytes (the second) from memory (the first)."""


def _shift(value: int, by: int, bits: int) -> int:
    return value << by if by < bits else 0


# DWARF 5, 7.7.1, table 7.9: operations on the two topmost entries, the topmost second,
# both unsigned, or ...
_UNSIGNED: dict[int, Callable[[int, int], int]] = {
    0x1A: operator.and_,
    0x1C: operator.sub,  # DW_OP_minus
    0x1E: operator.mul,
    0x21: operator.or_,
    0x22: operator.add,  # DW_OP_plus
    0x24: lambda a, b: _shift(a, b, 64),  # DW_OP_shl
    0x25: lambda a, b: a >> min(b, 64),  # DW_OP_shr
    0x27: operator.xor,
}
# ... both signed
_SIGNED: dict[int, Callable[[int, int], int]] = {
    0x26: lambda a, b: a >> min(b & 0xFFFF, 64),  # DW_OP_shra
    0x29: operator.eq,
    0x2A: operator.ge,
    0x2B: operator.gt,
    0x2C: operator.le,
    0x2D: operator.lt,
    0x2E: operator.ne,
}
_DIV, _MOD = 0x1B, 0x1D
# constants that follow: size, signed
_CONSTANTS = {
    0x08: (1, False),
    0x09: (1, True),
    0x0A: (2, False),
    0x0B: (2, True),
    0x0C: (4, False),
    0x0D: (4, True),
    0x0E: (8, False),
    0x0F: (8, True),
}
_ADDR, _DEREF, _CONSTU, _CONSTS = 0x03, 0x06, 0x10, 0x11
_DUP, _DROP, _OVER, _PICK, _SWAP, _ROT = 0x12, 0x13, 0x14, 0x15, 0x16, 0x17
_ABS, _NEG, _NOT, _PLUS_UCONST = 0x19, 0x1F, 0x20, 0x23
_BRA, _SKIP, _NOP, _DEREF_SIZE = 0x28, 0x2F, 0x96, 0x94
_LIT0, _REG0, _BREG0, _REGX, _BREGX = 0x30, 0x50, 0x70, 0x90, 0x92


class _Machine:
    def __init__(self, code: bytes, word: int, registers: Mapping[int, int], load: Load) -> None:
        self.cursor = Cursor(code, word)
        self.word = word
        self.mask = (1 << 8 * word) - 1
        self.registers = registers
        self.load = load
        self.stack: list[int] = []

    def pop(self) -> int:
        if not self.stack:
            raise NotUnwindable("an expression's stack is empty")
        return self.stack.pop()

    def pick(self, depth: int) -> int:
        if depth >= len(self.stack):
            raise NotUnwindable("an expression's stack is too short")
        return self.stack[-1 - depth]

    def push(self, value: int) -> None:
        if len(self.stack) >= STACK_AT_MOST:
            raise NotUnwindable("an expression's stack is full")
        self.stack.append(value & self.mask)

    def signed(self, value: int) -> int:
        return value - self.mask - 1 if value > self.mask >> 1 else value

    def register(self, number: int) -> int:
        if number not in self.registers:
            raise NotUnwindable("an expression uses a register that is not known")
        return self.registers[number]

    def jump(self, by: int) -> None:
        to = self.cursor.at + by
        if not 0 <= to <= self.cursor.end:
            raise NotUnwindable("an expression jumps out of itself")
        self.cursor.at = to

    def step(self) -> None:
        code = self.cursor.byte()
        if _LIT0 <= code < _LIT0 + 32:
            self.push(code - _LIT0)
        elif _REG0 <= code < _REG0 + 32:
            self.push(self.register(code - _REG0))
        elif _BREG0 <= code < _BREG0 + 32:
            self.push(self.register(code - _BREG0) + self.cursor.sleb())
        elif code in _CONSTANTS:
            size, signed = _CONSTANTS[code]
            self.push(self.cursor.signed(size) if signed else self.cursor.unsigned(size))
        elif code in _UNSIGNED:
            right, left = self.pop(), self.pop()
            self.push(_UNSIGNED[code](left, right))
        elif code in _SIGNED:
            right, left = self.signed(self.pop()), self.signed(self.pop())
            self.push(int(_SIGNED[code](left, right)))
        elif code in _OTHERS:
            _OTHERS[code](self)
        elif code != _NOP:
            raise NotUnwindable("an expression has an unknown operation")


def _divide(machine: _Machine) -> None:
    right, left = machine.signed(machine.pop()), machine.signed(machine.pop())
    if not right:
        raise NotUnwindable("an expression divides by zero")
    quotient = abs(left) // abs(right)
    machine.push(quotient if (left < 0) == (right < 0) else -quotient)


def _modulo(machine: _Machine) -> None:
    right, left = machine.pop(), machine.pop()
    if not right:
        raise NotUnwindable("an expression divides by zero")
    machine.push(left % right)


def _swap(machine: _Machine) -> None:
    first, second = machine.pop(), machine.pop()
    machine.push(first)
    machine.push(second)


def _rotate(machine: _Machine) -> None:
    first, second, third = machine.pop(), machine.pop(), machine.pop()
    for value in (first, third, second):
        machine.push(value)


def _dereference(machine: _Machine, size: int) -> None:
    if not 1 <= size <= machine.word:
        raise NotUnwindable("an expression reads too many bytes")
    machine.push(machine.load(machine.pop(), size))


def _branch(machine: _Machine) -> None:
    by = machine.cursor.signed(2)
    if machine.pop():
        machine.jump(by)


_OTHERS: dict[int, Callable[[_Machine], object]] = {
    _ADDR: lambda m: m.push(m.cursor.unsigned(m.word)),
    _DEREF: lambda m: _dereference(m, m.word),
    _DEREF_SIZE: lambda m: _dereference(m, m.cursor.byte()),
    _CONSTU: lambda m: m.push(m.cursor.uleb()),
    _CONSTS: lambda m: m.push(m.cursor.sleb()),
    _DUP: lambda m: m.push(m.pick(0)),
    _DROP: lambda m: m.pop(),
    _OVER: lambda m: m.push(m.pick(1)),
    _PICK: lambda m: m.push(m.pick(m.cursor.byte())),
    _SWAP: _swap,
    _ROT: _rotate,
    _ABS: lambda m: m.push(abs(m.signed(m.pop()))),
    _NEG: lambda m: m.push(-m.pop()),
    _NOT: lambda m: m.push(~m.pop()),
    _DIV: _divide,
    _MOD: _modulo,
    _PLUS_UCONST: lambda m: m.push(m.pop() + m.cursor.uleb()),
    _BRA: _branch,
    _SKIP: lambda m: m.jump(m.cursor.signed(2)),
    _REGX: lambda m: m.push(m.register(m.cursor.uleb())),
    _BREGX: lambda m: m.push(m.register(m.cursor.uleb()) + m.cursor.sleb()),
}


def evaluate(
    code: bytes,
    word: int,
    registers: Mapping[int, int],
    load: Load,
    budget: Budget,
    first: int | None = None,
) -> int:
    """The value that an expression leaves on its stack, which may begin with ``first``."""
    machine = _Machine(code, word, registers, load)
    if first is not None:
        machine.push(first)
    while machine.cursor.at < machine.cursor.end:
        budget.spend()
        machine.step()
    return machine.pop()
