"""``Library``: an open library, its functions and its memory."""

from __future__ import annotations

import dataclasses
import os
from collections import ChainMap
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any, Literal, Self

from libferry import _core
from libferry.abi import ABIS, Array, CType, FunctionType
from libferry.abi import Pointer as PointerType
from libferry.binary import Binary
from libferry.contract import AddressConstant, Header, Signature, declare, parse_type
from libferry.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    DeclarationError,
    SymbolNotFound,
)
from libferry.runtime import functions, symbols, values
from libferry.runtime.aio import Aio
from libferry.runtime.callbacks import Callback, Callbacks, FunctionPointer
from libferry.runtime.functions import Function
from libferry.runtime.hooks import LibraryHooks
from libferry.runtime.memory import Buffer, Out, Pointer
from libferry.runtime.services import Services
from libferry.runtime.values import making
from libferry.runtime.variadic import TypedValue
from libferry.runtime.worker import Worker

LARGEST_SIZE = 1 << 47  # bytes: an address space


def _text(value: str, tried: str, hint: str) -> str:
    if not isinstance(value, str):
        raise ArgumentTypeError(tried, f"{value!r:.80} is not text", hint=hint)
    return value


class Library:
    """An open library. Made by ``load``.

    Declared functions are attributes; ``lib["name"]`` reaches those whose names are
    taken by methods here, such as ``close``. (What is not for users begins with
    ``_ferry_``, a name no C library exports.) ``with`` closes it at the end.

    Attributes:
        binary: what its file says of itself.
        abi: the ABI it is called by, such as ``i386-windows``.
        isolation: ``in-process``, ``worker`` or ``sandbox``.
        through: what runs its worker, or ``this process``.
        pid: its worker's process id, or this process's.
        sandbox: the layers of its sandbox, in force and missing; None without one.
        aio: its functions, to be awaited: ``await lib.aio.f(1, 2)``.
    """

    def __init__(
        self,
        binary: Binary,
        abi: str,
        session: _core.Session,
        worker: Worker | None,
        services: Services,
        handle: int,
        header: Header,
        encoding: str | None,
    ) -> None:
        self.binary = binary
        self.abi = abi
        confinement = worker.start.confinement if worker else None
        self.isolation = "sandbox" if confinement else "worker" if worker else "in-process"
        self.sandbox = confinement.report if confinement else None
        self.through = worker.runner.through if worker else "this process"
        self.pid = worker.pid if worker else os.getpid()
        self._ferry_session = session
        self._ferry_worker = worker
        self._ferry_encoding = encoding
        self._ferry_services = services
        self._ferry_hooks = LibraryHooks(self, encoding)
        self._ferry_callbacks = Callbacks(self)
        self._ferry_handle = handle
        self.aio = Aio(self)
        services.library = self
        # what is declared later comes before what the header says; views of the header
        self._ferry_functions: MutableMapping[str, Signature] = ChainMap({}, header.functions)  # type: ignore[arg-type]
        self._ferry_types: MutableMapping[str, CType] = ChainMap({}, header.types)  # type: ignore[arg-type]
        self._ferry_variables: MutableMapping[str, CType] = ChainMap({}, header.variables)  # type: ignore[arg-type]
        self._ferry_addresses: dict[str, int] = {}  # of variables, as they are found
        self._ferry_kept: dict[str, list[object]] = {}  # what variables were set to lead to
        self._ferry_header = header

    # ---- functions ----

    def _ferry_read_declaration(self, declaration: str) -> Header:
        _text(declaration, "read a declaration", "such as 'int add(int, int)'")
        text = declaration if declaration.rstrip().endswith(";") else declaration + ";"
        known = Header({}, self._ferry_types, self._ferry_header.constants)
        return declare(text, self.abi, known)

    def function(
        self,
        declaration: str,
        *,
        gil: Literal["release", "keep"] = "release",
        symbol: str | None = None,
    ) -> Function:
        """Declare one function and give it.

        Args:
            declaration: such as ``"int add(int, int)"``; typedefs of the header are known.
            gil: ``"keep"`` for a function that returns at once: in-process, other Python
                threads then wait for it, and the call is faster.
            symbol: the name it is exported by, if that is another: with a version, such
                as ``memcpy@GLIBC_2.2.5``; ``#7``, a DLL's ordinal; of C++, mangled as
                ``_Z3addii`` or as ``math::add(int, int)``.

        Raises:
            DeclarationError: it is not one function's declaration, or cannot be called.
            SymbolNotFound: the library does not export it.
        """
        declared = self._ferry_read_declaration(declaration)
        if len(declared.functions) != 1:
            raise DeclarationError(
                "declare a function",
                f"{declaration!r} declares {len(declared.functions)}",
                hint="give exactly one, such as 'int add(int, int)'",
            )
        (signature,) = declared.functions.values()
        if symbol is not None:
            exported = symbols.from_signature(self.binary, symbol)
            signature = dataclasses.replace(signature, symbol=exported)
        function = functions.bind(self, signature, keep_gil=gil == "keep")
        self._ferry_functions[signature.name] = signature
        self.__dict__.pop(signature.name, None)
        return function

    def _ferry_plain(self, name: str) -> Any:
        """A declared function with every parameter as C has it."""
        key = f"_ferry_plain_{name}"
        if key not in self.__dict__:
            self.__dict__[key] = functions.bind_plain(self, self._ferry_functions[name])
        return self.__dict__[key]

    def _ferry_find(self, spellings: Sequence[str]) -> int:
        symbols.check(self.binary, spellings[0])
        for spelling in spellings:
            address = self._ferry_services.symbol(self._ferry_handle, spelling)
            if address:
                return address
        raise symbols.not_exported(self.binary, spellings[0])

    def symbol(self, name: str) -> int:
        """The address of an export, in the library's process; named as for ``function``.

        Raises:
            SymbolNotFound: it exports no such name; the hint offers near ones.
        """
        return self._ferry_find((symbols.from_signature(self.binary, name),))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_ferry_header" not in self.__dict__:
            raise AttributeError(name)
        if name in self._ferry_functions:
            function = self[name]
            self.__dict__[name] = function  # the next look-up does not come here
            return function
        if name in self._ferry_variables:
            pointer = self._ferry_variable(name)
            declared = self._ferry_variables[name]
            endless = isinstance(declared, Array) and declared.length is None
            return pointer if endless else pointer.value
        if name in self._ferry_header.constants:
            constant = self._ferry_header.constants[name]
            if isinstance(constant, AddressConstant):
                address = constant.value % (1 << (8 * constant.type.size))
                return self._ferry_make_pointer(constant.type, address) if address else None
            return constant
        return self[name]

    def __setattr__(self, name: str, value: object) -> None:
        if "_ferry_header" in self.__dict__ and name in self._ferry_variables:
            pointer = self._ferry_variable(name)
            kept: list[object] = []
            ctype = self._ferry_variables[name]
            data = values.encode(self, ctype, value, kept=kept, tried=f"set {name}")
            self._ferry_write(pointer.address, data)
            self._ferry_kept[name] = kept  # until something else is stored there
        else:
            super().__setattr__(name, value)

    def __getitem__(self, name: str) -> Any:
        """The declared function of that name, even if a method has the same name."""
        if name in self._ferry_functions:
            return functions.bind(self, self._ferry_functions[name])
        if name in dir(self):
            raise SymbolNotFound(
                f"call {name} of {self.binary.path.name}",
                "it is exported, but its types are not known",
                hint=f"declare it: lib.function('int {name}(...)'), or in header=",
            )
        self._ferry_find((name,))
        raise SymbolNotFound(
            f"call {name} of {self.binary.path.name}",
            "its types are not known",
            hint=f"declare it: lib.function('int {name}(...)'), or in header=",
        )

    def __contains__(self, name: object) -> bool:
        """Whether the library exports that name."""
        return name in dir(self)

    def __iter__(self) -> Iterator[str]:
        """The names it exports."""
        return iter(dir(self))

    def __dir__(self) -> list[str]:
        """What the library exports."""
        return sorted({export.name for export in self.binary.exports})

    # ---- variables, callbacks and values ----

    def variable(self, declaration: str, *, symbol: str | None = None) -> Pointer:
        """Declare an exported variable and give its address; ``value`` reads and writes it.

        ``lib.variable("int counter")`` also makes ``lib.counter`` read and assign it.

        Args:
            declaration: such as ``"int counter"``; typedefs of the header are known.
            symbol: the name it is exported by, if that is another: as for ``function``.

        Raises:
            DeclarationError: it is not the declaration of one variable.
            UnsupportedDeclaration: each thread has its own.
            SymbolNotFound: the library does not export it.
        """
        text = _text(declaration, "read a declaration", "such as 'int counter'").strip()
        if not text.startswith("extern"):
            text = "extern " + text
        declared = self._ferry_read_declaration(text)
        if len(declared.variables) != 1:
            raise DeclarationError(
                "declare a variable",
                f"{declaration!r} declares {len(declared.variables)}",
                hint="give exactly one, such as 'int counter'",
            )
        ((name, ctype),) = declared.variables.items()
        exported = name if symbol is None else symbols.from_signature(self.binary, symbol)
        self._ferry_addresses[name] = self._ferry_find_variable(exported)
        self._ferry_variables[name] = ctype
        return self._ferry_variable(name)

    def _ferry_variable(self, name: str) -> Pointer:
        ctype = self._ferry_variables[name]
        if isinstance(ctype, Array) and ctype.length is None:
            ctype = ctype.of  # how many there are, only the library knows
        pointer = PointerType(ctype, ABIS[self.abi].pointer_size)
        if name not in self._ferry_addresses:
            self._ferry_addresses[name] = self._ferry_find_variable(name)
        return self._ferry_make_pointer(pointer, self._ferry_addresses[name])

    def _ferry_find_variable(self, name: str) -> int:
        symbols.refuse_thread_local(self.binary, name)
        return self._ferry_find((name,))

    def callback(
        self, ctype: str, function: Callable[..., object], *, error: object = None
    ) -> Callback:
        """A Python callable as a C function of this library.

        Args:
            ctype: a function pointer type: ``"int (*)(const void *, const void *)"``, or
                the name of a typedef of one.
            function: what C calls. What it raises is raised by the call into the library
                that C made this call from.
            error: what C gets when it raised; None is zero.

        Raises:
            DeclarationError: ``ctype`` is not a function pointer.
            UnsupportedDeclaration: it takes or gives what cannot be passed.
        """
        pointer = self._ferry_type(ctype)
        if isinstance(pointer, FunctionType):
            pointer = PointerType(pointer, ABIS[self.abi].pointer_size)
        if not isinstance(pointer, PointerType) or not isinstance(pointer.to, FunctionType):
            raise DeclarationError(
                f"make a callback of type {ctype}",
                "it is not a function pointer",
                hint="such as 'int (*)(void *)'",
            )
        return self._ferry_callbacks.make(pointer, function, error)

    def value(self, ctype: str, value: object) -> TypedValue:
        """A value to pass for ``...`` as that C type: ``lib.value("unsigned long", 5)``."""
        return TypedValue(self._ferry_type(ctype), value)

    # ---- memory ----

    def new(self, ctype: str, /, *args: object, **fields: object) -> Any:
        """A value of a C type, in memory that both sides see; what is not given is zero.

        ``lib.new("struct point", x=1, y=2)`` has the fields as attributes;
        ``lib.new("struct point[3]")`` is an array, ``lib.new("int", 5)`` an ``Out``.

        Raises:
            DeclarationError: the type is not known, or has no size.
            ArgumentTypeError, ArgumentValueError: a value does not go there.
            ArenaFull: the shared memory has no room.
        """
        return making.new(self, self._ferry_type(ctype), *args, **fields)

    def buffer(self, size: int) -> Buffer:
        """Memory of ``size`` bytes, zeroed, that both sides see without copying.

        Raises:
            ArenaFull: the shared memory has no room.
            ArgumentValueError: that is no size.
        """
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
        return Buffer(self._ferry_session, size)

    def out(self, ctype: str) -> Out:
        """Room for one value of a C type, to be stored through a pointer.

        ``lib.out("sqlite3 *")`` is passed where ``sqlite3 **`` is declared.

        Raises:
            DeclarationError: the type is not known, or has no size.
        """
        pointee = self._ferry_type(ctype)
        size = getattr(pointee, "size", None)
        if size is None:
            raise DeclarationError(
                f"make room for a {ctype}",
                "its size is not known",
                hint=f"a function that fills one takes its address: lib.out({ctype + ' *'!r})?",
            )
        kind = PointerType(pointee, ABIS[self.abi].pointer_size)
        out = Out(self._ferry_session, size, kind.name)
        out.library, out.pointee = self, pointee
        return out

    def cast(
        self, ctype: str, address: int | _core.Pointer | _core.Buffer | _core.Aggregate
    ) -> Pointer:
        """An address as a typed pointer of this library; nothing checks that it is one.

        Raises:
            DeclarationError: ``ctype`` is not a pointer type.
            ArgumentTypeError: the address is none.
        """
        pointer = self._ferry_type(ctype)
        if not isinstance(pointer, PointerType):
            raise DeclarationError(
                f"cast to {ctype}", "it is not a pointer type", hint=f"{ctype + ' *'!r}?"
            )
        number: object = address
        if isinstance(address, _core.Pointer | _core.Buffer):
            number = address.address
        elif isinstance(address, _core.Aggregate):
            number = _core.address_of(address, self._ferry_session)
        bits = 8 * pointer.size
        if not isinstance(number, int) or not -(1 << (bits - 1)) <= number < 1 << bits:
            raise ArgumentTypeError(
                f"cast {address!r} to {ctype}",
                f"it is not an address of {8 * pointer.size} bits",
                hint="give an int, such as lib.symbol(name), a Pointer, or what lib.new made",
            )
        return self._ferry_make_pointer(pointer, number % (1 << (8 * pointer.size)))

    def _ferry_type(self, ctype: str) -> CType:
        return parse_type(
            _text(ctype, "read a C type", "such as 'struct point' or 'int[10]'"),
            self.abi,
            Header({}, self._ferry_types, self._ferry_header.constants),
        )

    def _ferry_make_pointer(self, ctype: PointerType, address: int) -> Pointer:
        kind = FunctionPointer if isinstance(ctype.to, FunctionType) else Pointer
        pointer = kind(self._ferry_session, ctype.name, address)
        pointer.library, pointer.ctype = self, ctype
        return pointer

    def _ferry_read(self, address: int, size: int) -> bytes:
        if not isinstance(size, int) or not 0 <= size < LARGEST_SIZE:
            raise ArgumentValueError(
                f"read {size} bytes at {address:#x}",
                "that is not a valid size",
                hint="give the number of bytes that are there",
            )
        return self._ferry_services.read(address, size)

    def _ferry_write(self, address: int, data: bytes) -> None:
        self._ferry_services.write(address, data)

    def _ferry_string(self, address: int, ctype: str) -> str | bytes:
        wide = ctype == "wchar_t *"
        unit = ABIS[self.abi].sizes["wchar_t"] if wide else 1
        data = self._ferry_services.string(address, unit)
        if wide:
            return data.decode({2: "utf-16-le", 4: "utf-32-le"}[unit], "surrogatepass")
        return (
            data
            if self._ferry_encoding is None
            else data.decode(self._ferry_encoding, "surrogateescape")
        )

    # ---- state ----

    @property
    def errno(self) -> int:
        """``errno`` after this thread's last call; 0 if that call did not set it."""
        return self._ferry_session.errno

    @property
    def last_error(self) -> int:
        """``GetLastError()`` after this thread's last call; 0 outside Windows libraries.

        Unlike ``errno`` it keeps its value if the call did not set it, as on Windows.
        """
        return self._ferry_session.last_error

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._ferry_session.closed

    def close(self) -> None:
        """Close the library, and end its worker. Twice is fine."""
        if self._ferry_worker:
            self._ferry_worker.close()
        else:
            self._ferry_session.close(self._ferry_handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self.closed else ""
        where = (
            self.isolation if self._ferry_worker is None else f"worker {self.pid}, {self.through}"
        )
        return f"<libferry.Library {self.binary.path.name} ({self.abi}; {where}{state})>"
