"""Constant expressions, evaluated as C does (ISO C17 6.6) for one target.

Array lengths, enumerators, bit-field widths and macros are all made of them. A value
has a type, because the type decides: ``-1 > 0u`` is true, ``1 << 31`` is negative, and
``~0ul`` is as wide as the target's long.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Protocol

from libferry.abi import Abi, Boolean, CType, Integer, Pointer, Real
from libferry.contract.words import ALIGNOF
from libferry.errors import DeclarationError

_INTEGER = re.compile(
    r"(?:0[xX](?P<hex>[0-9a-fA-F]+)|0[bB](?P<binary>[01]+)|(?P<octal>0[0-7]*)|(?P<decimal>[1-9]\d*))"
    r"(?P<suffix>[uU]?(?:[lL]|ll|LL)?[uU]?|[uU]?i(?:8|16|32|64|128)|[uU]?I64)",
    re.ASCII,
)
_FLOAT = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|0[xX](?:[\da-fA-F]+\.?[\da-fA-F]*|\.[\da-fA-F]+)"
    r"[pP][+-]?\d+)(?P<suffix>[fFlLqQ]?|[fF](?:16|32|64|128)x?)",
    re.ASCII,
)
_ESCAPE = re.compile(
    r"\\(?:([0-7]{1,3})|x([0-9a-fA-F]+)|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL
)
_ESCAPES = {"n": 10, "t": 9, "r": 13, "0": 0, "a": 7, "b": 8, "f": 12, "v": 11, "e": 27, "E": 27}
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
LONGEST_DIGITS = 1000  # of a literal


@dataclass(frozen=True, slots=True)
class Constant:
    """A value and its C type; a string's type is that of its characters."""

    value: int | float | str
    type: CType


class NotConstant(Exception):
    """The words are no constant expression; the message says why. Internal to the package."""


class Words(Protocol):
    """What reads the words: a parser, which also knows the types."""

    words: list[str]
    at: int
    abi: Abi

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


def convert(abi: Abi, constant: Constant, to: CType) -> Constant:
    """``(to)constant``, 6.3.1."""
    value = constant.value
    if isinstance(value, str):
        raise NotConstant("a string is not a number")
    match to:
        case Boolean():
            return Constant(int(bool(value)), to)
        case Integer(size=size, signed=signed):
            if isinstance(value, float) and not math.isfinite(value):
                raise NotConstant(f"{value} is not an integer")
            return Constant(_wrap(int(value), size, signed), to)
        case Real(form="binary32"):
            return Constant(_round32(float(value)), to)
        case Real():
            try:
                return Constant(float(value), to)
            except OverflowError:
                raise NotConstant("it is too large") from None
        case Pointer(size=size) if isinstance(value, int):
            return Constant(_wrap(value, size, False), to)
    raise NotConstant(f"a {to.name} is not a number")


def _round32(value: float) -> float:
    import struct

    try:
        result: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return result


def _wrap(value: int, size: int, signed: bool) -> int:
    bits = 8 * size
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def _truth(constant: Constant) -> bool:
    return isinstance(constant.value, str) or bool(constant.value)


def int_type(abi: Abi) -> Integer:
    """``int``."""
    return Integer("int", abi.sizes["int"], True)


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
        if left.size == right.size and left.signed != right.signed:
            return right if left.signed else left
        return left if left.size >= right.size else right
    raise NotConstant(f"{left.name} and {right.name} cannot be computed with")


def _binary(words: Words, precedence: int) -> Constant:
    left = _unary(words)
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


def _unary(words: Words) -> Constant:
    word = words.words[words.at]
    if word in ("+", "-", "~", "!"):
        words.at += 1
        return _negate(words.abi, word, _unary(words))
    if word == "(":
        words.at += 1
        if words.starts_type(words.at):
            ctype = words.read_type()
            _close(words)
            return convert(words.abi, _unary(words), ctype)
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
        return _unary(words)
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
        operand = _unary(words)
        if isinstance(operand.value, str) and size:
            width = len(encoded(words.abi, operand)) // _character_size(operand)
            return _word(words.abi, (width + 1) * _character_size(operand))
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
        return _character(words.abi, prefix, word)
    if first == '"' and len(word) > 1:
        return _string(words, prefix)
    if first.isalpha() or first in ("_", "$"):
        found = words.constant(word)
        if found is None:
            raise NotConstant(f"{word!r} is not a known constant")
        words.at += 1
        return found
    raise NotConstant(f"{word or 'its end'!r} is not expected in it")


def number(abi: Abi, word: str) -> Constant:
    """A literal, 6.4.4.1 and 6.4.4.2."""
    if len(word) > LONGEST_DIGITS:
        raise NotConstant("a number has too many digits")
    if match := _INTEGER.fullmatch(word):
        return _integer_literal(abi, match)
    match = _FLOAT.fullmatch(word)
    if match is None:
        raise NotConstant(f"{word!r} is not a number")
    text, suffix = match["number"], match["suffix"].lower()
    try:
        value = float.fromhex(text) if text[:2] in ("0x", "0X") else float(text)
    except OverflowError:
        raise NotConstant(f"{word!r} is too large") from None
    if suffix in ("f", "f32"):
        return convert(abi, Constant(value, abi.long_double), Real("float", 4, "binary32"))
    double = Real("double", 8, "binary64")
    return Constant(value, abi.long_double if suffix in ("l", "q", "f128", "f64x") else double)


def _integer_literal(abi: Abi, match: re.Match[str]) -> Constant:
    """6.4.4.1p5: the first type of a list that the value fits."""
    digits = (
        (match["hex"], 16) if match["hex"] else
        (match["binary"], 2) if match["binary"] else
        (match["octal"], 8) if match["octal"] else
        (match["decimal"], 10)
    )  # fmt: skip
    value = int(*digits)
    suffix = match["suffix"].lower()
    unsigned = "u" in suffix
    if "i" in suffix:
        bits = int(suffix.lstrip("u").lstrip("i"))
        names = [next((n for n in ("int", "long long") if 8 * abi.sizes[n] >= bits), "long long")]
    else:
        names = ["int", "long", "long long"][suffix.count("l") :]
    decimal = digits[1] == 10
    for name in names:
        for signed in (True, False):
            if (signed and unsigned) or not (signed or unsigned or not decimal):
                continue
            bits = 8 * abi.sizes[name] - signed
            if value < 1 << bits:
                full = name if signed else f"unsigned {name}"
                return Constant(value, Integer(full, abi.sizes[name], signed))
    if decimal and not unsigned and value < 1 << 64:
        return Constant(value, Integer("unsigned long long", 8, False))
    raise NotConstant(f"{match[0]} does not fit any integer type")


def unescape(text: str) -> str:
    """The characters that a literal's inside stands for; bytes above 127 as such."""

    def one(match: re.Match[str]) -> str:
        octal, hexadecimal, short, long, letter = match.groups()
        if octal:
            code = int(octal, 8)
        elif letter:
            return chr(_ESCAPES[letter]) if letter in _ESCAPES else str(letter)
        else:
            code = int((hexadecimal or short or long)[-8:], 16)
        if code > 0x10FFFF:
            raise NotConstant(f"{match[0]} is not a character")
        if hexadecimal or octal:
            # a byte, not a character: as Python keeps bytes that are no UTF-8
            return chr(code) if code < 0x80 or code > 0xFF else chr(0xDC00 + code)
        return chr(code)

    return _ESCAPE.sub(one, text)


def _character(abi: Abi, prefix: str, word: str) -> Constant:
    text = unescape(word[1:-1])
    if prefix in ("L", "u", "U"):
        size = {"L": abi.sizes["wchar_t"], "u": 2, "U": 4}[prefix]
        signed = abi.wchar_signed if prefix == "L" else False
        value = ord(text[-1])
        value = value - 0xDC00 if 0xDC80 <= value <= 0xDCFF else value
        name = {"L": "wchar_t", "u": "unsigned short", "U": "unsigned int"}[prefix]
        return Constant(_wrap(value, size, signed), Integer(name, size, signed, prefix == "L"))
    data = text.encode("utf-8", "surrogateescape")
    if len(data) == 1:
        return Constant(_wrap(data[0], 1, abi.char_signed), int_type(abi))
    return Constant(_wrap(int.from_bytes(data, "big"), 4, True), int_type(abi))  # 'abcd'


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
    abi = words.abi
    match prefix:
        case "L":
            kind = Integer("wchar_t", abi.sizes["wchar_t"], abi.wchar_signed, True)
        case "u":
            kind = Integer("unsigned short", 2, False)
        case "U":
            kind = Integer("unsigned int", 4, False)
        case _:
            kind = Integer("char", 1, abi.char_signed, True)
    return Constant("".join(parts), kind)


def _character_size(constant: Constant) -> int:
    assert isinstance(constant.type, Integer)
    return constant.type.size


def encoded(abi: Abi, constant: Constant) -> bytes:
    """The bytes of a string, without the zero at its end."""
    assert isinstance(constant.value, str)
    codec = {1: "utf-8", 2: "utf-16-le", 4: "utf-32-le"}[_character_size(constant)]
    errors = "surrogateescape" if codec == "utf-8" else "surrogatepass"
    return constant.value.encode(codec, errors)


__all__ = [
    "Constant",
    "DeclarationError",
    "NotConstant",
    "Words",
    "convert",
    "encoded",
    "evaluate",
    "int_type",
    "integer",
    "number",
    "unescape",
]
