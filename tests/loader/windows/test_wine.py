"""Our account of LoadLibraryEx is what Wine's loader does.

Each case is one trap. Wine differs from Windows in some, and those are not here but in
``test_documented.py``: it has no KnownDLLs, binds a missing function to a stub instead of
failing with 127, and says 126 where a dependency is of the wrong bitness.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from libferry.loader.model import Node, Options
from libferry.loader.windows import error_number_of
from libferry.loader.windows.engine import Loader
from libferry.loader.windows.names import module_name
from libferry.loader.windows.process import Process, Search
from libferry.loader.windows.rules import ALTERED, SEARCH_FLAGS
from libferry.runtime import wine
from libferry.target import windows
from libferry.target.windows_system import WindowsSystem

from .wine import Case, lay_out, run

pytestmark = [
    pytest.mark.needs("/usr/lib/wine/wine64", "/usr/bin/wine64", install="apt-get install wine64"),
    pytest.mark.needs("ziglang", install="pip install ziglang"),
]

APPLICATION, USER = "LOAD_LIBRARY_SEARCH_APPLICATION_DIR", "LOAD_LIBRARY_SEARCH_USER_DIRS"
LOAD_DIR, SYSTEM32 = "LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR", "LOAD_LIBRARY_SEARCH_SYSTEM32"
DEFAULT = "LOAD_LIBRARY_SEARCH_DEFAULT_DIRS"
BITS = {ALTERED: 8, **{flag: bit for flag, (bit, _) in SEARCH_FLAGS.items()}}

APP, CURRENT, PATH, LIB = "app/leaf.dll", "current/leaf.dll", "path/leaf.dll", "lib/leaf.dll"
LEAF = "leaf.dll"
BESIDE = {"lib/mid.dll": "mid.dll", LIB: LEAF}
BY_PATH = r"{here}\lib\mid.dll"

CASES = {
    "beside-the-program": Case({APP: LEAF}, LEAF),
    "without-extension": Case({APP: LEAF}, "leaf"),
    "a-point-at-the-end-is-for-none": Case({"app/leaf": LEAF, APP: LEAF}, "leaf.", where="leaf."),
    "another-extension": Case({"app/leaf.pyd": LEAF}, "leaf.pyd", where="leaf.pyd"),
    "names-have-no-case": Case({"app/LeAf.DLL": LEAF}, "lEaF"),
    "nowhere": Case({}, LEAF),
    "in-the-current-folder": Case({CURRENT: LEAF}, LEAF),
    "in-path": Case({PATH: LEAF}, LEAF, path=("other", "path")),
    "program-before-current": Case({APP: LEAF, CURRENT: LEAF}, LEAF),
    "current-before-path": Case({CURRENT: LEAF, PATH: LEAF}, LEAF, path=("path",)),
    "path-in-its-order": Case({PATH: LEAF, LIB: LEAF}, LEAF, path=("lib", "path")),
    "a-relative-path-is-searched-for": Case({"app/sub/leaf.dll": LEAF}, r"sub\leaf.dll"),
    "a-full-path": Case({LIB: LEAF, APP: LEAF}, r"{here}\lib\leaf.dll"),
    "a-full-path-without-extension": Case({LIB: LEAF}, r"{here}\lib\leaf"),
    "a-full-path-with-slashes": Case({LIB: LEAF}, "{here}/lib/leaf.dll"),
    "a-full-path-to-nothing": Case({APP: LEAF}, r"{here}\lib\leaf.dll"),
    "what-lies-beside-a-dll-is-not-searched": Case(BESIDE, BY_PATH),
    "its-need-comes-from-the-program": Case({**BESIDE, APP: LEAF}, BY_PATH),
    "unless-the-path-is-altered": Case({**BESIDE, APP: LEAF}, BY_PATH, (ALTERED,)),
    "or-its-folder-is-asked-for": Case({**BESIDE, APP: LEAF}, BY_PATH, (LOAD_DIR, DEFAULT)),
    "its-folder-alone": Case({"lib/mid.dll": "mid.dll", APP: LEAF}, BY_PATH, (LOAD_DIR,)),
    "its-folder-for-a-bare-name": Case({APP: LEAF}, LEAF, (LOAD_DIR,)),
    "altered-and-search-flags": Case(BESIDE, BY_PATH, (ALTERED, DEFAULT)),
    "altered-for-a-bare-name": Case({CURRENT: LEAF}, LEAF, (ALTERED,)),
    "search-flags-leave-current-out": Case({CURRENT: LEAF}, LEAF, (DEFAULT,)),
    "search-flags-leave-path-out": Case({PATH: LEAF}, LEAF, (DEFAULT,), path=("path",)),
    "only-the-program": Case({APP: LEAF}, LEAF, (APPLICATION,)),
    "only-the-system": Case({APP: LEAF}, LEAF, (SYSTEM32,)),
    "added-folder": Case({LIB: LEAF}, LEAF, (USER,), add=("lib",)),
    "added-folder-without-flags": Case({LIB: LEAF}, LEAF, add=("lib",)),
    "added-folder-by-default": Case({LIB: LEAF}, LEAF, add=("lib",), default=(DEFAULT,)),
    "default-is-the-system-only": Case({APP: LEAF}, LEAF, default=(SYSTEM32,)),
    "flags-of-the-call-before-default": Case(
        {APP: LEAF}, LEAF, (APPLICATION,), default=(SYSTEM32,)
    ),
    "set-folder": Case({LIB: LEAF}, LEAF, set_folder="lib"),
    "set-folder-after-program": Case({LIB: LEAF, APP: LEAF}, LEAF, set_folder="lib"),
    "set-folder-leaves-current-out": Case({CURRENT: LEAF}, LEAF, set_folder="lib"),
    "set-folder-before-path": Case({LIB: LEAF, PATH: LEAF}, LEAF, path=("path",), set_folder="lib"),
    "set-folder-is-a-user-folder": Case({LIB: LEAF}, LEAF, (USER,), set_folder="lib"),
    "a-module-of-that-name-is-there": Case({LIB: LEAF, APP: LEAF}, LEAF, before=(r"lib\leaf.dll",)),
    "also-for-a-need": Case(
        {LIB: LEAF, APP: LEAF, "app/mid.dll": "mid.dll"}, "mid.dll", before=(r"lib\leaf.dll",)
    ),
    "two-of-one-name-by-path": Case(
        {LIB: LEAF, APP: LEAF},
        r"{here}\app\leaf.dll",
        before=(r"lib\leaf.dll",),
        where="kernelbase.dll",  # not leaf.dll: Windows gives the first of that name, Wine the last
    ),
    "another-bitness-is-passed-over": Case({APP: "leaf32.dll", PATH: LEAF}, LEAF, path=("path",)),
    "only-another-bitness": Case({APP: "leaf32.dll"}, LEAF),
    "another-bitness-by-path": Case({LIB: "leaf32.dll"}, r"{here}\lib\leaf.dll"),
    "no-library-at-all": Case({APP: "not a library"}, LEAF),
    "no-library-ends-the-search": Case({APP: "text", PATH: LEAF}, LEAF, path=("path",)),
    "a-folder-of-that-name": Case({"app/leaf.dll/x": "x", PATH: LEAF}, LEAF, path=("path",)),
    "a-need-that-is-missing": Case({"app/mid.dll": "mid.dll"}, "mid.dll"),
    "a-forward-loads-another": Case(
        {"app/top.dll": "top.dll", "app/hop.dll": "hop.dll", APP: LEAF}, "top.dll"
    ),
    "an-api-set-is-its-host": Case({}, "api-ms-win-core-synch-l1-2-0.dll", where="kernelbase.dll"),
    "an-api-set-of-a-later-minor-version": Case(
        {}, "api-ms-win-core-file-l1-2-0", where="kernelbase.dll"
    ),
    "no-such-api-set": Case({}, "api-ms-win-core-nothing-l1-1-0.dll"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, libraries: dict[str, Path]) -> Path:
    place = tmp_path_factory.mktemp("wine")
    for name, case in CASES.items():
        lay_out(case, place / name, libraries)
    return place


@pytest.fixture(scope="module")
def of_wine(place: Path) -> dict[str, list[str]]:
    return run(CASES, place, BITS)


def ours(case: Case, here: str) -> list[str]:
    """The lines that the runner would print, by our rules."""
    system = WindowsSystem(windows.target("windows-10-x64"), root=wine.prefix() / "drive_c")
    flags: list[str] = []
    if case.set_folder:
        flags.append(rf"SetDllDirectory={here}\{case.set_folder}")
    if case.default:
        flags.append(f"SetDefaultDllDirectories={'|'.join(case.default)}")
    options = Options(
        environment={"PATH": ";".join(rf"{here}\{folder}" for folder in case.path)},
        working_directory=rf"{here}\{case.current}",
        flags=tuple(flags),
        directories=tuple(rf"{here}\{folder}" for folder in case.add),
    )
    loader = Loader(Process(system, options, rf"{here}\app\runner.exe", "x86_64"))
    loader.start(None)
    for path in case.before:
        loader.load(rf"{here}\{path}", Search())
    top = loader.load(case.load.format(here=here), Search(case.flags))
    number = error_number_of(loader.problems)
    failed = number is not None
    return [f"error {number}" if failed else top.path, _where(loader, case.where, top, failed)]


def _where(loader: Loader, name: str, top: Node, failed: bool) -> str:
    """The first module of a name; a load that failed leaves none."""
    if failed:
        return "none"
    wanted = name.rstrip(".")
    return next((n.path for n in loader.order if module_name(n.path) == wanted), "none")


@pytest.mark.parametrize("name", CASES)
def test_wine_agrees(name: str, place: Path, of_wine: dict[str, list[str]]) -> None:
    predicted = ours(CASES[name], wine.windows_path(place / name))
    assert [line.lower() for line in of_wine[name]] == [line.lower() for line in predicted]
