"""Reading every library there is: who it needs, where it looks, what it exports.

Each contender gives the same of each file: needed libraries, search paths, and the name of
each export, of ELF with its version where it has one. LIEF is told to leave out all else, as
far as it can be told. Times are CPU times of this process, for all files together.

    python -m bench.reading FORMAT CONTENDER

reads them once, and writes by how many bytes the process has grown at most.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from libferry.binary import read
from libferry.errors import FerryError

from .build import OUTPUT, NotAvailableError, optional
from .rounds import Contender, Run, Section
from .units import show_bytes

ROOT = Path(__file__).parents[1]
WHEELS = ROOT / "build" / "wheels"
SYSTEM = (Path("/usr/lib"), Path("/lib"))
MAGICS = {
    "elf": (b"\x7fELF",),
    "pe": (b"MZ",),
    "macho": (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"),
}
NAMES = {"elf": (".so",), "pe": (".dll", ".pyd"), "macho": (".so", ".dylib")}

Read = Callable[[Path], object]


@cache
def files(kind: str) -> tuple[Path, ...]:
    """The system's libraries; of other systems, those of the wheels in build/wheels and Wine's."""
    places = list(SYSTEM) if kind != "macho" else []
    if kind != "elf":
        places.append(_unpacked("windows-*" if kind == "pe" else "macos-*"))
    found: dict[tuple[int, int], Path] = {}
    for place in places:
        for folder, _, names in os.walk(place):
            for name in names:
                path = Path(folder, name)
                if any(end in name for end in NAMES[kind]) and _begins(path, MAGICS[kind]):
                    status = path.stat()
                    found.setdefault((status.st_dev, status.st_ino), path)
    if not found:
        raise NotAvailableError("no such files: make wheels")
    return tuple(found.values())


def _begins(path: Path, magics: tuple[bytes, ...]) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4).startswith(magics)


def _unpacked(platforms: str) -> Path:
    place = OUTPUT / "wheels"
    for wheel in WHEELS.glob(f"{platforms}/*.whl"):
        folder = place / wheel.parent.name / wheel.stem
        if not folder.exists():
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
    return place


def _ours(path: Path) -> object:
    try:
        binary = read(path)
        exports = [(export.name, export.version) for export in binary.exports]
    except FerryError:
        return None
    return binary.needed, binary.rpath, binary.runpath, exports


def _lief_elf() -> Read:
    lief = optional("lief", "pip install lief")
    lief.logging.disable()
    config = lief.ELF.ParserConfig()
    config.parse_relocations = config.parse_notes = config.parse_overlay = False
    config.parse_symtab_symbols = False
    tags = lief.ELF.DynamicEntry.TAG

    def one(path: Path) -> object:
        parsed = lief.ELF.parse(path, config)
        if parsed is None:
            return None
        paths = [parsed.get(tag) for tag in (tags.RPATH, tags.RUNPATH)]
        exports = [
            (symbol.name, symbol.symbol_version if symbol.has_version else None)
            for symbol in parsed.dynamic_symbols
            if symbol.exported
        ]
        return parsed.libraries, [found.paths for found in paths if found], exports

    return one


def _lief_elf_names() -> Read:
    lief = optional("lief", "pip install lief")
    lief.logging.disable()
    config = lief.ELF.ParserConfig()
    config.parse_relocations = config.parse_notes = config.parse_overlay = False
    config.parse_symtab_symbols = config.parse_symbol_versions = False

    def one(path: Path) -> object:
        parsed = lief.ELF.parse(path, config)
        if parsed is None:
            return None
        exports = [symbol.name for symbol in parsed.dynamic_symbols if symbol.exported]
        return parsed.libraries, exports

    return one


def _pyelftools() -> Read:
    module = optional("elftools.elf.elffile", "pip install pyelftools")

    def one(path: Path) -> object:
        with path.open("rb") as file:
            elf = module.ELFFile(file)
            dynamic, symbols = map(elf.get_section_by_name, (".dynamic", ".dynsym"))
            names = {"DT_NEEDED": "needed", "DT_RPATH": "rpath", "DT_RUNPATH": "runpath"}
            tags = [
                getattr(tag, names[tag.entry.d_tag])
                for tag in (dynamic.iter_tags() if dynamic else ())
                if tag.entry.d_tag in names
            ]
            exports = [
                symbol.name
                for symbol in (symbols.iter_symbols() if symbols else ())
                if symbol["st_shndx"] != "SHN_UNDEF"
            ]
            return tags, exports

    return one


def _lief_pe() -> Read:
    lief = optional("lief", "pip install lief")
    lief.logging.disable()
    config = lief.PE.ParserConfig()
    config.parse_signature = config.parse_rsrc = config.parse_reloc = False
    config.parse_exceptions = config.parse_arm64x_binary = False

    def one(path: Path) -> object:
        parsed = lief.PE.parse(path, config)
        if parsed is None:
            return None
        export: Any = parsed.get_export()
        names = [entry.name for entry in export.entries] if export else []
        return parsed.libraries, names

    return one


def _lief_macho() -> Read:
    lief = optional("lief", "pip install lief")
    lief.logging.disable()
    config = lief.MachO.ParserConfig()
    config.parse_dyld_bindings = config.parse_dyld_rebases = False

    def one(path: Path) -> object:
        parsed = lief.MachO.parse(path, config)
        if not parsed:
            return None
        first = parsed.at(0)
        paths = [rpath.path for rpath in first.rpaths]
        names = [symbol.name for symbol in first.exported_symbols]
        return [library.name for library in first.libraries], paths, names

    return one


OPENED: dict[str, dict[str, Callable[[], Read]]] = {
    "elf": {
        "libferry": lambda: _ours,
        "LIEF": _lief_elf,
        "LIEF, names only": _lief_elf_names,
        "pyelftools, names only": _pyelftools,
    },
    "pe": {"libferry": lambda: _ours, "LIEF": _lief_pe},
    "macho": {"libferry": lambda: _ours, "LIEF": _lief_macho},
}


def _contender(kind: str, name: str) -> Contender:
    def open_(_: ExitStack) -> Run:
        one, paths = OPENED[kind][name](), files(kind)

        def run(count: int) -> float:
            gc.collect()
            gc.disable()
            try:
                start = time.process_time()
                for _ in range(count):
                    for path in paths:
                        one(path)
                return (time.process_time() - start) / count
            finally:
                gc.enable()

        for path in paths:  # into the page cache
            path.read_bytes()
        return run

    return Contender(name, open_)


def _memory(kind: str, name: str) -> Contender:
    def open_(_: ExitStack) -> Run:
        files(kind)
        command = [sys.executable, "-m", "bench.reading", kind, name]

        def run(_: int) -> float:
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
            return float(done.stdout)

        return run

    return Contender(name, open_)


TITLES = {"elf": "ELF", "pe": "PE", "macho": "Mach-O"}


def _section(kind: str) -> Section:
    return Section(
        f"reading-{kind}",
        f"Reading every {TITLES[kind]} library",
        "Needed libraries, search paths and exports of all files, in CPU time. "
        + {
            "elf": "Those of this machine, below /usr/lib. With versions; who gives names only "
            "says so.",
            "pe": "Those of wheels for Windows, and Wine's.",
            "macho": "Those of wheels for macOS.",
        }[kind],
        "libferry",
        [_contender(kind, name) for name in OPENED[kind]],
        count=1,
        rounds=3 if kind == "elf" else 5,
    )


READING = [_section(kind) for kind in OPENED]
READING_MEMORY = Section(
    "reading-memory",
    "Memory for reading every ELF library",
    "By how much a process grows at most that reads the files of reading-elf, one after the "
    "other, each result gone before the next file.",
    None,
    [_memory("elf", name) for name in OPENED["elf"]],
    count=1,
    rounds=1,
    show=show_bytes,
)


def main() -> None:
    """Read all files once, in a process of its own, and write how much it grew."""
    kind, name = sys.argv[1:]
    paths = files(kind)
    one = OPENED[kind][name]()
    one(paths[0])  # what is imported late belongs to nobody's files
    before = _most_memory()
    for path in paths:
        one(path)
    print(_most_memory() - before)


def _most_memory() -> int:
    """The most bytes in memory that this process ever had.

    Not ``ru_maxrss``: a program that is started begins with its parent's.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main()
