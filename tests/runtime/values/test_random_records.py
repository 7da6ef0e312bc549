"""Random records with random values, against the compiler's bytes, on every ABI.

The records are those of the layout tests: nested, packed, aligned, with bit-fields,
unions, vectors. Each is initialised in C and in Python, as a whole and by attribute.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libferry.abi import (
    ABIS,
    Array,
    Boolean,
    Complex,
    CType,
    Integer,
    Pointer,
    Real,
    Record,
    Vector,
)
from libferry.abi import Field as CField
from libferry.runtime.values import decode, encode, record_class

from ...abi.records import PRELUDE, define, invent, lay_out
from .compiled import data_of

CASES = int(os.environ.get("FERRY_CASES", "60"))
SEED = int(os.environ.get("FERRY_SEED", "0"))
BATCH = 150

pytestmark = pytest.mark.needs("ziglang", install="pip install ziglang")

Invented = tuple[str, Any]  # as C has it, and as Python


def integer(chance: random.Random, low: int, high: int) -> Invented:
    value = chance.choice([low, high, 0, min(1, high), chance.randint(low, high)])
    if -(2**63) < value < 2**63:
        return f"{value}LL", value
    bits = value % 2**128
    unsigned = f"((unsigned __int128){bits >> 64}ULL << 64 | {bits % 2**64}ULL)"
    if value < 2**64:
        unsigned = f"({bits % 2**64}ULL)" if value >= 0 else f"(__int128){unsigned}"
    if value == -(2**63):
        return "(-9223372036854775807LL - 1)", value
    return unsigned, value


def real(chance: random.Random, ctype: Real) -> Invented:
    value = chance.choice([0.0, -0.0, 1.5, -1e30, 2.0**-140, chance.uniform(-1, 1)])
    if ctype.form == "binary32":
        value = float(f"{value:.5g}")
    suffix = {"float": "f", "double": "", "long double": "L"}[ctype.name]
    text = f"{value.hex()}{suffix}"
    if ctype.form != "binary32":
        return text, value
    return f"(float){value.hex()}", value


def invent_value(chance: random.Random, ctype: CType, bits: int | None = None) -> Invented:
    match ctype:
        case Boolean():
            value = chance.choice([True, False])
            return str(int(value)), value
        case Integer(size=size, signed=signed):
            width = 8 * size if bits is None else bits
            low = -(1 << (width - 1)) if signed else 0
            return integer(chance, low, low + (1 << width) - 1)
        case Real():
            return real(chance, ctype)
        case Complex(part=part):
            (a, x), (b, y) = real(chance, part), real(chance, part)
            cast = f"({part.name})"
            return f"__builtin_complex({cast}{a}, {cast}{b})", complex(x, y)
        case Vector(of=of):
            lanes = [invent_value(chance, of) for _ in range(ctype.size // of.size)]
            return f"{{ {', '.join(a for a, _ in lanes)} }}", tuple(b for _, b in lanes)
        case Array(of=of, length=length):
            items = [invent_value(chance, of) for _ in range(length or 0)]
            return f"{{ {', '.join(a for a, _ in items)} }}", [b for _, b in items]
        case Pointer():
            return "0", None
        case Record():
            chosen = list(choose(chance, ctype))
            parts = [(f.name, invent_value(chance, f.type, f.bits)) for f in chosen]
            text = ", ".join(f".{name} = {part[0]}" for name, part in parts)
            return f"{{ {text} }}", {name: part[1] for name, part in parts}
    raise AssertionError(ctype)


def choose(chance: random.Random, record: Record) -> Iterator[CField]:
    """The fields to give: of a union one, and no flexible array."""
    fields = [f for f in record.fields if not (isinstance(f.type, Array) and f.type.length is None)]
    if record.kind == "union" and fields:
        fields = [chance.choice(fields)]
    for field in fields:
        if field.name:
            yield field
        else:
            assert isinstance(field.type, Record)
            yield from choose(chance, field.type)


def assert_same(value: Any, wanted: Any) -> None:
    """Of a record, the fields that were given; of a number, also zero's sign."""
    if isinstance(wanted, dict):
        for name, part in wanted.items():
            assert_same(value[name], part)
    elif isinstance(wanted, list):
        assert len(value) == len(wanted)
        for one, other in zip(value, wanted, strict=True):
            assert_same(one, other)
    elif isinstance(wanted, float | complex | tuple):
        assert repr(value) == repr(wanted) or value == pytest.approx(wanted, rel=1e-4)
    else:
        assert value == wanted
        assert type(value) is type(wanted)


@pytest.mark.parametrize("abi", sorted(ABIS))
def test_random_values_are_the_compilers_bytes(abi: str, tmp_path: Path) -> None:
    for start in range(0, CASES, BATCH):
        chance = random.Random(SEED + start)
        declared = invent(abi, min(BATCH, CASES - start), SEED + start)
        records = [lay_out(ABIS[abi], one, f"r{n}") for n, one in enumerate(declared)]
        definitions = [define(one, f"r{n}") for n, one in enumerate(declared)]
        invented = [invent_value(chance, record) for record in records]
        values = [(r.name, text) for r, (text, _) in zip(records, invented, strict=True)]
        images = data_of(abi, "\n".join([PRELUDE, *definitions]), values, tmp_path)
        for definition, record, (text, value), image in zip(
            definitions, records, invented, images, strict=True
        ):
            story = f"{abi}\n{definition}\n= {text}"
            assert encode(abi, record, value) == image, story
            assert_same(decode(abi, record, image), value)
            cls = record_class(abi, record)
            assert cls is not None
            one_by_one = cls()
            for name, part in value.items():
                setattr(one_by_one, name, part)
            assert bytes(one_by_one) == image, story
