"""Functions with ``...``: each call says by its values what it passes.

C promotes what it passes there (C17 6.5.2.2p7): what is narrower than ``int`` to int,
``float`` to double. A Python value has no C type, so one is chosen: ``int`` if it fits
and ``long long`` if not, ``double``, ``const char *``, a pointer. Where the function
expects another one, such as ``%lu`` on a 32-bit target or a struct, ``Library.value``
says so.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from libferry import _core
from libferry.abi import (
    ABIS,
    Boolean,
    Complex,
    CType,
    Integer,
    Pointer,
    Real,
    Void,
    lower,
)
from libferry.abi.lower import NoPlan
from libferry.contract import Parameter, Signature
from libferry.errors import ArgumentTypeError, UnsupportedDeclaration
from libferry.runtime import deadline
from libferry.runtime.values import Array

if TYPE_CHECKING:
    from libferry.runtime.instance import Instance


@dataclass(frozen=True)
class TypedValue:
    """A value with the C type it is to be passed as. Made by ``Library.value``."""

    ctype: CType
    value: object

    def __repr__(self) -> str:
        return f"<libferry.TypedValue ({self.ctype.name}) {self.value!r}>"


class VariadicFunction:
    """A C function with ``...``, as a Python callable.

    Attributes:
        signature: the declaration; its plan is that of the named parameters alone.
        address: the library's address of it.
    """

    def __init__(self, home: Instance, signature: Signature, timeout_ns: int | None = None) -> None:
        self.signature = signature
        self.address = home.find((signature.symbol,))
        self.__name__ = signature.name
        self._home = home
        self._timeout_ns = timeout_ns
        self._functions: dict[tuple[CType, ...], _core.Function] = {}

    def __call__(self, *values: object) -> Any:
        """Call it: the named arguments, then any others."""
        named = len(self.signature.parameters)
        if len(values) < named:
            raise ArgumentTypeError(
                f"call {self.signature.name}",
                f"{len(values)} given, at least {named} declared",
                hint=f"declared: {self.signature}",
            )
        ctypes = tuple(
            self._type_of(value, position + 1)
            for position, value in enumerate(values[named:], start=named)
        )
        function = self._functions.get(ctypes)
        if function is None:
            function = self._functions[ctypes] = self._bind(ctypes)
        return function(*(v.value if isinstance(v, TypedValue) else v for v in values))

    def _bind(self, ctypes: tuple[CType, ...]) -> _core.Function:
        home = self._home.library._ferry_home()
        signature = self.signature
        parameters = (*signature.parameters, *(Parameter("", ctype) for ctype in ctypes))
        try:
            plan = lower(
                ABIS[home.abi],
                signature.result,
                tuple(parameter.type for parameter in parameters),
                variadic_from=len(signature.parameters),
            )
        except NoPlan as reason:
            raise UnsupportedDeclaration(
                f"call {signature.name}",
                str(reason),
                hint="pass it by pointer, if the function can take it so",
            ) from None
        full = dataclasses.replace(signature, parameters=parameters, plan=plan)
        return home.bind(full, timeout_ns=self._timeout_ns)

    def within(self, seconds: float | None) -> VariadicFunction:
        """The same function, whose calls may take ``seconds``; None is no limit."""
        tried = f"call {self.signature.name} with a timeout"
        if self._home.worker is None:
            raise deadline.unending(tried)
        timeout_ns = deadline.nanoseconds(seconds, tried)
        return VariadicFunction(self._home.library._ferry_home(), self.signature, timeout_ns)

    def _type_of(self, value: object, position: int) -> CType:
        abi = ABIS[self._home.abi]
        match value:
            case TypedValue(ctype=ctype):
                return _promoted(ctype)
            case bool():
                return Integer("int", 4, True)
            case int():
                if -(1 << 31) <= value < 1 << 31:
                    return Integer("int", 4, True)
                if value < 1 << 63:
                    return Integer("long long", 8, True)
                return Integer("unsigned long long", 8, False)
            case float():
                return Real("double", 8, "binary64")
            case complex():
                return Complex("double _Complex", Real("double", 8, "binary64"))
            case str() | bytes():
                return Pointer(Integer("char", 1, abi.char_signed, True), abi.pointer_size, True)
            case None | _core.Pointer() | _core.Buffer() | _core.Callback():
                return Pointer(Void(), abi.pointer_size)
            case Array():
                return Pointer(Void(), abi.pointer_size)
        record = getattr(type(value), "ctype", None)
        if record is not None and not isinstance(value, memoryview):
            return record  # type: ignore[no-any-return]
        try:
            memoryview(value)  # type: ignore[arg-type]
        except TypeError:
            raise ArgumentTypeError(
                f"call {self.signature.name}, argument {position}",
                f"{type(value).__name__} has no C type of its own",
                hint="say which: lib.value('unsigned long', 5)",
            ) from None
        return Pointer(Void(), abi.pointer_size)

    def __repr__(self) -> str:
        return f"<libferry.VariadicFunction {self.signature}>"


def _promoted(ctype: CType) -> CType:
    """The default argument promotions (C17 6.3.1.1p2, 6.5.2.2p6)."""
    match ctype:
        case Real(size=4):
            return Real("double", 8, "binary64")
        case Boolean():
            return Integer("int", 4, True)
        case Integer(size=1 | 2):
            return Integer("int", 4, True)
    return ctype
