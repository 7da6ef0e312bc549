"""What the conversions of one library's values need of the library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libferry import _core
from libferry.abi import CType, FunctionType, Integer, Pointer
from libferry.runtime import values
from libferry.runtime.callbacks import Callback
from libferry.runtime.telemetry import TracedFunction

if TYPE_CHECKING:
    from libferry.runtime.instance import Instance


class LibraryHooks:
    """The hooks of a library's functions and callbacks: ``binding.Hooks``."""

    def __init__(self, library: Instance, encoding: str | None) -> None:
        self.encoding = encoding
        self.library = library

    def pointer(self, ctype: Pointer, address: int) -> object:
        """A ``Pointer``; one that leads to a function can be called."""
        return self.library.make_pointer(ctype, address)

    def text(self, ctype: Pointer, address: int) -> object:
        """The string there, decoded."""
        return self.library.string(address, ctype.name)

    def address(self, ctype: Pointer, value: object) -> object:
        """A callback for a callable, an array for a sequence, a record for a dict or itself."""
        library = self.library
        if isinstance(value, _core.Aggregate):
            return values.pointee_for(library, ctype, value)
        if isinstance(ctype.to, FunctionType):
            if isinstance(value, TracedFunction):
                value = value.function
            if isinstance(value, _core.Function) and library.owns(value.session):
                now = value.current()
                return _core.Pointer(now.session, ctype.name, now.address)
            if isinstance(value, Callback):
                past = value.session is not library.session and library.owns(value.session)
                return library.callbacks.again(value) if past else NotImplemented
            if callable(value):
                return library.callbacks.passed(ctype, value)
        elif isinstance(value, list | tuple) and (ctype.readonly or _is_strings(ctype.to)):
            return values.array_for(library, ctype, value)
        elif isinstance(value, dict) and ctype.readonly:
            return values.array_for(library, ctype, [value])
        return NotImplemented

    def encode(self, ctype: CType, value: object) -> bytes | tuple[bytes, object]:
        """The bytes of a value that C does not convert itself, and what they point to."""
        kept: list[object] = []
        data = values.encode(self.library, ctype, value, kept=kept)
        return (data, kept) if kept else data

    def holds_addresses(self, ctype: CType) -> bool:
        """Whether there may be pointers in a value."""
        return values.codec_of(self.library.abi, ctype).pointers

    def decode(self, ctype: CType, data: bytes) -> object:
        """The value of bytes that C does not convert itself."""
        return values.decode(self.library, ctype, data)

    def record_class(self, ctype: CType) -> type | None:
        """The class of a record's objects."""
        return values.record_class(self.library, ctype)


def _is_strings(ctype: CType) -> bool:
    """``const char *``: a list of these is hardly ever written to."""
    return isinstance(ctype, Pointer) and ctype.readonly and isinstance(ctype.to, Integer)
