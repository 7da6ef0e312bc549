"""From a signature to the callable that users get, at the address where it is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libferry import _core
from libferry.contract import Signature
from libferry.runtime import directed
from libferry.runtime.variadic import VariadicFunction

if TYPE_CHECKING:
    from libferry.runtime.library import Library

Function = _core.Function | VariadicFunction | directed.DirectedFunction


def bind(
    library: Library,
    signature: Signature,
    *,
    keep_gil: bool = False,
    timeout_ns: int | None = None,
) -> Function:
    """The callable of a function that ``library`` exports.

    Raises:
        SymbolNotFound: it does not.
    """
    if directed.is_directed(signature):
        plain = directed.plain(signature)
        function = bind_plain(library, plain, keep_gil=keep_gil, timeout_ns=timeout_ns)
        return directed.DirectedFunction(library, signature, function)
    return bind_plain(library, signature, keep_gil=keep_gil, timeout_ns=timeout_ns)


def bind_plain(
    library: Library,
    signature: Signature,
    *,
    keep_gil: bool = False,
    timeout_ns: int | None = None,
) -> _core.Function | VariadicFunction:
    """The same, with every parameter as C has it."""
    home = library._ferry_home()
    if signature.variadic:
        return VariadicFunction(home, signature, timeout_ns)
    return home.bind(signature, keep_gil=keep_gil, timeout_ns=timeout_ns)
