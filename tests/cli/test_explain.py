"""``libferry explain``, as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.cli.conftest import ferry


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "libferry", "explain", *words], capture_output=True, text=True
    )


def test_a_name_says_number_and_meaning_by_system() -> None:
    done = run("ENOTEMPTY")
    assert done.returncode == 0
    title = done.stdout.splitlines()[0]
    assert "Linux: 39, 93 on mips/mips64" in title
    assert "macOS: 66" in title


def test_a_negative_number_is_no_option() -> None:
    assert "ENOEXEC" in run("-8").stdout


def test_an_unquoted_message_is_joined() -> None:
    done = run("libx.so:", "cannot", "allocate", "memory", "in", "static", "TLS", "block")
    assert done.returncode == 0
    assert "libferry check libx.so --select static-tls-exhausted" in done.stdout


def test_what_nobody_says_is_exit_code_2() -> None:
    done = run("ENOEXC")
    assert done.returncode == 2
    assert "ENOEXEC" in done.stderr
    assert done.stdout == ""


def test_json_has_the_same() -> None:
    done = run("wrong ELF class: ELFCLASS32", "--json")
    first = json.loads(done.stdout)["meanings"][0]
    assert first["rule"] == "wrong-class"
    assert first["source"].startswith("glibc")


def test_the_words_of_a_longer_message_are_not_taken_for_a_file() -> None:
    message = "libfoo.so.2: cannot open shared object file: No such file or directory"
    out = ferry("explain", message).out
    assert "libferry check libfoo.so.2" in out
    assert "libferry inspect cannot open" not in out
    assert "libferry fix cannot open" not in out
