"""What dyld and the kernel refuse, and with which words.

The words are from dyld's source and from what people reported; the tests say where.
"""

from __future__ import annotations

import pytest

from libferry.loader.model import Problem, Resolution

from .conftest import Mac
from .machowriter import ADHOC, HARDENED, Macho, Need, Signed, Want, universal


def only(resolution: Resolution) -> Problem:
    (problem,) = resolution.problems
    return problem


UUID = "00010203-0405-0607-0809-0A0B0C0D0E0F"


@pytest.mark.parametrize(
    ("system", "need"),
    [
        ("macos-12-arm64", "arm64e"),
        ("macos-14-arm64", "arm64e' or 'arm64"),
        ("macos-26-arm64", "arm64e' or 'arm64e.v1' or 'arm64' or 'arm64"),
    ],
)
def test_a_library_for_intel_is_refused_by_an_arm64_process(
    mac: Mac, system: str, need: str
) -> None:
    path = mac.write("lib.dylib", Macho("/lib.dylib", cpu="x86_64"))
    problem = only(mac.on(system).resolve("lib.dylib"))
    assert (problem.id, problem.when) == ("no-slice", "load")
    assert problem.message == (
        f"tried: '{path}' (mach-o file, but is an incompatible architecture "
        f"(have 'x86_64', need '{need}'))"
    )


def test_a_universal_library_without_the_slice_names_those_it_has(mac: Mac) -> None:
    mac.write("lib.dylib", universal(Macho("/l", cpu="arm64"), Macho("/l", cpu="arm64e")))
    problem = only(mac.on("macos-14-x64").resolve("lib.dylib"))
    assert problem.id == "no-slice"
    assert (
        "fat file, but missing compatible architecture "
        "(have 'arm64,arm64e', need 'x86_64h' or 'x86_64')" in problem.message
    )


def test_a_program_for_intel_on_apple_silicon_loads_intel_libraries(mac: Mac) -> None:
    mac.write("lib.dylib", Macho(mac.path("lib.dylib"), cpu="x86_64", signed=None))
    mac.write("main", Macho(kind="executable", cpu="x86_64", needs=[mac.path("lib.dylib")]))
    assert mac.resolve("main").loads


def test_an_unsigned_library_is_refused_on_apple_silicon_only(mac: Mac) -> None:
    """As in github.com/QiuChenlyOpenSource/MyMacsAppCrack/issues/10, of macOS 12."""
    parts = [Macho("/l", cpu=cpu, signed=None) for cpu in ("x86_64", "arm64")]
    path = mac.write("lib.dylib", universal(*parts))
    problem = only(mac.resolve("lib.dylib"))
    assert problem.id == "unsigned"
    assert problem.message == (
        f"tried: '{path}' (code signature in <{UUID}> '{path}' not valid for use in process: "
        "mapped file has no cdhash, completely unsigned? Code has to be at least ad-hoc signed.)"
    )
    assert mac.on("macos-14-x64").resolve("lib.dylib").loads


@pytest.mark.parametrize(
    ("program", "library", "reason"),
    [
        (Signed("TEAM1", HARDENED), Signed("TEAM1", 0), None),
        (Signed("TEAM1", HARDENED), Signed("TEAM2", 0), "different Team IDs"),
        (Signed("TEAM1", HARDENED), Signed(), "has no Team ID"),
        (Signed("TEAM1", HARDENED), None, "has no cdhash"),
        (Signed("TEAM1", 0), Signed("TEAM2", 0), None),
        (Signed("TEAM1", ADHOC), Signed(), None),
    ],
)
def test_a_hardened_program_loads_libraries_of_its_own_team(
    mac: Mac, program: Signed, library: Signed | None, reason: str | None
) -> None:
    mac.write("lib.dylib", Macho("/lib.dylib", signed=library))
    mac.write("main", Macho(kind="executable", signed=program))
    resolution = mac.resolve("lib.dylib", host="main")
    if reason is None:
        assert resolution.loads
    else:
        assert only(resolution).id == ("library-validation" if library else "unsigned")
        assert reason in only(resolution).message


def test_an_entitlement_ends_library_validation(mac: Mac) -> None:
    key = "com.apple.security.cs.disable-library-validation"
    entitlements = f"<plist><dict><key>{key}</key><true/></dict></plist>"
    mac.write("lib.dylib", Macho("/lib.dylib"))
    mac.write("main", Macho(kind="executable", signed=Signed("TEAM1", HARDENED, entitlements)))
    assert mac.resolve("lib.dylib", host="main").loads


def test_a_hardened_program_ignores_the_environment_without_an_entitlement(mac: Mac) -> None:
    """amfi-hardened-*, and Apple's "Allow DYLD Environment Variables Entitlement"."""
    same = Signed("TEAM1", 0)
    mac.write("one/lib.dylib", Macho(mac.path("one/lib.dylib"), signed=same))
    mac.write("two/lib.dylib", Macho(mac.path("two/lib.dylib"), signed=same))
    environment = {"DYLD_LIBRARY_PATH": mac.path("two")}
    key = "com.apple.security.cs.allow-dyld-environment-variables"
    entitlements = f"<plist><dict><key>{key}</key><true/></dict></plist>"
    for given, expected in (("", "one/lib.dylib"), (entitlements, "two/lib.dylib")):
        signed = Signed("TEAM1", HARDENED, given)
        main = Macho(kind="executable", needs=[mac.path("one/lib.dylib")], signed=signed)
        mac.write("main", main)
        assert mac.loaded(mac.resolve("main", environment=environment))[1] == expected


def test_a_hardened_program_takes_no_relative_paths(mac: Mac) -> None:
    """amfi-hardened-dlopen-relative."""
    mac.write("libmy.dylib", Macho("/libmy.dylib", signed=Signed("TEAM1", 0)))
    for flags, loads in ((HARDENED, False), (0, True)):
        signed = Signed("TEAM1", flags)
        mac.write("main", Macho(kind="executable", needs=["./libmy.dylib"], signed=signed))
        resolution = mac.resolve("main")
        assert resolution.loads == loads
    mac.write(
        "main", Macho(kind="executable", needs=["./libmy.dylib"], signed=Signed("T", HARDENED))
    )
    assert "relative path not allowed in hardened program" in only(mac.resolve("main")).message


def test_a_library_for_another_platform_is_refused(mac: Mac) -> None:
    path = mac.write("lib.dylib", Macho("/lib.dylib", platform="iOS"))
    problem = only(mac.resolve("lib.dylib"))
    assert problem.id == "wrong-platform"
    assert (
        f"mach-o file ({path}), but incompatible platform (have 'iOS', need 'macOS')"
        in problem.message
    )


def test_mac_catalyst_programs_load_libraries_of_macos_and_not_the_other_way(mac: Mac) -> None:
    """dlopen-iOSMac."""
    mac.write("mac.dylib", Macho("/mac.dylib"))
    mac.write("catalyst.dylib", Macho("/catalyst.dylib", platform="macCatalyst"))
    mac.write("catalyst", Macho(kind="executable", platform="macCatalyst"))
    assert mac.resolve("mac.dylib", host="catalyst").loads
    assert mac.resolve("catalyst.dylib", host="catalyst").loads
    assert only(mac.resolve("catalyst.dylib")).id == "wrong-platform"


def test_a_bundle_can_be_opened_but_not_linked(mac: Mac) -> None:
    bundle = mac.write("plugin.so", Macho(kind="bundle"))
    assert mac.resolve("plugin.so").loads
    mac.write("lib.dylib", Macho("/lib.dylib", needs=[bundle]))
    problem = only(mac.resolve("lib.dylib"))
    assert problem.id == "not-a-library"
    assert f"cannot link against bundle '{bundle}'" in problem.message


@pytest.mark.parametrize(
    ("system", "sdk", "loads"),
    [
        ("macos-14-arm64", (15, 4), True),
        ("macos-15-arm64", (15, 0), True),
        ("macos-15-arm64", (15, 4), False),
        ("macos-26-arm64", (15, 4), True),
        ("macos-26-arm64", (26, 0), False),
    ],
)
def test_an_rpath_twice_is_refused_of_files_built_with_a_new_sdk(
    mac: Mac, system: str, sdk: tuple[int, int], loads: bool
) -> None:
    """github.com/facebook/zstd/issues/4369; enforceNoDuplicateRPaths."""
    mac.write("lib.dylib", Macho("/lib.dylib", rpaths=["@loader_path"] * 2, sdk=sdk))
    resolution = mac.on(system).resolve("lib.dylib")
    assert resolution.loads == loads
    if not loads:
        assert "(duplicate LC_RPATH '@loader_path')" in only(resolution).message


def test_a_newer_minimum_is_not_refused_but_may_lack_symbols(mac: Mac) -> None:
    mac.write("lib.dylib", Macho("/lib.dylib", minimum=(15, 0)))
    problem = only(mac.resolve("lib.dylib"))
    assert (problem.id, problem.when) == ("minimum-os", "maybe")
    assert problem.message.endswith("(built for macOS 15.0 which is newer than running OS)")
    assert mac.on("macos-15-arm64").resolve("lib.dylib").loads


@pytest.mark.parametrize(
    ("system", "minimum", "loads"),
    [
        ("macos-11-x64", (10, 13), False),
        ("macos-11-x64", (10, 14), True),
        ("macos-12-x64", (10, 13), True),
    ],
)
def test_the_compatibility_version_counts_for_old_libraries_on_macos_11(
    mac: Mac, system: str, minimum: tuple[int, int], loads: bool
) -> None:
    """dyld-852.2, enforceCompatVersion; later releases do not look at it."""
    old = Macho(mac.path("libold.dylib"), cpu="x86_64", minimum=minimum, compatibility=(1, 0))
    mac.write("libold.dylib", old)
    need = Need(mac.path("libold.dylib"), compatibility=(2, 0))
    mac.write("lib.dylib", Macho("/lib.dylib", cpu="x86_64", needs=[need]))
    resolution = mac.on(system).resolve("lib.dylib")
    assert resolution.loads == loads
    if not loads:
        assert only(resolution).id == "incompatible-version"
        assert only(resolution).message == (
            "Incompatible library version: lib.dylib requires version 2.0.0 or later, "
            "but libold.dylib provides version 1.0.0"
        )


def test_a_symbol_must_be_in_the_library_that_is_named(mac: Mac) -> None:
    """Two-level namespace: that another one has it does not help."""
    one, two = mac.path("one.dylib"), mac.path("two.dylib")
    mac.write("one.dylib", Macho(one, exports=["_here"]))
    mac.write("two.dylib", Macho(two, exports=["_there"]))
    wants = [Want("_here", 1), Want("_there", 2), Want("_there", 1), Want("_maybe", 1, weak=True)]
    path = mac.write("lib.dylib", Macho("/lib.dylib", needs=[one, two], wants=wants))
    problem = only(mac.resolve("lib.dylib"))
    assert (problem.id, problem.when) == ("missing-symbol", "load")
    assert problem.message == (
        f"Symbol not found: _there\n  Referenced from: <{UUID}> {path}\n"
        f"  Expected in:     <{UUID}> {one}"
    )


def test_symbols_bound_by_opcodes_fail_when_they_are_called(mac: Mac) -> None:
    """dlopen-RTLD_NOW."""
    bar = mac.path("libbar.dylib")
    mac.write("libbar.dylib", Macho(bar))
    mac.write("libfoo.dylib", Macho("/f", needs=[bar], wants=[Want("_bar", 1)], lazy=True))
    later = mac.resolve("libfoo.dylib")
    assert later.loads
    assert (only(later).id, only(later).when) == ("missing-symbol-later", "call")
    assert only(mac.resolve("libfoo.dylib", now=True)).when == "load"
    mac.write("libfoo.dylib", Macho("/f", needs=[bar], wants=[Want("_bar", 1)]))
    assert only(mac.resolve("libfoo.dylib")).when == "load"


def test_symbols_are_found_behind_reexports(mac: Mac) -> None:
    """dylib-re-export, dlsym-re-export-imported-name."""
    inner, outer = mac.path("inner.dylib"), mac.path("outer.dylib")
    mac.write("inner.dylib", Macho(inner, exports=["_deep", "_old"]))
    renamed = {"_new": (1, "_old"), "_bad": (1, "_gone")}
    mac.write("outer.dylib", Macho(outer, needs=[Need(inner, "reexport")], reexports=renamed))
    names = ["_deep", "_new", "_bad", "_none"]
    wants = [Want(name, 1) for name in names]
    mac.write("lib.dylib", Macho("/lib.dylib", needs=[outer], wants=wants))
    missing = [problem.subject for problem in mac.resolve("lib.dylib").problems]
    assert missing == ["_bad", "_none"]


def test_flat_symbols_depend_on_the_program(mac: Mac) -> None:
    """What -undefined dynamic_lookup leaves open, as all Python extensions do."""
    wants = [Want("_PyLong_FromLong", -2), Want("_PyErr_Clear", -2)]
    mac.write("ext.so", Macho(kind="bundle", wants=wants))
    unknown = mac.resolve("ext.so")
    assert unknown.loads is None
    assert only(unknown).message.startswith(
        "symbol not found in flat namespace '_PyLong_FromLong' (and 1 others"
    )
    mac.write("python3", Macho(kind="executable", exports=["_PyLong_FromLong", "_PyErr_Clear"]))
    assert mac.resolve("ext.so", host="python3").loads


QUOTED = (
    "Library not loaded: '/none/x'\n  Referenced from: '{}'\n"
    "  Reason: tried: '/none/x' (no such file)"
)
PLAIN = "Library not loaded: /none/x\n  Referenced from: {}\n  Reason: image not found"


@pytest.mark.parametrize(
    ("system", "message"), [("macos-11-arm64", PLAIN), ("macos-12-arm64", QUOTED)]
)
def test_older_releases_say_it_in_their_own_words(mac: Mac, system: str, message: str) -> None:
    """dyld-852.2 src/ImageLoader.cpp; dyld-960 dyld/JustInTimeLoader.cpp."""
    path = mac.write("lib.dylib", Macho("/lib.dylib", needs=["/none/x"]))
    (need,) = mac.on(system).resolve("lib.dylib").root.needs
    problem = mac.on(system).resolve("lib.dylib").problems[0]
    assert need.state in ("missing", "unknown")
    assert problem.message.startswith(message.format(path))


def test_a_file_that_is_no_mach_o_is_passed_over(mac: Mac) -> None:
    text = mac.write("near/libx.dylib", b"not a library\n")
    mac.write("far/libx.dylib", Macho("@rpath/libx.dylib"))
    rpaths = ["@loader_path/near", "@loader_path/far"]
    mac.write("lib.dylib", Macho("/lib.dylib", needs=["@rpath/libx.dylib"], rpaths=rpaths))
    resolution = mac.resolve("lib.dylib")
    assert resolution.loads
    (need,) = resolution.root.needs
    assert [(step.path, step.outcome) for step in need.tried] == [
        (mac.path("near/libx.dylib"), "skipped"),
        (mac.path("far/libx.dylib"), "found"),
    ]
    assert text == need.tried[0].path


def test_a_library_that_is_damaged_further_in_is_named(mac: Mac) -> None:
    """Its header is sound; its imports, which are read last, are not."""
    raw = bytearray(Macho(mac.path("bad.dylib"), wants=[Want("_x", 1)]).raw())
    at = raw.rindex(b"_x\0")
    raw[at - 1 - 4 : at - 1] = b"\xff\xff\xff\xff"  # its row of the table: a name far away
    path = mac.write("bad.dylib", bytes(raw))
    mac.write("lib.dylib", Macho("/lib.dylib", needs=[path]))
    problem = only(mac.resolve("lib.dylib"))
    assert (problem.id, problem.library) == ("truncated", path)
    assert "the name of an import has no end" in problem.message
