"""AArch64 AAPCS64: 64-bit Linux on Arm.

Arm IHI 0055 (2024Q3), "Procedure Call Standard for the Arm 64-bit Architecture",
6.8.2 "Parameter passing rules", 6.9 "Result return"; 10.1.2 for sizes of C types.

==========  ==================================================================
x0-x7       the first eight integer or pointer arguments, and results in x0, x1
v0-v7       the first eight floating-point arguments, and results in v0-v3
x8          where a large structure is to be returned
==========  ==================================================================

Odd: plain ``char`` is unsigned, and so is ``wchar_t``. A structure of up to four
floating-point numbers of one kind is in as many registers
(``libferry.abi.homogeneous``); of any other that is larger than 16 bytes the address is
passed. What does not fit in the registers that are left closes them: whatever comes
later goes to the stack as well. Narrow arguments take a whole 8-byte slot there; Apple's
variant packs them.
"""

from libferry.abi.facts import BINARY128, LP64, Abi

ABI = Abi(
    name="aarch64-aapcs64",
    cpu="aarch64",
    os=("linux",),
    specification="Arm IHI 0055 (2024Q3), 6.8.2",
    sizes=LP64,
    char_signed=False,
    wchar_signed=False,
    long_double=BINARY128,
    int128=True,
    vector_alignment=16,
    unnamed_bit_fields_align=True,
    integer_registers=tuple(f"x{n}" for n in range(8)),
    vector_registers=tuple(f"v{n}" for n in range(8)),
    aggregates="homogeneous",
    stack_slot=8,
    even=True,
    spill="close",
    natural_alignment=True,
    hidden_pointer="register",
)
