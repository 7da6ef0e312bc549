"""Types for Hypothesis to invent.

What decides how a record is passed is mostly seen in small ones: how long it is, whether
all its members are alike, which of its words are floating point. So most are small, and
each has one of a few characters instead of being a heap of anything.
"""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st

from .targets import ADDRESSES, FLOATS, Target
from .types import (
    COMPLEX_PARTS,
    VECTORS,
    Array,
    Enum,
    FunctionPointer,
    Member,
    Record,
    Scalar,
    Type,
)
from .values import has_value

DEEPEST = 4
MOST_MEMBERS = 6
LARGEST = 320  # bytes, or so

# Microsoft's are all int, GNU's are what holds their constants.
ENUMS_OF_INT = (
    Enum((0, 1, 2)),
    Enum((-1, 5)),
    Enum((-(1 << 31), (1 << 31) - 1)),
)
ENUMS = (
    *ENUMS_OF_INT,
    Enum((0, 0xFFFFFFFF)),
    Enum((0, 1 << 40)),
    Enum((-1, 1 << 32)),
)
BIT_FIELDS = (
    *("int", "unsigned int", "int", "unsigned int", "_Bool", "char", "signed char"),
    *("uint8_t", "short", "unsigned short", "long", "unsigned long", "long long", "uint64_t"),
)


def enums(target: Target) -> tuple[Enum, ...]:
    return ENUMS_OF_INT if target.is_windows else ENUMS


@cache
def scalars(target: Target) -> st.SearchStrategy[Type]:
    """Give any type that is not made of others, by kind first: integers are many."""
    kinds: list[st.SearchStrategy[Type]] = [
        st.sampled_from([Scalar(name) for name in target.integers]),
        st.sampled_from([Scalar(name) for name in (*FLOATS, *FLOATS, "long double")]),
        st.sampled_from([Scalar("int"), Scalar("double"), Scalar("float"), Scalar("long long")]),
        st.sampled_from([Scalar(name) for name in ADDRESSES]),
        st.sampled_from([Scalar(name) for name in COMPLEX_PARTS]),
        st.sampled_from([Scalar(name) for name in VECTORS]),
        st.sampled_from(enums(target)),
        function_pointers(target),
    ]
    return st.sampled_from(kinds).flatmap(lambda kind: kind)


@cache
def function_pointers(target: Target) -> st.SearchStrategy[Type]:
    """Give function pointers that are only handed on."""
    plain = st.sampled_from([Scalar(name) for name in ("int", "double", "void *", "short")])
    conventions = st.sampled_from(target.conventions)
    parameters = st.lists(plain, max_size=3).map(tuple)
    return st.builds(
        FunctionPointer, st.one_of(st.just(Scalar("void")), plain), parameters, conventions
    )


def estimate(target: Target, ctype: Type) -> int:
    """Say roughly how long a type is, and rather too long."""
    if isinstance(ctype, Scalar):
        return target.size(ctype.name)
    if isinstance(ctype, Array):
        return ctype.length * estimate(target, ctype.of)
    if isinstance(ctype, Record):
        return sum(max(estimate(target, m.type), m.aligned) for m in ctype.members) + ctype.aligned
    return 8


def base_types(target: Target, character: str) -> st.SearchStrategy[Type]:
    """Give what the members of a record of some character are in the end."""
    if character == "alike":
        reals = [*FLOATS, *FLOATS, "long double", *COMPLEX_PARTS]
        return st.sampled_from([Scalar(name) for name in (*reals, *VECTORS)])
    if character == "small":
        names = ("char", "uint8_t", "short", "int", "_Bool", "float", "float", "double", "int64_t")
        return st.sampled_from([Scalar(name) for name in names])
    if character == "bits":
        return st.sampled_from([Scalar(name) for name in BIT_FIELDS] + [*enums(target)[:4]])
    return scalars(target)


def width(target: Target, ctype: Type) -> int:
    """Give the most bits that a bit-field of this type has."""
    if isinstance(ctype, Enum):
        return 32
    assert isinstance(ctype, Scalar)
    return 1 if ctype.name == "_Bool" else 8 * target.size(ctype.name)


@st.composite
def records(draw: st.DrawFn, target: Target, deepest: int = 0, largest: int = LARGEST) -> Record:
    """Give a struct or a union that has at least one member with a value."""
    if not deepest:
        deepest = draw(st.sampled_from([1, 1, 2, 2, 3, DEEPEST]))
        largest = draw(st.sampled_from([8, 16, 16, 32, 64, LARGEST]))
    character = draw(st.sampled_from(["alike", "small", "small", "bits", "mixed", "mixed"]))
    base = base_types(target, character)
    if character == "alike":
        base = st.just(draw(base))
    return draw(records_of(target, base, character, deepest, largest))


@st.composite
def records_of(
    draw: st.DrawFn,
    target: Target,
    base: st.SearchStrategy[Type],
    character: str,
    deepest: int,
    largest: int,
) -> Record:
    kind = draw(st.sampled_from(["struct"] * 5 + ["union"]))
    one_in_12 = st.integers(0, 11).map(lambda n: n == 11)
    members: list[Member] = []
    room = largest
    for n in range(draw(st.integers(1, MOST_MEMBERS if character != "alike" else 4))):
        member = draw(members_of(target, base, character, deepest, room, f"m{n}"))
        room -= max(estimate(target, member.type), member.aligned)
        if room < 0:
            break
        members.append(member)
    if not any(map(has_value, members)):
        members.append(Member("m", draw(base)))
    return Record(
        kind,
        tuple(members),
        pack=draw(st.sampled_from([1, 2, 4, 8, 16])) if draw(one_in_12) else 0,
        packed=draw(one_in_12),
        aligned=draw(st.sampled_from([1, 2, 4, 8, 16, 32])) if draw(one_in_12) else 0,
        typedef=draw(st.booleans()),
    )


@st.composite
def members_of(
    draw: st.DrawFn,
    target: Target,
    base: st.SearchStrategy[Type],
    character: str,
    deepest: int,
    room: int,
    name: str,
) -> Member:
    chance = draw(st.integers(0, 99))
    if deepest > 1 and chance < 30:
        # within one that is alike, all are alike
        inner = records(target, deepest - 1, room // 2)
        if character == "alike" or chance < 10:
            inner = records_of(target, base, character, deepest - 1, room // 2)
        record = draw(inner)
        ctype: Type = record
        if chance % 5 == 0:
            return Member("", renamed(record, name))
    else:
        ctype = draw(base)
        if character == "bits" and chance < 90:
            most = width(target, ctype)
            if chance < 35 and ctype != Scalar("_Bool"):
                return Member("", ctype, draw(st.integers(0, most)))
            bits = draw(st.one_of(st.integers(1, most), st.integers(1, min(most, 9))))
            return Member(name, ctype, bits, packed=chance > 85)
    if draw(st.integers(0, 3)) == 0:
        longest = max(1, min(20, room // max(1, estimate(target, ctype))))
        ctype = Array(ctype, draw(st.integers(1, min(4, longest)) | st.integers(1, longest)))
        if draw(st.integers(0, 4)) == 0:
            ctype = Array(ctype, draw(st.integers(1, 2)))
    aligned, spelling = 0, "attribute"
    if draw(st.integers(0, 19)) == 0:
        aligned = draw(st.sampled_from([2, 4, 8, 16, 32]))
        if aligned >= 16 and draw(st.booleans()):
            spelling = "_Alignas"
    packed = draw(st.integers(0, 29)) == 0
    return Member(name, ctype, aligned=aligned, spelling=spelling, packed=packed)


def renamed(record: Record, prefix: str) -> Record:
    """Make a record anonymous: its members' names must be unlike the outer one's."""
    members = []
    for member in record.members:
        inner = member.type
        if not member.name and isinstance(inner, Record):
            inner = renamed(inner, prefix)
        name = f"{prefix}_{member.name}" if member.name else ""
        members.append(
            Member(name, inner, member.bits, member.aligned, member.spelling, member.packed)
        )
    # #pragma pack cannot stand inside another definition
    return Record(record.kind, tuple(members), 0, record.packed, record.aligned)
