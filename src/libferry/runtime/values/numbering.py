"""C types as numpy dtypes. numpy is imported here and only when asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

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
    size_of,
    spell,
)
from libferry.errors import ArgumentTypeError
from libferry.runtime.values.reals import FORMS

if TYPE_CHECKING:
    from libferry.runtime.values import arrays


def as_numpy(array: arrays.Array) -> Any:
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
    ctype: CType = array.ctype.of
    while isinstance(ctype, Array):
        shape, ctype = (*shape, ctype.length or 0), ctype.of
    if isinstance(ctype, Vector):
        shape, ctype = (*shape, ctype.size // ctype.of.size), ctype.of
    kind = dtype(ctype)
    if not kind.itemsize or not math.prod(shape):
        return np.zeros(shape, kind)
    return np.frombuffer(memoryview(array), kind, math.prod(shape)).reshape(shape)


def dtype(ctype: CType) -> Any:
    """The dtype of one value of a C type.

    Pointers are unsigned integers. Bit-fields are left out of records, and what numpy
    has no number for (``__int128``, another machine's ``long double``) is bytes.
    """
    import numpy as np

    match ctype:
        case Integer(signed=signed, size=1 | 2 | 4 | 8 as size):
            return np.dtype(f"<{'i' if signed else 'u'}{size}")
        case Boolean():
            return np.dtype(np.bool_)
        case Pointer(size=size):
            return np.dtype(f"<u{size}")
        case Real(form="binary32" | "binary64", size=size):
            return np.dtype(f"<f{size}")
        case Real() if _is_hosts(ctype, np):
            return np.dtype(np.longdouble)
        case Complex(part=Real(form="binary32" | "binary64"), size=size):
            return np.dtype(f"<c{size}")
        case Complex(part=part) if _is_hosts(part, np):
            return np.dtype(np.clongdouble)
        case Vector(of=of):
            return np.dtype((dtype(of), (ctype.size // of.size,)))
        case Array(of=of, length=length):
            return np.dtype((dtype(of), (length or 0,)))
        case Record():
            fields = list(_members(ctype, 0))
            return np.dtype(
                {
                    "names": [name for name, _, _ in fields],
                    "formats": [dtype(part) for _, part, _ in fields],
                    "offsets": [offset for _, _, offset in fields],
                    "itemsize": ctype.size,
                }
            )
    return np.dtype(f"V{size_of(ctype)}")


def _members(record: Record, base: int) -> Iterator[tuple[str, CType, int]]:
    """Fields by name and offset, those of anonymous members included."""
    for field in record.fields:
        if not field.name and isinstance(field.type, Record):
            yield from _members(field.type, base + field.offset)
        elif field.bits is None:
            yield field.name, field.type, base + field.offset


def _is_hosts(real: Real, np: Any) -> bool:
    """Whether that long double is this machine's."""
    # nmant counts the significand's bits without the first, written down or not
    same_form = np.finfo(np.longdouble).nmant + 1 == FORMS[real.form].precision
    return bool(same_form and np.dtype(np.longdouble).itemsize == real.size)
