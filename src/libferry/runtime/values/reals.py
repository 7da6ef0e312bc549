"""Floating-point numbers of every form, exactly.

A Python float is a binary64. C's ``long double`` may have more: the x87's 80 bits
(Intel SDM volume 1, 4.2: its highest significand bit is written down, where IEEE 754
leaves it implied), or IEEE's binary128. Python's int, Fraction and Decimal can name
numbers between two doubles, so bits are made from an exact ratio and rounded once,
to nearest, ties to even. Rounding to double first and then again would miss by one
in the last place now and then.
"""

from __future__ import annotations

import math
import numbers
import operator
import struct
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from libferry.abi.types import RealForm

# A number apart from its sign: a ratio, or "inf", or the 52 fraction bits of a NaN.
Magnitude = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Form:
    """One encoding: significand and exponent widths in bits.

    ``precision`` counts the leading bit. ``explicit`` says that it is written down.
    """

    precision: int
    exponent: int
    explicit: bool = False

    @property
    def stored(self) -> int:
        """Bits of significand that are written down."""
        return self.precision - (not self.explicit)

    @property
    def lowest(self) -> int:
        """Exponent of the smallest step: that between two subnormal numbers."""
        return 3 - (1 << (self.exponent - 1)) - self.precision

    @property
    def bytes(self) -> int:
        """Bytes without padding."""
        return (1 + self.exponent + self.stored) // 8


# IEEE 754-2019 table 3.5, and Intel SDM volume 1 table 4-2
FORMS: dict[RealForm, Form] = {
    "binary32": Form(24, 8),
    "binary64": Form(53, 11),
    "binary128": Form(113, 15),
    "x87": Form(64, 15, explicit=True),
}
_DOUBLE = FORMS["binary64"]


def nearest(numerator: int, denominator: int, form: Form) -> int | None:
    """The bits, without sign, of the number nearest to a ratio >= 0; None if too large."""
    if numerator == 0:
        return 0
    precision = form.precision
    scale = numerator.bit_length() - denominator.bit_length()
    if scale > 1 << form.exponent:
        return None
    if scale < form.lowest - 2:
        return 0
    # scaled so that the quotient has as many bits as the significand, or one more
    step = max(scale - precision, form.lowest)
    quotient, rest, divisor = _scaled(numerator, denominator, step)
    if quotient.bit_length() > precision:
        step += 1
        quotient, rest, divisor = _scaled(numerator, denominator, step)
    if 2 * rest > divisor or (2 * rest == divisor and quotient & 1):
        quotient += 1
        if quotient.bit_length() > precision:
            quotient >>= 1
            step += 1
    leading = quotient >> (precision - 1)
    exponent = step - form.lowest + 1 if leading else 0
    if exponent >= (1 << form.exponent) - 1:
        return None
    significand = quotient if form.explicit else quotient & ~(1 << (precision - 1))
    return exponent << form.stored | significand


def _scaled(numerator: int, denominator: int, step: int) -> tuple[int, int, int]:
    """Quotient, remainder and divisor of the ratio in units of two to the ``step``."""
    numerator <<= max(-step, 0)
    denominator <<= max(step, 0)
    return *divmod(numerator, denominator), denominator


def infinity(form: Form) -> int:
    """Its bits, without sign."""
    leading = 1 << (form.precision - 1) if form.explicit else 0
    return ((1 << form.exponent) - 1) << form.stored | leading


def _special(number: float, form: Form) -> int:
    """The bits, without sign, of an infinite float or NaN, whose payload stays on top."""
    (bits,) = struct.unpack("<Q", struct.pack("<d", number))
    fraction = bits & (1 << 52) - 1
    if not fraction:
        return infinity(form)
    room = form.precision - 1
    fraction = fraction << (room - 52) if room >= 52 else fraction >> (52 - room)
    return infinity(form) | (fraction or 1 << (room - 1))


def ratio(value: object) -> tuple[bool, int, int] | float | None:
    """Sign, numerator and denominator of a number; a float that has none; None: no number."""
    if isinstance(value, int):
        return value < 0, abs(int(value)), 1
    if isinstance(value, numbers.Complex) and not isinstance(value, numbers.Real):
        return None
    if isinstance(value, Decimal):
        if not value.is_finite():
            return math.copysign(math.inf if value.is_infinite() else math.nan, _sign(value))
        if value and not -20_000 < value.adjusted() < 20_000:  # its ratio may not fit in memory
            huge = value.adjusted() > 0
            return value.is_signed(), 1 << 70_000 if huge else 0, 1
        numerator, denominator = value.as_integer_ratio()
        return value.is_signed(), abs(numerator), denominator
    number: Any = value
    if isinstance(value, float) and not math.isfinite(value):
        return float(value)
    if isinstance(value, float | Fraction) or hasattr(value, "as_integer_ratio"):
        try:
            numerator, denominator = number.as_integer_ratio()
        except (ValueError, OverflowError):  # numpy's NaN and infinity
            return float(number)
        if numerator:
            return numerator < 0, abs(int(numerator)), int(denominator)
        return math.copysign(1, float(number)) < 0, 0, 1
    if hasattr(value, "__index__"):
        return ratio(operator.index(number))
    if hasattr(value, "__float__"):
        return ratio(float(number))
    return None


def _sign(value: Decimal) -> float:
    return -1.0 if value.is_signed() else 1.0


def to_bits(value: object, form: Form) -> int:
    """The bits of a number in that form.

    Raises:
        TypeError: it is no number.
        OverflowError: it is finite, and too large.
    """
    parts = ratio(value)
    if parts is None:
        raise TypeError
    if isinstance(parts, float):
        negative, bits = math.copysign(1, parts) < 0, _special(parts, form)
    else:
        negative, numerator, denominator = parts
        finite = nearest(numerator, denominator, form)
        if finite is None:
            raise OverflowError
        bits = finite
    return negative << (form.exponent + form.stored) | bits


def exact(bits: int, form: Form) -> Fraction | float:
    """The number that bits stand for; a float for zero, infinity and NaN.

    An x87 significand whose leading bit is 0 although the exponent is not names no
    number: the processor takes it for an invalid operand, and so it is a NaN here.
    """
    significand = bits & (1 << form.stored) - 1
    exponent = bits >> form.stored & (1 << form.exponent) - 1
    sign = -1 if bits >> (form.exponent + form.stored) else 1
    leading = 1 << (form.precision - 1)
    if exponent == (1 << form.exponent) - 1 or (
        form.explicit and exponent and not significand & leading
    ):
        fraction = significand & (leading - 1)
        if significand in (0, leading) and bits & infinity(form) == infinity(form):
            return sign * math.inf
        room = form.precision - 1
        fraction = fraction >> (room - 52) if room >= 52 else fraction << (52 - room)
        return _nan(sign, fraction or 1 << 51)
    if exponent and not form.explicit:
        significand |= leading
    if not significand:
        return sign * 0.0
    step = form.lowest + max(exponent - 1, 0)
    return sign * (
        Fraction(significand << step) if step >= 0 else Fraction(significand, 1 << -step)
    )


def _nan(sign: int, fraction: int) -> float:
    bits = (sign < 0) << 63 | 0x7FF << 52 | fraction
    number: float = struct.unpack("<d", struct.pack("<Q", bits))[0]
    return number


def to_float(bits: int, form: Form) -> float:
    """The float nearest to the number that bits stand for."""
    number = exact(bits, form)
    if isinstance(number, float):
        return number
    rounded = nearest(abs(number.numerator), number.denominator, _DOUBLE)
    if rounded is None:
        rounded = infinity(_DOUBLE)
    result: float = struct.unpack("<d", struct.pack("<Q", (number < 0) << 63 | rounded))[0]
    return result
