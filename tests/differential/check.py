"""Call what was compiled, and compare every byte that arrived on either side."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

import libferry

from .signatures import Argument, Function
from .source import (
    INVERTED_BY_CALLEE,
    RECORD_SIZE,
    TAKE_FACTS,
    TAKE_RECORD,
    define,
    expected_record,
)
from .targets import POINTERS, TYPES, Target


@dataclass(frozen=True)
class Difference:
    """One thing that did not arrive as it was sent."""

    where: str
    sent: object
    expected: object
    received: object

    def __str__(self) -> str:
        return (
            f"  {self.where}\n"
            f"    sent      {self.sent}\n"
            f"    expected  {self.expected}\n"
            f"    received  {self.received}"
        )


def check_facts(target: Target, library: libferry.Library) -> None:
    """Compare what ``targets`` says of the types to what their compiler says."""
    table = bytearray(2 * len(TYPES))
    library.function(TAKE_FACTS)(table)
    compilers = {ctype: (table[2 * n], bool(table[2 * n + 1])) for n, ctype in enumerate(TYPES)}
    assert compilers == {ctype: (target.size(ctype), target.is_signed(ctype)) for ctype in TYPES}


def carried(library: libferry.Library, argument: Argument) -> object:
    """Give the Python object to pass."""
    value = argument.value
    if argument.ctype == "void *" and isinstance(value, int):
        return library.cast("void *", value)
    if not isinstance(value, bytes):
        return bool(value) if argument.ctype == "_Bool" else value
    if argument.carrier == "bytearray":
        return bytearray(value)
    if argument.carrier == "numpy":
        return np.frombuffer(bytearray(value), "i4" if argument.ctype == "int32_t *" else "u1")
    if argument.carrier == "Buffer":
        buffer = library.buffer(len(value))
        memoryview(buffer)[:] = value
        return buffer
    return value


def plain(result: object) -> object:
    """Make a result comparable, bit by bit: type and value, floats as bytes."""
    if isinstance(result, libferry.Pointer):
        return ("address", result.address)
    if isinstance(result, float):
        return ("double", struct.pack("<d", result).hex())
    return (type(result).__name__, result)


def expected_result(function: Function) -> object:
    value = function.returns
    if function.result == "_Bool":
        value = bool(value)
    elif function.result.endswith("*") and isinstance(value, int):
        return ("address", value)
    return plain(value)


def call(
    target: Target, library: libferry.Library, function: Function, name: str
) -> Iterator[Difference]:
    """Call one function, and give whatever did not arrive as it was sent."""
    objects = [carried(library, argument) for argument in function.arguments]
    result = library.function(function.declaration(name))(*objects)
    if plain(result) != expected_result(function):
        yield Difference("the result", function.returns, expected_result(function), plain(result))

    taken = bytearray(RECORD_SIZE)
    used = library.function(TAKE_RECORD)(taken)
    record = bytes(taken[:used])
    if record[:1] != b"\0":
        yield Difference("the stack's alignment, modulo 16", 0, "00", record[:1].hex())
    at = 1
    for number, (argument, sent) in enumerate(zip(function.arguments, objects, strict=True)):
        where = f"argument {number + 1} (a{number}, {argument.ctype})"
        expected = expected_record(target, argument)
        received = record[at : at + len(expected)]
        if received != expected:
            yield Difference(where, repr(sent), expected.hex(" "), received.hex(" "))
            if argument.ctype in POINTERS:
                return  # nobody knows how much was written down of it, and so what follows
        at += len(expected)
        if isinstance(argument.value, bytes):
            left = bytes(memoryview(sent))  # type: ignore[arg-type]
            changed = bytes(byte ^ INVERTED_BY_CALLEE for byte in argument.value)
            should = changed if argument.ctype == "int32_t *" else argument.value
            if left != should:
                after = f"{where}, its bytes after the call"
                yield Difference(after, argument.value.hex(" "), should.hex(" "), left.hex(" "))
    if at != used:
        yield Difference("the record's length", at, at, used)


def story(target: Target, function: Function, name: str, differences: list[Difference]) -> str:
    """Tell enough of a failing function to repeat it by hand."""
    passed = [
        f"  a{n} = {a.value!r} {a.carrier}".rstrip() for n, a in enumerate(function.arguments)
    ]
    return "\n".join(
        [f"{target.abi}: {name}", define(target, function, name), *passed, *map(str, differences)]
    )


def check(target: Target, library: libferry.Library, functions: Sequence[Function]) -> list[str]:
    """Call every function of a batch; give the story of each that went wrong."""
    stories = []
    for number, function in enumerate(functions):
        name, gone = f"f{number}", False
        try:
            differences = list(call(target, library, function, name))
        except libferry.FerryError as error:
            gone = isinstance(error, libferry.LibraryCrashed | libferry.DeadlineExceeded)
            happened = f"{type(error).__name__}: {error}"
            differences = [Difference("the call", "the above", "no error", happened)]
        if differences:
            stories.append(story(target, function, name, differences))
        if gone:
            break  # nobody is left to call the rest
    return stories
