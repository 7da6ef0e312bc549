"""The Linux distributions of the list: what each is delivered with.

A distribution is a few facts: which glibc or musl, which GCC's runtime libraries, which
CPUs, Debian's layout of folders or the other one. All else follows from tables of those
(``glibc.toml``, ``gcc.toml``), so that each fact is written down once, with its source.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from libferry.target.loaders import INTERPRETERS, Interpreter
from libferry.target.model import UNCHECKED, Given, Target

_DATA = Path(__file__).parent / "data/linux"
FAMILIES = ("debian", "rpm", "china", "alpine")  # the files in data/linux
_ABOUT_A_FAMILY = ("title", "layout", "sources")  # the keys that are no releases
_FROM_THE_FAMILY = ("layout", "sources")


class Cpu(NamedTuple):
    """A CPU by the name that Debian's packages have for it.

    Attributes:
        cpu, abi: as in ``Target``.
        triplet: of Debian's folders.
        lib: the folder that others have its libraries in.
    """

    cpu: str
    abi: str
    triplet: str
    lib: str


# Debian wiki, Multiarch/Tuples; lib: glibc 2.41, sysdeps/unix/sysv/linux/**/configure.ac
# (libc_cv_slibdir); the i386 libraries of an x86-64 system are in /lib.
CPUS = {
    "amd64": Cpu("x86_64", "", "x86_64-linux-gnu", "lib64"),
    "i386": Cpu("i386", "", "i386-linux-gnu", "lib"),
    "arm64": Cpu("aarch64", "", "aarch64-linux-gnu", "lib64"),
    "armhf": Cpu("arm", "hard-float", "arm-linux-gnueabihf", "lib"),
    "riscv64": Cpu("riscv64", "hard-float", "riscv64-linux-gnu", "lib64/lp64d"),
    "loong64": Cpu("loongarch64", "new-world", "loongarch64-linux-gnu", "lib64"),
    "loong64-old-world": Cpu("loongarch64", "old-world", "loongarch64-linux-gnu", "lib64"),
}

# What may follow a name: libferry check x.so --target rocky-8-arm64+4k
PAGE_SIZES = {"4k": 4096, "16k": 16384, "64k": 65536}
LEVELS = ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4")
_LEVELS_AND_MAKERS = {
    **{level: level for level in LEVELS},
    "hygon": "x86-64-v3",
    "zhaoxin": "x86-64-v2",
}
_OF_MAKERS = {
    "hygon": "QEMU 7.2's CPU Dhyana (made by Hygon), as glibc's loader sees it",
    "zhaoxin": "GCC, common/config/i386/i386-common.cc: lujiazui (KX-5000, KX-6000) is P_PROC_BMI, "
    f"less than AVX2; {UNCHECKED}: yongfeng and later ones, P_PROC_AVX2, may have x86-64-v3",
}
OPTIONS = (*PAGE_SIZES, *_LEVELS_AND_MAKERS)


class Release(NamedTuple):
    """One release for one CPU, before it is looked at more closely."""

    family: Mapping[str, Any]
    facts: Mapping[str, Any]
    number: str
    arch: str


@cache
def table(name: str) -> Mapping[str, Any]:
    """A file of ``data/linux``."""
    return tomllib.loads(_DATA.joinpath(f"{name}.toml").read_text("utf-8"))


@cache
def releases() -> Mapping[str, Release]:
    """All of them, by name, in the order of the files."""
    found = {}
    for file in FAMILIES:
        for distribution, family in table(file).items():
            for number, facts in family.items():
                if number in _ABOUT_A_FAMILY:
                    continue
                for arch in facts["cpus"]:
                    found[f"{distribution}-{number}-{arch}"] = Release(family, facts, number, arch)
    return found


def title(name: str) -> str:
    """A release's name for people."""
    family, facts, number, arch = releases()[name]
    words = facts.get("name") or f"{family['title']} {number}"
    codename = f" ({facts['codename']})" if "codename" in facts else ""
    return f"{words}{codename}, {CPUS[arch].cpu}"


@cache
def target(name: str, options: tuple[str, ...] = ()) -> Target:
    """A release's target.

    Args:
        name: of ``releases()``.
        options: of ``OPTIONS``; the later one counts.
    """
    release = releases()[name]
    family, facts = release.family, release.facts
    cpu = CPUS[release.arch]
    loader = "musl" if "musl" in facts else "glibc"
    version = _numbers(facts[loader])
    interpreter = next(
        one for one in INTERPRETERS if (one.cpu, one.abi, one.loader) == (cpu.cpu, cpu.abi, loader)
    )
    layout = facts.get("layout", family.get("layout"))
    folders = _folders(layout, cpu)
    extra = frozenset(facts.get("extra", {}).get(release.arch, ()))
    texts = {**family.get("sources", {}), **facts.get("sources", {})}
    sources = {about: " ".join(text.split()) for about, text in texts.items()}
    if cpu.abi == "old-world":
        sources["glibc"] += f"; {UNCHECKED}: the versions of each library (see glibc.toml)"
    # Linux, arch/loongarch/Kconfig, "Page Table Layout": 16KB_3LEVEL unless chosen otherwise
    usual = 16384 if cpu.cpu == "loongarch64" else 4096
    page_size, isa = facts.get("page_size", {}).get(release.arch, usual), _isa(facts, release.arch)
    for option in options:
        page_size = PAGE_SIZES.get(option, page_size)
        isa = _up_to(_LEVELS_AND_MAKERS[option]) if option in _LEVELS_AND_MAKERS else isa
        if option in _LEVELS_AND_MAKERS:
            sources["isa"] = _OF_MAKERS.get(option, "the option")
    open_ended = isa and _LEVELS_AND_MAKERS.keys().isdisjoint(options)
    return Target(
        name="+".join((name, *options)),
        title=title(name),
        os="linux",
        cpu=cpu.cpu,
        bits=interpreter.bits,
        endian=interpreter.endian,
        loader=interpreter.loader,
        version=version,
        interpreter=interpreter.path,
        isa=isa,
        abi=cpu.abi,
        page_size=page_size,
        default_paths=folders,
        lib=folders[0].lstrip("/"),
        platform=interpreter.platform,
        given=(
            _musl(version, interpreter, sources.get("musl", ""))
            if loader == "musl"
            else {
                soname: Given(
                    soname,
                    interpreter.path if soname == _base(interpreter) else f"{folders[0]}/{soname}",
                    versions | extra if soname == "libc.so.6" else versions,
                    None,
                    sources.get(_FROM.get(soname, "glibc"), ""),
                )
                for soname, versions in {
                    **glibc_given(version, interpreter),
                    **_runtime(facts, cpu),
                }.items()
            }
        ),
        facts={
            **({"links": _MERGED} if facts.get("merged_usr") else {}),
            # which machine it is, is not known: it may have more
            **({"isa_at_least": True} if open_ended else {}),
        },
        sources=sources,
    )


def _musl(version: tuple[int, ...], interpreter: Interpreter, source: str) -> dict[str, Given]:
    """The one file of a musl: its loader is its C library."""
    names = musl_names(version, interpreter.cpu)
    return {_base(interpreter): Given(_base(interpreter), interpreter.path, None, names, source)}


# usrmerge(8); file-hierarchy(7)
_MERGED = {folder: f"/usr{folder}" for folder in ("/lib", "/lib32", "/lib64", "/bin", "/sbin")}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _base(interpreter: Interpreter) -> str:
    return interpreter.path.rpartition("/")[2]


def _up_to(level: str) -> frozenset[str]:
    return frozenset(LEVELS[: LEVELS.index(level) + 1])


def _isa(facts: Mapping[str, Any], arch: str) -> frozenset[str]:
    """What every machine has that the release runs on."""
    return _up_to(facts.get("isa", {}).get(arch, "x86-64")) if arch == "amd64" else frozenset()


def _folders(layout: str, cpu: Cpu) -> tuple[str, ...]:
    """The loader's own folders: elf/dl-load.c, system_dirs, and Debian's multiarch patch."""
    if layout == "musl":
        return "/lib", "/usr/local/lib", "/usr/lib"  # ldso/dynlink.c, load_library
    if layout == "multiarch":
        return f"/lib/{cpu.triplet}", f"/usr/lib/{cpu.triplet}", "/lib", "/usr/lib"
    return f"/{cpu.lib}", f"/usr/{cpu.lib}"


def glibc_given(version: tuple[int, ...], interpreter: Interpreter) -> dict[str, frozenset[str]]:
    """The libraries of a glibc and the symbol versions of each, by soname."""
    world = f"{interpreter.cpu}-{interpreter.abi}"
    nodes = table("glibc")["nodes"]
    given = {}
    for soname, words in nodes.get(world, nodes.get(interpreter.cpu, {})).items():
        there = frozenset(f"GLIBC_{name}" for name in _there(words.split(), version))
        if soname == "libc.so.6":
            there |= frozenset(table("glibc")["also"].get(interpreter.cpu, "").split())
        if there:
            given[_base(interpreter) if soname == "ld" else soname] = there
    return given


def _there(words: Iterable[str], version: tuple[int, ...]) -> Iterable[str]:
    """Of ``2.31@2.34`` and the like, what a version has; see ``glibc.toml``."""
    for word in words:
        name, _, until = word.partition("<")
        name, _, since = name.partition("@")
        first = _numbers(since or name) if (since or name)[0].isdigit() else ()
        if first[:2] <= version and not (until and version >= _numbers(until)):
            yield name


# What is not glibc's, and from what it is
_FROM = {"libstdc++.so.6": "gcc", "libgcc_s.so.1": "gcc", "libz.so.1": "zlib"}


def _runtime(facts: Mapping[str, Any], cpu: Cpu) -> dict[str, frozenset[str]]:
    """GCC's runtime libraries, and libz, with their symbol versions; if they are known."""
    rows, given = table("gcc"), {}
    if "gcc" in facts:
        version = _numbers(facts["gcc"])
        given["libstdc++.so.6"] = frozenset(
            [*_up_to_version(rows["libstdcxx"], version), *_words(rows["libstdcxx_extra"], cpu)]
        )
        given["libgcc_s.so.1"] = frozenset(
            f"GCC_{name}" for name in _words(rows["libgcc"], cpu) if _numbers(name) <= version
        )
    if "zlib" in facts:
        given["libz.so.1"] = frozenset(_up_to_version(rows["zlib"], _numbers(facts["zlib"])))
    return given


def _words(rows: Mapping[str, str], cpu: Cpu) -> list[str]:
    return rows.get(cpu.cpu, "").split()


def _up_to_version(rows: Mapping[str, str], version: tuple[int, ...]) -> Iterable[str]:
    for since, names in rows.items():
        if _numbers(since) <= version:
            yield from names.split()


@cache
def musl_names(version: tuple[int, ...], cpu: str) -> frozenset[str]:
    """The names that musl's libc exports; see ``data/linux/musl-names.txt``."""
    text = _DATA.joinpath("musl-names.txt").read_text("utf-8")
    return frozenset(line.split()[0] for line in text.splitlines() if _has_name(line, version, cpu))


_MARK = re.compile(r" (since|until|cpu)=(\S+)")


def _has_name(line: str, version: tuple[int, ...], cpu: str) -> bool:
    if not line or line.startswith("#"):
        return False
    marks = dict(_MARK.findall(line))
    return (
        _numbers(marks.get("since", "0")) <= version
        and ("until" not in marks or version <= _numbers(marks["until"]))
        and ("cpu" not in marks or cpu in marks["cpu"].split(","))
    )
