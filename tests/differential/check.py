"""Call what was compiled, and compare every byte that arrived on either side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import libferry

from .carriers import carry, carry_data, differences
from .difference import Difference, readable, story
from .signatures import Argument, Callback, Function
from .source import (
    INVERTED_BY_CALLEE,
    RECORD_SIZE,
    TAKE_FACTS,
    TAKE_RECORD,
    expected_record,
    written,
)
from .targets import DATA_POINTERS, Target
from .types import VOID, FunctionPointer, Names, Scalar
from .values import Value

UNTYPED = (Scalar("int"), Scalar("double"), Scalar("const char *"))  # what "..." makes of Python's


def check_facts(target: Target, library: libferry.Library) -> None:
    """Compare what ``targets`` says of the types to what their compiler says."""
    table = bytearray(2 * len(target.scalars))
    library.function(TAKE_FACTS)(table)
    compilers = {
        ctype.name: (table[2 * n], bool(table[2 * n + 1])) for n, ctype in enumerate(target.scalars)
    }
    assert compilers == {
        ctype.name: (target.size(ctype.name), target.is_signed(ctype.name))
        for ctype in target.scalars
    }


def is_data(argument: Argument) -> bool:
    return isinstance(argument.type, Scalar) and argument.type.name in DATA_POINTERS


@dataclass
class Called:
    """A Python function that C calls: it notes what differed, and returns a value."""

    where: str
    argument: Argument
    carry: Callable[..., Any]
    calls: int = 0
    found: list[Difference] = field(default_factory=list)

    def __call__(self, *passed: Any) -> Any:
        self.calls += 1
        ctype, value = self.argument.type, self.argument.value
        assert isinstance(ctype, FunctionPointer)
        if len(passed) != len(ctype.parameters):
            number = len(ctype.parameters)
            self.found.append(Difference(f"{self.where}: arguments", number, number, len(passed)))
            return None
        for n, parameter in enumerate(ctype.parameters):
            for path, expected, received in differences(parameter, value.arguments[n], passed[n]):
                where = f"{self.where}, argument {n + 1}{path}"
                self.found.append(
                    Difference(where, readable(value.arguments[n]), expected, received)
                )
        if ctype.result == VOID:
            return None
        return self.carry(ctype.result, value.returns, self.argument.carrier)


@dataclass
class Caller:
    """One batch's library, loaded."""

    target: Target
    library: libferry.Library
    names: Names
    used: int = 0

    def object_for(self, function: Function, number: int) -> Any:
        """Give the Python object to pass."""
        argument = function.arguments[number]
        dots = number >= len(function.fixed)
        if is_data(argument):
            return carry_data(self.library, argument)
        if isinstance(argument.value, Callback):
            return Called(f"callback a{number}", argument, self.carry)
        carried = self.carry(argument.type, argument.value, argument.carrier)
        if dots and not (argument.type in UNTYPED and argument.carrier == "dict"):
            return self.library.value(self.names.spell(argument.type), carried)
        return carried

    def carry(self, ctype: Any, value: Value, how: str) -> Any:
        return carry(self.library, self.names, ctype, value, how)

    def bound(self, function: Function, name: str) -> Any:
        """Find the function: from the header, or declared again on its own."""
        if len(function.arguments) % 2:
            return getattr(self.library, name)
        return self.library.function(function.declaration(name, self.names))

    def call(self, function: Function, name: str) -> Iterator[Difference]:
        """Call one function, and give whatever did not arrive as it was sent."""
        objects = [self.object_for(function, n) for n in range(len(function.arguments))]
        passed = list(objects)
        for n, each in enumerate(objects):
            if isinstance(each, Called) and each.argument.carrier == "object":
                spelled = self.names.spell(each.argument.type)
                passed[n] = self.library.callback(spelled, each)
        result = self.bound(function, name)(*passed)
        for path, expected, received in differences(function.result, function.returns, result):
            yield Difference(f"the result{path}", readable(function.returns), expected, received)
        for each in objects:
            if isinstance(each, Called):
                yield from each.found
                if each.calls != 1:
                    yield Difference(each.where, "one call", "one call", f"{each.calls} calls")
        yield from self.compare_record(function, objects)
        for each in passed:
            if isinstance(each, libferry.Callback):
                each.release()

    def compare_record(self, function: Function, objects: list[Any]) -> Iterator[Difference]:
        taken = bytearray(RECORD_SIZE)
        used = self.library.function(TAKE_RECORD)(taken)
        record = bytes(taken[:used])
        if record[:1] != b"\0":
            yield Difference("the stack's alignment, modulo 16", 0, "00", record[:1].hex())
        at = 1
        for where, number, ctype, value in written(function):
            expected = expected_record(self.target, ctype, value)
            received = record[at : at + len(expected)]
            data = number is not None and is_data(function.arguments[number])
            if received != expected:
                yield Difference(where, readable(value), expected.hex(" "), received.hex(" "))
                if data:
                    return  # nobody knows how much was written down of it, and so what follows
            at += len(expected)
            if data and value is not None:
                assert number is not None
                left = bytes(memoryview(objects[number]))
                changed = bytes(byte ^ INVERTED_BY_CALLEE for byte in value)
                should = changed if ctype == Scalar("int32_t *") else value
                if left != should:
                    after = f"{where}, its bytes after the call"
                    yield Difference(after, value.hex(" "), should.hex(" "), left.hex(" "))
        if at != used:
            yield Difference("the record's length", at, at, used)


def check(caller: Caller, functions: Sequence[Function]) -> list[str]:
    """Call every function of a batch; give the story of each that went wrong."""
    stories = []
    for number, function in enumerate(functions):
        name, gone = f"f{number}", False
        try:
            found = list(caller.call(function, name))
        except libferry.FerryError as error:
            gone = isinstance(error, libferry.LibraryCrashed | libferry.DeadlineExceeded)
            happened = f"{type(error).__name__}: {error}"
            found = [Difference("the call", "the above", "no error", happened)]
        if found:
            stories.append(story(caller.target, function, name, found))
        if gone:
            break  # nobody is left to call the rest
    return stories
