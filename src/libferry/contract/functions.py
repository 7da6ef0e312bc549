"""Functions: from their declarations to a signature with its call plan."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from libferry.abi import Abi, FunctionType, Opaque, lower
from libferry.abi.lower import NoPlan
from libferry.contract.declared import Declared
from libferry.contract.header import Parameter, Signature
from libferry.contract.meaning import Checker
from libferry.errors import UnsupportedDeclaration

if TYPE_CHECKING:
    from libferry.contract.reader import Reader


def signature(reader: Reader, name: str) -> Signature | None:
    """A declared function, with its call plan.

    Raises:
        DeclarationError: its declaration cannot be read.
        UnsupportedDeclaration: it cannot be called; the reason is named.
    """
    places = reader.outline.functions.get(name)
    if places is None:
        other = reader.alias(name)
        return None if other is None else signature(reader, other)
    all_declared = [reader.declared(at, name) for at in places]
    declared = max(reversed(all_declared), key=_told)
    function = declared.type.type
    if not isinstance(function, FunctionType):
        raise refusal(name, "it is not a function", "declare it as one")
    refused = next((d.attributes.refused for d in all_declared if d.attributes.refused), None)
    if refused:
        raise refusal(
            name,
            f"{refused} functions cannot be called",
            "cdecl, stdcall, fastcall and thiscall can; leave the others out of the header",
        )
    kinds = [d.type.type for d in all_declared]
    conventions = [k.convention for k in kinds if isinstance(k, FunctionType)]
    convention = next((c for c in conventions if c != "cdecl"), function.convention)
    types = tuple(reader.complete(p) for p in function.parameters)
    given = declared.parameters or []
    names = [p.name for p in given] or [""] * len(types)
    result = reader.complete(function.result)
    for position, ctype in enumerate((result, *types)):
        if isinstance(ctype, Opaque):
            what = f"parameter {position} is" if position else "it returns"
            raise refusal(
                name,
                f"{what} {ctype.name}, which is not defined",
                f"define {ctype.name} in front, or pass it by pointer",
            )
    try:
        plan = lower(
            reader.abi,
            result,
            types,
            convention=convention,
            variadic_from=len(types) if function.variadic else None,
        )
    except NoPlan as reason:
        raise refusal(
            name, str(reason), "pass it by pointer, or leave this function out of the header"
        ) from None
    labels = [d.attributes.label for d in all_declared if d.attributes.label]
    made = Signature(
        name,
        result,
        tuple(Parameter(n, t) for n, t in zip(names, types, strict=True)),
        plan,
        function.variadic,
        convention,
        _symbol(reader.abi, labels[0]) if labels else name,
    )
    checker = Checker(made, reader)
    if any(p.attributes.meanings for p in given):
        parameters = tuple(
            checker.parameter(parameter, p.attributes.meanings)
            for parameter, p in zip(made.parameters, given, strict=True)
        )
        checker.signature = replace(made, parameters=parameters)
    return checker.function(m for d in all_declared for m in d.attributes.meanings)


def _told(declared: Declared) -> tuple[bool, bool]:
    """How much one of several declarations of a function says."""
    given = declared.parameters or []
    return any(p.attributes.meanings for p in given), bool(given)


def _symbol(abi: Abi, label: str) -> str:
    """What the dynamic loader calls it: some formats put an underscore before C's names."""
    underscored = "macos" in abi.os or (abi.cpu == "i386" and "windows" in abi.os)
    return label.removeprefix("_") if underscored else label


def refusal(name: str, reason: str, hint: str) -> UnsupportedDeclaration:
    """The error for what is C, and cannot be called or used."""
    return UnsupportedDeclaration(f"declare {name}", reason, hint=hint)
