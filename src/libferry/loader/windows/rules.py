"""The rules of Windows' loader, as tables: in which order it looks where, and its errors.

Pages are at https://learn.microsoft.com/windows/win32/.
"""

from __future__ import annotations

from typing import NamedTuple

SEARCH_ORDER = "dlls/dynamic-link-library-search-order"
REDIRECTION = "dlls/dynamic-link-library-redirection"
LOAD_LIBRARY_EX = "api/libloaderapi/nf-libloaderapi-loadlibraryexw"
API_SETS = "apiindex/api-set-loader-operation"
ERRORS = "debug/system-error-codes--0-499-"
ASSEMBLIES = "sbscs/assembly-searching-sequence"
PE_FORMAT = "debug/pe-format"
WOW64 = "winprog64/file-system-redirector"
ARM64 = "windows/arm/arm64x-pe"


def page(name: str) -> str:
    """The address of a page."""
    return f"https://learn.microsoft.com/windows/win32/{name}"


# Where it looks: what a row of an order stands for, in words
PLACES = {
    "application": "application directory",
    "load": "directory of the loaded DLL",
    "user": "AddDllDirectory",
    "set": "SetDllDirectory",
    "system": "system directory",
    "system16": "16-bit system directory",
    "windows": "Windows directory",
    "current": "current directory",
    "path": "PATH",
}


class Order(NamedTuple):
    """One order of places, and when it holds."""

    when: str
    places: tuple[str, ...]
    source: str


ORDERS = {
    order.when: order
    for order in (
        Order(
            "standard",
            ("application", "system", "system16", "windows", "current", "path"),
            f"{SEARCH_ORDER}, standard search order for unpackaged apps",
        ),
        Order(
            "SafeDllSearchMode=0",
            ("application", "current", "system", "system16", "windows", "path"),
            f"{SEARCH_ORDER}, SafeDllSearchMode is disabled",
        ),
        Order(
            "SetDllDirectory",
            ("application", "set", "system", "system16", "windows", "path"),
            f"{SEARCH_ORDER}, alternate search order with SetDllDirectory",
        ),
        Order(
            "LOAD_LIBRARY_SEARCH",
            ("load", "application", "user", "set", "system"),
            f"{SEARCH_ORDER}, search order using LOAD_LIBRARY_SEARCH flags",
        ),
    )
}
ALTERED = "LOAD_WITH_ALTERED_SEARCH_PATH"
"""The same as without, but for ``load`` in place of ``application``."""

SAFE_SEARCH_OFF = "SafeDllSearchMode=0"
SET_DLL_DIRECTORY = "SetDllDirectory="
SET_DEFAULT_DIRECTORIES = "SetDefaultDllDirectories="

# LoadLibraryExW: flag, its bit, and the places that it allows
SEARCH_FLAGS = {
    "LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR": (0x0100, ("load",)),
    "LOAD_LIBRARY_SEARCH_APPLICATION_DIR": (0x0200, ("application",)),
    "LOAD_LIBRARY_SEARCH_USER_DIRS": (0x0400, ("user", "set")),
    "LOAD_LIBRARY_SEARCH_SYSTEM32": (0x0800, ("system",)),
    "LOAD_LIBRARY_SEARCH_DEFAULT_DIRS": (0x1000, ("application", "user", "set", "system")),
}


class Error(NamedTuple):
    """What GetLastError gives, and what FormatMessage makes of it."""

    number: int
    text: str


# by the id of the problem
ERROR_OF = {
    "missing-library": Error(126, "The specified module could not be found."),
    "api-set-missing": Error(126, "The specified module could not be found."),
    "forwarder-missing": Error(127, "The specified procedure could not be found."),
    "missing-procedure": Error(127, "The specified procedure could not be found."),
    "missing-ordinal": Error(182, "The operating system cannot run %1."),
    "wrong-bitness": Error(193, "%1 is not a valid Win32 application."),
    "not-a-library": Error(193, "%1 is not a valid Win32 application."),
    "a-folder": Error(5, "Access is denied."),
    "minimum-os": Error(1150, "The specified program requires a newer version of Windows."),
    "side-by-side": Error(
        14001,
        "The application has failed to start because its side-by-side configuration is incorrect.",
    ),
    "invalid-parameter": Error(87, "The parameter is incorrect."),
}

# Those that are one rule of the audit, though they have numbers of their own
SAME_RULE = {
    "missing-ordinal": "missing-procedure",
    "a-folder": "not-a-library",
    "invalid-parameter": "missing-library",
}

# Which processes a Windows runs, by its CPU and from which version on:
# winprog64/running-32-bit-applications, and windows/arm/apps-on-arm-x86-emulation
PROCESSES = {
    "i386": (("i386", (6, 0)),),
    "x86_64": (("x86_64", (6, 0)), ("i386", (6, 0))),
    "aarch64": (("aarch64", (10, 0)), ("i386", (10, 0)), ("x86_64", (10, 0, 22000))),
}

# Assemblies that Windows itself installs side by side, and their DLLs.
# sbscs/supported-microsoft-side-by-side-assemblies
ASSEMBLIES_OF_WINDOWS = {
    "microsoft.windows.common-controls": ("comctl32.dll",),
    "microsoft.windows.gdiplus": ("gdiplus.dll",),
}

ALWAYS_LOADED = ("ntdll.dll", "kernel32.dll", "kernelbase.dll")
"""They are in every process before anything else is looked at."""
