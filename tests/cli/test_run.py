"""``libferry run``: somebody else's program, and nothing in it that was not expected."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, NEEDS_ZIG, Ran, ferry

ECHO = "import sys; sys.stdout.write(sys.stdin.read()); sys.exit(7)"


def sha256sum(path: Path | str) -> str:
    done = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True)
    return f"sha256:{done.stdout.split()[0]}"


def compiled(folder: Path, source: str, name: str, *options: str) -> Path:
    (folder / "source.c").write_text(source)
    command = [sys.executable, "-m", "ziglang", "cc", "-o", str(folder / name)]
    subprocess.run([*command, str(folder / "source.c"), *options], check=True)
    return folder / name


def recorded(file: Path) -> dict[str, str]:
    return {one["path"]: one["digest"] for one in json.loads(file.read_text())["files"]}


def said(ran: Ran, code: int, *words: str) -> None:
    assert ran.code == code, ran.err
    for word in words:
        assert word in ran.err


@pytest.mark.parametrize("options", [[], ["--snapshot", "{}/s.json"]])
def test_streams_and_exit_code_are_the_programs(options: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *COMMAND,
            "run",
            *(o.format(tmp_path) for o in options),
            *("--", sys.executable, "-c", ECHO),
        ],
        input="as it is\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "as it is\n", "")


@pytest.mark.parametrize("options", [[], ["--snapshot", "/dev/null"]])
def test_the_program_ignores_no_signals_that_python_does(options: list[str]) -> None:
    ran = ferry("run", *options, "--", "grep", "SigIgn", "/proc/self/status")
    assert int(ran.out.split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0


def test_who_ends_by_a_signal_is_reported_as_a_shell_does(tmp_path: Path) -> None:
    ran = ferry("run", "--snapshot", str(tmp_path / "s"), "--", "sh", "-c", "kill -9 $$")
    assert ran.code == 128 + signal.SIGKILL


def test_a_signal_is_passed_on(tmp_path: Path) -> None:
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    words = [*COMMAND, "run", "--snapshot", str(tmp_path / "s"), "--", "sh", "-c", script]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 5


def test_the_snapshot_has_what_the_loader_lists(tmp_path: Path) -> None:
    program = shutil.which("ls") or ""
    ran = ferry("run", "--snapshot", str(tmp_path / "s.json"), "--", program, "/")
    assert ran.code == 0
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    files = {os.path.realpath(word) for word in listed.split() if word.startswith("/")}
    wanted = files | {os.path.realpath(program)}
    found = recorded(tmp_path / "s.json")
    assert wanted <= set(found)
    assert all(found[path] == sha256sum(path) for path in wanted)
    again = ferry("run", "--expect", str(tmp_path / "s.json"), "--", program, "/")
    assert (again.code, again.out) == (0, ran.out)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LD_PRELOAD", "/lib/libnothing.so"),
        ("LD_AUDIT", "/lib/libnothing.so"),
        ("LD_LIBRARY_PATH", "/tmp"),
        ("GLIBC_TUNABLES", "glibc.malloc.check=3"),
    ],
)
def test_what_changes_the_loader_is_refused(name: str, value: str) -> None:
    # set behind Python's own start, which would follow it
    code = f"import os, sys; os.environ[{name!r}] = {value!r}\nfrom libferry.cli import main\n"
    code += "sys.exit(main(['run', '--', 'true']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert name in done.stderr
    assert value in done.stderr


@NEEDS_ZIG
@pytest.mark.needs("nm", install="apt-get install binutils")
def test_a_preload_is_allowed_by_name_and_what_it_takes_over_is_known(tmp_path: Path) -> None:
    source = "char *strfry(char *s) { return s; }\nint of_mine(void) { return 1; }"
    preload = compiled(tmp_path, source, "libmine.so", "-shared", "-fPIC")
    environment = {"LD_PRELOAD": str(preload)}
    assert ferry("run", "--", "true", environment=environment).code == 1
    snapshot = tmp_path / "s.json"
    words = ["run", "--allow-preload", "libmine.so"]
    ran = ferry(*words, "--snapshot", str(snapshot), "--", "true", environment=environment)
    said(ran, 0)
    assert recorded(snapshot)[str(preload)] == sha256sum(preload)

    def exported(file: str) -> set[str]:
        done = subprocess.run(["nm", "-D", "--defined-only", file], capture_output=True, text=True)
        return {line.split()[-1].split("@")[0] for line in done.stdout.splitlines()}

    libc = next(path for path in recorded(snapshot) if path.endswith("libc.so.6"))
    taken = json.loads(snapshot.read_text())["interposed"]
    assert taken == {str(preload): sorted(exported(str(preload)) & exported(libc))}
    assert taken[str(preload)] == ["strfry"]

    more = source + "\nvoid *memfrob(void *s, unsigned long n) { return n ? s : 0; }"
    compiled(tmp_path, more, "libmine.so", "-shared", "-fPIC")
    ran = ferry(*words, "--expect", str(snapshot), "--", "true", environment=environment)
    said(ran, 1, "libmine.so takes over memfrob")


MARKS = """
#include <stdio.h>
__attribute__((constructor)) static void begin(void)
{ FILE *f = fopen(MARK, "w"); if (f) fclose(f); }
int number(void) { return 1; }
"""


@NEEDS_ZIG
def test_a_swapped_library_does_not_get_to_run(tmp_path: Path) -> None:
    library = compiled(tmp_path, "int number(void) { return 0; }", "libn.so", "-shared", "-fPIC")
    program = compiled(
        tmp_path,
        "int number(void); int main(void) { return number(); }",
        "program",
        *(str(library), f"-Wl,-rpath,{tmp_path}"),
    )
    snapshot, mark = tmp_path / "s.json", tmp_path / "mark"
    said(ferry("run", "--snapshot", str(snapshot), "--", str(program)), 0)
    said(ferry("run", "--expect", str(snapshot), "--", str(program)), 0)
    library.unlink()
    compiled(tmp_path, MARKS, "libn.so", "-shared", "-fPIC", f'-DMARK="{mark}"')
    said(ferry("run", "--", str(program)), 1)
    assert mark.exists(), "its constructor does not run at all, so this shows nothing"
    mark.unlink()
    ran = ferry("run", "--expect", str(snapshot), "--", str(program))
    said(ran, 1, f"{library}: is {sha256sum(library)} instead of")
    assert not mark.exists()


@NEEDS_ZIG
def test_a_library_that_comes_later_is_looked_at(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    library = compiled(tmp_path, MARKS, "libn.so", "-shared", "-fPIC", f'-DMARK="{mark}"')
    load = "import ctypes, sys; ctypes.CDLL(sys.argv[1]) if len(sys.argv) > 1 else ctypes"
    words = [sys.executable, "-c", load]
    snapshot = tmp_path / "s.json"
    said(ferry("run", "--snapshot", str(snapshot), "--", *words), 0)
    said(ferry("run", "--expect", str(snapshot), "--", *words), 0)
    ran = ferry("run", "--expect", str(snapshot), "--", *words, str(library))
    said(ran, 1, f"{library}: was not expected")
    assert not mark.exists()


def test_programs_that_it_starts_are_looked_at(tmp_path: Path) -> None:
    snapshot = tmp_path / "s.json"
    said(ferry("run", "--snapshot", str(snapshot), "--", "sh", "-c", ":"), 0)
    ran = ferry("run", "--expect", str(snapshot), "--", "sh", "-c", "ls /; echo went on")
    said(ran, 1, f"{os.path.realpath(shutil.which('ls') or '')}: was not expected")
    assert ran.out == ""


# each gets the path of a file with code of its own making
HIDDEN = {
    "mapped first, executable later": """
import ctypes, mmap, os, sys
file = os.open(sys.argv[1], os.O_RDONLY)
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
place = libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_PRIVATE, file, 0)
if len(sys.argv) > 2:
    print(libc.mprotect(place, 4096, mmap.PROT_READ | mmap.PROT_EXEC), flush=True)
""",
    "executed from memory": """
import ctypes, mmap, os, sys
file = os.memfd_create("hidden")
os.write(file, open(sys.argv[1], "rb").read())
if len(sys.argv) > 2:
    os.execve(file, ["hidden"], {})
""",
}


@pytest.mark.parametrize("way", HIDDEN)
def test_code_that_comes_in_by_another_way(way: str, tmp_path: Path) -> None:
    code = tmp_path / "code"
    shutil.copy(shutil.which("ls") or "", code)
    with code.open("ab") as file:
        file.write(b"\0" * 16)  # so that it is no file that was expected
    snapshot = tmp_path / "s.json"
    words = [sys.executable, "-c", HIDDEN[way], str(code)]
    said(ferry("run", "--snapshot", str(snapshot), "--", *words), 0)
    ran = ferry("run", "--expect", str(snapshot), "--", *words, "go")
    said(ran, 1, f"was not expected ({sha256sum(code)})")
    assert ran.out == ""


@pytest.mark.parametrize("interposed", [5, [1], {"a": 1}])
def test_a_snapshot_that_is_not_sound(interposed: object, tmp_path: Path) -> None:
    value = {"format": "libferry snapshot 1", "files": [], "interposed": interposed}
    (tmp_path / "s.json").write_text(json.dumps(value))
    said(ferry("run", "--expect", str(tmp_path / "s.json"), "--", "true"), 1, "is not sound")


def test_a_script_and_what_interprets_it(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho from a script\n")
    script.chmod(0o755)
    snapshot = tmp_path / "s.json"
    ran = ferry("run", "--snapshot", str(snapshot), "--", str(script))
    assert (ran.code, ran.out) == (0, "from a script\n")
    assert {str(script), os.path.realpath("/bin/sh")} <= set(recorded(snapshot))
    script.write_text("#!/bin/sh\necho changed\n")
    ran = ferry("run", "--expect", str(snapshot), "--", str(script))
    said(ran, 1, f"{script}: is {sha256sum(script)} instead of")
    assert ran.out == ""


# no C library, so that none has to be built: write(1, "static", 6) and exit(3)
BARE = r"""
__asm__(".text\n.globl _start\n_start:\n"
#ifdef __x86_64__
        "mov $1, %eax; mov $1, %edi; lea text(%rip), %rsi; mov $6, %edx; syscall\n"
        "mov $60, %eax; mov $3, %edi; syscall\n"
#else
        "mov $4, %eax; mov $1, %ebx; mov $text, %ecx; mov $6, %edx; int $0x80\n"
        "mov $1, %eax; mov $3, %ebx; int $0x80\n"
#endif
        "text: .ascii \"static\"");
"""


@NEEDS_ZIG
@pytest.mark.parametrize("target", ["x86_64-linux-none", "x86-linux-none"])
def test_a_static_program_of_64_and_of_32_bits(target: str, tmp_path: Path) -> None:
    options = ("-target", target, "-static", "-nostdlib", "-fno-pie")
    program = compiled(tmp_path, BARE, "program", *options)
    snapshot = tmp_path / "s.json"
    ran = ferry("run", "--snapshot", str(snapshot), "--", str(program))
    assert (ran.code, ran.out) == (3, "static")
    assert recorded(snapshot) == {str(program): sha256sum(program)}
    said(ferry("run", "--expect", str(snapshot), "--", str(program)), 3)


@NEEDS_ZIG
@pytest.mark.needs("/lib/ld-linux.so.2", install="apt-get install libc6-i386")
def test_a_32_bit_program_and_its_libraries(tmp_path: Path) -> None:
    program = compiled(
        tmp_path, "int main(void) { return 9; }", "p", "-target", "x86-linux-gnu.2.17"
    )
    snapshot = tmp_path / "s.json"
    assert ferry("run", "--snapshot", str(snapshot), "--", str(program)).code == 9
    assert os.path.realpath("/lib/ld-linux.so.2") in recorded(snapshot)
    assert any("libc.so.6" in path for path in recorded(snapshot))


def test_where_there_is_a_watcher_already_the_loader_is_asked(tmp_path: Path) -> None:
    """The kernel gives one listener to a process: a second one inside it has none."""
    inner, outer = tmp_path / "inner.json", tmp_path / "outer.json"
    words = [*COMMAND, "run", "--snapshot", str(inner), "--", "true"]
    ran = ferry("run", "--snapshot", str(outer), "--", *words)
    said(ran, 0, "what is loaded later is not looked at")
    assert os.path.realpath(shutil.which("true") or "") in recorded(inner)
    words[words.index("--snapshot")] = "--expect"
    said(ferry("run", "--snapshot", str(outer), "--", *words), 0)


def test_there_is_no_such_program() -> None:
    said(ferry("run", "--", "no-such-program"), 2, "there is no program no-such-program")


def test_there_is_no_such_snapshot() -> None:
    ran = ferry("run", "--expect", "/nowhere.json", "--", "true")
    said(ran, 1, "read the snapshot /nowhere.json")
