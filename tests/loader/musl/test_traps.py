"""What musl does otherwise than people expect, one trap each, judged by real loaders.

``same`` runs the program under musl 1.2.3, 1.2.5 and 1.2.6 and asserts that what we say of
it is what they do: the libraries, in their order, or the first complaint.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from libferry.loader.model import Resolution
from libferry.loader.musl import rules
from tests.loader.musl.loaders import LOADERS, NEEDS, Bench, version_of

pytestmark = NEEDS

CALLS_LIBC = 'int puts(const char *); int f(void) { return puts(""); }'


@pytest.fixture(params=["x86_64", "aarch64"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(tmp_path, request.param)


@pytest.fixture
def amd64(tmp_path: Path) -> Bench:
    """For traps that do not depend on the CPU."""
    return Bench(tmp_path)


def ids(found: list[Resolution]) -> set[str]:
    return {problem.id for one in found for problem in one.problems}


def test_a_library_that_needs_musl_alone_loads(bench: Bench) -> None:
    library = bench.library("liba.so", CALLS_LIBC, needs=("libc.so",))
    bench.same(library, bench.program())


def test_libraries_are_loaded_breadth_first(amd64: Bench) -> None:
    for name, needs in (("libd.so", ()), ("libc1.so", ("libd.so",)), ("libb.so", ("libe.so",))):
        amd64.library(name, needs=needs)
    amd64.library("libe.so")
    top = amd64.library("liba.so", needs=("libb.so", "libc1.so"), rpath="$ORIGIN")
    (said, *_) = amd64.same(top, amd64.program())
    names = [node.name.rpartition("/")[2] for node in said.order]
    assert names == ["liba.so", "libb.so", "libc1.so", "libe.so", "libd.so"]


def test_runpath_is_inherited(amd64: Bench) -> None:
    """In glibc, liba's RUNPATH does not count for what libb needs."""
    amd64.library("inside/libb.so", needs=("libdeep.so",))
    amd64.library("inside/libdeep.so")
    top = amd64.library("liba.so", needs=("libb.so",), rpath="$ORIGIN/inside")
    assert not ids(amd64.same(top, amd64.program()))


def test_the_programs_rpath_counts_for_what_is_opened(amd64: Bench) -> None:
    amd64.library("inside/libb.so")
    top = amd64.library("liba.so", needs=("libb.so",))
    program = amd64.program(rpath="$ORIGIN/inside")
    assert not ids(amd64.same(top, program))


def test_ld_library_path_comes_before_rpath(amd64: Bench) -> None:
    """In glibc, it comes behind RPATH."""
    for folder in ("environment", "rpath"):
        amd64.library(f"{folder}/libb.so")
    top = amd64.library(
        "liba.so", "", "-Wl,--disable-new-dtags", needs=("libb.so",), rpath="$ORIGIN/rpath"
    )
    amd64.environment["LD_LIBRARY_PATH"] = str(amd64.folder / "environment")
    (said, *_) = amd64.same(top, amd64.program())
    assert said.order[1].path == str(amd64.folder / "environment/libb.so")
    assert said.order[1].how == "LD_LIBRARY_PATH"


@pytest.mark.parametrize("path", ["", ":", "nowhere::", "\n"])
def test_an_empty_element_is_not_the_working_directory(amd64: Bench, path: str) -> None:
    amd64.library("libb.so")
    top = amd64.library("sub/liba.so", needs=("libb.so",))
    amd64.environment["LD_LIBRARY_PATH"] = path
    assert ids(amd64.same(top, amd64.program())) == {"missing-library"}


def test_a_line_break_separates_folders(amd64: Bench) -> None:
    amd64.library("inside/libb.so")
    top = amd64.library("liba.so", needs=("libb.so",))
    amd64.environment["LD_LIBRARY_PATH"] = f"/nowhere\n{amd64.folder}/inside"
    assert not ids(amd64.same(top, amd64.program()))


@pytest.mark.parametrize("token", ["$LIB", "${PLATFORM}", "$origin", "$"])
def test_any_other_token_makes_the_whole_list_void(amd64: Bench, token: str) -> None:
    amd64.library("libb.so")
    top = amd64.library("liba.so", needs=("libb.so",), rpath=f"$ORIGIN:/opt/{token}")
    assert ids(amd64.same(top, amd64.program())) == {"missing-library"}


def test_origin_in_braces_and_in_the_middle(amd64: Bench) -> None:
    amd64.library("sub/libb.so")
    top = amd64.library("liba.so", needs=("libb.so",), rpath="/nowhere:${ORIGIN}/./sub/../sub")
    assert not ids(amd64.same(top, amd64.program()))


def test_no_token_in_a_needed_name(amd64: Bench) -> None:
    """In glibc, $ORIGIN in a needed name is filled in."""
    amd64.library("libb.so")
    top = amd64.library("liba.so", needs=("$ORIGIN/libb.so",))
    assert ids(amd64.same(top, amd64.program())) == {"missing-library"}


def test_a_needed_path_is_relative_to_the_working_directory(amd64: Bench) -> None:
    amd64.library("sub/libb.so")
    top = amd64.library("elsewhere/liba.so", needs=("sub/libb.so",))
    found = amd64.same(top, amd64.program())
    assert found[0].order[1].path == "sub/libb.so"


def test_a_soname_means_nothing(amd64: Bench) -> None:
    """In glibc, a loaded library's soname satisfies whoever needs that name."""
    amd64.library("libreal.so", "", "-Wl,-soname,libother.so")
    top = amd64.library("liba.so", needs=("libreal.so", "libother.so"), rpath="$ORIGIN")
    assert ids(amd64.same(top, amd64.program())) == {"missing-library"}


def test_a_library_loaded_by_its_path_is_not_known_by_its_name(amd64: Bench) -> None:
    amd64.library("hidden/libb.so")
    top = amd64.library(
        "liba.so", needs=(str(amd64.folder / "hidden/libb.so"), "libb.so"), rpath="$ORIGIN"
    )
    assert ids(amd64.same(top, amd64.program())) == {"missing-library"}


def test_two_names_of_one_file_are_one_library(amd64: Bench) -> None:
    real = amd64.library("libb.so.1")
    (amd64.folder / "libb.so").symlink_to(real.name)
    os.link(real, amd64.folder / "libhard.so")
    shutil.copy(real, amd64.folder / "libcopy.so")
    needs = ("libb.so.1", "libb.so", "libhard.so", "libcopy.so")
    top = amd64.library("liba.so", needs=needs, rpath="$ORIGIN")
    (said, *_) = amd64.same(top, amd64.program())
    assert [node.state for node in said.root.needs] == ["loaded", "again", "again", "loaded"]


@pytest.mark.parametrize(
    "name",
    ["libc.so.6", "libpthread.so.0", "libm.so.6", "libdl.so.2", "librt.so.1", "libutil.so.1"],
)
def test_glibcs_names_are_musl_itself(amd64: Bench, name: str) -> None:
    top = amd64.library("liba.so", CALLS_LIBC, needs=(name,))
    (said, *_) = amd64.same(top, amd64.program())
    assert said.root.needs[0].how == "musl itself"


def test_a_name_that_only_looks_like_one_of_those_is_searched(amd64: Bench) -> None:
    amd64.library("libmagic.so.1")
    top = amd64.library("liba.so", needs=("libmagic.so.1", "libcap.so.2"), rpath="$ORIGIN")
    assert ids(amd64.same(top, amd64.program())) == {"missing-library"}


def test_glibcs_loader_is_none_of_those(amd64: Bench) -> None:
    top = amd64.library("liba.so", needs=("libc.so.6", "ld-linux-x86-64.so.2.none"))
    assert ids(amd64.same(top, amd64.program())) == {"glibc-on-musl"}


TAKES_F = "extern int f; int *g(void) { return &f; }"


def test_symbol_versions_are_not_looked_at(amd64: Bench) -> None:
    """The version that liba wants is none that libb has."""
    for folder, version in (("old", "V1"), ("new", "V2")):
        script = amd64.folder / version
        script.write_text(f"{version} {{ f; }};")
        options = (f"-Wl,--version-script={script}", "-Wl,-soname,libb.so")
        amd64.library(f"{folder}/libb.so", "int f = 1;", *options)
    old = str(amd64.folder / "old/libb.so")
    top = amd64.library("liba.so", TAKES_F, "-Wl,--no-as-needed", old, rpath="$ORIGIN/new")
    found = amd64.same(top, amd64.program())
    assert not ids(found)
    binary = found[0].root.binary
    assert binary is not None
    assert [need.version for need in binary.versions_needed] == ["V1"]


def test_an_old_version_of_a_symbol_is_never_found(amd64: Bench) -> None:
    (amd64.folder / "map").write_text("V1 { f; };")
    source = '__asm__(".symver f_1, f@V1"); int f_1 = 1;'
    amd64.library("libb.so", source, f"-Wl,--version-script={amd64.folder}/map")
    top = amd64.library("liba.so", TAKES_F, needs=("libb.so",), rpath="$ORIGIN")
    assert ids(amd64.same(top, amd64.program())) == {"missing-symbol"}


CHOOSES = "static int one(void) { return 1; } static void *pick(void) { return one; }"


def test_a_function_that_chooses_its_implementation_is_not_found(amd64: Bench) -> None:
    """GNU's IFUNC: musl has neither the symbol type nor the relocation."""
    amd64.library("libb.so", f'{CHOOSES} int f(void) __attribute__((ifunc("pick")));')
    source = "int f(void); int g(void) { return f(); }"
    top = amd64.library("liba.so", source, needs=("libb.so",), rpath="$ORIGIN")
    assert ids(amd64.same(top, amd64.program())) == {"missing-symbol"}


def test_a_hidden_function_that_chooses_needs_an_unknown_relocation(amd64: Bench) -> None:
    hidden = '__attribute__((visibility("hidden"), ifunc("pick"))) int f(void);'
    top = amd64.library("liba.so", f"{CHOOSES} {hidden} int g(void) {{ return f(); }}")
    assert ids(amd64.same(top, amd64.program())) == {"unsupported-relocation"}


MISSING = "int nowhere(void); int f(void) { return nowhere(); }"


def test_a_missing_symbol_is_found_out_at_once(bench: Bench) -> None:
    top = bench.library("liba.so", MISSING, needs=("libc.so",))
    assert ids(bench.same(top, bench.program())) == {"missing-symbol"}


def test_dlopen_may_defer_it(bench: Bench) -> None:
    top = bench.library("liba.so", MISSING, needs=("libc.so",))
    assert ids(bench.same(top, bench.program(), now=False)) == {"missing-symbol-later"}


def test_but_not_of_a_library_that_wants_all_at_once(amd64: Bench) -> None:
    top = amd64.library("liba.so", MISSING, "-Wl,-z,now")
    assert ids(amd64.same(top, amd64.program(), now=False)) == {"missing-symbol"}


def test_nor_an_address_in_data(amd64: Bench) -> None:
    top = amd64.library("liba.so", "int nowhere(void); int (*f)(void) = nowhere;")
    assert ids(amd64.same(top, amd64.program(), now=False)) == {"missing-symbol"}


def test_a_weak_symbol_may_be_missing(amd64: Bench) -> None:
    source = "__attribute__((weak)) int nowhere(void); int f(void) { return nowhere ? 1 : 0; }"
    assert not ids(amd64.same(amd64.library("liba.so", source), amd64.program()))


def test_a_symbol_that_only_glibc_has(bench: Bench) -> None:
    source = "void *__memcpy_chk(void *, void *, long, long);"
    source += " void *f(void) { return __memcpy_chk(0, 0, 0, 0); }"
    top = bench.library("liba.so", source, needs=("libc.so.6",))
    assert ids(bench.same(top, bench.program())) == {"missing-symbol"}


@pytest.mark.parametrize("name", ["open64", "__xstat64", "readdir64_r", "fopen64", "statx64"])
def test_names_for_large_files(amd64: Bench, name: str) -> None:
    """Exported up to 1.2.3; since 1.2.4 the loader takes the 64 off, if it knows the name."""
    top = amd64.library("liba.so", f"int {name}(void); int f(void) {{ return {name}(); }}")
    amd64.same(top, amd64.program())


@pytest.mark.parametrize("name", ["statx", "preadv2", "reallocarray", "qsort_r", "posix_getdents"])
def test_functions_came_with_versions(amd64: Bench, name: str) -> None:
    top = amd64.library("liba.so", f"int {name}(void); int f(void) {{ return {name}(); }}")
    amd64.same(top, amd64.program())


TLS = "__thread int t; int *f(void) { return &t; }"
INITIAL_EXEC = f'__attribute__((tls_model("initial-exec"))) {TLS}'


def test_initial_exec_tls_is_refused_by_dlopen(bench: Bench) -> None:
    top = bench.library("liba.so", INITIAL_EXEC)
    assert ids(bench.same(top, bench.program())) == {"static-tls-exhausted"}


def test_initial_exec_tls_of_a_library_there_from_the_start(bench: Bench) -> None:
    bench.library("liba.so", INITIAL_EXEC)
    program = bench.program("started", needs=("liba.so",), rpath="$ORIGIN")
    assert not ids(bench.same(program))


def test_dynamic_tls_loads(bench: Bench) -> None:
    assert not ids(bench.same(bench.library("liba.so", TLS), bench.program()))


def test_a_text_file_ends_the_search(amd64: Bench) -> None:
    """In glibc, too; but there a library for another CPU is passed over."""
    (amd64.folder / "first").mkdir()
    (amd64.folder / "first/libb.so").write_text("GROUP ( libb.so.1 ) and more, so that it is long")
    amd64.library("second/libb.so")
    top = amd64.library("liba.so", needs=("libb.so",), rpath="$ORIGIN/first:$ORIGIN/second")
    assert ids(amd64.same(top, amd64.program())) == {"not-a-library"}


def test_a_folder_ends_the_search(amd64: Bench) -> None:
    (amd64.folder / "first/libb.so").mkdir(parents=True)
    amd64.library("second/libb.so")
    top = amd64.library("liba.so", needs=("libb.so",), rpath="$ORIGIN/first:$ORIGIN/second")
    assert ids(amd64.same(top, amd64.program())) == {"not-a-library"}


def test_another_cpus_library_is_taken_and_fails_then(tmp_path: Path) -> None:
    """glibc passes it over: "wrong ELF class" or machine. musl does not look."""
    amd64, arm64 = Bench(tmp_path, "x86_64"), Bench(tmp_path / "arm64", "aarch64")
    (tmp_path / "arm64").mkdir()
    arm64.library("libb.so", CALLS_LIBC, needs=("libc.so",))
    amd64.library("right/libb.so")
    top = amd64.library("liba.so", needs=("libb.so",), rpath="$ORIGIN/arm64:$ORIGIN/right")
    assert "wrong-machine" in ids(amd64.same(top, amd64.program()))


def test_a_library_of_the_other_class_is_taken_and_fails_then(amd64: Bench) -> None:
    amd64.library("first/libb.so", "", "-m32")
    amd64.library("second/libb.so")
    top = amd64.library("liba.so", needs=("libb.so",), rpath="$ORIGIN/first:$ORIGIN/second")
    assert ids(amd64.same(top, amd64.program())) == {"wrong-class"}


def test_packed_relocations_before_1_2_4_are_not_applied(amd64: Bench) -> None:
    """And nothing is said: the constructor calls an address that nobody filled in."""
    source = "static int x; int *volatile p = &x; __attribute__((constructor)) static void f(void)"
    source += " { *p = 1; }"
    top = amd64.library("liba.so", source, "-Wl,-z,pack-relative-relocs")
    found = amd64.same(top, amd64.program())
    for loader, said in zip(LOADERS["x86_64"], found, strict=True):
        assert bool(said.problems) == (version_of(loader) < rules.RELR.since)


@pytest.mark.parametrize("page_size", [4096, 65536])
@pytest.mark.parametrize("aligned", [4096, 65536])
def test_segments_that_are_aligned_to_smaller_pages(
    tmp_path: Path, page_size: int, aligned: int
) -> None:
    """musl maps whole pages of the file, and what lies there then is not what should."""
    bench = Bench(tmp_path, "aarch64", page_size=page_size)
    source = f"int data[2000] = {{1}}; void *const p = data; {CALLS_LIBC}"
    top = bench.library("liba.so", source, f"-Wl,-z,max-page-size={aligned}", needs=("libc.so",))
    assert ids(bench.same(top, bench.program())) == (
        {"page-size"} if aligned < page_size else set()
    )


def test_an_executable_stack_is_ignored(amd64: Bench) -> None:
    top = amd64.library("liba.so", CALLS_LIBC, "-Wl,-z,execstack", needs=("libc.so",))
    assert not ids(amd64.same(top, amd64.program()))


def test_nodeflib_is_ignored(amd64: Bench) -> None:
    top = amd64.library("liba.so", CALLS_LIBC, "-Wl,-z,nodefaultlib", needs=("libc.so",))
    assert not ids(amd64.same(top, amd64.program()))


def test_a_path_longer_than_511_bytes_is_passed_over(amd64: Bench) -> None:
    long = "/".join(["x" * 100] * 5)
    amd64.library(f"{long}/libb.so")
    top = amd64.library("liba.so", needs=("libb.so",), rpath=f"$ORIGIN/{long}")
    found = amd64.same(top, amd64.program())
    assert ids(found) == {"missing-library"}
    assert "skipped" in {step.outcome for step in found[0].root.needs[0].tried}


def test_an_absent_preload_is_not_reported(amd64: Bench) -> None:
    preload = amd64.library("libp.so")
    amd64.environment["LD_PRELOAD"] = f"/nowhere.so:{preload} libnone.so"
    (said, *_) = amd64.same(amd64.program())
    assert said.order[1].path == str(preload)


def test_a_path_file_replaces_the_default_folders(amd64: Bench) -> None:
    """It lies beside the folder of the loader itself."""
    top = amd64.library("liba.so", needs=("libb.so",))
    amd64.library("folders/libb.so")
    program = amd64.program()
    for number, loader in enumerate(LOADERS["x86_64"]):
        root = amd64.folder / f"root{number}"
        (root / "lib").mkdir(parents=True)
        (root / "etc").mkdir()
        copy = shutil.copy(loader, root / "lib/ld-musl-x86_64.so.1")
        (root / "etc/ld-musl-x86_64.path").write_text(f"/nowhere\n{amd64.folder}/folders\n")
        loaded, errors = amd64.ask(Path(copy), program, "now", top)
        said = amd64.predict(Path(copy), top, program)
        assert errors == []
        assert said.loads
        assert loaded == list(dict.fromkeys(n.path for n in (*said.scope, *said.order)))
        assert said.root.needs[0].how == str(root / "etc/ld-musl-x86_64.path")


def test_a_second_libc_by_its_path_is_musl_itself(amd64: Bench) -> None:
    """Whatever has stdin and __libc_start_main is taken for a C library."""
    other = amd64.library("other.so", "int stdin = 1; int __libc_start_main = 1;")
    top = amd64.library("liba.so", CALLS_LIBC, needs=(str(other),))
    (said, *_) = amd64.same(top, amd64.program())
    assert said.root.needs[0].how == "musl itself"


def test_initialisers_run_in_the_order_of_need(bench: Bench) -> None:
    needs = {
        "liba": ("libb", "libc1"),
        "libb": ("libd",),
        "libc1": ("libb", "libe"),
        "libd": ("libb",),
        "libe": (),  # libb and libd need each other
    }
    for name, others in needs.items():
        source = "int puts(const char *); __attribute__((constructor)) static void i(void)"
        source += f' {{ puts("ran {name}"); }}'
        sonames = (*(f"{other}.so" for other in others), "libc.so")
        bench.library(f"{name}.so", source, needs=sonames, rpath="$ORIGIN")
    top, program = bench.folder / "liba.so", bench.program()
    for loader in LOADERS[bench.cpu]:
        ran = bench.output(loader, program, "now", top)
        said = bench.predict(loader, top, program)
        names = [Path(node.path).stem for node in said.initialisers]
        assert len(ran) == len(needs)
        assert [name for name in names if name in needs] == ran


def test_a_program_whose_loader_is_not_there_does_not_start(amd64: Bench) -> None:
    program = amd64.program(interpreter="/lib64/ld-linux-x86-64.so.2.none")
    said = amd64.predict(LOADERS["x86_64"][0], program)
    assert [problem.id for problem in said.problems] == ["glibc-on-musl"]
    with pytest.raises(FileNotFoundError):
        subprocess.run([program], check=False)


def test_a_second_name_makes_the_first_one_known(amd64: Bench) -> None:
    """What was opened by its path is known by that file's name once a link to it is found."""
    real = amd64.library("real/libb.so", needs=("liblink.so", "libb.so"), rpath="$ORIGIN/../other")
    other = amd64.library("other/libb.so")
    (other.parent / "liblink.so").symlink_to(real)
    (said, *_) = amd64.same(real, amd64.program())
    assert [node.state for node in said.root.needs] == ["again", "again"]


def test_a_host_does_not_start_if_what_is_preloaded_lacks_a_library(amd64: Bench) -> None:
    preloaded = amd64.library("libp.so", needs=("libnone.so",))
    amd64.environment["LD_PRELOAD"] = str(preloaded)
    found = amd64.same(amd64.library("liba.so"), amd64.program())
    assert ids(found) == {"missing-library"}
