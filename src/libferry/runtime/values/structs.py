"""The objects that structures and unions are in Python.

The class of a record has an attribute for every field, which reads and writes memory
where it lies: numbers and parts in C (``_core.Field``, ``_core.Part``), everything else
through its codec (``fields.Member``). C may call a field anything, so what the class
offers itself (``copy``, ``as_dict``, ``address``) gives way to a field of that name, and
``p["name"]`` always is the field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

from libferry import _core
from libferry.errors import ArgumentTypeError
from libferry.runtime.values import keeping
from libferry.runtime.values.base import Context, Misfit, wrong_type

if TYPE_CHECKING:
    from libferry.runtime.values.records import RecordCodec

DEEPEST = 3  # records in records that repr shows


def initial(args: tuple[object, ...], fields: Mapping[str, object]) -> object:
    """What a record is made of: names, one value, or several in order."""
    if not args:
        return fields
    if fields:
        raise wrong_type("it is given by position and by name", "give a dict, or names only")
    return args[0] if len(args) == 1 and _is_whole(args[0]) else args


def _is_whole(value: object) -> bool:
    if isinstance(value, str | bytes | bytearray):
        return False
    return isinstance(value, Mapping | Sequence | _core.Aggregate) or bool(row_names(value))


def row_names(value: object) -> tuple[str, ...] | None:
    """The fields of a row of a structured numpy array; None for anything else."""
    return getattr(getattr(value, "dtype", None), "names", None)


S = TypeVar("S", bound=_core.Aggregate)


class Struct(_core.Aggregate):
    """A structure or union; its class is that of its C type.

    ``type(p)(x=1)`` makes one in this process's memory; ``lib.new`` makes one that the
    library sees. Comparing compares fields, not padding.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __new__(cls, /, *args: object, **fields: object) -> Self:
        """Make one in this process's memory: by position, by name, or of one value."""
        if not isinstance(cls, _core.AggregateType):
            raise TypeError("a Struct has a C type: lib.new makes one")
        codec: RecordCodec = cls.codec
        try:
            data = codec.encode(initial(args, fields), Context(flexible=True))
        except Misfit as misfit:
            raise misfit.error(f"make {codec.record.name}") from None
        made: Self = _core.own(cls, data, None, len(data))
        return made

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
                f"take the address of a {type(self).ctype.name}",
                "it is in this process's memory, and no library sees that",
                hint="make it by lib.new(...), or pass it itself",
            )
        return int(address)

    @property
    def size(self) -> int:
        """Bytes, those of a flexible array at its end included."""
        return _core.size_of(self)

    def as_dict(self) -> dict[str, object]:
        """Its fields as Python values; records in it as dicts, arrays as lists."""
        return {name: plain(self[name]) for name in type(self).codec.slots}

    def copy(self) -> Self:
        """The same value in this process's memory."""
        return _copy(self)

    def __copy__(self) -> Self:
        return _copy(self)

    def __deepcopy__(self, memo: object) -> Self:
        return _copy(self)

    def __getitem__(self, name: str) -> Any:
        return _descriptor(self, name).__get__(self, type(self))

    def __setitem__(self, name: str, value: object) -> None:
        _descriptor(self, name).__set__(self, value)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(Struct.__getitem__(self, name) == other[name] for name in type(self).codec.slots)

    def __repr__(self) -> str:
        return represent(self, DEEPEST)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *type(self).codec.slots})


def _descriptor(record: Struct, name: str) -> Any:
    codec: RecordCodec = type(record).codec
    if isinstance(name, str) and name in codec.descriptors:
        return codec.descriptors[name]
    return codec.missing(str(name))


def _copy(record: S) -> S:
    library = _core.library_of(record)
    size = _core.size_of(record)
    made: S = _core.own(type(record), _core.read_bytes(record, 0, size), library, size)
    if type(record).pointers:
        keeping.keep(made, 0, size, keeping.held(record))
    return made


def plain(value: object) -> object:
    """A value without memory: records as dicts, arrays as lists or text."""
    if isinstance(value, Struct):
        return Struct.as_dict(value)
    return value.plain() if isinstance(value, _core.Aggregate) else value  # type: ignore[attr-defined]


def represent(value: object, depth: int) -> str:
    """A value as ``repr`` shows it: records by their fields, the rest shortened."""
    if not isinstance(value, Struct):
        show = getattr(value, "_ferry_show", None)
        return repr(value) if show is None else str(show(depth))
    name = type(value).ctype.name
    if depth == 0:
        return f"<{name} ...>"
    try:
        fields = "".join(
            f" {field}={represent(Struct.__getitem__(value, field), depth - 1)}"
            for field in type(value).codec.slots
        )
    except Exception as error:
        return f"<{name}: {error}>"
    return f"<{name}{fields}>"
