"""LoongArch LP64D: 64-bit Linux on LoongArch, with double-precision registers.

LoongArch psABI v2.40, "Base Calling Convention"; "C/C++ type sizes and alignments".

==========  ==================================================================
a0-a7       the first eight integer or pointer arguments, and results in a0, a1
fa0-fa7     the first eight floating-point arguments, and results in fa0, fa1
==========  ==================================================================

Odd: a structure of one or two members, at least one of them floating-point, is taken
apart and each member is passed like an argument of its own, as on RISC-V, whose
convention this one resembles to the letter, with three differences: a ``:0`` among the
members does not matter, nobody looks at what lies above a ``float`` in its register,
and plain ``char`` is signed.
"""

from libferry.abi.facts import BINARY128, LP64, Abi, Variadic

ABI = Abi(
    name="loongarch64-lp64d",
    cpu="loongarch64",
    os=("linux",),
    specification="LoongArch psABI v2.40, Base Calling Convention",
    sizes=LP64,
    char_signed=True,
    wchar_signed=True,
    long_double=BINARY128,
    int128=True,
    integer_registers=tuple(f"a{n}" for n in range(8)),
    vector_registers=tuple(f"fa{n}" for n in range(8)),
    aggregates="flattened",
    stack_slot=8,
    vector_width=8,
    widen_word="sign",
    spill="split",
    variadic=Variadic(vectors=False, even=True),
)
