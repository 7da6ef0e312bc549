"""What we say of ELF files beyond their exports is what ``readelf`` says.

Of every directory of libraries that the machine has, for each CPU; a part of them, evenly
spread, or all with FERRY_CASES.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import lief
import pytest
from elftools.elf.elffile import ELFFile

from libferry.binary import Binary, read
from libferry.binary.elf.view import ElfView

from .conftest import SOURCE, Build
from .readelf import Readelf, readelf

pytestmark = [
    pytest.mark.needs("readelf", install="apt-get install binutils"),
    pytest.mark.needs("gcc", install="apt-get install gcc"),
]

PLACES = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib32",
    "/usr/bin",
    "/usr/aarch64-linux-gnu/lib",
    "/usr/arm-linux-gnueabihf/lib",
    "/usr/riscv64-linux-gnu/lib",
    "/usr/loongarch64-linux-gnu/lib",
)
FILES_PER_PLACE = 20
LARGEST = 4 << 20

# Of each target's linker, what differs: byte order, class, REL or RELA, RELR
TARGETS = {
    "mips-linux-musleabi": (),
    "powerpc64-linux-musl": (),
    "s390x-linux-gnu": (),
    "x86_64-linux-gnu": ("-Wl,-z,nodelete,-z,origin",),
    "x86-linux-gnu": ("-Wl,-z,lazy,-Bsymbolic",),
    "aarch64-linux-gnu": ("-mbranch-protection=standard", "-Wl,--build-id"),
    "arm-linux-gnueabihf": (),
    "riscv64-linux-musl": (),
    "loongarch64-linux-gnu": (),
}

# What only GNU's tools make
UNUSUAL = """
    #include <stdio.h>
    extern const char *gnu_get_libc_version(void) __attribute__((weak));
    __asm__(".globl only_one; .type only_one, @gnu_unique_object; .data; only_one: .long 1");
    __attribute__((visibility("protected"))) int own(void) { return 1; }
    __thread int mine __attribute__((tls_model("initial-exec")));
    #ifdef CHANGED_CODE
    __asm__(".text; .quad places; .data");
    #endif
    void *places[] = { &places[1], &places[2], &places[0] };
    const char *version(void) { return gnu_get_libc_version ? gnu_get_libc_version() : 0; }
    int touch(void) { return ++mine + own() + puts("hello"); }
"""
AUDIT = "-Wl,--audit,a.so,--depaudit,b.so"
GNU = {
    "relr": ("-shared", "-fPIC", "-Wl,-z,pack-relative-relocs", "-fcf-protection"),
    "stack": ("-shared", "-fPIC", "-Wl,-z,execstack,-z,x86-64-v3,-z,nodefaultlib"),
    "text": ("-shared", "-fPIC", "-DCHANGED_CODE", "-Wl,-z,notext,-z,norelro"),
    "filter": (
        "-shared",
        "-fPIC",
        "-Wl,-z,initfirst,-f,libone.so,-F,libtwo.so,--audit,a.so,--depaudit,b.so",
    ),
    "program": ("-no-pie", "-Wl,-z,lazy", "-nostartfiles"),
}


def is_elf(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or not 4 < path.stat().st_size < LARGEST:
        return False
    with path.open("rb") as file:
        start = file.read(18)
    return start[:4] == b"\x7fELF" and start[16] != 1  # ET_REL: nothing for a loader


@cache
def files() -> tuple[Path, ...]:
    chosen: list[Path] = []
    everything = "FERRY_CASES" in os.environ
    for place in PLACES:
        # Debug files and static programs are no libraries, but what can be read of them counts.
        found = [path for path in sorted(Path(place).glob("*")) if is_elf(path)]
        chosen += found[:: 1 if everything else -(-len(found) // FILES_PER_PLACE) or 1]
    return tuple(chosen)


@pytest.fixture(scope="module")
def known(build: Build, unusual: dict[str, Path]) -> dict[Path, Readelf]:
    built = [build(target, SOURCE, "-nostdlib", *flags) for target, flags in TARGETS.items()]
    return readelf([*files(), *built, *unusual.values()])


@pytest.fixture(scope="module")
def unusual(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Give a file for each row of ``GNU``."""
    folder = tmp_path_factory.mktemp("gnu")
    (folder / "unusual.c").write_text(UNUSUAL)
    for name, flags in GNU.items():
        command = ["gcc", *flags, "-o", name, "unusual.c"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return {name: folder / name for name in GNU}


def assert_agree(
    known: dict[Path, Readelf],
    ours: Callable[[Binary, ElfView], object],
    theirs: Callable[[Readelf], object],
) -> None:
    assert len(known) > len(TARGETS)
    for path, said in known.items():
        binary = read(path)
        view = binary.view
        assert isinstance(view, ElfView)
        assert ours(binary, view) == theirs(said), path


def test_segments_agree(known: dict[Path, Readelf]) -> None:
    def ours(binary: Binary, _: ElfView) -> object:
        return [
            (
                (segment.offset, segment.address, segment.file_size, segment.size),
                "".join(
                    letter if has else " "
                    for letter, has in (
                        ("R", segment.readable),
                        ("W", segment.writable),
                        ("E", segment.executable),
                    )
                ),
                segment.alignment,
            )
            for segment in binary.segments
        ]

    assert_agree(known, ours, lambda said: [(s[1:5], s[5], s[6]) for s in said.of("LOAD")])


def test_thread_local_storage_agrees(known: dict[Path, Readelf]) -> None:
    def initial_exec(said: Readelf) -> bool:
        names = [name.replace("DTP", "") for name in said.relocations]
        static = any("STATIC_TLS" in value for name, value in said.tags if name == "FLAGS")
        return static or any("TPOFF" in name or "TPREL" in name for name in names)

    def theirs(said: Readelf) -> object:
        model = "initial-exec" if initial_exec(said) else "dynamic"
        return next(((s[4], s[6], model) for s in said.of("TLS")), None)

    def ours(binary: Binary, _: ElfView) -> object:
        tls = binary.tls
        return (tls.size, tls.alignment, tls.model) if tls else None

    assert_agree(known, ours, theirs)
    assert len({theirs(said) for said in known.values()}) > 3


def test_symbols_agree(known: dict[Path, Readelf]) -> None:
    kinds = {"FUNC": "function", "OBJECT": "data", "TLS": "tls", "IFUNC": "ifunc"}
    kinds |= {"NOTYPE": "untyped", "COMMON": "data"}

    def ours(_: Binary, view: ElfView) -> object:
        return [
            # GNU's linker names each version so, and readelf leaves its version out
            (s.name, None if s.name == s.version else s.version, *s[2:])
            for s in view.symbols
            if s.binding != "local"
        ]

    def theirs(said: Readelf) -> object:
        return [
            (name, version, hidden, kinds[kind], binding.lower(), visibility.lower(), *rest)
            for name, version, hidden, kind, binding, visibility, *rest in said.symbols
            if binding != "LOCAL"
        ]

    assert_agree(known, ours, theirs)
    bindings = {s[4] for said in known.values() for s in said.symbols}
    assert bindings >= {"GLOBAL", "WEAK", "UNIQUE"}


def test_imports_are_the_undefined_symbols(known: dict[Path, Readelf]) -> None:
    def theirs(said: Readelf) -> object:
        return [
            (name, version, binding == "WEAK")
            for name, version, _, _, binding, _, defined, _, _ in said.symbols
            if not defined and binding != "LOCAL" and name
        ]

    assert_agree(known, lambda b, _: [(i.name, i.version, i.weak) for i in b.imports], theirs)


def test_the_library_of_an_import_is_the_one_that_lief_finds(known: dict[Path, Readelf]) -> None:
    compared = 0
    for path in list(known)[::4]:
        parsed = lief.ELF.parse(path)
        assert parsed is not None
        libraries = {
            (need.name, version.name)
            for need in parsed.symbols_version_requirement
            for version in need.get_auxiliary_symbols()
        }
        versioned = [one for one in read(path).imports if one.version]
        assert {(one.library, one.version) for one in versioned} <= libraries
        compared += len(versioned)
    assert compared > 100


def test_needed_versions_agree(known: dict[Path, Readelf]) -> None:
    def ours(binary: Binary, _: ElfView) -> object:
        return [(need.library, need.version, need.weak) for need in binary.versions_needed]

    assert_agree(known, ours, lambda said: said.needs)


def test_a_weak_need_of_a_version_agrees(unusual: dict[str, Path], tmp_path: Path) -> None:
    """Solaris' linker makes these; nobody else does, but glibc knows them."""
    made = tmp_path / "weak.so"
    raw = bytearray(unusual["stack"].read_bytes())
    with unusual["stack"].open("rb") as file:
        section = ELFFile(file).get_section_by_name(".gnu.version_r")
        assert section is not None
        raw[section["sh_offset"] + 16 + 4] |= 2  # vna_flags of the first Vernaux
    made.write_bytes(raw)
    said = readelf([made])[made].needs
    assert said[0][2]
    assert [(n.library, n.version, n.weak) for n in read(made).versions_needed] == said


def test_given_versions_agree(known: dict[Path, Readelf]) -> None:
    assert_agree(known, lambda b, _: list(b.versions_given), lambda said: said.given)


def test_relocations_agree(known: dict[Path, Readelf]) -> None:
    def ours(_: Binary, view: ElfView) -> object:
        return {name: count for name, count in view.relocation_counts.items() if count}

    def theirs(said: Readelf) -> object:
        # binutils adds to some of AAELF64's names how wide they are
        found = {
            name.removesuffix("64") if "AARCH64_TLS" in name else name: count
            for name, count in said.relocations.items()
        }
        return {**found, **({"RELR": said.relr} if said.relr else {})}

    assert_agree(known, ours, theirs)
    assert any(said.relr for said in known.values())


def test_relocations_one_by_one_are_as_many_as_counted(known: dict[Path, Readelf]) -> None:
    def ours(_: Binary, view: ElfView) -> object:
        return sum(1 for _ in view.relocations())

    assert_agree(known, ours, lambda said: sum(said.relocations.values()))


def test_notes_agree(known: dict[Path, Readelf]) -> None:
    assert_agree(
        known, lambda b, _: (b.debug.build_id, b.minimum_os), lambda s: (s.build_id, s.abi)
    )


def test_gnu_properties_agree(known: dict[Path, Readelf]) -> None:
    def theirs(said: Readelf) -> object:
        features = said.properties.get("x86 feature", ()) or said.properties.get(
            "AArch64 feature", ()
        )
        needed = said.properties.get("x86 ISA needed", ())
        return needed, said.properties.get("x86 ISA used", ()), features

    def ours(_: Binary, view: ElfView) -> object:
        return tuple(view.properties)

    assert_agree(known, ours, theirs)
    assert any("AArch64 feature" in said.properties for said in known.values())
    assert any("x86 ISA needed" in said.properties for said in known.values())


def flags_said(said: Readelf) -> Iterator[str]:
    for name, value in said.tags:
        if name in ("FLAGS", "FLAGS_1"):
            yield from (
                value.replace("Flags:", "").replace("None", "").replace("BIND_NOW", "NOW").split()
            )
        elif name in ("BIND_NOW", "TEXTREL", "SYMBOLIC"):
            yield name.replace("BIND_NOW", "NOW")


def test_flags_agree(known: dict[Path, Readelf]) -> None:
    assert_agree(known, lambda _, view: set(view.flags), lambda said: set(flags_said(said)))
    everything = {flag for said in known.values() for flag in flags_said(said)}
    assert everything >= {"NOW", "PIE", "ORIGIN", "NODELETE", "SYMBOLIC", "STATIC_TLS"}
    assert everything >= {"TEXTREL", "NODEFLIB", "INITFIRST"}


def test_hardening_agrees(known: dict[Path, Readelf]) -> None:
    def theirs(said: Readelf) -> object:
        now = "NOW" in set(flags_said(said))
        relro = ("full" if now else "partial") if said.of("GNU_RELRO") else "none"
        stack = [segment[5] for segment in said.of("GNU_STACK")]
        both = any("W" in s[5] and "E" in s[5] for s in said.of("LOAD"))
        return relro, [("E" in flags) for flags in stack], both

    def ours(_: Binary, view: ElfView) -> object:
        found = view.hardening
        stack = [found.executable_stack] if found.stack_header else []
        return found.relro, stack, found.writable_code

    assert_agree(known, ours, theirs)
    assert {theirs(said)[0] for said in known.values()} == {"full", "partial", "none"}  # type: ignore[index]


def test_filters_and_auditors_agree(known: dict[Path, Readelf]) -> None:
    def named(said: Readelf, *tags: str) -> tuple[str, ...]:
        values = [value for tag in tags for name, value in said.tags if name == tag]
        return tuple(value.partition("[")[2].removesuffix("]") for value in values)

    def theirs(said: Readelf) -> object:
        audit = named(said, "AUDIT", "DEPAUDIT")
        return audit, named(said, "FILTER"), named(said, "AUXILIARY")

    assert_agree(known, lambda _, view: (view.audit, view.filters, view.auxiliary), theirs)
    assert (("a.so", "b.so"), ("libtwo.so",), ("libone.so",)) in map(theirs, known.values())


def test_initialisers_agree(known: dict[Path, Readelf]) -> None:
    def theirs(said: Readelf) -> object:
        tags = dict(said.tags)
        sizes = ("INIT_ARRAYSZ", "PREINIT_ARRAYSZ", "FINI_ARRAYSZ")
        lengths = [int(tags.get(name, "0").split()[0]) for name in sizes]
        return ["INIT" in tags, "FINI" in tags, lengths]

    def ours(binary: Binary, view: ElfView) -> object:
        found, word = view.initialisers, binary.bits // 8
        lengths = [found.init_array, found.preinit_array, found.fini_array]
        return [found.init, found.fini, [length * word for length in lengths]]

    assert_agree(known, ours, theirs)


def test_what_the_loader_looks_up_is_what_relocations_name(unusual: dict[str, Path]) -> None:
    view = read(unusual["stack"]).view
    assert isinstance(view, ElfView)
    command = ["readelf", "-rW", str(unusual["stack"])]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    undefined = {one.name for one in view.symbols if not one.defined}
    rows = [line.split() for line in listed.splitlines() if line.startswith("0000")]
    named = {(row[4].partition("@")[0], "SLOT" in row[2]) for row in rows if len(row) > 4}
    assert {(one.name, one.lazy) for one in view.references} == {
        (name, lazy) for name, lazy in named if name in undefined
    }
    weak = {one.name for one in view.references if one.weak}
    assert "gnu_get_libc_version" in weak
    assert "puts" not in weak


def test_definitions_are_the_exports(known: dict[Path, Readelf]) -> None:
    for path in list(known)[::3]:
        view = read(path).view
        assert isinstance(view, ElfView)
        exports = {(one.name, one.version): not one.hidden for one in view.exports}
        assert view.definitions == exports


def test_comments_and_debug_links_agree_with_pyelftools(
    unusual: dict[str, Path], tmp_path: Path
) -> None:
    linked = tmp_path / "linked.so"
    (tmp_path / "some.debug").write_bytes(b"x")
    command = ["objcopy", "--add-gnu-debuglink=some.debug", str(unusual["relr"]), str(linked)]
    subprocess.run(command, cwd=tmp_path, check=True)
    with linked.open("rb") as file:
        elf = ELFFile(file)
        comment, link = map(elf.get_section_by_name, (".comment", ".gnu_debuglink"))
        assert comment is not None
        assert link is not None
        texts, name = comment.data().split(b"\0"), link.data().partition(b"\0")[0]
    binary = read(linked)
    assert binary.compilers == tuple(dict.fromkeys(text.decode() for text in texts if text))
    assert binary.debug.link == name.decode() == "some.debug"
    assert not binary.debug.stripped
    subprocess.run(["strip", str(linked)], check=True)
    assert read(linked).debug.stripped


def test_without_a_stack_header_the_cpu_decides(unusual: dict[str, Path], tmp_path: Path) -> None:
    """glibc's DEFAULT_STACK_PERMS: with PF_X for x86-64, without for RISC-V."""
    raw = bytearray(unusual["relr"].read_bytes())
    with unusual["relr"].open("rb") as file:
        names = [segment["p_type"] for segment in ELFFile(file).iter_segments()]
    at = 64 + 56 * names.index("PT_GNU_STACK")
    raw[at : at + 4] = bytes(4)  # PT_NULL
    for machine, executable in ((62, True), (243, False)):
        raw[18:20] = machine.to_bytes(2, "little")
        made = tmp_path / f"{machine}.so"
        made.write_bytes(raw)
        view = read(made).view
        assert isinstance(view, ElfView)
        assert (view.hardening.stack_header, view.hardening.executable_stack) == (False, executable)
