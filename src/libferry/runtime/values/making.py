"""``lib.new``: a value of a C type, in memory that both sides see."""

from __future__ import annotations

from typing import Any

from libferry import _core
from libferry.abi import Array as ArrayType
from libferry.abi import CType, Record, spell
from libferry.abi import Pointer as PointerType
from libferry.errors import ArgumentTypeError
from libferry.runtime.memory import Out
from libferry.runtime.values import keeping
from libferry.runtime.values.arrays import ArrayCodec
from libferry.runtime.values.base import Context, Home, Misfit
from libferry.runtime.values.codec import codec_of, resolve
from libferry.runtime.values.records import RecordCodec
from libferry.runtime.values.structs import initial


def new(library: Home, ctype: CType | str, /, *args: object, **fields: object) -> Any:
    """Make a value where ``library`` sees it; what is not given is zero.

    Args:
        library: whose memory it is.
        ctype: the type, or how C writes it: ``struct point``, ``int[10]``, ``double``.
        args: its value, or a record's fields in order.
        fields: a record's fields by name.

    Returns:
        A record or an array that is that memory; for anything else an ``Out``, whose
        ``value`` is.

    Raises:
        DeclarationError: the type is not known, or has no size.
        ArgumentTypeError, ArgumentValueError: the value does not go there.
        ArenaFull: the shared memory has no room.
    """
    parsed = library._ferry_type(ctype) if isinstance(ctype, str) else ctype
    parsed = resolve(library, parsed)
    codec = codec_of(library.abi, parsed)
    tried = f"make {spell(parsed)}"
    context = Context(library, flexible=True)
    try:
        if isinstance(codec, RecordCodec):
            data = codec.encode(initial(args, fields), context)
        else:
            if len(args) > 1 or fields:
                raise ArgumentTypeError(
                    tried, "it is made of one value", hint="give a sequence for an array"
                )
            data = codec.encode(args[0], context) if args else bytes(codec.size)
    except Misfit as misfit:
        raise misfit.error(tried) from None
    if not isinstance(codec, RecordCodec | ArrayCodec):
        cell = Out(library._ferry_session, codec.size, PointerType(parsed, 8).name)
        cell.library, cell.pointee = library, parsed  # type: ignore[assignment]
        memoryview(cell)[:] = data
        cell.kept = context.kept
        return cell
    return _placed(library, codec, data, context)


def _placed(library: Home, codec: RecordCodec | ArrayCodec, data: bytes, context: Context) -> Any:
    ctype = codec.ctype
    while isinstance(ctype, ArrayType):
        ctype = ctype.of
    alignment = ctype.alignment if isinstance(ctype, Record) else 1
    buffer = library.buffer(len(data) + (alignment if alignment > 16 else 0))
    start = -buffer.address % alignment
    memory = memoryview(buffer)[start : start + len(data)]
    memory[:] = data
    length = codec.count(len(data)) if isinstance(codec, ArrayCodec) else len(data)
    if isinstance(codec, ArrayCodec) and codec.length is not None:
        length = codec.length
    value = _core.view(codec.cls, memory, 0, library, length)
    if codec.pointers:
        keeping.keep(value, 0, len(data), context.kept)
    return value
