"""Which files a worker is given: what a library needs, where links lead, what is new."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import libferry as ferry
from libferry.errors import LoadError
from libferry.sandbox import Profile, calls, mounts, plan, read_profile
from tests.sandbox.library import sandboxed

pytestmark = [
    pytest.mark.needs("ziglang", install="pip install ziglang"),
    pytest.mark.needs("libseccomp.so.2", install="apt-get install libseccomp2"),
]


def compile_c(file: Path, source: str, *options: str) -> Path:
    file.with_suffix(".c").write_text(source)
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-gnu.2.17"]
    command += ["-shared", "-fPIC", "-o", str(file), str(file.with_suffix(".c")), *options]
    subprocess.run(command, check=True)
    return file


@pytest.fixture
def needing(tmp_path: Path) -> Path:
    """A library that needs one in the folder ``deps`` beside it, by its DT_RUNPATH."""
    (tmp_path / "deps").mkdir()
    compile_c(tmp_path / "deps" / "libinner.so", "int inner(void) { return 42; }")
    return compile_c(
        tmp_path / "outer.so",
        "int inner(void); int outer(void) { return inner(); }",
        f"-L{tmp_path / 'deps'}",
        "-linner",
        "-Wl,-rpath,$ORIGIN/deps",
    )


def test_what_a_library_needs_by_its_runpath_is_there(needing: Path) -> None:
    with ferry.load(needing, header="int outer(void);", isolation="sandbox") as lib:
        assert lib.outer() == 42


def test_a_library_that_lies_beside_and_is_not_needed_is_not_there(needing: Path) -> None:
    header = "int outer(void);"
    (needing.parent / "secret").write_text("secret")
    with ferry.load(needing, header=header, isolation="sandbox") as lib:
        root = Path(f"/proc/{lib.pid}/root")
        seen = {path.name for path in (root / str(needing.parent).lstrip("/")).iterdir()}
    assert seen == {"outer.so", "deps"}


def test_a_search_path_of_the_environment_counts_only_if_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deps").mkdir()
    compile_c(tmp_path / "deps" / "libhidden.so", "int inner(void) { return 42; }")
    outer = compile_c(
        tmp_path / "outer.so",
        "int inner(void); int outer(void) { return inner(); }",
        f"-L{tmp_path / 'deps'}",
        "-lhidden",
    )
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path / "deps"))
    with pytest.raises(LoadError, match=r"libhidden\.so"):
        ferry.load(outer, isolation="sandbox")
    profile = read_profile("pure").adding(Profile("mine", environment=("LD_LIBRARY_PATH",)))
    header = "int outer(void);"
    with ferry.load(outer, header=header, isolation="sandbox", profile=profile) as lib:
        assert lib.outer() == 42


def test_the_root_of_a_worker_is_what_its_profile_names(tmp_path: Path) -> None:
    with sandboxed() as lib:
        root = Path(f"/proc/{lib.pid}/root")
        assert "etc" in os.listdir(root)
        assert not (root / "etc/passwd").exists()
        assert not (root / "root").exists()
        assert not (root / "home").exists()
        # of processes it sees one: itself
        numbers = [name for name in os.listdir(root / "proc") if name.isdigit()]
        assert numbers == ["1"]


def test_links_on_the_way_are_made_anew_and_lead_where_they_led(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (real / "file").write_text("text")
    (tmp_path / "one").symlink_to("real")
    (tmp_path / "two").symlink_to(tmp_path / "one" / ".." / "one" / "file")
    followed = mounts.Followed()
    assert followed.follow(str(tmp_path / "two")) == os.path.realpath(tmp_path / "two")
    assert set(followed.links) == {str(tmp_path / "one"), str(tmp_path / "two")}
    profile = read_profile("pure").adding(Profile("mine", read=(str(tmp_path / "two"),)))
    with sandboxed(profile) as lib:
        assert lib.read_all(str(tmp_path / "two"), lib.buffer(10), 10) == 4
        assert lib.read_all(str(real / "file"), lib.buffer(10), 10) == 4


def test_links_in_a_circle_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert mounts.Followed().follow(str(tmp_path / "a")) is None


def test_a_file_in_a_bound_folder_is_not_bound_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    files = {str(tmp_path): calls.READ, str(tmp_path / "file"): calls.READ}
    steps = mounts.steps(files, mounts.Followed(), own_proc=None)
    assert sum(step[0] == plan.BIND for step in steps) == 1


def test_a_writable_folder_in_a_readable_one_is_a_mount_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    profile = read_profile("pure").adding(
        Profile("mine", read=(str(tmp_path),), write=(str(tmp_path / "out"),))
    )
    with sandboxed(profile) as lib:
        table = Path(f"/proc/{lib.pid}/mounts").read_text()
    options = {line.split()[1]: line.split()[3].split(",") for line in table.splitlines()}
    assert "ro" in options["/"]
    assert "ro" in options[str(tmp_path)]
    assert "rw" in options[str(tmp_path / "out")]
    assert {"nosuid", "nodev", "noexec"} <= set(options[str(tmp_path / "out")])


def test_every_shipped_profile_can_be_started_with() -> None:
    for name in ("files-read", "files-write", "network-client", "network-server"):
        with sandboxed(name) as lib:
            assert lib.add(2, 3) == 5


def test_any_file_is_read_and_none_written_with_files_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text")
    with sandboxed("files-read") as lib:
        assert lib.read_all(str(tmp_path / "a"), lib.buffer(10), 10) == 4
        with pytest.raises(ferry.errors.SandboxViolation):
            lib.write_all(str(tmp_path / "a"), "other")
    assert (tmp_path / "a").read_text() == "text"


def test_files_write_writes_below_tmp() -> None:
    name = Path("/tmp") / f"libferry-test-{os.getpid()}"
    with sandboxed("files-write") as lib:
        assert lib.write_all(str(name), "text") == 4
    assert name.read_text() == "text"
    name.unlink()
