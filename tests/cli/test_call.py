"""``libferry call``: words in, a result out."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from tests.cli.conftest import DLL32, LIBZ, NEEDS_DLL32, NEEDS_LIBZ, NEEDS_WINE, NEEDS_WINE32, ferry

CRC32 = "unsigned long crc32(unsigned long, const void *data, unsigned)"
COMPRESS = "int compress(uint8_t *dest, unsigned long *size, const uint8_t *, unsigned long)"
LIBC, LIBM = "libc.so.6", "libm.so.6"


@NEEDS_LIBZ
def test_the_result_stands_alone_on_standard_output() -> None:
    ran = ferry("call", LIBZ, CRC32, "0", "hello", "5")
    assert (ran.code, ran.out, ran.err) == (0, f"{zlib.crc32(b'hello')}\n", "")


@NEEDS_LIBZ
@pytest.mark.parametrize("word", ["hello", "hex:68656c6c6f", "@{file}", "text:hello"])
def test_bytes_can_be_written_in_four_ways(word: str, tmp_path: Path) -> None:
    (tmp_path / "hello").write_bytes(b"hello")
    ran = ferry("call", LIBZ, CRC32, "0x0", word.format(file=tmp_path / "hello"), "5")
    assert ran.out == f"{zlib.crc32(b'hello')}\n"


@pytest.mark.parametrize(
    ("library", "declaration", "words", "result"),
    [
        (LIBC, "int abs(int)", ["-5"], "5"),
        (LIBC, "int abs(int)", ["-0x10"], "16"),
        (LIBC, "int toupper(char)", ["a"], "65"),
        (LIBC, "size_t strlen(const char *)", ["grüß"], "6"),
        (LIBC, "size_t strlen(const char *)", [b"\xff"], "1"),
        (LIBC, "size_t strlen(const char *)", ["text:null"], "4"),
        (LIBC, "size_t strlen(const char *)", ["--", "--json"], "6"),
        (LIBC, "size_t strlen(const char *)", ["你好", "--encoding", "gbk"], "4"),
        (LIBC, "size_t wcslen(const wchar_t *)", ["grüß"], "4"),
        (LIBC, "const char *getenv(const char *)", ["NO_SUCH_VARIABLE"], "null"),
        (LIBM, "double fabs(double)", ["-1.5e3"], "1500.0"),
        (LIBM, "double fabs(double)", ["-inf"], "inf"),
        (LIBC, "_Bool isatty(int)", ["99"], "false"),
        (LIBC, "int memcmp(const int *, const int *, size_t)", ["1,-2", "1,-2", "8"], "0"),
    ],
)
def test_words_become_what_the_parameter_is(
    library: str, declaration: str, words: list[str | bytes], result: str
) -> None:
    ran = ferry("call", library, declaration, *words)
    assert (ran.code, ran.out) == (0, f"{result}\n"), ran.err


@pytest.mark.parametrize(
    ("declaration", "words", "out"),
    [
        # text up to the NUL
        ("char *strcpy(char *to, const char *)", ["out:16", "grüß"], "out 1 (to): grüß"),
        ("wchar_t *wcscpy(wchar_t *, const wchar_t *)", ["out:64", "grüß"], "out 1: grüß"),
        # one number, and one that is given a value first
        ("double frexp(double, int *exponent)", ["8", "out"], "out 2 (exponent): 4"),
        ("char *strsep(char **, const char *)", ["null", "x"], None),
        ("void swab(const short *, short *, long)", ["1,2", "out:4", "4"], "out 2: 256 512"),
        ("void *memcpy(int *, const int *, size_t)", ["out=7", "1", "0"], "out 1: 7"),
    ],
)
def test_memory_that_the_library_writes_to_is_shown(
    declaration: str, words: list[str], out: str | None
) -> None:
    ran = ferry("call", LIBC, declaration, *words)
    if out is None:
        assert ran.code == 1, "a null pointer is passed as one"
    else:
        assert ran.out.splitlines()[-1] == out


def test_memory_that_is_no_text_is_shown_as_a_hex_dump() -> None:
    ran = ferry(
        "call",
        LIBC,
        "void swab(const char *, void *to, long)",
        "a\x01bcdefghijklmnopqr",
        "out:20",
        "18",
    )
    assert ran.out.splitlines() == [
        "out 2 (to): 20 bytes",
        "  00000000  01 61 63 62 65 64 67 66  69 68 6b 6a 6d 6c 6f 6e  .acbedgfihkjmlon",
        "  00000010  71 70 00 00                                       qp..",
    ]


@NEEDS_LIBZ
def test_json_has_everything_about_the_call() -> None:
    data = "ferry" * 20
    ran = ferry("call", LIBZ, COMPRESS, "out:32", "out=32", data, str(len(data)), "--json")
    answer = ran.json
    packed = bytes.fromhex(answer["out"][0].pop("hex"))
    assert zlib.decompress(packed[:16]) == data.encode()
    assert answer == {
        "result": 0,
        "out": [
            {"argument": 1, "name": "dest", "value": None},
            {"argument": 2, "name": "size", "value": 16, "hex": "1000000000000000"},
        ],
        "errno": 0,
        "last_error": 0,
        "isolation": "worker",
        "abi": "x86_64-sysv",
    }


def test_json_has_a_word_for_what_json_cannot_say() -> None:
    assert ferry("call", LIBM, "double log(double)", "0", "--json").json["result"] == "-inf"


def test_errno_is_a_note_beside_the_result() -> None:
    ran = ferry("call", LIBC, "int chdir(const char *)", "/no/such/folder")
    assert (ran.code, ran.out) == (0, "-1\n")
    assert ran.err == "note: errno is 2 (ENOENT: No such file or directory)\n"


def test_it_can_have_all_it_needs_for_itself() -> None:
    ran = ferry("call", LIBC, "int abs(int)", "-5", "--isolation", "namespace", "--json")
    assert (ran.json["result"], ran.json["isolation"]) == (5, "namespace")


def test_a_crash_can_be_kept(tmp_path: Path) -> None:
    crash = ("call", LIBC, "size_t strlen(uintptr_t)", "16")
    ran = ferry(*crash, "--dump", str(tmp_path))
    (path,) = tmp_path.iterdir()
    assert ran.code == 1
    assert f"dump: {path}" in ran.err
    assert path.read_bytes()[:4] == b"MDMP"
    assert ferry(*crash, "--dump", str(tmp_path), "--json").json["dump"] in {
        str(path) for path in tmp_path.iterdir()
    }


@pytest.mark.parametrize("isolation", ["auto", "in-process"])
def test_the_library_can_be_kept_in_this_process(isolation: str) -> None:
    ran = ferry("call", LIBC, "int abs(int)", "-5", "--isolation", isolation, "--json")
    assert (ran.json["result"], ran.json["isolation"]) == (5, "in-process")


@NEEDS_WINE
@NEEDS_WINE32
@NEEDS_DLL32
def test_a_32_bit_dll() -> None:
    ran = ferry("call", DLL32, CRC32, "0", "hello", "5", "--json")
    assert (ran.json["result"], ran.json["abi"]) == (zlib.crc32(b"hello"), "i386-windows")
