"""What we read from other people's Mach-O files is what LIEF reads.

These are the libraries in wheels for macOS, and those that delocate's own tests use: made
by Apple's linkers of fifteen years, for x86_64, i386 and arm64, thin and universal, with
opcodes and with chained fixups.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import lief
import pytest

from libferry.binary import Binary, read
from libferry.binary.macho.facts import WEAK_LOOKUP
from libferry.binary.macho.view import MachOView

from ..wheels import libraries_of, needs_wheels

pytestmark = [needs_wheels("macos-arm64"), needs_wheels("macos-x86_64")]

Slice = tuple[Binary, MachOView, lief.MachO.Binary]


def delocate_has() -> list[Path]:
    found = importlib.util.find_spec("delocate")
    assert found is not None
    assert found.origin is not None
    data = Path(found.origin).parent / "tests" / "data"
    return sorted(path for path in data.iterdir() if path.suffix in (".dylib", ".so"))


@pytest.fixture(scope="module")
def slices(tmp_path_factory: pytest.TempPathFactory) -> list[Slice]:
    place = tmp_path_factory.mktemp("wheels")
    files = [*libraries_of("macos-arm64", place), *libraries_of("macos-x86_64", place)]
    assert len(files) > 100
    return [each for path in [*files, *delocate_has()] for each in slices_of(path)]


def slices_of(path: Path) -> Iterator[Slice]:
    theirs = lief.MachO.parse(path)
    assert theirs is not None
    KEPT.append(theirs)
    first = read(path).view
    assert isinstance(first, MachOView)
    assert len(first.all_slices) == len(theirs)
    for index, binary in enumerate(first.all_slices):
        view, other = binary.view, theirs.at(index)
        assert isinstance(view, MachOView)
        assert other is not None
        yield binary, view, other


# LIEF frees a file's slices together with the file, even if they are still in use.
KEPT: list[lief.MachO.FatBinary] = []


def test_there_is_something_of_every_kind(slices: list[Slice]) -> None:
    assert {view.fixups for _, view, _ in slices} >= {"opcodes", "chained"}
    assert {view.architecture for _, view, _ in slices} >= {"arm64", "x86_64", "i386"}
    assert {view.file_type for _, view, _ in slices} >= {"DYLIB", "BUNDLE"}


def test_needed_libraries_and_paths_agree(slices: list[Slice]) -> None:
    for binary, view, theirs in slices:
        others = [
            library
            for library in theirs.libraries
            if library.command != lief.MachO.LoadCommand.TYPE.ID_DYLIB
        ]
        assert list(binary.needed) == [library.name for library in others]
        assert [(one.current, one.compatibility) for one in view.linked] == [
            (tuple(one.current_version), tuple(one.compatibility_version)) for one in others
        ]
        assert list(binary.rpath) == [rpath.path for rpath in theirs.rpaths]


def test_exports_agree(slices: list[Slice]) -> None:
    for binary, view, theirs in slices:
        information = theirs.dyld_exports_trie or theirs.dyld_info
        if information is None:
            continue
        expected = [each for each in information.exports if each.symbol]
        reexport = int(lief.MachO.ExportInfo.FLAGS.REEXPORT)
        assert {("_" + e.name, e.address) for e in binary.exports if e.kind != "forward"} == {
            (e.symbol.name, e.address) for e in expected if e.symbol and not e.flags & reexport
        }
        assert {"_" + name for name in view.reexported} == {
            e.symbol.name for e in expected if e.symbol and e.flags & reexport
        }


def test_imports_agree_with_the_libraries_they_are_from(slices: list[Slice]) -> None:
    for binary, view, theirs in slices:
        names = ["", *binary.needed]
        ours = {
            (bind.name, names[max(bind.ordinal, 0)], bind.weak)
            for bind in view.binds
            if bind.ordinal != WEAK_LOOKUP
        }
        assert ours == set(bindings(theirs)), binary.path


def bindings(theirs: lief.MachO.Binary) -> Iterator[tuple[str, str, bool]]:
    """Those that say a library: the others bind what all libraries of a process share."""
    weak = lief.MachO.DyldBindingInfo.CLASS.WEAK
    if theirs.dyld_chained_fixups is not None:
        for fixup in theirs.dyld_chained_fixups.bindings:
            if fixup.symbol is not None and fixup.library_ordinal != WEAK_LOOKUP:
                library = fixup.library.name if fixup.library else ""
                yield str(fixup.symbol.name), library, fixup.weak_import
    elif theirs.dyld_info is not None:
        for bind in theirs.dyld_info.bindings:
            if bind.symbol is not None and bind.binding_class != weak:
                library = bind.library.name if bind.library else ""
                yield str(bind.symbol.name), library, bind.weak_import


def test_segments_agree(slices: list[Slice]) -> None:
    for binary, view, theirs in slices:
        ours = [
            (one.name, one.address, one.size, one.offset, one.file_size) for one in binary.segments
        ]
        assert ours == [
            (one.name, one.virtual_address, one.virtual_size, one.file_offset, one.file_size)
            for one in theirs.segments
        ]
        first = [one.readable | one.writable << 1 | one.executable << 2 for one in binary.segments]
        assert first == [one.init_protection for one in theirs.segments]
        most = [r | w << 1 | x << 2 for r, w, x in view.maximum_protections]
        assert most == [one.max_protection for one in theirs.segments]


def test_platform_and_identity_agree(slices: list[Slice]) -> None:
    for binary, view, theirs in slices:
        if theirs.build_version is not None:
            first = view.platforms[0]
            assert first.name.lower() == theirs.build_version.platform.name.lower()
            assert first.minimum == tuple(theirs.build_version.minos)
            assert first.sdk == tuple(theirs.build_version.sdk)
            assert len(first.tools) == len(theirs.build_version.tools)
        elif theirs.version_min is not None:
            assert view.platforms[0].minimum == tuple(theirs.version_min.version)
            assert view.platforms[0].sdk == tuple(theirs.version_min.sdk)
        uuid = bytes(theirs.uuid.uuid).hex() if theirs.uuid else None
        assert binary.debug.build_id == uuid
        assert view.flags == {flag.name for flag in theirs.header.flags_list}


def test_signatures_are_where_lief_sees_them(slices: list[Slice]) -> None:
    for binary, _, theirs in slices:
        place = theirs.code_signature
        assert (binary.signature is not None) == (place is not None and place.data_size > 0)
        if binary.signature is not None and place is not None:
            # cs_blobs.h: the identifier lies in the code directory, with a NUL behind it
            assert binary.signature.identifier is not None
            assert binary.signature.identifier.encode() + b"\0" in bytes(place.content)
