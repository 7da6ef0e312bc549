"""Types that headers use without defining them.

They come from headers that nobody wants to feed to a parser for the sake of a
name: <stdint.h>, <stddef.h>, <sys/types.h> and <windows.h>. Each row gives the
type in C, or in terms of an earlier row; where its width follows the target, in
terms of a type whose width does.

Sources: ISO C17 7.19, 7.20; POSIX.1-2017 <sys/types.h>; Microsoft Learn, "Windows
Data Types". Windows' ``long`` based types are written with 32-bit types, so that
they keep their width when such a header is used for another system.
"""

from __future__ import annotations

from functools import lru_cache

# name -> C type
STANDARD = {
    "int8_t": "signed char",
    "int16_t": "short",
    "int32_t": "int",
    "int64_t": "long long",
    "uint8_t": "unsigned char",
    "uint16_t": "unsigned short",
    "uint32_t": "unsigned int",
    "uint64_t": "unsigned long long",
    "int_least8_t": "signed char",
    "int_least16_t": "short",
    "int_least32_t": "int",
    "int_least64_t": "long long",
    "uint_least8_t": "unsigned char",
    "uint_least16_t": "unsigned short",
    "uint_least32_t": "unsigned int",
    "uint_least64_t": "unsigned long long",
    "intmax_t": "long long",
    "uintmax_t": "unsigned long long",
    # as wide as a pointer
    "intptr_t": "$intptr",
    "uintptr_t": "$uintptr",
    "size_t": "$uintptr",
    "ptrdiff_t": "$intptr",
    "rsize_t": "$uintptr",
    # text
    "wchar_t": "$wchar",
    "char16_t": "unsigned short",
    "char32_t": "unsigned int",
    "bool": "_Bool",
}

# <sys/types.h> and <time.h>, as Linux has them; on Windows these names depend on the C
# runtime's version, or do not exist
POSIX = {
    "ssize_t": "$intptr",
    "socklen_t": "unsigned int",
    "suseconds_t": "long",
    "useconds_t": "unsigned int",
    "off_t": "long",
    "time_t": "long",
    "clock_t": "long",
    "pid_t": "int",
    "mode_t": "unsigned int",
    "uid_t": "unsigned int",
    "gid_t": "unsigned int",
}

# where macOS differs from that
MACOS = {
    "suseconds_t": "int",
    "clock_t": "unsigned long",
    "mode_t": "unsigned short",
}

WINDOWS = {
    "BOOL": "int",
    "BOOLEAN": "unsigned char",
    "BYTE": "unsigned char",
    "CHAR": "char",
    "UCHAR": "unsigned char",
    "SHORT": "short",
    "USHORT": "unsigned short",
    "WORD": "unsigned short",
    "INT": "int",
    "UINT": "unsigned int",
    "LONG": "int",
    "ULONG": "unsigned int",
    "DWORD": "unsigned int",
    "DWORD32": "unsigned int",
    "DWORD64": "unsigned long long",
    "LONGLONG": "long long",
    "ULONGLONG": "unsigned long long",
    "INT8": "signed char",
    "INT16": "short",
    "INT32": "int",
    "INT64": "long long",
    "UINT8": "unsigned char",
    "UINT16": "unsigned short",
    "UINT32": "unsigned int",
    "UINT64": "unsigned long long",
    "__int64": "long long",
    "FLOAT": "float",
    "DOUBLE": "double",
    "WCHAR": "$wchar",
    "TCHAR": "$wchar",
    "HRESULT": "int",
    "NTSTATUS": "int",
    "LSTATUS": "int",
    "INT_PTR": "$intptr",
    "UINT_PTR": "$uintptr",
    "LONG_PTR": "$intptr",
    "ULONG_PTR": "$uintptr",
    "DWORD_PTR": "$uintptr",
    "SIZE_T": "$uintptr",
    "SSIZE_T": "$intptr",
    "WPARAM": "$uintptr",
    "LPARAM": "$intptr",
    "LRESULT": "$intptr",
    "ATOM": "unsigned short",
    "COLORREF": "unsigned int",
    "LCID": "unsigned int",
    "VOID": "void",
    "PVOID": "void *",
    "LPVOID": "void *",
    "LPCVOID": "const void *",
    "HANDLE": "void *",
    "HMODULE": "void *",
    "HINSTANCE": "void *",
    "HWND": "void *",
    "HKEY": "void *",
    "HDC": "void *",
    "HGLOBAL": "void *",
    "HLOCAL": "void *",
    "PCHAR": "char *",
    "LPSTR": "char *",
    "PSTR": "char *",
    "LPCSTR": "const char *",
    "PCSTR": "const char *",
    "LPWSTR": "$wchar *",
    "PWSTR": "$wchar *",
    "LPCWSTR": "const $wchar *",
    "PCWSTR": "const $wchar *",
    "LPTSTR": "$wchar *",
    "LPCTSTR": "const $wchar *",
    "PBOOL": "int *",
    "LPBOOL": "int *",
    "PBYTE": "unsigned char *",
    "LPBYTE": "unsigned char *",
    "PWORD": "unsigned short *",
    "LPWORD": "unsigned short *",
    "PINT": "int *",
    "LPINT": "int *",
    "PUINT": "unsigned int *",
    "PLONG": "int *",
    "LPLONG": "int *",
    "PULONG": "unsigned int *",
    "PDWORD": "unsigned int *",
    "LPDWORD": "unsigned int *",
    "PHANDLE": "void **",
    "LPHANDLE": "void **",
}

# What <stdarg.h> makes va_list of, by ABI; elsewhere it is char *. Sources: "System V ABI,
# AMD64 Architecture Processor Supplement" 3.5.7; Arm IHI 0055 (AAPCS64), 10.1.5; Arm IHI
# 0042 (AAPCS32), 8.1.4; "RISC-V ABIs Specification", "Integer Calling Convention".
_VA_LISTS = {
    "x86_64-sysv": "typedef struct __va_list_tag { unsigned int gp_offset, fp_offset; "
    "void *overflow_arg_area, *reg_save_area; } __builtin_va_list[1];",
    "aarch64-aapcs64": "typedef struct __va_list { void *__stack, *__gr_top, *__vr_top; "
    "int __gr_offs, __vr_offs; } __builtin_va_list;",
    "arm-hardfloat": "typedef struct __va_list { void *__ap; } __builtin_va_list;",
    "riscv64-lp64d": "typedef void *__builtin_va_list;",
    "loongarch64-lp64d": "typedef void *__builtin_va_list;",
}


def va_list(abi_name: str) -> str:
    """The declaration of ``__builtin_va_list``, which compilers know without one."""
    return _VA_LISTS.get(abi_name, "typedef char *__builtin_va_list;")


_PORTABLE = STANDARD | WINDOWS | {"ssize_t": "$intptr"}


@lru_cache
def known_types(os: tuple[str, ...]) -> dict[str, str]:
    """The names that are known for a target of one of these operating systems."""
    if "windows" in os:
        return _PORTABLE
    return _PORTABLE | POSIX | (MACOS if "macos" in os else {})
