"""Records for Hypothesis to invent, written in C, and laid out by us."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from typing import Literal

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from libferry.abi import (
    ABIS,
    Abi,
    Array,
    Boolean,
    Complex,
    CType,
    Integer,
    Member,
    Pointer,
    Real,
    Record,
    Vector,
    Void,
    make_record,
)

# Vectors by their typedef here, what they are of, and their bytes.
VECTORS: tuple[tuple[str, Integer | Real, int], ...] = (
    *((f"char{n}", Integer("signed char", 1, True), n) for n in (2, 4, 8, 16)),
    *((f"float{n}", Real("float", 4, "binary32"), n) for n in (4, 8, 16)),
    *((f"double{n}", Real("double", 8, "binary64"), n) for n in (8, 16)),
    *((f"long{n}", Integer("long long", 8, True), n) for n in (8, 16)),
)
PRELUDE = "\n".join(
    f"typedef {of.name} {name} __attribute__((vector_size({size})));" for name, of, size in VECTORS
)


def basic_types(abi: Abi) -> dict[str, CType]:
    """Give every type that is not made of others, by its text in C."""
    sizes = {"char": 1, **{n: abi.sizes[n] for n in ("short", "int", "long", "long long")}}
    types: dict[str, CType] = {"_Bool": Boolean()}
    for name, size in sizes.items():
        types[name] = Integer(name, size, abi.char_signed if name == "char" else True)
        types[f"unsigned {name}"] = Integer(f"unsigned {name}", size, False)
    if abi.int128:
        types["__int128"] = Integer("__int128", 16, True)
    reals = (Real("float", 4, "binary32"), Real("double", 8, "binary64"), abi.long_double)
    for real in reals:
        types[real.name] = real
        types[f"_Complex {real.name}"] = Complex(f"_Complex {real.name}", real)
    types["void *"] = Pointer(Void(), abi.pointer_size)
    types |= {name: Vector(name, of, size) for name, of, size in VECTORS}
    return types


@dataclass(frozen=True)
class Declared:
    """A record as written in C. ``pack`` is 0 without a pragma, ``aligned`` without one."""

    kind: Literal["struct", "union"]
    members: tuple[DeclaredMember, ...]
    pack: int = 0
    aligned: int = 0
    packed: bool = False


@dataclass(frozen=True)
class DeclaredMember:
    """``name`` is empty if it is not to have one; lengths of an array, -1 for ``[]``."""

    name: str
    type: str | Declared
    lengths: tuple[int, ...] = ()
    bits: int | None = None
    aligned: int = 0
    packed: bool = False


def attributes(item: Declared | DeclaredMember) -> str:
    """Write what is asked for, with a space before it."""
    aligned = f" __attribute__((aligned({item.aligned})))" if item.aligned else ""
    return aligned + " __attribute__((packed))" * item.packed


def define(record: Declared, tag: str) -> str:
    """Write the definition in C, those of records inside it before it."""
    before, body = [], []
    for position, member in enumerate(record.members):
        ctype = member.type
        if isinstance(ctype, Declared):
            if member.name:
                inner = f"{tag}_{position}"
                before.append(define(ctype, inner))
                ctype = f"{ctype.kind} {inner}"
            else:
                ctype = anonymous(ctype)
        lengths = "".join(f"[{n}]" if n >= 0 else "[]" for n in member.lengths)
        bits = f" : {member.bits}" if member.bits is not None else ""
        body.append(f"    {ctype} {member.name}{lengths}{bits}{attributes(member)};")
    lines = [f"{record.kind} {tag} {{", *body, f"}}{attributes(record)};"]
    if record.pack:
        lines = [f"#pragma pack(push, {record.pack})", *lines, "#pragma pack(pop)"]
    return "\n".join([*before, *lines])


def anonymous(record: Declared) -> str:
    """Write a record that is a member without a name; it has no named records inside."""
    body = []
    for member in record.members:
        assert isinstance(member.type, str)
        lengths = "".join(f"[{n}]" for n in member.lengths)
        bits = f" : {member.bits}" if member.bits is not None else ""
        body.append(f"{member.type} {member.name}{lengths}{bits}{attributes(member)};")
    return f"{record.kind} {{ {' '.join(body)} }}{attributes(record)}"


def lay_out(abi: Abi, record: Declared, tag: str) -> Record:
    """Have libferry lay it out."""
    basic = basic_types(abi)
    members = []
    for position, member in enumerate(record.members):
        if isinstance(member.type, Declared):
            ctype: CType = lay_out(abi, member.type, f"{tag}_{position}")
        else:
            ctype = basic[member.type]
        for length in reversed(member.lengths):
            ctype = Array(ctype, None if length < 0 else length)
        members.append(
            Member(member.name, ctype, member.bits, member.aligned or None, member.packed)
        )
    return make_record(
        abi,
        record.kind,
        f"{record.kind} {tag}",
        members,
        pack=record.pack or None,
        aligned=record.aligned or None,
        packed=record.packed,
    )


@cache
def bit_fields(abi_name: str) -> st.SearchStrategy[DeclaredMember]:
    def some(ctype: str, widest: int) -> st.SearchStrategy[DeclaredMember]:
        named = st.builds(
            DeclaredMember,
            st.just("named"),
            st.just(ctype),
            bits=st.integers(1, widest),
            aligned=st.sampled_from([0, 0, 0, 0, 0, 1, 2, 4, 8, 16]),
            packed=st.sampled_from([False, False, False, False, True]),
        )
        unnamed = st.builds(
            DeclaredMember, st.just(""), st.just(ctype), bits=st.integers(0, widest)
        )
        return named | named | unnamed

    widths = {
        name: 1 if name == "_Bool" else 8 * ctype.size
        for name, ctype in basic_types(ABIS[abi_name]).items()
        if isinstance(ctype, Integer | Boolean)
    }
    return st.one_of([some(name, widest) for name, widest in widths.items()])


@cache
def plain_members(abi_name: str) -> st.SearchStrategy[DeclaredMember]:
    lengths = st.just(()) | st.just(()) | st.tuples(LENGTH) | st.tuples(LENGTH, LENGTH)
    return st.builds(
        DeclaredMember,
        st.just("named"),
        st.sampled_from(sorted(basic_types(ABIS[abi_name]))),
        lengths=lengths,
        aligned=st.sampled_from([0] * 8 + [1, 2, 4, 8, 16, 32]),
        packed=st.sampled_from([False] * 5 + [True]),
    )


@cache
def simple_members(abi_name: str) -> st.SearchStrategy[list[DeclaredMember]]:
    return st.lists(plain_members(abi_name) | bit_fields(abi_name), max_size=6)


LENGTH = st.integers(0, 3)
FEW = st.integers(0, 2)
PLACE = st.integers(0, 8)
PACK = st.sampled_from([0, 0, 0, 1, 2, 4, 8])
KIND: st.SearchStrategy[Literal["struct", "union"]] = st.sampled_from(["struct", "struct", "union"])
ALIGNED = st.sampled_from([0] * 6 + [1, 2, 4, 8, 16, 32])
PACKED = st.sampled_from([False] * 5 + [True])
DEEPEST = 3


@st.composite
def records(
    draw: st.DrawFn, abi_name: str, depth: int = DEEPEST, inside: int | None = None
) -> Declared:
    """Invent a record; ``inside`` is the pragma of the record that it has to share."""
    members = draw(simple_members(abi_name))
    pack = draw(PACK) if inside is None else inside
    if depth and inside is None:
        for _ in range(draw(FEW)):
            if draw(st.booleans()):
                inner = DeclaredMember("named", draw(records(abi_name, depth - 1)))
            else:
                inner = DeclaredMember("", draw(records(abi_name, 0, pack)))
            members.insert(draw(PLACE), inner)
    kind = draw(KIND)
    named = any(m.name for m in members)
    if kind == "struct" and inside is None and depth == DEEPEST and named and draw(st.booleans()):
        flexible = replace(draw(plain_members(abi_name)), lengths=(-1,), aligned=0, packed=False)
        members.append(flexible)
    return Declared(kind, tuple(members), pack, draw(ALIGNED), draw(PACKED))


def name_members(record: Declared, numbers: Iterator[int] | None = None) -> Declared:
    """Give each member that is to have a name one of its own."""
    numbers = numbers or count()
    members = []
    for member in record.members:
        ctype = member.type
        if isinstance(ctype, Declared):
            ctype = name_members(ctype, numbers if not member.name else None)
        name = f"m{next(numbers)}" if member.name else ""
        members.append(replace(member, name=name, type=ctype))
    return replace(record, members=tuple(members))


def invent(abi_name: str, number: int, start: int) -> list[Declared]:
    """Have Hypothesis make different records; the same ones for the same start.

    It only makes them, a few at a time, since after its first examples it likes to vary
    what it made before. A compiler is slow to start, so all are compiled in one go.
    """
    made: dict[Declared, None] = {}
    attempt = 0
    while len(made) < number:

        @seed(hash((start, attempt)))
        @settings(
            max_examples=10,
            phases=[Phase.generate],
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(records(abi_name).map(name_members))
        def keep(record: Declared) -> None:
            made.setdefault(record)

        keep()
        attempt += 1
    return list(made)[:number]
