"""The same types, as libferry describes them; records are laid out by libferry."""

from __future__ import annotations

from typing import Literal, cast

from libferry.abi import layout, types
from libferry.abi.facts import Abi

from .targets import FLOATS, LongDouble, Target
from .types import (
    COMPLEX_PARTS,
    VECTORS,
    Array,
    Enum,
    FunctionPointer,
    Record,
    Scalar,
    Type,
    is_anonymous,
)
from .values import enum_size

FORMS: dict[tuple[int, int], types.RealForm] = {
    (8, 8): "binary64",
    (16, 16): "binary128",
    (12, 10): "x87",
    (16, 10): "x87",
}


def long_double(form: LongDouble) -> types.Real:
    return types.Real("long double", form.size, FORMS[form.size, form.used])


def describe_scalar(target: Target, name: str) -> types.CType:
    size = target.size(name) if name != "void" else 0
    if name == "void":
        return types.Void()
    if name.endswith("*"):
        return types.Pointer(types.Void(), size)
    if name == "_Bool":
        return types.Boolean()
    if name == "long double":
        return long_double(target.long_double)
    if name in FLOATS:
        return types.Real(name, size, "binary32" if name == "float" else "binary64")
    if name in COMPLEX_PARTS:
        part = describe_scalar(target, COMPLEX_PARTS[name])
        assert isinstance(part, types.Real)
        return types.Complex(name, part)
    if name in VECTORS:
        element = describe_scalar(target, VECTORS[name][0])
        assert isinstance(element, types.Integer | types.Real)
        return types.Vector(name, element, size)
    return types.Integer(name, size, target.is_signed(name))


def describe(abi: Abi, target: Target, ctype: Type) -> types.CType:
    """Give libferry's description of a type."""
    if isinstance(ctype, Scalar):
        return describe_scalar(target, ctype.name)
    if isinstance(ctype, Enum):
        size, signed = enum_size(ctype)
        return types.Integer("enum", size, signed)
    if isinstance(ctype, Array):
        return types.Array(describe(abi, target, ctype.of), ctype.length)
    if isinstance(ctype, FunctionPointer):
        return types.Pointer(types.FunctionType(types.Void(), ()), target.pointer)
    return describe_record(abi, target, ctype)


def describe_record(abi: Abi, target: Target, record: Record, pack: int = 0) -> types.Record:
    pack = pack or record.pack  # what holds for a definition holds for those within it
    members = [
        layout.Member(
            member.name,
            describe_record(abi, target, member.type, pack)
            if is_anonymous(member) and isinstance(member.type, Record)
            else describe(abi, target, member.type),
            bits=member.bits,
            aligned=member.aligned or None,
            packed=member.packed,
        )
        for member in record.members
    ]
    return layout.make_record(
        abi,
        cast(Literal["struct", "union"], record.kind),
        "record",
        members,
        pack=pack or None,
        aligned=record.aligned or None,
        packed=record.packed,
    )
