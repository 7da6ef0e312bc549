"""What a pointer leads to.

In this process a record or an array there is viewed where it is. In a worker it is
read, so it is a copy, and writing back is a call of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from libferry import _core
from libferry.abi import Array as ArrayType
from libferry.abi import CType, FunctionType, Opaque, Void, spell
from libferry.errors import ArgumentTypeError, ArgumentValueError
from libferry.runtime.values.base import Codec, Context, Misfit
from libferry.runtime.values.codec import codec_of, resolve

if TYPE_CHECKING:
    from libferry.runtime.memory import Pointer


def pointee(pointer: Pointer) -> CType:
    """What a pointer's type says it leads to.

    Raises:
        ArgumentTypeError: nothing that has a size.
    """
    to = resolve(pointer.home, pointer.ctype.to)
    if isinstance(to, Void | Opaque | FunctionType):
        hints = {
            Void: "pointer.cast('int *') says what is there; read(size) gives bytes",
            Opaque: "declare the type in header=; functions take the pointer as it is",
            FunctionType: "call it, or pass it on",
        }
        raise ArgumentTypeError(
            f"read what a {pointer.type} leads to",
            f"the size of {spell(to)} is not known",
            hint=hints[type(to)],
        )
    return to


def deref(pointer: Pointer, ctype: CType | None = None, index: int = 0) -> object:
    """The value a pointer leads to, or one of those after it.

    Raises:
        ArgumentTypeError: its type has no size.
        LibraryCrashed: nothing is there (in this process, that ends the process).
    """
    library = pointer.home
    to = pointee(pointer) if ctype is None else resolve(library, ctype)
    codec = codec_of(library.abi, to)
    address = place(pointer, codec, index)
    view: type[_core.Aggregate] | None = getattr(codec, "cls", None)
    if view is not None and library.isolation == "in-process":
        length = getattr(codec, "length", 0) or 0
        return _core.view_address(view, address, library.session, library, length)
    return codec.decode(library.read(address, codec.size), library)


def store(pointer: Pointer, value: object, index: int = 0) -> None:
    """Write a value where a pointer leads.

    Raises:
        ArgumentTypeError, ArgumentValueError: the value does not go there, or it holds
            what would have to be kept alive (a string, a callable).
    """
    library = pointer.home
    codec = codec_of(library.abi, pointee(pointer))
    context = Context(library)
    tried = f"set what a {pointer.type} leads to"
    try:
        data = codec.encode(value, context)
    except Misfit as misfit:
        raise misfit.error(tried) from None
    if context.made:
        raise ArgumentTypeError(
            tried,
            "nothing would keep the string or the callback alive there",
            hint="make it by lib.new or lib.callback, keep that, and store its address",
        )
    library.write(place(pointer, codec, index), data)


def elements(pointer: Pointer, part: slice) -> object:
    """Several values from where a pointer leads, as an array."""
    start, stop = part.start or 0, part.stop
    if stop is None or part.step not in (None, 1) or stop < start:
        raise ArgumentTypeError(
            f"slice a {pointer.type}",
            "where it ends is not known" if stop is None else "that is no range upwards",
            hint="p[0:n] gives n elements",
        )
    return (
        deref(pointer, ArrayType(pointee(pointer), stop - start), 0)
        if not start
        else _from(pointer, start, stop)
    )


def _from(pointer: Pointer, start: int, stop: int) -> object:
    codec = codec_of(pointer.home.abi, pointee(pointer))
    moved = pointer.home.make_pointer(pointer.ctype, place(pointer, codec, start))
    return elements(moved, slice(0, stop - start))


def place(pointer: Pointer, codec: Codec, index: int) -> int:
    """The address of the index-th value."""
    address = pointer.address + index * codec.size
    if not 0 < address < 1 << (8 * pointer.ctype.size):
        raise ArgumentValueError(
            f"take element {index} of a {pointer.type}",
            "its address would be outside of the address space",
            hint="p[0] is what it leads to",
        )
    return address
