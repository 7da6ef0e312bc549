"""Crafted DLLs, and what Wine's loader does with them: one process a case, one Wine for all.

The DLLs are compiled here: ``leaf.dll`` needs nothing, ``mid.dll`` needs ``leaf.dll``,
``top.dll`` needs ``hop.dll``, whose only export leads on to ``leaf.dll``, and ``leaf32.dll`` is
``leaf.dll`` for 32 bits. Where a case has one is up to the case.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from libferry.runtime import wine
from libferry.runtime.environment import child_environment

ENTRY = "int DllMainCRTStartup(void *a, unsigned b, void *c) { return 1; }\n"
EXPORT, IMPORT = "__declspec(dllexport)", "__declspec(dllimport)"
# name: (source, what it is linked with)
SOURCES = {
    "leaf.dll": (f"{EXPORT} int leaf(void) {{ return 1; }}\n", ()),
    "mid.dll": (
        f"{IMPORT} int leaf(void); {EXPORT} int mid(void) {{ return leaf(); }}\n",
        ("leaf",),
    ),
    "hop.dll": (
        '__asm__(".section .drectve\\n.ascii \\" -export:hop=leaf.leaf\\"\\n.text\\n");\n',
        (),
    ),
    "top.dll": (f"{IMPORT} int hop(void); {EXPORT} int top(void) {{ return hop(); }}\n", ("hop",)),
    "wants.dll": (
        f"{IMPORT} int more(void); {EXPORT} int w(void) {{ return more(); }}\n",
        ("more",),
    ),
    "more.dll": (f"{EXPORT} int more(void) {{ return 2; }}\n", ()),
}


@dataclass(frozen=True)
class Case:
    """One call of LoadLibraryEx.

    Attributes:
        files: relative path: which DLL, or text.
        load: name or path; ``{here}`` is the case's folder, as Windows sees it.
        flags: by name.
        current, path: folders of the case: the current one, and those in PATH.
        add: folders given to AddDllDirectory.
        set_folder: given to SetDllDirectory.
        default: flags given to SetDefaultDllDirectories.
        before: paths that are loaded first.
        where: a module that is asked for afterwards.
    """

    files: Mapping[str, str]
    load: str
    flags: tuple[str, ...] = ()
    current: str = "current"
    path: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    set_folder: str = ""
    default: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    where: str = "leaf.dll"


def build(place: Path) -> dict[str, Path]:
    """Compile all DLLs and the runner."""
    place.mkdir()
    for name, (source, _) in SOURCES.items():
        (place / f"{name}.c").write_text(ENTRY + source)
    libraries = {}
    for name in ("leaf.dll", "hop.dll", "more.dll", "mid.dll", "top.dll", "wants.dll"):
        needed = [f"{one}.dll" for one in SOURCES[name][1]]
        libraries[name] = _compile(place, "x86_64", f"{name}.c", name, "-shared", *needed)
    libraries["leaf32.dll"] = _compile(place, "x86", "leaf.dll.c", "leaf32.dll", "-shared")
    shutil.copy(Path(__file__).with_name("runner.c"), place)
    libraries["runner.exe"] = _compile(place, "x86_64", "runner.c", "runner.exe")
    return libraries


def _compile(place: Path, cpu: str, source: str, output: str, *flags: str) -> Path:
    command = [sys.executable, "-m", "ziglang", "cc", "-target", f"{cpu}-windows-gnu", "-O2", "-s"]
    command += ["-fno-sanitize=all", "-o", output, source, *flags]
    if "-shared" in flags:
        command.append("-nostdlib")
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place / output


def lay_out(case: Case, folder: Path, libraries: Mapping[str, Path]) -> None:
    """Make a case's folder: the program in ``app``, and its files."""
    for name in ("app", "current"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(libraries["runner.exe"], folder / "app" / "runner.exe")
    for relative, what in case.files.items():
        file = folder / relative
        file.parent.mkdir(parents=True, exist_ok=True)
        if what in libraries:
            shutil.copy(libraries[what], file)
        else:
            file.write_text(what)


def words(case: Case, here: str, bits: Mapping[str, int]) -> str:
    """What the runner is told."""

    def value(flags: tuple[str, ...]) -> str:
        return f"{sum(bits[flag] for flag in flags):x}"

    parts = [rf"add={here}\{folder}" for folder in case.add]
    if case.set_folder:
        parts.append(rf"set={here}\{case.set_folder}")
    if case.default:
        parts.append(f"default={value(case.default)}")
    parts += [rf"0={here}\{path}" for path in case.before]
    parts.append(f"{value(case.flags)}={case.load.format(here=here)}")
    return " ".join(f'"{part}"' for part in [*parts, f"where={case.where}"])


def run(cases: Mapping[str, Case], place: Path, bits: Mapping[str, int]) -> dict[str, list[str]]:
    """What Wine did: for each case the lines that the runner printed."""
    lines = []
    for name, case in cases.items():
        here = wine.windows_path(place / name)
        path = ";".join(rf"{here}\{folder}" for folder in case.path) or r"C:\windows"
        program = rf"{here}\app\runner.exe"
        lines.append(f"{program}|{here}\\{case.current}|{path}|{words(case, here, bits)}")
    batch = place / "batch.txt"
    batch.write_text("\n".join(lines) + "\n")
    wine.ensure_running()
    program_of_wine = wine.program()
    assert program_of_wine is not None
    first = place / next(iter(cases)) / "app" / "runner.exe"
    done = subprocess.run(
        [program_of_wine, str(first), "batch", wine.windows_path(batch)],
        env=child_environment(wine.environment()),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    outputs = done.stdout.replace("\r", "").split("case\n")[1:]
    assert len(outputs) == len(cases), done.stdout + done.stderr
    lines_of = (output.splitlines() for output in outputs)
    return {
        name: lines_[len(cases[name].before) :]
        for name, lines_ in zip(cases, lines_of, strict=True)
    }
