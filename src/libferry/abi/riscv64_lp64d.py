"""RISC-V LP64D: 64-bit Linux on RISC-V, with double-precision registers.

RISC-V ELF psABI 1.0, "Procedure Calling Convention": "Integer Calling Convention",
"Hardware Floating-point Calling Convention"; "C/C++ type details" for sizes.

==========  ==================================================================
a0-a7       the first eight integer or pointer arguments, and results in a0, a1
fa0-fa7     the first eight floating-point arguments, and results in fa0, fa1
==========  ==================================================================

Odd: a structure of one or two members, at least one of them floating-point, is taken
apart and each member is passed like an argument of its own. What finds no
floating-point register is passed in an integer register before it goes to the stack;
variadic arguments never get one. A value of two registers may have its first half in
a7 and its second on the stack. A narrow integer is extended to 32 bits as its type
says, and from there to 64 by its sign, even an unsigned one. A ``float`` in a 64-bit
register has ones above it ("NaN-boxing").
"""

from libferry.abi.facts import BINARY128, LP64, Abi, Variadic

ABI = Abi(
    name="riscv64-lp64d",
    cpu="riscv64",
    os=("linux",),
    specification="RISC-V ELF psABI 1.0, Hardware Floating-point Calling Convention",
    sizes=LP64,
    char_signed=False,
    wchar_signed=True,
    long_double=BINARY128,
    int128=True,
    integer_registers=tuple(f"a{n}" for n in range(8)),
    vector_registers=tuple(f"fa{n}" for n in range(8)),
    aggregates="flattened",
    stack_slot=8,
    vector_width=8,
    nan_boxed=True,
    widen_word="sign",
    spill="split",
    zero_width_spoils=True,
    variadic=Variadic(vectors=False, even=True),
)
