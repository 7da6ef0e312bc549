"""The planner: one C signature and one ABI's facts give a call plan.

There is one way through it for all ABIs. A difference between two of them is a
fact in ``libferry.abi.facts``, never a branch on a name here.

First each type says how it would like to travel (``libferry.abi.classify``); then the
registers are dealt out from left to right, and the rest goes to the stack; last, what
is passed by reference gets its place behind the stack image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from libferry.abi import classify, eightbytes, flattening, frame, homogeneous
from libferry.abi.classify import Piece, Way
from libferry.abi.facts import Abi, Aggregates, Rules, Situation
from libferry.abi.layout import alignment_of
from libferry.abi.plan import CallPlan, Move, Reference
from libferry.abi.types import (
    Array,
    Boolean,
    Complex,
    Convention,
    CType,
    FunctionType,
    Integer,
    Opaque,
    Pointer,
    Real,
    Record,
    Vector,
    Void,
    size_of,
)

STACK_ALIGNMENT = 16
LEAST_ALIGNMENT = 16  # of what is passed by reference
WIDEST_VECTOR = 16
X87_BYTES = 10

_CLASSIFIERS: dict[
    Aggregates,
    tuple[
        Callable[[Abi, CType, Situation], tuple[Way, ...]], Callable[[Abi, CType, Situation], Way]
    ],
] = {
    "eightbytes": (eightbytes.argument, eightbytes.result),
    "by-size": (classify.by_size_argument, classify.by_size_result),
    "stack": (classify.stack_argument, classify.stack_result),
    "homogeneous": (homogeneous.argument, homogeneous.result),
    "flattened": (flattening.argument, flattening.result),
}


class NoPlan(Exception):
    """This signature cannot be lowered; the message says why. Internal to the package."""


def lower(
    abi: Abi,
    result: CType,
    arguments: tuple[CType, ...],
    *,
    convention: Convention = "cdecl",
    variadic_from: int | None = None,
) -> CallPlan:
    """Make the call plan of ``result f(arguments)`` under ``abi``.

    Args:
        abi: the ABI's facts.
        result: what the function returns.
        arguments: what it is passed. Variadic arguments are promoted already.
        convention: how an i386 function is declared; it means nothing elsewhere.
        variadic_from: the first variadic argument's index, which is the number of
            declared parameters; None for a function without ``...``.

    Raises:
        NoPlan: a type cannot be passed by value, or a frame is too small for them.
    """
    for position, argument in enumerate(arguments):
        _check(argument, f"argument {position + 1} is", "by value")
    if not isinstance(result, Void):
        _check(result, "it returns", "by value")
    rules = abi.conventions.get(convention) if variadic_from is None else None
    if rules and rules.object_first and arguments and not _is_word(abi, arguments[0]):
        raise NoPlan(
            f"a {convention} function's first argument is its object, and this is "
            f"{_named(arguments[0])}"
        )
    call = _Call(abi, rules or Rules(abi.integer_registers))
    classify_argument, classify_result = _CLASSIFIERS[abi.aggregates]

    way = Way()
    if not isinstance(result, Void):
        soft = variadic_from is not None and abi.variadic.result_too
        way = classify_result(abi, result, "variadic" if soft else "fixed")
    hidden = way.place == "reference"
    if hidden:
        call.hidden_pointer(result)
    for position, argument in enumerate(arguments):
        situation: Situation = "fixed"
        if variadic_from is not None:
            situation = "variadic" if position >= variadic_from else "named"
        ways = classify_argument(abi, argument, situation)
        call.pass_argument(argument, ways, situation == "variadic")
    popped = call.stack if rules and rules.callee_pops else 0
    if hidden and abi.hidden_pointer_popped and not popped:
        popped = abi.word
    return call.plan(() if hidden else _result_moves(abi, result, way), way, popped)


def _is_word(abi: Abi, ctype: CType) -> bool:
    return isinstance(ctype, Integer | Boolean | Pointer) and ctype.size <= abi.word


def _is_one_word(abi: Abi, ctype: Record | Complex) -> bool:
    if not isinstance(ctype, Record) or len(ctype.fields) != 1 or ctype.unnamed:
        return False
    (only,) = ctype.fields
    return (
        only.bits is None
        and isinstance(only.type, Integer | Pointer)
        and only.type.size == abi.word
    )


def _named(ctype: CType) -> str:
    return f"{'an' if ctype.name[:1] in 'aeiou' else 'a'} {ctype.name}"


def _check(ctype: CType, subject: str, how: str) -> None:
    if isinstance(ctype, Void | Opaque | FunctionType | Array):
        raise NoPlan(f"{subject} {_named(ctype)} {how}")
    if isinstance(ctype, Vector) and ctype.size > WIDEST_VECTOR:
        raise NoPlan(
            f"{subject} {_named(ctype)} {how}, a vector of {ctype.size} bytes; "
            f"a frame carries {WIDEST_VECTOR}"
        )
    if isinstance(ctype, Record):
        for member in ctype.fields:
            inner = member.type
            while isinstance(inner, Array):
                if inner.length is None:
                    raise NoPlan(
                        f"{subject} {_named(ctype)} {how}, whose last member "
                        f"{member.name} has no fixed length"
                    )
                inner = inner.of
            if isinstance(inner, Record | Vector):
                _check(inner, f"{subject} {_named(ctype)} {how}, with", "in it")


def _up(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment


def _merged(moves: list[Move]) -> tuple[Move, ...]:
    """Make one move of those that continue each other on both sides."""
    merged: list[Move] = []
    for move in moves:
        last = merged[-1] if merged else None
        if (
            last
            and last.width == last.size
            and move.width == move.size
            and last.offset + last.width == move.offset
            and last.source + last.size == move.source
        ):
            size = last.size + move.size
            merged[-1] = Move(last.offset, size, last.source, size)
        else:
            merged.append(move)
    return tuple(merged)


def _result_moves(abi: Abi, ctype: CType, way: Way) -> tuple[Move, ...]:
    if way.lane:
        integer = way.pieces[0].bank == "integer"
        start = frame.RESULT_INTEGER if integer else abi.result_vectors
        return tuple(
            Move(start + n * way.lane, piece.size, piece.source)
            for n, piece in enumerate(way.pieces)
        )
    integers = vectors = 0
    x87 = iter((frame.RESULT_X87, frame.RESULT_X87_SECOND))
    moves = []
    for piece in way.pieces:
        if piece.bank == "x87":
            moves.append(Move(next(x87), X87_BYTES, piece.source))
            continue
        if piece.bank == "integer":
            offset = frame.RESULT_INTEGER + integers * abi.integer_cell
            integers += 1
        else:
            offset = abi.result_vectors + vectors * abi.vector_cell
            vectors += -(-piece.size // abi.vector_width)
        moves.append(Move(offset, piece.size, piece.source))
    return _merged(moves)


@dataclass
class _Pending:
    """Something that lies behind the stack image, as soon as we know how long that is."""

    argument: int | None
    cell: int
    width: int
    ctype: CType


@dataclass
class _Call:
    """What is left of the registers and how far the stack has grown, argument by argument."""

    abi: Abi
    rules: Rules
    stack: int = 0
    integers: int = 0
    limit: int = 0
    vectors: list[bool] = field(default_factory=list)
    arguments: list[tuple[Move, ...]] = field(default_factory=list)
    pending: list[_Pending] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.stack = self.abi.stack_start
        self.limit = len(self.rules.integer_registers)
        self.vectors = [False] * len(self.abi.vector_registers)

    def hidden_pointer(self, ctype: CType) -> None:
        """Pass the address of the room for a result."""
        abi = self.abi
        if abi.hidden_pointer == "register":
            self.pending.append(_Pending(None, frame.INDIRECT, abi.integer_cell, ctype))
            return
        pointer = Pointer(Void(), abi.pointer_size)
        way = classify.words(abi, pointer)
        if abi.hidden_pointer == "stack" and not self.rules.hidden_pointer_first:
            (move,) = self.on_stack(pointer, way, abi.stack_slot)
        else:
            (move,) = self.place(pointer, (way,), False)
        self.pending.append(_Pending(None, move.offset, move.width, ctype))

    def pass_argument(self, ctype: CType, ways: tuple[Way, ...], variadic: bool) -> None:
        """Find the place of the next argument, or of its address."""
        if ways[-1].place == "reference":
            pointer = Pointer(Void(), self.abi.pointer_size)
            (move,) = self.place(pointer, (classify.words(self.abi, pointer),), variadic)
            position = len(self.arguments)
            self.pending.append(_Pending(position, move.offset, move.width, ctype))
            self.arguments.append(())
        else:
            self.arguments.append(self.place(ctype, ways, variadic))

    def place(self, ctype: CType, ways: tuple[Way, ...], variadic: bool) -> tuple[Move, ...]:
        """Deal out registers, or stack."""
        abi = self.abi
        if variadic:
            limit = abi.variadic.alignment
            ways = tuple(replace(way, alignment=min(way.alignment, limit)) for way in ways)
        if not size_of(ctype) or not (ways[-1].pieces or ways[-1].place == "stack"):
            return ()
        way = ways[-1]
        if way.place == "registers" and (abi.variadic.registers or not variadic):
            even = abi.even or (variadic and abi.variadic.even)
            for candidate in ways:
                if (moves := self.in_registers(ctype, candidate, even)) is not None:
                    return moves
            if abi.spill == "split" and self.stack == 0 and way.pieces[0].bank == "integer":
                return self.divided(ctype, way, even)
            if abi.spill != "skip":
                self.close(way)
        if self.rules.records_use_up and isinstance(ctype, Record | Complex):
            self.use_up(ctype)
        slot = max(abi.stack_slot, abi.variadic.slot if variadic else 1)
        return self.on_stack(ctype, way, slot)

    def in_registers(self, ctype: CType, way: Way, even: bool) -> tuple[Move, ...] | None:
        """Take registers for all of it, or for none of it."""
        abi = self.abi
        integers, vectors = self.integers, list(self.vectors)
        if abi.positional:
            integers = len(self.arguments) + any(p.argument is None for p in self.pending)
            vectors = [n < integers for n in range(len(vectors))]
        if even and way.alignment >= 2 * abi.word and way.pieces[0].bank == "integer":
            integers = _up(integers, 2)
        moves = []
        run = sum(-(-p.size // abi.vector_width) for p in way.pieces if p.bank == "vector")
        start = self.free_run(vectors, run, way) if run else 0
        for piece in way.pieces:
            if piece.bank == "integer":
                if integers >= self.limit:
                    return None
                offset = frame.INTEGER + integers * abi.integer_cell
                integers += 1
            else:
                if start is None:
                    return None
                offset = abi.vector_cells + start * abi.vector_cell
                units = -(-piece.size // abi.vector_width)
                vectors[start : start + units] = [True] * units
                start += units
            moves.append(self.register_move(ctype, piece, offset))
        self.integers, self.vectors = integers, vectors
        return _merged(moves)

    def free_run(self, vectors: list[bool], run: int, way: Way) -> int | None:
        """Find consecutive vector registers; what takes two of them begins at an even one."""
        first = next(piece for piece in way.pieces if piece.bank == "vector")
        step = -(-first.size // self.abi.vector_width)
        for start in range(0, len(vectors) - run + 1, step):
            if not any(vectors[start : start + run]):
                return start
        return None

    def register_move(self, ctype: CType, piece: Piece, offset: int) -> Move:
        """Fill a register as the ABI wants it."""
        abi = self.abi
        if piece.bank == "vector":
            if abi.nan_boxed and piece.size < abi.vector_width:
                return Move(offset, abi.vector_width, piece.source, piece.size, "ones")
            return Move(offset, piece.size, piece.source)
        if isinstance(ctype, Integer | Boolean | Pointer | Real) and piece.size < abi.integer_cell:
            extend = abi.widen_word if piece.size == 4 else "type"
            return Move(offset, abi.integer_cell, piece.source, piece.size, extend)
        return Move(offset, piece.size, piece.source)

    def divided(self, ctype: CType, way: Way, even: bool) -> tuple[Move, ...]:
        """Put the first words in the registers that are left, and the rest on the stack."""
        abi = self.abi
        if even and way.alignment >= 2 * abi.word:
            self.integers = _up(self.integers, 2)
        left = self.limit - self.integers
        if left <= 0:
            self.close(way)
            return self.on_stack(ctype, way, abi.stack_slot)
        moves = []
        for piece in way.pieces[:left]:
            offset = frame.INTEGER + self.integers * abi.integer_cell
            moves.append(self.register_move(ctype, piece, offset))
            self.integers += 1
        start = way.pieces[left].source
        rest = size_of(ctype) - start
        moves.append(Move(abi.stack_image + self.stack, rest, start))
        self.stack += _up(rest, abi.stack_slot)
        return _merged(moves)

    def use_up(self, ctype: Record | Complex) -> None:
        """Leave as many registers unused as a structure has words (fastcall)."""
        only = classify.single_element(ctype)
        if only and classify.is_real(only):
            return
        count, left = -(-ctype.size // self.abi.word), self.limit - self.integers
        if count > left:
            self.limit = self.integers
        elif count < left and _is_one_word(self.abi, ctype):
            self.integers += count  # Clang skips the next register, ...
        else:
            self.limit -= count  # ... or the last one

    def close(self, way: Way) -> None:
        """Leave what is left of the registers of this kind unused."""
        for piece in way.pieces:
            if piece.bank == "integer":
                self.integers = self.limit
            else:
                self.vectors = [True] * len(self.vectors)

    def on_stack(self, ctype: CType, way: Way, slot: int) -> tuple[Move, ...]:
        """Take the next stack slots."""
        abi = self.abi
        slot = max(slot, way.slot)
        size = size_of(ctype)
        self.stack = _up(self.stack, min(max(way.alignment, slot), abi.stack_alignment))
        offset = abi.stack_image + self.stack
        width = _up(size, slot)
        self.stack += width
        if isinstance(ctype, Integer | Boolean | Pointer | Real) and size <= 8:
            extend = abi.widen_word if size == 4 else "type"
            return (Move(offset, width, 0, size, extend),)
        return (Move(offset, size),)

    def plan(self, result: tuple[Move, ...], way: Way, popped: int) -> CallPlan:
        """Place what is passed by reference, and sum up."""
        abi = self.abi
        image = _up(self.stack, STACK_ALIGNMENT)
        end = abi.stack_image + image
        references = []
        result_reference = None
        for item in self.pending:
            size = size_of(item.ctype)
            at = _up(end, max(LEAST_ALIGNMENT, alignment_of(abi, item.ctype)))
            end = at + size
            reference = Reference(item.cell, item.width, at, size)
            moves = (Move(at, size),) if size else ()
            if item.argument is None:
                result_reference, result = reference, moves
            else:
                references.append(reference)
                self.arguments[item.argument] = moves
        if end > abi.frame_end:
            needed = end - abi.stack_image
            room = abi.frame_end - abi.stack_image
            raise NoPlan(
                f"its arguments and result take {needed} bytes; a frame has room for {room}"
            )
        places = [m for moves in (*self.arguments, result) for m in moves]
        used = [m.offset + m.width for m in places]
        used += [r.cell + r.width for r in references]
        if result_reference:
            used.append(result_reference.cell + result_reference.width)
        x87 = sum(piece.bank == "x87" for piece in way.pieces)
        return CallPlan(
            abi=abi.name,
            arguments=tuple(self.arguments),
            references=tuple(references),
            result=result,
            result_reference=result_reference,
            x87=x87 == 1 and way.pieces[0].size < X87_BYTES,
            x87_results=x87,
            vector_count=sum(self.vectors),
            argument_bytes=self.stack,
            pop_bytes=popped,
            stack_bytes=image,
            frame_bytes=max([0, *used]),
        )
