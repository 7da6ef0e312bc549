"""What is odd about each ABI, one signature each: where its arguments and result lie.

Expected places are those of the specification's section named in each test. To see a
compiler agree, write the signature as an external function, call it, and read what
``zig cc -target … -O1 -S`` makes of the call. ``tests/differential`` does so at random.
"""

from __future__ import annotations

import pytest

from libferry.abi import (
    ABIS,
    Abi,
    Array,
    CallPlan,
    Complex,
    Convention,
    CType,
    Field,
    Integer,
    Member,
    Move,
    Opaque,
    Pointer,
    Real,
    Record,
    Vector,
    Void,
    frame,
    lower,
    make_record,
)
from libferry.abi.lower import NoPlan

VOID = Void()
CHAR = Integer("signed char", 1, True)
SHORT = Integer("short", 2, True)
INT = Integer("int", 4, True)
UNSIGNED = Integer("unsigned int", 4, False)
LONG_LONG = Integer("long long", 8, True)
INT128 = Integer("__int128", 16, True)
FLOAT = Real("float", 4, "binary32")
DOUBLE = Real("double", 8, "binary64")
FLOAT4 = Vector("float4", FLOAT, 16)


def struct(abi: str, *types: CType, aligned: int | None = None, packed: bool = False) -> Record:
    members = [Member(f"m{n}", ctype) for n, ctype in enumerate(types)]
    return make_record(ABIS[abi], "struct", "struct s", members, aligned=aligned, packed=packed)


def pointer(abi: str) -> Pointer:
    return Pointer(VOID, ABIS[abi].pointer_size)


def place(abi: Abi, offset: int) -> str:
    """Say which register a cell stands for, or where on the stack it lies."""
    integer = (offset - frame.INTEGER) // abi.integer_cell
    registers = abi.integer_registers or ("ecx", "edx")
    if 0 <= integer < len(registers) and offset < abi.stack_image:
        return registers[integer]
    if 0 <= offset - abi.vector_cells < len(abi.vector_registers) * abi.vector_cell:
        return abi.vector_registers[(offset - abi.vector_cells) // abi.vector_cell]
    return f"stack+{offset - abi.stack_image}"


def places(plan: CallPlan) -> list[str]:
    """Say it of each argument; ``*rdi`` is the address in rdi."""
    abi = ABIS[plan.abi]
    said = []
    for moves in plan.arguments:
        reference = [r for r in plan.references if moves and r.at == moves[0].offset]
        if reference:
            said.append("*" + place(abi, reference[0].cell))
        else:
            said.append(" ".join(place(abi, move.offset) for move in moves))
    return said


def passed(
    abi: str, *arguments: CType, variadic_from: int | None = None, convention: Convention = "cdecl"
) -> list[str]:
    plan = lower(ABIS[abi], VOID, arguments, variadic_from=variadic_from, convention=convention)
    return places(plan)


def returned(abi: str, result: CType, *arguments: CType) -> CallPlan:
    return lower(ABIS[abi], result, arguments)


# ---- x86-64 ----


def test_x86_64_sysv_the_example_of_the_specification() -> None:
    """AMD64 supplement, figures 3.5 and 3.6; its __m256 is an __m128 here."""
    abi = "x86_64-sysv"
    structparm = struct(abi, INT, INT, DOUBLE)
    long_double = ABIS[abi].long_double
    # func(e, f, s, g, h, ld, m, y, n, i, j, k)
    types = (INT, INT, structparm, INT, INT, long_double, DOUBLE, FLOAT4, DOUBLE, INT, INT, INT)
    assert passed(abi, *types) == [
        *("rdi", "rsi", "rdx xmm0", "rcx", "r8", "stack+0", "xmm1", "xmm2", "xmm3"),
        *("r9", "stack+16", "stack+24"),
    ]


def test_x86_64_sysv_a_structure_that_does_not_fit_leaves_its_register_to_others() -> None:
    """AMD64 supplement, 3.2.3: "the assignments get reverted"."""
    abi = "x86_64-sysv"
    two = struct(abi, LONG_LONG, LONG_LONG)
    assert passed(abi, *[INT] * 5, two, INT)[5:] == ["stack+0", "r9"]


def test_x86_64_sysv_an_unaligned_member_sends_a_structure_to_memory() -> None:
    """AMD64 supplement, 3.2.3, rule 1."""
    abi = "x86_64-sysv"
    assert passed(abi, struct(abi, CHAR, DOUBLE, packed=True), INT) == ["stack+0", "rdi"]


def test_x86_64_sysv_a_complex_long_double_fills_two_x87_registers() -> None:
    """AMD64 supplement, 3.2.3, "Returning of values": COMPLEX_X87."""
    long_double = ABIS["x86_64-sysv"].long_double
    plan = returned("x86_64-sysv", Complex("_Complex long double", long_double))
    assert plan.x87_results == 2
    assert not plan.x87
    assert plan.result == (
        Move(frame.RESULT_X87, 10, source=0),
        Move(frame.RESULT_X87_SECOND, 10, source=16),
    )


def test_x86_64_sysv_varargs_tell_how_many_vector_registers_there_are() -> None:
    """AMD64 supplement, 3.5.7: %al."""
    plan = lower(
        ABIS["x86_64-sysv"], INT, (pointer("x86_64-sysv"), DOUBLE, DOUBLE), variadic_from=1
    )
    assert plan.vector_count == 2


def test_x86_64_windows_three_bytes_go_by_reference_and_eight_do_not() -> None:
    """Microsoft Learn, "x64 calling convention", "Parameter passing"."""
    abi = "x86_64-windows"
    three, eight = struct(abi, Array(CHAR, 3)), struct(abi, Array(CHAR, 8))
    assert passed(abi, three, eight, INT128) == ["*rcx", "rdx", "*r8"]


def test_x86_64_windows_varargs_are_in_integer_registers() -> None:
    """Microsoft Learn, "x64 calling convention", "Varargs"."""
    types = (pointer("x86_64-windows"), DOUBLE, INT, DOUBLE, DOUBLE)
    assert passed("x86_64-windows", *types, variadic_from=1) == [
        *("rcx", "rdx", "r8", "r9", "stack+32"),
    ]


# ---- i386 ----


def test_i386_sysv_the_callee_pops_the_hidden_pointer() -> None:
    """System V ABI, Intel386 supplement 1.1, 2.2.4."""
    plan = returned("i386-sysv", struct("i386-sysv", INT), INT)
    assert plan.result_reference is not None
    assert plan.result_reference.cell == frame.STACK_I386
    assert plan.pop_bytes == 4
    assert places(plan) == ["stack+4"]


def test_i386_windows_small_structures_come_back_in_registers() -> None:
    """Microsoft Learn, "__cdecl" and "Return values": up to 8 bytes in eax and edx."""
    abi = "i386-windows"
    plan = returned(abi, struct(abi, INT, INT))
    assert plan.result == (Move(frame.RESULT_INTEGER, 8),)
    large = returned(abi, struct(abi, INT, INT, INT))
    assert large.result_reference is not None
    assert large.pop_bytes == 0


@pytest.mark.parametrize("abi", ["i386-sysv", "i386-windows"])
def test_fastcall_has_two_registers_for_words(abi: str) -> None:
    """Microsoft Learn, "__fastcall"."""
    plan = lower(ABIS[abi], VOID, (INT, LONG_LONG, DOUBLE, CHAR, INT), convention="fastcall")
    assert places(plan) == ["ecx", "stack+0", "stack+8", "edx", "stack+16"]
    assert plan.pop_bytes == 20


@pytest.mark.parametrize("abi", ["i386-sysv", "i386-windows"])
def test_thiscall_has_one_for_the_object(abi: str) -> None:
    """Microsoft Learn, "__thiscall"."""
    plan = lower(ABIS[abi], VOID, (pointer(abi), INT), convention="thiscall")
    assert places(plan) == ["ecx", "stack+0"]
    assert plan.pop_bytes == 4


def test_a_function_with_varargs_is_cdecl_whatever_it_says() -> None:
    """Microsoft Learn, "__stdcall": functions with a variable argument list are __cdecl."""
    plan = lower(ABIS["i386-windows"], INT, (INT, INT), convention="stdcall", variadic_from=1)
    assert plan.pop_bytes == 0


# ---- Arm ----


def test_aarch64_four_floats_travel_in_four_registers() -> None:
    """Arm IHI 0055, 6.8.2, C.2."""
    abi = "aarch64-aapcs64"
    assert passed(abi, struct(abi, *[FLOAT] * 4), DOUBLE) == ["v0 v1 v2 v3", "v4"]
    assert passed(abi, struct(abi, *[FLOAT] * 5), DOUBLE) == ["*x0", "v0"]


def test_aarch64_what_does_not_fit_closes_the_registers() -> None:
    """Arm IHI 0055, 6.8.2, C.3: "The NSRN is set to 8"."""
    abi = "aarch64-aapcs64"
    pair = struct(abi, DOUBLE, DOUBLE)
    assert passed(abi, *[DOUBLE] * 7, pair, DOUBLE)[7:] == ["stack+0", "stack+16"]


@pytest.mark.parametrize(
    ("abi", "expected"),
    [
        ("aarch64-aapcs64", ["x0", "x2"]),
        ("aarch64-windows", ["x0", "x2"]),
        ("aarch64-apple", ["x0", "x1"]),
    ],
)
def test_aarch64_sixteen_bytes_begin_in_an_even_register_but_not_apples(
    abi: str, expected: list[str]
) -> None:
    """Arm IHI 0055, 6.8.2, C.10; Apple, "Pass arguments to functions correctly"."""
    assert passed(abi, INT, INT128) == expected


def test_aarch64_alignas_on_a_structure_does_not_count() -> None:
    """Arm IHI 0055, 5.6 and 6.8.2, C.10: it is the natural alignment that does."""
    abi = "aarch64-aapcs64"
    assert passed(abi, INT, struct(abi, LONG_LONG, aligned=16)) == ["x0", "x1"]


def test_apple_arguments_on_the_stack_take_their_own_size() -> None:
    """Apple, Writing ARM64 code for Apple platforms, "Pass arguments ..."."""
    stack = passed("aarch64-apple", *[LONG_LONG] * 8, CHAR, CHAR, SHORT, INT, CHAR, DOUBLE)[8:]
    assert stack == ["stack+0", "stack+1", "stack+2", "stack+4", "stack+8", "v0"]


def test_apple_varargs_are_on_the_stack() -> None:
    """The same, "Update code that passes arguments to variadic functions"."""
    types = (pointer("aarch64-apple"), INT, DOUBLE)
    assert passed("aarch64-apple", *types, variadic_from=1) == ["x0", "stack+0", "stack+8"]


def test_windows_on_arm_varargs_use_no_vector_registers_and_may_be_divided() -> None:
    """Microsoft Learn, "Overview of ARM64 ABI conventions", "Addendum: Variadic functions"."""
    abi = "aarch64-windows"
    two = struct(abi, LONG_LONG, LONG_LONG)
    types: tuple[CType, ...] = (DOUBLE, *[LONG_LONG] * 6, two, INT)
    assert passed(abi, *types, variadic_from=1)[:1] == ["x0"]
    assert passed(abi, *types, variadic_from=1)[7:] == ["x7 stack+0", "stack+8"]


def test_arm_a_float_goes_back_to_the_gap_that_a_double_left() -> None:
    """Arm IHI 0042, 7.1.2.1: back-filling."""
    assert passed("arm-hardfloat", FLOAT, DOUBLE, FLOAT) == ["s0", "s2", "s1"]


def test_arm_a_structure_may_be_divided_between_registers_and_stack() -> None:
    """Arm IHI 0042, 6.5, C.5."""
    abi = "arm-hardfloat"
    assert passed(abi, INT, struct(abi, *[INT] * 5), INT) == ["r0", "r1 stack+0", "stack+8"]


def test_arm_eight_bytes_begin_in_an_even_register() -> None:
    """Arm IHI 0042, 6.5, C.3; the register that is left out stays so."""
    assert passed("arm-hardfloat", INT, LONG_LONG, INT) == ["r0", "r2", "stack+0"]


def test_arm_varargs_use_the_base_standard_and_so_does_their_result() -> None:
    """Arm IHI 0042, 7.1.2: variadic functions are marshalled to the base standard."""
    plan = lower(ABIS["arm-hardfloat"], DOUBLE, (DOUBLE, FLOAT, DOUBLE), variadic_from=1)
    assert places(plan) == ["r0", "r2", "stack+0"]
    assert plan.result == (Move(frame.RESULT_INTEGER, 8),)


def test_arm_more_than_four_bytes_come_back_in_memory() -> None:
    """Arm IHI 0042, 6.4."""
    abi = "arm-hardfloat"
    assert returned(abi, struct(abi, SHORT, SHORT)).result_reference is None
    assert returned(abi, struct(abi, INT, CHAR)).result_reference is not None
    assert returned(abi, struct(abi, *[DOUBLE] * 4)).result == (Move(frame.RESULT_VECTOR, 32),)


# ---- RISC-V and LoongArch ----

FLAT = pytest.mark.parametrize("abi", ["riscv64-lp64d", "loongarch64-lp64d"])


@FLAT
def test_a_structure_of_a_number_of_each_kind_is_taken_apart(abi: str) -> None:
    """RISC-V psABI, "Hardware Floating-point Calling Convention"; LoongArch's likewise."""
    assert passed(abi, struct(abi, INT, DOUBLE), FLOAT) == ["a0 fa0", "fa1"]
    assert passed(abi, struct(abi, INT, INT, FLOAT)) == ["a0"]


@FLAT
def test_what_finds_no_floating_point_register_takes_an_integer_one(abi: str) -> None:
    """The same."""
    assert passed(abi, *[DOUBLE] * 9)[8] == "a0"
    assert passed(abi, *[DOUBLE] * 8, struct(abi, INT, DOUBLE))[8] == "a0"


@FLAT
def test_two_words_may_be_divided(abi: str) -> None:
    """RISC-V psABI, "Integer Calling Convention"; LoongArch, "Base Calling Convention"."""
    assert passed(abi, *[INT] * 7, INT128)[7] == "a7 stack+0"
    assert passed(abi, *[INT] * 7, ABIS[abi].long_double)[7] == "a7 stack+0"


@FLAT
def test_variadic_pairs_begin_in_an_even_register(abi: str) -> None:
    """The same."""
    assert passed(abi, INT, INT128, DOUBLE, variadic_from=1) == ["a0", "a2", "a4"]
    assert passed(abi, INT, INT128, DOUBLE) == ["a0", "a1", "fa0"]


@FLAT
def test_even_an_unsigned_int_is_extended_by_its_sign(abi: str) -> None:
    """The same: "sign-extended to XLEN bits"."""
    assert lower(ABIS[abi], VOID, (UNSIGNED,)).arguments == (
        (Move(frame.INTEGER, 8, size=4, extend="sign"),),
    )


def test_riscv_boxes_a_float() -> None:
    """RISC-V unprivileged specification, "NaN Boxing of Narrower Values"."""
    (move,) = lower(ABIS["riscv64-lp64d"], VOID, (FLOAT,)).arguments[0]
    assert move == Move(frame.VECTOR, 8, size=4, extend="ones")


def test_an_empty_bit_field_counts_on_riscv_only() -> None:
    """``struct { float a; int : 0; float b; }``, by Clang."""
    expected = {"riscv64-lp64d": ["a0"], "loongarch64-lp64d": ["fa0 fa1"]}
    members = [Member("a", FLOAT), Member("", INT, bits=0), Member("b", FLOAT)]
    for abi, places_ in expected.items():
        record = make_record(ABIS[abi], "struct", "struct s", members)
        assert record.unnamed == (Field("", INT, 4, bits=0),)
        assert passed(abi, record) == places_


# ---- what cannot be passed ----


@pytest.mark.parametrize("abi", ABIS)
@pytest.mark.parametrize(
    ("ctype", "reason"),
    [
        (VOID, "argument 1 is a void by value"),
        (Opaque("struct node"), "argument 1 is a struct node by value"),
        (
            Vector("float8", FLOAT, 32),
            "argument 1 is a float8 by value, a vector of 32 bytes; a frame carries 16",
        ),
    ],
    ids=["void", "unknown", "wide"],
)
def test_what_has_no_plan(abi: str, ctype: CType, reason: str) -> None:
    with pytest.raises(NoPlan) as refused:
        lower(ABIS[abi], VOID, (ctype,))
    assert str(refused.value) == reason


@pytest.mark.parametrize("abi", ABIS)
def test_a_flexible_array_cannot_be_passed(abi: str) -> None:
    record = struct(abi, INT, Array(INT, None))
    with pytest.raises(NoPlan, match="whose last member m1 has no fixed length"):
        lower(ABIS[abi], record, ())


@pytest.mark.parametrize("abi", ABIS)
def test_what_is_larger_than_a_frame_is_refused_with_the_sizes(abi: str) -> None:
    record = struct(abi, Array(CHAR, 20_000))
    with pytest.raises(NoPlan, match=r"take 20\d\d\d bytes; a frame has room for 1[56]\d\d\d"):
        lower(ABIS[abi], VOID, (record,))


def test_a_thiscall_function_needs_its_object() -> None:
    with pytest.raises(NoPlan) as refused:
        lower(ABIS["i386-windows"], VOID, (DOUBLE,), convention="thiscall")
    assert str(refused.value) == (
        "a thiscall function's first argument is its object, and this is a double"
    )
