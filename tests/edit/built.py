"""Libraries to edit, made by a compiler when the test runs, and processes that call them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SOURCE = """
#include <stdlib.h>
#include <string.h>
__thread int counter = 5;
int table[4] = {1, 2, 3, 4};
int (*chosen)(int);
int helper(int x) { return x * 3; }
int secret(int x) { return x + 41; }
int api(int x) { return helper(x) + secret(0); }
int count(void) { return ++counter; }
char *twice(const char *s) {
    char *made = malloc(2 * strlen(s) + 1);
    return strcat(strcpy(made, s), s);
}
__attribute__((constructor)) static void start(void) { chosen = secret; }
int through(int x) { return chosen(x) + table[3]; }
"""

CALLS = {"helper": 7, "secret": 1, "api": 2, "through": 1}
RESULTS = {"helper": 21, "secret": 42, "api": 47, "through": 46}

VERSIONS = "OLD_1 { helper; secret; }; NEW_2 { api; count; twice; through; } OLD_1;"


def build(folder: Path, *options: str, name: str = "libtest.so", source: str = SOURCE) -> Path:
    """With gcc, lazily bound, with a soname and a RUNPATH."""
    (folder / "test.c").write_text(source)
    path = folder / name
    command = ["gcc", "-shared", "-fPIC", "-O1", "-Wl,-z,lazy", "-Wl,-soname,libtest.so.1"]
    command += ["-Wl,--enable-new-dtags,-rpath,/opt/vendor/lib:/srv/lib"]
    subprocess.run([*command, "-o", path, folder / "test.c", *options], check=True)
    return path


def versioned(folder: Path) -> Path:
    """The same with symbol versions."""
    (folder / "test.map").write_text(VERSIONS)
    return build(folder, f"-Wl,--version-script={folder / 'test.map'}", name="libversioned.so")


def with_zig(folder: Path, target: str, name: str = "libtest.so") -> Path:
    """For another target, without a C library's headers being of much use."""
    (folder / "test.c").write_text(SOURCE)
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-shared", "-fPIC", "-O2"]
    command += ["-Wl,-soname,libtest.so.1", "-Wl,-rpath,/opt/vendor/lib", "-Wl,-z,lazy"]
    subprocess.run([*command, "-o", folder / name, folder / "test.c"], check=True)
    return folder / name


_CALLER = """
import ctypes, json, sys
library = ctypes.CDLL(sys.argv[1])
said = {}
for name, argument in json.loads(sys.argv[2]).items():
    try:
        said[name] = getattr(library, name)(argument)
    except AttributeError:
        said[name] = None
print(json.dumps(said))
"""


def call(path: Path, names: dict[str, int]) -> dict[str, int | None]:
    """Each function's result in a process of its own, glibc's; None if it cannot be found."""
    command = [sys.executable, "-c", _CALLER, str(path), json.dumps(names)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said: dict[str, int | None] = json.loads(done.stdout)
    return said


_MUSL_CALLER = """
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
int main(int n, char **words) {
    void *library = dlopen(words[1], RTLD_NOW);
    if (!library) { puts(dlerror()); return 1; }
    for (int i = 2; i + 1 < n; i += 2) {
        int (*function)(int) = (int (*)(int))dlsym(library, words[i]);
        if (function) printf("%s %d\\n", words[i], function(atoi(words[i + 1])));
        else printf("%s none\\n", words[i]);
    }
}
"""


def musl_caller(folder: Path) -> Path:
    """A program of musl's that loads a library and calls functions."""
    (folder / "caller.c").write_text(_MUSL_CALLER)
    program = folder / "caller"
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-musl", "-dynamic"]
    command += ["-O2", "-fno-sanitize=all"]  # what checks would need is newer than Debian's musl
    subprocess.run([*command, "-o", program, folder / "caller.c"], check=True)
    return program


def call_with_musl(program: Path, path: Path, names: dict[str, int]) -> dict[str, int | None]:
    """The same as ``call`` in a process of musl's."""
    words = [word for name, argument in names.items() for word in (name, str(argument))]
    done = subprocess.run(
        ["/lib/ld-musl-x86_64.so.1", program, path, *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    return {name: None if said == "none" else int(said) for name, said in rows}
