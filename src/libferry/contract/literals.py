"""Literals, ISO C17 6.4.4 and 6.4.5: what one word of a constant expression stands for."""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass

from libferry.abi import Abi, Boolean, CType, Integer, Pointer, Real

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
LONGEST_DIGITS = 1000  # of a literal


@dataclass(frozen=True, slots=True)
class Constant:
    """A value and its C type; a string's type is that of its characters."""

    value: int | float | str
    type: CType


class NotConstant(Exception):
    """The words are no constant expression; the message says why. Internal to the package."""


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
            return Constant(wrap(int(value), size, signed), to)
        case Real(form="binary32"):
            return Constant(_round32(float(value)), to)
        case Real():
            try:
                return Constant(float(value), to)
            except OverflowError:
                raise NotConstant("it is too large") from None
        case Pointer(size=size) if isinstance(value, int):
            return Constant(wrap(value, size, False), to)
    raise NotConstant(f"a {to.name} is not a number")


def _round32(value: float) -> float:
    try:
        result: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return result


def wrap(value: int, size: int, signed: bool) -> int:
    """The value that an integer of ``size`` bytes has instead, 6.3.1.3."""
    bits = 8 * size
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def int_type(abi: Abi) -> Integer:
    """``int``."""
    return Integer("int", abi.sizes["int"], True)


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


def character(abi: Abi, prefix: str, word: str) -> Constant:
    """A character constant, 6.4.4.4, which is an integer."""
    text = unescape(word[1:-1])
    if prefix in ("L", "u", "U"):
        size = {"L": abi.sizes["wchar_t"], "u": 2, "U": 4}[prefix]
        signed = abi.wchar_signed if prefix == "L" else False
        value = ord(text[-1])
        value = value - 0xDC00 if 0xDC80 <= value <= 0xDCFF else value
        name = {"L": "wchar_t", "u": "unsigned short", "U": "unsigned int"}[prefix]
        return Constant(wrap(value, size, signed), Integer(name, size, signed, prefix == "L"))
    data = text.encode("utf-8", "surrogateescape")
    if len(data) == 1:
        return Constant(wrap(data[0], 1, abi.char_signed), int_type(abi))
    return Constant(wrap(int.from_bytes(data, "big"), 4, True), int_type(abi))  # 'abcd'


def string(abi: Abi, prefix: str, text: str) -> Constant:
    """A string, 6.4.5p6: its prefix says what its characters are."""
    match prefix:
        case "L":
            kind = Integer("wchar_t", abi.sizes["wchar_t"], abi.wchar_signed, True)
        case "u":
            kind = Integer("unsigned short", 2, False)
        case "U":
            kind = Integer("unsigned int", 4, False)
        case _:
            kind = Integer("char", 1, abi.char_signed, True)
    return Constant(text, kind)


def character_size(constant: Constant) -> int:
    """Bytes of one of a string's characters."""
    assert isinstance(constant.type, Integer)
    return constant.type.size


def encoded(abi: Abi, constant: Constant) -> bytes:
    """The bytes of a string, without the zero at its end."""
    assert isinstance(constant.value, str)
    codec = {1: "utf-8", 2: "utf-16-le", 4: "utf-32-le"}[character_size(constant)]
    errors = "surrogateescape" if codec == "utf-8" else "surrogatepass"
    return constant.value.encode(codec, errors)
