"""From a signature to the compiled ``Function`` that calls it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from libferry import _core
from libferry.abi import Boolean, CType, Integer, Move, Pointer, Real
from libferry.contract import Signature

# (kind, size, width, offset, character, readonly, text, element, element_size, type)
Row = tuple[int, int, int, int, bool, bool, bool, str, int, str]


def bind(
    session: _core.Session,
    signature: Signature,
    address: int,
    *,
    pointer_result: Callable[[str, int], object],
    string_result: Callable[[str, int], object],
    encoding: str | None,
    keep_gil: bool = False,
    service: bool = False,
) -> _core.Function:
    """Make the callable of ``signature`` at ``address``.

    ``pointer_result`` and ``string_result`` turn an address that the function
    returns into what the caller gets; they are given the C type's name too. A
    ``service`` leaves ``errno`` as the library's last call left it.
    """
    arguments, result = _rows(signature)
    hook: Callable[[int], object] | None = None
    if isinstance(signature.result, Pointer):
        ctype = signature.result.name
        make = string_result if result[0] == _core.KIND_STRING else pointer_result
        hook = lambda address: make(ctype, address)  # noqa: E731
        if result[0] == _core.KIND_STRING and _text_size(signature.result) != 1:
            result = (_core.KIND_POINTER, *result[1:])  # wide strings are read by the hook
    return _core.Function(
        session,
        address,
        signature.name,
        signature,
        arguments,
        result,
        hook,
        encoding,
        signature.plan.vector_count,
        signature.plan.stack_bytes,
        keep_gil,
        service,
    )


@lru_cache(maxsize=1024)
def _rows(signature: Signature) -> tuple[tuple[Row, ...], tuple[int, int, int]]:
    arguments = tuple(
        _argument(parameter.type, move)
        for parameter, (move,) in zip(signature.parameters, signature.plan.arguments, strict=True)
    )
    return arguments, _result(signature)


def _text_size(ctype: CType) -> int:
    """Bytes of a character, if this is a pointer to text, else 0."""
    to = ctype.to if isinstance(ctype, Pointer) else None
    return to.size if isinstance(to, Integer) and to.text else 0


def _argument(ctype: CType, move: Move) -> Row:
    match ctype:
        case Integer(size=size, signed=signed):
            kind = _core.KIND_SIGNED if signed else _core.KIND_UNSIGNED
            character = ctype.text and size == 1
            return (kind, size, move.width, move.offset, character, False, False, "", 1, "")
        case Boolean(size=size):
            kind = _core.KIND_BOOL
            return (kind, size, move.width, move.offset, False, False, False, "", 1, "")
        case Real(size=size):
            kind = _core.KIND_FLOAT
            return (kind, size, move.width, move.offset, False, False, False, "", 1, "")
        case Pointer(to=to, size=size, readonly=readonly):
            element, element_size = _element(to)
            return (
                _core.KIND_POINTER,
                size,
                move.width,
                move.offset,
                False,
                readonly,
                bool(_text_size(ctype)),
                element,
                element_size,
                ctype.name,
            )
    raise AssertionError(f"{ctype} was lowered but cannot be bound")


def _element(to: CType) -> tuple[str, int]:
    """What a buffer's items must be: a kind of number and its size, or anything."""
    match to:
        case Integer(size=size, signed=signed) if size > 1:
            return ("i" if signed else "u"), size
        case Real(size=size):
            return "f", size
    return "", 1


def _result(signature: Signature) -> tuple[int, int, int]:
    if not signature.plan.result:
        return (_core.KIND_VOID, 0, 0)
    (move,) = signature.plan.result
    match signature.result:
        case Real(size=size):
            kind = _core.KIND_X87 if signature.plan.x87 else _core.KIND_FLOAT
            return (kind, size, move.offset)
        case Boolean(size=size):
            return (_core.KIND_BOOL, size, move.offset)
        case Integer(size=size, signed=signed):
            return (_core.KIND_SIGNED if signed else _core.KIND_UNSIGNED, size, move.offset)
        case Pointer(size=size, readonly=readonly):
            # a const char * result is the library's own string and is read at once; a
            # char * may be the caller's to free, so it stays a pointer
            text = readonly and _text_size(signature.result) != 0
            return (_core.KIND_STRING if text else _core.KIND_POINTER, size, move.offset)
    raise AssertionError(signature.result)
