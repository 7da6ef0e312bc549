"""Codec of pointers: what may stand for an address, and what keeps it valid.

An address means something in one library only. So a pointer is made of what that
library gave (a ``Pointer``), of memory that it sees (a ``Buffer``, a record or an
array in one), of a string that is put there, or of a callable, for a pointer to a
function. Whatever the bytes come to point to is listed in ``Context.kept``: who stores
the bytes keeps that list as long.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from libferry import _core
from libferry.abi import FunctionType, Integer, Pointer
from libferry.runtime.showing import kind, show
from libferry.runtime.values.base import Codec, Context, Home, wrong_type, wrong_value

_HINT = (
    "give None, a Pointer, a Buffer, or what lib.new made; an address that you know to be "
    "right becomes a Pointer by lib.cast(type, address)"
)
_WIDE = {2: "utf-16-le", 4: "utf-32-le"}


# Whether a record or an array is what a pointer of that library may lead to.
Fit = Literal["fits", "another library", "another type"]
Fits = Callable[[Home, Pointer, _core.Aggregate], Fit]


class PointerCodec(Codec):
    """A pointer; decoded to a ``Pointer``, None for NULL, an int if it is nobody's."""

    pointers = True

    def __init__(self, ctype: Pointer, fits: Fits) -> None:
        super().__init__(ctype, ctype.size)
        self._fits = fits
        self.pointer = ctype
        self.function = isinstance(ctype.to, FunctionType)
        self.text = ctype.to.size if isinstance(ctype.to, Integer) and ctype.to.text else 0

    def encode(self, value: object, context: Context) -> bytes:
        """The address by which the library sees it."""
        return self._address(value, context).to_bytes(self.size, "little")

    def decode(self, data: bytes, library: Home | None) -> object:
        """A ``Pointer`` of the library."""
        address = int.from_bytes(data, "little")
        if not address:
            return None
        return address if library is None else library.make_pointer(self.pointer, address)

    def _key(self) -> tuple[object, ...]:
        return (object(),)  # no two libraries share addresses

    def _convert(self, source: Codec, data: bytes) -> bytes:
        """NULL; every other address belongs to the library that it is from."""
        if not isinstance(source, PointerCodec):
            raise self.differs(source)
        if any(data):
            raise wrong_value(
                "it is a pointer, and addresses of one library mean nothing in another",
                "only None goes across: set it to None, or make the value in this library",
            )
        return bytes(self.size)

    def _address(self, value: object, context: Context) -> int:
        if value is None:
            return 0
        library = context.library
        if library is None:
            raise wrong_type(
                f"{kind(value)} would be an address, and this value belongs to no library",
                "make it by lib.new(...)",
            )
        match value:
            case _core.Pointer():
                self._check(value.type, value.session, library, value)
                address = value.address
            case _core.Buffer():
                if value.freed:
                    raise wrong_value("the Buffer was freed", "make a new one")
                self._check(value.type, value.session, library, value)
                address = value.address
            case _core.Aggregate():
                address = self._place(value, library)
            case str() | bytes():
                buffer = self._text(value, library)
                context.kept.append(buffer)
                context.made = True
                return buffer.address
            case _core.Callback():
                if not value.address:
                    raise wrong_value("the callback was released", "make a new one")
                if value.session is not library.session and library.owns(value.session):
                    made = library.hooks.address(self.pointer, value)  # again, after a restart
                    return self._address(made, context)
                self._check(value.type, value.session, library, value)
                address = value.address
            case _ if self.function and callable(value):
                made = library.hooks.address(self.pointer, value)
                return self._address(made, context)
            case _:
                raise wrong_type(f"{kind(value)} cannot be a {self.name}", _HINT)
        context.kept.append(value)
        return address

    def _check(
        self, given: str | None, session: _core.Session, library: Home, value: object
    ) -> None:
        """Like the call of a function: the same library, and the same type or ``void *``."""
        if session is not library.session:
            what, hint = library.stranger(session)
            raise wrong_type(f"{show(value)} {what}", hint)
        if given not in (None, "void *", self.pointer.name) and self.pointer.name != "void *":
            raise wrong_type(
                f"{show(value)} cannot be a {self.name}",
                "give a pointer of that type; pointer.cast(type) overrides the check",
            )

    def _place(self, value: _core.Aggregate, library: Home) -> int:
        names: tuple[str, ...] = type(value).codec.spellings(value)
        match self._fits(library, self.pointer, value):
            case "another type":
                raise wrong_type(
                    f"a {names[0]} is not what {self.name} leads to",
                    f"give a {self.pointer.to.name}",
                )
            case "another library":
                theirs = _core.library_of(value)
                what = "belongs to another library"
                if theirs is not None:
                    what = library.stranger(theirs.session)[0]
                raise wrong_type(f"that {names[0]} {what}", "make it by lib.new(...)")
        address = _core.address_of(value, library.session)
        theirs = _core.library_of(value)
        if address is None and theirs not in (None, library) and theirs.owns(library.session):
            what, hint = library.stranger(theirs.session)
            raise wrong_value(f"that {names[0]} {what}", hint)
        if address is None:
            raise wrong_value(
                f"that {names[0]} is in this process, where the library does not see it",
                "make it by lib.new(...)",
            )
        return address

    def _text(self, value: str | bytes, library: Home) -> _core.Buffer:
        """A copy of a string, which the library sees."""
        if not self.pointer.readonly or self.function:
            raise wrong_type(
                f"a {kind(value)} is read-only, and what {self.name} leads to may be written to",
                "give a Buffer, or lib.new('char[20]', ...); if it is only read, declare it const",
            )
        data = encode_text(value, self.text, library) if self.text else value
        if isinstance(data, str):
            raise wrong_type(f"a str cannot be a {self.name}", _HINT)
        end = bytes(max(self.text, 1))
        if self.text and isinstance(value, bytes) and b"\0" in value:
            raise wrong_value(f"{show(value)} has a NUL inside", "a C string ends there")
        buffer = library.buffer(len(data) + len(end))
        memoryview(buffer)[:] = data + end
        return buffer


def encode_text(text: str | bytes, unit: int, library: Home | None) -> bytes:
    """A string as the bytes of ``char`` (unit 1) or ``wchar_t``, without a terminator."""
    if isinstance(text, bytes):
        if unit != 1:
            raise wrong_type("bytes are no wide string", "give a str: it is encoded for the target")
        return text
    if "\0" in text:
        raise wrong_value(f"{show(text)} has a NUL inside", "a C string ends there; give bytes")
    try:
        if unit != 1:
            return text.encode(_WIDE[unit], "surrogatepass")
        encoding = "utf-8" if library is None else library.encoding
        if encoding is None:
            raise wrong_type(
                "a str cannot be encoded: the library was loaded with encoding=None",
                "give bytes, or load it with encoding='utf-8'",
            )
        return text.encode(encoding, "surrogateescape")
    except UnicodeError as error:
        raise wrong_value(
            f"{show(text)} cannot be encoded: {error}",
            "check the text, or load the library with the encoding it expects",
        ) from None
