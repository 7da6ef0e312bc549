"""A rule with the function that looks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from libferry.audit.model import Rule
from libferry.audit.subject import Seen, Subject

ALL_FORMATS = frozenset({"elf", "pe", "macho"})


@dataclass(frozen=True)
class Check:
    """What looks for the cases of one rule, or of several that are seen together.

    Attributes:
        look: gives each case.
        rules: which rules; a ``Seen`` names its own if they are several.
        formats: the formats of files that it is for.
        kinds: the kinds of files that it is for.
    """

    look: Callable[[Subject], Iterable[Seen]]
    rules: tuple[Rule, ...]
    formats: frozenset[str] = ALL_FORMATS
    kinds: frozenset[str] = frozenset({"library", "executable"})
