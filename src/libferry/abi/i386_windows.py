"""i386 Windows: cdecl, stdcall, fastcall and thiscall.

Microsoft Learn, "Argument passing and naming conventions": "__cdecl", "__stdcall",
"__fastcall", "__thiscall"; "Return values" of its "Calling conventions".

==========  ==================================================================
stack       every argument, in 4-byte slots, the first one lowest
ecx, edx    fastcall: the first two arguments of up to 4 bytes; thiscall: the
            object, in ecx
xmm0-2      the first three 16-byte vectors, and such a result in xmm0
eax, edx    integer results, and structures of 1, 2, 4 and 8 bytes
st(0)       floating-point results
==========  ==================================================================

Odd: the conventions differ in who pops the arguments and in how a name is decorated.
A stdcall ``f(int, int)`` is ``_f@8`` to the linker, and a DLL may export that, or
``f@8`` (mingw drops the underscore), or, with a .def file as Windows' own DLLs do,
plain ``f``; a fastcall one is ``@f@8``. A larger structure is returned through a hidden
pointer, which the callee leaves on the stack.

Compilers disagree here where C++ never goes. We follow mingw's: a structure of nothing
but one ``float`` or ``double`` comes back in st(0) (Microsoft's: in eax, edx); thiscall
passes the hidden pointer in ecx and the object on the stack (the other way round); a
structure passed to a fastcall function uses up as many registers as it has words,
without being in them (no such thing).
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
    decorations={
        "stdcall": ("{name}", "{name}@{bytes}", "_{name}@{bytes}"),
        "fastcall": ("{name}", "@{name}@{bytes}"),
    },
    vector_cells=frame.VECTOR_I386,
    result_vectors=frame.RESULT_VECTOR_I386,
    counts_vector_results=True,
    frame_end=frame.VECTOR_I386,
    word=4,
    hidden_pointer="stack",
    variadic=Variadic(vectors=False, fixed_too=True),
    conventions={
        "stdcall": STDCALL,
        "fastcall": FASTCALL,
        "thiscall": replace(THISCALL, hidden_pointer_first=True),
    },
    small_records=True,
)
