"""Enums: which integer type they are, and the values of their enumerators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libferry.abi import Abi, CType, Integer
from libferry.contract import arithmetic
from libferry.contract.attributes import Attributes
from libferry.contract.literals import Constant, int_type
from libferry.contract.syntax import Parser
from libferry.contract.tokens import TRIED
from libferry.contract.words import is_identifier
from libferry.errors import DeclarationError

if TYPE_CHECKING:
    from libferry.contract.reader import Reader


class Enums:
    """The enums of one header.

    Attributes:
        values: enumerators whose values are known so far.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.values: dict[str, Constant] = {}
        self._types: dict[int, Integer] = {}

    def constant(self, name: str) -> Constant | None:
        """An enumerator; None if there is none, or if its enum is just being read."""
        keyword = self.reader.outline.enumerators.get(name)
        if keyword is not None and name not in self.values and keyword not in self._types:
            self.type(keyword)
        return self.values.get(name)

    def type(self, keyword: int) -> Integer:
        """The type of an enum and the values of its enumerators, 6.7.2.2."""
        if keyword in self._types:
            return self._types[keyword]
        reader = self.reader
        parser = Parser(reader, reader.tokens, keyword + 1)
        attributes = Attributes()
        parser.attributes(attributes)
        name = ""
        if is_identifier(parser.words[parser.at]):
            name = parser.words[parser.at]
            parser.at += 1
        parser.attributes(attributes)
        fixed: CType | None = None
        if parser.words[parser.at] == ":":
            parser.at += 1
            fixed = parser.specifiers().type.type
        int_ = int_type(reader.abi)
        self._types[keyword] = int_  # for a size asked by an enumerator's own value
        try:
            values = self._enumerators(parser, fixed if isinstance(fixed, Integer) else int_)
        except BaseException:
            del self._types[keyword]
            raise
        parser.attributes(attributes)
        if isinstance(fixed, Integer):
            made = fixed
        else:
            made = enum_type(reader.abi, values, packed=attributes.packed)
        name = f"enum {name}" if name else reader.outline.unnamed.get(keyword, "")
        if name:
            made = Integer(name, made.size, made.signed)
        self._types[keyword] = made
        return made

    def _enumerators(self, parser: Parser, int_: Integer) -> list[int]:
        parser.expect("{")
        values: list[int] = []
        following = 0
        while parser.words[parser.at] != "}":
            name = parser.words[parser.at]
            if not is_identifier(name):
                parser.fail(f"an enumerator's name is expected here, not {name!r}")
            parser.at += 1
            parser.attributes(Attributes())
            if parser.words[parser.at] == "=":
                parser.at += 1
                following = parser.number(f"the value of {name}")
            values.append(following)
            self.values[name] = Constant(following, _enumerator(self.reader.abi, following, int_))
            following += 1
            if parser.words[parser.at] == ",":
                parser.at += 1
            elif parser.words[parser.at] != "}":
                parser.expect(",")
        parser.at += 1
        return values


def enum_type(abi: Abi, values: list[int], *, packed: bool) -> Integer:
    """The type of an enum with these values.

    GCC and Clang: unsigned int unless a value is negative, and wider if one does not
    fit. Microsoft's compiler: int.
    """
    signed = min(values, default=0) < 0
    low, high = min(values, default=0), max(values, default=0)
    if packed:
        for size in (1, 2):
            if -(1 << (8 * size - 1)) * signed <= low and high < 1 << (8 * size - signed):
                return arithmetic.of_size(abi, size, signed)
    if "windows" in abi.os and low >= -(1 << 31) and high < 1 << 31:
        return arithmetic.integer(abi, "int", True)
    for name in ("int", "long", "long long"):
        bits = 8 * abi.sizes[name] - signed
        if -(1 << bits) * signed <= low and high < 1 << bits:
            return arithmetic.integer(abi, name, signed)
    raise DeclarationError(
        TRIED, f"no type holds the enumerators {low} and {high}", hint="check their values"
    )


def _enumerator(abi: Abi, value: int, int_: Integer) -> Integer:
    """An enumerator is an int, unless it is too large for one."""
    bits = 8 * int_.size - int_.signed
    if -(1 << bits) * int_.signed <= value < 1 << bits:
        return int_
    return enum_type(abi, [value], packed=False)
