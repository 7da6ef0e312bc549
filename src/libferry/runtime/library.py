"""``Library``: an open library, its functions and its memory."""

from __future__ import annotations

import dataclasses
import os
from collections import ChainMap
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Literal, Self

from libferry import _core
from libferry.abi import ABIS, Array, CType, FunctionType
from libferry.abi import Pointer as PointerType
from libferry.binary import Binary
from libferry.contract import AddressConstant, Header, Signature, declare
from libferry.errors import (
    ArgumentTypeError,
    DeclarationError,
    LibraryClosed,
    SymbolNotFound,
)
from libferry.guard import Loaded
from libferry.runtime import deadline, functions, output, symbols, values
from libferry.runtime.aio import Aio
from libferry.runtime.callbacks import Callback
from libferry.runtime.crash import crash
from libferry.runtime.functions import Function
from libferry.runtime.instance import Instance
from libferry.runtime.life import Again, Life
from libferry.runtime.memory import Buffer, Out, Pointer
from libferry.runtime.opening import Opened
from libferry.runtime.output import Lines
from libferry.runtime.telemetry import Trace, TracedFunction
from libferry.runtime.values import making
from libferry.runtime.variadic import TypedValue


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
        isolation: ``in-process``, ``namespace``, ``worker`` or ``sandbox``.
        through: what runs its worker, or ``this process``.
        pid: its worker's process id, or this process's; another one after a restart.
        restarts: how often it began again in a fresh worker, after a crash.
        sandbox: the layers of its sandbox, in force and missing; None without one.
        aio: its functions, to be awaited: ``await lib.aio.f(1, 2)``.
    """

    def __init__(
        self,
        binary: Binary,
        abi: str,
        opened: Opened,
        header: Header,
        encoding: str | None,
        again: Again | None = None,
        initialise: Callable[[Library], object] | None = None,
    ) -> None:
        self.binary = binary
        self.abi = abi
        self.isolation = opened.isolation
        self.through = opened.worker.runner.through if opened.worker else "this process"
        confinement = opened.worker.start.confinement if opened.worker else None
        self.sandbox = confinement.report if confinement else None
        self._ferry_encoding = encoding
        # what is declared later comes before what the header says; views of the header
        self._ferry_functions: MutableMapping[str, Signature] = ChainMap({}, header.functions)  # type: ignore[arg-type]
        self._ferry_types: MutableMapping[str, CType] = ChainMap({}, header.types)  # type: ignore[arg-type]
        self._ferry_variables: MutableMapping[str, CType] = ChainMap({}, header.variables)  # type: ignore[arg-type]
        self._ferry_symbols: dict[str, str] = {}  # of variables that are exported by other names
        self._ferry_timeouts: dict[str, int] = {}  # of functions that have their own
        self._ferry_trace: Trace | None = None
        self._ferry_life = Life(self, opened, again, initialise)
        self.aio = Aio(self)
        self._ferry_header = header

    # ---- where it is ----

    def _ferry_home(self) -> Instance:
        """Where it is to be used: restarted before, if that is due."""
        return self._ferry_life.home()

    @property
    def _ferry_session(self) -> _core.Session:
        return self._ferry_life.now.session

    def _ferry_forget(self) -> None:
        """Forget the functions of a worker that is gone."""
        for name in list(self.__dict__):
            if name in self._ferry_functions or name.startswith("_ferry_plain_"):
                self.__dict__.pop(name, None)

    @property
    def pid(self) -> int:
        """The process it is in."""
        worker = self._ferry_life.now.worker
        return worker.pid if worker else os.getpid()

    @property
    def restarts(self) -> int:
        """How often it began again."""
        return self._ferry_life.restarts

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
        timeout: float | None = None,
    ) -> Function | TracedFunction:
        """Declare one function and give it.

        Args:
            declaration: such as ``"int add(int, int)"``; typedefs of the header are known.
            gil: ``"keep"`` for a function that returns at once: in-process, other Python
                threads then wait for it, and the call is faster.
            symbol: the name it is exported by, if that is another: with a version, such
                as ``memcpy@GLIBC_2.2.5``; ``#7``, a DLL's ordinal; of C++, mangled as
                ``_Z3addii`` or as ``math::add(int, int)``.
            timeout: seconds a call of it may take, instead of the library's; then its
                worker is ended. ``function.within(seconds)`` is the same for a call.

        Raises:
            ArgumentTypeError: a call in this process cannot be ended.
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
        timeout_ns = self._ferry_timeout(signature.name, timeout)
        function = functions.bind(self, signature, keep_gil=gil == "keep", timeout_ns=timeout_ns)
        self._ferry_functions[signature.name] = signature
        self._ferry_timeouts.pop(signature.name, None)
        if timeout_ns is not None:
            self._ferry_timeouts[signature.name] = timeout_ns
        self.__dict__.pop(signature.name, None)
        return function if self._ferry_trace is None else self._ferry_trace.function(function)

    def _ferry_timeout(self, name: str, timeout: float | None) -> int | None:
        """A function's own, as the C core counts it; None for the library's."""
        tried = f"declare {name} with a timeout"
        if timeout is None:
            return None
        if self.isolation == "in-process":
            raise deadline.unending(tried)
        return deadline.nanoseconds(timeout, tried)

    def _ferry_plain(self, name: str) -> Any:
        """A declared function with every parameter as C has it."""
        key = f"_ferry_plain_{name}"
        if key not in self.__dict__:
            self.__dict__[key] = functions.bind_plain(self, self._ferry_functions[name])
        return self.__dict__[key]

    def symbol(self, name: str) -> int:
        """The address of an export, in the library's process; named as for ``function``.

        Raises:
            SymbolNotFound: it exports no such name; the hint offers near ones.
        """
        return self._ferry_home().find((symbols.from_signature(self.binary, name),))

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
                return self._ferry_home().make_pointer(constant.type, address) if address else None
            return constant
        return self[name]

    def __setattr__(self, name: str, value: object) -> None:
        if "_ferry_header" in self.__dict__ and name in self._ferry_variables:
            pointer = self._ferry_variable(name)
            home, kept = pointer.home, list[object]()
            ctype = self._ferry_variables[name]
            data = values.encode(home, ctype, value, kept=kept, tried=f"set {name}")
            home.write(pointer.address, data)
            home.kept[name] = kept  # until something else is stored there
        else:
            super().__setattr__(name, value)

    def __getitem__(self, name: str) -> Any:
        """The declared function of that name, even if a method has the same name."""
        if name in self._ferry_functions:
            timeout_ns = self._ferry_timeouts.get(name)
            function = functions.bind(self, self._ferry_functions[name], timeout_ns=timeout_ns)
            return function if self._ferry_trace is None else self._ferry_trace.function(function)
        if name in dir(self):
            raise SymbolNotFound(
                f"call {name} of {self.binary.path.name}",
                "it is exported, but its types are not known",
                hint=f"declare it: lib.function('int {name}(...)'), or in header=",
            )
        self._ferry_home().find((name,))
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
        home = self._ferry_home()
        home.addresses.pop(name, None)
        pointer = home.variable(name, exported, _elements_of(ctype))
        self._ferry_symbols[name] = exported
        self._ferry_variables[name] = ctype
        return pointer

    def _ferry_variable(self, name: str) -> Pointer:
        ctype = _elements_of(self._ferry_variables[name])
        exported = self._ferry_symbols.get(name, name)
        return self._ferry_home().variable(name, exported, ctype)

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
        home = self._ferry_home()
        pointer = home.type_of(ctype)
        if isinstance(pointer, FunctionType):
            pointer = PointerType(pointer, ABIS[self.abi].pointer_size)
        if not isinstance(pointer, PointerType) or not isinstance(pointer.to, FunctionType):
            raise DeclarationError(
                f"make a callback of type {ctype}",
                "it is not a function pointer",
                hint="such as 'int (*)(void *)'",
            )
        return home.callbacks.make(pointer, function, error)

    def value(self, ctype: str, value: object) -> TypedValue:
        """A value to pass for ``...`` as that C type: ``lib.value("unsigned long", 5)``."""
        return TypedValue(self._ferry_life.now.type_of(ctype), value)

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
        home = self._ferry_home()
        return making.new(home, home.type_of(ctype), *args, **fields)

    def buffer(self, size: int) -> Buffer:
        """Memory of ``size`` bytes, zeroed, that both sides see without copying.

        Raises:
            ArenaFull: the shared memory has no room.
            ArgumentValueError: that is no size.
        """
        return self._ferry_home().buffer(size)

    def out(self, ctype: str) -> Out:
        """Room for one value of a C type, to be stored through a pointer.

        ``lib.out("sqlite3 *")`` is passed where ``sqlite3 **`` is declared.

        Raises:
            DeclarationError: the type is not known, or has no size.
        """
        home = self._ferry_home()
        pointee = home.type_of(ctype)
        size = getattr(pointee, "size", None)
        if size is None:
            raise DeclarationError(
                f"make room for a {ctype}",
                "its size is not known",
                hint=f"a function that fills one takes its address: lib.out({ctype + ' *'!r})?",
            )
        kind = PointerType(pointee, ABIS[self.abi].pointer_size)
        out = Out(home.session, size, kind.name)
        out.home, out.pointee = home, pointee
        return out

    def cast(
        self, ctype: str, address: int | _core.Pointer | _core.Buffer | _core.Aggregate
    ) -> Pointer:
        """An address as a typed pointer of this library; nothing checks that it is one.

        Raises:
            DeclarationError: ``ctype`` is not a pointer type.
            ArgumentTypeError: the address is none.
        """
        return self._ferry_home().cast(ctype, address)

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
    def loaded(self) -> Loaded:
        """All files with code in the library's process, as ``LoadedFile``s with digests.

        The kernel tells what is mapped. Of a Windows process it is the worker that does:
        it lists the modules, and a hostile one may leave some out.

        Raises:
            LibraryClosed, LibraryCrashed: there is no such process any more.
        """
        if self.closed:
            raise LibraryClosed("list what was loaded", "the library is closed", hint="ask before")
        now = self._ferry_life.now
        if now.session.death():
            raise crash(now.session, "list what was loaded")
        return now.opened.contents.files(now.services, self.abi)

    @property
    def output(self) -> Lines:
        """The last lines that it wrote to its standard streams, up to now.

        All streams with ``load(output="capture")``; else the last 50 of those that are
        read anyway, which by default are standard error's.

        Raises:
            ArgumentTypeError: it has no standard streams of its own.
        """
        worker = self._ferry_life.now.worker
        pipes = output.of(self._ferry_session)
        if worker is None or pipes is None:
            raise ArgumentTypeError(
                f"read the output of {self.binary.path.name}",
                "it writes to the standard streams of this process",
                hint="isolation='worker' gives it a process with streams of its own",
            )
        pipes.drain()
        return worker.start.output.lines

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._ferry_session.closed

    def close(self) -> None:
        """Close the library, and end its worker. Twice is fine."""
        self._ferry_life.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self.closed else ""
        worker = self._ferry_life.now.worker
        where = f"{self.isolation} {self.pid}, {self.through}" if worker else self.isolation
        return f"<libferry.Library {self.binary.path.name} ({self.abi}; {where}{state})>"


def _elements_of(ctype: CType) -> CType:
    """What a variable's pointer leads to."""
    if isinstance(ctype, Array) and ctype.length is None:
        return ctype.of  # how many there are, only the library knows
    return ctype
