"""AArch64 Apple: macOS on Apple silicon.

Apple, "Writing ARM64 code for Apple platforms"; what it does not mention is as in Arm
IHI 0055, "Procedure Call Standard for the Arm 64-bit Architecture", 6.8.

==========  ==================================================================
x0-x7       the first eight integer or pointer arguments, and results in x0, x1
v0-v7       the first eight floating-point arguments, and results in v0-v3
x8          where a large structure is to be returned
x18         belongs to the system
==========  ==================================================================

Odd: an argument on the stack takes its own size there, not a slot: two ``char`` lie
side by side. Variadic arguments all go to the stack, in slots of 8 bytes, even while
registers are free. A caller extends a narrow integer to 32 bits and the callee relies
on it, which Arm's own standard forbids. Arm's rule that a 16-byte-aligned value begins
in an even register is dropped. Plain ``char`` is signed, ``long double`` is ``double``.
"""

from libferry.abi.facts import BINARY64, LP64, Abi, Variadic

ABI = Abi(
    name="aarch64-apple",
    cpu="aarch64",
    os=("macos",),
    specification="Apple, Writing ARM64 code for Apple platforms",
    sizes=LP64,
    char_signed=True,
    wchar_signed=True,
    long_double=BINARY64,
    int128=True,
    vector_alignment=16,
    integer_registers=tuple(f"x{n}" for n in range(8)),
    vector_registers=tuple(f"v{n}" for n in range(8)),
    aggregates="homogeneous",
    stack_slot=1,
    spill="close",
    variadic=Variadic(registers=False, slot=8),
    hidden_pointer="register",
)
