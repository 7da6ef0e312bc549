"""A container image is what is seen inside a container of it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from libferry.audit.inputs import opened
from libferry.errors import BadArchive

FILE, LINK, FOLDER = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE


def layer(*entries: tuple[str, bytes, bytes | str]) -> bytes:
    """A layer of (name, type, contents or target)."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, kind, what in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            if isinstance(what, str):
                info.linkname = what
                archive.addfile(info)
            else:
                info.size = len(what)
                archive.addfile(info, io.BytesIO(what))
    return made.getvalue()


def put(folder: Path, data: bytes, kind: str) -> dict[str, object]:
    digest = hashlib.sha256(data).hexdigest()
    (folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    (folder / "blobs/sha256" / digest).write_bytes(data)
    media = f"application/vnd.oci.image.{kind}"
    return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}


def manifest(folder: Path, *layers: bytes) -> dict[str, object]:
    blobs = [put(folder, gzip.compress(one), "layer.v1.tar+gzip") for one in layers]
    config = put(folder, b"{}", "config.v1+json")
    value = {"schemaVersion": 2, "config": config, "layers": blobs}
    return put(folder, json.dumps(value).encode(), "manifest.v1+json")


def image(folder: Path, *layers: bytes) -> Path:
    """An OCI layout as the specification has it."""
    index = {"schemaVersion": 2, "manifests": [manifest(folder, *layers)]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


def inside(path: Path) -> list[str]:
    with opened(path) as tree:
        assert tree.kind == "image"
        assert tree.whole
        return [item.shown.removeprefix(f"{path}!") for item in tree.items]


def test_layers_lie_over_each_other(tmp_path: Path, native: bytes) -> None:
    below = layer(("usr/lib/a.so", FILE, native), ("usr/lib/b.so", FILE, native + b"old"))
    above = layer(("usr/lib/b.so", FILE, native + b"new"))
    folder = image(tmp_path, below, above)
    with opened(folder) as tree:
        assert (tree.root / "usr/lib/b.so").read_bytes().endswith(b"new")
    assert inside(folder) == ["/usr/lib/a.so", "/usr/lib/b.so"]


def test_a_layer_takes_a_file_away(tmp_path: Path, native: bytes) -> None:
    below = layer(("usr/lib/a.so", FILE, native), ("usr/lib/b.so", FILE, native))
    assert inside(image(tmp_path, below, layer(("usr/lib/.wh.a.so", FILE, b"")))) == [
        "/usr/lib/b.so"
    ]


def test_a_layer_empties_a_folder_but_for_its_own(tmp_path: Path, native: bytes) -> None:
    below = layer(("opt/x/a.so", FILE, native), ("opt/x/deep/b.so", FILE, native))
    above = layer(("opt/x/deep/c.so", FILE, native), ("opt/x/.wh..wh..opq", FILE, b""))
    assert inside(image(tmp_path, below, above)) == ["/opt/x/deep/c.so"]


def test_a_layer_writes_through_the_link_of_another(tmp_path: Path, native: bytes) -> None:
    """Debian's and Fedora's /lib is a link, and packages write there all the same."""
    below = layer(("usr/lib", FOLDER, b""), ("lib", LINK, "/usr/lib"))
    above = layer(("lib/a.so", FILE, native))
    assert inside(image(tmp_path, below, above)) == ["/usr/lib/a.so"]


def test_a_text_takes_the_place_of_a_library(tmp_path: Path, native: bytes) -> None:
    below = layer(("usr/bin/tool", FILE, native))
    assert inside(image(tmp_path, below, layer(("usr/bin/tool", FILE, b"#!/bin/sh")))) == []


def test_an_index_of_several_cpus(tmp_path: Path, native: bytes) -> None:
    mine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    manifests = []
    for architecture in ("s390x", mine, "unknown"):
        one = manifest(tmp_path, layer((f"usr/lib/{architecture}.so", FILE, native)))
        manifests.append({**one, "platform": {"architecture": architecture, "os": "linux"}})
    inner = put(tmp_path, json.dumps({"manifests": manifests}).encode(), "index.v1+json")
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [inner]}))
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    assert inside(tmp_path) == [f"/usr/lib/{mine}.so"]


def docker_saved(path: Path, mode: str, *layers: bytes) -> Path:
    """As ``docker save`` of before version 25 writes it; equal layers are links there."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        names = []
        for number, data in enumerate(layers):
            name = f"{number:064x}/layer.tar"
            info = tarfile.TarInfo(name)
            if number and data == layers[0]:
                info.type, info.linkname = tarfile.SYMTYPE, f"../{0:064x}/layer.tar"
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            names.append(name)
        data = json.dumps([{"Config": "c.json", "RepoTags": ["x:1"], "Layers": names}]).encode()
        info = tarfile.TarInfo("manifest.json")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_docker_save(tmp_path: Path, native: bytes, mode: str) -> None:
    first = layer(("usr/lib/a.so", FILE, native))
    second = layer(("usr/lib/b.so", FILE, native))
    file = docker_saved(tmp_path / "image.tar", mode, first, second, first)
    assert inside(file) == ["/usr/lib/a.so", "/usr/lib/b.so"]


def test_an_oci_layout_in_a_tar_file(tmp_path: Path, native: bytes) -> None:
    image(tmp_path / "x", layer(("usr/lib/a.so", FILE, native)))
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        archive.add(tmp_path / "x", "")
    assert inside(tmp_path / "image.tar") == ["/usr/lib/a.so"]


def test_a_damaged_layer(tmp_path: Path, native: bytes) -> None:
    folder = image(tmp_path, layer(("usr/lib/a.so", FILE, native)))
    largest = max(folder.glob("blobs/sha256/*"), key=lambda file: file.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1] + b"x")
    with pytest.raises(BadArchive, match="has the digest"), opened(folder):
        pass


@pytest.mark.parametrize("digest", ["sha256:../../../etc/passwd", "sha256:" + "0" * 64, 7, None])
def test_a_digest_that_is_none(tmp_path: Path, digest: object) -> None:
    (tmp_path / "index.json").write_text(json.dumps({"manifests": [{"digest": digest}]}))
    (tmp_path / "oci-layout").write_text("{}")
    with pytest.raises(BadArchive), opened(tmp_path):
        pass
