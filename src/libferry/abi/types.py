"""C types as plain values, with the sizes they have on one target.

Typedefs are already resolved: ``uLong`` is the ``Integer`` that ``unsigned long``
is there. Names are therefore C's own, and two types with the same name are the
same type.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Void:
    """``void``."""

    name: str = "void"


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer or enumerated type; ``size`` in bytes.

    ``text`` marks the types that strings are made of: ``char`` and ``wchar_t``.
    """

    name: str
    size: int
    signed: bool
    text: bool = False


@dataclass(frozen=True, slots=True)
class Boolean:
    """``_Bool``: one byte on every ABI here."""

    name: str = "_Bool"
    size: int = 1


@dataclass(frozen=True, slots=True)
class Real:
    """``float`` or ``double``; ``size`` in bytes."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Opaque:
    """A type we know only by name, of which only the address can be used."""

    name: str


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer; ``readonly`` says that what it points to is const."""

    to: CType
    size: int
    readonly: bool = False

    @property
    def name(self) -> str:
        """The type's name in C, without const: ``char *``, ``struct sqlite3 **``."""
        inner = self.to.name
        return f"{inner}*" if inner.endswith("*") else f"{inner} *"


CType = Void | Integer | Boolean | Real | Opaque | Pointer


def spell(ctype: CType) -> str:
    """Write a type as C does, const included, for messages."""
    if not isinstance(ctype, Pointer):
        return ctype.name
    inner = spell(ctype.to)
    if isinstance(ctype.to, Pointer):
        return f"{inner}const *" if ctype.readonly else f"{inner}*"
    return f"const {inner} *" if ctype.readonly else f"{inner} *"
