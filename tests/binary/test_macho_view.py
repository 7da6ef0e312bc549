"""What a Mach-O file says late: of libraries built here, as LLVM's tools and LIEF read it."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import lief
import pytest

from libferry.binary import Binary, read
from libferry.binary.macho.facts import WEAK_LOOKUP
from libferry.binary.macho.view import MachOView
from libferry.errors import BadBinary

from ..loader.dyld.machowriter import CPUS, HARDENED, Macho, Need, Signed, universal
from ..wheels import libraries_of, needs_wheels
from .conftest import SOURCE, Build

LLVM = Path("/usr/lib/llvm-14/bin")
needs_llvm = pytest.mark.needs(f"{LLVM}/llvm-otool", install="apt-get install llvm-14")


def view_of(binary: Binary) -> MachOView:
    assert isinstance(binary.view, MachOView)
    return binary.view


def llvm(tool: str, *arguments: str | Path) -> str:
    command = [str(LLVM / tool), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def inner(build: Build) -> Path:
    name = ["-install_name", "@rpath/libinner.dylib"]
    return build("aarch64-macos", SOURCE, *name, name="libinner.dylib")


@pytest.fixture(scope="module")
def outer(build: Build, inner: Path) -> Path:
    source = "int answer(int); int nowhere(void); int go(void) { return answer(1) + nowhere(); }"
    flags = [f"-L{inner.parent}", "-weak-linner", "-Wl,-undefined,dynamic_lookup"]
    return build("aarch64-macos", source, *flags, name="libouter.dylib")


@needs_llvm
def test_libraries_and_their_versions_are_those_of_otool(outer: Path, inner: Path) -> None:
    line = re.compile(
        r"\t(\S+) \(compatibility version ([\d.]+), current version ([\d.]+)(, weak)?"
    )
    printed = line.findall(llvm("llvm-otool", "-L", outer))
    dotted = [
        (one.name, ".".join(map(str, one.compatibility)), ".".join(map(str, one.current)), one.weak)
        for one in view_of(read(outer)).linked
    ]
    own = read(outer).soname
    assert dotted == [
        (name, compatibility, current, bool(weak))
        for name, compatibility, current, weak in printed
        if name != own
    ]
    assert ("@rpath/libinner.dylib", True) in [(row[0], row[3]) for row in dotted]
    name, compatibility, current, _ = line.findall(llvm("llvm-otool", "-L", inner))[0]
    assert name == read(inner).soname
    versions = view_of(read(inner)).versions
    assert versions is not None
    assert [".".join(map(str, one)) for one in versions] == [current, compatibility]
    kinds = {one.name: one.kind for one in read(outer).dependencies}
    assert kinds["@rpath/libinner.dylib"] == "weak"


def test_imports_know_whose_they_are(outer: Path) -> None:
    imports = {one.name: one for one in read(outer).imports}
    assert imports["answer"].library == "@rpath/libinner.dylib"
    assert imports["nowhere"].library is None


@needs_llvm
def test_load_commands_are_those_of_otool(outer: Path) -> None:
    text = llvm("llvm-otool", "-l", outer)
    uuid = re.search(r"uuid ([0-9A-F-]+)", text)
    assert uuid is not None
    assert read(outer).debug.build_id == uuid[1].replace("-", "").lower()
    minimum = re.search(r"minos ([\d.]+)", text)
    assert minimum is not None
    assert read(outer).minimum_os == minimum[1]


def test_thread_local_storage_is_what_the_sections_have(inner: Path) -> None:
    theirs = lief.MachO.parse(inner)
    assert theirs is not None
    first = theirs.at(0)
    assert first is not None
    kinds = lief.MachO.Section.TYPE
    parts = [
        section
        for section in first.sections
        if section.type in (kinds.THREAD_LOCAL_REGULAR, kinds.THREAD_LOCAL_ZEROFILL)
    ]
    tls = read(inner).tls
    assert tls is not None
    assert tls.size == sum(section.size for section in parts) == 4
    assert tls.alignment == max(1 << section.alignment for section in parts)


@needs_llvm
@needs_wheels("macos-arm64")
def test_what_all_libraries_share_is_what_objdump_says(tmp_path: Path) -> None:
    """C++: symbols that are bound to the first of their name in the whole process."""
    compared = 0
    for path in libraries_of("macos-arm64", tmp_path):
        for binary in view_of(read(path)).all_slices:
            view = view_of(binary)
            if view.fixups != "opcodes":
                continue
            ours = {bind.name for bind in view.binds if bind.ordinal == WEAK_LOOKUP}
            options = ["--macho", "--weak-bind", f"--arch={view.architecture}"]
            text = llvm("llvm-objdump", *options, path)
            # segment, section, address, type, addend, symbol; "strong" ones are definitions
            rows = [line.split() for line in text.splitlines() if " 0x" in line]
            assert ours == {row[5] for row in rows if len(row) > 5}, path
            compared += bool(ours)
    assert compared > 3


def test_a_universal_file_has_each_of_its_slices(tmp_path: Path) -> None:
    path = tmp_path / "universal.dylib"
    path.write_bytes(universal(*(Macho("/l", cpu=cpu, exports=[f"_{cpu}"]) for cpu in CPUS)))
    names = view_of(read(path)).architectures
    assert names == ("arm64", "arm64e", "x86_64", "x86_64h")
    theirs = lief.MachO.parse(path)
    assert theirs is not None
    assert [(each.header.cpu_type.value, each.header.cpu_subtype) for each in theirs] == [
        CPUS[name] for name in names
    ]
    for name in names:
        binary = read(path, cpu=name)
        assert [export.name for export in binary.exports] == [name]
        assert view_of(binary).architecture == name
    assert read(path, cpu="x86_64").slices == ("aarch64", "aarch64", "x86_64", "x86_64")
    with pytest.raises(BadBinary, match="nothing for riscv64") as caught:
        read(path, cpu="riscv64")
    assert "arm64, arm64e, x86_64, x86_64h" in caught.value.hint


def test_a_universal_file_of_64_bit_offsets_is_read_likewise(tmp_path: Path) -> None:
    """fat.h: fat_arch_64 has offset and size of 64 bits, and a word at its end."""
    parts = [Macho("/l", cpu=cpu).raw() for cpu in ("x86_64", "arm64")]
    head, raw, place = struct.pack(">II", 0xCAFEBABF, 2), b"", 0x4000
    for cpu, part in zip(("x86_64", "arm64"), parts, strict=True):
        head += struct.pack(">IIQQII", *CPUS[cpu], place + len(raw), len(part), 14, 0)
        raw += part.ljust(0x8000, b"\0")
    path = tmp_path / "universal.dylib"
    path.write_bytes(head.ljust(place, b"\0") + raw)
    assert view_of(read(path)).architectures == ("x86_64", "arm64")
    assert read(path, cpu="arm64").soname == "/l"


def test_signed_pointers_have_a_version(tmp_path: Path) -> None:
    path = tmp_path / "lib.dylib"
    path.write_bytes(Macho("/l", cpu="arm64e").raw())
    assert view_of(read(path)).pointer_authentication == 0
    path.write_bytes(Macho("/l", cpu="arm64").raw())
    assert view_of(read(path)).pointer_authentication is None


def test_a_signature_says_who_and_how_strictly(tmp_path: Path) -> None:
    path = tmp_path / "main"
    entitlements = "<plist><dict><key>a</key><true/></dict></plist>"
    path.write_bytes(Macho(kind="executable", signed=Signed("TEAM", HARDENED, entitlements)).raw())
    signature = read(path).signature
    assert signature is not None
    assert (signature.kind, signature.identifier, signature.team) == ("apple", "test", "TEAM")
    assert (signature.hardened, signature.library_validation) == (True, True)
    assert signature.entitlements == entitlements
    path.write_bytes(Macho(kind="executable").raw())
    signature = read(path).signature
    assert signature is not None
    assert (signature.kind, signature.team, signature.hardened) == ("ad-hoc", None, False)
    path.write_bytes(Macho(kind="executable", signed=None).raw())
    assert read(path).signature is None


def test_the_new_command_for_libraries_has_flags(tmp_path: Path) -> None:
    """loader.h: dylib_use_command, which dyld knows by its marker."""
    raw = Macho("/l", needs=[Need("/usr/lib/libz.1.dylib")]).raw()
    old = struct.pack("<6I", 0x0C, 48, 24, 2, 0x10000, 0x10000) + b"/usr/lib/libz.1.dylib\0\0\0"
    assert old in raw
    name = b"/usr/lib/libz.1.dyli"  # the flags take four bytes of the name's place
    for flags, kind in ((0, "needed"), (1, "weak"), (2, "reexport"), (4, "upward"), (8, "lazy")):
        new = struct.pack("<7I", 0x0C, 48, 28, 0x1A741800, 0x10000, 0x10000, flags) + name
        path = tmp_path / f"{kind}.dylib"
        path.write_bytes(raw.replace(old, new))
        (need,) = read(path).dependencies
        assert (need.name.encode(), need.kind) == (name, kind)
