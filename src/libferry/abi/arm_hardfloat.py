"""Arm, 32 bits, hard-float: armhf Linux.

Arm IHI 0042 (2024Q3), "Procedure Call Standard for the Arm Architecture" (AAPCS32),
6.4 "Result return", 6.5 "Parameter passing", 7.1 "VFP and SIMD register arguments".

==========  ==================================================================
r0-r3       the first four words of arguments, and integer results in r0, r1
s0-s15      the first floating-point arguments, which are also d0-d7 and q0-q3,
            and floating-point results
==========  ==================================================================

Odd: r0-r3 are one run of 16 bytes that structures are copied into, and one may begin
there and end on the stack. A value aligned to 8 bytes begins in r0 or r2. s0-s15 are
back-filled: in ``f(float, double, float)`` the double takes s2 and s3, and the second
float goes back to s1. A function with ``...`` uses none of them, not even for its
result. Plain ``char`` and ``wchar_t`` are unsigned, and a structure of more than four
bytes is returned in memory.
"""

from libferry.abi import frame
from libferry.abi.facts import BINARY64, ILP32, Abi, Variadic

ABI = Abi(
    name="arm-hardfloat",
    cpu="arm",
    os=("linux",),
    specification="Arm IHI 0042 (2024Q3), 6.5 and 7.1",
    sizes=ILP32,
    char_signed=False,
    wchar_signed=False,
    long_double=BINARY64,
    int128=False,
    vector_alignment=8,
    unnamed_bit_fields_align=True,
    integer_registers=tuple(f"r{n}" for n in range(4)),
    vector_registers=tuple(f"s{n}" for n in range(16)),
    aggregates="homogeneous",
    stack_slot=4,
    word=4,
    integer_cell=4,
    vector_cell=4,
    vector_width=4,
    even=True,
    spill="split",
    stack_alignment=8,
    by_reference_above=frame.SIZE,
    natural_alignment=True,
    variadic=Variadic(vectors=False, fixed_too=True, result_too=True),
    small_result=4,
)
