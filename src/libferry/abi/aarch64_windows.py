"""AArch64 Windows.

Microsoft Learn, "Overview of ARM64 ABI conventions"; what it does not mention is as in
Arm IHI 0055, "Procedure Call Standard for the Arm 64-bit Architecture", 6.8.

==========  ==================================================================
x0-x7       the first eight integer or pointer arguments, and results in x0, x1
v0-v7       the first eight floating-point arguments, and results in v0-v3
x8          where a large structure is to be returned
x18         belongs to the system
==========  ==================================================================

Odd: a function with ``...`` takes nothing in v0-v7, its fixed arguments included:
everything goes to x0-x7 and on to the stack as if those were the stack's first 64
bytes, so that a structure may lie half in x7 and half in memory. That is where callees
look, also Clang's; what calls Clang makes with such an argument, or with one that is
aligned to 16 bytes, its own callees misread. ``long`` has 32 bits, ``wchar_t`` 16, plain
``char`` is signed, and bit-fields are Microsoft's.
"""

from libferry.abi.facts import BINARY64, LLP64, Abi, Variadic

ABI = Abi(
    name="aarch64-windows",
    cpu="aarch64",
    os=("windows",),
    specification="Microsoft Learn, Overview of ARM64 ABI conventions",
    sizes=LLP64,
    char_signed=True,
    wchar_signed=False,
    long_double=BINARY64,
    int128=True,
    vector_alignment=16,
    bit_fields="microsoft",
    integer_registers=tuple(f"x{n}" for n in range(8)),
    vector_registers=tuple(f"v{n}" for n in range(8)),
    aggregates="homogeneous",
    stack_slot=8,
    even=True,
    spill="close",
    variadic=Variadic(
        vectors=False, alignment=8, spill="split", fixed_too=True, named_vectors=True
    ),
    hidden_pointer="register",
)
