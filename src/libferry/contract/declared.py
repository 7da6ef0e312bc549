"""What a parser gives, and what it asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from libferry.abi import Abi, CType
from libferry.contract.attributes import Attributes
from libferry.contract.literals import Constant
from libferry.contract.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Qualified:
    """A type with what C keeps beside it.

    ``aligned`` is what a typedef asked for: unlike a member's own it may be less than
    the type needs. ``transparent`` marks a union that is passed as its first member.
    ``depth`` counts the types within the type.
    """

    type: CType
    const: bool = False
    aligned: int | None = None
    transparent: bool = False
    depth: int = 0


@dataclass(slots=True)
class Specifiers:
    """What comes before the declarators, and holds for each of them."""

    type: Qualified
    storage: set[str]
    attributes: Attributes
    tag: int | None = None  # the word of a struct, union or enum without a name


@dataclass(slots=True)
class Declared:
    """One declarator: a name (or none) and its type."""

    name: str
    type: Qualified
    at: int
    attributes: Attributes
    parameters: list[Declared] | None = None  # if it is a function's own declarator
    bits: int | None = None


class Names(Protocol):
    """What the parser has to ask for: the meaning of names."""

    abi: Abi

    def typedef(self, name: str) -> Qualified | None:
        """The type of that name, or None."""

    def is_typedef(self, name: str) -> bool:
        """Whether it names a type."""

    def tag(self, keyword: str, at: int, name: str, tokens: Tokens) -> Qualified:
        """A struct, union or enum, by its tag, or by its place if it has none."""

    def constant(self, name: str) -> Constant | None:
        """An enumerator or a macro."""

    def object_type(self, name: str) -> CType | None:
        """The type of a variable or function."""

    def complete(self, ctype: CType) -> CType:
        """The type with its records in full."""

    def size_of(self, ctype: CType) -> int:
        """``sizeof``."""

    def alignment_of(self, ctype: CType) -> int:
        """``_Alignof``."""

    def offset_of(self, ctype: CType, member: str) -> int:
        """``offsetof``."""
