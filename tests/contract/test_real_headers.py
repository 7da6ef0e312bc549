"""Real headers, read for several targets; Clang confirms every type and constant.

Each test has some thousand assertions compiled: the signature of every function, the
size, the members' offsets and types of every record, the value of every constant.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from libferry.abi import ABIS
from libferry.contract import AddressConstant, Header, read_header
from tests.contract.oracle import disagreements

NEEDS_ZIG = pytest.mark.needs("ziglang", install="pip install 'libferry[headers]'")
pytestmark = NEEDS_ZIG

SYSTEM = ("/usr/include", "/usr/include/x86_64-linux-gnu")
IDIRAFTER = ("-idirafter", SYSTEM[0], "-idirafter", SYSTEM[1])


def address(header: Header, name: str) -> int:
    """The value of a macro that is a cast to a pointer."""
    constant = header.constants[name]
    assert isinstance(constant, AddressConstant)
    return constant.value


def needs(header: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.needs(header, install=f"apt-get install {package}")


@needs("/usr/include/zlib.h", "zlib1g-dev")
def test_zlib(tmp_path: Path) -> None:
    header = read_header("/usr/include/zlib.h", "x86_64-sysv")
    assert str(header.functions["crc32"]) == (
        "unsigned long crc32(unsigned long crc, const unsigned char *buf, unsigned int len)"
    )
    assert header.constants["Z_BEST_SPEED"] == 1
    assert header.constants["ZLIB_VERSION"].startswith("1.")  # type: ignore[union-attr]
    assert disagreements(header, "#include </usr/include/zlib.h>", "x86_64-sysv", tmp_path) == []


@needs("/usr/include/sqlite3.h", "libsqlite3-dev")
def test_sqlite(tmp_path: Path) -> None:
    header = read_header("/usr/include/sqlite3.h", "x86_64-sysv")
    assert header.constants["SQLITE_OK"] == 0
    assert header.constants["SQLITE_IOERR_READ"] == 10 | 1 << 8
    assert address(header, "SQLITE_TRANSIENT") == 2**64 - 1  # ((sqlite3_destructor_type)-1)
    assert header.functions["sqlite3_mprintf"].variadic
    assert disagreements(header, "#include </usr/include/sqlite3.h>", "x86_64-sysv", tmp_path) == []


@needs("/usr/include/png.h", "libpng-dev")
def test_libpng(tmp_path: Path) -> None:
    header = read_header("/usr/include/png.h", "x86_64-sysv", include=SYSTEM)
    assert header.constants["PNG_COLOR_TYPE_RGB"] == 2
    wrong = disagreements(
        header, "#include </usr/include/png.h>", "x86_64-sysv", tmp_path, IDIRAFTER
    )
    assert wrong == []


@needs("/usr/include/openssl/evp.h", "libssl-dev")
def test_openssl_is_found_in_the_folders_that_are_given(tmp_path: Path) -> None:
    header = read_header("/usr/include/openssl/evp.h", "x86_64-sysv", include=SYSTEM)
    assert header.constants["EVP_MAX_MD_SIZE"] == 64
    wrong = disagreements(header, "#include <openssl/evp.h>", "x86_64-sysv", tmp_path, IDIRAFTER)
    assert wrong == []


# Where we are with Microsoft's compiler, and not with mingw and Clang: an enum is an int;
# `F *__stdcall f(void)` is a stdcall function even if F is a function's type, too; and
# __declspec(align(16)) aligns. The last one's name is a macro that is defined after it.
OTHERWISE = (
    "SIID_INVALID",
    "I_RpcServerInqAddressChangeFn",
    "struct _JUMP_BUFFER",
    "IUriBuilderVtbl.SetPort",
)


@pytest.mark.parametrize("abi", ["x86_64-windows", "i386-windows", "aarch64-windows"])
def test_windows(abi: str, tmp_path: Path) -> None:
    header = read_header("#include <windows.h>\n", abi)
    assert header.constants["ERROR_FILE_NOT_FOUND"] == 2
    bits = 32 if abi == "i386-windows" else 64
    assert address(header, "INVALID_HANDLE_VALUE") == 2**bits - 1  # ((HANDLE)(LONG_PTR)-1)
    assert header.functions["MessageBox"] == header.functions["MessageBoxA"]
    stdcall = "stdcall" if abi == "i386-windows" else "cdecl"
    assert header.functions["CreateFileW"].convention == stdcall
    assert header.functions["wsprintfA"].convention == "cdecl"  # it is variadic
    wrong = disagreements(header, "#include <windows.h>", abi, tmp_path)
    assert [one for one in wrong if not any(name in one for name in OTHERWISE)] == []


@pytest.mark.parametrize("abi", sorted(ABIS))
def test_the_c_library_of_every_target(abi: str, tmp_path: Path) -> None:
    """zig brings them, so that a header means on each target what it means there."""
    names = ("stdio", "stdlib", "string", "math", "time", "errno", "limits", "wchar", "complex")
    text = "".join(f"#include <{name}.h>\n" for name in (*names, "stdint", "locale", "setjmp"))
    header = read_header(text, abi)
    assert header.constants["EOF"] == -1
    wrong = disagreements(header, text, abi, tmp_path)
    assert [one for one in wrong if not any(name in one for name in OTHERWISE)] == []
