"""The C of a batch: for each signature a function that is called, and one that calls.

``f0`` writes down what it receives and returns what it finds in a buffer. ``g0`` calls
a function of the same signature, at an address of ours, with what it finds in a buffer,
and writes down what that returns. Buffers and target are at fixed addresses, so that
nothing needs to be relocated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from libferry.abi import Boolean, Integer, Void, size_of

from ..records import PRELUDE
from .machines import BUFFERS, TARGET
from .signatures import Signature

ROOM = 512  # bytes for each value
RESULT = BUFFERS  # a result, and then the arguments
WIDE = 256  # where in an argument's room an integer is written down once more, as 8 bytes

START = f"""
#pragma clang diagnostic ignored "-Weverything"
#ifdef _WIN32
#define EXPORT __attribute__((dllexport))
#else
#define EXPORT __attribute__((visibility("default")))
#endif
#ifdef _WIN32
int __attribute__((stdcall)) DllMainCRTStartup(void *a, int b, void *c) {{ return 1; }}
#endif
typedef __builtin_va_list va_list;
__attribute__((visibility("hidden"))) void *memcpy(void *to, const void *from, __SIZE_TYPE__ n)
{{
    for (volatile __SIZE_TYPE__ i = 0; i < n; i++) ((char *)to)[i] = ((const char *)from)[i];
    return to;
}}
__attribute__((visibility("hidden"))) void *memset(void *to, int c, __SIZE_TYPE__ n)
{{
    for (volatile __SIZE_TYPE__ i = 0; i < n; i++) ((char *)to)[i] = c;
    return to;
}}
static inline void copy(volatile char *to, const volatile char *from, __SIZE_TYPE__ n)
{{
    for (__SIZE_TYPE__ i = 0; i < n; i++) to[i] = from[i];
}}
{PRELUDE}
"""


def place(index: int) -> int:
    """Give the address of an argument's room."""
    return RESULT + ROOM * (index + 1)


def define(signature: Signature) -> Iterator[str]:
    yield from (typed.definition for typed in signature.types if typed.definition)
    name, result = signature.name, signature.result
    fixed = signature.variadic_from
    fixed = len(signature.parameters) if fixed is None else fixed
    named = [f"{p.text} a{n}" for n, p in enumerate(signature.parameters[:fixed])]
    dots = ["..."] if signature.variadic_from is not None else []
    convention = (
        f"__attribute__(({signature.convention})) " if signature.convention != "cdecl" else ""
    )
    yield f"EXPORT {result.text} {convention}f{name}({', '.join(named + dots) or 'void'}) {{"
    if dots:
        yield f"    va_list list; __builtin_va_start(list, a{fixed - 1});"
    for n, p in enumerate(signature.parameters):
        if n >= fixed:
            yield f"    {p.text} a{n} = __builtin_va_arg(list, {p.text});"
        yield f"    copy((char *){place(n):#x}, (char *)&a{n}, sizeof a{n});"
        if isinstance(p.ctype, Integer | Boolean) and p.ctype.size <= 8:
            wide = "unsigned long long" if is_unsigned(p.ctype) else "long long"
            yield f"    {wide} w{n} = a{n}; copy((char *){place(n) + WIDE:#x}, (char *)&w{n}, 8);"
    if not isinstance(result.ctype, Void):
        yield f"    {result.text} r; copy((char *)&r, (char *){RESULT:#x}, sizeof r); return r;"
    yield "}"
    yield f"EXPORT void g{name}(void) {{"
    for n, p in enumerate(signature.parameters):
        yield f"    {p.text} a{n}; copy((char *)&a{n}, (char *){place(n):#x}, sizeof a{n});"
    types = [p.text for p in signature.parameters[:fixed]] + dots
    pointer = f"(({result.text} ({convention}*)({', '.join(types) or 'void'})){TARGET:#x})"
    passed = ", ".join(f"a{n}" for n in range(len(signature.parameters)))
    if isinstance(result.ctype, Void):
        yield f"    {pointer}({passed});"
    else:
        yield f"    {result.text} r = {pointer}({passed});"
        yield f"    copy((char *){RESULT:#x}, (char *)&r, sizeof r);"
    yield "}"


def is_unsigned(ctype: Integer | Boolean) -> bool:
    return isinstance(ctype, Boolean) or not ctype.signed


def source(signatures: Sequence[Signature]) -> str:
    for signature in signatures:
        for typed in signature.types:
            assert isinstance(typed.ctype, Void) or size_of(typed.ctype) <= WIDE, typed
    return "\n".join([START, *(line for s in signatures for line in define(s)), ""])
