"""What Windows is documented to do, and Wine does otherwise or cannot show.

No Windows is at hand: the expected values are those of the pages that ``loader/windows/rules.py``
names, and of other lists: Wine's table of API sets.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pefile  # type: ignore[import-untyped]
import pytest

from libferry.loader import resolve as resolve_file
from libferry.loader.model import Node, Options, Resolution
from libferry.loader.windows import error_number, resolve_name
from libferry.loader.windows.names import contract
from libferry.target import windows
from libferry.target.choose import system_for
from libferry.target.windows_system import WindowsSystem

from ...wheels import libraries_of, needs_wheels

pytestmark = pytest.mark.needs("ziglang", install="pip install ziglang")

Libraries = dict[str, Path]
WINE = Path("/usr/lib/x86_64-linux-gnu/wine")
needs_wine = pytest.mark.needs(
    f"{WINE}/i386-windows/ntdll.dll", install="tools/setup-debian, which brings Wine's files"
)


@pytest.fixture
def put(tmp_path: Path, libraries: Libraries) -> Callable[..., Path]:
    """Copy DLLs beside each other: ``put(leaf_dll="mid.dll")``; give the first."""

    def copy(**files: str) -> Path:
        placed = []
        for name, what in files.items():
            placed.append(tmp_path / name.replace("_dll", ".dll"))
            shutil.copy(libraries[what], placed[-1])
        return placed[0]

    return copy


def resolve(file: Path, target: str = "windows-10-x64", **options: object) -> Resolution:
    system = system_for(target, carried=[file.parent])
    return resolve_file(file, system, Options(**options))  # type: ignore[arg-type]


def ids(resolution: Resolution) -> list[str]:
    return [problem.id for problem in resolution.problems]


def need(resolution: Resolution, name: str) -> Node:
    return next(node for node in resolution.root.walk() if node.name.lower() == name)


# ---- errors of what is below ----


def test_a_need_of_another_bitness_is_error_193(put: Callable[..., Path]) -> None:
    """Wine says 126."""
    resolution = resolve(put(mid_dll="mid.dll", leaf_dll="leaf32.dll"))
    assert resolution.loads is False
    assert error_number(resolution) == 193
    tried = need(resolution, "leaf.dll").tried
    assert [step.outcome for step in tried[:1]] == ["skipped"]
    assert "i386" in tried[0].reason


def test_a_function_that_is_not_there_is_error_127(put: Callable[..., Path]) -> None:
    """Wine binds it to a stub, which fails when it is called."""
    resolution = resolve(put(wants_dll="wants.dll", more_dll="leaf.dll"))
    assert error_number(resolution) == 127
    assert ids(resolution) == ["missing-procedure"]
    assert resolution.problems[0].subject == "more.dll!more"


def test_a_number_that_is_not_there_is_error_182(put: Callable[..., Path]) -> None:
    file = put(wants_dll="wants.dll", more_dll="more.dll")
    with pefile.PE(data=file.read_bytes()) as pe:
        thunk = pe.DIRECTORY_ENTRY_IMPORT[0].imports[0].struct_table.get_file_offset()
        raw = bytearray(pe.__data__)
    struct.pack_into("<Q", raw, thunk, 1 << 63 | 99)
    file.write_bytes(raw)
    assert error_number(resolve(file)) == 182


def test_a_forward_to_what_is_missing(put: Callable[..., Path]) -> None:
    resolution = resolve(put(top_dll="top.dll", hop_dll="hop.dll"))
    assert ids(resolution) == ["forwarder-missing"]
    assert "leaf.dll is not there" in resolution.problems[0].message


def test_forwards_that_go_round(put: Callable[..., Path]) -> None:
    """hop.dll!hop leads to leaf.dll!leaf, and that back."""
    file = put(top_dll="top.dll", hop_dll="hop.dll", leaf_dll="hop.dll")
    for name, text in (("hop.dll", b"leaf.hop"), ("leaf.dll", b"hop.hop\0\0")):
        other = file.with_name(name)
        other.write_bytes(other.read_bytes().replace(b"leaf.leaf", text.ljust(9, b"\0")))
    resolution = resolve(file)
    assert ids(resolution) == ["forwarder-missing"]
    assert "go round" in resolution.problems[0].message


@needs_wheels("windows-x86")
def test_what_is_loaded_late_fails_late(tmp_path: Path) -> None:
    original = next(
        path for path in libraries_of("windows-x86", tmp_path) if path.name == "win32evtlog.pyd"
    )
    file = tmp_path / "late.dll"
    file.write_bytes(original.read_bytes().replace(b"wevtapi.dll", b"nowhere.dll"))
    resolution = resolve(file, "windows-10-x86")
    when = {problem.subject: problem.when for problem in resolution.problems}
    assert when["nowhere.dll"] == "call"
    assert when["python312.dll"] == "load"
    assert need(resolution, "nowhere.dll").state == "ignored"


# ---- where it is looked for ----


def test_known_dlls_are_taken_from_the_system_and_others_are_not(put: Callable[..., Path]) -> None:
    """Wine has no KnownDLLs."""
    put(ole32_dll="leaf.dll", version_dll="leaf.dll")
    file = put(leaf_dll="leaf.dll")
    system = system_for("windows-10-x64", carried=[file.parent])
    options = Options(host=r"C:\app\program.exe")
    known = resolve_name("ole32.dll", system, options)
    assert (known.root.path, known.root.how) == (r"C:\Windows\System32\ole32.dll", "KnownDLLs")
    assert resolve_name("version.dll", system, options).root.path == r"C:\app\version.dll"


def test_without_safe_search_the_current_folder_comes_second(put: Callable[..., Path]) -> None:
    file = put(version_dll="leaf.dll")
    system = system_for("windows-10-x64", carried=[file.parent])
    here = {"host": r"C:\else\program.exe", "working_directory": r"C:\app"}
    safe = resolve_name("version.dll", system, Options(**here))  # type: ignore[arg-type]
    assert safe.root.path == r"C:\Windows\System32\version.dll"
    unsafe = Options(**here, flags=("SafeDllSearchMode=0",))  # type: ignore[arg-type]
    assert resolve_name("version.dll", system, unsafe).root.path == r"C:\app\version.dll"


def program(place: Path, cpu: str, name: str = "program.exe") -> Path:
    """Make a program that imports leaf.dll and kernel32.dll only."""
    (place / "program.c").write_text(
        "__declspec(dllimport) int leaf(void);"
        "__declspec(dllimport) void __stdcall ExitProcess(unsigned);"
        "void wWinMainCRTStartup(void) { ExitProcess(leaf()); }"
    )
    (place / "exporting.c").write_text(
        "__declspec(dllexport) int leaf(void) { return 1; }"
        "int DllMainCRTStartup(void *a, unsigned b, void *c) { return 1; }"
    )
    command = [sys.executable, "-m", "ziglang", "cc", "-target", f"{cpu}-windows-gnu"]
    command += ["-fno-sanitize=all", "-nostdlib", "-s"]
    for arguments in (
        ["-shared", "exporting.c", "-o", "leaf.dll"],
        ["program.c", "leaf.dll", "-lkernel32", "-o", name],
    ):
        done = subprocess.run(
            [*command, *arguments], cwd=place, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    return place / name


def test_a_32_bit_program_has_a_system_folder_of_its_own(tmp_path: Path) -> None:
    resolution = resolve(program(tmp_path, "x86"))
    assert resolution.loads, resolution.problems
    assert need(resolution, "kernel32.dll").path == r"C:\Windows\SysWOW64\kernel32.dll"


def test_which_programs_an_arm64_windows_runs(tmp_path: Path) -> None:
    file = program(tmp_path, "x86_64")
    assert error_number(resolve(file, "windows-10-arm64")) == 193
    assert "wrong-bitness" not in ids(resolve(file, "windows-11-arm64"))


def test_an_x64_dll_in_an_arm64_process(put: Callable[..., Path]) -> None:
    assert error_number(resolve(put(leaf_dll="leaf.dll"), "windows-11-arm64")) == 193


def test_a_program_for_a_newer_windows(tmp_path: Path) -> None:
    file = program(tmp_path, "x86_64")
    with pefile.PE(data=file.read_bytes()) as pe:
        pe.OPTIONAL_HEADER.MajorSubsystemVersion = 10
        file.write_bytes(pe.write())
    assert error_number(resolve(file, "windows-7-x64")) == 1150
    assert resolve(file, "windows-10-x64").loads


# ---- side by side ----

ASKING = """<assembly xmlns="urn:schemas-microsoft-com:asm.v1" manifestVersion="1.0"><dependency>
  <dependentAssembly><assemblyIdentity type="win32" name="mine" version="1.0.0.0"/>
  </dependentAssembly></dependency></assembly>"""
ASSEMBLY = """<assembly xmlns="urn:schemas-microsoft-com:asm.v1" manifestVersion="1.0">
  <assemblyIdentity type="win32" name="mine" version="1.0.0.0"/><file name="leaf.dll"/>
  </assembly>"""


def test_an_assembly_that_is_not_there_is_error_14001(tmp_path: Path) -> None:
    file = program(tmp_path, "x86_64")
    (tmp_path / "program.exe.manifest").write_text(ASKING)
    assert error_number(resolve(file)) == 14001


def test_a_private_assembly_comes_before_the_programs_folder(tmp_path: Path) -> None:
    file = program(tmp_path, "x86_64")
    (tmp_path / "program.exe.manifest").write_text(ASKING)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.manifest").write_text(ASSEMBLY)
    shutil.copy(tmp_path / "leaf.dll", tmp_path / "mine" / "leaf.dll")
    resolution = resolve(file)
    assert resolution.loads, resolution.problems
    assert need(resolution, "leaf.dll").path == r"C:\app\mine\leaf.dll"


def test_a_local_folder_redirects_unless_there_is_a_manifest(tmp_path: Path) -> None:
    file = program(tmp_path, "x86_64")
    (tmp_path / "program.exe.local").mkdir()
    shutil.copy(tmp_path / "leaf.dll", tmp_path / "program.exe.local" / "leaf.dll")
    assert need(resolve(file), "leaf.dll").path == r"C:\app\program.exe.local\leaf.dll"
    (tmp_path / "program.exe.manifest").write_text(ASSEMBLY)
    assert need(resolve(file), "leaf.dll").path == r"C:\app\leaf.dll"


# ---- what a Windows has ----


def test_an_api_set_is_of_a_version_of_windows() -> None:
    name = "api-ms-win-core-synch-l1-2-0.dll"
    seven = resolve_name(name, system_for("windows-7-x64"), Options())
    assert ids(seven) == ["api-set-missing"]
    ten = resolve_name(name, system_for("windows-10-x64"), Options())
    assert ten.root.path == r"C:\Windows\System32\kernelbase.dll"


def test_an_api_set_may_lie_beside_the_program_as_a_file(put: Callable[..., Path]) -> None:
    """The Universal C Runtime for Windows 7 is delivered so."""
    file = put(leaf_dll="leaf.dll")
    name = "api-ms-win-crt-runtime-l1-1-0.dll"
    shutil.copy(file, file.with_name(name))
    system = system_for("windows-7-x64", carried=[file.parent])
    options = Options(host=r"C:\app\program.exe")
    assert resolve_name(name, system, options).root.path == rf"C:\app\{name}"
    newer = system_for("windows-10-x64", carried=[file.parent])
    assert resolve_name(name, newer, options).root.path == r"C:\Windows\System32\ucrtbase.dll"


@needs_wine
def test_the_hosts_of_api_sets_are_those_that_wine_has() -> None:
    """Wine has merged some, such as winmmbase.dll into winmm.dll."""
    ours = windows.target("windows-10-x64").facts["api_sets"]
    assert isinstance(ours, dict)
    by_contract = {contract(name)[1]: host for name, host in ours.items()}
    agreed = [
        by_contract[contract(name)[1]] == host
        for name, host in api_sets(WINE / "x86_64-windows/apisetschema.dll")
        if contract(name)[1] in by_contract
    ]
    assert len(agreed) > 400
    assert sum(agreed) > 0.9 * len(agreed)


def api_sets(file: Path) -> list[tuple[str, str]]:
    """Read a table of version 6: contracts and their first hosts."""
    with pefile.PE(str(file), fast_load=True) as pe:
        section = next(s for s in pe.sections if s.Name.startswith(b".apiset"))
        data = section.get_data()
    _, _, _, count, entries = struct.unpack_from("<5I", data)
    found = []
    for number in range(count):
        _, name, size, _, values, hosts = struct.unpack_from("<6I", data, entries + 24 * number)
        at, length = struct.unpack_from("<12xII", data, values) if hosts else (0, 0)
        host = data[at : at + length].decode("utf-16-le")
        found.append((data[name : name + size].decode("utf-16-le"), host))
    return found


def test_a_function_that_came_after_windows_7(tmp_path: Path) -> None:
    """Of kernel32.dll, which has it since Windows 8."""
    (tmp_path / "a.c").write_text(
        "__declspec(dllimport) void GetSystemTimePreciseAsFileTime(void *);"
        "__declspec(dllexport) void a(void *t) { GetSystemTimePreciseAsFileTime(t); }"
        "int DllMainCRTStartup(void *a, unsigned b, void *c) { return 1; }"
    )
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-windows-gnu"]
    command += ["-shared", "-nostdlib", "-fno-sanitize=all", "a.c", "-lkernel32", "-o", "a.dll"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    resolution = resolve(tmp_path / "a.dll", "windows-7-x64")
    assert error_number(resolution) == 127
    assert "since Windows 6.2" in resolution.problems[0].message
    assert resolve(tmp_path / "a.dll", "windows-10-x64").loads


def test_the_c_runtimes_that_come_with_windows_and_those_that_do_not() -> None:
    for target, name, there in (
        ("windows-7-x64", "msvcrt.dll", True),
        ("windows-7-x64", "ucrtbase.dll", False),
        ("windows-10-x64", "ucrtbase.dll", True),
        ("windows-11-arm64", "ucrtbase.dll", True),
        ("windows-10-x64", "vcruntime140.dll", False),
        ("windows-10-x64", "msvcp140.dll", False),
    ):
        resolution = resolve_name(name, system_for(target), Options())
        assert resolution.loads is there, (target, name)
        assert there or "comes with" in resolution.problems[0].message


def test_a_dll_that_perhaps_only_another_edition_has_is_not_known() -> None:
    """It is on the discs of arm64; of the 32-bit DLLs there is no list so complete."""
    target = windows.target("windows-10-x86")
    likely = target.facts["likely"]
    assert isinstance(likely, tuple)
    resolution = resolve_name(likely[0], WindowsSystem(target), Options())
    assert resolution.root.state == "unknown"
    assert resolution.loads is None


@needs_wine
@pytest.mark.parametrize(
    ("target", "folder"), [("windows-10-x64", "x86_64-windows"), ("windows-10-x86", "i386-windows")]
)
def test_all_of_wines_dlls_find_what_they_import(target: str, folder: str, tmp_path: Path) -> None:
    """They come from one build, so each has all that it asks for."""
    system = WindowsSystem(windows.target(target), carried=[WINE / folder], root=tmp_path)
    failed = {}
    files = sorted((WINE / folder).glob("*.dll"))
    for path in files:
        resolution = resolve_file(path, system)
        if not resolution.loads:
            failed[path.name] = resolution.problems[0].message
    assert len(files) > 400
    assert not failed
