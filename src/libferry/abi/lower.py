"""The planner: one C signature and one ABI's facts give a call plan.

There is one way through it for all ABIs. A difference between two of them is a
fact in ``libferry.abi.facts``, never a branch on a name here.
"""

from __future__ import annotations

from dataclasses import dataclass

from libferry.abi import frame
from libferry.abi.facts import Abi
from libferry.abi.types import Boolean, CType, Integer, Opaque, Pointer, Real, Void

STACK_ALIGNMENT = 16


class NoPlan(Exception):
    """This signature cannot be lowered; the message says why. Internal to the package."""


@dataclass(frozen=True, slots=True)
class Move:
    """Bytes between a value and the frame: ``width`` bytes at ``offset``.

    An argument narrower than ``width`` is extended as its C type says.
    """

    offset: int
    width: int


@dataclass(frozen=True, slots=True)
class CallPlan:
    """Where everything of one call lies in the frame.

    Attributes:
        abi: the ABI's name.
        arguments: one move per argument, in order.
        result: where the result is, or None for void.
        x87: whether the result lies there as an 80-bit x87 number.
        vector_count: vector registers in use, or an upper bound.
        argument_bytes: what the arguments take on the stack; a stdcall name says it.
        stack_bytes: length of the stack image, a multiple of 16.
    """

    abi: str
    arguments: tuple[Move, ...]
    result: Move | None
    x87: bool
    vector_count: int
    argument_bytes: int
    stack_bytes: int


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
        if isinstance(argument, Void | Opaque):
            raise NoPlan(f"argument {position + 1} is a {argument.name} by value")
        real = isinstance(argument, Real)
        registers = abi.vector_registers if real else abi.integer_registers
        taken = position if abi.positional else vectors if real else integers
        if taken < len(registers):
            if real:
                moves.append(Move(frame.VECTOR + taken * frame.VECTOR_CELL, argument.size))
                vectors = taken + 1
            else:
                moves.append(Move(frame.INTEGER + taken * frame.INTEGER_CELL, frame.INTEGER_CELL))
                integers = taken + 1
            continue
        width = _up(argument.size, abi.stack_slot)
        moves.append(Move(abi.stack_image + stack, width))
        stack += width
    image = _up(stack, STACK_ALIGNMENT)
    room = frame.SIZE - abi.stack_image
    if image > room:
        raise NoPlan(f"its arguments take {image} bytes of stack; a frame has room for {room}")
    place, x87 = _result(abi, result)
    return CallPlan(abi.name, tuple(moves), place, x87, vectors, stack, image)


def _result(abi: Abi, result: CType) -> tuple[Move | None, bool]:
    match result:
        case Void():
            return None, False
        case Opaque():
            raise NoPlan(f"it returns a {result.name} by value")
        case Real() if abi.float_result == "x87":
            return Move(frame.RESULT_X87, 10), True
        case Real():
            return Move(frame.RESULT_VECTOR, result.size), False
        case Integer() | Boolean() | Pointer():
            return Move(frame.RESULT_INTEGER, result.size), False
