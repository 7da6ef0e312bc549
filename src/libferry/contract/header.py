"""What is read from a header, as plain values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from threading import RLock
from typing import Generic, Literal, TypeVar

from libferry.abi import Array, CallPlan, CType, FunctionType, Pointer
from libferry.abi.types import Convention, spell
from libferry.errors import DeclarationError

Direction = Literal["", "in", "out", "inout"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter.

    Attributes:
        name: empty where the declaration gives none.
        type: as the function receives it: arrays and functions are pointers.
        direction: who writes what the pointer leads to: ``in`` the caller, ``out`` the
            function, ``inout`` both; empty if the header does not say.
        length: how many elements the pointer leads to (bytes, for ``void *``), as
            ``Length.read`` takes it; None if the header does not say.
        string: whether it is text that a zero ends.
        owned: the function that frees what the callee stores through it.
    """

    name: str
    type: CType
    direction: Direction = ""
    length: str | None = None
    string: bool = False
    owned: str | None = None


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """Which results say that a call failed.

    Attributes:
        operator: ``<``, ``<=``, ``>``, ``>=``, ``==`` or ``!=``; a result fails if
            ``result operator value``.
        value: an integer; 0 for NULL.
        message: the function that says what went wrong, or None.
    """

    operator: str
    value: int
    message: str | None = None


@dataclass(frozen=True)
class Signature:
    """One function as declared, and how to call it on one ABI.

    Attributes:
        variadic: whether more arguments may follow; ``plan`` is for none.
        convention: how it is called; ``cdecl`` wherever there is only one way.
        symbol: the name it is exported by, if the header says another than ``name``.
        owned: the function that frees its result.
        string: whether its result is text that a zero ends.
        error: which results are errors; None if the header does not say.
    """

    name: str
    result: CType
    parameters: tuple[Parameter, ...]
    plan: CallPlan
    variadic: bool = False
    convention: Convention = "cdecl"
    symbol: str = ""
    owned: str | None = None
    error: ErrorRule | None = None
    string: bool = False

    def __post_init__(self) -> None:
        if not self.symbol:
            object.__setattr__(self, "symbol", self.name)

    def __str__(self) -> str:
        parts = [declaration(p.type, p.name) for p in self.parameters] + ["..."] * self.variadic
        return declaration(self.result, f"{self.name}({', '.join(parts) or 'void'})")


def declaration(ctype: CType, name: str) -> str:
    """A type and what has it, as C writes both."""
    if isinstance(ctype, Pointer) and isinstance(ctype.to, FunctionType | Array):
        inner = f"(*{name})"
        return declaration(ctype.to, inner)
    if isinstance(ctype, Array):
        return declaration(ctype.of, f"{name}[{'' if ctype.length is None else ctype.length}]")
    if isinstance(ctype, FunctionType):
        parts = [spell(p) for p in ctype.parameters] + ["..."] * ctype.variadic
        return declaration(ctype.result, f"{name}({', '.join(parts) or 'void'})")
    text = spell(ctype)
    return f"{text}{'' if text.endswith('*') else ' '}{name}" if name else text


V = TypeVar("V")


class Lazy(Mapping[str, V], Generic[V]):
    """A mapping whose values are made when they are asked for, by one thread at a time.

    Asking for a value may raise the error that explains why there is none. Mappings
    that are made by one maker share a ``lock``.
    """

    def __init__(
        self,
        names: Callable[[], Collection[str]],
        make: Callable[[str], V | None],
        has: Callable[[str], bool] | None = None,
        lock: RLock | None = None,
    ) -> None:
        self._names = names
        self._make = make
        self._has = has
        self._lock = RLock() if lock is None else lock
        self._made: dict[str, V] = {}

    def __getitem__(self, name: str) -> V:
        if name in self._made:
            return self._made[name]
        try:
            with self._lock:
                value = self._make(name)
        except RecursionError:
            raise DeclarationError(
                f"read {name}", "it is nested too deeply", hint="give plain C declarations"
            ) from None
        if value is None:
            raise KeyError(name)
        self._made[name] = value
        return value

    def __contains__(self, name: object) -> bool:
        if name in self._made:
            return True
        with self._lock:
            if self._has is not None and isinstance(name, str):
                return self._has(name)
            return name in self._names()

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(self._names())

    def __len__(self) -> int:
        with self._lock:
            return len(self._names())


@dataclass(frozen=True, slots=True)
class AddressConstant:
    """A number that a macro casts to a pointer: ``((sqlite3_destructor_type)-1)``."""

    type: Pointer
    value: int


Constants = Mapping[str, int | float | str | AddressConstant]


@dataclass(frozen=True, eq=False)
class Header:
    """What one header declares, for one ABI.

    For declarations given as text all is read at once. For a header that came through
    a preprocessor, with everything that it includes, each thing is read when it is
    asked for, and what cannot be called raises its reason then.

    Attributes:
        functions: by name.
        types: by the names of typedefs, and by ``struct x``, ``union x``, ``enum x``.
        constants: enumerators and macros that stand for a number, a string or an address.
        variables: exported data, by name.
        records: the structs and unions that the header itself defines, not what it
            includes, by their names among the types.
        thread_safe: whether the library may be called by several threads at once.
    """

    functions: Mapping[str, Signature]
    types: Mapping[str, CType]
    constants: Constants = field(default_factory=dict)
    variables: Mapping[str, CType] = field(default_factory=dict)
    thread_safe: bool = True
    records: Collection[str] = ()
