"""The planner: one C signature and one ABI's facts give a call plan.

There is one way through it for all ABIs. A difference between two of them is a
fact in ``libferry.abi.facts``, never a branch on a name here.
"""

from __future__ import annotations

from libferry.abi import frame
from libferry.abi.facts import Abi
from libferry.abi.plan import CallPlan, Move
from libferry.abi.types import Boolean, CType, Integer, Pointer, Real, Void

STACK_ALIGNMENT = 16


class NoPlan(Exception):
    """This signature cannot be lowered; the message says why. Internal to the package."""


def _up(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment


def lower(abi: Abi, result: CType, arguments: tuple[CType, ...]) -> CallPlan:
    """Make the call plan of ``result f(arguments)`` under ``abi``.

    Raises:
        NoPlan: a type cannot be passed by value yet, or the stack image is too long.
    """
    integers = vectors = 0
    stack = abi.stack_start
    moves = []
    for position, argument in enumerate(arguments):
        if not isinstance(argument, Integer | Boolean | Pointer | Real) or argument.size > 8:
            raise NoPlan(f"argument {position + 1} is a {argument.name} by value")
        real = isinstance(argument, Real)
        registers = abi.vector_registers if real else abi.integer_registers
        taken = position if abi.positional else vectors if real else integers
        if taken < len(registers):
            if real:
                moves.append((Move(frame.VECTOR + taken * frame.VECTOR_CELL, argument.size),))
                vectors = taken + 1
            else:
                cell = frame.INTEGER + taken * frame.INTEGER_CELL
                moves.append((Move(cell, frame.INTEGER_CELL, size=argument.size),))
                integers = taken + 1
            continue
        width = _up(argument.size, abi.stack_slot)
        moves.append((Move(abi.stack_image + stack, width, size=argument.size),))
        stack += width
    image = _up(stack, STACK_ALIGNMENT)
    room = frame.SIZE - abi.stack_image
    if image > room:
        raise NoPlan(f"its arguments take {image} bytes of stack; a frame has room for {room}")
    place, x87 = _result(abi, result)
    end = max([0, *(m.offset + m.width for (m,) in moves)])
    return CallPlan(abi.name, tuple(moves), (), place, None, x87, 0, vectors, stack, 0, image, end)


def _result(abi: Abi, result: CType) -> tuple[tuple[Move, ...], bool]:
    match result:
        case Void():
            return (), False
        case Real(size=4 | 8) if abi.float_result == "x87":
            return (Move(frame.RESULT_X87, 10),), True
        case Real(size=4 | 8):
            return (Move(frame.RESULT_VECTOR, result.size),), False
        case Integer() | Boolean() | Pointer():
            return (Move(frame.RESULT_INTEGER, result.size),), False
    raise NoPlan(f"it returns a {result.name} by value")
