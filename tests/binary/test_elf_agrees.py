"""What we read from ELF files is what pyelftools and LIEF read.

They go through the section headers, which we never look at; so to agree with them
is more than to make the same mistake twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lief
import pytest
from elftools.elf.elffile import ELFFile

from libferry.binary import read

from .conftest import SOURCE, Build

SOURCES = {
    "/usr/lib/x86_64-linux-gnu": ("apt-get install zlib1g", 150),
    "/usr/aarch64-linux-gnu/lib": ("apt-get install libc6-arm64-cross", 20),
    "/usr/lib32": ("apt-get install lib32z1 libc6-i386", 20),
}
LARGEST = 4 << 20


def real_libraries() -> list[Any]:
    """Give the libraries in the directories above, evenly thinned out."""
    chosen: list[Any] = []
    for directory, (install, at_most) in SOURCES.items():
        files = [
            path
            for path in sorted(Path(directory).glob("*.so*"))
            if path.is_file()
            and not path.is_symlink()
            and path.stat().st_size < LARGEST
            and path.open("rb").read(4) == b"\x7fELF"
        ]
        if not files:
            why = pytest.mark.skip(reason=f"needs libraries in {directory}: {install}")
            chosen.append(pytest.param(Path(directory), marks=why))
        chosen += files[:: -(-len(files) // at_most) or 1]
    return chosen


@pytest.fixture(params=real_libraries(), ids=str)
def library(request: pytest.FixtureRequest) -> Path:
    assert isinstance(request.param, Path)
    return request.param


# Built here, for both byte orders and both sizes. With the hash table of the gABI,
# with GNU's, and with the one that LLVM writes for S/390.
TARGETS = [
    "aarch64-linux-gnu",
    "arm-linux-gnueabihf",
    "loongarch64-linux-gnu",
    "mips-linux-musleabi",
    "mips64-linux-muslabi64",
    "powerpc64-linux-musl",
    "riscv32-linux-musl",
    "riscv64-linux-gnu",
    "s390x-linux-gnu",
    "x86-linux-gnu",
    "x86_64-linux-gnu",
    "x86_64-linux-gnux32",
]


# How our word begins, for pyelftools' word
CPUS = {
    "AArch64": "aarch64",
    "ARM": "arm",
    "LoongArch": "loongarch",
    "MIPS": "mips",
    "64-bit PowerPC": "ppc64",
    "IBM S/390": "s390x",
    "RISC-V": "riscv",
    "x64": "x86_64",
    "x86": "i386",
}
KINDS = {
    "STT_FUNC": "function",
    "STT_OBJECT": "data",
    "STT_COMMON": "data",
    "STT_TLS": "tls",
    "STT_LOOS": "ifunc",
    "STT_GNU_IFUNC": "ifunc",
}


class Oracle:
    """A library as pyelftools sees it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.elf = ELFFile(self._file)

    def __enter__(self) -> Oracle:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def section(self, name: str) -> Any:
        return self.elf.get_section_by_name(name)

    def tags(self, name: str, attribute: str) -> list[str]:
        dynamic = self.section(".dynamic")
        return [getattr(tag, attribute) for tag in dynamic.iter_tags(name)] if dynamic else []

    def versions(self) -> dict[int, str]:
        section = self.section(".gnu.version_d")
        names = {}
        for definition, names_of_it in section.iter_versions() if section else ():
            if not definition["vd_flags"] & 1:  # VER_FLG_BASE: the file itself
                names[definition["vd_ndx"]] = next(names_of_it).name
        return names

    def exports(self) -> list[tuple[str, str | None, bool, int, str]]:
        versions = self.versions()
        numbers = self.section(".gnu.version")
        found = []
        for index, symbol in enumerate(self.section(".dynsym").iter_symbols()):
            info, visibility = symbol["st_info"], symbol["st_other"]["visibility"]
            if symbol["st_shndx"] == "SHN_UNDEF" or info["bind"] == "STB_LOCAL":
                continue
            if visibility in ("STV_HIDDEN", "STV_INTERNAL"):
                continue
            if symbol["st_shndx"] == "SHN_ABS" and symbol.name in versions.values():
                continue  # GNU's linker names each version so
            number = numbers.get_symbol(index)["ndx"] if numbers else 0
            number = number if isinstance(number, int) else 0
            version, hidden = versions.get(number & 0x7FFF), bool(number & 0x8000)
            kind = KINDS.get(info["type"], "?")
            found.append((symbol.name, version, hidden, symbol["st_value"], kind))
        return found


def assert_exports_agree(path: Path) -> None:
    with Oracle(path) as oracle:
        theirs = oracle.exports()
    # A label without a type is code or data by where it lies.
    untyped = {(name, value) for name, _, _, value, kind in theirs if kind == "?"}
    ours = [
        (e.name, e.version, e.hidden, e.address, "?" if (e.name, e.address) in untyped else e.kind)
        for e in read(path).exports
    ]
    assert sorted(ours, key=str) == sorted(theirs, key=str)


def test_header_agrees_with_pyelftools(library: Path) -> None:
    binary = read(library)
    with Oracle(library) as oracle:
        assert binary.cpu == CPUS[oracle.elf.get_machine_arch()]
        assert binary.bits == oracle.elf.elfclass
        assert (binary.endian == "little") == oracle.elf.little_endian
    assert (binary.format, binary.os) == ("elf", "linux")


def test_names_and_paths_agree_with_pyelftools(library: Path) -> None:
    binary = read(library)
    with Oracle(library) as oracle:
        assert binary.soname == next(iter(oracle.tags("DT_SONAME", "soname")), None)
        assert list(binary.needed) == oracle.tags("DT_NEEDED", "needed")
        assert ":".join(binary.rpath) == "".join(oracle.tags("DT_RPATH", "rpath"))
        assert ":".join(binary.runpath) == "".join(oracle.tags("DT_RUNPATH", "runpath"))


def test_names_and_interpreter_agree_with_lief(library: Path) -> None:
    binary = read(library)
    theirs = lief.ELF.parse(library)
    assert theirs is not None
    assert list(binary.needed) == theirs.libraries
    assert binary.interpreter == (theirs.interpreter if theirs.has_interpreter else None)
    soname = theirs.get(lief.ELF.DynamicEntry.TAG.SONAME)
    assert binary.soname == (
        soname.name if isinstance(soname, lief.ELF.DynamicSharedObject) else None
    )


def test_exports_agree_with_pyelftools(library: Path) -> None:
    assert_exports_agree(library)


@pytest.mark.parametrize("target", TARGETS)
def test_header_agrees_for_every_cpu(build: Build, target: str) -> None:
    path = build(target, SOURCE, "-nostdlib")
    binary = read(path)
    with Oracle(path) as oracle:
        assert binary.kind == "library"
        assert binary.cpu.startswith(CPUS[oracle.elf.get_machine_arch()])
        assert binary.bits == oracle.elf.elfclass
        assert (binary.endian == "little") == oracle.elf.little_endian


# MIPS orders its symbols for the global offset table, and cannot order them for GNU's hash.
STYLES = [
    (target, style)
    for target in TARGETS
    for style in ("sysv", "gnu", "both")
    if style == "sysv" or not target.startswith("mips")
]


@pytest.mark.parametrize(("target", "style"), STYLES)
def test_exports_agree_for_every_cpu_and_hash_table(build: Build, target: str, style: str) -> None:
    assert_exports_agree(build(target, SOURCE, "-nostdlib", f"-Wl,--hash-style={style}"))


def test_search_paths_and_versions_of_a_library_that_has_them(small_elf: Path) -> None:
    with Oracle(small_elf) as oracle:
        assert oracle.tags("DT_RUNPATH", "runpath") == ["$ORIGIN/a:/b"]
        assert set(oracle.versions().values()) == {"SAMPLE_1", "SAMPLE_2"}
    binary = read(small_elf)
    assert binary.runpath == ("$ORIGIN/a", "/b")
    assert {e.name: e.version for e in binary.exports if e.version} == {
        "answer": "SAMPLE_1",
        "counter": "SAMPLE_1",
        "maybe": "SAMPLE_2",
        "mine": "SAMPLE_2",
    }
    assert_exports_agree(small_elf)


def test_a_library_without_section_headers_reads_the_same(small_elf: Path, tmp_path: Path) -> None:
    raw = bytearray(small_elf.read_bytes())
    raw[40:48] = bytes(8)  # e_shoff
    raw[60:64] = bytes(4)  # e_shnum, e_shstrndx
    stripped = tmp_path / "stripped.so"
    stripped.write_bytes(raw)
    assert read(stripped).exports == read(small_elf).exports


def test_an_interpreter_does_not_make_libc_a_program() -> None:
    libc = Path("/usr/lib/x86_64-linux-gnu/libc.so.6")
    if not libc.exists():
        pytest.skip(f"needs {libc}: apt-get install libc6")
    assert (read(libc).kind, read(libc).interpreter) == ("library", "/lib64/ld-linux-x86-64.so.2")


def test_a_program_is_no_library() -> None:
    assert read("/proc/self/exe").kind == "executable"


def test_an_object_file_is_an_object_and_exports_nothing(build: Build) -> None:
    binary = read(build("x86_64-linux-gnu", SOURCE, "-r", "-nostdlib", name="sample.o"))
    assert (binary.kind, binary.exports) == ("object", ())
