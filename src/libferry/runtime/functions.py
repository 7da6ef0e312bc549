"""From a signature to the callable that users get, at the address where it is found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from libferry import _core
from libferry.abi import ABIS, size_of
from libferry.contract import Signature
from libferry.runtime import directed
from libferry.runtime.binding import compile_plan
from libferry.runtime.variadic import VariadicFunction

if TYPE_CHECKING:
    from libferry.runtime.library import Library

Function = _core.Function | VariadicFunction | directed.DirectedFunction


def bind(library: Library, signature: Signature, *, keep_gil: bool = False) -> Function:
    """The callable of a function that ``library`` exports.

    Raises:
        SymbolNotFound: it does not.
    """
    if directed.is_directed(signature):
        function = bind_plain(library, directed.plain(signature), keep_gil=keep_gil)
        return directed.DirectedFunction(library, signature, function)
    return bind_plain(library, signature, keep_gil=keep_gil)


def bind_plain(
    library: Library, signature: Signature, *, keep_gil: bool = False
) -> _core.Function | VariadicFunction:
    """The same, with every parameter as C has it."""
    address = library._ferry_find(spellings(signature, library.abi))
    if signature.variadic:
        return VariadicFunction(library, signature, address)
    return _core.Function(
        library._ferry_session,
        address,
        signature.name,
        compile_plan(signature, library._ferry_hooks),
        keep_gil,
        False,
    )


def spellings(signature: Signature, abi_name: str) -> Sequence[str]:
    """The names it may be exported by: conventions decorate them on i386 Windows."""
    abi = ABIS[abi_name]
    slot = abi.stack_slot
    taken = sum(-(-size_of(parameter.type) // slot) * slot for parameter in signature.parameters)
    forms = abi.decorations.get(signature.convention, ("{name}",))
    return [form.format(name=signature.symbol, bytes=taken) for form in forms]
