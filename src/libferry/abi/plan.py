"""The call plan: where everything of one call lies in the frame.

A plan is a plain value. It is made once per signature and ABI (``lower``), and
carried out by code that knows no types: the packer follows it to make a call, and a
callback follows it backwards.

A value is bytes, laid out as its type is on the target. An argument is a few moves
from those bytes to the frame, usually one. What is passed by reference is moved to a
place of its own at the end of the frame, and a ``Reference`` says which cell has to
hold the address of that place; a result that the callee stores through a hidden
pointer is the same the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# How the bytes of a cell above a value are filled:
#   "type"  as C widens it: zeros, or copies of the sign of a signed integer
#   "sign"  copies of its highest bit whatever the type (RISC-V and LoongArch keep even
#           an unsigned int sign-extended in a register)
#   "ones"  all ones (RISC-V: a float in a 64-bit register is "NaN-boxed")
Extend = Literal["type", "sign", "ones"]


@dataclass(frozen=True, slots=True)
class Move:
    """``size`` bytes of a value, at ``source``, and ``width`` bytes of the frame, at ``offset``.

    For an argument the bytes above ``size`` up to ``width`` are filled as ``extend``
    says; for a result ``width`` is ``size``. A scalar (integer, ``_Bool``, ``float``,
    ``double``, pointer) of up to 8 bytes always has exactly one move, with source 0.
    """

    offset: int
    width: int
    source: int = 0
    size: int = 0
    extend: Extend = "type"

    def __post_init__(self) -> None:
        if self.size == 0:
            object.__setattr__(self, "size", self.width)


@dataclass(frozen=True, slots=True)
class Reference:
    """A cell that holds the address of something else in the frame.

    The ``width`` bytes at ``cell`` hold the address of the ``size`` bytes at ``at``, as
    the library sees it.
    """

    cell: int
    width: int
    at: int
    size: int


@dataclass(frozen=True, slots=True)
class CallPlan:
    """Where everything of one call lies in the frame.

    Attributes:
        abi: the ABI's name.
        arguments: the moves of each argument, in order; none for an empty structure.
        references: for arguments passed by reference.
        result: the moves of the result; none for void.
        result_reference: the hidden pointer, if the result comes back through one.
            ``result`` then lies where that points to.
        x87: whether a ``float`` or ``double`` result lies there as an 80-bit number
            (of which ``result`` is then the one move, 10 bytes wide). On i386 Windows it
            may be the only member of a structure.
        x87_results: how many x87 registers hold results: 0, 1 or 2. x86-64's trampoline
            has to be told, i386's asks the x87.
        vector_count: vector registers in use, or an upper bound; on i386 a result in one
            counts, too.
        argument_bytes: what the arguments take on the stack, a hidden pointer included
            and the bytes that belong to the callee as well (x86-64 Windows).
        pop_bytes: what the callee takes from the stack beside its return address.
        stack_bytes: length of the stack image, a multiple of 16.
        frame_bytes: where in the frame everything ends: arguments, result, references.
    """

    abi: str
    arguments: tuple[tuple[Move, ...], ...]
    references: tuple[Reference, ...]
    result: tuple[Move, ...]
    result_reference: Reference | None
    x87: bool
    x87_results: int
    vector_count: int
    argument_bytes: int
    pop_bytes: int
    stack_bytes: int
    frame_bytes: int
