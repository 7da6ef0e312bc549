"""Where dyld looks. Each test names the test case of dyld's own that it is written after.

Those are in ``testing/test-cases`` of dyld-1066.10, the last release published with them;
no macOS ran ours.
"""

from __future__ import annotations

import os

import lief
import pytest

from libferry.errors import BadBinary

from .conftest import Mac
from .machowriter import Macho, Need, Want, universal


def program(**facts: object) -> Macho:
    return Macho(kind="executable", **facts)  # type: ignore[arg-type]


def problems(resolution: object) -> list[tuple[str, str]]:
    return [(each.id, each.when) for each in resolution.problems]  # type: ignore[attr-defined]


def test_what_we_write_is_what_lief_reads(mac: Mac) -> None:
    path = mac.write(
        "lib.dylib",
        Macho(
            "@rpath/lib.dylib",
            needs=[
                Need("/usr/lib/libz.1.dylib", "weak"),
                Need("/a", "reexport"),
                Need("/b", "upward"),
            ],
            rpaths=["@loader_path"],
            exports=["_one", "_two"],
            wants=[Want("_inflate", 1, weak=True), Want("_any", -2)],
        ),
    )
    universal_file = lief.MachO.parse(path)
    assert universal_file is not None
    theirs = universal_file.at(0)
    assert theirs is not None
    kinds = lief.MachO.LoadCommand.TYPE
    assert [(each.command, each.name) for each in theirs.libraries] == [
        (kinds.ID_DYLIB, "@rpath/lib.dylib"),
        (kinds.LOAD_WEAK_DYLIB, "/usr/lib/libz.1.dylib"),
        (kinds.REEXPORT_DYLIB, "/a"),
        (kinds.LOAD_UPWARD_DYLIB, "/b"),
    ]
    assert [each.path for each in theirs.rpaths] == ["@loader_path"]
    trie = theirs.dyld_exports_trie
    assert trie is not None
    assert {each.symbol.name for each in trie.exports if each.symbol} == {"_one", "_two"}


def test_an_rpath_of_the_program_counts_for_its_libraries(mac: Mac) -> None:
    """rpath-relative: the chain goes from who asks up to the program."""
    mac.write("librel.dylib", Macho("@rpath/librel.dylib"))
    foo = mac.path("other/libfoo.dylib")
    mac.write("other/libfoo.dylib", Macho(foo, needs=["@rpath/librel.dylib"], rpaths=["/junk/"]))
    for rpath in ("@executable_path", "@executable_path/", "@loader_path", "@loader_path/"):
        mac.write("main", program(needs=[foo], rpaths=[rpath]))
        resolution = mac.resolve("main")
        assert resolution.loads
        assert mac.loaded(resolution) == ["main", "other/libfoo.dylib", "librel.dylib"]


def test_the_nearest_rpath_is_tried_first(mac: Mac) -> None:
    mac.write("near/lib.dylib", Macho("@rpath/lib.dylib"))
    mac.write("far/lib.dylib", Macho("@rpath/lib.dylib"))
    mac.write(
        "x.dylib",
        Macho(mac.path("x.dylib"), needs=["@rpath/lib.dylib"], rpaths=["@loader_path/near"]),
    )
    mac.write("main", program(needs=[mac.path("x.dylib")], rpaths=["@loader_path/far"]))
    assert mac.loaded(mac.resolve("main"))[-1] == "near/lib.dylib"


def test_what_is_loaded_already_comes_before_any_rpath(mac: Mac) -> None:
    """dlopen-rpath-prev-override."""
    mac.write("good/libtest.dylib", Macho("@rpath/libtest.dylib"))
    mac.write("bad/libtest.dylib", Macho("@rpath/libtest.dylib"))
    mac.write(
        "dir/libdynamic.dylib",
        Macho(
            "@rpath/libdynamic.dylib",
            needs=["@rpath/libtest.dylib"],
            rpaths=["@loader_path/../bad"],
        ),
    )
    mac.write("main", program(needs=["@rpath/libtest.dylib"], rpaths=["@loader_path/good"]))
    resolution = mac.resolve("dir/libdynamic.dylib", host="main")
    (need,) = resolution.root.needs
    assert (need.state, need.path) == ("again", mac.path("good/libtest.dylib"))
    assert mac.loaded(resolution) == ["dir/libdynamic.dylib"]
    # alone, it would be the other one
    alone = mac.resolve("dir/libdynamic.dylib")
    assert mac.loaded(alone) == ["dir/libdynamic.dylib", "bad/libtest.dylib"]


def test_a_library_without_rpath_finds_what_another_one_has_loaded(mac: Mac) -> None:
    """dlopen-rpath-prev."""
    mac.write("dir1/libstatic.dylib", Macho("@rpath/libstatic.dylib"))
    mac.write(
        "dir2/libdynamic.dylib", Macho("@rpath/libdynamic.dylib", needs=["@rpath/libstatic.dylib"])
    )
    mac.write("main", program(needs=["@rpath/libstatic.dylib"], rpaths=["@loader_path/dir1"]))
    assert mac.resolve("dir2/libdynamic.dylib", host="main").loads
    alone = mac.resolve("dir2/libdynamic.dylib")
    assert problems(alone) == [("missing-rpath", "load")]
    assert "Reason: no LC_RPATH's found" in alone.problems[0].message


def test_a_missing_weak_library_is_no_problem(mac: Mac) -> None:
    """rpath-weak-missing."""
    missing = Need("@rpath/libmissing.dylib", "weak")
    mac.write("libfoo.dylib", Macho("/libfoo.dylib", needs=[missing], rpaths=[mac.path("")]))
    resolution = mac.resolve("libfoo.dylib")
    assert resolution.loads
    (need,) = resolution.root.needs
    assert need.state == "ignored"
    assert mac.path("libmissing.dylib") in [step.path for step in need.tried]


def test_a_symbolic_link_to_a_program_does_not_change_its_folder(mac: Mac) -> None:
    """rpath-symlink: @executable_path is where the program really is."""
    mac.write("hide/lib/libfoo.dylib", Macho("@rpath/libfoo.dylib"))
    mac.write(
        "hide/bin/main", program(needs=["@rpath/libfoo.dylib"], rpaths=["@executable_path/../lib/"])
    )
    os.symlink("hide/bin/main", mac.path("link"))
    assert mac.resolve("link").loads
    assert mac.resolve("hide/bin/main").loads


def test_library_path_overrides_the_install_name(mac: Mac) -> None:
    """env-DYLD_LIBRARY_PATH."""
    one, two = mac.path("door1/libfoo.dylib"), mac.path("door2/libfoo.dylib")
    mac.write("door1/libfoo.dylib", Macho(one))
    mac.write("door2/libfoo.dylib", Macho(two))
    mac.write("main", program(needs=[one]))
    assert mac.loaded(mac.resolve("main"))[1] == "door1/libfoo.dylib"
    environment = {"DYLD_LIBRARY_PATH": mac.path("door2/")}
    assert mac.loaded(mac.resolve("main", environment=environment))[1] == "door2/libfoo.dylib"


def test_framework_path_overrides_frameworks_only(mac: Mac) -> None:
    """env-DYLD_FRAMEWORK_PATH."""
    name = "Foo.framework/Versions/A/Foo"
    mac.write(f"door1/{name}", Macho(mac.path(f"door1/{name}")))
    mac.write(f"door2/{name}", Macho(mac.path(f"door2/{name}")))
    mac.write("main", program(needs=[mac.path(f"door1/{name}")]))
    environment = {"DYLD_FRAMEWORK_PATH": mac.path("door2")}
    assert mac.loaded(mac.resolve("main", environment=environment))[1] == f"door2/{name}"
    environment = {"DYLD_LIBRARY_PATH": mac.path("door2/Foo.framework/Versions/A")}
    assert mac.loaded(mac.resolve("main", environment=environment))[1] == f"door1/{name}"


def test_fallback_path_is_tried_last(mac: Mac) -> None:
    """env-DYLD_FALLBACK_LIBRARY_PATH."""
    mac.write("fallback/libfoo.dylib", Macho(mac.path("libfoo.dylib")))
    mac.write("main", program(needs=[mac.path("libfoo.dylib")]))
    assert problems(mac.resolve("main")) == [("missing-library", "load")]
    environment = {"DYLD_FALLBACK_LIBRARY_PATH": mac.path("fallback/")}
    resolution = mac.resolve("main", environment=environment)
    assert mac.loaded(resolution)[1] == "fallback/libfoo.dylib"
    assert [step.outcome for step in resolution.root.needs[0].tried][-2:] == ["missing", "found"]


@pytest.mark.parametrize(
    ("system", "sdk", "falls_back"),
    [
        ("macos-11-x64", (26, 0), True),
        ("macos-12-x64", (26, 0), True),
        ("macos-13-x64", (13, 3), True),
        ("macos-13-x64", (14, 0), False),
        ("macos-15-x64", (13, 3), True),
        ("macos-15-x64", (14, 0), False),
    ],
)
def test_default_fallbacks_end_with_the_sdk_of_macos_14(
    mac: Mac, system: str, sdk: tuple[int, int], falls_back: bool
) -> None:
    """dyld(1): "For new binaries (Fall 2023 or later) there is no default"."""
    mac.write("lib.dylib", Macho("/lib.dylib", needs=["/none/libx.dylib"], cpu="x86_64", sdk=sdk))
    (need,) = mac.on(system).resolve("lib.dylib").root.needs
    tried = [step.path for step in need.tried]
    assert ("/usr/local/lib/libx.dylib" in tried) == falls_back
    assert tried[0] == "/none/libx.dylib"


def test_suffixed_libraries_come_first(mac: Mac) -> None:
    """env-DYLD_IMAGE_SUFFIX."""
    mac.write("libfoo.dylib", Macho(mac.path("libfoo.dylib")))
    mac.write("libfoo_alt.dylib", Macho(mac.path("libfoo.dylib")))
    mac.write("main", program(needs=[mac.path("libfoo.dylib")]))
    resolution = mac.resolve("main", environment={"DYLD_IMAGE_SUFFIX": "_alt"})
    assert mac.loaded(resolution)[1] == "libfoo_alt.dylib"


def test_inserted_libraries_may_be_beside_the_program_but_not_in_its_rpath(mac: Mac) -> None:
    """dyld-insert-library-rpath, env-DYLD_INSERT_LIBRARIES."""
    mac.write("main", program(rpaths=[mac.path("lib")]))
    mac.write("libbar.dylib", Macho(mac.path("libbar.dylib")))
    mac.write("lib/libfoo.dylib", Macho(mac.path("libfoo.dylib")))
    good = mac.resolve(
        "main", environment={"DYLD_INSERT_LIBRARIES": "@executable_path/libbar.dylib"}
    )
    assert mac.loaded(good) == ["main", "libbar.dylib"]
    assert [node.path for node in good.initialisers if node.path.startswith(mac.path(""))] == [
        mac.path("libbar.dylib"),
        mac.path("main"),
    ]
    bad = mac.resolve("main", environment={"DYLD_INSERT_LIBRARIES": "@rpath/libfoo.dylib"})
    assert mac.loaded(bad) == ["main"]
    assert bad.loads is False


def test_variables_in_the_program_count_unless_it_is_restricted(mac: Mac) -> None:
    """LC_DYLD_ENV-DYLD_LIBRARY_PATH, restrict-search."""
    mac.write("lc/libfoo.dylib", Macho("/blah/libfoo.dylib"))
    own = ["DYLD_LIBRARY_PATH=@loader_path/lc"]
    need = Need("/blah/libfoo.dylib", "weak")
    mac.write("free", program(needs=[need], environment=own))
    mac.write("bound", program(needs=[need], environment=own, restricted=True))
    assert mac.loaded(mac.resolve("free")) == ["free", "lc/libfoo.dylib"]
    assert mac.loaded(mac.resolve("bound")) == ["bound"]


def test_a_restricted_program_expands_no_words_but_takes_absolute_rpaths(mac: Mac) -> None:
    """atpath-restricted, restrict-search, rpath-absolute."""
    mac.write("test/libfoo.dylib", Macho("@rpath/libfoo.dylib"))
    need = Need("@rpath/libfoo.dylib", "weak")
    for rpath in ("@loader_path/test", "@executable_path/test", "./test/"):
        mac.write("free", program(needs=[need], rpaths=[rpath]))
        mac.write("bound", program(needs=[need], rpaths=[rpath], restricted=True))
        assert "test/libfoo.dylib" in "".join(mac.loaded(mac.resolve("free")))
        assert mac.loaded(mac.resolve("bound")) == ["bound"]
    mac.write("bound", program(needs=[need], rpaths=[mac.path("test")], restricted=True))
    assert mac.loaded(mac.resolve("bound")) == ["bound", "test/libfoo.dylib"]


def test_the_best_slice_of_a_universal_library_is_taken(mac: Mac) -> None:
    """dlopen-haswell, and the same for arm64e."""
    intel = universal(Macho("/l", cpu="x86_64", exports=["_old"]), Macho("/l", cpu="x86_64h"))
    mac.write("lib.dylib", intel)
    root = mac.on("macos-14-x64").resolve("lib.dylib").root
    assert root.binary is not None
    assert root.binary.view.architecture == "x86_64h"  # type: ignore[attr-defined]
    mac.write("lib.dylib", universal(Macho("/l", cpu="arm64"), Macho("/l", cpu="arm64e")))
    root = mac.resolve("lib.dylib").root
    assert root.binary is not None
    assert root.binary.view.architecture == "arm64e"  # type: ignore[attr-defined]


def test_system_libraries_are_in_the_shared_cache_under_all_their_names(mac: Mac) -> None:
    """dlopen-symlink, _dyld_get_image_name-cache-symlink."""
    short = "/System/Library/Frameworks/AppKit.framework/AppKit"
    long = "/System/Library/Frameworks/AppKit.framework/Versions/C/AppKit"
    mac.write("lib.dylib", Macho("/lib.dylib", needs=[short, long, "/usr/lib/libSystem.dylib"]))
    needs = mac.resolve("lib.dylib").root.needs
    assert [(need.state, need.path) for need in needs] == [
        ("loaded", long),
        ("again", long),
        ("loaded", "/usr/lib/libSystem.B.dylib"),
    ]


def test_a_framework_of_a_newer_macos_may_be_missing(mac: Mac) -> None:
    swiftdata = "/System/Library/Frameworks/SwiftData.framework/Versions/A/SwiftData"
    mac.write("lib.dylib", Macho("/lib.dylib", needs=[swiftdata]))
    assert mac.resolve("lib.dylib").loads
    old = mac.on("macos-13-arm64").resolve("lib.dylib")
    # our list of the cache is not complete, so this is not sure
    assert problems(old) == [("missing-library", "maybe")]
    assert "(no such file, not in dyld cache)" in old.problems[0].message


def test_dlopen_of_a_leaf_name_searches_the_rpaths_of_the_program(mac: Mac) -> None:
    """dlopen-rpath-implicit-loaded: a library that is there under @rpath is that one."""
    mac.write("dir1/libfoo.dylib", Macho("@rpath/libfoo.dylib"))
    mac.write("other.dylib", Macho("/other.dylib", needs=["@rpath/libfoo.dylib"]))
    mac.write("main", program(rpaths=["@loader_path/dir1"]))
    resolution = mac.resolve("other.dylib", host="main")
    assert mac.loaded(resolution) == ["other.dylib", "dir1/libfoo.dylib"]


def test_beside_a_program_that_is_not_known_is_not_known(mac: Mac) -> None:
    mac.write("lib.dylib", Macho("/lib.dylib", needs=["@executable_path/libx.dylib"]))
    resolution = mac.resolve("lib.dylib")
    assert resolution.loads is None
    assert resolution.root.needs[0].state == "unknown"
    mac.write("main", program())
    assert mac.resolve("lib.dylib", host="main").loads is False


def test_absolute_paths_are_tried_in_the_cryptex_too_since_macos_13(mac: Mac) -> None:
    mac.write("lib.dylib", Macho("/lib.dylib", needs=[mac.path("gone.dylib")]))
    gone = mac.path("gone.dylib")
    message = mac.resolve("lib.dylib").problems[0].message
    # as in github.com/mesonbuild/meson-python/issues/813
    assert message.endswith(
        f"Reason: tried: '{gone}' (no such file), "
        f"'/System/Volumes/Preboot/Cryptexes/OS{gone}' (no such file), '{gone}' (no such file)"
    )
    assert "Cryptexes" not in mac.on("macos-12-arm64").resolve("lib.dylib").problems[0].message


def test_a_cycle_ends(mac: Mac) -> None:
    a, b = mac.path("a.dylib"), mac.path("b.dylib")
    mac.write("a.dylib", Macho(a, needs=[b]))
    mac.write("b.dylib", Macho(b, needs=[a]))
    resolution = mac.resolve("a.dylib")
    assert mac.loaded(resolution) == ["a.dylib", "b.dylib"]
    assert [node.path for node in resolution.initialisers] == [b, a]


def test_a_chain_of_fifteen_hundred_libraries_is_followed(mac: Mac) -> None:
    for number in range(1500):
        need = mac.path(f"{number + 1}.dylib")
        mac.write(f"{number}.dylib", Macho(mac.path(f"{number}.dylib"), needs=[need]))
    mac.write("1500.dylib", Macho(mac.path("1500.dylib"), needs=[]))
    assert len(mac.resolve("0.dylib").order) == 1501


def test_upward_links_are_initialised_after_what_asks_for_them(mac: Mac) -> None:
    """upward-links-initializers: the drawing there is this one."""
    needs = {
        "value": [],
        "init4": ["value"],
        "init5": ["init4", "value"],
        "init6": ["init5", "value"],
        "init1": ["^init6", "value"],
        "init2": ["init1", "value"],
        "init3": ["init2", "value"],
    }
    for name, wanted in needs.items():
        below = [
            Need(mac.path(one.lstrip("^")), "upward" if one.startswith("^") else "needed")
            for one in wanted
        ]
        mac.write(name, Macho(mac.path(name), needs=below))
    mac.write("main", program(needs=[mac.path("init3")]))
    order = [node.path.rpartition("/")[2] for node in mac.resolve("main").initialisers]
    assert order == ["value", "init1", "init2", "init3", "main", "init4", "init5", "init6"]


def test_a_file_is_loaded_once_by_whatever_path(mac: Mac) -> None:
    """dlopen-symlink, dlopen-realpath: dyld compares inodes."""
    mac.write("lib.dylib", Macho(mac.path("lib.dylib")))
    os.symlink("lib.dylib", mac.path("alias.dylib"))
    mac.write("main", program(needs=[mac.path("lib.dylib"), mac.path("alias.dylib")]))
    resolution = mac.resolve("main")
    assert mac.loaded(resolution) == ["main", "lib.dylib"]
    assert resolution.root.needs[1].state == "again"
    opened = mac.resolve("alias.dylib", host="main")
    assert (opened.root.state, opened.order, opened.loads) == ("again", (), True)


def test_ten_thousand_libraries_in_ten_thousand_folders_are_refused(mac: Mac) -> None:
    needs = [f"@rpath/{number}" for number in range(10_000)]
    rpaths = [f"/{number}" for number in range(10_000)]
    file = Macho("/l", needs=needs, rpaths=rpaths)
    mac.write("l.dylib", file.raw(0x200000))
    with pytest.raises(BadBinary, match="more than 100000 places"):
        mac.resolve("l.dylib")
