"""What differs between the dyld of one macOS and that of another, as tables.

Three programs have had that name. That of macOS 11 is "dyld 2" for most programs; since
macOS 12 it is "dyld 4", of the same rules with other words; what changes after that are
defaults for newly built files, which dyld tells by the SDK they were built with.

Sources are Apple's own: files of dyld, with the release of it (``apple-oss-distributions``).
"""

from __future__ import annotations

from typing import NamedTuple

Version = tuple[int, int, int]


class Release(NamedTuple):
    """The dyld of one macOS.

    Attributes:
        macos: the major version.
        name: the release of dyld that was read for it; the last of that macOS.
        always_falls_back: whether libraries built with any SDK get the default fallback
            folders; else only those built with one older than macOS 14's.
        checks_compatibility: whether the compatibility version is checked at all.
        cryptex: whether every absolute path is tried in the system's cryptex, too.
        refuses_duplicates_since: the SDK whose files may have no LC_RPATH twice.
        refuses_needed_twice_since: the SDK whose files may not ask twice for one library.
        needs_uuid: whether files built with macOS 12's SDK or a newer one need a UUID.
        needs: the architectures that a process on Apple silicon names as needed.
    """

    macos: int
    name: str
    always_falls_back: bool
    checks_compatibility: bool
    cryptex: bool
    refuses_duplicates_since: Version | None
    refuses_needed_twice_since: Version | None
    needs_uuid: bool
    needs: tuple[str, ...]


_NEEDS = ("arm64e", "arm64")
_NEEDS_V1 = ("arm64e", "arm64e.v1", "arm64", "arm64")

# always_falls_back: dyld-852.2 src/dyld2.cpp sLibraryFallbackPaths; dyld-960
#   DyldProcessConfig.cpp forEachDylibFallback; since dyld-1042.1 there is requestorNeedsFallbacks,
#   which is JustInTimeLoader.cpp pre2022Binary, which is MachOFile.cpp sdkOnOrAfter2022
# checks_compatibility: dyld-852.2 src/ImageLoader.cpp recursiveLoadLibraries; gone in dyld-940
# cryptex: since dyld-1042.1, DyldProcessConfig.cpp forEachPathVariant; Loader.cpp (@rpath)
# refuses_duplicates_since: mach_o/Policy.cpp enforceNoDuplicateRPaths (dyld-1286.10:
#   spring2025, dyld-1378: fall2025), enforced since JustInTimeLoader.cpp calls valid()
# refuses_needed_twice_since: enforceNoDuplicateDylibs (dyld-1286.10: fall2024)
# needs_uuid: mach_o/Policy.cpp enforceHasUUID, likewise
# needs: mach_o/GradedArchitectures.cpp archs_arm64e_keysOff
RELEASES = {
    release.macos: release
    for release in (
        Release(11, "dyld-852.2", True, True, False, None, None, False, _NEEDS),
        Release(12, "dyld-960", True, False, False, None, None, False, _NEEDS),
        Release(13, "dyld-1066.10", False, False, True, None, None, False, _NEEDS),
        Release(14, "dyld-1165.3", False, False, True, None, None, False, _NEEDS),
        Release(15, "dyld-1286.10", False, False, True, (15, 4, 0), (15, 0, 0), True, _NEEDS_V1),
        Release(26, "dyld-1378", False, False, True, (26, 0, 0), (26, 0, 0), True, _NEEDS_V1),
    )
}


def release_of(version: tuple[int, ...]) -> Release:
    """The newest known release that is not newer than a macOS; else the oldest known."""
    major = version[0] if version else max(RELEASES)
    older = [known for known in RELEASES if known <= major]
    return RELEASES[max(older, default=min(RELEASES))]


# dyld-1378, common/MachOFile.cpp enforceFormat: sdkOnOrAfter2022, "macOS 14.0"
FALLS_BACK_BEFORE: Version = (14, 0, 0)
# dyld-1378, mach_o/Policy.cpp: Platform::Epoch::fall2021
NEEDS_UUID_SINCE: Version = (12, 0, 0)
# dyld-852.2, dyld3/MachOFile.cpp enforceCompatVersion: of the library that is found
COMPATIBILITY_COUNTS_BEFORE: Version = (10, 14, 0)

# dyld-1378, dyld/DyldProcessConfig.cpp: forEachDylibFallback, forEachFrameworkFallback
LIBRARY_FALLBACKS = ("/usr/local/lib", "/usr/lib")
FRAMEWORK_FALLBACKS = ("/Library/Frameworks", "/System/Library/Frameworks")
# common/ProcessAtlas.cpp; as it is in messages, which show its real path
CRYPTEX = "/System/Volumes/Preboot/Cryptexes/OS"

# The architecture of a process -> what it loads, the best first. A process of arm64 loads
# arm64e, too: dyld itself is arm64e and leaves its keys off (currentLoad).
# dyld-1378, mach_o/GradedArchitectures.cpp
LOADS = {
    "arm64": ("arm64e", "arm64", "arm64v8"),
    "arm64e": ("arm64e",),
    "x86_64": ("x86_64h", "x86_64"),
    "i386": ("i386",),
}
# The architecture of programs on a CPU, the best first: launch_macAppleSilicon, launch_macHaswell
LAUNCHES = {"aarch64": ("arm64e", "arm64", "x86_64"), "x86_64": ("x86_64h", "x86_64")}
# Our names of CPUs -> that of a process of which no more is known
USUAL = {"aarch64": "arm64", "x86_64": "x86_64"}

# Which other platforms' libraries a process may load. dyld-1378, mach_o/UnsafeHeader.cpp,
# loadableIntoProcess; a library built for two platforms has both in its load commands.
ALSO_LOADS = {
    "macCatalyst": ("macOS",),
    "iOS": ("macCatalyst", "macOS", "visionOS"),  # apps of the iPad on Apple silicon
    "iOS-simulator": ("visionOS-simulator",),
}

# dyld-1378, dyld/Loader.cpp mightBeInSharedCache
CACHED_FOLDERS = (
    "/usr/lib/",
    "/System/Library/",
    "/System/iOSSupport/usr/lib/",
    "/System/iOSSupport/System/Library/",
    "/System/DriverKit/",
)

# dyld-1378, dyld/DyldProcessConfig.cpp PathOverrides::addEnvVar
VARIABLES = (
    "DYLD_LIBRARY_PATH",
    "DYLD_FRAMEWORK_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "DYLD_FALLBACK_FRAMEWORK_PATH",
    "DYLD_IMAGE_SUFFIX",
    "DYLD_INSERT_LIBRARIES",
)
# Apple, "Allow DYLD Environment Variables Entitlement"
ALLOWS_VARIABLES = "com.apple.security.cs.allow-dyld-environment-variables"
# Apple, "About System Integrity Protection": programs in these are protected
PROTECTED_FOLDERS = ("/System/", "/usr/", "/bin/", "/sbin/")
NOT_PROTECTED = ("/usr/local/",)

# Why a rule holds, for Problem.source
SOURCES = {
    "missing-library": "dyld/Loader.cpp getLoader",
    "missing-rpath": "dyld/Loader.cpp getLoader",
    "no-slice": "common/MachOFile.cpp compatibleSlice",
    "wrong-platform": "mach_o/UnsafeHeader.cpp loadableIntoProcess",
    "not-a-library": "dyld/JustInTimeLoader.cpp makeJustInTimeLoaderDisk",
    "malformed": "mach_o/UnsafeHeader.cpp valid; mach_o/Policy.cpp",
    "truncated": "mach_o/UnsafeHeader.cpp valid",
    "unsigned": "dyld/Loader.cpp mapSegments (F_CHECK_LV); Apple, macOS 11 release notes",
    "library-validation": "dyld/Loader.cpp mapSegments (F_CHECK_LV)",
    "incompatible-version": "src/ImageLoader.cpp recursiveLoadLibraries",
    "missing-symbol": "dyld/Loader.cpp resolveSymbol",
    "missing-symbol-later": "dyld/Loader.cpp resolveSymbol (missing_symbol_abort)",
    "minimum-os": "dyld/Loader.cpp tooNewErrorAddendum",
}


def source_of(rule: str, release: Release) -> str:
    """The file of dyld a rule is from, with its release."""
    return f"{release.name}, {SOURCES[rule]}"
