"""One codec per C type and ABI, and the ways in.

The codec of a record makes its class, and a compiled function knows its arguments'
classes, so there is one of each: as long as anybody has the class or the codec,
everybody gets the same. Nobody else keeps them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from weakref import WeakValueDictionary, ref

from libferry import _core
from libferry.abi import Array as ArrayType
from libferry.abi import (
    Boolean,
    Complex,
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
    spell,
)
from libferry.errors import ArgumentTypeError, DeclarationError
from libferry.runtime.values import keeping
from libferry.runtime.values.arrays import Array, ArrayCodec, Elements
from libferry.runtime.values.base import Codec, Context, Home, Misfit
from libferry.runtime.values.pointers import Fit, PointerCodec
from libferry.runtime.values.records import RecordCodec
from libferry.runtime.values.scalars import (
    BooleanCodec,
    ComplexCodec,
    IntegerCodec,
    RealCodec,
    VectorCodec,
)
from libferry.runtime.values.structs import Struct

LARGEST_SIZE = 1 << 47  # bytes: an address space

_lock = threading.RLock()
_codecs: WeakValueDictionary[tuple[str, CType], Codec] = WeakValueDictionary()
# Types are compared by all that is in them, which takes time for a large record. But most
# often it is the very same object. (The type is in the value so that its id stays its own.)
_recent: dict[tuple[str, int], tuple[CType, ref[Codec]]] = {}
RECENT = 1000
_elements: WeakValueDictionary[tuple[str, CType], Elements] = WeakValueDictionary()


def codec_of(abi: str, ctype: CType) -> Codec:
    """The codec of a type on the ABI of that name.

    Raises:
        DeclarationError: it has no values: void, a function, or known by name only.
    """
    known = _recent.get((abi, id(ctype)))
    codec = known[1]() if known else None
    if codec is not None:
        return codec
    with _lock:
        codec = _codecs.get((abi, ctype))
        if codec is None:
            # making one takes time, in which what is collected may have made it, too
            codec = _codecs.setdefault((abi, ctype), _make(abi, ctype))
        if len(_recent) >= RECENT:
            _recent.clear()
        _recent[abi, id(ctype)] = ctype, ref(codec)
        return codec


def _make(abi: str, ctype: CType) -> Codec:
    if getattr(ctype, "size", 0) > LARGEST_SIZE:
        raise DeclarationError(
            f"make a value of {spell(ctype)}",
            f"it has {size_of(ctype):,} bytes, more than an address space",
            hint="check the declaration",
        )
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
            return PointerCodec(ctype, fit)
        case ArrayType(of=of):
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
            made = Elements(abi, codec_of(abi, ctype))
            elements = _elements.setdefault((abi, ctype), made)
        return elements


def record_class(home: Home | str, ctype: CType) -> type[Struct] | None:
    """The class of a record's objects, always the same one; None for other types.

    ``home`` is a library, or the name of an ABI.
    """
    codec = codec_of(_abi(home), ctype) if isinstance(ctype, Record) else None
    return codec.cls if isinstance(codec, RecordCodec) else None


def encode(
    home: Home | str,
    ctype: CType,
    value: object,
    *,
    kept: list[object] | None = None,
    tried: str | None = None,
) -> bytes:
    """A Python value as bytes, exactly ``size_of(ctype)``.

    Args:
        home: the library whose type it is, and whose addresses may be in it; or just
            the name of an ABI.
        ctype: the C type there.
        value: what the type's codec accepts.
        kept: gets what must live as long as the bytes are used.
        tried: begins the message of an error; the path within the value is appended.

    Raises:
        ArgumentTypeError: that type of value does not go there.
        ArgumentValueError: the type is right and the value is not.
    """
    context = Context(_library(home))
    try:
        data = codec_of(_abi(home), ctype).encode(value, context)
    except Misfit as misfit:
        raise misfit.error(tried or f"make {spell(ctype)}") from None
    if kept is not None:
        kept += context.kept
    elif context.made:
        raise ArgumentTypeError(
            tried or f"make {spell(ctype)}",
            "nothing would keep the string alive that a pointer in it leads to",
            hint="put the string into memory of its own: lib.new('char[20]', ...)",
        )
    return data


def decode(home: Home | str, ctype: CType, data: bytes) -> object:
    """The Python value of bytes; a record or an array is a copy of them.

    ``home`` is the library whose addresses are in it, or the name of an ABI.
    """
    return codec_of(_abi(home), ctype).decode(bytes(data), _library(home))


def array_for(library: Home, pointer: Pointer, value: Sequence[object]) -> Array:
    """An array of what ``pointer`` leads to, in this process's memory.

    It keeps what its own pointers lead to.

    Raises:
        ArgumentTypeError, ArgumentValueError: an element does not go there.
        DeclarationError: the size of the elements is not known.
    """
    element = resolve(library, pointer.to)
    elements = elements_of(library.abi, element)
    codec = ArrayCodec(ArrayType(element, len(value)), elements.codec, elements)
    context = Context(library)
    try:
        data = codec.encode(value, context)
    except Misfit as misfit:
        raise misfit.error(f"make {spell(codec.ctype)}") from None
    made: Array = _core.own(codec.cls, data, library, len(value))
    if codec.pointers:
        keeping.keep(made, 0, len(data), context.kept)
    return made


def fit(library: Home, pointer: Pointer, value: _core.Aggregate) -> Fit:
    """Whether the bytes of a record or an array are what ``pointer`` should lead to."""
    given, to = type(value), resolve(library, pointer.to)
    if isinstance(to, Void) or (isinstance(to, Integer) and to.size == 1):
        return "fits"  # bytes, whatever they mean
    if to.name not in given.codec.spellings(value):
        return "another type"
    if given.pointers and _core.library_of(value) is not library:
        return "another library"
    if isinstance(to, Opaque | FunctionType):
        return "fits" if given.abi == library.abi else "another library"
    expected = elements_of(library.abi, to).cls, getattr(codec_of(library.abi, to), "cls", None)
    return "fits" if given in expected else "another library"


def pointee_for(library: Home, pointer: Pointer, value: _core.Aggregate) -> object:
    """What to pass for a record or an array where ``pointer`` is declared.

    Returns:
        The value, if its bytes are what the library expects; a converted copy, if it is
        another library's and the pointer is to const; NotImplemented for another type.

    Raises:
        ArgumentTypeError, ArgumentValueError: it cannot be converted.
    """
    found = fit(library, pointer, value)
    if found != "another library":
        return value if found == "fits" else NotImplemented
    tried = f"pass a {type(value).codec.spellings(value)[0]} as {spell(pointer)}"
    to = resolve(library, pointer.to)
    if isinstance(to, Opaque) or not (pointer.readonly or type(value).abi == library.abi):
        raise ArgumentTypeError(
            tried,
            f"it is laid out for another library ({type(value).abi})",
            hint="make it by lib.new(...) of this one; if it is only read, declare it const",
        )
    items = list(value) if isinstance(value, Array) else [value]
    data = encode(library, ArrayType(to, len(items)), items, tried=tried)
    made = _core.own(elements_of(library.abi, to).cls, data, library, len(items))
    # with the same layout it is as good itself: it has no pointer that is not NULL
    return value if data == bytes(value) else made


def resolve(library: Home, ctype: CType) -> CType:
    """The record that is known by name only, if the library's header defines it."""
    if isinstance(ctype, Opaque):
        return library.types.get(ctype.name, ctype)
    if isinstance(ctype, ArrayType):
        return ArrayType(resolve(library, ctype.of), ctype.length)
    return ctype


def _abi(home: Home | str) -> str:
    return home if isinstance(home, str) else home.abi


def _library(home: Home | str) -> Home | None:
    return None if isinstance(home, str) else home
