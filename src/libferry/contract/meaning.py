"""What pointers are for: the words that C has none for.

C says of ``char *buf`` only that it is an address. Whether the function reads or writes
there, how much, who frees it, and which results are errors, is in the manual.
``FERRY_OUT(len)`` and its like say it in the header, a contract in TOML beside it; both
come here, to be checked against the declaration.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NoReturn, Protocol

from libferry.abi import Boolean, CType, Integer, Pointer, Void
from libferry.abi.types import spell
from libferry.contract.attributes import Meaning
from libferry.contract.expressions import Words, evaluate, unary
from libferry.contract.header import ErrorRule, Parameter, Signature
from libferry.contract.length import Length
from libferry.contract.literals import NotConstant
from libferry.contract.words import MEANINGS
from libferry.errors import DeclarationError

_MACROS = {kind: macro for macro, kind in MEANINGS.items()}
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
MOST = 1 << 47  # elements: an address space


class Evaluator(Protocol):
    """What gives constants in lengths and error rules their value."""

    def words(self, words: Sequence[str]) -> Words:
        """Something that reads these words, and then \"\"."""


@dataclass
class Checker:
    """Puts meanings to one function's parameters and result.

    Attributes:
        signature: the function.
        evaluator: for constants.
        place: where a meaning was written, for messages.
    """

    signature: Signature
    evaluator: Evaluator
    place: str = ""
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.names = tuple(p.name for p in self.signature.parameters if p.name)

    def parameter(self, parameter: Parameter, meanings: Iterable[Meaning]) -> Parameter:
        """The parameter with its meanings.

        Raises:
            DeclarationError: one of them is not for it, or names what there is not.
        """
        for meaning in meanings:
            self.place = meaning.place
            what = parameter.name or spell(parameter.type)
            match meaning.kind:
                case "in" | "out" | "inout":
                    parameter = self._direction(parameter, meaning.kind, meaning.argument)
                case "string":
                    self._check_string(parameter.type, what)
                    parameter = replace(parameter, string=True)
                case "owned":
                    free = self._function(meaning, what)
                    if not _leads_to_pointer(parameter.type):
                        self._fail(f"{what} stores no pointer that could be owned")
                    direction = parameter.direction or "out"
                    parameter = replace(parameter, owned=free, direction=direction)
                case _:
                    self._fail(f"{_MACROS[meaning.kind]} is for a function, not for {what}")
        return parameter

    def function(self, meanings: Iterable[Meaning]) -> Signature:
        """The function with the meanings of its result.

        Raises:
            DeclarationError: one of them is not for it.
        """
        signature = self.signature
        for meaning in meanings:
            self.place = meaning.place
            match meaning.kind:
                case "owned":
                    if not isinstance(signature.result, Pointer):
                        self._fail("it returns no pointer that could be owned")
                    signature = replace(signature, owned=self._function(meaning, "its result"))
                case "string":
                    self._check_string(signature.result, "its result")
                    signature = replace(signature, string=True)
                case "error":
                    signature = replace(signature, error=self._error(meaning.argument))
                case "not-thread-safe":
                    pass  # it is said of the library
                case _:
                    self._fail(f"{_MACROS[meaning.kind]} is for a parameter, not for a function")
        return signature

    def _fail(self, complaint: str, hint: str = "docs/contract.md has examples") -> NoReturn:
        place = f"{self.place}: " if self.place else ""
        raise DeclarationError(f"declare {self.signature.name}", place + complaint, hint=hint)

    def _direction(
        self, parameter: Parameter, direction: Literal["in", "out", "inout"], words: tuple[str, ...]
    ) -> Parameter:
        name = parameter.name or spell(parameter.type)
        if not isinstance(parameter.type, Pointer):
            self._fail(f"{name} is no pointer, so it has no direction")
        if parameter.direction not in ("", direction):
            self._fail(f"{name} has two directions, {parameter.direction} and {direction}")
        if direction != "in" and parameter.type.readonly:
            self._fail(f"{name} is {direction}, but what it points to is const")
        length = str(self._length(words, name)) if words else parameter.length
        return replace(parameter, direction=direction, length=length)

    def _check_string(self, ctype: CType, what: str) -> None:
        to = ctype.to if isinstance(ctype, Pointer) else None
        if not (isinstance(to, Integer) and (to.text or to.size == 1)):
            self._fail(f"{what} is no text: {spell(ctype)}", "char * and wchar_t * can be")

    def _function(self, meaning: Meaning, what: str) -> str:
        if len(meaning.argument) != 1 or not meaning.argument[0].isidentifier():
            self._fail(
                f"{_MACROS[meaning.kind]} of {what} needs the name of one function",
                "such as FERRY_OWNED(free)",
            )
        return meaning.argument[0]

    def _length(self, words: tuple[str, ...], of: str) -> Length:
        """``n``, ``*n``, ``n * constant``, ``constant * n``, or a constant."""
        text = " ".join(words)
        if not any(word in self.names for word in words):
            return Length("", factor=self._constant(words, text))
        reader = self.evaluator.words(words)
        name, pointed, factor = "", False, 1
        try:
            while True:
                star = reader.words[reader.at] == "*"
                reader.at += star
                word = reader.words[reader.at]
                if word in self.names and not name:
                    name, pointed = word, star
                    reader.at += 1
                elif star or word in self.names:
                    raise NotConstant
                else:
                    value = unary(reader).value
                    if not isinstance(value, int):
                        raise NotConstant
                    factor *= value
                if reader.at == len(words):
                    break
                if reader.words[reader.at] != "*":
                    raise NotConstant
                reader.at += 1
        except (NotConstant, DeclarationError):
            self._fail(
                f"the length {text!r} of {of} cannot be followed",
                "it may be a parameter, *parameter, one of them times a constant, or a constant",
            )
        if not 0 < factor < MOST:
            self._fail(f"the length {text!r} of {of} is {factor} times {name}")
        counted = next(p.type for p in self.signature.parameters if p.name == name)
        number = counted.to if pointed and isinstance(counted, Pointer) else counted
        if not isinstance(number, Integer | Boolean) or (pointed and number is counted):
            what = f"*{name}" if pointed else name
            hint = f"*{name}?" if _leads_to_integer(counted) else "name one that is an integer"
            self._fail(f"the length {what} of {of} is no integer", hint)
        return Length(name, pointed, factor)

    def _constant(self, words: tuple[str, ...], text: str) -> int:
        reader = self.evaluator.words(words)
        try:
            value = evaluate(reader).value
        except NotConstant:
            unknown = next((w for w in words if w.isidentifier()), text)
            near = difflib.get_close_matches(unknown, self.names, 3, 0.5)
            choice = ", ".join(near or self.names) or "none has a name"
            self._fail(
                f"the length {text!r}: {unknown} is neither a parameter nor a constant",
                f"its parameters: {choice}",
            )
        if reader.at != len(words) or not isinstance(value, int) or not 0 <= value < MOST:
            self._fail(f"the length {text!r} is not a number of elements")
        return value

    def _error(self, words: tuple[str, ...]) -> ErrorRule:
        """``< 0``, ``== NULL``, ``!= 0, message_function``."""
        result = self.signature.result
        hint = "such as FERRY_ERROR(< 0), or FERRY_ERROR(== NULL, last_message)"
        if isinstance(result, Void):
            self._fail("it returns nothing, so no result is an error")
        if not words or words[0] not in _COMPARISONS:
            self._fail(f"the error rule {' '.join(words)!r} needs a comparison", hint)
        rest = words[1:]
        message: str | None = None
        if len(rest) > 2 and rest[-2] == "," and rest[-1].isidentifier():
            message, rest = rest[-1], rest[:-2]
        pointer = isinstance(result, Pointer)
        if not pointer and not isinstance(result, Integer | Boolean):
            self._fail(f"a result that is {spell(result)} cannot be an error", hint)
        if pointer and words[0] not in ("==", "!="):
            self._fail(f"an address is not {words[0]} anything", "== NULL and != NULL are")
        if rest == ("NULL",):
            return ErrorRule(words[0], 0, message)
        reader = self.evaluator.words(rest)
        try:
            value = evaluate(reader).value
        except NotConstant as reason:
            self._fail(f"the error rule {' '.join(words)!r}: {reason}", hint)
        if reader.at != len(rest) or not isinstance(value, int):
            self._fail(f"the error rule {' '.join(words)!r} compares with no integer", hint)
        return ErrorRule(words[0], value, message)


def _leads_to_pointer(ctype: CType) -> bool:
    return isinstance(ctype, Pointer) and isinstance(ctype.to, Pointer) and not ctype.readonly


def _leads_to_integer(ctype: CType) -> bool:
    return isinstance(ctype, Pointer) and isinstance(ctype.to, Integer)
