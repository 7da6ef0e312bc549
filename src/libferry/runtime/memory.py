"""Memory and addresses of a library, with the methods that need the library.

The compiled halves (``libferry._core``) know how to be passed to a function; what
is here knows how to be read.
"""

from __future__ import annotations

import operator
import struct
from typing import TYPE_CHECKING, Any, Self

from libferry import _core
from libferry.abi import Boolean, CType, Integer, Real
from libferry.abi import Pointer as PointerType
from libferry.errors import ArgumentTypeError, ArgumentValueError

if TYPE_CHECKING:
    from libferry.runtime.library import Library


class Buffer(_core.Buffer):
    """Memory that this process and the library both see: nothing is copied.

    Made by ``Library.buffer``. It has Python's buffer protocol, so ``memoryview``
    and ``numpy.frombuffer`` view it in place; ``free`` or ``with`` gives it back
    early. Views keep it alive, and ``free`` refuses while there are any.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.free()

    def __bytes__(self) -> bytes:
        return bytes(memoryview(self))

    def __repr__(self) -> str:
        if self.freed:
            return "<libferry.Buffer, freed>"
        return f"<libferry.Buffer of {len(self)} bytes at {self.address:#x}>"


class Pointer(_core.Pointer):
    """An address in a library's process, with its C type.

    It can be passed back to functions of the same library that expect that type,
    and to nothing else. ``library`` is where it came from.
    """

    library: Library
    ctype: PointerType

    def read(self, size: int) -> bytes:
        """Copy ``size`` bytes from there.

        Reading an address that is not the library's ends its worker
        (``LibraryCrashed``), or this process if it lives in-process.
        """
        return self.library._ferry_read(self.address, size)

    def string(self) -> str | bytes:
        """Copy the C string there, decoded as the library's strings are."""
        return self.library._ferry_string(self.address, self.type)

    def cast(self, ctype: str) -> Pointer:
        """The same address as another type, such as ``"unsigned char *"``."""
        return self.library.cast(ctype, self.address)

    def __repr__(self) -> str:
        return f"<libferry.Pointer ({self.type}) {self.address:#x}>"


class Out(Buffer):
    """Room for one value that a function stores through a pointer.

    Made by ``Library.out``; pass it where the function expects the pointer and read
    ``value`` afterwards.
    """

    library: Library
    pointee: CType

    @property
    def value(self) -> object:
        """What is stored there now: a number, a ``Pointer``, or None for NULL."""
        data = bytes(self)
        match self.pointee:
            case Integer(signed=signed):
                return int.from_bytes(data, "little", signed=signed)
            case Boolean():
                return data != b"\0"
            case Real(size=size):
                return memoryview(data).cast("f" if size == 4 else "d")[0]
            case PointerType():
                address = int.from_bytes(data, "little")
                return self.library._ferry_make_pointer(self.pointee, address) if address else None
        raise ArgumentTypeError(
            f"read an out {self.pointee.name}", "its size is not known", hint="use a Buffer"
        )

    @value.setter
    def value(self, value: int | float | _core.Pointer | None) -> None:
        try:
            memoryview(self)[:] = self._encode(value)
        except (TypeError, OverflowError, struct.error) as error:
            raise ArgumentValueError(
                f"set an out {self.pointee.name} to {value!r}",
                str(error),
                hint="a number that fits can be set, or a Pointer of that type, or None",
            ) from None

    def _encode(self, number: Any) -> bytes:
        match self.pointee:
            case PointerType(name=name, size=size):
                if number is None:
                    return bytes(size)
                if isinstance(number, _core.Pointer) and number.type == name:
                    return number.address.to_bytes(size, "little")
            case Integer(size=size, signed=signed):
                return operator.index(number).to_bytes(size, "little", signed=signed)
            case Boolean():
                return bytes([bool(number)])
            case Real(size=size):
                return struct.pack("<f" if size == 4 else "<d", number)
        raise TypeError("it has another type")

    def __repr__(self) -> str:
        return f"<libferry.Out {self.pointee.name}>" if not self.freed else "<libferry.Out, freed>"
