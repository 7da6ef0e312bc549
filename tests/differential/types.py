"""C types as trees, and how C writes them down.

Nothing here knows how long a type is or where a member lies: a compiler says that.
Records and enumerations have no names either, so that equal ones are one; ``Names``
gives them some when a function is written down.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Scalar:
    """A type that C, ``stdint.h`` or ``VECTORS`` has a name for, pointers included."""

    name: str


@dataclass(frozen=True)
class Enum:
    """An enumeration, by the values of its constants."""

    constants: tuple[int, ...]


@dataclass(frozen=True)
class Array:
    """``length`` elements."""

    of: Type
    length: int


@dataclass(frozen=True)
class Member:
    """One member of a record.

    An anonymous record or an unnamed bit-field has no name. ``aligned`` is what
    ``spelling`` asks for: ``_Alignas`` or ``attribute``.
    """

    name: str
    type: Type
    bits: int | None = None
    aligned: int = 0
    spelling: str = "attribute"
    packed: bool = False


@dataclass(frozen=True)
class Record:
    """A struct or a union.

    ``pack`` is the ``#pragma pack`` in force (0: none), ``packed`` and ``aligned`` are
    attributes of its own, ``typedef`` says that it is known by a typedef and has no tag.
    """

    kind: str
    members: tuple[Member, ...]
    pack: int = 0
    packed: bool = False
    aligned: int = 0
    typedef: bool = False


@dataclass(frozen=True)
class FunctionPointer:
    """A pointer to a function; ``convention`` as a target spells it."""

    result: Type
    parameters: tuple[Type, ...]
    convention: str = ""


Type = Scalar | Enum | Array | Record | FunctionPointer

VOID = Scalar("void")

# element and number of elements, by the typedef that the header begins with
VECTORS = {
    "int8x16": ("int8_t", 16),
    "uint16x8": ("uint16_t", 8),
    "int32x4": ("int32_t", 4),
    "uint64x2": ("uint64_t", 2),
    "float32x4": ("float", 4),
    "float64x2": ("double", 2),
    "int8x8": ("int8_t", 8),
    "int16x4": ("int16_t", 4),
    "uint32x2": ("uint32_t", 2),
    "float32x2": ("float", 2),
}
COMPLEX_PARTS = {
    "_Complex float": "float",
    "_Complex double": "double",
    "_Complex long double": "long double",
}


def inner_types(ctype: Type) -> Iterator[Type]:
    """Give what a type is made of, one level down; an anonymous record is no level."""
    if isinstance(ctype, Array):
        yield ctype.of
    elif isinstance(ctype, Record):
        for member in ctype.members:
            if is_anonymous(member):
                yield from inner_types(member.type)
            else:
                yield member.type
    elif isinstance(ctype, FunctionPointer):
        yield ctype.result
        yield from ctype.parameters


def depth(ctype: Type) -> int:
    """Say how deep records are nested in each other."""
    deepest = max((depth(inner) for inner in inner_types(ctype)), default=0)
    return deepest + isinstance(ctype, Record)


@dataclass
class Names:
    """The names of a function's records and enumerations, in order of definition."""

    prefix: str
    tags: dict[Record | Enum, str] = field(default_factory=dict)
    definitions: list[str] = field(default_factory=list)

    def define(self, ctype: Type) -> None:
        """Define whatever this type needs and has not got yet."""
        if isinstance(ctype, Record | Enum) and ctype in self.tags:
            return
        for inner in inner_types(ctype):
            self.define(inner)
        if isinstance(ctype, Enum):
            tag = self.tags[ctype] = f"{self.prefix}e{len(self.tags)}"
            constants = (f"{tag}_{n} = {value}" for n, value in enumerate(ctype.constants))
            self.definitions.append(f"enum {tag} {{ {', '.join(constants)} }};")
        elif isinstance(ctype, Record):
            tag = self.tags[ctype] = f"{self.prefix}s{len(self.tags)}"
            body = self.body(ctype, "" if ctype.typedef else f"{tag} ")
            text = f"typedef {body} {tag};" if ctype.typedef else f"{body};"
            if ctype.pack:
                text = f"#pragma pack(push, {ctype.pack})\n{text}\n#pragma pack(pop)"
            self.definitions.append(text)

    def records(self) -> list[Record]:
        """Give the records that have names."""
        return [ctype for ctype in self.tags if isinstance(ctype, Record)]

    def body(self, record: Record, tag: str) -> str:
        attributes = ["packed"] * record.packed
        if record.aligned:
            attributes.append(f"aligned({record.aligned})")
        attribute = f"__attribute__(({', '.join(attributes)})) " if attributes else ""
        members = " ".join(self.member(member) for member in record.members)
        # both places are in use in real headers
        if record.typedef:
            return f"{record.kind} {tag}{{ {members} }} {attribute}".rstrip()
        return f"{record.kind} {attribute}{tag}{{ {members} }}"

    def member(self, member: Member) -> str:
        before, after = "", ""
        if member.aligned and member.spelling == "_Alignas":
            before = f"_Alignas({member.aligned}) "
        elif member.aligned:
            after = f" __attribute__((aligned({member.aligned})))"
        if member.packed:
            after += " __attribute__((packed))"
        if is_anonymous(member):
            assert isinstance(member.type, Record)
            return f"{before}{self.body(member.type, '')}{after};"
        if member.bits is not None:
            return f"{self.spell(member.type, member.name).rstrip()} : {member.bits}{after};"
        return f"{before}{self.spell(member.type, member.name)}{after};"

    def spell(self, ctype: Type, declarator: str = "") -> str:
        """Write a declaration of ``declarator``, or the type alone."""
        if isinstance(ctype, Scalar):
            star = "" if ctype.name.endswith("*") else " "
            return f"{ctype.name}{star}{declarator}".rstrip()
        if isinstance(ctype, Enum):
            return f"enum {self.tags[ctype]} {declarator}".rstrip()
        if isinstance(ctype, Array):
            return self.spell(ctype.of, f"{declarator}[{ctype.length}]")
        if isinstance(ctype, Record):
            word = "" if ctype.typedef else f"{ctype.kind} "
            return f"{word}{self.tags[ctype]} {declarator}".rstrip()
        parameters = ", ".join(self.spell(parameter) for parameter in ctype.parameters)
        return self.spell(
            ctype.result, f"({ctype.convention}*{declarator})({parameters or 'void'})"
        )


def is_anonymous(member: Member) -> bool:
    return not member.name and member.bits is None
