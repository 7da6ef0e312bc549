"""Where Clang and those who define an ABI, or its other compilers, do not agree.

The truth about an ABI is what a compiler does, and sometimes two compilers do two
things. libferry then goes with whoever compiled most of the libraries there are, and
these tests, which have only Clang, leave the case out. ``shorter.py`` found each.

i386 Windows, results. A structure of 1, 2, 4 or 8 bytes comes back in eax and edx.
Clang (``shouldReturnTypeInRegister``) asks the same of each member, and so returns
``struct { char a[7]; char b; }`` in memory; Microsoft's compiler and GCC do not ask.

i386 System V, arguments. Of ``union { double a; _Alignas(16) double b; }`` Clang passes
8 bytes and no padding; GCC passes all 16.
"""

from __future__ import annotations

from collections.abc import Iterator

from .targets import Target
from .types import Array, Record, Scalar, Type


def least_size(target: Target, ctype: Type) -> int:
    """Say how long a type is without any padding; 0 if that is not easily said."""
    if isinstance(ctype, Scalar):
        return target.size(ctype.name)
    if isinstance(ctype, Array):
        return ctype.length * least_size(target, ctype.of)
    if isinstance(ctype, Record):
        sizes = [least_size(target, member.type) for member in ctype.members]
        if ctype.kind == "union" or any(member.bits is not None for member in ctype.members):
            return 0
        return sum(sizes) if all(sizes) else 0
    return 4


def within(ctype: Type) -> Iterator[Type]:
    """Give all that a type is made of, and what those are."""
    inner: list[Type] = []
    if isinstance(ctype, Array):
        inner = [ctype.of]
    elif isinstance(ctype, Record):
        inner = [member.type for member in ctype.members]
    for each in inner:
        yield each
        yield from within(each)


def is_disputed_result(target: Target, ctype: Type) -> bool:
    """Say whether compilers differ in how they return it."""
    if target.abi != "i386-windows" or not isinstance(ctype, Record):
        return False
    for each in within(ctype):
        size = least_size(target, each)
        if isinstance(each, Record) and size not in (1, 2, 8):
            return True  # padding may make anything of it
        if isinstance(each, Array) and size not in (1, 2, 4, 8):
            return True
    return False


def is_disputed(target: Target, ctype: Type) -> bool:
    """Say whether compilers differ in how they pass it."""
    return target.abi == "i386-sysv" and any(
        isinstance(each, Record) and each.kind == "union" and any(m.aligned for m in each.members)
        for each in (ctype, *within(ctype))
    )
