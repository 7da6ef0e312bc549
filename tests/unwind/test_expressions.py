"""DWARF expressions, beside the standard's own examples."""

from __future__ import annotations

import pytest

from libferry.unwind.expressions import evaluate
from libferry.unwind.limits import Budget

# DW_OP_const1u 17, DW_OP_const1u 29, DW_OP_const2u 1000, from the top downwards
BEFORE = bytes([0x0A, 1000 & 255, 1000 >> 8, 0x08, 29, 0x08, 17])
DROP = b"\x13"


def stack_after(code: bytes, depth: int) -> list[int]:
    """The topmost entries after ``BEFORE`` and some more code."""
    return [
        evaluate(BEFORE + code + DROP * above, 8, {}, lambda *_: 0, Budget(1000))
        for above in range(depth)
    ]


# DWARF 5, appendix D.1.2 "DWARF Stack Operation Examples"
@pytest.mark.parametrize(
    ("name", "code", "after"),
    [
        ("DW_OP_dup", b"\x12", [17, 17, 29, 1000]),
        ("DW_OP_drop", b"\x13", [29, 1000]),
        ("DW_OP_pick 2", b"\x15\x02", [1000, 17, 29, 1000]),
        ("DW_OP_over", b"\x14", [29, 17, 29, 1000]),
        ("DW_OP_swap", b"\x16", [29, 17, 1000]),
        ("DW_OP_rot", b"\x17", [29, 1000, 17]),
    ],
)
def test_stack_operations(name: str, code: bytes, after: list[int]) -> None:
    assert stack_after(code, len(after)) == after, name


def value_of(*code: int, registers: dict[int, int] | None = None) -> int:
    memory = {0x1000: 0x1122334455667788}
    return evaluate(
        bytes(code),
        8,
        registers or {},
        lambda address, size: memory[address] & (1 << 8 * size) - 1,
        Budget(1000),
    )


# What binutils 2.40 makes of a procedure linkage table of x86-64: the frame is 8 bytes larger
# behind the push, which is 11 bytes into each entry of 16. DW_OP_breg7 (rsp) 8; DW_OP_breg16
# (rip) 0; DW_OP_lit15; DW_OP_and; DW_OP_lit11; DW_OP_ge; DW_OP_lit3; DW_OP_shl; DW_OP_plus
PLT = (0x77, 8, 0x80, 0, 0x3F, 0x1A, 0x3B, 0x2A, 0x33, 0x24, 0x22)


@pytest.mark.parametrize(("rip", "frame"), [(0x1020, 8), (0x102A, 8), (0x102B, 16), (0x102F, 16)])
def test_a_procedure_linkage_tables_frame(rip: int, frame: int) -> None:
    assert value_of(*PLT, registers={7: 0x7000, 16: rip}) == 0x7000 + frame


# DWARF 5, 2.5.1.4 "Arithmetic and Logical Operations" and 2.5.1.5 "Control Flow Operations"
@pytest.mark.parametrize(
    ("code", "value"),
    [
        ((0x39, 0x1F), -9),  # lit9 neg
        ((0x39, 0x1F, 0x19), 9),  # lit9 neg abs
        ((0x39, 0x1F, 0x32, 0x1B), -4),  # -9 / 2: div is signed
        ((0x39, 0x1F, 0x32, 0x1D), 1),  # -9 mod 2: mod is not
        ((0x39, 0x1F, 0x31, 0x26), -5),  # -9 shra 1
        ((0x39, 0x1F, 0x31, 0x25), (2**64 - 9) >> 1),  # -9 shr 1
        ((0x09, 0xFF), -1),  # const1s
        ((0x08, 0xFF), 255),  # const1u
        ((0x0B, 0xFE, 0xFF), -2),  # const2s
        ((0x10, 57 + 0x80, 100), 12857),  # constu, with table 7.7's example of ULEB128
        ((0x11, 0x7F + 0x80, 0x7E), -129),  # consts, with table 7.8's example of SLEB128
        ((0x31, 0x20), -2),  # lit1 not
        ((0x35, 0x33, 0x1C), 2),  # 5 minus 3
        ((0x31, 0x23, 0x7F), 128),  # lit1 plus_uconst 127
        ((0x39, 0x1F, 0x30, 0x2D), 1),  # -9 lt 0: comparisons are signed
        ((0x30, 0x28, 1, 0, 0x35, 0x34), 4),  # lit0 bra over lit5: not taken
        ((0x34, 0x31, 0x28, 1, 0, 0x35), 4),  # lit4 lit1 bra over lit5: taken
        ((0x34, 0x2F, 1, 0, 0x35), 4),  # lit4 skip over lit5
        ((0x0A, 0, 0x10, 0x06), 0x1122334455667788),  # deref
        ((0x0A, 0, 0x10, 0x94, 2), 0x7788),  # deref_size 2
    ],
)
def test_operations(code: tuple[int, ...], value: int) -> None:
    assert value_of(*code) == value % 2**64
