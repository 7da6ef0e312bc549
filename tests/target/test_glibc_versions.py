"""The versions of glibc's libraries, against what others took from glibc's sources.

Zig can link for any glibc. For that it carries a list of all symbols: which library had
which, at which version, for which CPU, made from the same lists in glibc's sources as ours,
by another program.
"""

from __future__ import annotations

import importlib.util
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from libferry.target.linux import glibc_given, table
from libferry.target.loaders import INTERPRETERS

ZIG = pytest.mark.needs("ziglang", install="pip install ziglang")
NEWEST = (2, 43)  # of ours

# CPU of ours -> Zig's target
TARGETS = {
    "x86_64": "x86_64-linux-gnu",
    "i386": "x86-linux-gnu",
    "aarch64": "aarch64-linux-gnu",
    "arm": "arm-linux-gnueabihf",
    "riscv64": "riscv64-linux-gnu",
    "loongarch64": "loongarch64-linux-gnu",
    "ppc64": "powerpc64le-linux-gnu",
    "s390x": "s390x-linux-gnu",
}

# Versions without a symbol on that CPU: a list of symbols cannot have them. That the
# libraries have them is in Debian's, where there are some (see test_list.py).
EMPTY = {
    ("ld", "2.4"),  # __stack_chk_guard, which only other CPUs have in ld
    ("ld", "2.34"),  # __rtld_version_placeholder
    ("libc.so.6", "2.31"),  # what libpthread had, moved
    ("libm.so.6", "2.4"),  # long double, of CPUs that changed it
    ("libm.so.6", "2.29"),
    ("libm.so.6", "2.32"),
    ("libm.so.6", "2.38"),
    ("libm.so.6", "2.39"),
    ("librt.so.1", "2.3.3"),  # __librt_version_placeholder
}

Version = tuple[int, ...]


def symbols(file: Path) -> Iterator[tuple[str, str, Version]]:
    """Target, library and version of each symbol of Zig's list.

    github.com/ziglang/glibc-abi-tool, README.md, "Binary encoding format".
    """
    data, at = file.read_bytes(), 0

    def byte() -> int:
        nonlocal at
        at += 1
        return data[at - 1]

    def string() -> str:
        nonlocal at
        end = data.index(0, at)
        text, at = data[at:end].decode(), end + 1
        return text

    def leb128() -> int:
        value = shift = 0
        while (part := byte()) & 128:
            value |= (part & 127) << shift
            shift += 7
        return value | part << shift

    libraries = [string() for _ in range(byte())]
    versions = [(byte(), byte(), byte()) for _ in range(byte())]
    targets = [string() for _ in range(byte())]
    for sized in (False, True, True):  # functions; variables, and those of threads
        last = True
        for _ in range(byte() | byte() << 8):
            if last:
                string()  # the symbol's name
            which = leb128()
            if sized:
                leb128()
            library = byte()
            last = bool(library & 128)
            index = 0
            while not index & 128:
                index = byte()
                for number, target in enumerate(targets):
                    if which >> number & 1:
                        yield target, libraries[library & 127], versions[index & 127]
    assert at == len(data)


@pytest.fixture(scope="module")
def listed() -> dict[tuple[str, str], set[Version]]:
    spec = importlib.util.find_spec("ziglang")
    assert spec is not None
    assert spec.origin is not None
    found = defaultdict(set)
    for target, library, version in symbols(Path(spec.origin).parent / "lib/libc/glibc/abilists"):
        found[target, library].add(version[:2] if version[2] == 0 else version)
    return found


@ZIG
@pytest.mark.parametrize("cpu", TARGETS)
def test_each_library_has_the_versions_of_zigs_list(
    cpu: str, listed: dict[tuple[str, str], set[Version]]
) -> None:
    compared = set()
    for soname, words in table("glibc")["nodes"][cpu].items():
        library = re.sub(r"^lib|\.so.*", "", soname)
        theirs = {version for version in listed[TARGETS[cpu], library] if version[:2] <= NEWEST}
        if not theirs:
            continue  # libmvec and others that Zig does not link with
        compared.add(soname)
        names = {re.split("[@<]", word)[0] for word in words.split()}
        ours = {name for name in names if name[0].isdigit()}
        there = {".".join(map(str, version)) for version in theirs}
        assert there - ours == set(), soname
        assert {(soname, name) for name in ours - there} <= EMPTY, soname
    assert {"libc.so.6", "libm.so.6", "ld"} <= compared


@ZIG
@pytest.mark.parametrize("cpu", TARGETS)
def test_no_library_has_a_version_from_before_its_cpu(
    cpu: str, listed: dict[tuple[str, str], set[Version]]
) -> None:
    """The first version of AArch64 is 2.17, say: nothing can ask for an older one there."""
    interpreter = next(
        one for one in INTERPRETERS if one.cpu == cpu and one.loader == "glibc" and one.bits
    )
    first = min(listed[TARGETS[cpu], "c"])
    names = glibc_given(NEWEST, interpreter)["libc.so.6"]
    numbers = [name[6:] for name in names if re.fullmatch(r"GLIBC_[\d.]+", name)]
    assert min(tuple(map(int, number.split("."))) for number in numbers) == first


@ZIG
def test_old_world_loongarch_has_the_libpthread_of_mips(
    listed: dict[tuple[str, str], set[Version]],
) -> None:
    """Made of MIPS's, it begins with 2.0, while all else there begins with 2.27."""
    words = table("glibc")["nodes"]["loongarch64-old-world"]["libpthread.so.0"].split()
    mips = listed["mips64el-linux-gnuabi64", "pthread"]
    assert {word for word in words if word[0].isdigit()} == {
        ".".join(map(str, version)) for version in mips if version[:2] <= (2, 28)
    }
