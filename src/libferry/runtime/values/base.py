"""What every codec is, and how it says no.

A codec turns Python values into the bytes of one C type on one ABI, and back. Codecs
of records and arrays are made of those of their parts. One that refuses raises
``Misfit``, which knows no names; the records and arrays around it add where in them
it happened, and the room's front doors make one of libferry's errors of it. So a
value that fits pays nothing for messages.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from libferry import _core
from libferry.abi import CType, spell
from libferry.abi import Pointer as PointerType
from libferry.errors import ArgumentTypeError, ArgumentValueError, FerryError

if TYPE_CHECKING:
    from libferry.runtime.memory import Buffer, Pointer


class Hooks(Protocol):
    """What only the library can make a pointer of."""

    def address(self, ctype: PointerType, value: object, /) -> object:
        """A callback for a callable, or NotImplemented."""


class Home(Protocol):
    """Where a library's addresses mean something: the library as it is in one session."""

    @property
    def abi(self) -> str:
        """Name of its ABI."""

    @property
    def isolation(self) -> str:
        """``in-process`` or ``worker``."""

    @property
    def session(self) -> _core.Session:
        """The session."""

    @property
    def encoding(self) -> str | None:
        """Of ``char`` strings; None: bytes."""

    @property
    def types(self) -> Mapping[str, CType]:
        """The types that are declared, by name."""

    @property
    def hooks(self) -> Hooks:
        """What only the library can convert."""

    def buffer(self, size: int, /) -> Buffer:
        """Give memory that both sides see."""

    def type_of(self, ctype: str, /) -> CType:
        """A C type, by how C writes it."""

    def make_pointer(self, ctype: PointerType, address: int, /) -> Pointer:
        """A typed address."""

    def read(self, address: int, size: int, /) -> bytes:
        """Copy bytes from the library's memory."""

    def write(self, address: int, data: bytes, /) -> None:
        """Copy bytes into the library's memory."""

    def owns(self, session: _core.Session, /) -> bool:
        """Whether a session is this library's, now or before a restart."""

    def stranger(self, session: _core.Session, /) -> tuple[str, str]:
        """What to say of a value of another session, and what to do."""


@dataclass(slots=True)
class Context:
    """Whose addresses the bytes hold, and what has to live as long as the bytes do.

    ``made`` says that some of that was made here, so that nobody else keeps it.
    ``flexible`` says that a record may be longer than its type, for the flexible array
    at its end.
    """

    library: Home | None = None
    kept: list[object] = field(default_factory=list)
    made: bool = False
    flexible: bool = False


class Misfit(Exception):
    """A value that a C type refuses; ``path`` leads to it from the outside."""

    def __init__(self, kind: type[ArgumentTypeError | ArgumentValueError], what: str, hint: str):
        super().__init__(what)
        self.kind, self.what, self.hint = kind, what, hint
        self.path = ""

    def error(self, tried: str) -> FerryError:
        """What users see; ``tried`` names the whole, as in ``set struct point``."""
        return self.kind(tried + self.path, self.what, hint=self.hint)

    def inside(self, step: str) -> Misfit:
        """Say that this happened in a part: ``.field`` or ``[index]``."""
        self.path = step + self.path
        return self


def wrong_type(what: str, hint: str) -> Misfit:
    """A value of a type that does not go there."""
    return Misfit(ArgumentTypeError, what, hint)


def wrong_value(what: str, hint: str) -> Misfit:
    """A value of the right type that the C type cannot carry."""
    return Misfit(ArgumentValueError, what, hint)


class Codec(ABC):
    """Values of one C type on one ABI, as bytes.

    Attributes:
        ctype: the type.
        size: bytes of one value.
        pointers: whether there are addresses among its bytes.
    """

    pointers = False

    def __init__(self, ctype: CType, size: int) -> None:
        self.ctype = ctype
        self.size = size

    @property
    def name(self) -> str:
        """The type as C writes it."""
        return spell(self.ctype)

    @abstractmethod
    def encode(self, value: object, context: Context) -> bytes:
        """Exactly ``size`` bytes, padding zero.

        Raises:
            Misfit: the value does not go there.
        """

    @abstractmethod
    def decode(self, data: bytes, library: Home | None) -> object:
        """The Python value of ``size`` bytes; records and arrays get a copy of them."""

    # ---- the same type of another library ----

    @property
    def key(self) -> tuple[object, ...]:
        """Two codecs with the same key have the same bytes for the same value."""
        return self._key()

    def _key(self) -> tuple[object, ...]:
        return (self,)

    def convert(self, source: Codec, data: bytes) -> bytes:
        """Bytes of this type from those of the same C type on another ABI.

        Raises:
            Misfit: the value has no place here.
        """
        return data if self.key == source.key else self._convert(source, data)

    def _convert(self, source: Codec, data: bytes) -> bytes:
        raise self.differs(source)

    def differs(self, source: Codec) -> Misfit:
        """The types of two libraries that should be one are not."""
        return wrong_type(
            f"it is a {source.name} there and a {self.name} here", "convert it field by field"
        )
