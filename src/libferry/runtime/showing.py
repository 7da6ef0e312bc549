"""Values in messages: short, and whatever they are."""

from __future__ import annotations

import reprlib


def kind(value: object) -> str:
    """Name a value by its type, with the items' type of arrays."""
    detail = getattr(value, "typecode", None)
    if getattr(value, "ndim", 0):
        detail = getattr(value, "dtype", None)
    return type(value).__name__ + (f" of {detail}" if detail is not None else "")


def show(value: object) -> str:
    """A value, shortened; Python refuses to write very long ints in decimal."""
    try:
        return reprlib.repr(value)
    except ValueError:
        return f"an int of {value.bit_length()} bits" if isinstance(value, int) else kind(value)
