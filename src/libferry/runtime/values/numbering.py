"""C types as numpy dtypes. numpy is imported here and only when asked for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from libferry.abi import spell
from libferry.errors import ArgumentTypeError
from libferry.runtime.values.arrays import ArrayCodec
from libferry.runtime.values.base import Codec
from libferry.runtime.values.pointers import PointerCodec
from libferry.runtime.values.records import RecordCodec
from libferry.runtime.values.scalars import (
    BooleanCodec,
    ComplexCodec,
    IntegerCodec,
    RealCodec,
    VectorCodec,
)

if TYPE_CHECKING:
    from libferry.runtime.values.arrays import Array


def as_numpy(array: Array) -> Any:
    """A numpy array of the same memory."""
    try:
        import numpy as np
    except ImportError:
        raise ArgumentTypeError(
            f"view {spell(array.ctype)} as a numpy array",
            "numpy is not installed",
            hint="pip install numpy; memoryview(...) shows numbers without it",
        ) from None
    shape: tuple[int, ...] = (len(array),)
    codec: Codec = type(array).codec.codec
    while isinstance(codec, ArrayCodec):
        shape, codec = (*shape, codec.length or 0), codec.element
    kind = dtype(codec, np)
    if not kind.itemsize or not math.prod(shape):
        return np.zeros(shape, kind)
    return np.frombuffer(memoryview(array), kind, math.prod(shape)).reshape(shape)


def dtype(codec: Codec, np: Any) -> Any:
    """The dtype of one value."""
    size = codec.size
    match codec:
        case IntegerCodec(signed=signed) if size <= 8:
            return np.dtype(f"<{'i' if signed else 'u'}{size}")
        case BooleanCodec():
            return np.dtype(np.bool_)
        case PointerCodec():
            return np.dtype(f"<u{size}")
        case RealCodec(format=str()):
            return np.dtype(f"<f{size}")
        case ComplexCodec(format=str()):
            return np.dtype(f"<c{size}")
        case RealCodec() if _is_hosts(codec, np):
            return np.dtype(np.longdouble)
        case ComplexCodec(part=part) if _is_hosts(part, np):
            return np.dtype(np.clongdouble)
        case VectorCodec():
            return np.dtype((dtype(codec.lane, np), (codec.lanes,)))
        case ArrayCodec():
            return np.dtype((dtype(codec.element, np), (codec.length or 0,)))
        case RecordCodec():
            slots = [slot for slot in codec.slots.values() if slot.bits is None]
            return np.dtype(
                {
                    "names": [slot.name for slot in slots],
                    "formats": [dtype(slot.codec, np) for slot in slots],
                    "offsets": [slot.offset for slot in slots],
                    "itemsize": size,
                }
            )
    return np.dtype(f"V{size}")


def _is_hosts(codec: RealCodec, np: Any) -> bool:
    """Whether that long double is this machine's."""
    # nmant counts the significand's bits without the first, written down or not
    same_form = np.finfo(np.longdouble).nmant + 1 == codec.form.precision
    return bool(same_form and np.dtype(np.longdouble).itemsize == codec.size)
