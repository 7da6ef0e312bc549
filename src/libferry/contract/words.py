"""The words of C and of its compilers that a declaration is made of.

C's own are from ISO C17 6.4.1. The others are what GCC, Clang and Microsoft's compiler
add to it (their manuals: "Extensions to the C Language Family", "Language Extensions",
"C Keywords"), most of them in several spellings: with and without underscores, so that
headers survive ``-std=c11``. A word that says nothing about a call or a layout is in
``IGNORED`` or, if it has an argument, in ``IGNORED_WITH_ARGUMENT``.
"""

from __future__ import annotations

from typing import Literal

from libferry.abi.types import Convention

# storage-class specifiers, 6.7.1, and function specifiers, 6.7.4
STORAGE: dict[str, Literal["typedef", "extern", "static", "inline", "thread", "register", ""]] = {
    "typedef": "typedef",
    "extern": "extern",
    "static": "static",
    "inline": "inline",
    "__inline": "inline",
    "__inline__": "inline",
    "__forceinline": "inline",
    "_Thread_local": "thread",
    "__thread": "thread",
    "thread_local": "thread",
    "auto": "",
    "register": "register",
    "_Noreturn": "",
    "constexpr": "",
}

CONST = frozenset({"const", "__const", "__const__"})
QUALIFIERS = CONST | {
    *("volatile", "__volatile", "__volatile__", "restrict", "__restrict", "__restrict__"),
    *("_Nonnull", "_Nullable", "_Null_unspecified", "_Nullable_result"),
    *("__nullable", "__null_unspecified"),
    *("__ptr32", "__ptr64", "__sptr", "__uptr", "__unaligned", "__w64", "__unused"),
}

# Words of type specifiers, 6.7.2, by the word that C has for them.
TYPE_WORDS = {
    **{
        word: word for word in ("void", "char", "short", "int", "long", "float", "double", "signed")
    },
    "unsigned": "unsigned",
    "_Bool": "_Bool",
    "_Complex": "_Complex",
    "__complex": "_Complex",
    "__complex__": "_Complex",
    "__signed": "signed",
    "__signed__": "signed",
    "__int8": "char",
    "__int16": "short",
    "__int32": "int",
    "__int64": "long long",
    "__int128": "__int128",
    "__int128_t": "__int128",
    "__uint128_t": "unsigned __int128",
    "_Float16": "_Float16",
    "__fp16": "_Float16",
    "__bf16": "__bf16",
    "_Float32": "float",
    "_Float64": "double",
    "_Float32x": "double",
    "_Float64x": "_Float64x",
    "_Float128": "_Float128",
    "__float128": "_Float128",
    "__ibm128": "__ibm128",
    "_Decimal32": "_Decimal32",
    "_Decimal64": "_Decimal64",
    "_Decimal128": "_Decimal128",
    "_Imaginary": "_Imaginary",
}

# Vectors whose length the CPU decides: Arm's SVE, RISC-V's V.
SCALABLE = ("__SV", "__clang_sv", "__rvv_")

TAGS = frozenset({"struct", "union", "enum"})
TYPEOF = frozenset(
    {"typeof", "__typeof", "__typeof__", "typeof_unqual", "__typeof_unqual", "__typeof_unqual__"}
)
ATOMIC = "_Atomic"
ALIGNAS = frozenset({"_Alignas", "alignas"})
ALIGNOF = frozenset({"_Alignof", "alignof", "__alignof", "__alignof__"})
ATTRIBUTE = frozenset({"__attribute__", "__attribute"})
DECLSPEC = frozenset({"__declspec", "_declspec"})
ASM = frozenset({"asm", "__asm", "__asm__"})
STATIC_ASSERT = frozenset({"_Static_assert", "static_assert"})

IGNORED = frozenset({"__extension__", "__noreturn", "__builtin_unreachable"})
IGNORED_WITH_ARGUMENT = frozenset({"__pragma", "_Pragma", "__nonnull", "__based"})

# How a function may be called on i386, by the words for it.
CONVENTIONS: dict[str, Convention] = {
    **dict.fromkeys(("__cdecl", "_cdecl"), "cdecl"),
    **dict.fromkeys(("__stdcall", "_stdcall"), "stdcall"),
    **dict.fromkeys(("__fastcall", "_fastcall"), "fastcall"),
    "__thiscall": "thiscall",
}
CONVENTION_ATTRIBUTES: dict[str, Convention] = {
    name: name for name in ("cdecl", "stdcall", "fastcall", "thiscall")
}
OTHER_CONVENTIONS = frozenset(
    {"__vectorcall", "_vectorcall", "__regcall", "__pascal", "_pascal", "__clrcall", "__swiftcall"}
)
# Attributes that change how a function is called, or how a record is laid out, in a
# way that libferry does not follow.
OTHER_CALL_ATTRIBUTES = frozenset(
    {"vectorcall", "regcall", "pascal", "regparm", "sseregparm", "swiftcall", "swiftasynccall"}
    | {"preserve_most", "preserve_all", "preserve_none", "aarch64_vector_pcs", "intel_ocl_bicc"}
    | {"aarch64_sve_pcs", "interrupt", "m68k_rtd", "riscv_vector_cc", "callee_pop_aggregate_return"}
)
OTHER_LAYOUT_ATTRIBUTES = frozenset({"scalar_storage_order", "ms_struct", "randomize_layout"})

# Macros that Windows' headers define, for headers that are read without them.
WINDOWS_CONVENTIONS: dict[str, Convention] = {
    **dict.fromkeys(
        ("WINAPI", "APIENTRY", "CALLBACK", "NTAPI", "STDMETHODCALLTYPE", "PASCAL"), "stdcall"
    ),
    **dict.fromkeys(("WINAPIV", "CDECL"), "cdecl"),
    "FASTCALL": "fastcall",
}
WINDOWS_IGNORED = frozenset(
    {"WINBASEAPI", "WINUSERAPI", "DECLSPEC_IMPORT", "NTSYSAPI", "NTSYSCALLAPI", "IN", "OUT"}
    | {"OPTIONAL", "far", "near", "FAR", "NEAR", "EXTERN_C"}
)
# Microsoft's source annotations (SAL); the others of their kind take an argument.
SAL = frozenset(
    f"_{direction}{form}_"
    for direction in ("In", "Out", "Inout", "Outptr", "Ret", "Field", "In_opt", "Out_opt")
    for form in ("", "_opt", "_z", "_opt_z", "_maybenull", "_result_maybenull", "_notnull")
) | {"_Must_inspect_result_", "_Check_return_", "_Reserved_", "_Frees_ptr_", "_Frees_ptr_opt_"}
SAL_PREFIXES = ("_In_", "_Out_", "_Inout_", "_Outptr_", "_Ret_", "_Field_", "_Deref_", "_When_")

# libferry's own: what a pointer is for. They take an argument, or none.
MEANINGS = {
    "FERRY_IN": "in",
    "FERRY_OUT": "out",
    "FERRY_INOUT": "inout",
    "FERRY_STRING": "string",
    "FERRY_OWNED": "owned",
    "FERRY_ERROR": "error",
    "FERRY_NOT_THREAD_SAFE": "not-thread-safe",
}


def is_identifier(word: str) -> bool:
    """Whether a word is a name or a keyword."""
    first = word[:1]
    return first.isalpha() or first in ("_", "$")


def is_word(word: str) -> bool:
    """Whether a name is one of C's or its compilers'"""
    return (
        word in TYPE_WORDS
        or word in STORAGE
        or word in TAGS
        or word in QUALIFIERS
        or word in ASM
        or word in ATTRIBUTE
    )
