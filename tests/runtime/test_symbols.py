"""A function may be exported with a version, by number, or by a name that C++ made."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import libferry as ferry

from .conftest import Compile

NATIVE = "x86_64-linux-gnu.2.17"
I386 = pytest.mark.needs("/lib/ld-linux.so.2", install="apt-get install libc6-i386")
AARCH64 = [
    pytest.mark.needs("qemu-aarch64-static", install="apt-get install qemu-user-static"),
    pytest.mark.needs(
        "/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1",
        install="apt-get install libc6-arm64-cross",
    ),
]
WINE = pytest.mark.needs("/usr/lib/wine/wine64", install="apt-get install wine64")
WINE32 = pytest.mark.needs(
    "/usr/lib/x86_64-linux-gnu/wine/i386-windows/ntdll.dll", install="tools/setup-debian"
)

# Each place a library can live in: zig's target, and the isolation.
PLACES = [
    pytest.param((NATIVE, "in-process"), id="in-process"),
    pytest.param((NATIVE, "worker"), id="worker"),
    pytest.param(("x86-linux-gnu.2.17", "worker"), id="i386", marks=I386),
    pytest.param(("aarch64-linux-gnu.2.17", "worker"), id="aarch64", marks=AARCH64),
]

# ---- versions ----

TWO_VERSIONS = """
int old_answer(void) { return 1; }
int new_answer(void) { return 2; }
__asm__(".symver old_answer, answer@VERS_1");
__asm__(".symver new_answer, answer@@VERS_2");
int only_old(void) { return 3; }
__asm__(".symver only_old, retired@VERS_1");
"""


SCRIPT = "VERS_1 { local: old_*; new_*; only_*; }; VERS_2 { } VERS_1;"


@pytest.fixture(params=PLACES, scope="module")
def versioned(
    request: pytest.FixtureRequest, compile_c: Compile, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ferry.Library]:
    target, isolation = request.param
    script = tmp_path_factory.mktemp("versions") / "script"
    script.write_text(SCRIPT)
    file = compile_c(TWO_VERSIONS, f"-Wl,--version-script={script}", target=target)
    with ferry.load(file, isolation=isolation) as lib:
        yield lib


def test_a_plain_name_finds_the_default_version(versioned: ferry.Library) -> None:
    assert versioned.function("int answer(void)")() == 2


@pytest.mark.parametrize(
    ("symbol", "value"), [("answer@VERS_1", 1), ("answer@VERS_2", 2), ("answer@@VERS_2", 2)]
)
def test_each_version_can_be_asked_for(versioned: ferry.Library, symbol: str, value: int) -> None:
    assert versioned.function("int answer(void)", symbol=symbol)() == value


def test_a_header_may_name_the_version(versioned: ferry.Library) -> None:
    old = versioned.function('int first(void) __asm__("answer@VERS_1")')
    assert old() == 1


def test_an_unknown_version_is_answered_with_the_known_ones(versioned: ferry.Library) -> None:
    with pytest.raises(ferry.SymbolNotFound, match="not with that version") as caught:
        versioned.function("int answer(void)", symbol="answer@VERS_3")
    assert caught.value.hint == "it has answer@VERS_1, answer@@VERS_2"


def test_a_name_with_old_versions_only_says_how_to_get_one(versioned: ferry.Library) -> None:
    with pytest.raises(ferry.SymbolNotFound, match="only old versions") as caught:
        versioned.function("int retired(void)")
    assert "symbol='retired@VERS_1'" in caught.value.hint
    assert versioned.function("int retired(void)", symbol="retired@VERS_1")() == 3


def test_a_library_without_versions_has_none(lib: ferry.Library) -> None:
    """glibc's dlvsym would find any."""
    with pytest.raises(ferry.SymbolNotFound, match="without a version"):
        lib.function("int add(int, int)", symbol="add@VERS_1")


@pytest.mark.parametrize("isolation", ["in-process", "worker"])
@pytest.mark.parametrize("symbol", ["memcpy@GLIBC_2.2.5", "memcpy@@GLIBC_2.14"])
def test_both_of_glibcs_memcpy_copy(isolation: str, symbol: str) -> None:
    with ferry.load("libc.so.6", isolation=isolation) as libc:  # type: ignore[arg-type]
        copy = libc.function("void *memcpy(void *, const void *, size_t)", symbol=symbol)
        to = bytearray(5)
        copy(to, b"hello", 5)
        assert to == b"hello"


@pytest.mark.needs("gcc", install="apt-get install gcc")
def test_glibcs_versions_are_those_a_program_is_linked_with(tmp_path: Path) -> None:
    """The linker and the loader find the same address for the same version."""
    source = """
        #include <stdio.h>
        #include <dlfcn.h>
        void *old(void *, const void *, unsigned long);
        __asm__(".symver old, memcpy@GLIBC_2.2.5");
        int main(void)
        {
            Dl_info info;
            dladdr((void *)old, &info);
            printf("%ld\\n", (long)((char *)old - (char *)info.dli_fbase));
        }
    """
    (tmp_path / "program.c").write_text("#define _GNU_SOURCE\n" + source)
    command = ["gcc", "-fPIE", "-o", f"{tmp_path}/program", f"{tmp_path}/program.c", "-ldl"]
    subprocess.run(command, check=True)
    printed = subprocess.run([tmp_path / "program"], capture_output=True, check=True).stdout
    with ferry.load("libc.so.6", isolation="worker") as libc:
        base = libc.symbol("abs") - next(e.address for e in libc.binary.exports if e.name == "abs")
        assert libc.symbol("memcpy@GLIBC_2.2.5") - base == int(printed)


# ---- ordinals ----

DLL = """
int __stdcall DllMainCRTStartup(void *dll, unsigned reason, void *reserved) { return 1; }
int twice(int x) { return 2 * x; }
int thrice(int x) { return 3 * x; }
"""
DEFINITIONS = "LIBRARY numbered\nEXPORTS\n twice @7 NONAME\n thrice @9\n"


@pytest.fixture(
    params=[
        pytest.param("x86_64-windows-gnu", marks=WINE),
        pytest.param("x86-windows-gnu", marks=WINE32),
    ],
    scope="module",
)
def numbered(
    request: pytest.FixtureRequest, compile_c: Compile, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ferry.Library]:
    definitions = tmp_path_factory.mktemp("definitions") / "numbered.def"
    definitions.write_text(DEFINITIONS)
    file = compile_c(DLL, str(definitions), "-nostdlib", target=request.param, name="numbered.dll")
    with ferry.load(file) as lib:
        yield lib


def test_a_function_without_a_name_is_found_by_its_ordinal(numbered: ferry.Library) -> None:
    assert [(e.name, e.ordinal) for e in numbered.binary.exports] == [("#7", 7), ("thrice", 9)]
    assert numbered.function("int f(int)", symbol="#7")(21) == 42
    assert numbered.function("int g(int)", symbol="#9")(21) == 63


@pytest.mark.parametrize("symbol", ["#8", "#65543", "#7x", "#", "twice"])
def test_an_ordinal_that_is_not_there_is_an_error(numbered: ferry.Library, symbol: str) -> None:
    with pytest.raises(ferry.SymbolNotFound, match="does not export it"):
        numbered.function("int f(int)", symbol=symbol)


def test_elsewhere_there_are_no_ordinals(lib: ferry.Library) -> None:
    with pytest.raises(ferry.SymbolNotFound, match=r"this is no DLL \(elf\)"):
        lib.function("int f(int)", symbol="#7")


# ---- C++ ----

CXX = """
namespace math {
    int add(int a, int b) { return a + b; }
    double add(double a, double b) { return a + b; }
    int counter = 7;
}
int twice(int x) { return 2 * x; }
"""


@pytest.fixture(params=PLACES, scope="module")
def cxx(
    request: pytest.FixtureRequest, compile_c: Compile, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ferry.Library]:
    target, isolation = request.param
    source = tmp_path_factory.mktemp("cxx") / "source.cc"
    source.write_text(CXX)
    with ferry.load(compile_c("", str(source), target=target), isolation=isolation) as lib:
        yield lib


def test_a_function_of_cxx_is_called_by_its_mangled_name(cxx: ferry.Library) -> None:
    assert cxx.function("int add(int, int)", symbol="_ZN4math3addEii")(40, 2) == 42


@pytest.mark.needs("pydemumble", install="pip install 'libferry[demangle]'")
def test_or_by_its_signature(cxx: ferry.Library) -> None:
    add = cxx.function("int add_int(int, int)", symbol="math::add(int, int)")
    add_double = cxx.function(
        "double add_double(double, double)", symbol="math::add(double,double)"
    )
    assert (add(40, 2), add_double(0.5, 0.25)) == (42, 0.75)


@pytest.mark.needs("pydemumble", install="pip install 'libferry[demangle]'")
def test_a_signature_that_is_not_there_is_answered_with_those_that_are(
    cxx: ferry.Library,
) -> None:
    with pytest.raises(ferry.SymbolNotFound) as caught:
        cxx.function("int add(int)", symbol="math::add(int)")
    assert "math::add(int, int) (_ZN4math3addEii)" in caught.value.hint


@pytest.mark.needs("pydemumble", install="pip install 'libferry[demangle]'")
def test_a_name_that_cxx_has_mangled_is_a_near_match(cxx: ferry.Library) -> None:
    with pytest.raises(ferry.SymbolNotFound) as caught:
        cxx.function("int twice(int)")
    assert caught.value.hint == ("C++ has mangled it: symbol='_Z5twicei': twice(int) (_Z5twicei)")


def test_a_variable_of_cxx_too(cxx: ferry.Library) -> None:
    cxx.variable("int counter", symbol="_ZN4math7counterE")
    cxx.counter = 8
    assert cxx.counter == 8
