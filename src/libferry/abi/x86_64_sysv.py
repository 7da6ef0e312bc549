"""x86-64 System V: Linux, the BSDs, macOS on Intel.

System V Application Binary Interface, AMD64 Architecture Processor Supplement,
3.2.3 "Parameter Passing"; 3.1.2 for sizes.

==========  ==================================================================
rdi .. r9   the first six integer or pointer arguments
xmm0-7      the first eight floating-point arguments, counted apart from those
rax, rdx    integer results
xmm0, xmm1  floating-point results
st0, st1    results of type ``long double``, and ``_Complex long double``
al          for varargs: how many vector registers are used at most
==========  ==================================================================

Odd: the two classes are counted independently, so the seventh ``int`` goes to the
stack while the eighth ``double`` still has a register. A structure of up to 16 bytes
has a class for each half of it (``libferry.abi.eightbytes``); a larger one is copied to
the stack, and returned in memory. The document leaves the upper half of a register that
holds a narrow integer undefined, yet clang relies on callers extending to 32 bits;
extending always satisfies everybody.
"""

from libferry.abi.facts import LP64, X87_16, Abi

ABI = Abi(
    name="x86_64-sysv",
    cpu="x86_64",
    os=("linux",),
    specification="System V ABI, AMD64 supplement 1.0, 3.2.3",
    sizes=LP64,
    char_signed=True,
    wchar_signed=True,
    long_double=X87_16,
    int128=True,
    integer_registers=("rdi", "rsi", "rdx", "rcx", "r8", "r9"),
    vector_registers=tuple(f"xmm{n}" for n in range(8)),
    aggregates="eightbytes",
    stack_slot=8,
    stack_alignment=64,
)
