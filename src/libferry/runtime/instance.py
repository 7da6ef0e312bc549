"""``Instance``: a library in one session, which is where its addresses mean something.

A library whose worker crashed may begin again in a fresh one. Then it has had two
instances: the one that is over and the one that took its place. What was made in the
one (a ``Pointer``, a ``Buffer``, a record) is refused by the other, as it would be by
another library; what was in the memory that both sides saw can still be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from libferry import _core
from libferry.abi import ABIS, CType, FunctionType, size_of
from libferry.abi import Pointer as PointerType
from libferry.contract import Header, Signature, parse_type
from libferry.errors import ArgumentTypeError, ArgumentValueError, DeclarationError
from libferry.runtime import symbols
from libferry.runtime.binding import compile_plan
from libferry.runtime.callbacks import Callbacks, FunctionPointer
from libferry.runtime.hooks import LibraryHooks
from libferry.runtime.memory import Buffer, Pointer
from libferry.runtime.opening import Opened

if TYPE_CHECKING:
    from libferry.runtime.library import Library

LARGEST_SIZE = 1 << 47  # bytes: an address space


class Instance:
    """A library in one session: a ``values.base.Home``.

    Attributes:
        library: what users hold.
        abi: name of its ABI.
        opened: where it was opened.
        isolation: ``in-process``, ``namespace`` or ``worker``.
        worker: the process it is in, or None for this one.
        session: the channel to it.
        services: what it offers beside the library.
        handle: the library's, of the loader that is there.
        encoding: of ``char`` strings; None for bytes.
        hooks: what the conversions of its values need.
        callbacks: the Python callables that it may call.
        addresses: of variables, as they are found.
        kept: what its variables were set to lead to.
        over: how it ended, once another one has taken its place.
    """

    def __init__(self, library: Library, opened: Opened) -> None:
        self.library = library
        self.abi = library.abi
        self.opened = opened
        self.isolation = opened.isolation
        self.worker = opened.worker
        self.session = opened.session
        self.services = opened.services
        self.handle = opened.handle
        self.encoding = library._ferry_encoding
        self.hooks = LibraryHooks(self, self.encoding)
        self.callbacks = Callbacks(self)
        self.addresses: dict[str, int] = {}
        self.kept: dict[str, list[object]] = {}
        self.over = ""
        self.services.home = self

    @property
    def types(self) -> Mapping[str, CType]:
        """The types that the library's declarations name."""
        return self.library._ferry_types

    def owns(self, session: _core.Session) -> bool:
        """Whether a session is this library's, now or before a restart."""
        home = getattr(session.services_of, "home", None)
        return home is not None and home.library is self.library

    def stranger(self, session: _core.Session) -> tuple[str, str]:
        """What to say of a value of another session, and what to do."""
        if self.owns(session):
            return f"belongs to {session.services_of.home.past()}", "make a new one"
        return "belongs to another library", (
            "its address means nothing here; if the two share one process and one heap, "
            "lib.cast(type, pointer.address) says so"
        )

    def past(self) -> str:
        """Its worker, in words, when it is over."""
        assert self.worker is not None
        return f"the worker that crashed{self.over} (it was process {self.worker.pid})"

    # ---- functions ----

    def bind(
        self, signature: Signature, *, keep_gil: bool = False, timeout_ns: int | None = None
    ) -> _core.Function:
        """A function with the parameters that its signature has.

        Raises:
            SymbolNotFound: the library does not export it.
        """
        return _core.Function(
            self.session,
            self.find(spellings(signature, self.abi)),
            signature.name,
            compile_plan(signature, self.hooks),
            keep_gil,
            False,
            *(() if timeout_ns is None else (timeout_ns,)),
        )

    # ---- addresses ----

    def find(self, spellings: Sequence[str]) -> int:
        """The address of what is exported by one of these names."""
        binary = self.library.binary
        symbols.check(binary, spellings[0])
        for spelling in spellings:
            address = self.services.symbol(self.handle, spelling)
            if address:
                return address
        raise symbols.not_exported(binary, spellings[0])

    def make_pointer(self, ctype: PointerType, address: int) -> Pointer:
        """A typed address; one of a function can be called."""
        kind = FunctionPointer if isinstance(ctype.to, FunctionType) else Pointer
        pointer = kind(self.session, ctype.name, address)
        pointer.home, pointer.ctype = self, ctype
        return pointer

    def cast(
        self, ctype: str, address: int | _core.Pointer | _core.Buffer | _core.Aggregate
    ) -> Pointer:
        """An address as a pointer of that type; nothing checks that it is one."""
        pointer = self.type_of(ctype)
        if not isinstance(pointer, PointerType):
            raise DeclarationError(
                f"cast to {ctype}", "it is not a pointer type", hint=f"{ctype + ' *'!r}?"
            )
        number: object = address
        if isinstance(address, _core.Pointer | _core.Buffer):
            if address.session is not self.session and self.owns(address.session):
                happened, hint = self.stranger(address.session)
                raise ArgumentTypeError(f"cast {address!r} to {ctype}", f"it {happened}", hint=hint)
            number = address.address
        elif isinstance(address, _core.Aggregate):
            number = _core.address_of(address, self.session)
        bits = 8 * pointer.size
        if not isinstance(number, int) or not -(1 << (bits - 1)) <= number < 1 << bits:
            raise ArgumentTypeError(
                f"cast {address!r} to {ctype}",
                f"it is not an address of {8 * pointer.size} bits",
                hint="give an int, such as lib.symbol(name), a Pointer, or what lib.new made",
            )
        return self.make_pointer(pointer, number % (1 << (8 * pointer.size)))

    def type_of(self, ctype: str) -> CType:
        """A C type, by how C writes it."""
        if not isinstance(ctype, str):
            raise ArgumentTypeError(
                "read a C type",
                f"{ctype!r:.80} is not text",
                hint="such as 'struct point' or 'int[10]'",
            )
        library = self.library
        known = Header({}, library._ferry_types, library._ferry_header.constants)
        return parse_type(ctype, self.abi, known)

    # ---- memory ----

    def buffer(self, size: int) -> Buffer:
        """Memory that both sides see."""
        if not isinstance(size, int):
            raise ArgumentTypeError(
                f"make a Buffer of {size!r} bytes",
                "that is not an int",
                hint="give a size in bytes",
            )
        if not 0 <= size < LARGEST_SIZE:
            raise ArgumentValueError(
                f"make a Buffer of {size} bytes",
                "that is not a valid size",
                hint=f"give a number from 0 to {LARGEST_SIZE - 1:,}",
            )
        return Buffer(self.session, size)

    def read(self, address: int, size: int) -> bytes:
        """Copy bytes from the library's memory."""
        if not isinstance(size, int) or not 0 <= size < LARGEST_SIZE:
            raise ArgumentValueError(
                f"read {size} bytes at {address:#x}",
                "that is not a valid size",
                hint="give the number of bytes that are there",
            )
        return self.services.read(address, size)

    def write(self, address: int, data: bytes) -> None:
        """Copy bytes into the library's memory."""
        self.services.write(address, data)

    def string(self, address: int, ctype: str) -> str | bytes:
        """The terminated string there, decoded as the library's strings are."""
        wide = ctype == "wchar_t *"
        unit = ABIS[self.abi].sizes["wchar_t"] if wide else 1
        data = self.services.string(address, unit)
        if wide:
            return data.decode({2: "utf-16-le", 4: "utf-32-le"}[unit], "surrogatepass")
        return data if self.encoding is None else data.decode(self.encoding, "surrogateescape")

    def variable(self, name: str, exported: str, ctype: CType) -> Pointer:
        """Where a variable is."""
        if name not in self.addresses:
            symbols.refuse_thread_local(self.library.binary, exported)
            self.addresses[name] = self.find((exported,))
        return self.make_pointer(
            PointerType(ctype, ABIS[self.abi].pointer_size), self.addresses[name]
        )

    # ---- its end ----

    def close(self) -> None:
        """Close it, and end its worker. Twice is fine."""
        self.opened.close()


def spellings(signature: Signature, abi_name: str) -> Sequence[str]:
    """The names it may be exported by: conventions decorate them on i386 Windows."""
    abi = ABIS[abi_name]
    slot = abi.stack_slot
    taken = sum(-(-size_of(parameter.type) // slot) * slot for parameter in signature.parameters)
    forms = abi.decorations.get(signature.convention, ("{name}",))
    return [form.format(name=signature.symbol, bytes=taken) for form in forms]
