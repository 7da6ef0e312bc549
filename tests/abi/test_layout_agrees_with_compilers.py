"""Sizes, alignments, offsets and bits of records, as zig's clang has them.

The compiler makes one object file per ABI. In it is a table: a marker to find it by,
then for each record its size, its alignment and its members' offsets, and for each
bit-field a record in which every bit of it is set and no other.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from libferry.abi import ABIS, Record, size_of

from .records import PRELUDE, Declared, DeclaredMember, define, invent, lay_out
from .targets import TARGETS

CASES = int(os.environ.get("FERRY_CASES", "300"))
SEED = int(os.environ.get("FERRY_SEED", "0"))
BATCH = 300
MARKER = b"records of a row"

pytestmark = pytest.mark.needs("ziglang", install="pip install ziglang")


def named(record: Record) -> Iterator[tuple[str, int, int | None, int]]:
    """Give name, offset, bits and lowest bit of members, those without a name opened."""
    for field in record.fields:
        if not field.name:
            assert isinstance(field.type, Record)
            for name, offset, bits, bit in named(field.type):
                yield name, field.offset + offset, bits, bit
        else:
            yield field.name, field.offset, field.bits, field.bit


def compare(abi_name: str, declared: Sequence[Declared], directory: Path) -> list[str]:
    """Compile the records and ours against each other; give the story of each difference."""
    abi = ABIS[abi_name]
    ours = [lay_out(abi, record, f"r{n}") for n, record in enumerate(declared)]
    definitions, numbers, samples, values = [], [], [], []
    for n, (record, mine) in enumerate(zip(declared, ours, strict=True)):
        ctype = mine.name
        definitions.append(define(record, f"r{n}"))
        numbers += [f"sizeof({ctype})", f"_Alignof({ctype})"]
        for name, _, bits, _ in named(mine):
            if bits is None:
                numbers.append(f"__builtin_offsetof({ctype}, {name})")
            else:
                samples.append(f"{ctype} s{n}_{name};")
                values.append(f".s{n}_{name} = {{ .{name} = -1 }},")
    source = [
        *('#pragma clang diagnostic ignored "-Weverything"', PRELUDE, *definitions),
        f"const struct {{ unsigned char marker[16]; unsigned numbers[{len(numbers)}];",
        *(*samples, "} __attribute__((packed)) table = {"),
        f".marker = {{ {', '.join(map(str, MARKER))} }}, .numbers = {{ {', '.join(numbers)} }},",
        *(*values, "};"),
    ]
    (directory / "layout.c").write_text("\n".join(source) + "\n")
    command = [sys.executable, "-m", "ziglang", "cc", *TARGETS[abi_name], "-c", "layout.c"]
    done = subprocess.run([*command, "-o", "layout.o"], cwd=directory, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    image = (directory / "layout.o").read_bytes()
    at = image.index(MARKER) + len(MARKER)
    theirs = iter(struct.unpack_from(f"<{len(numbers)}I", image, at))
    at += 4 * len(numbers)
    stories = []
    for n, (record, mine) in enumerate(zip(declared, ours, strict=True)):
        size = next(theirs)
        expected: dict[str, object] = {"sizeof": size, "_Alignof": next(theirs)}
        received: dict[str, object] = {"sizeof": mine.size, "_Alignof": mine.alignment}
        for name, offset, bits, bit in named(mine):
            if bits is None:
                expected[name], received[name] = next(theirs), offset
                continue
            number = int.from_bytes(image[at : at + size], "little")
            at += size
            expected[name] = f"bits {number:#x}"
            received[name] = f"bits {((1 << bits) - 1) << (8 * offset + bit):#x}"
        if expected != received:
            differing = [k for k in expected if expected[k] != received[k]]
            stories.append(
                f"{abi_name}\n{define(record, f'r{n}')}\n"
                + "\n".join(f"  {k}: {received[k]}, clang has {expected[k]}" for k in differing)
            )
    return stories


@pytest.mark.parametrize("start", range(SEED, SEED + -(-CASES // BATCH)))
@pytest.mark.parametrize("abi", ABIS)
def test_random_records_lie_as_the_compiler_lays_them(abi: str, start: int, tmp_path: Path) -> None:
    stories = compare(abi, invent(abi, BATCH, start), tmp_path)
    assert not stories, f"{len(stories)} of {BATCH}\n\n" + "\n\n".join(stories[:3])


def bits(*members: tuple[str, str, int]) -> Declared:
    return Declared(
        "struct", tuple(DeclaredMember(name, ctype, bits=width) for name, ctype, width in members)
    )


ODDITIES = {
    "nothing in it": Declared("struct", ()),
    "an empty union": Declared("union", ()),
    "a double after a char": Declared(
        "struct", (DeclaredMember("a", "char"), DeclaredMember("b", "double"))
    ),
    "a char shares an int's storage": Declared(
        "struct", (DeclaredMember("a", "int", bits=4), DeclaredMember("b", "char"))
    ),
    "types of two sizes": bits(("a", "char", 4), ("b", "int", 4), ("c", "short", 4)),
    "a bit-field that would cross": bits(("a", "int", 20), ("b", "int", 20)),
    ":0 first": bits(("", "int", 0), ("a", "char", 4)),
    ":0 between": bits(("a", "char", 4), ("", "int", 0), ("b", "char", 4)),
    ":0 of a smaller type": bits(("a", "int", 4), ("", "char", 0), ("b", "int", 4)),
    ":0 last": bits(("a", "char", 4), ("", "long long", 0)),
    "an unnamed one of a wider type": bits(("a", "char", 4), ("", "int", 4)),
    "a pragma on bit-fields": Declared(
        "struct", bits(("a", "int", 20), ("b", "int", 20)).members, 1
    ),
    "a union of bit-fields": Declared("union", bits(("a", "char", 3), ("b", "int", 20)).members),
    "_Bool": bits(("a", "_Bool", 1), ("b", "_Bool", 1), ("c", "unsigned char", 7)),
    "packed with a stricter member": Declared(
        "struct",
        (DeclaredMember("a", "char"), DeclaredMember("b", "int", aligned=8)),
        packed=True,
    ),
    "a pragma against a stricter member": Declared(
        "struct", (DeclaredMember("a", "char"), DeclaredMember("b", "int", aligned=8)), 2
    ),
    "a flexible array": Declared(
        "struct", (DeclaredMember("a", "char"), DeclaredMember("b", "double", (-1,)))
    ),
}


@pytest.mark.parametrize("abi", ABIS)
def test_oddities_lie_as_the_compiler_lays_them(abi: str, tmp_path: Path) -> None:
    stories = compare(abi, list(ODDITIES.values()), tmp_path)
    assert not stories, "\n\n".join(stories)


def test_a_member_has_a_place_of_its_own_size() -> None:
    record = lay_out(ABIS["x86_64-sysv"], ODDITIES["a double after a char"], "s")
    assert [(f.name, f.offset, size_of(f.type)) for f in record.fields] == [
        ("a", 0, 1),
        ("b", 8, 8),
    ]
