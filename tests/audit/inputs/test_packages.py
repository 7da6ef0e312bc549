"""A package becomes the tree of files that its own tool would install."""

from __future__ import annotations

import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from libferry.audit.inputs import Tree, opened
from libferry.errors import BadArchive

DPKG = pytest.mark.needs("dpkg-deb", install="apt-get install dpkg")
RPM = pytest.mark.needs("rpmbuild", install="apt-get install rpm")
ZSTD = pytest.mark.needs("zstd", install="apt-get install zstd")
BACKPORT = pytest.mark.needs(
    "backports.zstd", "compression.zstd", install="pip install 'libferry[zstd]'"
)


def shown(tree: Tree) -> list[str]:
    return [item.shown for item in tree.items]


def installed(folder: Path, native: bytes) -> Path:
    """A folder as a package installs it: a library, its link, a text, and a program's twin."""
    lib = folder / "usr/lib"
    lib.mkdir(parents=True)
    (lib / "libx.so.1.2").write_bytes(native)
    (lib / "libx.so.1").symlink_to("libx.so.1.2")
    (lib / "libx.so").write_text("GROUP ( libx.so.1 )")
    (folder / "usr/share/doc").mkdir(parents=True)
    (folder / "usr/share/doc/README").write_text("read me")
    os.link(lib / "libx.so.1.2", lib / "twin")
    return folder


def as_installed(tree: Tree, native: bytes) -> None:
    lib = tree.root / "usr/lib"
    assert (lib / "libx.so.1").read_bytes() == native
    assert (lib / "libx.so.1").is_symlink()
    assert (lib / "libx.so").read_text() == "GROUP ( libx.so.1 )"
    assert (lib / "twin").read_bytes() == native
    assert len(tree.items) == 1  # two names of one file, one of which is judged


@DPKG
@BACKPORT
@pytest.mark.parametrize("compression", ["gzip", "xz", "zstd", "none"])
def test_deb(tmp_path: Path, native: bytes, compression: str) -> None:
    folder = installed(tmp_path / "x", native)
    (folder / "DEBIAN").mkdir()
    (folder / "DEBIAN/control").write_text(
        "Package: x\nVersion: 1\nArchitecture: amd64\nMaintainer: x <x@x>\nDescription: x\n"
    )
    command = ["dpkg-deb", f"-Z{compression}", "-b", str(folder), str(tmp_path / "x.deb")]
    subprocess.run(command, check=True, capture_output=True)
    with opened(tmp_path / "x.deb") as tree:
        as_installed(tree, native)
        assert tree.installs
        assert shown(tree) == [f"{tmp_path}/x.deb!/usr/lib/libx.so.1.2"]


SPEC = """\
Name: x
Version: 1
Release: 1
Summary: x
License: x
%define _binary_payload {payload}
%define debug_package %{{nil}}
%define __os_install_post %{{nil}}
AutoReqProv: no
%description
x
%install
cp -a {folder}/. %{{buildroot}}
%files
/usr
"""


@RPM
@BACKPORT
@pytest.mark.parametrize("payload", ["w9.gzdio", "w6.xzdio", "w6.lzdio", "w9.bzdio", "w3.zstdio"])
def test_rpm(tmp_path: Path, native: bytes, payload: str) -> None:
    folder = installed(tmp_path / "x", native)
    spec = tmp_path / "x.spec"
    spec.write_text(SPEC.format(payload=payload, folder=folder))
    command = ["rpmbuild", "-bb", "--define", f"_topdir {tmp_path}/top", str(spec)]
    subprocess.run(command, check=True, capture_output=True)
    (file,) = tmp_path.glob("top/RPMS/*/*.rpm")
    with opened(file) as tree:
        as_installed(tree, native)
        assert tree.installs


@BACKPORT
@ZSTD
@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "pax"])
@pytest.mark.parametrize("compression", ["", "--gzip", "--xz", "--bzip2", "--zstd"])
def test_tar(tmp_path: Path, native: bytes, form: str, compression: str) -> None:
    installed(tmp_path / "x", native)
    command = ["tar", "-C", str(tmp_path / "x"), f"--format={form}", "-cf", str(tmp_path / "t")]
    subprocess.run([*command, *filter(None, [compression]), "."], check=True)
    with opened(tmp_path / "t") as tree:
        as_installed(tree, native)


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_a_long_name_in_a_tar_file(tmp_path: Path, native: bytes, form: str) -> None:
    folder = tmp_path / "x" / ("d" * 120) / ("ü" * 100)
    folder.mkdir(parents=True)
    (folder / "lib.so").write_bytes(native)
    (folder / ("l" * 150 + ".so")).symlink_to("../" * 2 + "d" * 120 + "/" + "ü" * 100 + "/lib.so")
    command = ["tar", "-C", str(tmp_path / "x"), f"--format={form}", "-cf", str(tmp_path / "t.tar")]
    subprocess.run([*command, "."], check=True)
    with opened(tmp_path / "t.tar") as tree:
        assert shown(tree) == [f"{tmp_path}/t.tar!/{'d' * 120}/{'ü' * 100}/lib.so"]
        assert (tree.items[0].file.parent / ("l" * 150 + ".so")).read_bytes() == native


def test_a_sparse_file_is_left_out_and_the_next_one_found(tmp_path: Path, native: bytes) -> None:
    with open(tmp_path / "a-hole", "wb") as file:
        file.truncate(1 << 24)
        for at in range(0, 1 << 24, 1 << 18):  # more holes than the first header can hold
            file.seek(at)
            file.write(b"x")
    (tmp_path / "b.so").write_bytes(native)
    for form in ("oldgnu", "pax"):
        command = ["tar", "-C", str(tmp_path), f"--format={form}", "--sparse", "-cf"]
        subprocess.run([*command, str(tmp_path / "t.tar"), "a-hole", "b.so"], check=True)
        with opened(tmp_path / "t.tar") as tree:
            assert shown(tree) == [f"{tmp_path}/t.tar!/b.so"]


def test_members_of_gzip_one_after_the_other(tmp_path: Path, native: bytes) -> None:
    (tmp_path / "b.so").write_bytes(native)
    subprocess.run(["tar", "-C", str(tmp_path), "-cf", str(tmp_path / "t"), "b.so"], check=True)
    data = (tmp_path / "t").read_bytes()
    for number, part in enumerate((data[:5000], data[5000:])):
        (tmp_path / f"p{number}").write_bytes(part)
        subprocess.run(["gzip", str(tmp_path / f"p{number}")], check=True)
    parts = [(tmp_path / f"p{number}.gz").read_bytes() for number in range(2)]
    (tmp_path / "t.tar.gz").write_bytes(b"".join(parts) + bytes(1024))
    with opened(tmp_path / "t.tar.gz") as tree:
        assert shown(tree) == [f"{tmp_path}/t.tar.gz!/b.so"]


def test_wheel(tmp_path: Path, native: bytes) -> None:
    wheel = tmp_path / "x-1-cp311-cp311-manylinux_2_17_x86_64.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/__init__.py", "")
        archive.writestr("x/_x.so", native)
        archive.writestr("x.libs/libz-1234.so.1", native)
    with opened(wheel) as tree:
        assert tree.kind == "wheel"
        assert shown(tree) == [f"{wheel}!/x.libs/libz-1234.so.1", f"{wheel}!/x/_x.so"]
        assert tree.items[1].file.read_bytes() == native


def test_zstd_that_this_python_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
    monkeypatch.setitem(__import__("sys").modules, "backports", None)
    monkeypatch.setitem(__import__("sys").modules, "compression", None)
    with pytest.raises(BadArchive) as caught, opened(tmp_path / "x.tar.zst"):
        pass
    assert "libferry[zstd]" in caught.value.hint


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_one_that_was_cut_short(tmp_path: Path, native: bytes, cut: float) -> None:
    (tmp_path / "b.so").write_bytes(native)
    with tarfile.open(tmp_path / "t.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "b.so", "b.so")
    data = (tmp_path / "t.tar.xz").read_bytes()
    (tmp_path / "t.tar.xz").write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(BadArchive), opened(tmp_path / "t.tar.xz"):
        pass
