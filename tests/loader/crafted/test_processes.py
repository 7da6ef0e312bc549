"""What is loaded already, what is loaded besides, and in which order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .workshop import Workshop

pytestmark = pytest.mark.needs("gcc", install="apt-get install gcc libc6-dev")

RPATH = "-Wl,--disable-new-dtags,-rpath,"
RUNPATH = "-Wl,--enable-new-dtags,-rpath,"
HERE = RUNPATH + "$ORIGIN"


def test_a_soname_that_is_loaded_is_not_looked_for_again(shop: Workshop) -> None:
    shop.library("a/libone.so")
    shop.library("b/libone.so")
    shop.library("libuser.so", "", ["b/libone.so"], RUNPATH + "$ORIGIN/b")
    shop.program("tool", ["a/libone.so", "libuser.so"], HERE + ":$ORIGIN/a")
    assert shop.judge("tool").loaded == ("a/libone.so", "libuser.so", "libc.so.6")


def test_the_hosts_library_is_taken_instead_of_the_bundled_one(shop: Workshop) -> None:
    shop.library("system/libone.so")
    shop.library("bundle/libone.so")
    shop.library("bundle/libuser.so", "", ["bundle/libone.so"], HERE)
    shop.program("host", ["system/libone.so"], RUNPATH + "$ORIGIN/system")
    shop.program("empty")
    assert "bundle/libone.so" not in shop.judge_dlopen("bundle/libuser.so", "host").loaded
    assert "bundle/libone.so" in shop.judge_dlopen("bundle/libuser.so", "empty").loaded


def test_a_soname_counts_and_the_name_of_the_file_does_not(shop: Workshop) -> None:
    shop.library("libfile.so", soname="libcalled.so.1")
    shop.library("libcalled.so.1", soname="libother.so")
    shop.library("libuser.so", "", ["libfile.so"], HERE)
    shop.program("tool", ["libuser.so"], HERE)
    assert shop.judge("tool").loaded == ("libuser.so", "libc.so.6", "libcalled.so.1")


def test_a_path_makes_its_soname_known(shop: Workshop) -> None:
    shop.library("deep/libplugin-1.so", soname="libplugin.so")
    shop.library("libplugin.so")
    shop.library("libuser.so", "", ["libplugin.so"], HERE)
    shop.program("host")
    first = f"now:{shop.folder}/deep/libplugin-1.so"
    loaded, error = shop.start("host", first, f"now:{shop.folder}/libuser.so")
    assert error == ""
    assert "libplugin.so" not in loaded


def test_two_names_of_one_file_are_one_library(shop: Workshop) -> None:
    shop.library("libone.so", soname="")
    os.link(shop.folder / "libone.so", shop.folder / "libtwo.so")
    shop.program("tool", [], "-L" + str(shop.folder), "-l:libone.so", "-l:libtwo.so", HERE)
    assert shop.judge("tool").loaded == ("libone.so", "libc.so.6")


def test_a_link_to_a_loaded_file_is_the_same_library(shop: Workshop) -> None:
    shop.library("libone.so", soname="")
    os.symlink("libone.so", shop.folder / "libtwo.so")
    shop.program("tool", [], "-L" + str(shop.folder), "-l:libtwo.so", "-l:libone.so", HERE)
    assert shop.judge("tool").loaded == ("libone.so", "libc.so.6")


def test_a_copy_of_a_loaded_file_is_another_library(shop: Workshop) -> None:
    shop.library("libone.so", soname="")
    shutil.copy(shop.folder / "libone.so", shop.folder / "libtwo.so")
    shop.program("tool", [], "-L" + str(shop.folder), "-l:libone.so", "-l:libtwo.so", HERE)
    assert shop.judge("tool").loaded == ("libone.so", "libtwo.so", "libc.so.6")


def test_dlopen_of_what_the_program_has(shop: Workshop) -> None:
    shop.library("libone.so")
    shop.program("host", ["libone.so"], HERE)
    outcome = shop.judge_dlopen("libone.so", "host", mode="noload")
    assert outcome.resolution is not None
    assert outcome.resolution.root.state == "again"


def test_what_is_needed_is_loaded_breadth_first(shop: Workshop) -> None:
    shop.library("libd.so")
    shop.library("libe.so")
    shop.library("libb.so", "", ["libd.so"], HERE)
    shop.library("libc1.so", "", ["libe.so", "libd.so"], HERE)
    shop.program("tool", ["libb.so", "libc1.so"], HERE)
    assert shop.judge("tool").loaded == (
        *("libb.so", "libc1.so", "libc.so.6", "libd.so", "libe.so"),
    )


def test_needs_may_go_in_a_circle(shop: Workshop) -> None:
    shop.library("libb.so")
    shop.library("liba.so", "", ["libb.so"], HERE)
    shop.library("libb.so", "", ["liba.so"], HERE)
    shop.program("tool", ["liba.so"], HERE)
    assert shop.judge("tool").loaded == ("liba.so", "libc.so.6", "libb.so")


def test_a_filter_is_in_front_of_its_library(shop: Workshop) -> None:
    shop.library("libreal.so")
    shop.library("libfront.so", "", [], "-Wl,-F,libreal.so", HERE)
    shop.program("tool", ["libfront.so"], HERE)
    assert shop.judge("tool").loaded == ("libreal.so", "libfront.so", "libc.so.6")


def test_a_filter_must_be_there(shop: Workshop) -> None:
    shop.library("libfront.so", "", [], "-Wl,-F,libreal.so", HERE)
    shop.program("tool", ["libfront.so"], HERE)
    assert "libreal.so: cannot open" in shop.judge("tool").error


def test_an_auxiliary_filter_may_be_missing(shop: Workshop) -> None:
    shop.library("libfront.so", "", [], "-Wl,-f,libreal.so", HERE)
    shop.program("tool", ["libfront.so"], HERE)
    assert shop.judge("tool").loaded == ("libfront.so", "libc.so.6")
    shop.library("libreal.so")
    assert shop.judge("tool").loaded[:2] == ("libreal.so", "libfront.so")


@pytest.mark.parametrize("separator", [" ", ":"])
def test_preloads_come_after_the_program(shop: Workshop, separator: str) -> None:
    shop.library("libone.so")
    shop.library("pre/libp.so")
    shop.library("pre/libq.so")
    shop.program("tool", ["libone.so"], HERE)
    preload = separator.join(str(shop.folder / f"pre/lib{name}.so") for name in "pq")
    outcome = shop.judge("tool", environment={"LD_PRELOAD": preload})
    assert outcome.loaded[:3] == ("pre/libp.so", "pre/libq.so", "libone.so")


def test_a_preload_that_is_missing_is_ignored(shop: Workshop) -> None:
    shop.program("tool")
    outcome = shop.judge("tool", environment={"LD_PRELOAD": "/nowhere/lib.so:libnone.so"})
    assert outcome.loaded == ("libc.so.6",)


def test_a_preload_that_is_damaged_is_ignored(shop: Workshop) -> None:
    (shop.folder / "lib.so").write_text("no library" * 10)
    shop.program("tool")
    outcome = shop.judge("tool", environment={"LD_PRELOAD": str(shop.folder / "lib.so")})
    assert outcome.loaded == ("libc.so.6",)


def test_what_a_preload_needs_is_needed(shop: Workshop) -> None:
    shop.library("libgone.so")
    shop.library("libp.so", "", ["libgone.so"])
    (shop.folder / "libgone.so").unlink()
    shop.program("tool")
    preload = {"LD_PRELOAD": str(shop.folder / "libp.so")}
    assert "libgone.so: cannot open" in shop.judge("tool", environment=preload).error


def test_a_preload_by_name_is_searched_as_for_the_program(shop: Workshop) -> None:
    shop.library("sub/libp.so")
    shop.program("tool", [], RUNPATH + "$ORIGIN/sub")
    assert shop.judge("tool", environment={"LD_PRELOAD": "libp.so"}).loaded[0] == "sub/libp.so"


def test_the_hosts_rpath_is_for_what_dlopen_brings(shop: Workshop) -> None:
    shop.library("sub/libone.so")
    shop.library("libuser.so", "", ["sub/libone.so"])
    shop.program("old", [], RPATH + "$ORIGIN/sub")
    shop.program("new", [], RUNPATH + "$ORIGIN/sub")
    assert "sub/libone.so" in shop.judge_dlopen("libuser.so", "old").loaded
    assert "libone.so: cannot open" in shop.judge_dlopen("libuser.so", "new").error


CONSTRUCTOR = "__attribute__((constructor)) static void run(void) {{}} int v_{0};"

# needs of a, b, c, d, e; and of the program
GRAPHS = {
    "chain": ({"a": "b", "b": "c"}, "abc"),
    "diamond": ({"a": "bc", "b": "d", "c": "d"}, "a"),
    "backwards": ({"a": "", "b": "a", "c": "b"}, "abc"),
    "circle": ({"a": "b", "b": "c", "c": "a"}, "a"),
    "two circles": ({"a": "b", "b": "a", "c": "d", "d": "ca"}, "acd"),
    "crossed": ({"a": "cd", "b": "dc", "c": "e", "d": "e", "e": "b"}, "ab"),
}


def initialised(shop: Workshop, program: str) -> Iterator[str]:
    """Whose initialisers the loader says that it calls, in its order."""
    answer = subprocess.run(
        [*shop.loader.command, str(shop.folder / program)],
        capture_output=True,
        text=True,
        env={"LD_DEBUG": "libs"},
    )
    for path in re.findall(r"calling init: (\S+)", answer.stderr):
        if Path(path).is_relative_to(shop.folder):
            yield Path(path).name


@pytest.mark.parametrize("graph", GRAPHS)
def test_initialisers_run_in_the_loaders_order(shop: Workshop, graph: str) -> None:
    needs, start = GRAPHS[graph]
    for name in needs.keys() | set("".join(needs.values())):
        shop.library(f"lib{name}.so", CONSTRUCTOR.format(name))
    for name, wanted in needs.items():
        libraries = [f"lib{other}.so" for other in wanted]
        shop.library(f"lib{name}.so", CONSTRUCTOR.format(name), libraries, HERE)
    shop.program("tool", [f"lib{name}.so" for name in start], HERE)

    theirs = list(initialised(shop, "tool"))

    _, resolution = shop.predict("tool")
    ours = [Path(node.path).name for node in resolution.initialisers]
    assert [name for name in ours if name in theirs] == theirs
    assert len(theirs) >= len(needs)
