"""i386 System V: 32-bit Linux on x86.

System V Application Binary Interface, Intel386 Architecture Processor Supplement,
version 1.1, 2.2.3 "Parameter Passing", 2.2.4 "Function Return"; 2.1.1 for sizes.

==========  ==================================================================
stack       every argument, in 4-byte slots, the first one lowest
xmm0-2      the first three 16-byte vectors, and such a result in xmm0
eax, edx    integer results; 64-bit ones in both, the low half in eax
st(0)       floating-point results, on the x87 stack, whatever their type
==========  ==================================================================

Odd: a ``double`` or ``long long`` is only 4-byte aligned, on the stack and in a
structure. Results of type ``float`` come back with the x87's 64-bit significand and
are rounded by whoever stores them. Every structure is returned in memory, even one of
four bytes: its address is a hidden first argument, which the callee takes from the
stack (``ret $4``) while it leaves the others there. ``_Complex float`` is no structure
and comes back in eax and edx. Windows' conventions exist here too, by attribute.
"""

from libferry.abi import frame
from libferry.abi.facts import FASTCALL, ILP32, STDCALL, THISCALL, X87_12, Abi, Variadic

ABI = Abi(
    name="i386-sysv",
    cpu="i386",
    os=("linux",),
    specification="System V ABI, Intel386 supplement 1.1, 2.2.3",
    sizes=ILP32,
    char_signed=True,
    wchar_signed=True,
    long_double=X87_12,
    int128=False,
    scalar_alignment=4,
    integer_registers=(),
    vector_registers=("xmm0", "xmm1", "xmm2"),
    aggregates="stack",
    stack_slot=4,
    stack_image=frame.STACK_I386,
    vector_cells=frame.VECTOR_I386,
    result_vectors=frame.RESULT_VECTOR_I386,
    counts_vector_results=True,
    frame_end=frame.VECTOR_I386,
    word=4,
    hidden_pointer="stack",
    variadic=Variadic(vectors=False, fixed_too=True),
    conventions={"stdcall": STDCALL, "fastcall": FASTCALL, "thiscall": THISCALL},
    hidden_pointer_popped=True,
)
