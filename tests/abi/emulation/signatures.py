"""Random signatures, in C and as libferry has them, and random values to go with them."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from libferry.abi import (
    Abi,
    Array,
    Boolean,
    Complex,
    Convention,
    CType,
    Integer,
    Pointer,
    Real,
    Record,
    Vector,
    Void,
    alignment_of,
    size_of,
)

from ..records import VECTORS, Declared, DeclaredMember, basic_types, define, lay_out, name_members


@dataclass(frozen=True)
class Typed:
    """A type by its text in C, what that text needs before it, and as libferry has it."""

    text: str
    ctype: CType
    definition: str = ""


@dataclass(frozen=True)
class Signature:
    name: str
    convention: Convention
    result: Typed
    parameters: tuple[Typed, ...]
    variadic_from: int | None

    @property
    def types(self) -> tuple[Typed, ...]:
        return (self.result, *self.parameters)


FLOATING = ("float", "double", "long double")
# Where Clang's va_arg does not look for a vector, or for a structure of some, where Clang
# passes it: on i386 and Windows if it is small, on Arm's CPUs if it is wide.
CONTRADICTED_VECTORS = {
    *("i386-sysv", "i386-windows", "x86_64-windows", "aarch64-windows", "aarch64-apple")
}
# The same for anything that is aligned to this many bytes.
CONTRADICTED_ALIGNMENT = {"aarch64-windows": 16}
LARGEST = 160  # bytes of a structure
# weights of what a structure is made of
SHAPES = ("homogeneous", "pair", "bytes", "few", "few", "bits", "nested", "odd")


def member(ctype: str | Declared, *lengths: int, bits: int | None = None) -> DeclaredMember:
    return DeclaredMember("named", ctype, lengths, bits)


def invent_record(random: Random, abi: Abi, depth: int = 2) -> Declared:
    basic = sorted(basic_types(abi))
    shape = random.choice(SHAPES)
    pick = random.choice
    members: list[DeclaredMember] = []
    if shape == "homogeneous":
        of = pick(
            [
                *FLOATING,
                "float",
                "double",
                "char8",
                "char16",
                "float8",
                "double16",
                "_Complex float",
            ]
        )
        if random.random() < 0.3:
            members = [member(of, random.randint(1, 4))]
        else:
            members = [member(of) for _ in range(random.randint(1, 4))]
    elif shape == "pair":
        members = [member(pick(FLOATING)), member(pick(basic))]
        random.shuffle(members)
    elif shape == "bytes":
        members = [member(pick(["char", "char", "short", "int"]), random.randint(0, 24))]
    elif shape == "few":
        vectors = {typedef for typedef, _, _ in VECTORS}
        small = [n for n in basic if n not in vectors and "_Complex" not in n]
        members = [member(pick(small)) for _ in range(random.randint(0, 3))]
    elif shape == "bits":
        for _ in range(random.randint(1, 4)):
            ctype, width = pick(
                [("int", 32), ("unsigned char", 8), ("long long", 64), ("_Bool", 1)]
            )
            if random.random() < 0.3:
                members.append(
                    DeclaredMember("", ctype, bits=pick([0, 0, 1, random.randint(1, width)]))
                )
            elif random.random() < 0.4:
                members.append(member(pick(["float", "double", "char", "int"])))
            else:
                members.append(member(ctype, bits=random.randint(1, width)))
    elif shape == "nested" and depth:
        for _ in range(random.randint(1, 2)):
            inner = invent_record(random, abi, depth - 1)
            members.append(member(inner, random.randint(0, 2)) if pick([0, 1]) else member(inner))
        if pick([0, 1]):
            members.insert(pick([0, 1]), member(pick(basic)))
    else:
        members = [
            DeclaredMember(
                "named",
                pick(basic),
                (random.randint(0, 2),) if random.random() < 0.2 else (),
                aligned=pick([0, 0, 0, 8, 16, 32]),
                packed=pick([False, False, False, True]),
            )
            for _ in range(random.randint(1, 3))
        ]
    odd = random.random() < 0.15
    kind = "union" if random.random() < 0.15 else "struct"
    return Declared(
        kind,
        tuple(members),
        pick([0, 0, 1, 2, 4, 8]) if odd else 0,
        pick([0, 1, 2, 4, 8, 16, 32]) if odd else 0,
        pick([False, False, True]) if odd else False,
    )


def invent_type(random: Random, abi: Abi, tag: str, records: float) -> Typed:
    basic = basic_types(abi)
    if random.random() < records:
        while True:
            declared = name_members(invent_record(random, abi))
            record = lay_out(abi, declared, tag)
            if record.size <= LARGEST:
                break
        return Typed(record.name, record, define(declared, tag))
    common = ["int", "long long", "float", "double", "void *", "char", "unsigned short", "_Bool"]
    name = random.choice(common if random.random() < 0.5 else sorted(basic))
    return Typed(name, basic[name])


def holds_vector(ctype: CType) -> bool:
    if isinstance(ctype, Record):
        return any(holds_vector(field.type) for field in ctype.fields)
    return holds_vector(ctype.of) if isinstance(ctype, Array) else isinstance(ctype, Vector)


def promoted(typed: Typed, abi: Abi) -> bool:
    """Whether a value of this type may be a variadic argument as it is."""
    ctype = typed.ctype
    if abi.name in CONTRADICTED_VECTORS and holds_vector(ctype):
        return False
    if alignment_of(abi, ctype) >= CONTRADICTED_ALIGNMENT.get(abi.name, 1024):
        return False
    if isinstance(ctype, Record) and ctype.size and not any(mask(ctype)):
        return False  # nothing but unnamed bit-fields: the same again
    if isinstance(ctype, Integer | Boolean):
        return size_of(ctype) >= abi.sizes["int"]
    return not (isinstance(ctype, Real) and ctype.size < 8)


def invent(random: Random, abi: Abi, name: str) -> Signature:
    conventions: list[Convention] = ["cdecl"]
    if abi.conventions and random.random() < 0.5:
        conventions = ["stdcall", "fastcall", "thiscall"]
    count = random.choice([0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 24])
    records = random.choice([0.0, 0.3, 0.7])
    parameters = [invent_type(random, abi, f"s{name}_{n}", records) for n in range(count)]
    variadic_from = None
    if count > 1 and random.random() < 0.3:
        variadic_from = random.randint(1, count - 1)
        for n in range(variadic_from, count):
            while not promoted(parameters[n], abi):
                parameters[n] = invent_type(random, abi, f"s{name}_{n}", records)
        conventions = ["cdecl"]
    convention = random.choice(conventions)
    if convention == "thiscall" and parameters:
        parameters[0] = Typed("void *", Pointer(Void(), abi.pointer_size))
    result = invent_type(random, abi, f"s{name}_r", 0.5)
    if random.random() < 0.1:
        result = Typed("void", Void())
    return Signature(name, convention, result, tuple(parameters), variadic_from)


def mask(ctype: CType) -> bytes:
    """Give the bits of a value that mean something; the others are padding."""
    match ctype:
        case Record():
            bits = 0
            for field in ctype.fields:
                if field.bits is not None:
                    bits |= ((1 << field.bits) - 1) << (8 * field.offset + field.bit)
                else:
                    bits |= int.from_bytes(mask(field.type), "little") << 8 * field.offset
            return bits.to_bytes(ctype.size, "little")
        case Array():
            return mask(ctype.of) * (ctype.length or 0)
        case Complex():
            return mask(ctype.part) * 2
        case Real(form="x87"):
            return b"\xff" * 10 + bytes(ctype.size - 10)
    return b"\xff" * size_of(ctype)


def only_zero_or_one(ctype: CType) -> bytes:
    """Give the bits that a random value may have set: a _Bool is 0 or 1."""
    match ctype:
        case Boolean():
            return b"\x01"
        case Record():
            bits = (1 << 8 * ctype.size) - 1
            for field in ctype.fields:
                if field.bits is None:
                    allowed = int.from_bytes(only_zero_or_one(field.type), "little")
                    forbidden = ((1 << 8 * size_of(field.type)) - 1) & ~allowed
                    bits &= ~(forbidden << 8 * field.offset)
            return bits.to_bytes(ctype.size, "little")
        case Array():
            return only_zero_or_one(ctype.of) * (ctype.length or 0)
    return b"\xff" * size_of(ctype)


def value(random: Random, ctype: CType) -> bytes:
    """Give random bytes without a NaN in them, which the x87 would make quiet."""
    allowed = only_zero_or_one(ctype)
    raw = bytes(random.choice((*range(0x7F), *range(0x80, 0xFF))) for _ in allowed)
    return bytes(a & b for a, b in zip(raw, allowed, strict=True))
