"""C types as plain values, with the sizes and offsets they have on one target.

Typedefs are already resolved: ``uLong`` is the ``Integer`` that ``unsigned long``
is there. Names are therefore C's own, and two types with the same name are the
same type. A pointer names the record it leads to (``Opaque("struct node")``)
instead of containing it, so that types are trees even where C's are cyclic; the
record itself is looked up by that name among a header's types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Void:
    """``void``."""

    name: str = "void"


@dataclass(frozen=True, slots=True)
class Integer:
    """An integer or enumerated type; ``size`` in bytes, 1 to 16 (``__int128``).

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


# How a floating-point number is encoded. "x87" is the 80-bit format, in 12 or 16 bytes.
RealForm = Literal["binary32", "binary64", "binary128", "x87"]


@dataclass(frozen=True, slots=True)
class Real:
    """``float``, ``double`` or ``long double``; ``size`` in bytes, padding included."""

    name: str
    size: int
    form: RealForm


@dataclass(frozen=True, slots=True)
class Complex:
    """``_Complex``: a real and an imaginary part, one after the other."""

    name: str
    part: Real

    @property
    def size(self) -> int:
        """Bytes of both parts."""
        return 2 * self.part.size


@dataclass(frozen=True, slots=True)
class Vector:
    """A SIMD vector, ``__attribute__((vector_size(size)))``; ``size`` in bytes."""

    name: str
    of: Integer | Real
    size: int


@dataclass(frozen=True, slots=True)
class Array:
    """``length`` elements side by side; None is a flexible array member of no bytes."""

    of: CType
    length: int | None

    @property
    def name(self) -> str:
        """As C writes it: ``int[3][4]``."""
        length = "" if self.length is None else str(self.length)
        if isinstance(self.of, Array):
            inner, bracket, rest = self.of.name.partition("[")
            return f"{inner}[{length}]{bracket}{rest}"
        return f"{self.of.name}[{length}]"

    @property
    def size(self) -> int:
        """Bytes of all elements."""
        return (self.length or 0) * size_of(self.of)


@dataclass(frozen=True, slots=True)
class Field:
    """One member of a record.

    ``name`` is empty for an anonymous struct or union, whose own members count as
    the outer record's. A bit-field has ``bits`` of width that begin ``bit`` bits
    above the lowest bit of the byte at ``offset``; ``bit`` is 0 to 7 on a packed
    layout, and may be up to its unit's width otherwise. ``bits`` is None for any
    other member.
    """

    name: str
    type: CType
    offset: int
    bits: int | None = None
    bit: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """A ``struct`` or ``union`` as one ABI lays it out.

    Attributes:
        kind: ``struct`` or ``union``.
        name: with its keyword, ``struct point``; that of its typedef if it has no tag.
        fields: in order of declaration. Unnamed bit-fields are left out.
        size, alignment: in bytes.
        natural_alignment: the largest alignment of a member, without what
            ``_Alignas`` or ``aligned`` asked for beyond it on the record itself.
        unnamed: the unnamed bit-fields. They carry nothing, but where a record has some
            it may be passed differently (RISC-V, and what Arm calls homogeneous).
    """

    kind: Literal["struct", "union"]
    name: str
    fields: tuple[Field, ...]
    size: int
    alignment: int
    natural_alignment: int
    unnamed: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class Opaque:
    """A type we know only by name, of which only the address can be used."""

    name: str


# How an i386 function is called; everywhere else all of them mean "cdecl".
Convention = Literal["cdecl", "stdcall", "fastcall", "thiscall"]


@dataclass(frozen=True, slots=True)
class FunctionType:
    """What a function pointer leads to; parameters already adjusted (6.7.6.3p7, p8)."""

    result: CType
    parameters: tuple[CType, ...]
    variadic: bool = False
    convention: Convention = "cdecl"

    @property
    def name(self) -> str:
        """As C writes it without a declarator: ``int (const void *, int)``."""
        parts = [spell(p) for p in self.parameters] + ["..."] * self.variadic
        return f"{spell(self.result)} ({', '.join(parts) or 'void'})"


@dataclass(frozen=True, slots=True)
class Pointer:
    """A pointer; ``readonly`` says that what it points to is const."""

    to: CType
    size: int
    readonly: bool = False

    @property
    def name(self) -> str:
        """The type's name in C, without const: ``char *``, ``int (*)(int)``."""
        if isinstance(self.to, FunctionType):
            result, _, parameters = self.to.name.partition(" (")
            return f"{result} (*)({parameters}"
        if isinstance(self.to, Array):
            element, bracket, length = self.to.name.partition("[")
            return f"{element} (*){bracket}{length}"
        inner = self.to.name
        return f"{inner}*" if inner.endswith("*") else f"{inner} *"


CType = (
    Void
    | Integer
    | Boolean
    | Real
    | Complex
    | Vector
    | Array
    | Record
    | Opaque
    | FunctionType
    | Pointer
)

Value = Integer | Boolean | Real | Complex | Vector | Array | Record | Pointer  # has a size


def size_of(ctype: CType) -> int:
    """Bytes of one value.

    Raises:
        ValueError: the type has no size: void, a function, or known by name only.
    """
    if isinstance(ctype, Void | Opaque | FunctionType):
        raise ValueError(f"{ctype.name} has no size")
    return ctype.size


def spell(ctype: CType) -> str:
    """Write a type as C does, const included, for messages."""
    if not isinstance(ctype, Pointer) or isinstance(ctype.to, FunctionType):
        return ctype.name
    inner = spell(ctype.to)
    if isinstance(ctype.to, Pointer):
        return f"{inner}const *" if ctype.readonly else f"{inner}*"
    return f"const {inner} *" if ctype.readonly else f"{inner} *"
