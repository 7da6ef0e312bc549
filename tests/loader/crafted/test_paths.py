"""Where a library is looked for: RPATH, RUNPATH, LD_LIBRARY_PATH, and what is in between."""

from __future__ import annotations

import os
import shutil

import pytest

from .workshop import Workshop

pytestmark = pytest.mark.needs("gcc", install="apt-get install gcc libc6-dev")

RPATH = "-Wl,--disable-new-dtags,-rpath,"
RUNPATH = "-Wl,--enable-new-dtags,-rpath,"


def test_runpath_is_not_for_the_needs_of_what_is_needed(shop: Workshop) -> None:
    shop.library("deep/libdeep.so")
    shop.library("libmiddle.so", "", ["deep/libdeep.so"])
    shop.program("tool", ["libmiddle.so"], RUNPATH + "$ORIGIN:$ORIGIN/deep")
    assert "libdeep.so: cannot open" in shop.judge("tool").error


def test_rpath_is_for_the_needs_of_what_is_needed(shop: Workshop) -> None:
    shop.library("deep/libdeep.so")
    shop.library("libmiddle.so", "", ["deep/libdeep.so"])
    shop.program("tool", ["libmiddle.so"], RPATH + "$ORIGIN:$ORIGIN/deep")
    assert shop.judge("tool").loaded == ("libmiddle.so", "libc.so.6", "deep/libdeep.so")


def test_an_rpath_of_the_program_is_ignored_for_a_library_with_runpath(shop: Workshop) -> None:
    shop.library("deep/libdeep.so")
    shop.library("libmiddle.so", "", ["deep/libdeep.so"], RUNPATH + "$ORIGIN/elsewhere")
    shop.program("tool", ["libmiddle.so"], RPATH + "$ORIGIN:$ORIGIN/deep")
    assert "libdeep.so: cannot open" in shop.judge("tool").error


def test_an_rpath_in_the_middle_of_the_chain_counts(shop: Workshop) -> None:
    shop.library("x/libend.so")
    shop.library("liblow.so", "", ["x/libend.so"])
    shop.library("libmiddle.so", "", ["liblow.so"], RPATH + "$ORIGIN:$ORIGIN/x")
    shop.program("tool", ["libmiddle.so"], RUNPATH + "$ORIGIN")
    assert "x/libend.so" in shop.judge("tool").loaded


def test_rpath_comes_before_the_environment(shop: Workshop) -> None:
    shop.library("a/libone.so")
    shop.library("b/libone.so")
    shop.program("tool", ["a/libone.so"], RPATH + "$ORIGIN/a")
    outcome = shop.judge("tool", environment={"LD_LIBRARY_PATH": str(shop.folder / "b")})
    assert "a/libone.so" in outcome.loaded


def test_runpath_comes_after_the_environment(shop: Workshop) -> None:
    shop.library("a/libone.so")
    shop.library("b/libone.so")
    shop.program("tool", ["a/libone.so"], RUNPATH + "$ORIGIN/a")
    outcome = shop.judge("tool", environment={"LD_LIBRARY_PATH": str(shop.folder / "b")})
    assert "b/libone.so" in outcome.loaded


@pytest.mark.parametrize("path", ["{0}/a:{0}/b", "{0}/a;{0}/b", "{0}/a/:{0}//b", "{0}/none:{0}/b"])
def test_the_environment_is_split_at_colons_and_semicolons(shop: Workshop, path: str) -> None:
    shop.library("a/libone.so")
    shop.library("b/libtwo.so")
    shop.program("tool", ["b/libtwo.so"])
    outcome = shop.judge("tool", environment={"LD_LIBRARY_PATH": path.format(shop.folder)})
    assert "b/libtwo.so" in outcome.loaded


@pytest.mark.parametrize("path", [":/nowhere", "/nowhere:", "/a::/b", "."])
def test_an_empty_item_of_the_environment_is_the_current_folder(shop: Workshop, path: str) -> None:
    shop.library("here/libone.so")
    shop.program("tool", ["here/libone.so"])
    outcome = shop.judge("tool", environment={"LD_LIBRARY_PATH": path}, folder="here")
    assert "here/libone.so" in outcome.loaded


def test_an_empty_environment_is_not_the_current_folder(shop: Workshop) -> None:
    shop.library("here/libone.so")
    shop.program("tool", ["here/libone.so"])
    assert shop.judge("tool", environment={"LD_LIBRARY_PATH": ""}, folder="here").error


def test_an_empty_item_of_an_rpath_is_the_current_folder(shop: Workshop) -> None:
    shop.library("here/libone.so")
    shop.program("tool", ["here/libone.so"], RUNPATH + "/nowhere::/elsewhere")
    assert "here/libone.so" in shop.judge("tool", folder="here").loaded


def test_a_relative_rpath_is_below_the_current_folder(shop: Workshop) -> None:
    shop.library("here/sub/libone.so")
    shop.program("tool", ["here/sub/libone.so"], RUNPATH + "sub")
    assert "here/sub/libone.so" in shop.judge("tool", folder="here").loaded


def test_a_relative_rpath_does_not_start_at_the_program(shop: Workshop) -> None:
    shop.library("sub/libone.so")
    (shop.folder / "here").mkdir()
    shop.program("tool", ["sub/libone.so"], RUNPATH + "sub")
    assert shop.judge("tool", folder="here").error


@pytest.mark.parametrize("origin", ["$ORIGIN/a", "${ORIGIN}/a", "$ORIGIN/../s/a", "${ORIGIN}//a/"])
def test_origin_is_the_folder_of_the_file(shop: Workshop, origin: str) -> None:
    shop.folder = shop.folder / "s"
    shop.library("a/libone.so")
    shop.program("tool", ["a/libone.so"], RUNPATH + origin)
    assert "a/libone.so" in shop.judge("tool").loaded


@pytest.mark.parametrize("word", ["$ORIGINAL", "$UNKNOWN", "${ORIGIN", "$ORIGIN_", "$"])
def test_what_is_no_token_is_a_name_like_others(shop: Workshop, word: str) -> None:
    shop.library(f"{word}/libone.so")
    shop.program("tool", [f"{word}/libone.so"], RUNPATH + word)
    assert f"{word}/libone.so" in shop.judge("tool").loaded


@pytest.mark.parametrize("token", ["$LIB", "${LIB}", "$PLATFORM", "${PLATFORM}"])
def test_lib_and_platform_are_what_the_loader_was_built_with(shop: Workshop, token: str) -> None:
    target = shop.loader.system(shop.folder).target
    value = target.lib if "LIB" in token else target.platform
    shop.library(f"{value}/libone.so")
    shop.program("tool", [f"{value}/libone.so"], RUNPATH + "$ORIGIN/" + token)
    assert f"{value}/libone.so" in shop.judge("tool").loaded


def test_the_program_is_where_the_link_leads(shop: Workshop) -> None:
    shop.library("real/libone.so")
    shop.program("real/tool", ["real/libone.so"], RUNPATH + "$ORIGIN")
    os.symlink("real/tool", shop.folder / "link")
    loaded, error = shop.start("link")
    ours, resolution = shop.predict("link")
    assert (loaded, error) == (ours[1:], "")
    assert "real/libone.so" in loaded
    assert resolution.loads


def test_a_library_is_where_the_link_lies(shop: Workshop) -> None:
    shop.library("real/libdeep.so")
    shop.library("real/libone.so", "", ["real/libdeep.so"], RUNPATH + "$ORIGIN")
    (shop.folder / "links").mkdir()
    os.symlink("../real/libone.so", shop.folder / "links/libone.so")
    shop.program("tool", ["real/libone.so"], RUNPATH + "$ORIGIN/links")
    assert "libdeep.so: cannot open" in shop.judge("tool").error


def test_a_needed_path_with_a_slash_is_not_searched(shop: Workshop) -> None:
    shop.library("sub/libone.so", soname="")
    os.makedirs(shop.folder / "elsewhere/sub")
    shutil.copy(shop.folder / "sub/libone.so", shop.folder / "elsewhere/libone.so")
    here = os.getcwd()
    os.chdir(shop.folder)
    try:
        shop.program("tool", [], "sub/libone.so", RUNPATH + "$ORIGIN/elsewhere")
    finally:
        os.chdir(here)
    assert shop.judge("tool").loaded[0] == "sub/libone.so"
    assert "sub/libone.so: cannot open" in shop.judge("tool", folder="sub").error


def test_a_needed_name_can_begin_with_origin(shop: Workshop) -> None:
    shop.library("sub/libone.so", soname="$ORIGIN/sub/libone.so")
    (shop.folder / "here").mkdir()
    shop.program("tool", ["sub/libone.so"])
    assert shop.judge("tool", folder="here").loaded[0] == "sub/libone.so"


def test_nodeflib_leaves_the_default_folders_out(shop: Workshop) -> None:
    shop.library("libone.so", "", [], "-Wl,-z,nodefaultlib", "-lz")
    shop.program("tool", ["libone.so"], RUNPATH + "$ORIGIN")
    assert "libz.so.1: cannot open" in shop.judge("tool").error


def test_a_duplicate_folder_is_searched_once_and_in_the_first_place(shop: Workshop) -> None:
    shop.library("a/libone.so")
    shop.library("b/libone.so")
    shop.program("tool", ["b/libone.so"], RUNPATH + "$ORIGIN/b:$ORIGIN/a:$ORIGIN/b")
    assert "b/libone.so" in shop.judge("tool").loaded


def test_the_folder_of_a_better_cpu_comes_first(shop: Workshop) -> None:
    levels = shop.loader.system(shop.folder).target.isa
    better = [level for level in ("x86-64-v2", "x86-64-v3", "x86-64-v4") if level in levels]
    shop.library("libone.so")
    for level in better:
        shop.library(f"glibc-hwcaps/{level}/libone.so")
    shop.library("glibc-hwcaps/x86-64-v9/libone.so")
    shop.program("tool", ["libone.so"], RUNPATH + "$ORIGIN")
    expected = f"glibc-hwcaps/{better[-1]}/libone.so" if better else "libone.so"
    assert shop.judge("tool").loaded[0] == expected


@pytest.mark.parametrize("folder", ["tls", "x86_64", "tls/x86_64", "x86_64/x86_64", "haswell"])
def test_the_folders_that_went_with_2_37(shop: Workshop, folder: str) -> None:
    shop.library("libone.so")
    shop.library(f"{folder}/libone.so")
    shop.program("tool", ["libone.so"], RUNPATH + "$ORIGIN")
    assert shop.judge("tool").loaded[0].endswith("libone.so")


# ---- tokens outside of files ------------------------------------------------------


def test_origin_in_ld_library_path_is_the_programs_folder(shop: Workshop) -> None:
    shop.library("sub/libone.so")
    shop.library("deep/libuser.so", "", ["sub/libone.so"])
    shop.program("host")
    environment = {"LD_LIBRARY_PATH": "$ORIGIN/sub"}
    outcome = shop.judge_dlopen("deep/libuser.so", "host", environment)
    assert outcome.loaded[-1] == "sub/libone.so"


def test_origin_in_ld_preload_is_the_programs_folder(shop: Workshop) -> None:
    shop.library("sub/libone.so")
    shop.program("tool")
    outcome = shop.judge("tool", environment={"LD_PRELOAD": "$ORIGIN/sub/libone.so"})
    assert "sub/libone.so" in outcome.loaded


def test_a_host_does_not_start_if_a_preloaded_library_lacks_a_symbol(shop: Workshop) -> None:
    shop.library("libone.so", "extern int nobody_has; int *use = &nobody_has;")
    shop.library("libtwo.so")
    shop.program("host")
    environment = {"LD_PRELOAD": str(shop.folder / "libone.so")}
    outcome = shop.judge_dlopen("libtwo.so", "host", environment)
    assert "libone.so: undefined symbol: nobody_has" in outcome.error
