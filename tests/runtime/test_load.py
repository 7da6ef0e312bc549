"""Finding and opening a library, and every way in which that fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import libferry as ferry
from libferry.build import compile_library

from .conftest import HEADER, Compile

ADD = "int add(int a, int b);"


def refused(*arguments: object, **options: object) -> ferry.FerryError:
    """The error of a load that must fail; it says what to do next."""
    with pytest.raises(ferry.FerryError) as caught:
        ferry.load(*arguments, **options)  # type: ignore[arg-type]
    assert caught.value.hint
    return caught.value


def test_a_library_says_where_it_lives(library_file: Path) -> None:
    with ferry.load(library_file, header=ADD) as here:
        assert (here.isolation, here.abi, here.pid) == ("in-process", "x86_64-sysv", os.getpid())
    with ferry.load(library_file, header=ADD, isolation="worker") as there:
        assert (there.isolation, there.abi) == ("worker", "x86_64-sysv")
        assert there.pid != os.getpid()
        assert f"worker {there.pid}" in repr(there)


def test_a_soname_is_found_where_the_system_looks() -> None:
    header = "const char *zlibVersion(void);"
    with ferry.load("libz.so.1", header=header) as lib:
        assert lib.zlibVersion().startswith("1.")
        assert lib.binary.path.is_absolute()


def test_ld_library_path_comes_first(
    library_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(library_file, tmp_path / "libz.so.1")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    with ferry.load("libz.so.1", header=ADD, isolation="worker") as lib:
        assert lib.binary.path == tmp_path / "libz.so.1"
        assert lib.add(1, 2) == 3


def test_the_current_folder_is_no_place_for_a_soname(
    library_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(library_file, tmp_path / "libmine.so")
    monkeypatch.chdir(tmp_path)
    error = refused("libmine.so")
    assert isinstance(error, ferry.LibraryNotFound)
    assert "./libmine.so" in error.hint
    ferry.load("./libmine.so", header=ADD).close()


def test_dir_lists_exports_and_symbol_gives_an_address(lib: ferry.Library) -> None:
    assert {"add", "greeting", "thing_new"} <= set(dir(lib))
    assert lib.symbol("add") > 0


def test_a_missing_symbol_offers_near_ones(lib: ferry.Library) -> None:
    with pytest.raises(ferry.SymbolNotFound) as caught:
        lib.symbol("greetings")
    assert "greeting" in caught.value.hint
    with pytest.raises(ferry.SymbolNotFound):
        lib.function("int ad(int, int)")
    assert not hasattr(lib, "nowhere_at_all")


def test_an_export_without_a_declaration_asks_for_one(library_file: Path) -> None:
    with (
        ferry.load(library_file) as lib,
        pytest.raises(ferry.SymbolNotFound, match="types are not known") as caught,
    ):
        lib.add(1, 2)
    assert "lib.function(" in caught.value.hint


def test_a_function_is_declared_late_and_again(lib: ferry.Library) -> None:
    function = lib.function("int add(int x, int y)")
    assert function(1, 2) == lib.add(1, 2) == 3
    short = lib.function("int add(int, int);", gil="keep")
    assert short(2, 2) == 4


def test_a_name_that_a_method_has_is_reached_by_item(compile_c: Compile) -> None:
    file = compile_c("int close(int a) { return a + 1; }")
    with ferry.load(file, header="int close(int a);") as lib:
        assert lib["close"](1) == 2


def test_a_header_may_be_a_file(library_file: Path, tmp_path: Path) -> None:
    (tmp_path / "lib.h").write_text(f"#ifndef LIB_H\n#define LIB_H\n{ADD} // sum\n#endif\n")
    for header in (tmp_path / "lib.h", str(tmp_path / "lib.h")):
        with ferry.load(library_file, header=header) as lib:
            assert lib.add(20, 22) == 42
    assert isinstance(refused(library_file, header="no/such.h"), ferry.DeclarationError)


@pytest.mark.parametrize(
    "header",
    [
        "int add(int",
        "int add(int) {",
        "add",
        "foo add(int);",
        "#if 1 +\nint add(int);\n#endif",
        "(((",
    ],
)
def test_malformed_c_is_one_clear_error(library_file: Path, header: str) -> None:
    assert isinstance(refused(library_file, header=header), ferry.DeclarationError)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("struct p f(void);", "struct p, which is not defined"),
        ("int __vectorcall f(int);", "__vectorcall"),
        ("_Float16 f(void);", "_Float16"),
    ],
)
def test_what_cannot_be_called_is_refused_when_declared(
    library_file: Path, header: str, reason: str
) -> None:
    error = refused(library_file, header=header)
    assert isinstance(error, ferry.DeclarationError)
    assert reason in str(error)


def test_files_that_are_no_libraries(tmp_path: Path, library_file: Path) -> None:
    (tmp_path / "empty.so").touch()
    (tmp_path / "text.so").write_text("hello")
    (tmp_path / "noise.so").write_bytes(bytes(range(256)) * 20)
    for name in ("empty.so", "text.so", "noise.so"):
        assert isinstance(refused(tmp_path / name), ferry.BadBinary)
    assert isinstance(refused(tmp_path), ferry.BadBinary)
    assert isinstance(refused(tmp_path / "nothing.so"), ferry.LibraryNotFound)


def test_a_library_cut_anywhere_is_an_error_or_whole(library_file: Path, tmp_path: Path) -> None:
    data = library_file.read_bytes()
    cut = tmp_path / "cut.so"
    outcomes = set()
    for length in [*range(0, 1024, 7), *range(1024, len(data), max(1, len(data) // 60))]:
        cut.write_bytes(data[:length])
        try:
            with ferry.load(cut, header=ADD, isolation="worker") as lib:
                outcomes.add(lib.add(1, 2))
        except (ferry.BadBinary, ferry.LoadError):
            outcomes.add(None)
    assert outcomes <= {3, None}


@pytest.mark.parametrize("isolation", ["in-process", "worker"])
def test_a_missing_dependency_is_named(compile_c: Compile, tmp_path: Path, isolation: str) -> None:
    needed = compile_c(
        "int base(void) { return 1; }", "-Wl,-soname,libgone.so.1", name="libgone.so"
    )
    file = compile_c("int base(void); int top(void) { return base(); }", str(needed))
    error = refused(file, isolation=isolation)
    assert isinstance(error, ferry.LoadError)
    assert "libgone.so.1" in str(error)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), 1e300])
def test_a_timeout_that_is_none(library_file: Path, timeout: float) -> None:
    assert "timeout is" in str(refused(library_file, isolation="worker", timeout=timeout))


def test_isolation_that_cannot_be(library_file: Path, compile_c: Compile) -> None:
    assert "isolation is 'moon'" in str(refused(library_file, isolation="moon"))
    foreign = compile_c("int f(void) { return 1; }", target="aarch64-linux-gnu.2.17")
    error = refused(foreign, isolation="in-process")
    assert "aarch64-aapcs64" in str(error)
    assert "isolation='auto'" in error.hint


@pytest.fixture
def empty_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without qemu."""
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("empty_path")
def test_another_cpu_without_a_runner_names_the_package(compile_c: Compile) -> None:
    error = refused(compile_c("int f(void) { return 1; }", target="aarch64-linux-gnu.2.17"))
    assert isinstance(error, ferry.NoRunner)
    assert "qemu-aarch64" in str(error)
    assert "apt-get install qemu-user-static" in error.hint


def test_a_cpu_without_a_worker_says_so(library_file: Path, tmp_path: Path) -> None:
    data = bytearray(library_file.read_bytes())
    data[18:20] = (21).to_bytes(2, "little")  # e_machine: EM_PPC64
    (tmp_path / "power.so").write_bytes(data)
    error = refused(tmp_path / "power.so")
    assert isinstance(error, ferry.NoRunner)
    assert "ppc64" in str(error)


@pytest.mark.needs("qemu-aarch64-static", install="apt-get install qemu-user-static")
def test_a_sysroot_without_a_c_library_says_so(compile_c: Compile, tmp_path: Path) -> None:
    file = compile_c("int f(void) { return 1; }", target="aarch64-linux-gnu.2.17")
    error = refused(file, sysroot=tmp_path)
    assert "ld-linux-aarch64.so.1" in str(error)


def test_a_native_library_uses_the_sysroot_it_is_given(library_file: Path) -> None:
    """A sysroot of this system's own C library: the worker starts through its loader."""
    with ferry.load(library_file, header=HEADER, sysroot="/") as lib:
        assert lib.isolation == "worker"
        assert lib.add(1, 2) == 3
        assert lib.length("abc") == 3


@pytest.mark.needs("/usr/lib/wine/wine64", install="apt-get install wine64")
def test_a_missing_dll_is_named_though_windows_does_not(tmp_path: Path) -> None:
    base = compile_library("int base(void) { return 1; }", "x86_64-windows", tmp_path, "base")
    source = "__declspec(dllimport) int base(void); int top(void) { return base(); }"
    (tmp_path / "top.c").write_text(source)
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-windows-gnu", "-shared"]
    command += ["-nostdlib", "-Wl,-e,top", "-Wl,--export-all-symbols", "-o", "top.dll", "top.c"]
    subprocess.run([*command, str(base)], check=True, cwd=tmp_path)
    base.unlink()
    error = refused(tmp_path / "top.dll")
    assert isinstance(error, ferry.LoadError)
    assert "missing: base.dll" in str(error)


@pytest.mark.needs(
    "/usr/lib/x86_64-linux-gnu/wine/i386-windows/ntdll.dll", install="tools/setup-debian"
)
def test_a_stdcall_function_is_found_by_its_plain_name(tmp_path: Path) -> None:
    source = "int __stdcall both(int a, double b) { return a + (int)b; }"
    file = compile_library(source, "i386-windows", tmp_path, "std")
    with ferry.load(file, header="int __stdcall both(int a, double b);") as lib:
        assert "both@12" in dir(lib)
        assert lib.both(40, 2.5) == 42
