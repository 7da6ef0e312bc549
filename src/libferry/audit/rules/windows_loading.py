"""Why a DLL does not load, in words: Windows' loader.

It says less than any other. ``LoadLibrary`` gives one number for the whole tree: 126 if a
library is missing anywhere below, 127 if a function is, 193 if a file is of the wrong
bitness; which one, it does not say.
"""

from __future__ import annotations

from libferry.audit.model import Rule

_ERRORS = "https://learn.microsoft.com/windows/win32/debug/system-error-codes--0-499-"

WINDOWS = (
    Rule(
        id="wrong-bitness",
        group="load",
        severity="error",
        title="Error 193: a DLL of another bitness or CPU",
        explanation=(
            "`%1 is not a valid Win32 application`. A 64-bit process takes no 32-bit DLL, and the "
            "other way round; an arm64 process none for x86-64. The loader passes over such a DLL "
            "and goes on searching; the error means that it found no other of that name."
        ),
        fix="install the DLL for the bitness of the process, or call it in a worker: "
        "libferry.load(FILE)",
        good="zig cc -target x86_64-windows-gnu -shared -o a.dll a.c",
        bad="zig cc -target x86-windows-gnu -shared -o a.dll a.c    # for a 64-bit process",
        source=f"{_ERRORS}, ERROR_BAD_EXE_FORMAT; PE format, 'Machine Types'; that it goes on, as "
        "Wine does: dlls/ntdll/loader.c, search_dll_file",
    ),
    Rule(
        id="missing-procedure",
        group="load",
        severity="error",
        title="Error 127: a DLL does not export what is imported from it",
        explanation=(
            "`The specified procedure could not be found`. The DLL is there, and is another "
            "version, or comes from an older Windows: `GetSystemTimePreciseAsFileTime` is not in "
            "Windows 7's kernel32, for example. All imports but the delayed ones are bound at "
            "load."
        ),
        fix="ship the version it was linked with, or look the function up with GetProcAddress",
        good="link /DELAYLOAD:new.dll, or GetProcAddress with a fallback",
        bad="an import of kernel32.dll!GetTempPath2W, for Windows 7",
        source=f"{_ERRORS}, ERROR_PROC_NOT_FOUND",
    ),
    Rule(
        id="forwarder-missing",
        group="load",
        severity="error",
        title="An export leads on to a DLL or function that is not there",
        explanation="An export may be the name of one in another DLL (`NTDLL.RtlAllocateHeap`). "
        "It is followed when it is bound, and fails with 126 or 127 as if it were missing itself.",
        fix="ship the DLL that it leads to",
        good="EXPORTS f=other.f    # and other.dll beside it",
        bad="EXPORTS f=other.f    # without other.dll",
        source="PE format, 'Export Address Table': forwarder RVA",
    ),
    Rule(
        id="api-set-missing",
        group="load",
        severity="error",
        title="That Windows does not have this API set",
        explanation=(
            "`api-ms-win-…` and `ext-ms-win-…` are no files but names for parts of the system, "
            "looked up in a table (`apisetschema.dll`). A DLL linked with a newer SDK's "
            "`onecore.lib`, or with the Universal C Runtime on a Windows 7 without its update, "
            "asks for one that is not in the table."
        ),
        fix="link with the classic import libraries (kernel32.lib), or install the Universal C "
        "Runtime (KB2999226)",
        good="link a.obj kernel32.lib",
        bad="link a.obj onecore.lib    # for Windows 7",
        source="https://learn.microsoft.com/windows/win32/apiindex/windows-apisets",
    ),
    Rule(
        id="side-by-side",
        group="load",
        severity="error",
        title="Error 14001: an assembly that its manifest asks for is not installed",
        explanation=(
            "`The application has failed to start because its side-by-side configuration is "
            "incorrect`. The manifest in the file names an assembly and its version, such as "
            "`Microsoft.VC90.CRT`, and it is looked for in WinSxS and beside the program."
        ),
        fix="install that Visual C++ runtime, or ship the assembly's folder beside the program",
        good="a.dll with Microsoft.VC90.CRT/Microsoft.VC90.CRT.manifest beside the program",
        bad="a.dll built with Visual Studio 2008, alone",
        source="https://learn.microsoft.com/windows/win32/sbscs/"
        "about-side-by-side-assemblies-; ERROR_SXS_CANT_GEN_ACTCTX",
    ),
)
