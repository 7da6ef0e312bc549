"""One codec per C type and ABI, and the ways in.

The codec of a record makes its class, and a compiled function knows its arguments'
classes, so there is one of each: as long as anybody has the class or the codec,
everybody gets the same. Nobody else keeps them.
"""

from __future__ import annotations

import threading
from weakref import WeakValueDictionary

from libferry.abi import (
    Array,
    Boolean,
    Complex,
    CType,
    Integer,
    Pointer,
    Real,
    Record,
    Vector,
    spell,
)
from libferry.errors import DeclarationError
from libferry.runtime.values.arrays import ArrayCodec, Elements
from libferry.runtime.values.base import Codec, Context, Home, Misfit
from libferry.runtime.values.pointers import PointerCodec
from libferry.runtime.values.records import RecordCodec, Struct
from libferry.runtime.values.scalars import (
    BooleanCodec,
    ComplexCodec,
    IntegerCodec,
    RealCodec,
    VectorCodec,
)

_lock = threading.RLock()
_codecs: WeakValueDictionary[tuple[str, CType], Codec] = WeakValueDictionary()
_elements: WeakValueDictionary[tuple[str, CType], Elements] = WeakValueDictionary()


def codec_of(abi: str, ctype: CType) -> Codec:
    """The codec of a type on the ABI of that name.

    Raises:
        DeclarationError: it has no values: void, a function, or known by name only.
    """
    with _lock:
        codec = _codecs.get((abi, ctype))
        if codec is None:
            codec = _codecs[abi, ctype] = _make(abi, ctype)
        return codec


def _make(abi: str, ctype: CType) -> Codec:
    match ctype:
        case Integer():
            return IntegerCodec(ctype)
        case Boolean():
            return BooleanCodec(ctype)
        case Real():
            return RealCodec(ctype)
        case Complex():
            return ComplexCodec(ctype)
        case Vector():
            return VectorCodec(ctype)
        case Pointer():
            return PointerCodec(ctype)
        case Array(of=of):
            return ArrayCodec(ctype, codec_of(abi, of), elements_of(abi, of))
        case Record():
            return RecordCodec(abi, ctype, lambda part: codec_of(abi, part))
    raise DeclarationError(
        f"make a value of {spell(ctype)}",
        "its size is not known",
        hint="declare it in header=; a pointer to it needs no size",
    )


def elements_of(abi: str, ctype: CType) -> Elements:
    """What arrays of that type have in common."""
    with _lock:
        elements = _elements.get((abi, ctype))
        if elements is None:
            elements = _elements[abi, ctype] = Elements(abi, codec_of(abi, ctype))
        return elements


def record_class(abi: str, record: Record) -> type[Struct]:
    """The class of a record's objects on the ABI of that name; always the same one."""
    codec = codec_of(abi, record)
    assert isinstance(codec, RecordCodec)
    return codec.cls


def encode(
    abi: str,
    ctype: CType,
    value: object,
    *,
    library: Home | None = None,
    kept: list[object] | None = None,
    tried: str | None = None,
) -> bytes:
    """A Python value as bytes, exactly ``size_of(ctype)``.

    Args:
        abi: name of the ABI.
        ctype: the C type there.
        value: what the type's codec accepts.
        library: whose addresses may be in it.
        kept: gets what must live as long as the bytes are used.
        tried: begins the message of an error; the path within the value is appended.

    Raises:
        ArgumentTypeError: that type of value does not go there.
        ArgumentValueError: the type is right and the value is not.
    """
    context = Context(library)
    try:
        data = codec_of(abi, ctype).encode(value, context)
    except Misfit as misfit:
        raise misfit.error(tried or f"make {spell(ctype)}") from None
    if kept is not None:
        kept += context.kept
    return data


def decode(abi: str, ctype: CType, data: bytes, *, library: Home | None = None) -> object:
    """The Python value of bytes; a record or an array is a copy of them.

    ``library`` is whose addresses are in it.
    """
    return codec_of(abi, ctype).decode(bytes(data), library)
