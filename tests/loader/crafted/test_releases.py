"""What differs between releases of glibc, judged by the loader of each.

2.31 is Debian 11's, 2.41 Debian 13's; sid has the newest. 2.36 is what most machines that
run the tests have.
"""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .releases import ALL, AMD64, loader
from .test_processes import CONSTRUCTOR, GRAPHS
from .workshop import Workshop

pytestmark = pytest.mark.needs("gcc", install="apt-get install gcc libc6-dev")

HERE = "-Wl,-rpath,$ORIGIN"
Release = tuple[str, str]


@pytest.fixture
def at(tmp_path: Path) -> Callable[[Release], Workshop]:
    """A workshop with the loader of a release, and a program ``host``."""

    def make(release: Release) -> Workshop:
        shop = Workshop(tmp_path, loader(*release))
        shop.program("host")
        return shop

    return make


@pytest.mark.parametrize("release", ALL)
def test_runpath_and_what_it_needs(at: Callable[[Release], Workshop], release: Release) -> None:
    shop = at(release)
    shop.library("sub/libtwo.so")
    shop.library("libone.so", "", ["sub/libtwo.so"], HERE + "/sub")
    assert shop.judge_dlopen("libone.so", "host").loaded[-2:] == ("libone.so", "sub/libtwo.so")


@pytest.mark.parametrize("release", ALL)
def test_what_is_missing(at: Callable[[Release], Workshop], release: Release) -> None:
    shop = at(release)
    shop.library("libtwo.so")
    shop.library("libone.so", "", ["libtwo.so"])
    assert "libtwo.so: cannot open" in shop.judge_dlopen("libone.so", "host").error


@pytest.mark.parametrize("release", ALL)
def test_a_missing_symbol(at: Callable[[Release], Workshop], release: Release) -> None:
    shop = at(release)
    shop.library("libone.so", "extern int answer; int *use = &answer;")
    assert "undefined symbol: answer" in shop.judge_dlopen("libone.so", "host").error


@pytest.mark.parametrize("release", ALL)
@pytest.mark.parametrize("size", [64, 1200, 2200])
def test_thread_local_storage_that_comes_later_has_to_fit(
    at: Callable[[Release], Workshop], release: Release, size: int
) -> None:
    shop = at(release)
    model = '__attribute__((tls_model("initial-exec")))'
    shop.library("libone.so", f"__thread char a[{size}] {model}; char *f(void) {{ return a; }}")
    outcome = shop.judge_dlopen("libone.so", "host")
    assert ("static TLS block" in outcome.error) is (size > 2000)


@pytest.mark.parametrize("release", AMD64)
def test_an_executable_stack_is_refused_since_2_41(
    at: Callable[[Release], Workshop], release: Release
) -> None:
    shop = at(release)
    shop.library("libone.so", "", [], "-Wl,-z,execstack")
    outcome = shop.judge_dlopen("libone.so", "host")
    assert ("executable stack" in outcome.error) is (release[0] != "bullseye")


@pytest.mark.parametrize("release", AMD64)
def test_packed_relocations_need_2_36(at: Callable[[Release], Workshop], release: Release) -> None:
    shop = at(release)
    code = '#include <stdio.h>\nint f(void) { return puts(""); } void *p = &p;'
    packed = "-Wl,-z,pack-relative-relocs"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-x", "c", "-", packed, "-o", str(shop.folder / "libone.so")],
        input=code,
        text=True,
        check=True,
    )
    outcome = shop.judge_dlopen("libone.so", "host")
    assert ("version `GLIBC_ABI_DT_RELR' not found" in outcome.error) is (release[0] == "bullseye")


@pytest.mark.parametrize("release", AMD64)
def test_an_alignment_below_a_page_is_an_error_until_2_34(
    at: Callable[[Release], Workshop], release: Release
) -> None:
    shop = at(release)
    shop.library("libone.so")
    file = shop.folder / "libone.so"
    data = bytearray(file.read_bytes())
    start, count = struct.unpack_from("<Q", data, 32)[0], data[56]
    for header in range(start, start + 56 * count, 56):
        if struct.unpack_from("<I", data, header)[0] == 1:  # PT_LOAD
            struct.pack_into("<Q", data, header + 48, 16)  # p_align
    file.write_bytes(data)
    outcome = shop.judge_dlopen("libone.so", "host")
    assert ("not page-aligned" in outcome.error) is (release[0] == "bullseye")


@pytest.mark.parametrize("release", AMD64)
@pytest.mark.parametrize("folder", ["glibc-hwcaps/x86-64-v2", "tls", "x86_64", "tls/x86_64", "avx"])
def test_folders_for_better_cpus(
    at: Callable[[Release], Workshop], release: Release, folder: str
) -> None:
    shop = at(release)
    shop.library("sub/libone.so")
    shop.library(f"sub/{folder}/libone.so")
    shop.library("libuser.so", "", ["sub/libone.so"], HERE + "/sub")
    assert shop.judge_dlopen("libuser.so", "host").loaded[-1].endswith("libone.so")


@pytest.mark.parametrize("release", AMD64)
@pytest.mark.parametrize("graph", GRAPHS)
def test_the_order_of_initialisers(
    at: Callable[[Release], Workshop], release: Release, graph: str
) -> None:
    shop = at(release)
    needs, start = GRAPHS[graph]
    for name in needs.keys() | set("".join(needs.values())):
        shop.library(f"lib{name}.so", CONSTRUCTOR.format(name))
    for name, wanted in needs.items():
        libraries = [f"lib{other}.so" for other in wanted]
        shop.library(f"lib{name}.so", CONSTRUCTOR.format(name), libraries, HERE)
    shop.library("libroot.so", "", [f"lib{name}.so" for name in start], HERE)

    answer = subprocess.run(
        [
            *shop.loader.command,
            "--library-path",
            shop.loader.libraries,
            str(shop.folder / "host"),
            f"now:{shop.folder}/libroot.so",
        ],
        capture_output=True,
        text=True,
        env={"LD_DEBUG": "libs"},
    )
    called = re.findall(r"calling init: (\S+)", answer.stderr)
    theirs = [Path(path).name for path in called if Path(path).is_relative_to(shop.folder)]

    _, resolution = shop.predict("libroot.so", "host")
    ours = [Path(node.path).name for node in resolution.initialisers]
    assert [name for name in ours if name in theirs] == theirs
    assert len(theirs) >= len(needs)


def test_pages_of_64k(tmp_path: Path) -> None:
    for release in ("bullseye", "trixie"):
        shop = Workshop(tmp_path, loader(release, "arm64", "-p", "65536", page_size=65536))
        shop.program("host", [], "-Wl,-z,max-page-size=65536")
        shop.library("libsmall.so", "int x = 1;", [], "-Wl,-z,max-page-size=4096")
        shop.library("liblarge.so", "int x = 1;", [], "-Wl,-z,max-page-size=65536")
        assert shop.judge_dlopen("liblarge.so", "host").loaded
        assert "page-aligned" in shop.judge_dlopen("libsmall.so", "host").error
