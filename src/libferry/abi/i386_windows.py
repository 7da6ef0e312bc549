"""i386 Windows: cdecl and stdcall.

Microsoft Learn, "Argument passing and naming conventions", "__cdecl", "__stdcall".

==========  ==================================================================
stack       every argument, in 4-byte slots, the first one lowest
eax, edx    integer results; 64-bit ones in both, the low half in eax
st(0)       floating-point results
==========  ==================================================================

Odd: the two conventions differ in who pops the arguments and in how a name is
decorated, not in where anything lies. The trampoline restores the stack pointer
itself, so it serves both; what remains is the name. A stdcall ``f(int, int)`` is
``_f@8`` to the linker, and a DLL may export that, or ``f@8`` (mingw drops the
underscore), or, with a .def file as Windows' own DLLs do, plain ``f``.
"""

from dataclasses import replace

from libferry.abi import frame
from libferry.abi.facts import BINARY64, FASTCALL, ILP32_WINDOWS, STDCALL, THISCALL, Abi, Variadic

ABI = Abi(
    name="i386-windows",
    cpu="i386",
    os=("windows",),
    specification='Microsoft Learn, "Argument passing and naming conventions"',
    sizes=ILP32_WINDOWS,
    char_signed=True,
    wchar_signed=False,
    long_double=BINARY64,
    int128=False,
    bit_fields="microsoft",
    integer_registers=(),
    vector_registers=("xmm0", "xmm1", "xmm2"),
    aggregates="stack",
    stack_slot=4,
    stack_image=frame.STACK_I386,
    float_result="x87",
    decorations={
        "stdcall": ("{name}", "{name}@{bytes}", "_{name}@{bytes}"),
        "fastcall": ("{name}", "@{name}@{bytes}"),
    },
    vector_cells=frame.VECTOR_I386,
    result_vectors=frame.RESULT_VECTOR_I386,
    frame_end=frame.VECTOR_I386,
    word=4,
    hidden_pointer="stack",
    stack_alignment=16,
    variadic=Variadic(vectors=False, fixed_too=True),
    conventions={
        "stdcall": STDCALL,
        "fastcall": FASTCALL,
        "thiscall": replace(THISCALL, hidden_pointer_first=True),
    },
    small_records=True,
)
