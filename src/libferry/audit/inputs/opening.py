"""From a path that a user gave to the tree of native files that it means.

What a file is shows in its first bytes, not in its name: a ``.deb`` may have been saved
as ``download``. What comes out of an archive lies in a temporary folder, which is gone at
the end of the ``with`` block, however that ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from libferry.audit.inputs.limits import Budget, Limits
from libferry.audit.inputs.model import INSIDE, Item, Kind, Tree
from libferry.audit.inputs.native import HEAD, find, head_of, is_native
from libferry.errors import BadArchive, LibraryNotFound

if TYPE_CHECKING:
    from libferry.audit.inputs.unpacking import Unpacking

_SYSTEM_SIGNS = ("etc/os-release", "usr/lib/os-release", "etc/ld.so.conf", "etc/ld.so.cache")
_SYSTEM_FOLDERS = ("usr/lib", "lib")
# Filesystem Hierarchy Standard 3.0: what the kernel shows there, and what is for a while
_NOT_INSTALLED = ("dev", "proc", "run", "sys", "tmp", "var/tmp")


@contextmanager
def opened(path: str | os.PathLike[str], limits: Limits | None = None) -> Iterator[Tree]:
    """The native files that ``path`` means, for as long as the block lasts.

    Args:
        path: a file, a folder, a package, an archive, an image or a root file system.
        limits: what an archive may cost.

    Raises:
        LibraryNotFound: there is nothing at that path.
        BadArchive: it cannot be unpacked: damaged, hostile, too large, or in need of zstd.
    """
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    place = Path(path)
    if place.is_dir():
        if _is_image(place):
            with _unpacked(place, shown, "image", limits or Limits()) as tree:
                yield tree
        else:
            yield _folder(place, shown)
        return
    kind = _kind(place, shown)
    if kind == "file":
        yield Tree("file", shown, place.absolute().parent, (Item(place.absolute(), shown),))
        return
    with _unpacked(place, shown, kind, limits or Limits()) as tree:
        yield tree


def archive_digest(path: str | os.PathLike[str]) -> str:
    """The digest of an archive or an image; "" for what is none."""
    place = Path(path)
    if place.is_dir():
        return digest(place) if _is_image(place) else ""
    return "" if _kind(place, os.fspath(path)) == "file" else digest(place)


def is_one_file(path: str | os.PathLike[str]) -> bool:
    """Whether a path is neither a folder nor an archive, or there is nothing at it."""
    try:
        return not os.path.isdir(path) and _kind(Path(path), os.fspath(path)) == "file"
    except LibraryNotFound:
        return True


def _is_image(place: Path) -> bool:
    from libferry.audit.inputs.image import is_image_folder

    return is_image_folder(place)


def is_system(folder: Path) -> bool:
    """Whether a folder is the root of a whole system."""
    return any((folder / sign).is_file() for sign in _SYSTEM_SIGNS) and any(
        (folder / name).is_dir() for name in _SYSTEM_FOLDERS
    )


def _folder(place: Path, shown: str) -> Tree:
    whole = is_system(place)
    root = str(place.absolute())
    prefix = shown.rstrip("/") + "/"
    start = len(root.rstrip("/")) + 1
    files = sorted(find(root, _NOT_INSTALLED if whole else ()))
    items = tuple(Item(Path(file), prefix + _readable(file[start:])) for file in files)
    return Tree("system" if whole else "directory", shown, Path(root), items, whole=whole)


def _readable(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _kind(place: Path, shown: str) -> Kind:
    """What a file is. What cannot be read is a file: to read it gives the right error."""
    try:
        if not place.is_file():
            return "file"
        head = head_of(place)
    except (OSError, ValueError) as error:
        raise LibraryNotFound(
            f"read {shown}", str(getattr(error, "strerror", None) or error), hint="check the path"
        ) from None
    if is_native(head) or head.startswith((b"\x7fELF", b"MZ")):
        return "file"
    from libferry.audit.inputs import deb, rpm, tar, zip
    from libferry.audit.inputs.streams import Stream, compression

    if head.startswith(zip.MAGICS):
        return "wheel" if place.name.endswith(".whl") else "zip"
    if head.startswith(deb.MAGIC):
        return "deb"
    if head.startswith(rpm.MAGIC):
        return "rpm"
    if tar.is_tar(head):
        return "tar"
    if compression(head) is not None:
        with place.open("rb") as file:
            budget = Budget(f"unpack {shown}", HEAD, Limits())
            if tar.is_tar(Stream(file, budget).read(tar.BLOCK)):
                return "tar"
    return "file"


@contextmanager
def _unpacked(place: Path, shown: str, kind: Kind, limits: Limits) -> Iterator[Tree]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="libferry-check-") as scratch:
        yield _unpack(place, shown, kind, limits, Path(scratch))


def _unpack(place: Path, shown: str, kind: Kind, limits: Limits, scratch: Path) -> Tree:
    from libferry.audit.inputs.unpacking import Unpacking

    tried = f"unpack {shown}"
    try:
        budget = Budget(tried, size_of(place), limits)
        unpacking = Unpacking(scratch, budget)
        kind = _read_into(unpacking, place, kind, scratch)
        names = unpacking.lay_out()
    except OSError as error:
        if isinstance(error, BadArchive):
            raise
        raise budget.bad(
            f"it cannot be read: {error.strerror}", hint="check the disk, and who may read it"
        ) from None
    items = tuple(
        Item(unpacking.root / name, f"{shown}{INSIDE}{_readable(name)}") for name in names
    )
    target: str | None = None
    directories: tuple[str, ...] = ()
    if kind == "wheel":
        from libferry.audit.inputs.wheel import added_folders, target_of

        target = target_of(place.name)
        directories = added_folders(unpacking.root, names)
    whole = kind == "image" or (kind == "tar" and is_system(unpacking.root))
    return Tree(
        kind,
        shown,
        unpacking.root,
        items,
        content=digest(place),
        target=target,
        whole=whole,
        installs=kind in ("deb", "rpm"),
        directories=directories,
    )


def _read_into(unpacking: Unpacking, place: Path, kind: Kind, scratch: Path) -> Kind:
    """Read an archive, and say what it turned out to be."""
    from libferry.audit.inputs import deb, image, rpm, tar, zip
    from libferry.audit.inputs.streams import Stream

    if kind == "image":
        image.unpack(image.FolderParts(place), unpacking)
        return kind
    if kind in ("wheel", "zip"):
        zip.unpack(place, unpacking)
        return kind
    if kind == "tar" and (parts := image.parts_of_tar(place, scratch, unpacking.budget)):
        image.unpack(parts, unpacking)
        return "image"
    with place.open("rb") as file:
        stream = Stream(file, unpacking.budget)
        {"tar": tar.unpack, "deb": deb.unpack, "rpm": rpm.unpack}[kind](stream, unpacking)
    return kind


def size_of(place: Path) -> int:
    """Bytes of a file, or of the files below a folder."""
    if place.is_file():
        return place.stat().st_size
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())


def digest(place: Path) -> str:
    """SHA-256 of a file, or of what lies in an image's folder."""
    import hashlib

    if place.is_file():
        with place.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    seen = hashlib.sha256()
    for part in sorted(part for part in place.rglob("*") if part.is_file()):
        seen.update(f"{part.relative_to(place)}\0{digest(part)}\n".encode("utf-8", "replace"))
    return seen.hexdigest()
