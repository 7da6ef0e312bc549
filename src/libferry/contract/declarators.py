"""Declarators, ISO C17 6.7.6: ``*names[4]``, ``(*callback)(int)``.

C reads them from the name outwards: brackets and parentheses behind it first, then the
stars before it, then what is around these. A declarator is kept as a list of such
steps, in that order, and applied to the specifiers' type from its far end.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from libferry.abi import Abi, Array, CType, FunctionType, Opaque, Pointer
from libferry.abi.types import Convention
from libferry.contract import arithmetic, words
from libferry.contract.attributes import Attributes
from libferry.contract.declared import Declared, Qualified
from libferry.contract.expressions import integer
from libferry.contract.literals import NotConstant
from libferry.contract.words import is_identifier

if TYPE_CHECKING:
    from libferry.contract.syntax import Parser

MOST_STEPS = 60  # pointers, arrays and functions in one type; C asks for 12 (5.2.4.1)


@dataclass(slots=True)
class Step:
    """One step from a name outwards."""

    kind: Literal["pointer", "block", "array", "function", "convention"]
    const: bool = False
    at: int = 0  # an array's length is there,
    end: int = 0  # up to here
    parameters: list[Declared] = field(default_factory=list)
    variadic: bool = False
    convention: Convention | None = None


class DeclaratorReader:
    """One declarator while it is read."""

    def __init__(self, parser: Parser, attributes: Attributes, *, abstract: bool) -> None:
        self.parser = parser
        self.attributes = attributes
        self.abstract = abstract
        self.name = ""
        self.at = 0

    def level(self) -> list[Step]:
        """Read one level of parentheses: its steps, from the name outwards."""
        parser = self.parser
        before: list[Step] = []
        while True:
            word = parser.words[parser.at]
            if word in ("*", "^"):
                before.append(Step("pointer" if word == "*" else "block"))
                parser.at += 1
                continue
            if word in words.QUALIFIERS or word == words.ATOMIC:
                if before and word in words.CONST:
                    before[-1].const = True
                parser.at += 1
                continue
            noted = Attributes()
            if word == "[" or not parser.attribute(noted):
                break
            if noted.convention:
                before.append(Step("convention", convention=noted.convention))
                noted.convention = None
            self.attributes.merge(noted)
        stars = [i for i, step in enumerate(before) if step.kind != "convention"]
        last = stars[-1] + 1 if stars else 0
        inner = self._direct()
        suffixes = self._suffixes()
        return inner + before[last:] + suffixes + before[:last][::-1]

    def _direct(self) -> list[Step]:
        parser = self.parser
        word = parser.words[parser.at]
        if word == "(" and not self.name and not self._is_parameters():
            parser.at += 1
            steps = self.level()
            parser.expect(")")
            return steps
        if is_identifier(word) and not self.name and not words.is_word(word):
            self.name = word
            self.at = parser.at
            parser.at += 1
        return []

    def _is_parameters(self) -> bool:
        """Whether ``(`` begins the parameters of a function without a name."""
        if not self.abstract:
            return False
        parser = self.parser
        word = parser.words[parser.at + 1]
        if word in words.ATTRIBUTE or word in words.CONVENTIONS:
            return False
        return word in (")", "...") or parser.starts_type(parser.at + 1) or word in words.STORAGE

    def _suffixes(self) -> list[Step]:
        parser = self.parser
        steps: list[Step] = []
        while True:
            word = parser.words[parser.at]
            if word == "[" and parser.words[parser.at + 1] == "[":
                parser.attribute(self.attributes)
            elif word == "[":
                at = parser.at
                closing = parser.tokens.closing[at]
                start = at + 1
                while parser.words[start] == "static" or parser.words[start] in words.QUALIFIERS:
                    start += 1
                steps.append(Step("array", at=start, end=closing))
                parser.at = closing + 1
            elif word == "(":
                parameters, variadic = parser.parameter_list()
                steps.append(Step("function", parameters=parameters, variadic=variadic))
            else:
                return steps


def _settle_conventions(steps: list[Step], trailing: Convention | None) -> None:
    """Tell each function which convention was written for it.

    ``int (__stdcall *f)(int)``: the word is for the next function outwards. One behind
    the whole declarator, GNU's way, is for the first.
    """
    functions = [i for i, step in enumerate(steps) if step.kind == "function"]
    for position, step in enumerate(steps):
        if step.kind == "convention" and functions:
            outwards = [i for i in functions if i > position]
            target = steps[outwards[0] if outwards else functions[-1]]
            target.convention = target.convention or step.convention
    if trailing and functions:
        steps[functions[0]].convention = trailing


def resized(parser: Parser, base: Qualified, *given: Attributes) -> Qualified:
    """The declared type, with the modes and vectors that attributes make of it."""
    made = base.type
    try:
        for attributes in given:
            if attributes.mode is not None:
                made = arithmetic.mode(parser.abi, made, attributes.mode)
            if attributes.vector is not None:
                made = arithmetic.vector(made, attributes.vector)
            elif attributes.elements is not None:
                made = arithmetic.vector_of(made, attributes.elements)
    except arithmetic.NoType as reason:
        parser.refuse(str(reason), "leave out what uses it")
    return replace(base, type=made)


def applied(
    parser: Parser,
    base: Qualified,
    steps: list[Step],
    convention: Convention | None,
    *,
    parameter: bool,
) -> Qualified:
    """The type that the steps, from the name outwards, make of ``base``."""
    _settle_conventions(steps, convention)
    made = base
    deepest = max((p.type.depth for s in steps for p in s.parameters), default=0)
    depth = max(base.depth, deepest) + len(steps)
    if depth > MOST_STEPS:
        parser.fail(f"a type is made of more than {MOST_STEPS} others")
    for position in range(len(steps) - 1, -1, -1):
        step = steps[position]
        match step.kind:
            case "pointer":
                pointer = Pointer(made.type, parser.abi.pointer_size, made.const)
                made = Qualified(pointer, step.const)
            case "block":
                made = Qualified(Pointer(Opaque("block"), parser.abi.pointer_size), step.const)
            case "array":
                # a parameter's own length has no meaning, and may name other parameters
                ignored = parameter and position == 0
                length = None if ignored else _length(parser, step.at, step.end, parameter)
                made = replace(made, type=Array(made.type, length))
            case "function":
                made = Qualified(
                    FunctionType(
                        made.type,
                        tuple(p.type.type for p in step.parameters),
                        step.variadic,
                        _effective(parser.abi, step.convention, step.variadic),
                    )
                )
    if not any(step.kind == "function" for step in steps):
        given = [step.convention for step in steps if step.convention]
        if found := given[0] if given else convention:
            made = replace(made, type=_called(parser.abi, made.type, found))
    return replace(made, depth=depth) if steps else made


def _effective(abi: Abi, convention: Convention | None, variadic: bool) -> Convention:
    """Only i386 has several, and a function with varargs cannot pop them."""
    if variadic or abi.cpu != "i386" or convention is None:
        return "cdecl"
    return convention


def _called(abi: Abi, ctype: CType, convention: Convention) -> CType:
    """``WINAPI fn_t f;``: the convention is for a function that a typedef names."""
    match ctype:
        case FunctionType():
            return replace(ctype, convention=_effective(abi, convention, ctype.variadic))
        case Pointer(to=FunctionType()):
            return replace(ctype, to=_called(abi, ctype.to, convention))
    return ctype


def _length(parser: Parser, at: int, end: int, parameter: bool) -> int | None:
    """An array's length; None if it has none."""
    if at == end:
        return None
    reader = parser.at_word(at)
    try:
        length = integer(reader)
    except NotConstant as reason:
        if parameter:
            return None  # of an inner dimension: only its address is passed
        reader.fail(
            f"an array's length is not a constant: {reason}",
            at,
            "give it as a number, or define its names",
        )
    if reader.at != end:
        reader.fail(f"']' is expected here{reader.instead()}")
    if length < 0:
        reader.fail("an array's length is negative", at)
    return length
