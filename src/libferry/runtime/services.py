"""What every session offers besides its library: opening, finding, reading.

They are C functions of the worker (``native/worker/services.c``), or of the
extension for an in-process session, and are called by frame like any other. The
order is that of ``enum ferry_service`` in ``native/channel.h``.
"""

from __future__ import annotations

import functools
import time
from typing import Any

from libferry import _core
from libferry.abi import CType, Pointer
from libferry.contract import Signature, declare
from libferry.errors import ChannelError
from libferry.runtime.binding import compile_plan

DECLARATIONS = """
uintptr_t open(const char *path, char *message, uint32_t size);
uintptr_t symbol(uintptr_t library, const char *name);
size_t length(uintptr_t string, uint32_t unit, size_t limit);
void copy(void *to, uintptr_t from, size_t size);
int errno_of(const char *library);
uintptr_t callback(uint32_t number, uintptr_t description);
void map(const void *description);
void map_queue(void *queue);
"""

# the same service the other way round
STORE = "void store(uintptr_t to, const void *from, size_t size);"
_COPY = 3  # the order of copy

MESSAGE_BYTES = 1024
STRING_LIMIT = 1 << 28  # characters: a length comes from the worker and is not trusted
CHUNK = 1 << 15  # bytes read at once, so that what is read may be larger than the arena


class _Plain:
    """Hooks for functions of numbers and of buffers: the services'."""

    encoding = "utf-8"
    library = None

    def address(self, ctype: Pointer, value: object) -> object:
        """Nothing but what C takes is passed."""
        return NotImplemented

    def record_class(self, ctype: CType) -> type | None:
        """There are no records."""

    def pointer(self, ctype: Pointer, address: int) -> object:
        raise AssertionError("no service returns a pointer")

    def text(self, ctype: Pointer, address: int) -> object:
        raise AssertionError("no service returns a string")

    def holds_addresses(self, ctype: CType) -> bool:
        """No service takes a structure."""
        return False

    def encode(self, ctype: CType, value: object) -> bytes:
        raise AssertionError("no service takes a structure")

    def decode(self, ctype: CType, data: bytes) -> object:
        raise AssertionError("no service returns a structure")


NUMBERS = _Plain()


@functools.cache
def _plans(abi_name: str) -> dict[str, _core.Plan]:
    """The plans of the services, in their order, and that of ``store``."""
    declared = declare(DECLARATIONS + STORE, abi_name).functions
    return {name: compile_plan(signature, NUMBERS) for name, signature in declared.items()}


class Services:
    """The services of one session, as methods.

    Attributes:
        timeout_ns: what each may take, however many calls it makes; 0 is for ever.
    """

    def __init__(self, session: _core.Session, abi_name: str) -> None:
        plans = _plans(abi_name)
        addresses = session.services()
        made = {
            name: _core.Function(session, address, name, plans[name], False, True)
            for name, address in zip(plans, (*addresses, addresses[_COPY]), strict=True)
        }
        self._open = made["open"]
        self._symbol = made["symbol"]
        self._length = made["length"]
        self._copy = made["copy"]
        self.timeout_ns = self._copy.timeout_ns
        self._errno_of = made["errno_of"]
        self._callback = made["callback"]
        self.map = made["map"]  # of a struct ferry_map (native/map.h)
        self.map_queue = made["map_queue"]  # of a struct ferry_queue
        session.services_of = self
        self.home: Any = None  # the Instance whose session it is, once that is open
        self._store = made["store"]

    @property
    def library(self) -> Any:
        """Whose session it is."""
        return self.home.library

    def reach(self, address: int, signature: Signature) -> _core.Function:
        """One more function of the library's process, of numbers and of buffers."""
        plan = compile_plan(signature, NUMBERS)
        return _core.Function(self._copy.session, address, signature.name, plan, False, False)

    def open(self, path: str) -> tuple[int, str]:
        """Open a library: its handle, and the loader's words if that is 0."""
        message = bytearray(MESSAGE_BYTES)
        handle: int = self._open(path, message, len(message))
        return handle, message.split(b"\0", 1)[0].decode("utf-8", "replace")

    def symbol(self, handle: int, name: str) -> int:
        """The address of an exported name, or 0."""
        address: int = self._symbol(handle, name)
        return address

    def read(self, address: int, size: int) -> bytes:
        """Copy ``size`` bytes from the library's memory."""
        return self._read(address, size, self._until())

    def _until(self) -> int:
        """When that which begins now has to be done, by ``time.monotonic_ns``; 0 is never."""
        return time.monotonic_ns() + self.timeout_ns if self.timeout_ns else 0

    def _read(self, address: int, size: int, until: int) -> bytes:
        data = bytearray(size)
        for start in range(0, size, CHUNK):
            part = memoryview(data)[start : start + CHUNK]
            copy = self._copy
            if until:  # one timeout for all the pieces together
                copy = copy.timed(max(1, until - time.monotonic_ns()))
            copy(part, address + start, len(part))
        return bytes(data)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Copy bytes into the library's memory."""
        view = memoryview(data).cast("B")
        for start in range(0, len(view), CHUNK):
            part = view[start : start + CHUNK]
            self._store(address + start, part, len(part))

    def string(self, address: int, unit: int) -> bytes:
        """The bytes of a terminated string of ``unit``-byte characters.

        Raises:
            ChannelError: the worker gives it a length beyond the limit it was told.
        """
        until = self._until()
        length: int = self._length(address, unit, STRING_LIMIT)
        if length > STRING_LIMIT:
            raise ChannelError(
                "read a string",
                f"the worker says it has {length:,} characters, more than it may look at",
                hint="the library has damaged or attacked its worker; load it again",
            )
        return self._read(address, length * unit, until)

    def callback(self, number: int, description: int) -> int:
        """Let a thunk lead to a callback, or (0) to none; the thunk's address.

        Raises:
            ChannelError: the worker says that there is no such thunk.
        """
        address: int = self._callback(number, description)
        if not address:
            raise ChannelError(
                "make a callback",
                "the worker gives it no address, though it has one for each",
                hint="the library has damaged or attacked its worker; load it again",
            )
        return address

    def errno_of(self, runtime: str) -> bool:
        """Report ``errno`` from this C runtime (Windows has several)."""
        return bool(self._errno_of(runtime))
