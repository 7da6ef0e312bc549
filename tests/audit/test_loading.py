"""Why a library does not load, as the audit says it: with what is there instead."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

import libferry
from libferry.audit import Settings
from libferry.loader.model import Options
from tests.audit.compiling import GCC, ZIG, build, cross, findings, rules, the

PY_CODE = "extern long PyLong_AsLong(void *); long f(void *o) { return PyLong_AsLong(o); }"


@GCC
@ZIG
def test_a_newer_glibc_is_named_with_the_one_that_is_there_and_the_symbol(tmp_path: Path) -> None:
    code = "#include <pthread.h>\nint f(pthread_t *t) { return pthread_create(t, 0, 0, 0); }"
    made = build(tmp_path, "libnotice.so", code=code)  # with glibc 2.34 or newer
    report = libferry.check(made, "kylin-v10-server-amd64")
    assert report.answer is False
    assert report.files[0].reason == (
        "no: libnotice.so does not load on kylin-v10-server-amd64: needs GLIBC_2.34, and there it "
        "is GLIBC_2.28 at most (symbol pthread_create)"
    )
    older = cross(tmp_path, "libolder.so", "x86_64-linux-gnu.2.28", code=code)
    assert libferry.check(older, "kylin-v10-server-amd64").answer is True


@ZIG
@pytest.mark.parametrize(
    ("triple", "gone", "top", "target", "advice"),
    [
        ("x86_64-windows-gnu", "gone.dll", "top.dll", "windows-10-x64", "os.add_dll_directory"),
        ("x86_64-macos", "libgone.dylib", "libtop.dylib", "macos-13-x64", "install_name_tool"),
    ],
)
def test_what_to_do_about_a_missing_library_is_of_its_own_format(
    tmp_path: Path, triple: str, gone: str, top: str, target: str, advice: str
) -> None:
    export = "__declspec(dllexport) " if gone.endswith(".dll") else ""
    implib = str(tmp_path / "gone.lib")
    options = (f"-Wl,--out-implib,{implib}",) if gone.endswith(".dll") else ()
    cross(tmp_path, gone, triple, *options, code=f"{export}int gone(void) {{ return 1; }}")
    link = implib if options else str(tmp_path / gone)
    made = cross(tmp_path, top, triple, link, code="int gone(void); int f(void) { return gone(); }")
    (tmp_path / gone).unlink()
    found = [
        finding
        for finding in findings(made, target=target)
        if finding.rule in ("missing-library", "missing-rpath")
    ]
    assert found
    assert all("ORIGIN" not in finding.fix for finding in found)
    assert any(advice in finding.fix for finding in found)


@GCC
def test_a_missing_library_comes_with_the_places(tmp_path: Path) -> None:
    build(tmp_path, "libgone.so", "-Wl,-soname,libgone.so")
    options = ("-Wl,--no-as-needed", f"-L{tmp_path}", "-lgone", "-Wl,-rpath,$ORIGIN/lib")
    made = build(tmp_path, "libb.so", *options)
    found = the("missing-library", findings(made, target="this"))
    assert found.message == "needs libgone.so, which is not there"
    tried = found.evidence["tried"]
    assert isinstance(tried, list)
    assert tried[0]["path"].startswith(str(tmp_path / "lib"))
    with pytest.raises(OSError, match=r"libgone\.so: cannot open"):
        ctypes.CDLL(str(made))


@GCC
def test_what_the_library_of_a_library_misses_is_said_of_that_one(tmp_path: Path) -> None:
    build(tmp_path, "libgone.so", "-Wl,-soname,libgone.so")
    needs = ("-Wl,--no-as-needed", f"-L{tmp_path}", "-Wl,-rpath,$ORIGIN")
    build(tmp_path, "libmiddle.so", *needs, "-lgone")
    top = build(tmp_path, "libtop.so", *needs, "-Wl,--allow-shlib-undefined", "-lmiddle")
    (tmp_path / "libgone.so").unlink()
    found = the("missing-library", findings(top, target="this"))
    assert found.message == "libmiddle.so needs libgone.so, which is not there"


@GCC
def test_symbols_of_python_name_the_program_that_has_them(tmp_path: Path) -> None:
    made = build(tmp_path, "_plugin.so", "-Wl,-z,now", code=PY_CODE)
    found = the("missing-symbol", findings(made, target="this"))
    assert found.message == "needs PyLong_AsLong, which nobody in the process has"
    assert "--host python3" in found.fix
    inside = Settings(Options(host=sys.executable))
    assert "missing-symbol" not in rules(made, inside, target="this")


@GCC
def test_many_missing_symbols_of_a_library_are_one_finding(tmp_path: Path) -> None:
    code = "".join(f"extern int gone{n}; int f{n}(void) {{ return gone{n}; }}" for n in range(9))
    found = the("missing-symbol", findings(build(tmp_path, "liba.so", code=code), target="this"))
    assert found.message == "needs gone0, gone1, gone2 and 6 more, which nobody in the process has"
    assert found.evidence["symbols"] == [f"gone{n}" for n in range(9)]


@GCC
def test_a_version_that_two_libraries_lack_is_said_once(tmp_path: Path) -> None:
    """GLIBC_2.29 has a new pow in libm, and this of posix_spawn's in libc."""
    code = (
        "double pow(double, double);"
        "int posix_spawn_file_actions_addchdir_np(void *, const char *);"
        "double f(double x) { return pow(x, posix_spawn_file_actions_addchdir_np(0, 0)); }"
    )
    made = build(tmp_path, "liba.so", "-lm", code=code)
    found = the("missing-version", findings(made, target="centos-7-amd64"))
    assert found.evidence["versions"] == ["GLIBC_2.29", "GLIBC_2.29"]
    assert "needs GLIBC_2.29, and there it is GLIBC_2.17 at most" in found.message


@GCC
def test_a_function_that_is_only_missed_when_it_is_called_is_a_warning(tmp_path: Path) -> None:
    code = "int gone(void); int f(void) { return gone(); }"
    made = build(tmp_path, "liba.so", "-Wl,-z,lazy", code=code)
    report = libferry.check(made)
    assert report.answer is True
    assert the("missing-symbol-later", list(report.findings)).severity == "warning"
    assert libferry.check(made, strict=True).answer is False
    assert libferry.check(made, now=True).answer is False


@GCC
def test_python_is_told_that_it_does_not_wait_for_the_call(tmp_path: Path) -> None:
    code = "int gone(void); int f(void) { return gone(); }"
    made = build(tmp_path, "liba.so", "-Wl,-z,lazy", code=code)
    said = the("missing-symbol-later", findings(made, target="this")).message
    assert said.endswith("once it is called, or at once by RTLD_NOW, as in Python (--now)")
    with pytest.raises(OSError, match="undefined symbol: gone"):
        ctypes.CDLL(str(made))


@GCC
def test_an_answer_by_what_nobody_checked_says_so(tmp_path: Path) -> None:
    script = tmp_path / "versions"
    script.write_text("GLIBCXX_9.9 { global: count; };")
    options = ("-Wl,-soname,libstdc++.so.6", f"-Wl,--version-script={script}")
    build(tmp_path, "libstdc++.so", *options)
    code = "int count(void); int f(void) { return count(); }"
    made = build(tmp_path / "made", "liba.so", f"-L{tmp_path}", "-lstdc++", code=code)
    doubted = the("missing-version", findings(made, target="ubuntu-26.04-amd64"))
    assert "at most (symbol count); not checked: that libstdc++6 16-2026" in doubted.message
    read = the("missing-version", findings(made, target="debian-13-amd64"))
    assert read.message.endswith("and there it is GLIBCXX_3.4.33 at most (symbol count)")


@ZIG
def test_a_newer_glibc_on_kylin_v10_for_arm64(tmp_path: Path) -> None:
    code = "#include <pthread.h>\nint f(pthread_t *t) { return pthread_create(t, 0, 0, 0); }"
    made = cross(tmp_path, "liba.so", "aarch64-linux-gnu.2.34", code=code)
    report = libferry.check(made, "kylin-v10-server-arm64")
    assert report.answer is False
    assert "needs GLIBC_2.34, and there it is GLIBC_2.28 at most" in report.files[0].reason


@ZIG
@pytest.mark.parametrize("target", ["x86_64-windows-gnu", "aarch64-macos"])
def test_a_file_of_another_system_is_on_the_wrong_platform(target: str, tmp_path: Path) -> None:
    made = cross(tmp_path, "foreign", target)
    report = libferry.check(made, "debian-12-amd64")
    assert report.answer is False
    assert the("wrong-platform", list(report.findings)).message.endswith("and Linux loads none")


@ZIG
def test_a_damaged_part_is_a_finding_and_no_exception(tmp_path: Path) -> None:
    made = cross(tmp_path, "liba.so", "x86_64-linux-gnu", code="#include <stdio.h>\nint f(void)"
                 '{ return puts("x"); }')  # fmt: skip
    data = made.read_bytes()
    assert b"GLIBC_" in data
    for cut in range(64, 4096, 64):
        broken = tmp_path / f"broken{cut}.so"
        broken.write_bytes(data[:cut] + b"\xff" * 64 + data[cut + 64 :])
        try:
            report = libferry.check(broken, "debian-12-amd64")
        except libferry.FerryError:
            continue
        assert report.answer in (True, False, None)


@GCC
@ZIG
def test_a_file_for_another_cpu_is_said_to_be_one_and_not_to_be_missing(tmp_path: Path) -> None:
    made = build(tmp_path, "liba.so")
    found = the("wrong-machine", findings(made, target="debian-13-arm64"))
    assert "it is for x86_64" in found.message
    assert "the target is aarch64" in found.message
    assert "No such file" in str(found.evidence["loader"]), "glibc's own words are kept"


@GCC
@ZIG
def test_a_library_for_another_cpu_that_is_passed_over_is_named_with_its_place(
    tmp_path: Path,
) -> None:
    build(tmp_path, "libdeep.so", "-Wl,-soname,libdeep.so")
    needs = ("-Wl,--no-as-needed", f"-L{tmp_path}", "-ldeep", "-Wl,-rpath,$ORIGIN")
    made = build(tmp_path, "libtop.so", *needs)
    cross(tmp_path, "libdeep.so", "aarch64-linux-gnu.2.36")
    found = the("wrong-machine", findings(made, target="this"))
    assert found.message.startswith("needs libdeep.so, and what is there is for another CPU: ")
    assert found.message.endswith(str(tmp_path / "libdeep.so"))
    with pytest.raises(OSError, match=r"libdeep\.so: cannot open shared object file: No such file"):
        ctypes.CDLL(str(made))
