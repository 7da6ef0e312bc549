"""Container images: a file system as a stack of tar files.

Two forms are about. The OCI layout is a folder with ``index.json``, which leads over
manifests to blobs named by their digests; ``docker save`` writes a tar file with
``manifest.json``, which has the paths of the layers. Newer ones write a tar file that is
both. Each layer says what is new; a file ``.wh.NAME`` takes away NAME, and
``.wh..wh..opq`` all that the layers below have in that folder.

Specification: OCI image-spec 1.1, "Image Layout", "Image Index", "Image Manifest" and
"Image Layer Filesystem Changeset"; Docker image specification v1.2.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import posixpath
import re
from pathlib import Path
from typing import BinaryIO, Protocol

from libferry.audit.inputs import tar
from libferry.audit.inputs.limits import Budget
from libferry.audit.inputs.streams import CHUNK, Stream
from libferry.audit.inputs.unpacking import Unpacking

INDEX, DOCKER = "index.json", "manifest.json"
_JSON_AT_MOST = 16 << 20  # bytes
_NESTED = 8  # indexes in indexes
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_FIRST_NAME = re.compile(r"(blobs$|blobs/|[0-9a-f]{64}|index\.json|manifest\.json|oci-layout|repo)")
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"

# ours -> the architectures of Go, which images use
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i386": "386", "i686": "386"}


class Parts(Protocol):
    """The files that an image consists of."""

    def open(self, name: str) -> BinaryIO:
        """Open one.

        Raises:
            OSError: it is not there.
        """


class FolderParts:
    """Those of an image that is a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, name: str) -> BinaryIO:
        """See ``Parts``; a link out of the folder is not followed."""
        path = self._folder / name
        if not path.resolve().is_relative_to(self._folder.resolve()):
            raise FileNotFoundError(name)
        return path.open("rb")


class _Slice(io.RawIOBase):
    def __init__(self, path: Path, start: int, size: int) -> None:
        self._file = path.open("rb")
        self._file.seek(start)
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)[: self._left]  # type: ignore[arg-type]
        count = self._file.readinto(view)
        self._left -= count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class TarParts:
    """Those of an image that is a tar file, which is not compressed."""

    def __init__(self, path: Path, budget: Budget) -> None:
        self._path = path
        self._places: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        with path.open("rb") as file:
            stream = Stream(file, budget)
            for entry, _ in tar.entries(stream, budget.limits.header, budget.bad):
                budget.entry()
                name = posixpath.normpath(entry.name)
                if entry.kind in tar.REGULAR:
                    self._places[name] = stream.position, entry.size
                elif entry.kind in (tar.LINK, tar.HARD_LINK):  # layers that are equal
                    start = posixpath.dirname(name) if entry.kind == tar.LINK else ""
                    self._links[name] = posixpath.normpath(posixpath.join(start, entry.target))

    def is_image(self) -> bool:
        """Whether it has what images have at their top."""
        return DOCKER in self._places or (INDEX in self._places and "oci-layout" in self._places)

    def open(self, name: str) -> BinaryIO:
        """See ``Parts``."""
        name = self._links.get(name, name)
        if name not in self._places:
            raise FileNotFoundError(name)
        return io.BufferedReader(_Slice(self._path, *self._places[name]), CHUNK)


def is_image_folder(folder: Path) -> bool:
    """Whether a folder is an OCI layout, or ``docker save``'s tar file unpacked."""
    if (folder / "oci-layout").is_file() and (folder / INDEX).is_file():
        return True
    try:
        with (folder / DOCKER).open("rb") as file:
            manifest = json.loads(file.read(_JSON_AT_MOST))
        return isinstance(manifest, list) and all("Layers" in image for image in manifest)
    except (OSError, ValueError, TypeError):
        return False


def parts_of_tar(path: Path, scratch: Path, budget: Budget) -> TarParts | None:
    """The image in a tar file, which may be compressed; None if it holds none.

    Only if the first name is one that images have, the whole is looked through.
    """
    with path.open("rb") as file:
        stream = Stream(file, budget)
        for first, _ in tar.entries(stream, budget.limits.header, budget.bad):
            if name := posixpath.normpath(first.name).strip("/."):
                break
        else:
            return None
        if not _FIRST_NAME.match(name):
            return None
        compressed = stream.compressed
    if compressed:
        plain = scratch / "plain.tar"
        with path.open("rb") as file, plain.open("xb") as to:
            stream = Stream(file, budget)
            while part := stream.read(CHUNK):
                to.write(part)
        path = plain
    parts = TarParts(path, budget)
    return parts if parts.is_image() else None


def unpack(parts: Parts, unpacking: Unpacking) -> None:
    """Lay the layers over each other.

    An index of images for several CPUs means the one for this machine's, else the first.

    Raises:
        BadArchive: a part is missing, damaged, or not what its digest says.
    """
    reader = _Reader(parts, unpacking.budget)
    for number, (name, digest) in enumerate(reader.layers()):
        unpacking.layer = number
        if digest is not None:
            reader.verify(name, digest)
        with reader.open(name) as file:
            _unpack_layer(Stream(file, unpacking.budget), unpacking)


def _unpack_layer(stream: Stream, unpacking: Unpacking) -> None:
    budget = unpacking.budget
    for entry, contents in tar.entries(stream, budget.limits.header, budget.bad):
        folder, name = posixpath.split(entry.name.rstrip("/"))
        if name == _OPAQUE:
            unpacking.empty(folder)
        elif name.startswith(_WHITEOUT):
            unpacking.remove(posixpath.join(folder, name.removeprefix(_WHITEOUT)))
        else:
            tar.place(entry, contents, unpacking)


class _Reader:
    def __init__(self, parts: Parts, budget: Budget) -> None:
        self._parts = parts
        self._bad = budget.bad

    def open(self, name: str) -> BinaryIO:
        try:
            return self._parts.open(name)
        except OSError:
            raise self._bad(f"its part {name} is missing") from None

    def verify(self, name: str, digest: str) -> None:
        """See that a part is what its name says."""
        seen = hashlib.sha256()
        with self.open(name) as file:
            while part := file.read(CHUNK):
                seen.update(part)
        if seen.hexdigest() != digest:
            raise self._bad(f"its part {name} has the digest sha256:{seen.hexdigest()}")

    def layers(self) -> list[tuple[str, str | None]]:
        """The names of the layers, lowest first, and the digests that they shall have."""
        try:
            return self._oci_layers()
        except FileNotFoundError:
            return self._docker_layers()

    def _oci_layers(self) -> list[tuple[str, str | None]]:
        with self._parts.open(INDEX) as file:
            value = self._json(file.read(_JSON_AT_MOST), INDEX)
        for _ in range(_NESTED):
            if not isinstance(value, dict) or "manifests" not in value:
                break
            name, digest = self._blob(self._chosen(value["manifests"]))
            self.verify(name, digest)
            with self.open(name) as file:
                value = self._json(file.read(_JSON_AT_MOST), name)
        layers = value.get("layers") if isinstance(value, dict) else None
        if not isinstance(layers, list):
            raise self._bad("its manifest has no layers")
        return [self._blob(layer) for layer in layers]

    def _docker_layers(self) -> list[tuple[str, str | None]]:
        with self.open(DOCKER) as file:
            images = self._json(file.read(_JSON_AT_MOST), DOCKER)
        image = images[0] if isinstance(images, list) and images else None
        layers = image.get("Layers") if isinstance(image, dict) else None
        if not isinstance(layers, list):
            raise self._bad("its manifest.json names no layers")
        return [(posixpath.normpath(str(name)), None) for name in layers]

    def _chosen(self, manifests: object) -> object:
        """The manifest of the image for this CPU; those of signatures and such are passed."""
        if not isinstance(manifests, list) or not manifests:
            raise self._bad("its index names no image")
        machine = os.uname().machine
        wanted = ARCHITECTURES.get(machine, machine)
        found = [one for one in manifests if isinstance(one, dict)]
        real = [one for one in found if _platform(one) != "unknown"] or found
        mine = [one for one in real if _platform(one) == wanted]
        if not real:
            raise self._bad("its index names no image")
        return (mine or real)[0]

    def _blob(self, descriptor: object) -> tuple[str, str]:
        digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
        match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
        if match is None:
            raise self._bad(f"it names a part by {str(digest)[:80]!r}, which is no sha256 digest")
        return f"blobs/sha256/{match[1]}", match[1]

    def _json(self, data: bytes, name: str) -> object:
        try:
            value: object = json.loads(data)
        except (ValueError, RecursionError):
            raise self._bad(f"its part {name} is no JSON") from None
        return value


def _platform(descriptor: dict[str, object]) -> object:
    platform = descriptor.get("platform")
    return platform.get("architecture") if isinstance(platform, dict) else None
