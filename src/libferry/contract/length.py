"""How many elements a pointer leads to, in terms of the other parameters."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FORM = re.compile(r"(?:(\*?)([^\W\d]\w*)(?: \* (\d+))?|(\d+))")


@dataclass(frozen=True, slots=True)
class Length:
    """``factor`` times the value of a parameter, or just ``factor``.

    Attributes:
        parameter: its name; empty for a constant.
        pointed: whether the value is what that parameter leads to.
        factor: a constant.

    Of what ``void *`` leads to it is bytes, of anything else elements.
    """

    parameter: str
    pointed: bool = False
    factor: int = 1

    def __str__(self) -> str:
        if not self.parameter:
            return str(self.factor)
        name = "*" * self.pointed + self.parameter
        return name if self.factor == 1 else f"{name} * {self.factor}"

    @classmethod
    def read(cls, text: str) -> Length:
        """Read what ``str`` gives, as ``Parameter.length`` has it.

        Raises:
            ValueError: it is not of that form.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not a length")
        star, name, factor, constant = match.groups()
        if constant:
            return cls("", factor=int(constant))
        return cls(name, bool(star), int(factor or 1))
