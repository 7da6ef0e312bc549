"""Why a Mach-O library does not load, in words: macOS' dyld.

A library is asked for by the install name that it had when it was linked with. Its
beginning says how to search: ``@rpath`` in the folders of who asks and of all who asked for
that, ``@loader_path`` beside who asks, ``@executable_path`` beside the program. Since macOS
11 the system's own libraries are in the shared cache only, and no files.
"""

from __future__ import annotations

from libferry.audit.model import Rule

DYLD = (
    Rule(
        id="missing-rpath",
        group="load",
        severity="error",
        title="A library is asked for by @rpath, and no LC_RPATH leads to it",
        explanation=(
            "`Library not loaded: @rpath/liba.dylib … Reason: no LC_RPATH's found`. The folders "
            "come from the library that asks, and from those that asked for it, up to the "
            "program. A re-exported library counts as asked for by the one that re-exports it."
        ),
        fix="install_name_tool -add_rpath @loader_path FILE",
        good="clang -dynamiclib -o libb.dylib b.c -L. -la -Wl,-rpath,@loader_path",
        bad="clang -dynamiclib -o libb.dylib b.c -L. -la    # liba's install name is @rpath/…",
        source="dyld(1), 'DYNAMIC LIBRARY LOADING': @rpath; dyld, Loader::forEachResolvedAtPathVar",
    ),
    Rule(
        id="malformed",
        group="load",
        severity="error",
        title="It is built in a way that this system no longer takes",
        explanation="dyld looks closer at files that were built with a newer SDK. Since macOS 15.4 "
        "it refuses one that has the same LC_RPATH twice (`duplicate LC_RPATH '@loader_path'`), "
        "asks twice for one library, or has no LC_UUID. The same file loads on older systems.",
        fix="install_name_tool -delete_rpath @loader_path FILE (once for each that is too much), "
        "then codesign -f -s - FILE",
        good="clang -dynamiclib -o liba.dylib a.c -Wl,-rpath,@loader_path",
        bad="install_name_tool -add_rpath @loader_path FILE    # by two tools in turn, of old",
        source="dyld-1286.10, mach_o/Policy.cpp: enforceNoDuplicateRPaths, enforceHasUUID",
    ),
    Rule(
        id="wrong-platform",
        group="load",
        severity="error",
        title="It is built for another platform",
        explanation="Linux loads ELF files, Windows PE files, macOS Mach-O files. And among "
        "Apple's, `LC_BUILD_VERSION` says macOS, iOS, iOS simulator, Mac Catalyst: dyld refuses a "
        "library of another platform than the process', even on the same CPU.",
        fix="build it for the platform of the target",
        good="clang -target arm64-apple-macos11 -dynamiclib -o liba.dylib a.c",
        bad="clang -target arm64-apple-ios14-simulator -dynamiclib -o liba.dylib a.c",
        source="mach-o/loader.h, LC_BUILD_VERSION; dyld, MachOFile::loadableIntoProcess",
    ),
    Rule(
        id="minimum-os",
        group="load",
        severity="error",
        title="It is built for a newer system",
        explanation=(
            "The file says which system it needs at least. macOS' dyld does not refuse one that "
            "is newer than the system; but what the newer system has more of, libraries and "
            "symbols that are not weak, is missing. On Windows the subsystem version of a "
            "program (6.1 is Windows 7) is compared at its start."
        ),
        fix="build it with -mmacosx-version-min=11.0 (MACOSX_DEPLOYMENT_TARGET), or "
        "for Windows /SUBSYSTEM:WINDOWS,6.01",
        good="clang -mmacosx-version-min=11.0 -dynamiclib -o liba.dylib a.c",
        bad="clang -mmacosx-version-min=15.0 -dynamiclib -o liba.dylib a.c    # for macOS 11",
        source="mach-o/loader.h, LC_BUILD_VERSION, LC_VERSION_MIN_MACOSX; PE format, "
        "'MajorSubsystemVersion'",
    ),
    Rule(
        id="no-slice",
        group="load",
        severity="error",
        title="The file has no slice for that CPU",
        explanation=(
            "`incompatible architecture (have 'x86_64', need 'arm64')`. A thin library is for one "
            "CPU, a universal one for those it lists. An arm64e process takes arm64e only; an "
            "x86-64 process on Apple silicon (Rosetta) takes x86-64 only."
        ),
        fix="build for both and join them: lipo -create -output liba.dylib arm64.dylib x86.dylib",
        good="clang -arch arm64 -arch x86_64 -dynamiclib -o liba.dylib a.c",
        bad="clang -arch x86_64 -dynamiclib -o liba.dylib a.c    # for an arm64 process",
        source="dyld, MachOFile::compatibleSlice; mach-o/fat.h",
    ),
    Rule(
        id="unsigned",
        group="load",
        severity="error",
        title="An arm64 library without a signature",
        explanation=(
            "On Apple silicon the kernel maps no executable page of a file without a valid "
            "signature; an ad-hoc one is enough. The linker makes one, and every change to the "
            "file afterwards (strip, install_name_tool, patching) breaks it."
        ),
        fix="codesign --force --sign - FILE; elsewhere: rcodesign sign FILE",
        good="install_name_tool -id @rpath/liba.dylib liba.dylib && codesign -f -s - liba.dylib",
        bad="zig cc -target aarch64-macos -shared -o liba.dylib a.c && strip liba.dylib",
        source="macOS 11.0.1 release notes, 'Code Signing'; xnu, bsd/kern/ubc_subr.c (both not "
        "checked)",
    ),
    Rule(
        id="incompatible-version",
        group="load",
        severity="error",
        title="The library that is there is older than the one it was linked with",
        explanation="Each dylib has a compatibility version; who links with it notes it and "
        "demands at least that: `Incompatible library version`. Since macOS 12 dyld only "
        "compares it for programs built for older systems.",
        fix="ship the newer library, or build it with the same -compatibility_version",
        good="clang -dynamiclib -compatibility_version 1.0 -current_version 1.2 -o liba.dylib a.c",
        bad="clang -dynamiclib -compatibility_version 2.0 …    # and 1.0 is installed",
        source="mach-o/loader.h, struct dylib; dyld(1)",
    ),
    Rule(
        id="missing-reexport",
        group="load",
        severity="error",
        title="A library that it re-exports is not there",
        explanation="`LC_REEXPORT_DYLIB` makes another library's symbols look like its own. If "
        "that one is not found, neither are they, and who asks for this library fails.",
        fix="ship the re-exported library, and an LC_RPATH that leads to it",
        good="clang -dynamiclib -Wl,-reexport_library,liba.dylib -Wl,-rpath,@loader_path …",
        bad="clang -dynamiclib -Wl,-reexport_library,liba.dylib …    # and only this is shipped",
        source="mach-o/loader.h, LC_REEXPORT_DYLIB; dyld(1)",
    ),
    Rule(
        id="library-validation",
        group="load",
        severity="error",
        title="The program only takes libraries of its own team or of Apple",
        explanation=(
            "A program with the hardened runtime has library validation, unless it has the "
            "entitlement `com.apple.security.cs.disable-library-validation`. A library that is "
            "signed ad hoc, or by another team, is refused: `code signature … not valid for use "
            "in process: mapping process and mapped file (non-platform) have different Team IDs`."
        ),
        fix="sign the library with the program's team, or give the program that entitlement",
        good="codesign -s 'Developer ID Application: Same Team' liba.dylib",
        bad="codesign -s - liba.dylib    # for a program with the hardened runtime",
        source="Apple, 'Hardened Runtime': Disable Library Validation Entitlement (not checked)",
    ),
)
