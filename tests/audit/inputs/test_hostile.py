"""Archives that were made to do harm do none, and say so."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from libferry.audit.inputs import Limits, Tree, opened
from libferry.errors import BadArchive, FerryError

MEBIBYTE = 1 << 20


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what is unpacked, which has to be empty in the end."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def tar_of(path: Path, *adds: tuple[str, bytes, str, bytes]) -> Path:
    """A tar file of (name, type, link, contents)."""
    with tarfile.open(path, "w") as archive:
        for name, kind, link, contents in adds:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, len(contents)
            archive.addfile(info, io.BytesIO(contents))
    return path


def every_path(root: Path) -> list[str]:
    return [
        os.path.join(folder, name)
        for folder, folders, files in os.walk(root)
        for name in (*folders, *files)
    ]


def stays_inside(tree: Tree) -> None:
    root = os.path.realpath(tree.root)
    for path in every_path(tree.root):
        assert os.path.realpath(path).startswith(root)


def test_a_name_that_leads_out(tmp_path: Path, native: bytes, scratch: Path) -> None:
    file = tar_of(tmp_path / "t.tar", ("../../evil.so", tarfile.REGTYPE, "", native))
    with pytest.raises(BadArchive, match="leads out"), opened(file):
        pass
    assert not list(scratch.iterdir())
    assert not (tmp_path / "evil.so").exists()


def test_an_absolute_name_is_one_in_the_archive(tmp_path: Path, native: bytes) -> None:
    file = tar_of(tmp_path / "t.tar", (f"{tmp_path}/evil.so", tarfile.REGTYPE, "", native))
    with opened(file) as tree:
        stays_inside(tree)
        assert tree.items[0].shown == f"{file}!{tmp_path}/evil.so"
    assert not (tmp_path / "evil.so").exists()


@pytest.mark.parametrize("target", ["{outside}", "../../../../../../../../../..{outside}"])
def test_writing_through_a_link_that_leads_out(tmp_path: Path, native: bytes, target: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    file = tar_of(
        tmp_path / "t.tar",
        ("way", tarfile.SYMTYPE, target.format(outside=outside), b""),
        ("way/evil.so", tarfile.REGTYPE, "", native),
        ("other/first.so", tarfile.REGTYPE, "", native),
        ("other", tarfile.SYMTYPE, target.format(outside=outside), b""),
    )
    with opened(file) as tree:
        stays_inside(tree)
        # as in a container, whose root the link is meant for
        assert (tree.root / str(outside).lstrip("/") / "evil.so").read_bytes() == native
    assert not list(outside.iterdir())


def test_a_hard_link_to_a_file_of_this_machine(tmp_path: Path, native: bytes) -> None:
    secret = tmp_path / "secret.so"
    secret.write_bytes(native)
    file = tar_of(tmp_path / "t.tar", ("x.so", tarfile.LNKTYPE, str(secret), b""))
    with opened(file) as tree:
        assert not tree.items
        assert not (tree.root / "x.so").exists()


def test_links_in_a_circle(tmp_path: Path, native: bytes) -> None:
    file = tar_of(
        tmp_path / "t.tar",
        ("a", tarfile.SYMTYPE, "b", b""),
        ("b", tarfile.SYMTYPE, "a", b""),
        ("a/x.so", tarfile.REGTYPE, "", native),
    )
    with pytest.raises(BadArchive, match="circle"), opened(file):
        pass


def test_devices_and_pipes_are_left_out(tmp_path: Path, native: bytes) -> None:
    kinds = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
    file = tar_of(tmp_path / "t.tar", *((f"d{kind!r}.so", kind, "", b"") for kind in kinds))
    with opened(file) as tree:
        assert not every_path(tree.root)


def zip_bomb(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(8):
            archive.writestr(f"x{number}.so", bytes(64 * MEBIBYTE))
    return path


def gzip_bomb(path: Path) -> Path:
    plain = tarfile.TarInfo("x.so")
    plain.size = 1 << 40
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(plain.tobuf())]
    parts += (packer.compress(bytes(MEBIBYTE)) for _ in range(512))
    path.write_bytes(b"".join(parts) + packer.flush())
    return path


def lzma_with_a_dictionary_of_3_gib(path: Path) -> Path:
    """The header of LZMA's old format says it; nothing else has to be right."""
    path.write_bytes(struct.pack("<BIq", 0x5D, 0xC0000000, -1) + bytes(1000))
    return path


@pytest.mark.parametrize("make", [zip_bomb, gzip_bomb])
def test_a_bomb(tmp_path: Path, make: Callable[[Path], Path], scratch: Path) -> None:
    file = make(tmp_path / "bomb")
    limits = Limits(allowance=16 * MEBIBYTE, ratio=100)
    with pytest.raises(BadArchive, match="expands to more"), opened(file, limits):
        pass
    assert not list(scratch.iterdir())


def test_a_dictionary_larger_than_memory(tmp_path: Path) -> None:
    file = lzma_with_a_dictionary_of_3_gib(tmp_path / "x.tar.lzma")
    with pytest.raises(BadArchive, match=r"[Mm]emory"), opened(file):
        pass


def test_more_entries_than_allowed(tmp_path: Path) -> None:
    file = tar_of(tmp_path / "t.tar", *((f"{n}", tarfile.DIRTYPE, "", b"") for n in range(101)))
    with pytest.raises(BadArchive, match="100 entries"), opened(file, Limits(entries=100)):
        pass


def test_folders_without_end(tmp_path: Path) -> None:
    file = tar_of(tmp_path / "t.tar", ("a/" * 1000 + "x.so", tarfile.REGTYPE, "", b""))
    with pytest.raises(BadArchive, match="deep"), opened(file):
        pass


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_header_that_claims_gigabytes(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 1 << 32
    (tmp_path / "t.tar").write_bytes(info.tobuf() + bytes(4096))
    with pytest.raises(BadArchive, match="claims"), opened(tmp_path / "t.tar"):
        pass


def test_a_bad_name(tmp_path: Path, native: bytes) -> None:
    file = tar_of(tmp_path / "t.tar", ("n" * 300 + ".so", tarfile.REGTYPE, "", native))
    with pytest.raises(BadArchive, match="no file can have the name"), opened(file):
        pass


def test_damage_anywhere_ends_in_our_error(tmp_path: Path, native: bytes) -> None:
    """Half a thousand files, each damaged in one place: no other exception, nothing left."""
    small = native[:3000]
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("lib/" + "ü" * 120 + ".so")
        info.size = len(small)
        archive.addfile(info, io.BytesIO(small))
        link = tarfile.TarInfo("lib/link.so")
        link.type, link.linkname = tarfile.SYMTYPE, "/lib/x.so"
        archive.addfile(link)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("x/x.so", small)
    deb = b"!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n"
    deb += b"data.tar.gz     0           0     0     100644  %-10d`\n" % len(
        gzip.compress(plain.getvalue())
    )
    deb += gzip.compress(plain.getvalue())
    chance = random.Random(7)
    for original in (plain.getvalue(), zipped.getvalue(), deb):
        for _ in range(160):
            data = bytearray(original)
            data[chance.randrange(len(data))] = chance.randrange(256)
            (tmp_path / "x").write_bytes(data[: chance.choice((len(data), len(data) // 2))])
            try:
                with opened(tmp_path / "x") as tree:
                    stays_inside(tree)
            except FerryError:
                pass
    assert not list((tmp_path / "scratch").iterdir())
