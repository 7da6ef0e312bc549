"""ld.so.cache: what ldconfig wrote, as ldconfig and the loader read it.

Caches are made by the real ldconfig, in each of its formats, and read back by ``ldconfig
-p``. Which entry the loader takes, the loader is asked itself: a copy of it, in which the
name of the cache is that of one in the current folder.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from libferry.loader import Options, locate, resolve
from libferry.loader.glibc.cache import Cache, Entry, choose, compare
from libferry.target.derive import this_machine
from libferry.target.root import RootSystem

from ..crafted.workshop import Loader, Workshop
from .listing import NATIVE, listing

LDCONFIG = "/sbin/ldconfig"
CACHE = "/etc/ld.so.cache"
X86_64 = 0x0303

pytestmark = [
    pytest.mark.needs(LDCONFIG, install="apt-get install libc-bin"),
    pytest.mark.needs("gcc", install="apt-get install gcc libc6-dev"),
]

# `ldconfig -p`: "\tlibz.so.1 (libc6,x86-64, hwcap: "x86-64-v3") => /lib/libz.so.1"
PRINTED = re.compile(r"\t(\S+) \((?P<what>[^)]*)\) => (.*)")


def printed(cache: Path) -> list[tuple[str, str, str]]:
    """Name, folder for better CPUs, and path of each line that ldconfig prints."""
    out = subprocess.run([LDCONFIG, "-p", "-C", cache], capture_output=True, text=True, check=True)
    found = []
    for name, what, path in PRINTED.findall(out.stdout):
        hwcaps = re.search(r'hwcap: "([^"]*)"', what)
        found.append((name, hwcaps[1] if hwcaps else "", path))
    return found


def ours(cache: Path) -> list[tuple[str, str | None, str]]:
    return [(entry.name, entry.folder, entry.path) for entry in Cache(cache.read_bytes())]


def test_the_cache_of_this_machine() -> None:
    expected = printed(Path(CACHE))
    assert ours(Path(CACHE)) == expected
    assert len(expected) > 100


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    """Have ldconfig make a cache of folders with empty libraries, in a format."""

    def make(paths: list[str], *options: str) -> Path:
        shop = Workshop(tmp_path, Loader())
        for path in paths:
            shop.library(path)
        folders = sorted({path.partition("/")[0] for path in paths})
        (tmp_path / "ld.so.conf").write_text("".join(f"{tmp_path}/{one}\n" for one in folders))
        command = [LDCONFIG, "-X", "-C", "cache", "-f", "ld.so.conf", *options]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        return tmp_path / "cache"

    return make


NAMES = ["libz.so.1", "libz.so.10", "libz.so.9", "liba-2.so", "liba.so", "libZ.so", "lib10.so"]


@pytest.mark.parametrize("form", ["new", "compat", "old"])
def test_each_format_of_ldconfig(made: Callable[..., Path], form: str) -> None:
    cache = made([f"folder/{name}" for name in NAMES], "-c", form)
    assert ours(cache) == printed(cache)
    assert {name for name, _, _ in ours(cache)} >= set(NAMES)


@pytest.mark.parametrize("form", ["new", "compat", "old"])
@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_found_by_halves(made: Callable[..., Path], form: str, name: str) -> None:
    cache = made([f"folder/{name}" for name in NAMES], "-c", form)
    expected = [path for one, _, path in printed(cache) if one == name]
    assert [entry.path for entry in Cache(cache.read_bytes()).entries(name)] == expected != []


def test_a_name_that_is_not_there() -> None:
    assert Cache(Path(CACHE).read_bytes()).entries("libnobody.so.77") == []


def test_folders_for_better_cpus_are_named(made: Callable[..., Path]) -> None:
    levels = ("x86-64-v2", "x86-64-v3")
    cache = made(["f/libone.so", *(f"f/glibc-hwcaps/{level}/libone.so" for level in levels)])
    assert ours(cache) == printed(cache)
    assert {folder for name, folder, _ in ours(cache) if name == "libone.so"} == {"", *levels}


def test_any_bytes_are_safe() -> None:
    whole = Path(CACHE).read_bytes()
    for cut in (0, 1, 11, 12, 16, 20, 30, 47, 48, 60, 100, len(whole) // 2, len(whole) - 1):
        for data in (whole[:cut], whole[:cut] + b"\xff" * 64, b"ld.so-1.7.0\0" + whole[:cut]):
            for entry in Cache(data):
                assert isinstance(entry, Entry)
            assert isinstance(Cache(data).entries("libc.so.6"), list)


def test_another_endianness_is_no_cache() -> None:
    assert len(Cache(Path(CACHE).read_bytes(), "big")) == 0


@pytest.mark.parametrize(
    ("left", "right"),
    [("libz.so.1", "libz.so.2"), ("libz.so.9", "libz.so.10"), ("liba.so", "liba-2.so")],
)
def test_names_are_in_ldconfigs_order(made: Callable[..., Path], left: str, right: str) -> None:
    cache = made([f"folder/{left}", f"folder/{right}"])
    names = [name for name, _, _ in printed(cache) if name in (left, right)]
    assert (compare(left.encode(), right.encode()) > 0) is (names == [left, right])


# ---- which entry the loader takes -------------------------------------------------


class WithCache(RootSystem):
    """This machine with another cache."""

    def __init__(self, cache: Path) -> None:
        super().__init__("/", replace(this_machine(), default_paths=()))
        self._cache = cache

    def data(self, path: str) -> bytes | None:
        return self._cache.read_bytes() if path == CACHE else super().data(path)


@pytest.fixture
def judged(tmp_path: Path) -> Callable[[str], str | None]:
    """Where the loader finds a library by the cache of the folder; ours has to be the same."""
    name = b"/etc/ld.so.cache\0"
    mine = b"cache\0".ljust(len(name), b"\0")
    loader = tmp_path / "ld.so"
    loader.write_bytes(Path(NATIVE).read_bytes().replace(name, mine))
    shutil.copymode(NATIVE, loader)

    def judge(library: str) -> str | None:
        shop = Workshop(tmp_path, Loader())
        shop.library(f"link/{library}")
        shop.library("libuser.so", "", [f"link/{library}"])
        answer = listing([str(loader)], "./libuser.so", folder=tmp_path)
        theirs = answer.paths.get(library)
        assert theirs or f"{library}: cannot open" in answer.error
        options = Options(symbols=False)
        resolution = resolve(tmp_path / "libuser.so", WithCache(tmp_path / "cache"), options)
        (node,) = (node for node in resolution.root.needs if node.name == library)
        assert (node.path if node.found else None) == theirs
        return theirs

    return judge


Judge = Callable[[str], str | None]


@pytest.mark.parametrize("form", ["new", "compat", "old"])
def test_the_loader_finds_it_there(
    made: Callable[..., Path], judged: Judge, tmp_path: Path, form: str
) -> None:
    made([f"f/{name}" for name in NAMES], "-c", form)
    assert judged("libz.so.9") == str(tmp_path / "f/libz.so.9")


def test_the_best_folder_that_the_cpu_can_use(made: Callable[..., Path], judged: Judge) -> None:
    levels = ("x86-64-v2", "x86-64-v3", "x86-64-v4")
    made(["f/libone.so", *(f"f/glibc-hwcaps/{level}/libone.so" for level in levels)])
    assert str(judged("libone.so")).endswith("libone.so")


def test_a_cache_that_names_what_is_gone(
    made: Callable[..., Path], judged: Judge, tmp_path: Path
) -> None:
    made(["f/libone.so"])
    (tmp_path / "f/libone.so").unlink()
    assert judged("libone.so") is None


def test_the_first_folder_of_two(made: Callable[..., Path], judged: Judge, tmp_path: Path) -> None:
    made(["a/libone.so", "b/libone.so"])
    assert judged("libone.so") == str(tmp_path / "a/libone.so")


def test_a_damaged_cache_is_none(made: Callable[..., Path], judged: Judge) -> None:
    cache = made(["f/libone.so"])
    cache.write_bytes(cache.read_bytes()[:60])
    assert judged("libone.so") is None


def test_locate_reads_it_too() -> None:
    (entry,) = Cache(Path(CACHE).read_bytes()).entries("libc.so.6")[:1]
    assert choose([entry], X86_64, {}, 0) == entry
    assert locate("libc.so.6", cpu="x86_64") == Path(entry.path)
