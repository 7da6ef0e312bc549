"""i386 System V: 32-bit Linux on x86.

System V Application Binary Interface, Intel386 Architecture Processor Supplement,
version 1.1, 2.2.3 "Parameter Passing"; 2.1.1 for sizes.

==========  ==================================================================
stack       every argument, in 4-byte slots, the first one lowest
eax, edx    integer results; 64-bit ones in both, the low half in eax
st(0)       floating-point results, on the x87 stack, whatever their type
==========  ==================================================================

Odd: a ``double`` or ``long long`` on the stack is only 4-byte aligned. Results of
type ``float`` come back with the x87's 64-bit significand and are rounded by
whoever stores them.
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
    float_result="x87",
    vector_cells=frame.VECTOR_I386,
    result_vectors=frame.RESULT_VECTOR_I386,
    frame_end=frame.VECTOR_I386,
    word=4,
    hidden_pointer="stack",
    stack_alignment=16,
    variadic=Variadic(vectors=False, fixed_too=True),
    conventions={"stdcall": STDCALL, "fastcall": FASTCALL, "thiscall": THISCALL},
    hidden_pointer_popped=True,
)
