"""What is told of a function that went wrong."""

from __future__ import annotations

from dataclasses import dataclass

from .signatures import Function
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


def story(target: Target, function: Function, name: str, differences: list[Difference]) -> str:
    """Tell enough of a failing function to repeat it by hand."""
    passed = [
        f"  a{n} = {a.value!r} {a.carrier}".rstrip() for n, a in enumerate(function.arguments)
    ]
    return "\n".join(
        [f"{target.abi}: {name}", function.text(), *passed, *map(str, differences)]
    )
