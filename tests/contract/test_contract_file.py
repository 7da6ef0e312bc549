"""A contract in TOML beside a header that says nothing about its pointers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from libferry.contract import ErrorRule, Header, declare, read_contract
from libferry.errors import DeclarationError

ABI = "x86_64-sysv"
HEADER = """
enum { OK = 0, BAD = -1 };
int latest(char *buf, int len);
int last_error(char *buf, int len);
char *copy(const char *);
void release(void *);
"""
CONTRACT = """
[library]
header = "notice.h"
thread-safe = false

[functions.latest]
error = "< OK, last_error"
parameters.buf = { direction = "out", length = "len" }

[functions.copy]
owned = "release"
string = true
parameters.1 = { direction = "in", string = true }
"""


def written(folder: Path, contract: str, header: str = HEADER) -> Path:
    (folder / "notice.h").write_text(header)
    (folder / "notice.toml").write_text(contract)
    return folder / "notice.toml"


def test_it_says_what_the_header_does_not(tmp_path: Path) -> None:
    header = read_contract(written(tmp_path, CONTRACT)).header(ABI)
    latest, copy = header.functions["latest"], header.functions["copy"]
    assert latest.error == ErrorRule("<", 0, "last_error")
    assert (latest.parameters[0].direction, latest.parameters[0].length) == ("out", "len")
    assert (copy.owned, copy.string, copy.parameters[0].string) == ("release", True, True)
    assert not header.thread_safe
    assert header.constants["BAD"] == -1
    assert header.functions["release"] == declare(HEADER, ABI).functions["release"]


def test_it_means_the_same_as_the_words_in_a_header(tmp_path: Path) -> None:
    words = """
    enum { OK = 0, BAD = -1 };
    FERRY_ERROR(< OK, last_error) int latest(FERRY_OUT(len) char *buf, int len);
    FERRY_OWNED(release) FERRY_STRING char *copy(FERRY_IN FERRY_STRING const char *);
    """
    expected = declare(words, ABI)
    header = read_contract(written(tmp_path, CONTRACT)).header(ABI)
    for name in ("latest", "copy"):
        assert header.functions[name] == expected.functions[name]


def test_the_header_may_be_given_by_the_caller(tmp_path: Path) -> None:
    contract = written(tmp_path, CONTRACT.replace('header = "notice.h"\n', ""))
    assert read_contract(contract).header(ABI, declare(HEADER, ABI)).functions["latest"].error
    with pytest.raises(DeclarationError, match="no declarations"):
        read_contract(contract).header(ABI)


def test_it_may_hold_declarations_itself(tmp_path: Path) -> None:
    text = """
    [library]
    header = "notice.h"
    declarations = '''
    struct more { int a; };
    int more(struct more *m);
    '''
    [functions.more]
    parameters.m.direction = "inout"
    """
    header = read_contract(written(tmp_path, text)).header(ABI)
    assert header.functions["more"].parameters[0].direction == "inout"
    assert set(header.functions) >= {"more", "latest"}
    assert "struct more" in header.types


@pytest.mark.needs("ziglang", install="pip install 'libferry[headers]'")
def test_its_folders_are_beside_it_and_its_macros_are_defined(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "size.h").write_text("enum { SIZE = WIDE };\n")
    text = '[library]\nheader = "notice.h"\ninclude = ["more"]\ndefine = { WIDE = 7 }\n'
    contract = written(tmp_path, text, '#include "size.h"\nvoid f(char a[SIZE]);\n')
    assert read_contract(contract).header(ABI).constants["SIZE"] == 7


@pytest.mark.parametrize(
    ("contract", "complaint", "hint"),
    [
        ("[library", "Expected ']'", "contract in TOML"),
        ("[libary]", "libary means nothing", "near matches: library"),
        ("[library]\nthread_safe = true", "library.thread_safe means nothing", "thread-safe"),
        ("[library]\nheader = 5", "library.header is 5", "give text"),
        ("[library]\ninclude = [5]", "library.include: 5", "folders"),
        ("[library]\ndefine.X = [1]", "library.define.X", "number"),
        ("[functions]\nlatest = 1", "functions.latest is not a table", "[functions.latest]"),
        ("[functions.latest]\nerorr = '< 0'", "functions.latest.erorr", "near matches: error"),
        ("[functions.latest.parameters.buf]\ndirection = 'uot'", "direction is 'uot'", "'out'"),
        ("[functions.latest.parameters.buf]\nlength = 'len'", "no direction", "direction ="),
        ("[functions.latets]", "functions.latets: no such function", "near matches: latest"),
        ("[functions.latest]\nparameters.bfu.string = true", "bfu: it has no such", "buf"),
        ("[functions.copy]\nparameters.2.string = true", "2: it has no such", "copy(const char *)"),
        ("[functions.latest]\nerror = 'no'", "functions.latest.error: ", "FERRY_ERROR(< 0)"),
        ("[functions.latest]\nowned = 'free'", "returns no pointer", "contract.md"),
        (
            "[functions.latest]\nparameters.buf = { direction = 'out', length = 'lne' }",
            "functions.latest.parameters.buf: the length 'lne'",
            "len",
        ),
        ("[library]\ndeclarations = 'int f('", "library.declarations: ", "plain C"),
        ("[library]\nheader = 'none.h'", "No such file", "path"),
    ],
)
def test_a_mistake_is_named_by_its_key(
    tmp_path: Path, contract: str, complaint: str, hint: str
) -> None:
    with pytest.raises(DeclarationError) as caught:
        read_contract(written(tmp_path, contract)).header(ABI, _given(contract))
    assert complaint in str(caught.value)
    assert hint in caught.value.hint


def _given(contract: str) -> Header | None:
    return None if "none.h" in contract else declare(HEADER, ABI)


def test_a_missing_contract_is_named() -> None:
    with pytest.raises(DeclarationError, match="No such file"):
        read_contract("/no/such.toml")


def test_the_example_of_the_documentation_is_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()
    blocks = re.findall(r"```(\w+)\n(.*?)```", page, re.DOTALL)
    headers = [text for language, text in blocks if language == "c"]
    contracts = [text for language, text in blocks if language == "toml"]
    assert headers
    assert contracts
    words = declare(headers[0], ABI)
    assert words.functions["Notice_GetLatest"].error == ErrorRule("<", 0, "Notice_ErrorMsg")
    contract = written(tmp_path, contracts[0], headers[1])
    beside = read_contract(contract).header(ABI)
    for name in words.functions:
        assert beside.functions[name] == words.functions[name]
