"""C values as Python values: numbers, records, arrays, pointers.

``codec`` turns values into a target's bytes and back. ``records`` and ``arrays`` are
objects that view memory in place. ``leading`` is what a pointer leads to, and
``making`` what ``lib.new`` does. The C half is native/extension/record.h.
"""

from libferry.runtime.values.arrays import Array
from libferry.runtime.values.base import Codec, Context, Home, Misfit
from libferry.runtime.values.codec import (
    array_for,
    codec_of,
    decode,
    encode,
    pointee_for,
    record_class,
)
from libferry.runtime.values.leading import deref
from libferry.runtime.values.numbering import dtype
from libferry.runtime.values.structs import Struct

__all__ = [
    "Array",
    "Codec",
    "Context",
    "Home",
    "Misfit",
    "Struct",
    "array_for",
    "codec_of",
    "decode",
    "deref",
    "dtype",
    "encode",
    "pointee_for",
    "record_class",
]
