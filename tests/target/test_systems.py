"""The files of a target: a root folder is a world of its own, and a description is partial."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from libferry.errors import BadBinary, LibraryNotFound
from libferry.target import DescribedSystem, Given, RootSystem, Target, system_for, this

CLONE_NEWUSER = 0x10000000  # linux/sched.h


def target(**more: object) -> Target:
    values: dict[str, object] = {
        "name": "box",
        "title": "a box",
        "os": "linux",
        "cpu": "x86_64",
        "bits": 64,
        "endian": "little",
        "loader": "glibc",
        "version": (2, 28),
        **more,
    }
    return Target(**values)  # type: ignore[arg-type]


def test_an_absolute_link_stays_inside_the_root(tmp_path: Path) -> None:
    (tmp_path / "root/lib").mkdir(parents=True)
    (tmp_path / "root/lib/hostname").write_text("the box")
    (tmp_path / "root/etc").mkdir()
    (tmp_path / "root/etc/hostname").symlink_to("/lib/hostname")
    system = RootSystem(tmp_path / "root", target())
    found = system.find("/etc/hostname")
    assert found is not None
    assert (found.path, found.real) == ("/etc/hostname", "/lib/hostname")
    assert system.data("/etc/hostname") == b"the box"


@pytest.mark.parametrize("way", ["/../secret", "/lib/../../../../secret", "/up/secret"])
def test_no_path_leads_out_of_the_root(tmp_path: Path, way: str) -> None:
    (tmp_path / "root/lib").mkdir(parents=True)
    (tmp_path / "root/up").symlink_to("..")
    (tmp_path / "secret").write_text("outside")
    system = RootSystem(tmp_path / "root", target())
    assert system.find(way) is None
    (tmp_path / "root/secret").write_text("inside")
    found = RootSystem(tmp_path / "root", target()).find(way)
    assert found is not None
    assert found.file == tmp_path / "root/secret"


def test_links_lead_where_chroot_says_they_lead(tmp_path: Path) -> None:
    """The judge is the kernel: a process that really is inside the root."""
    for folder in ("lib/deep", "usr", "opt"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "lib/deep/x").write_text("x")
    links = {
        "lib64": "/lib",
        "usr/lib": "../lib",
        "opt/up": "../../../lib/deep",
        "a": "b",
        "b": "a",
        "opt/x": "/lib64/deep/../deep/x",
        "dangling": "/nowhere",
        "self": ".",
        "opt/slash": "/lib64/deep/",
        "opt/file": "/lib/deep/x/",
    }
    for link, to in links.items():
        (tmp_path / link).symlink_to(to)
    ways = [
        *("/lib64/deep/x", "/usr/lib/deep/x", "/opt/up/x", "/a/x", "/opt/x", "/dangling"),
        *(
            "/self/self/self/lib/deep/x",
            "/opt/slash/x",
            "/opt/file",
            "/lib/deep/x/",
            "//lib//deep/x",
        ),
        *("/lib/deep/x/../x", "/nowhere/../lib/deep/x", "/lib/deep/./x", "/opt/up/../deep/x"),
    ]
    system = RootSystem(tmp_path, target())
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        if os.geteuid() != 0:  # root of a namespace of its own may, too
            ctypes.CDLL(None).unshare(CLONE_NEWUSER)
        os.chroot(tmp_path)
        os.write(writer, b"".join(b"1" if os.path.isfile(way) else b"0" for way in ways))
        os._exit(0)
    os.waitpid(child, 0)
    truth = os.read(reader, len(ways))
    os.close(reader)
    os.close(writer)
    assert {b"1"[0], b"0"[0]} == set(truth)
    assert {way: system.find(way) is not None for way in ways} == {
        way: answer == b"1"[0] for way, answer in zip(ways, truth, strict=True)
    }


def test_two_names_of_one_file_have_one_identity(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libx.so.1").write_text("x")
    (tmp_path / "lib/libx.so").symlink_to("libx.so.1")
    os.link(tmp_path / "lib/libx.so.1", tmp_path / "lib/liby.so")
    shutil.copy(tmp_path / "lib/libx.so.1", tmp_path / "lib/copy.so")
    system = RootSystem(tmp_path, target())
    names = ["libx.so.1", "libx.so", "liby.so", "copy.so"]
    found = [system.find(f"/lib/{name}") for name in names]
    assert len({one.identity for one in found if one}) == 2


def test_a_folder_or_a_pipe_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    os.mkfifo(tmp_path / "pipe")
    system = RootSystem(tmp_path, target())
    assert system.find("/lib") is None
    assert system.find("/pipe") is None
    assert system.data("/pipe") is None
    assert system.is_directory("/lib")
    assert system.is_directory("/")
    assert not system.is_directory("/pipe")


@pytest.mark.parametrize("path", ["", "lib", "/" + "a/" * 5000, "/a\0b", "/" + "a" * 300, "/.."])
def test_a_path_that_no_kernel_takes_is_no_file(tmp_path: Path, path: str) -> None:
    assert RootSystem(tmp_path, target()).find(path) is None


def test_what_is_carried_is_seen_where_it_is_here(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "app").mkdir()
    (tmp_path / "app/libx.so").write_text("x")
    (tmp_path / "app/libbeside.so").write_text("y")
    (tmp_path / "elsewhere").write_text("z")
    for system in (
        RootSystem(tmp_path / "root", target(), [tmp_path / "app/libx.so"]),
        DescribedSystem(target(), [tmp_path / "app/libx.so"]),
    ):
        path = system.path_of(tmp_path / "app/libx.so")
        assert path == str(tmp_path / "app/libx.so")
        assert system.find(path) is not None
        assert system.find(f"{tmp_path}/app/../app/libbeside.so") is not None
        assert system.find(str(tmp_path / "elsewhere")) is None
        assert system.is_directory(str(tmp_path / "app"))


def test_a_library_of_the_systems_folder_is_carried_alone() -> None:
    program = str(Path(shutil.which("sh") or "").resolve())
    beside = str(Path(shutil.which("ls") or "").resolve())
    assert os.path.dirname(program) == os.path.dirname(beside)
    system = DescribedSystem(target(), [Path(program)])
    assert system.find(program) is not None
    assert system.find(beside) is None


def test_a_file_inside_the_root_has_the_path_that_it_has_there(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libx.so").write_text("x")
    system = RootSystem(tmp_path, target())
    assert system.path_of(tmp_path / "lib/libx.so") == "/lib/libx.so"
    assert this().path_of(Path("/lib/libx.so")) == "/lib/libx.so"


def test_a_description_has_its_libraries_and_does_not_claim_to_be_all() -> None:
    given = Given("libz.so.1", "/lib64/libz.so.1", frozenset({"ZLIB_1.2.9"}))
    links = {"/lib64": "/usr/lib64"}
    box = target(given={"libz.so.1": given}, default_paths=("/lib64",), facts={"links": links})
    system = DescribedSystem(box)
    one, other = system.find("/lib64/libz.so.1"), system.find("/usr/lib64/libz.so.1")
    assert one is not None
    assert other is not None
    assert one.given is given
    assert one.identity == other.identity
    assert system.is_directory("/usr/lib64")
    assert system.find("/lib64/liby.so") is None
    assert not system.complete
    with pytest.raises(BadBinary, match="only a description"):
        system.read(one)


def test_this_machine_is_what_its_own_tools_say() -> None:
    system = this()
    said = subprocess.run(["ldd", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[0].endswith(".".join(map(str, system.target.version)))
    assert system.target.page_size == os.sysconf("SC_PAGE_SIZE")
    assert system.target.interpreter is not None
    found = system.find(system.target.interpreter)
    assert found is not None
    assert system.read(found).cpu == system.target.cpu


def test_a_file_is_read_once_and_a_bad_one_fails_each_time_alike(tmp_path: Path) -> None:
    (tmp_path / "libx.so").write_text("no library")
    system = RootSystem("/", target())
    found = system.find(str(tmp_path / "libx.so"))
    assert found is not None
    with pytest.raises(BadBinary) as first:
        system.read(found)
    with pytest.raises(BadBinary) as second:
        system.read(found)
    assert str(first.value) == str(second.value)
    assert first.value is not second.value
    libc = this().find(os.path.realpath("/proc/self/exe"))
    assert libc is not None
    same = this()
    assert same.read(libc) is same.read(libc)


def test_a_folder_without_a_loader_is_no_system(tmp_path: Path) -> None:
    with pytest.raises(LibraryNotFound, match="loader"):
        system_for(sysroot=tmp_path)
