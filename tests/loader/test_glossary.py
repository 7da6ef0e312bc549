"""What loaders print, and the numbers of errno: compared with the loaders and headers."""

from __future__ import annotations

import ctypes
import gettext
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from libferry.loader import glossary
from libferry.loader.glossary.errno import messages, numbers

ZH = Path("/usr/share/locale/zh_CN/LC_MESSAGES/libc.mo")
MUSL = "/lib/ld-musl-x86_64.so.1"


# ---- the numbers ----


def of_header(command: list[str], header: str) -> dict[str, int]:
    """What a preprocessor says of every E... macro."""
    done = subprocess.run(
        [*command, "-E", "-dM", "-x", "c", "-"],
        input=f"#include <{header}>\n",
        capture_output=True,
        text=True,
        check=True,
    )
    macros = dict(re.findall(r"#define (E[A-Z0-9]+) (\S+)", done.stdout))
    found = {}
    for name, value in macros.items():
        while value in macros:
            value = macros[value]
        if value.isdigit():
            found[name] = int(value)
    return found


# Linux 7 has names of its own for file systems; ELAST is the number of the last
NOT_ERRORS = {"EFTYPE", "EFSBADCRC", "EFSCORRUPTED", "ELAST"}


def check(ours: dict[str, int], theirs: dict[str, int], not_there: set[str]) -> None:
    assert len(theirs) > 70
    wanted = {name: number for name, number in theirs.items() if name not in not_there}
    assert {name: ours.get(name) for name in wanted} == wanted


@pytest.mark.needs("ziglang", install="pip install ziglang")
@pytest.mark.parametrize(
    ("target", "os_name", "cpu"),
    [
        ("x86_64-linux-gnu", "linux", "x86_64"),
        ("x86-linux-gnu", "linux", "i386"),
        ("aarch64-linux-gnu", "linux", "aarch64"),
        ("riscv64-linux-gnu", "linux", "riscv64"),
        ("loongarch64-linux-gnu", "linux", "loongarch64"),
        ("s390x-linux-gnu", "linux", "s390x"),
        ("m68k-linux-gnu", "linux", "m68k"),
        ("mips-linux-gnueabi", "linux", "mips"),
        ("mips64el-linux-gnuabi64", "linux", "mips64"),
        ("powerpc64le-linux-gnu", "linux", "ppc64"),
        ("sparc64-linux-gnu", "linux", "sparc64"),
        ("x86_64-linux-musl", "linux", "x86_64"),
        ("mips-linux-musleabi", "linux", "mips"),
        ("x86_64-windows-gnu", "windows", "x86_64"),
        ("aarch64-macos", "macos", "aarch64"),
    ],
)
def test_an_errno_has_the_number_that_the_target_s_header_gives_it(
    target: str, os_name: str, cpu: str
) -> None:
    headers = of_header([sys.executable, "-m", "ziglang", "cc", "-target", target], "errno.h")
    # macOS' file type error is one of its own
    not_there = NOT_ERRORS - ({"EFTYPE"} if os_name != "linux" else set())
    check(numbers(os_name, cpu), headers, not_there)


@pytest.mark.parametrize("cpu", ["alpha", "hppa"])
@pytest.mark.needs(
    "/usr/alpha-linux-gnu/include/asm/errno.h",
    install="apt-get install linux-libc-dev-alpha-cross linux-libc-dev-hppa-cross",
)
def test_zig_has_no_headers_for_alpha_and_pa_risc_but_the_kernel_has(cpu: str) -> None:
    include = f"-I/usr/{cpu}-linux-gnu/include"
    check(numbers("linux", cpu), of_header(["gcc", "-nostdinc", include], "asm/errno.h"), set())


def test_strerror_says_what_the_table_says() -> None:
    known = numbers("linux", "x86_64")
    said = {name: os.strerror(known[name]) for name in messages()}
    assert len(said) > 120
    assert {name: texts["glibc"] for name, texts in messages().items()} == said


@pytest.mark.needs(str(ZH), install="apt-get install libc-l10n")
def test_chinese_strerror_is_glibc_s_own() -> None:
    with ZH.open("rb") as file:
        catalogue = gettext.GNUTranslations(file)
    translated = {name: catalogue.gettext(texts["glibc"]) for name, texts in messages().items()}
    ours = {name: texts.get("zh_CN", texts["glibc"]) for name, texts in messages().items()}
    assert ours == translated


@pytest.mark.needs(str(ZH), install="apt-get install libc-l10n")
def test_chinese_messages_of_the_loader_are_glibc_s_own() -> None:
    with ZH.open("rb") as file:
        catalogue = gettext.GNUTranslations(file)
    compared = 0
    for entry in glossary.entries():
        if entry.loader == "glibc" and entry.translated:
            theirs = {
                catalogue.gettext(part.rstrip())
                for pattern in entry.messages
                for part in re.split(r"\{file\}: |: \{file\}|\{class\}|: (?=[ENP])", pattern)
                for part in (part, f"{part}ELFCLASS32", part.rstrip(": "))
                if part
            }
            translated = [text for text in theirs if not text.isascii()]
            if not translated:
                continue  # another version's catalogue has it, this one none of its messages
            ours = [text.replace("{class}", "ELFCLASS32") for text in entry.translated["zh_CN"]]
            assert any(text in mine for text in translated for mine in ours), entry.id
            compared += 1
    assert compared > 12


# ---- what real loaders say is found ----


def refused(path: str) -> str:
    code = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.returncode == 1
    return done.stderr.strip().splitlines()[-1]


def compiled(folder: Path, source: str, *options: str, name: str = "libx.so") -> Path:
    (folder / "x.c").write_text(source)
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", folder / name, folder / "x.c", *options], check=True
    )
    return folder / name


def first(asked: str) -> glossary.Match:
    found = glossary.explain(asked)
    assert found, asked
    return found[0]


def test_a_missing_library_s_message_names_it() -> None:
    match = first(refused("libnowhere.so.7"))
    assert match.entry is not None
    assert (match.entry.id, match.values["file"]) == ("missing-library", "libnowhere.so.7")
    assert match.commands == ("libferry check libnowhere.so.7 --target this",)


def test_text_given_as_a_library(tmp_path: Path) -> None:
    (tmp_path / "libtext.so").write_text("GROUP ( libc.so.6 )\n" * 10)
    match = first(refused(str(tmp_path / "libtext.so")))
    assert match.entry is not None
    assert match.entry.id == "not-a-library"


@pytest.mark.needs("/usr/lib32/libz.so.1", install="apt-get install lib32z1")
def test_a_library_of_the_other_bitness() -> None:
    match = first(refused("/usr/lib32/libz.so.1"))
    assert match.entry is not None
    assert match.entry.id == "wrong-class"
    assert match.values["class"] == "ELFCLASS32"


@pytest.mark.needs("gcc", install="apt-get install gcc")
def test_an_undefined_symbol(tmp_path: Path) -> None:
    library = compiled(tmp_path, "int nobody(void); int (*p)(void) = nobody;")
    match = first(refused(str(library)))
    assert match.entry is not None
    assert (match.entry.id, match.values["symbol"]) == ("missing-symbol", "nobody")


@pytest.mark.needs("gcc", install="apt-get install gcc")
def test_too_much_static_tls(tmp_path: Path) -> None:
    source = "static __thread char big[100000]; char *at(void) { return big; }"
    library = compiled(tmp_path, source, "-ftls-model=initial-exec")
    match = first(refused(str(library)))
    assert match.entry is not None
    assert match.entry.id == "static-tls-exhausted"


@pytest.mark.needs("gcc", install="apt-get install gcc")
@pytest.mark.needs(MUSL, install="apt-get install musl")
def test_musl_names_what_is_missing_and_who_needs_it(tmp_path: Path) -> None:
    compiled(tmp_path, "int a;", "-nostdlib", "-Wl,-soname,libgone.so.3", name="liba.so")
    library = compiled(
        tmp_path, "extern int a; int *p = &a;", "-nostdlib", f"-L{tmp_path}", "-Wl,--no-as-needed",
        "-la",
    )  # fmt: skip
    done = subprocess.run([MUSL, "--list", library], capture_output=True, text=True)
    match = first(done.stderr.splitlines()[0])
    assert match.entry is not None
    assert (match.entry.loader, match.entry.id) == ("musl", "missing-library")
    assert match.values["file"] == "libgone.so.3"
    assert match.values["requester"] == str(library)


def test_exec_of_what_is_no_program_says_errno_8(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b"\x7fELF" + bytes(60))
    (tmp_path / "p").chmod(0o755)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.execv(bytes(tmp_path / "p"), (ctypes.c_char_p * 2)(b"p", None))
    found = glossary.explain(str(ctypes.get_errno()))
    assert found[0].entry is not None
    assert found[0].entry.errno == "ENOEXEC"
    assert glossary.explain(str(-ctypes.get_errno()))[0].entry is found[0].entry


# ---- how it is asked ----


@pytest.mark.parametrize(
    "pasted",
    [
        "./prog: error while loading shared libraries: libatk.so.0: 无法打开共享对象文件: "
        "没有那个文件或目录",
        "加载共享库时出错：libatk.so.0：无法打开共享对象文件：没有这样的文件或目录",
        "libatk.so.0:无法打开共享对象文件:没有那个文件或目录",
        "  ImportError:  libatk.so.0: cannot open shared object file: No such file or directory\n",
    ],
)
def test_pasted_lines_in_two_languages_mean_the_same(pasted: str) -> None:
    match = first(pasted)
    assert match.entry is not None
    assert (match.entry.id, match.values["file"]) == ("missing-library", "libatk.so.0")


def test_a_misspelled_name_has_near_matches() -> None:
    assert glossary.explain("ENOEXC") == ()
    assert "ENOEXEC" in glossary.near("ENOEXC")


@pytest.mark.parametrize("asked", ["", "   ", "{", "(" * 3000, "0x", "9" * 5000, "\x00", "[a-z"])
def test_nonsense_is_no_answer_and_no_error(asked: str) -> None:
    assert glossary.explain(asked) == ()
    glossary.near(asked)


def test_every_entry_can_be_found_by_its_own_message() -> None:
    for entry in glossary.entries():
        for pattern in entry.patterns():
            text = re.sub(r"\{(\w+)\}", r"\1", pattern)
            assert any(match.entry == entry for match in glossary.explain(text)), pattern


def test_every_entry_has_a_key_of_its_own() -> None:
    keys = [(entry.loader, entry.id) for entry in glossary.entries()]
    assert len(keys) == len(set(keys))
    assert importlib.util.find_spec("libferry.loader.glossary") is not None
