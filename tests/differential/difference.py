"""What is told of a function that went wrong."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from .signatures import Callback, Function
from .targets import Target


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


def readable(value: object) -> str:
    """Write a value on one line; a long double as C's hexadecimal floats are."""
    if isinstance(value, tuple):
        return f"({', '.join(map(readable, value))})"
    if isinstance(value, Callback):
        return f"called with {readable(value.arguments)}, returns {readable(value.returns)}"
    if isinstance(value, Fraction):
        power = value.numerator.bit_length() - value.denominator.bit_length()
        scaled = value / Fraction(2) ** (power - 120)
        return f"{int(scaled):#x}p{power - 120}"
    return value.hex() if isinstance(value, float | bytes) else repr(value)


def story(target: Target, function: Function, name: str, differences: list[Difference]) -> str:
    """Tell enough of a failing function to repeat it by hand."""
    passed = [
        f"  a{n} = {readable(a.value)} {a.carrier}".rstrip()
        for n, a in enumerate(function.arguments)
    ]
    return "\n".join([f"{target.abi}: {name}", function.text(), *passed, *map(str, differences)])
