"""Tables as columns: many numbers at once, with a loop in C."""

from __future__ import annotations

import sys
from array import array

from libferry.binary.model import Endian


def numbers(code: str, raw: bytes, endian: Endian, start: int = 0, step: int = 1) -> array[int]:
    """Give every ``step``-th number from ``start`` of those that ``raw`` is.

    Args:
        code: what the numbers are: ``H``, ``I`` or ``Q``, of 2, 4 or 8 bytes.
        raw: a whole number of them.
        endian: their byte order.
        start: which number is the first, counted from 0.
        step: how many numbers further the next is.
    """
    column = array(code, raw)
    if step > 1 or start:
        column = column[start::step]
    if sys.byteorder != endian:
        column.byteswap()
    return column
