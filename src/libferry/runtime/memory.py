"""Memory and addresses of a library, with the methods that need the library.

The compiled halves (``libferry._core``) know how to be passed to a function; what
is here knows how to be read.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from libferry import _core
from libferry.abi import CType
from libferry.abi import Pointer as PointerType
from libferry.runtime.values.codec import decode, encode
from libferry.runtime.values.leading import deref, elements, store

if TYPE_CHECKING:
    from libferry.runtime.instance import Instance
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
    and to nothing else; not even to the same library after a restart.
    """

    home: Instance
    ctype: PointerType

    @property
    def library(self) -> Library:
        """Where it came from."""
        return self.home.library

    def read(self, size: int) -> bytes:
        """Copy ``size`` bytes from there.

        Reading an address that is not the library's ends its worker
        (``LibraryCrashed``), or this process if it lives in-process.
        """
        return self.home.read(self.address, size)

    def string(self) -> str | bytes:
        """Copy the C string there, decoded as the library's strings are."""
        return self.home.string(self.address, self.type)

    @property
    def value(self) -> Any:
        """What it leads to: a number, a record, another ``Pointer``, or None for NULL.

        A record or an array in this process is the memory itself; in a worker it is a
        copy, and assigning to ``value`` writes one back.

        Raises:
            ArgumentTypeError: the size of what it leads to is not known.
        """
        return deref(self)

    @value.setter
    def value(self, value: object) -> None:
        store(self, value)

    def __getitem__(self, index: int | slice) -> Any:
        """The index-th value from there; ``p[0:n]`` is an array of n."""
        if isinstance(index, slice):
            return elements(self, index)
        return deref(self, index=operator.index(index))

    def __setitem__(self, index: int, value: object) -> None:
        store(self, value, operator.index(index))

    def cast(self, ctype: str) -> Pointer:
        """The same address as another type, such as ``"unsigned char *"``."""
        return self.home.cast(ctype, self.address)

    def __repr__(self) -> str:
        return f"<libferry.Pointer ({self.type}) {self.address:#x}>"


class Out(Buffer):
    """Room for one value that a function stores through a pointer.

    Made by ``Library.out``; pass it where the function expects the pointer and read
    ``value`` afterwards.
    """

    home: Instance
    pointee: CType

    kept: Sequence[object] = ()  # what the pointer in it leads to

    @property
    def value(self) -> object:
        """What is stored there now: a number, a record, a ``Pointer``, or None for NULL."""
        return decode(self.home, self.pointee, bytes(self))

    @value.setter
    def value(self, value: object) -> None:
        kept: list[object] = []
        memoryview(self)[:] = encode(
            self.home, self.pointee, value, kept=kept, tried=f"set an out {self.pointee.name}"
        )
        self.kept = kept

    def __repr__(self) -> str:
        return f"<libferry.Out {self.pointee.name}>" if not self.freed else "<libferry.Out, freed>"
