"""``lib.new``: a value of a C type, in memory that both sides see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from libferry import _core
from libferry.abi import ABIS, CType, alignment_of, spell
from libferry.abi import Pointer as PointerType
from libferry.errors import ArenaFull
from libferry.runtime.memory import Out
from libferry.runtime.values import keeping
from libferry.runtime.values.arrays import ArrayCodec
from libferry.runtime.values.base import Codec, Context, Home, Misfit, wrong_type
from libferry.runtime.values.codec import codec_of, resolve
from libferry.runtime.values.records import RecordCodec
from libferry.runtime.values.structs import initial

BUFFER_ALIGNMENT = 64  # of every Buffer; ARENA_ALIGN in native/extension/extension.h


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
    parsed = library.type_of(ctype) if isinstance(ctype, str) else ctype
    codec = codec_of(library.abi, resolve(library, parsed))
    tried = f"make {spell(parsed)}"
    context = Context(library, flexible=True)
    try:
        data = _encode(codec, args, fields, context)
    except Misfit as misfit:
        raise misfit.error(tried) from None
    except MemoryError:
        raise ArenaFull(
            tried, "there is not as much memory", hint="check the type; make several smaller ones"
        ) from None
    if isinstance(codec, RecordCodec | ArrayCodec):
        return _placed(library, codec, data, context)
    cell = Out(library.session, codec.size, PointerType(codec.ctype, 8).name)
    cell.home, cell.pointee = library, codec.ctype  # type: ignore[assignment]
    if data is not None:
        memoryview(cell)[:] = data
    cell.kept = context.kept
    return cell


def _encode(
    codec: Codec, args: tuple[object, ...], fields: Mapping[str, object], context: Context
) -> bytes | None:
    """The value's bytes; None for zeros."""
    if not args and not fields:
        return None
    if isinstance(codec, RecordCodec):
        return codec.encode(initial(args, fields), context)
    if len(args) > 1 or fields:
        raise wrong_type("it is made of one value", "give a sequence for an array")
    return codec.encode(args[0], context)


def _placed(
    library: Home, codec: RecordCodec | ArrayCodec, data: bytes | None, context: Context
) -> Any:
    size = codec.size if data is None else len(data)
    alignment = alignment_of(ABIS[library.abi], codec.ctype)
    slack = alignment if alignment > BUFFER_ALIGNMENT else 0
    buffer = library.buffer(size + slack)
    start = -buffer.address % alignment
    memory = memoryview(buffer)[start : start + size]
    if data is not None:
        memory[:] = data
    length = size
    if isinstance(codec, ArrayCodec):
        length = codec.count(size) if codec.length is None else codec.length
    value = _core.view(codec.cls, memory, 0, library, length)
    if codec.pointers:
        keeping.keep(value, 0, size, context.kept)
    return value
