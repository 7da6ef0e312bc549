"""lib.loaded and expect=: what code is in the library's process, and whether it should be."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import libferry as ferry
from libferry.guard import files
from libferry.runtime import runner
from tests.processes import children
from tests.runtime.conftest import Compile
from tests.runtime.sides import SIDES, Side, compiled, opened

SOURCE = "EXPORT int add(int a, int b) { return a + b; }"
HEADER = "int add(int a, int b);"


def sha256sum(path: Path | str) -> str:
    done = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True)
    return f"sha256:{done.stdout.split()[0]}"


def names(loaded: tuple[ferry.LoadedFile, ...]) -> set[str]:
    return {Path(file.path).name for file in loaded}


@pytest.fixture
def depending(compile_c: Compile) -> tuple[Path, Path]:
    """A library that needs another one, which lies elsewhere; and that one."""
    inner = compile_c("int inner(void) { return 40; }", "-Wl,-soname,libinner.so", name="inner.so")
    inner = inner.rename(inner.parent / "libinner.so")
    outer = compile_c(
        "int inner(void);\nint add(int a, int b) { return inner() * 0 + a + b; }",
        str(inner),
        f"-Wl,-rpath,{inner.parent}",
        name="outer.so",
    )
    return outer, inner


@pytest.mark.parametrize("side", SIDES)
def test_the_library_and_its_digest_are_there(side: Side) -> None:
    path = compiled(SOURCE, side[0])
    with opened(side, SOURCE, HEADER) as lib:
        assert sha256sum(path) in {file.digest for file in lib.loaded if file.path == str(path)}


@pytest.mark.parametrize("side", SIDES)
def test_what_was_recorded_is_what_is_expected_later(side: Side, tmp_path: Path) -> None:
    with opened(side, SOURCE, HEADER) as lib:
        lib.loaded.write(tmp_path / "snapshot.json")
    expected = ferry.snapshot(tmp_path / "snapshot.json")
    with opened(side, SOURCE, HEADER, expect=expected) as lib:
        assert lib.add(1, 2) == 3
    if side[1] == "worker":
        less = {file.path: file.digest for file in expected if "lib.so" in file.path}
        with pytest.raises(ferry.UnexpectedCode):
            opened(side, SOURCE, HEADER, expect=less or {"none": "sha256:" + "0" * 64})


@pytest.mark.parametrize("side", SIDES)
def test_a_library_of_other_bytes_is_refused(side: Side) -> None:
    with pytest.raises(ferry.UnexpectedCode, match="instead of sha256:00"):
        opened(side, SOURCE, HEADER, expect="sha256:" + "0" * 64)


@pytest.mark.parametrize("side", SIDES)
def test_a_library_of_these_bytes_is_called(side: Side) -> None:
    digest = sha256sum(compiled(SOURCE, side[0]))
    with opened(side, SOURCE, HEADER, expect=digest) as lib:
        assert lib.add(1, 2) == 3
        assert digest in {file.digest for file in lib.loaded}


def test_all_that_a_worker_has_is_what_its_loader_says(library_file: Path) -> None:
    """ldd runs the loader itself; the worker's program and the kernel's part come on top."""
    with ferry.load(library_file, isolation="worker") as lib:
        loaded = {os.path.realpath(file.path) for file in lib.loaded}
    program = runner.find("x86_64-sysv").command[-1]
    wanted = {program}
    for file in (program, library_file):
        listed = subprocess.run(["ldd", file], capture_output=True, text=True, check=True).stdout
        words = {word for word in listed.split() if word.startswith("/")}
        wanted |= {os.path.realpath(word) for word in words}
    assert loaded == wanted | {str(library_file)}


@pytest.mark.needs("readelf", install="apt-get install binutils")
def test_build_ids_are_those_of_readelf(library_file: Path) -> None:
    with ferry.load(library_file, isolation="worker") as lib:
        libc = next(file for file in lib.loaded if file.path.endswith("libc.so.6"))
    notes = subprocess.run(
        ["readelf", "-n", libc.path], capture_output=True, text=True, check=True
    ).stdout
    assert f"Build ID: {libc.build_id}" in notes
    assert libc.size == os.stat(libc.path).st_size
    assert libc.digest == sha256sum(libc.path)


def test_in_process_the_others_of_this_process_are_there_but_not_compared(
    library_file: Path,
) -> None:
    expect = {library_file.name: sha256sum(library_file)}
    with ferry.load(library_file, header=HEADER, isolation="in-process", expect=expect) as lib:
        assert any(name.startswith("_core") for name in names(lib.loaded))


def test_a_namespace_is_verified_too(library_file: Path) -> None:
    expect = sha256sum(library_file)
    with ferry.load(library_file, header=HEADER, isolation="namespace", expect=expect) as lib:
        assert lib.add(1, 2) == 3


def test_root_of_this_system_may_be_trusted_in_a_word(library_file: Path) -> None:
    expect = {library_file.name: sha256sum(library_file), "system": "any"}
    with ferry.load(library_file, header=HEADER, isolation="worker", expect=expect) as lib:
        assert lib.add(1, 2) == 3


def test_a_library_that_is_given_by_a_link(library_file: Path, tmp_path: Path) -> None:
    """The kernel knows it by its own name, users by the link's."""
    link = tmp_path / "liblink.so.1"
    link.symlink_to(library_file)
    with ferry.load(link, header=HEADER, isolation="worker") as lib:
        lib.loaded.write(tmp_path / "snapshot.json")
    by_name = {link.name: sha256sum(link), "system": "any"}
    for expect in (ferry.snapshot(tmp_path / "snapshot.json"), by_name):
        with ferry.load(link, header=HEADER, isolation="worker", expect=expect) as lib:
            assert lib.add(1, 2) == 3
            assert "memfd:" in Path(f"/proc/{lib.pid}/maps").read_text()


def test_a_swapped_dependency_is_named(depending: tuple[Path, Path], compile_c: Compile) -> None:
    outer, inner = depending
    expect = {outer.name: sha256sum(outer), inner.name: sha256sum(inner), "system": "any"}
    ferry.load(outer, isolation="worker", expect=expect).close()
    shutil.copy(compile_c("int inner(void) { return 666; }"), inner)
    with pytest.raises(ferry.UnexpectedCode) as refused:
        ferry.load(outer, isolation="worker", expect=expect)
    assert f"{inner}: is {sha256sum(inner)} instead of {expect[inner.name]}" in str(refused.value)
    assert outer.name not in str(refused.value).partition(": ")[2]


def test_a_refused_worker_is_ended(library_file: Path, depending: tuple[Path, Path]) -> None:
    outer, _ = depending
    before = children()
    with pytest.raises(ferry.UnexpectedCode):
        ferry.load(outer, isolation="worker", expect={outer.name: sha256sum(outer)})
    assert children() <= before


def test_what_is_verified_is_what_runs(library_file: Path, tmp_path: Path) -> None:
    """The file is replaced behind the loader's back; the copy that was digested runs on."""
    path = tmp_path / "lib.so"
    shutil.copy(library_file, path)
    with ferry.load(path, header=HEADER, isolation="worker", expect=sha256sum(path)) as lib:
        mapped = Path(f"/proc/{lib.pid}/maps").read_text()
        assert str(path) not in mapped, "the file itself is mapped, and can be written to"
        path.write_bytes(b"changed")
        assert lib.add(1, 2) == 3
        assert sha256sum(library_file) in {file.digest for file in lib.loaded}


def test_nobody_can_write_to_the_copy(library_file: Path) -> None:
    expect = sha256sum(library_file)
    with ferry.load(library_file, isolation="worker", expect=expect) as lib:
        line = next(
            line
            for line in Path(f"/proc/{lib.pid}/maps").read_text().splitlines()
            if "memfd:" + library_file.name in line and "r-x" in line
        )
        with pytest.raises(PermissionError):
            os.truncate(f"/proc/{lib.pid}/map_files/{line.split()[0]}", 0)


def test_a_library_that_looks_beside_itself_is_opened_where_it_is(compile_c: Compile) -> None:
    """$ORIGIN would lead into /proc: such a one is compared after it was mapped."""
    inner = compile_c("int inner(void) { return 40; }", "-Wl,-soname,libinner.so")
    inner = inner.rename(inner.parent / "libinner.so")
    outer = compile_c(
        "int inner(void);\nint add(int a, int b) { return inner() + a + b; }",
        str(inner),
        "-Wl,-rpath,$ORIGIN",
    )
    shutil.copy(inner, outer.parent)
    expect = sha256sum(outer)
    with ferry.load(outer, header=HEADER, isolation="worker", expect=expect) as lib:
        assert lib.add(1, 1) == 42
    with pytest.raises(ferry.UnexpectedCode, match="instead of"):
        ferry.load(outer, header=HEADER, isolation="worker", expect="sha256:" + "0" * 64)


def test_a_replaced_file_is_said_to_be_replaced(
    library_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the right to use the kernel's own links, which root has."""
    monkeypatch.setattr(files, "_open_regular", _without_kernel_links(files._open_regular))
    path = tmp_path / "lib.so"
    shutil.copy(library_file, path)
    with ferry.load(path, isolation="worker") as lib:
        shutil.copy(library_file, tmp_path / "other.so")
        os.replace(tmp_path / "other.so", path)
        (file,) = (f for f in lib.loaded if "lib.so" in f.path and str(tmp_path) in f.path)
    assert file.digest is None
    assert file.problem == "it was deleted since it was loaded"


def _without_kernel_links(real: object) -> object:
    def open_regular(path: str) -> int | None:
        if "map_files" in path:
            raise PermissionError
        return real(path)  # type: ignore[no-any-return, operator]

    return open_regular


@pytest.mark.parametrize(
    ("expect", "says"),
    [
        ("md5:1", "is no digest of the library"),
        (5, "expect is 5"),
        ({"a": "sha256:1"}, "is no digest of a"),
        ({"system": "all"}, "is no digest of system"),
    ],
)
def test_an_expectation_that_means_nothing(expect: object, says: str, library_file: Path) -> None:
    with pytest.raises(ferry.FerryError, match=says):
        ferry.load(library_file, expect=expect)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "libferry snapshot 1", "files": [{"path": 1}]}', "\x00"]
)
def test_a_snapshot_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ferry.ArgumentValueError, match="read the snapshot"):
        ferry.snapshot(tmp_path / "bad.json")


def test_a_snapshot_is_plain_data(library_file: Path, tmp_path: Path) -> None:
    with ferry.load(library_file, isolation="worker") as lib:
        lib.loaded.write(tmp_path / "snapshot.json")
    found = json.loads((tmp_path / "snapshot.json").read_text())["files"]
    own = next(file for file in found if file["path"] == str(library_file))
    assert own["digest"] == "sha256:" + hashlib.sha256(library_file.read_bytes()).hexdigest()


def test_a_closed_library_has_nothing_loaded(library_file: Path) -> None:
    lib = ferry.load(library_file, isolation="worker")
    lib.close()
    with pytest.raises(ferry.LibraryClosed):
        _ = lib.loaded


def test_a_worker_that_is_gone_has_nothing_loaded(worker: ferry.Library) -> None:
    with pytest.raises(ferry.LibraryCrashed):
        worker.stop()
    with pytest.raises(ferry.LibraryCrashed, match="list what was loaded"):
        _ = worker.loaded


def test_an_overlay_names_its_files_by_another_device(library_file: Path, tmp_path: Path) -> None:
    """In a container maps and stat do not agree on a file's device."""
    script = f"""
set -e
cd {tmp_path}; mkdir lower upper work merged; cp {library_file} lower/lib.so
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged
exec {sys.executable} -c '
import libferry, sys
with libferry.load("{tmp_path}/merged/lib.so", isolation="worker") as lib:
    print([f.digest for f in lib.loaded if "merged" in f.path][0])'
"""
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 and "mount" in done.stderr:
        pytest.skip("needs overlay mounts in a user namespace: Linux 5.11 or later")
    assert done.stdout.strip() == sha256sum(library_file), done.stderr
