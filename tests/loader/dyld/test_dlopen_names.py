"""What dlopen does with a name that is no path, before any file is opened."""

from __future__ import annotations

from libferry.loader.dyld.paths import Link, Request, candidates
from libferry.loader.dyld.process import process_of
from libferry.loader.model import Options

from .conftest import target

PROGRAM = Link("/app/main", ("@loader_path/dir1",))


def tried(name: str, variables: str = "", *, falls_back: bool = False) -> list[str]:
    options = Options(environment=dict(one.split("=") for one in variables.split()))
    process = process_of(target("macos-12-x64"), options, None)
    if not falls_back:
        process = process_of(target("macos-15-x64"), options, None)
    request = Request(name, (PROGRAM,), linked=False, falls_back=falls_back)
    return [candidate.path for candidate in candidates(request, process)]


def test_a_leaf_name_is_looked_for_in_rpaths_then_usr_lib_then_here() -> None:
    """dlopen-rpath-implicit, amfi-hardened-dlopen-leaf."""
    paths = ["/app/dir1/libfoo.dylib", "/usr/lib/libfoo.dylib", "libfoo.dylib"]
    assert tried("libfoo.dylib") == paths


def test_a_relative_path_is_looked_for_below_rpaths_too() -> None:
    """dlopen-rpath-implicit."""
    assert tried("dir2/libdeep.dylib")[0] == "/app/dir1/dir2/libdeep.dylib"


def test_fallback_folders_are_for_leaf_names_only() -> None:
    """dlopen-DYLD_FALLBACK_LIBRARY_PATH."""
    fallback = "DYLD_FALLBACK_LIBRARY_PATH=/fallback"
    assert tried("libfoo.dylib", fallback)[-1] == "/fallback/libfoo.dylib"
    assert "/fallback/libfoo.dylib" not in tried("/nope/libfoo.dylib", fallback)
    assert "/usr/local/lib/libfoo.dylib" in tried("libfoo.dylib", falls_back=True)


def test_library_path_comes_before_all_that() -> None:
    """dlopen-DYLD_LIBRARY_PATH."""
    first = tried("libfoo.dylib", "DYLD_LIBRARY_PATH=/one:/two")[:2]
    assert first == ["/one/libfoo.dylib", "/two/libfoo.dylib"]
