"""C++ names are shown as binutils' c++filt and Microsoft's undname show them."""

from __future__ import annotations

import re
import subprocess

import pytest

from libferry.binary import read
from libferry.binary.mangled import demangle

LIBSTDCXX = "/usr/lib/x86_64-linux-gnu/libstdc++.so.6"

pytestmark = pytest.mark.needs("pydemumble", install="pip install 'libferry[demangle]'")


def plain(text: str) -> str:
    """GNU and LLVM differ in spaces, and in what they call the type of nullptr."""
    return re.sub(r"\s+", "", text).replace("decltype(nullptr)", "std::nullptr_t")


@pytest.mark.needs("c++filt", install="apt-get install binutils")
@pytest.mark.needs(LIBSTDCXX, install="apt-get install libstdc++6")
def test_the_names_of_libstdcxx_agree_with_cxxfilt() -> None:
    """All but the clones for transactional memory, _ZGT, which LLVM does not know."""
    exported = {export.name for export in read(LIBSTDCXX).exports}
    names = sorted(name for name in exported if name.startswith("_Z") and name[:4] != "_ZGT")
    command = ["c++filt", "--no-verbose"]
    done = subprocess.run(
        command, input="\n".join(names), capture_output=True, text=True, check=True
    )
    theirs = dict(zip(names, done.stdout.splitlines(), strict=True))
    ours = demangle(names)
    assert len(names) > 5000
    assert [n for n in names if plain(ours.get(n, n)) != plain(theirs[n])] == []


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        # Microsoft's documentation of UNDNAME, "Viewing undecorated names"
        ("?func1@a@@AAEXH@Z", "private: void __thiscall a::func1(int)"),
        # ... and of "Format of a C++ decorated name": int __cdecl f(int)
        ("?f@@YAHH@Z", "int __cdecl f(int)"),
    ],
)
def test_microsofts_names_are_shown_too(name: str, meaning: str) -> None:
    assert demangle([name]) == {name: meaning}


def test_other_names_stay_as_they_are() -> None:
    assert demangle(["main", "_Z", "?", "_f@4", "_Zwhat", "_RN", "_Z\udce4"]) == {}


def test_a_name_that_would_fill_the_memory_does_no_harm() -> None:
    """Each type is ``a`` of the one before it, twice: the last has 2^60 ints in it."""
    types = ["1aIiiE"] + [f"S_IS{seq(n)}_S{seq(n)}_E" for n in range(60)]
    assert demangle(["_Z3addii", "_Z1f" + "".join(types)]) == {"_Z3addii": "add(int, int)"}


def test_a_name_nested_too_deep_for_the_stack_does_no_harm() -> None:
    assert demangle(["_Z3addii", "_Z1f" + "P" * 2_000_000 + "i"]) == {"_Z3addii": "add(int, int)"}


def seq(number: int) -> str:
    """Itanium C++ ABI, <seq-id>: base 36, which begins at the second substitution."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    high, low = divmod(number, 36)
    return (seq(high) if high else "") + digits[low]
