"""Shorter functions that may show the same fault.

A failing function has a dozen arguments and records within records, of which one member
of one matters. Whoever looks for the fault is better served by that one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from .signatures import Argument, Callback, Function
from .targets import Target
from .types import VOID, Array, FunctionPointer, Member, Record, Scalar, Type
from .values import has_value, invent_value


def shorter_type(ctype: Type) -> Iterator[Type]:
    """Give types with something less in them, the shortest first."""
    if isinstance(ctype, Array):
        yield ctype.of
        if ctype.length > 1:
            yield Array(ctype.of, 1)
            yield Array(ctype.of, ctype.length // 2)
            yield Array(ctype.of, ctype.length - 1)
        yield from (Array(of, ctype.length) for of in shorter_type(ctype.of))
    elif isinstance(ctype, Record):
        for member in ctype.members:
            if has_value(member) and member.bits is None:
                yield member.type
        for change in ({"pack": 0}, {"packed": False}, {"aligned": 0}, {"typedef": False}):
            if (changed := replace(ctype, **change)) != ctype:
                yield changed
        for n, member in enumerate(ctype.members):
            rest = ctype.members[:n] + ctype.members[n + 1 :]
            if any(map(has_value, rest)):
                yield replace(ctype, members=rest)
            bare = replace(member, aligned=0, packed=False)
            for inner in [bare] if bare != member else shorter_members(member):
                yield replace(ctype, members=(*ctype.members[:n], inner, *ctype.members[n + 1 :]))
    elif isinstance(ctype, FunctionPointer):
        yield Scalar("void *")


def shorter_members(member: Member) -> Iterator[Member]:
    for inner in shorter_type(member.type):
        if member.name or isinstance(inner, Record):
            yield replace(member, type=inner)


def of_type(target: Target, ctype: Type) -> Argument:
    return Argument(ctype, invent_value(Random(1), target, ctype), "tuple")


def shorter_callbacks(target: Target, argument: Argument) -> Iterator[Argument]:
    ctype, value = argument.type, argument.value
    assert isinstance(ctype, FunctionPointer)
    assert isinstance(value, Callback)
    if ctype.result != VOID:
        void = replace(ctype, result=VOID)
        yield replace(argument, type=void, value=replace(value, returns=None))
    for n, parameter in enumerate(ctype.parameters):
        before, after = ctype.parameters[:n], ctype.parameters[n + 1 :]
        known, rest = value.arguments[:n], value.arguments[n + 1 :]
        fewer = replace(ctype, parameters=(*before, *after))
        yield replace(argument, type=fewer, value=replace(value, arguments=(*known, *rest)))
        for inner in shorter_type(parameter):
            passed = (*known, invent_value(Random(1), target, inner), *rest)
            changed = replace(ctype, parameters=(*before, inner, *after))
            yield replace(argument, type=changed, value=replace(value, arguments=passed))
    for inner in shorter_type(ctype.result):
        changed = replace(ctype, result=inner)
        returns = invent_value(Random(1), target, inner)
        yield replace(argument, type=changed, value=replace(value, returns=returns))


def shorter(target: Target, function: Function) -> Iterator[Function]:
    """Give functions with something less, more or less the shortest first."""
    arguments, dots = function.arguments, function.variadic_from
    for n in range(len(arguments)):
        fewer = arguments[:n] + arguments[n + 1 :]
        if dots is None or n >= dots:
            yield replace(function, arguments=fewer)
        elif dots > 1:
            yield replace(function, arguments=fewer, variadic_from=dots - 1)
    if dots is not None:
        yield replace(function, variadic_from=None)
    if function.convention:
        yield replace(function, convention="")
    if function.result != VOID:
        yield replace(function, result=VOID, returns=None)
    for inner in shorter_type(function.result):
        yield replace(function, result=inner, returns=invent_value(Random(1), target, inner))
    for n, argument in enumerate(arguments):
        if isinstance(argument.value, Callback):
            changes = shorter_callbacks(target, argument)
        else:
            changes = (of_type(target, inner) for inner in shorter_type(argument.type))
        for change in changes:
            yield replace(function, arguments=(*arguments[:n], change, *arguments[n + 1 :]))
