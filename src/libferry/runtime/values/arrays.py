"""Arrays: their codec, and the class of the objects that view them.

An array's class is that of its elements, whatever its length: ``a[2:5]`` is an array
of the same class, and the same memory. Where the elements are numbers the buffer
protocol shows them as such, so ``memoryview(a)``, ``numpy.asarray(a)`` and functions
that take a pointer to that type see numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Set
from typing import Any, NoReturn, Self

from libferry import _core
from libferry.abi import Array as ArrayType
from libferry.abi import spell
from libferry.errors import ArgumentTypeError, SymbolNotFound
from libferry.runtime.showing import kind
from libferry.runtime.values import keeping
from libferry.runtime.values.base import Codec, Context, Home, Misfit, wrong_type, wrong_value
from libferry.runtime.values.pointers import encode_text
from libferry.runtime.values.scalars import (
    BooleanCodec,
    IntegerCodec,
    NumberCodec,
    RealCodec,
)
from libferry.runtime.values.structs import plain, represent

SHOWN = 8  # elements that repr shows
_SIGNED, _UNSIGNED = "bhilqn", "BHILQNc"


class Elements:
    """What the arrays of one element type have in common; ``cls`` is their class."""

    def __init__(self, abi: str, codec: Codec) -> None:
        self.codec = codec
        self.abi = abi
        name = f"{codec.name}[]"
        shape, leaf = _dimensions(codec)
        number = isinstance(leaf, NumberCodec) and leaf.format is not None
        self.shape: tuple[int, ...] | None = shape if number else None
        self.leaf = leaf
        self.field: _core.Field | None = None
        if isinstance(codec, NumberCodec) and codec.place is not None:
            self.field = _core.Field(codec.place, codec.size, 0, self._convert)
        self.cls: type[Array] = _core.AggregateType(
            name,
            (Array,),
            {"__slots__": (), "__module__": "libferry"},
            ctype=ArrayType(codec.ctype, None),
            abi=abi,
            codec=self,
            size=codec.size,
            array=True,
            pointers=codec.pointers,
            shape=self.shape,
            format=(leaf.format or "B").encode() if isinstance(leaf, NumberCodec) else b"B",
            itemsize=leaf.size if number else 1,
            element=self.field or getattr(codec, "cls", None),
            inner=getattr(codec, "length", 0) or 0,
        )

    def _convert(self, value: object) -> object:
        try:
            return self.codec.number(value)  # type: ignore[attr-defined]
        except Misfit as misfit:
            raise misfit.error(f"set an element of {self.codec.name}[]") from None

    def spellings(self, value: _core.Aggregate) -> tuple[str, ...]:
        """What a pointer to it may lead to: the array, or its first element."""
        return ArrayType(self.codec.ctype, _core.length_of(value)).name, self.codec.ctype.name

    def missing(self, name: str) -> NoReturn:
        """Raise for an attribute that an array has not (called from C)."""
        raise SymbolNotFound(
            f"use {self.cls.__name__}.{name}", "an array has no such attribute", hint="a[0] is one"
        )


def _dimensions(codec: Codec) -> tuple[tuple[int, ...], Codec]:
    """The shape of one element, and what it is made of in the end."""
    shape: tuple[int, ...] = ()
    while isinstance(codec, ArrayCodec) and codec.length is not None:
        shape, codec = (*shape, codec.length), codec.element
    return shape, codec


class ArrayCodec(Codec):
    """An array from any sequence; shorter ones are filled with zeros, as C does.

    ``length`` None is a flexible array: as many elements as are given.
    """

    def __init__(self, ctype: ArrayType, element: Codec, elements: Elements) -> None:
        super().__init__(ctype, ctype.size)
        self.length = ctype.length
        self.element = element
        self.elements = elements
        self.pointers = element.pointers
        self.cls = elements.cls

    def _key(self) -> tuple[object, ...]:
        return ("array", self.element.key, self.length)

    def _convert(self, source: Codec, data: bytes) -> bytes:
        if not isinstance(source, ArrayCodec):
            raise self.differs(source)
        count, size = source.length or 0, source.element.size
        if count > (self.length or 0):
            raise self._too_long(count)
        parts = []
        for index in range(count):
            try:
                part = data[index * size : (index + 1) * size]
                parts.append(self.element.convert(source.element, part))
            except Misfit as misfit:
                raise misfit.inside(f"[{index}]") from None
        return b"".join(parts).ljust(self.size, b"\0")

    def count(self, size: int) -> int:
        """How many elements there are in ``size`` bytes."""
        return max(size, 0) // self.element.size if self.element.size else 0

    def encode(self, value: object, context: Context) -> bytes:
        """Its elements, one after the other."""
        data = self._data(value, context)
        if self.length is None:
            return data
        if len(data) > self.size:
            raise self._too_long(self.count(len(data)))
        return data.ljust(self.size, b"\0")

    def decode(self, data: bytes, library: Home | None) -> Array:
        """An array of its own, with a copy of the bytes."""
        made: Array = _core.own(self.cls, data, library, self.length or self.count(len(data)))
        return made

    def _too_long(self, count: int) -> Misfit:
        unit = "bytes" if self.element.size == 1 else "elements"
        return wrong_value(
            f"{count} {unit} do not fit in {self.name}", f"give at most {self.length}"
        )

    def _data(self, value: object, context: Context) -> bytes:
        element = self.element
        if isinstance(element, IntegerCodec):
            if element.text and isinstance(value, str | bytes):
                return encode_text(value, element.size, context.library)
            if element.size == 1 and isinstance(value, bytes | bytearray):
                return bytes(value)
        if type(value) is self.cls and (
            not self.pointers or _core.library_of(value) is context.library
        ):
            if self.pointers:
                context.kept += keeping.held(value)
            return _core.read_bytes(value, 0, _core.size_of(value))
        if isinstance(value, str | bytes | bytearray | Mapping | Set) or not (
            hasattr(value, "__len__") and hasattr(value, "__iter__")
        ):
            raise wrong_type(
                f"{kind(value)} is not a sequence for {self.name}", f"give a list of {element.name}"
            )
        items = self._items(value)
        if isinstance(items, bytes):
            return items
        if self.length is not None and len(items) > self.length:
            raise self._too_long(len(items))
        return self._packed(items) or self._one_by_one(items, context)

    def _items(self, value: Any) -> bytes | list[object]:
        """The bytes of a buffer that has just these numbers, else its items."""
        shape, leaf = self.elements.shape, self.elements.leaf
        if shape is not None and isinstance(leaf, NumberCodec):
            try:
                view = memoryview(value)
            except (TypeError, BufferError):
                pass
            else:
                with view:
                    if (
                        view.c_contiguous
                        and view.ndim == len(shape) + 1
                        and view.shape is not None
                        and view.shape[1:] == shape
                        and view.itemsize == leaf.size
                        and _same_numbers(view.format, leaf)
                    ):
                        return view.tobytes()
        return list(value)

    def _packed(self, items: list[object]) -> bytes | None:
        """All items at once, if they are what they seem."""
        element = self.element
        exact = {IntegerCodec: int, RealCodec: float, BooleanCodec: bool}.get(type(element))
        if exact is None or not element.format or not all(type(item) is exact for item in items):  # type: ignore[attr-defined]
            return None
        try:
            return struct.pack(f"<{len(items)}{element.format}", *items)  # type: ignore[attr-defined]
        except (struct.error, OverflowError):
            return None

    def _one_by_one(self, items: list[object], context: Context) -> bytes:
        parts = []
        for index, item in enumerate(items):
            try:
                part = self.element.encode(item, context)
                if len(part) != self.element.size:
                    raise wrong_type("a flexible array has no room here", "leave it out")
                parts.append(part)
            except Misfit as misfit:
                raise misfit.inside(f"[{index}]") from None
        return b"".join(parts)


def _same_numbers(form: str, leaf: NumberCodec) -> bool:
    """Whether a buffer's items, of the right size, are numbers of that kind."""
    form = form.lstrip("@=<")
    if isinstance(leaf, IntegerCodec):
        return len(form) == 1 and form in (_SIGNED if leaf.signed else _UNSIGNED)
    return form == leaf.format


class Array(_core.Array):
    """An array in C's memory: a sequence of fixed length whose items can be set.

    ``a[1:3]`` is the same memory; ``as_numpy()`` and ``memoryview`` are, too.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    @property
    def ctype(self) -> ArrayType:
        """Its type, with its length."""
        return ArrayType(type(self).codec.codec.ctype, len(self))

    @property
    def address(self) -> int:
        """Where its library sees it.

        Raises:
            ArgumentTypeError: it does not: this is another process's memory.
        """
        library = _core.library_of(self)
        address = library and _core.address_of(self, library.session)
        if address is None:
            raise ArgumentTypeError(
                f"take the address of {spell(self.ctype)}",
                "it is in this process's memory, and no library sees that",
                hint="make it by lib.new(...), or pass it itself",
            )
        return int(address)

    # The C half calls these for what it does not do itself; indices are in range.

    def _ferry_item(self, index: int) -> Any:
        codec = type(self).codec.codec
        data = _core.read_bytes(self, index * codec.size, codec.size)
        return codec.decode(data, _core.library_of(self))

    def _ferry_set_item(self, index: int, value: object) -> None:
        codec = type(self).codec.codec
        self._ferry_store(codec, index * codec.size, value, f"{codec.name}[][{index}]")

    def _ferry_slice(self, part: slice) -> Self:
        start, stop = self._ferry_range(part)
        same: Self = _core.view(type(self), self, start * type(self).size, None, stop - start)
        return same

    def _ferry_set_slice(self, part: slice, value: object) -> None:
        start, stop = self._ferry_range(part)
        elements: Elements = type(self).codec
        count = len(value) if hasattr(value, "__len__") else None
        ctype = ArrayType(elements.codec.ctype, stop - start)
        if count != stop - start:
            raise ArgumentTypeError(
                f"set elements {start} to {stop} of {spell(self.ctype)}",
                f"{kind(value)} is not {stop - start} elements",
                hint="a C array cannot grow or shrink: give as many",
            )
        codec = ArrayCodec(ctype, elements.codec, elements)
        self._ferry_store(codec, start * elements.codec.size, value, spell(ctype))

    def _ferry_range(self, part: slice) -> tuple[int, int]:
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise ArgumentTypeError(
                f"slice {spell(self.ctype)}",
                f"a step of {step} is no C array",
                hint="as_numpy()[...] takes any step",
            )
        return start, max(start, stop)

    def _ferry_store(self, codec: Codec, offset: int, value: object, where: str) -> None:
        context = Context(_core.library_of(self))
        try:
            data = codec.encode(value, context)
        except Misfit as misfit:
            raise misfit.error(f"set {where}") from None
        _core.write_bytes(self, offset, data)
        if codec.pointers:
            keeping.keep(self, offset, len(data), context.kept)

    def __contains__(self, value: object) -> bool:
        return any(item == value for item in self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return self.string() == other
        if isinstance(other, Mapping | Set) or not isinstance(
            other, Array | list | tuple | range | bytes | bytearray
        ):
            return NotImplemented
        return len(self) == len(other) and all(
            mine == theirs for mine, theirs in zip(self, other, strict=True)
        )

    def tolist(self) -> list[Any]:
        """Its elements as Python values; records as dicts, arrays as lists."""
        elements: Elements = type(self).codec
        if elements.shape is not None and elements.field is not None:
            return memoryview(self).tolist()
        return [plain(item) for item in self]

    def string(self) -> str | bytes:
        """The C string in it, up to the first NUL, decoded as the library's strings are.

        Raises:
            ArgumentTypeError: its elements are no characters.
        """
        codec = type(self).codec.codec
        if not (isinstance(codec, IntegerCodec) and (codec.text or codec.size == 1)):
            raise ArgumentTypeError(
                f"read a string from {spell(self.ctype)}",
                "its elements are no characters",
                hint="tolist() gives them",
            )
        data = _core.read_bytes(self, 0, _core.size_of(self))
        end = bytes(codec.size)
        length = next(
            (at for at in range(0, len(data), codec.size) if data[at : at + codec.size] == end),
            len(data),
        )
        if codec.size != 1:
            return data[:length].decode(
                {2: "utf-16-le", 4: "utf-32-le"}[codec.size], "surrogatepass"
            )
        library = _core.library_of(self)
        encoding = "utf-8" if library is None else library.encoding
        text = data[:length]
        return text if encoding is None else text.decode(encoding, "surrogateescape")

    def copy(self) -> Array:
        """The same elements in this process's memory."""
        data, library = _core.read_bytes(self, 0, _core.size_of(self)), _core.library_of(self)
        made: Array = _core.own(type(self), data, library, len(self))
        if type(self).pointers:
            keeping.keep(made, 0, len(data), keeping.held(self))
        return made

    def __copy__(self) -> Array:
        return self.copy()

    def __deepcopy__(self, memo: object) -> Array:
        return self.copy()

    def as_numpy(self) -> Any:
        """The same memory as a numpy array: records become a structured dtype.

        Pointers are unsigned integers there. Bit-fields are left out. A ``long double``
        that is not this machine's is bytes.

        Raises:
            ArgumentTypeError: numpy is not installed.
        """
        from libferry.runtime.values.numbering import as_numpy

        return as_numpy(self)

    def plain(self) -> object:
        """Text as bytes or str, everything else as a list."""
        codec = type(self).codec.codec
        if isinstance(codec, IntegerCodec) and codec.character:
            return _core.read_bytes(self, 0, _core.size_of(self)).rstrip(b"\0")
        return self.tolist()

    def _ferry_show(self, depth: int) -> str:
        codec = type(self).codec.codec
        if isinstance(codec, IntegerCodec) and codec.character:
            text = _core.read_bytes(self, 0, min(len(self), 10 * SHOWN)).split(b"\0")[0]
            return repr(text) + "..." * (len(text) == 10 * SHOWN)
        shown = [represent(self[index], depth - 1) for index in range(min(len(self), SHOWN))]
        return f"[{', '.join(shown)}{', ...' * (len(self) > SHOWN)}]"

    def __repr__(self) -> str:
        return f"<{spell(self.ctype)} {self._ferry_show(2)}>"
