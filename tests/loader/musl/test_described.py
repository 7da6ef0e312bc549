"""Alpine is only described: what is surely not there, and what is not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from libferry.loader import Options, Resolution, resolve
from libferry.target import system_for
from tests.loader.musl.loaders import Bench

pytestmark = pytest.mark.needs("gcc", install="apt-get install gcc")


def on_alpine(library: Path, name: str = "alpine-3.20-amd64") -> Resolution:
    return resolve(library, system_for(name, carried=[library]), Options(now=True))


def test_a_library_for_musl_loads(tmp_path: Path) -> None:
    source = 'int puts(const char *); int f(void) { return puts(""); }'
    assert on_alpine(Bench(tmp_path).library("liba.so", source, needs=("libc.so",))).loads is True


def test_one_that_needs_glibcs_loader_does_not(tmp_path: Path) -> None:
    library = Bench(tmp_path).library("liba.so", needs=("libc.so.6", "ld-linux-x86-64.so.2"))
    said = on_alpine(library)
    assert said.loads is False
    assert [problem.id for problem in said.problems] == ["glibc-on-musl"]


def test_a_name_that_this_musl_does_not_have_yet(tmp_path: Path) -> None:
    source = "int statx(void); int f(void) { return statx(); }"
    library = Bench(tmp_path).library("liba.so", source, needs=("libc.so",))
    assert on_alpine(library, "alpine-3.19-amd64").loads is False
    assert on_alpine(library, "alpine-3.20-amd64").loads is True


def test_a_library_that_may_have_been_installed_is_not_known(tmp_path: Path) -> None:
    source = "int png_free(void); int f(void) { return png_free(); }"
    said = on_alpine(Bench(tmp_path).library("liba.so", source, needs=("libpng16.so.16",)))
    assert said.loads is None
    assert [problem.subject for problem in said.problems] == ["libpng16.so.16"]
    assert said.root.needs[0].state == "unknown"


def test_what_is_carried_beside_it_is_found(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.library("libb.so", "int b(void) { return 1; }")
    library = bench.library("liba.so", "int b(void); int f(void) { return b(); }",
                            needs=("libb.so",), rpath="$ORIGIN")  # fmt: skip
    said = on_alpine(library)
    assert said.loads is True
    assert said.order[1].path == str(tmp_path / "libb.so")


@pytest.mark.needs("/usr/lib/x86_64-linux-gnu/libz.so.1", install="apt-get install zlib1g")
def test_this_machines_libz_wants_what_only_glibc_has() -> None:
    said = on_alpine(Path("/usr/lib/x86_64-linux-gnu/libz.so.1"))
    assert said.loads is False
    assert {problem.id for problem in said.problems} == {"glibc-on-musl", "missing-symbol"}
