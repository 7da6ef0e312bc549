"""From a signature to the compiled ``Plan`` that the C core follows.

One ``Row`` says how one value converts and where in the frame it lies. A value goes
*in* (an argument of a call, the result of a callback) or comes *out* (the result of a
call, an argument of a callback); what only Python can convert is given to ``Hooks``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from libferry import _core
from libferry.abi import (
    ABIS,
    Abi,
    Boolean,
    CallPlan,
    CType,
    FunctionType,
    Integer,
    Move,
    Pointer,
    Real,
    Void,
    frame,
)
from libferry.errors import FerryError

# (offset, width, source, size, ones)
MoveRow = tuple[int, int, int, int, bool]
# (kind, size, width, offset, sign, ones, character, readonly, text, lends, element, element_size,
#  type, class, value_size, moves, encode, decode)
Row = tuple[
    int,
    int,
    int,
    int,
    bool,
    bool,
    bool,
    bool,
    bool,
    bool,
    str,
    int,
    str,
    type | None,
    int,
    tuple[MoveRow, ...],
    Callable[[object], object] | None,
    Callable[[int], object] | Callable[[bytes], object] | None,
]
_CELL = 8  # bytes of an integer register's cell


class Parameter(Protocol):
    """What a plan has to know of a parameter."""

    @property
    def name(self) -> str:
        """Its name, or an empty string."""

    @property
    def type(self) -> CType:
        """Its type."""


class Signature(Protocol):
    """What a plan is made of: a function as declared, or a callback."""

    @property
    def name(self) -> str:
        """The function's name, for messages."""

    @property
    def result(self) -> CType:
        """The type of its result."""

    @property
    def parameters(self) -> Sequence[Parameter]:
        """Its parameters, in order."""

    @property
    def plan(self) -> CallPlan:
        """Where its values lie."""


class Hooks(Protocol):
    """Conversions that need the library, or more than C knows."""

    @property
    def encoding(self) -> str | None:
        """Of strings; None: they are bytes."""

    @property
    def library(self) -> object:
        """Whose addresses the values hold, or None."""

    def pointer(self, ctype: Pointer, address: int) -> object:
        """What Python gets for an address that is not NULL."""

    def text(self, ctype: Pointer, address: int) -> object:
        """The same for the address of a string."""

    def address(self, ctype: Pointer, value: object) -> object:
        """What to pass for a value that C takes for no pointer, or NotImplemented.

        A record or an array is given back if it is what the pointer leads to.
        """

    def encode(self, ctype: CType, value: object) -> bytes | tuple[bytes, object]:
        """The bytes of a value, and what must live while C uses them, if anything must."""

    def holds_addresses(self, ctype: CType) -> bool:
        """Whether there may be pointers in a value."""

    def decode(self, ctype: CType, data: bytes) -> object:
        """The value of bytes."""

    def record_class(self, ctype: CType) -> type | None:
        """The class of a record's objects; None for other types."""


def compile_plan(signature: Signature, hooks: Hooks) -> _core.Plan:
    """The plan of a call: arguments go in, the result comes out."""
    plan = signature.plan
    arguments = tuple(
        _into_c(
            parameter.type, moves, hooks, f"call {signature.name}, {_place(position, parameter)}"
        )
        for position, (parameter, moves) in enumerate(
            zip(signature.parameters, plan.arguments, strict=True)
        )
    )
    result = _out_of_c(signature.result, plan.result, hooks, x87=plan.x87)
    return _make(signature, arguments, result, hooks)


def compile_callback(signature: Signature, hooks: Hooks) -> _core.Plan:
    """The plan of a callback: arguments come out, the result goes in."""
    plan = signature.plan
    arguments = tuple(
        _out_of_c(parameter.type, moves, hooks, x87=False)
        for parameter, moves in zip(signature.parameters, plan.arguments, strict=True)
    )
    tried = f"return from {signature.name}"
    moves = tuple(_widened(ABIS[plan.abi], move) for move in plan.result)
    result = _into_c(signature.result, moves, hooks, tried, x87=plan.x87, widen=True)
    return _make(signature, arguments, result, hooks)


def _widened(abi: Abi, move: Move) -> Move:
    """A result's move for the side that gives it: extended as an argument's is."""
    if move.offset >= frame.RESULT_VECTOR:
        boxed = abi.nan_boxed and move.size == 4
        return replace(move, width=_CELL, extend="ones") if boxed else move
    if move.offset >= frame.RESULT_X87 or move.size != 4:
        return move
    return replace(move, extend=abi.widen_word)


def _make(
    signature: Signature, arguments: tuple[Row, ...], result: Row, hooks: Hooks
) -> _core.Plan:
    plan = signature.plan
    references = [*plan.references, *filter(None, [plan.result_reference])]
    return _core.Plan(
        signature,
        arguments,
        result,
        tuple((reference.cell, reference.at, reference.width) for reference in references),
        hooks.encoding,
        hooks.library,
        plan.vector_count,
        plan.x87_results,
        plan.stack_bytes,
    )


def describe_callback(plan: CallPlan) -> bytes:
    """A ``struct ferry_callback`` (native/channel.h): what the thunk has to know."""
    # results count, too: the thunk looks no further than this for them
    end = max([plan.frame_bytes, *(move.offset + move.width for move in plan.result)])
    references = [(reference, False) for reference in plan.references]
    if plan.result_reference:
        references.append((plan.result_reference, True))
    head = struct.pack(
        "<HHHBBII",
        plan.stack_bytes,
        end,
        plan.pop_bytes,
        plan.x87_results or plan.x87,
        plan.vector_count,
        0,
        len(references),
    )
    rows = (
        struct.pack("<IHHBBH", one.size, one.at, one.cell, one.width, is_result, 0)
        for one, is_result in references
    )
    return head + b"".join(rows)


def _place(position: int, parameter: Parameter) -> str:
    name = f" ({parameter.name})" if parameter.name else ""
    return f"argument {position + 1}{name}"


def _row(
    kind: int,
    size: int = 0,
    move: Move | None = None,
    *,
    width: int = 0,
    sign: bool = False,
    character: bool = False,
    readonly: bool = False,
    text: bool = False,
    lends: bool = False,
    element: tuple[str, int] = ("", 1),
    name: str = "",
    record: type | None = None,
    value_size: int = 0,
    moves: tuple[MoveRow, ...] = (),
    encode: Callable[[object], object] | None = None,
    decode: Callable[[int], object] | Callable[[bytes], object] | None = None,
) -> Row:
    """A row with what it does not need left out."""
    return (
        kind,
        size,
        width or (move.width if move else 0),
        move.offset if move else 0,
        sign,
        bool(move and move.extend == "ones"),
        character,
        readonly,
        text,
        lends,
        *element,
        name,
        record,
        value_size,
        moves,
        encode,
        decode,
    )


def _into_c(
    ctype: CType,
    moves: tuple[Move, ...],
    hooks: Hooks,
    tried: str,
    *,
    x87: bool = False,
    widen: bool = False,
) -> Row:
    """How a Python value is written to the frame.

    ``widen`` is for results: they are written to the whole register, as arguments are.
    """
    match ctype:
        case Void():
            return _row(_core.KIND_VOID)
        case Real(size=4 | 8):
            if x87:
                return _row(_core.KIND_X87, ctype.size, moves[0])
            width = _CELL if moves[0].extend == "ones" else 0
            return _row(_core.KIND_FLOAT, ctype.size, moves[0], width=width)
        case Integer(size=size) if size <= _CELL:
            kind = _core.KIND_SIGNED if ctype.signed else _core.KIND_UNSIGNED
            return _row(
                kind,
                size,
                moves[0],
                width=_CELL if widen else 0,
                sign=moves[0].extend == "sign" and not ctype.signed and size == 4,
                character=ctype.text and size == 1,
            )
        case Boolean():
            return _row(_core.KIND_BOOL, ctype.size, moves[0], width=_CELL if widen else 0)
        case Pointer():
            convert: Callable[[object], object] = lambda value: hooks.address(ctype, value)  # noqa: E731
            return _row(
                _core.KIND_POINTER,
                ctype.size,
                moves[0],
                readonly=ctype.readonly,
                text=bool(_text_size(ctype)),
                element=_element(ctype.to),
                name=ctype.name,
                encode=_naming(tried, convert),
            )
    if x87:
        return _row(
            _core.KIND_BYTES,
            value_size=_X87_BYTES,
            moves=_move_rows(moves),
            encode=_naming(tried, lambda value: _to_x87(hooks, ctype, value)),
        )
    return _row(
        _core.KIND_BYTES,
        lends=hooks.holds_addresses(ctype),
        record=hooks.record_class(ctype),
        value_size=_size(ctype),
        moves=_move_rows(moves),
        encode=_naming(tried, lambda value: hooks.encode(ctype, value)),
    )


def _out_of_c(ctype: CType, moves: tuple[Move, ...], hooks: Hooks, *, x87: bool) -> Row:
    """How a value of the frame becomes one of Python."""
    match ctype:
        case Void():
            return _row(_core.KIND_VOID)
        case Real(size=4 | 8):
            return _row(_core.KIND_X87 if x87 else _core.KIND_FLOAT, ctype.size, moves[0])
        case Integer(size=size) if size <= _CELL:
            kind = _core.KIND_SIGNED if ctype.signed else _core.KIND_UNSIGNED
            return _row(kind, size, moves[0])
        case Boolean():
            return _row(_core.KIND_BOOL, ctype.size, moves[0])
        case Pointer(readonly=True) if text := _text_size(ctype):
            # a const char * is the library's own string and is read at once; a char * may
            # be the caller's to free, so it stays a pointer; wide ones are read by the hook
            kind = _core.KIND_STRING if text == 1 else _core.KIND_POINTER
            read: Callable[[int], object] = lambda address: hooks.text(ctype, address)  # noqa: E731
            return _row(kind, ctype.size, moves[0], name=ctype.name, decode=read)
        case Pointer():
            make: Callable[[int], object] = lambda address: hooks.pointer(ctype, address)  # noqa: E731
            return _row(_core.KIND_POINTER, ctype.size, moves[0], name=ctype.name, decode=make)
    if x87:
        from_x87: Callable[[bytes], object] = lambda data: _from_x87(hooks, ctype, data)  # noqa: E731
        return _row(
            _core.KIND_BYTES, value_size=_X87_BYTES, moves=_move_rows(moves), decode=from_x87
        )
    decode: Callable[[bytes], object] = lambda data: hooks.decode(ctype, data)  # noqa: E731
    return _row(
        _core.KIND_BYTES,
        record=hooks.record_class(ctype),
        value_size=_size(ctype),
        moves=_move_rows(moves),
        decode=decode,
    )


# i386 Windows, as mingw has it: a structure of one float or double comes back as that
# number does, in st(0).
_X87_BYTES = 10
_X87 = Real("long double", 12, "x87")


def _from_x87(hooks: Hooks, ctype: CType, data: bytes) -> object:
    number = hooks.decode(_X87, data + bytes(_X87.size - _X87_BYTES))
    assert isinstance(number, float)
    return hooks.decode(ctype, struct.pack("<f" if _size(ctype) == 4 else "<d", number))


def _to_x87(hooks: Hooks, ctype: CType, value: object) -> bytes:
    made = hooks.encode(ctype, value)
    data = made if isinstance(made, bytes) else made[0]
    (number,) = struct.unpack("<f" if len(data) == 4 else "<d", data)
    encoded = hooks.encode(_X87, number)
    assert isinstance(encoded, bytes)
    return encoded[:_X87_BYTES]


def _naming(tried: str, convert: Callable[[object], object]) -> Callable[[object], object]:
    """``convert``, whose errors say which argument they are about."""

    def converted(value: object) -> object:
        try:
            return convert(value)
        except FerryError as error:
            error.tried = f"{tried}: {error.tried}"
            raise

    return converted


def _move_rows(moves: tuple[Move, ...]) -> tuple[MoveRow, ...]:
    return tuple((m.offset, m.width, m.source, m.size, m.extend == "ones") for m in moves)


def _size(ctype: CType) -> int:
    size = getattr(ctype, "size", None)
    if not isinstance(size, int):
        raise AssertionError(f"{ctype} was lowered but cannot be bound")
    return size


def _text_size(ctype: Pointer) -> int:
    """Bytes of a character, if this is a pointer to text, else 0."""
    to = ctype.to
    return to.size if isinstance(to, Integer) and to.text else 0


def _element(to: CType) -> tuple[str, int]:
    """What a buffer's items must be: a kind of number and its size, or anything."""
    match to:
        case Integer(size=size, signed=signed) if 1 < size <= _CELL:
            return ("i" if signed else "u"), size
        case Real(form="binary32" | "binary64", size=size):
            return "f", size
        case FunctionType():
            return "c", 1  # no buffer is code
    return "", 1
