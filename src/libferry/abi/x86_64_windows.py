"""x86-64 Windows.

Microsoft Learn, "x64 calling convention"; "Windows data types" for sizes.

==========  ==================================================================
rcx .. r9   the first four arguments, if they are integers or pointers
xmm0-3      the first four arguments, if they are floating-point
rax, xmm0   results
home space  32 bytes above the return address that the caller reserves and the
            callee may use for anything
==========  ==================================================================

Odd: registers go by position, not by class: in ``f(double, int)`` the int is in
rdx and rcx is unused. The fifth argument lies above the home space, so the stack
image begins with 32 bytes that carry nothing. A structure of 1, 2, 4 or 8 bytes is
passed like an integer, whatever is in it, and of any other, of a vector and of an
``__int128`` the address; but the latter two are returned in xmm0.

Variadic arguments are looked for in integer registers. A caller that does not know
whether it calls such a function writes a ``double`` to both; we know. ``long`` has 32
bits. stdcall and cdecl are accepted by compilers and mean nothing.
"""

from libferry.abi.facts import BINARY64, LLP64, Abi, Variadic

ABI = Abi(
    name="x86_64-windows",
    cpu="x86_64",
    os=("windows",),
    specification='Microsoft Learn, "x64 calling convention"',
    sizes=LLP64,
    char_signed=True,
    wchar_signed=False,
    long_double=BINARY64,
    int128=True,
    bit_fields="microsoft",
    integer_registers=("rcx", "rdx", "r8", "r9"),
    vector_registers=tuple(f"xmm{n}" for n in range(4)),
    positional=True,
    aggregates="by-size",
    stack_slot=8,
    stack_start=32,
    variadic=Variadic(vectors=False),
)
