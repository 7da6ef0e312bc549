"""Constant expressions, evaluated as C does (ISO C17 6.6) for one target.

Array lengths, enumerators, bit-field widths and macros are all made of them. A value
has a type, because the type decides: ``-1 > 0u`` is true, ``1 << 31`` is negative, and
``~0ul`` is as wide as the target's long.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from libferry.abi import Abi, Boolean, CType, Integer, Pointer, Real
from libferry.contract.literals import (
    Constant,
    NotConstant,
    character,
    character_size,
    convert,
    encoded,
    int_type,
    number,
    string,
    unescape,
)
from libferry.contract.words import ALIGNOF

_BINARY = {
    "||": 1,
    "&&": 2,
    "|": 3,
    "^": 4,
    "&": 5,
    **dict.fromkeys(("==", "!="), 6),
    **dict.fromkeys(("<", ">", "<=", ">="), 7),
    **dict.fromkeys(("<<", ">>"), 8),
    **dict.fromkeys(("+", "-"), 9),
    **dict.fromkeys(("*", "/", "%"), 10),
}
DEEPEST = 100


class Words(Protocol):
    """What reads the words: a parser, which also knows the types."""

    words: list[str]
    at: int
    abi: Abi
    depth: int  # of expressions within expressions

    def starts_type(self, at: int) -> bool:
        """Whether a type's name begins at that word."""

    def read_type(self) -> CType:
        """Read a type's name."""

    def constant(self, name: str) -> Constant | None:
        """An enumerator or a macro."""

    def size_of(self, ctype: CType) -> int:
        """``sizeof``."""

    def alignment_of(self, ctype: CType) -> int:
        """``_Alignof``."""

    def offset_of(self, ctype: CType, member: str) -> int:
        """``offsetof``."""


def evaluate(words: Words) -> Constant:
    """Read a conditional expression.

    Raises:
        NotConstant: it has no value, or none that is known here.
        DeclarationError: a type in it cannot be read.
    """
    return _deeper(words, _conditional)


def _deeper(words: Words, read: Callable[[Words], Constant]) -> Constant:
    """Read something within something: C asks for 63 levels (5.2.4.1)."""
    if words.depth > DEEPEST:
        raise NotConstant("it is nested too deeply")
    words.depth += 1
    try:
        return read(words)
    finally:
        words.depth -= 1


def _conditional(words: Words) -> Constant:
    condition = _binary(words, 1)
    if words.words[words.at] != "?":
        return condition
    words.at += 1
    chosen = evaluate(words)
    if words.words[words.at] != ":":
        raise NotConstant("a ? has no :")
    words.at += 1
    other = evaluate(words)
    result = chosen if _truth(condition) else other
    if isinstance(chosen.value, str) or isinstance(other.value, str):
        return result
    if isinstance(chosen.type, Pointer) or isinstance(other.type, Pointer):
        return result
    return convert(words.abi, result, _common(words.abi, chosen.type, other.type))


def integer(words: Words) -> int:
    """Read an expression that has to be an integer."""
    result = evaluate(words)
    if not isinstance(result.value, int):
        raise NotConstant("it is not an integer")
    return result.value


def _truth(constant: Constant) -> bool:
    return isinstance(constant.value, str) or bool(constant.value)


def _promoted(abi: Abi, ctype: CType) -> CType:
    """6.3.1.1p2: what is narrower than int becomes int."""
    int_ = int_type(abi)
    if isinstance(ctype, Boolean) or (isinstance(ctype, Integer) and ctype.size < int_.size):
        return int_
    return ctype


def _common(abi: Abi, left: CType, right: CType) -> CType:
    """The usual arithmetic conversions, 6.3.1.8."""
    left, right = _promoted(abi, left), _promoted(abi, right)
    if isinstance(left, Real) or isinstance(right, Real):
        reals = [t for t in (left, right) if isinstance(t, Real)]
        return max(reals, key=lambda t: t.size)
    if isinstance(left, Integer) and isinstance(right, Integer):
        if left.size != right.size:
            return left if left.size > right.size else right
        # as wide as each other: the longer name, and unsigned if either is
        name = max(_rank(left), _rank(right))[1]
        signed = left.signed and right.signed
        return Integer(name if signed else f"unsigned {name}", left.size, signed)
    raise NotConstant(f"{left.name} and {right.name} cannot be computed with")


def _rank(ctype: Integer) -> tuple[int, str]:
    """6.3.1.1p1; an enum's is that of int."""
    name = ctype.name.removeprefix("unsigned ")
    ranks = ("int", "long", "long long", "__int128")
    return (ranks.index(name), name) if name in ranks else (0, "int")


def _binary(words: Words, precedence: int) -> Constant:
    left = unary(words)
    while (rank := _BINARY.get(words.words[words.at], 0)) >= precedence:
        operator = words.words[words.at]
        words.at += 1
        right = _binary(words, rank + 1)
        left = _apply(words.abi, operator, left, right)
    return left


def _apply(abi: Abi, operator: str, left: Constant, right: Constant) -> Constant:
    int_ = int_type(abi)
    if operator in ("&&", "||"):
        both = _truth(left) and _truth(right)
        return Constant(int(both if operator == "&&" else _truth(left) or _truth(right)), int_)
    if isinstance(left.value, str) or isinstance(right.value, str):
        raise NotConstant(f"a string has no {operator}")
    if operator in ("<<", ">>"):
        return _shift(abi, operator, left, right)
    if isinstance(left.type, Pointer) or isinstance(right.type, Pointer):
        if operator not in ("==", "!=", "<", ">", "<=", ">="):
            raise NotConstant("it computes with an address")
        common: CType = int_
    else:
        common = _common(abi, left.type, right.type)
        left, right = convert(abi, left, common), convert(abi, right, common)
    a, b = left.value, right.value
    assert not isinstance(a, str)
    assert not isinstance(b, str)
    match operator:
        case "==" | "!=" | "<" | ">" | "<=" | ">=":
            outcome = {
                "==": a == b,
                "!=": a != b,
                "<": a < b,
                ">": a > b,
                "<=": a <= b,
                ">=": a >= b,
            }[operator]
            return Constant(int(outcome), int_)
        case "+":
            value: int | float = a + b
        case "-":
            value = a - b
        case "*":
            value = a * b
        case "/" if isinstance(a, int) and isinstance(b, int):
            if b == 0:
                raise NotConstant("it divides by zero")
            value = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
        case "/":
            value = _divide(float(a), float(b))
        case _ if isinstance(a, float) or isinstance(b, float):
            raise NotConstant(f"a floating-point number has no {operator}")
        case "%":
            if b == 0:
                raise NotConstant("it divides by zero")
            value = abs(a) % abs(b) * (1 if a >= 0 else -1)
        case "&":
            value = a & b
        case "|":
            value = a | b
        case _:
            value = a ^ b
    return convert(abi, Constant(value, common), common)


def _divide(left: float, right: float) -> float:
    if right:
        return left / right
    if not left or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def _shift(abi: Abi, operator: str, left: Constant, right: Constant) -> Constant:
    """The result has the left side's type, 6.5.7; too far a shift has no meaning."""
    ctype = _promoted(abi, left.type)
    if not isinstance(ctype, Integer) or not isinstance(right.value, int):
        raise NotConstant(f"only integers have {operator}")
    value = convert(abi, left, ctype).value
    assert isinstance(value, int)
    if not 0 <= right.value < 8 * ctype.size:
        raise NotConstant(f"it shifts a {ctype.name} by {right.value} bits")
    shifted = value << right.value if operator == "<<" else value >> right.value
    return convert(abi, Constant(shifted, ctype), ctype)


def unary(words: Words) -> Constant:
    """Read one operand with what stands before it, 6.5.3.

    Raises:
        NotConstant: it has no value, or none that is known here.
    """
    return _deeper(words, _unary)


def _unary(words: Words) -> Constant:
    word = words.words[words.at]
    if word in ("+", "-", "~", "!"):
        words.at += 1
        return _negate(words.abi, word, unary(words))
    if word == "(":
        words.at += 1
        if words.starts_type(words.at):
            ctype = words.read_type()
            _close(words)
            return convert(words.abi, unary(words), ctype)
        inner = evaluate(words)
        _close(words)
        return inner
    if word == "sizeof" or word in ALIGNOF:
        words.at += 1
        return _size(words, word == "sizeof")
    if word in ("offsetof", "__builtin_offsetof") and words.words[words.at + 1] == "(":
        return _offset(words)
    if word == "__extension__":
        words.at += 1
        return unary(words)
    return _primary(words)


def _close(words: Words) -> None:
    if words.words[words.at] != ")":
        raise NotConstant(f"{words.words[words.at] or 'its end'!r} is not expected in it")
    words.at += 1


def _negate(abi: Abi, operator: str, operand: Constant) -> Constant:
    if operator == "!":
        return Constant(int(not _truth(operand)), int_type(abi))
    ctype = _promoted(abi, operand.type)
    value = operand.value
    if isinstance(value, str) or isinstance(ctype, Pointer):
        raise NotConstant(f"only numbers have {operator}")
    if operator == "~":
        if isinstance(value, float):
            raise NotConstant("a floating-point number has no ~")
        value = ~value
    elif operator == "-":
        value = -value
    return convert(abi, Constant(value, ctype), ctype)


def _size(words: Words, size: bool) -> Constant:
    """``sizeof`` and ``_Alignof``: of a type in parentheses, or of an expression."""
    if words.words[words.at] == "(" and words.starts_type(words.at + 1):
        words.at += 1
        ctype = words.read_type()
        _close(words)
    else:
        operand = unary(words)
        if isinstance(operand.value, str) and size:
            width = len(encoded(words.abi, operand)) // character_size(operand)
            return _word(words.abi, (width + 1) * character_size(operand))
        ctype = operand.type
    return _word(words.abi, words.size_of(ctype) if size else words.alignment_of(ctype))


def _offset(words: Words) -> Constant:
    words.at += 2
    ctype = words.read_type()
    if words.words[words.at] != ",":
        raise NotConstant("offsetof needs a type and a member")
    member = words.words[words.at + 1]
    words.at += 2
    _close(words)
    return _word(words.abi, words.offset_of(ctype, member))


def _word(abi: Abi, value: int) -> Constant:
    """A ``size_t``."""
    name = next(n for n in ("int", "long", "long long") if abi.sizes[n] == abi.pointer_size)
    return Constant(value, Integer(f"unsigned {name}", abi.pointer_size, False))


def _primary(words: Words) -> Constant:
    word = words.words[words.at]
    prefix = ""
    if word in ("L", "u8", "u", "U") and words.words[words.at + 1][:1] in ("'", '"'):
        prefix = word
        words.at += 1
        word = words.words[words.at]
    first = word[:1]
    if first.isdigit() or (first == "." and word[1:2].isdigit()):
        words.at += 1
        return number(words.abi, word)
    if first == "'" and len(word) > 2:
        words.at += 1
        return character(words.abi, prefix, word)
    if first == '"' and len(word) > 1:
        return _string(words, prefix)
    if first.isalpha() or first in ("_", "$"):
        found = words.constant(word)
        if found is None:
            raise NotConstant(f"{word!r} is not a known constant")
        words.at += 1
        return found
    raise NotConstant(f"{word or 'its end'!r} is not expected in it")


def _string(words: Words, prefix: str) -> Constant:
    """Literals side by side are one, 6.4.5p5."""
    parts = []
    while True:
        word = words.words[words.at]
        if word[:1] == '"' and len(word) > 1:
            parts.append(unescape(word[1:-1]))
            words.at += 1
        elif word in ("L", "u8", "u", "U") and words.words[words.at + 1][:1] == '"':
            prefix = word
            words.at += 1
        else:
            break
    return string(words.abi, prefix, "".join(parts))
