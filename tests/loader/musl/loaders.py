"""Real musl loaders, and small libraries and programs to ask them about.

A loader is one file, started as a program with what it shall run behind it. Each is of
another release of Debian; ``tools/setup-debian`` unpacks them. What it says when it has
loaded something with ``dlopen`` comes from a program of ours, which is built without a C
library to build against, so that it runs under each of them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from libferry.loader import Options, Resolution, resolve
from libferry.target import RootSystem, Target

ROOT = Path(__file__).parents[3]
DEBIAN = ROOT / "build/debian"

# CPU -> loaders, oldest first
LOADERS = {
    "x86_64": (
        Path("/lib/ld-musl-x86_64.so.1"),
        DEBIAN / "trixie-amd64-musl/usr/lib/x86_64-linux-musl/libc.so",
        DEBIAN / "sid-amd64-musl/usr/lib/x86_64-linux-musl/libc.so",
    ),
    "aarch64": (
        DEBIAN / "bookworm-arm64-musl/lib/aarch64-linux-musl/libc.so",
        DEBIAN / "trixie-arm64-musl/usr/lib/aarch64-linux-musl/libc.so",
    ),
}
RUNNERS = {"x86_64": (), "aarch64": ("qemu-aarch64-static",)}
COMPILERS = {
    "x86_64": ("gcc",),
    "aarch64": (
        sys.executable,
        "-m",
        "ziglang",
        "cc",
        "-target",
        "aarch64-linux-musl",
        "-fno-sanitize=all",
    ),
}

NEEDS = [
    *(
        pytest.mark.needs(str(loader), install="tools/setup-debian, as root")
        for loaders in LOADERS.values()
        for loader in loaders
    ),
    pytest.mark.needs("gcc", install="apt-get install gcc"),
    pytest.mark.needs("ziglang", install="pip install ziglang"),
    pytest.mark.needs("qemu-aarch64-static", install="apt-get install qemu-user-static"),
]

HOST = """
extern int puts(const char *), printf(const char *, ...);
extern void *dlopen(const char *, int); extern char *dlerror(void); extern void exit(int);
extern int dl_iterate_phdr(int (*)(const char **, unsigned long, void *), void *);
extern int __libc_start_main(int (*)(int, char **), int, char **);
extern int setvbuf(void *, char *, int, unsigned long); extern void *const stdout;
static int show(const char **info, unsigned long size, void *data) {
    printf("loaded %s\\n", info[1]);
    return 0;
}
int main(int argc, char **argv) {
    setvbuf(stdout, 0, 2, 0);
    if (argc > 2) {
        void *handle = dlopen(argv[2], argv[1][0] == 'n' ? 2 : 1);
        if (!handle) { printf("error %s\\n", dlerror()); return 1; }
    }
    dl_iterate_phdr(show, 0);
    return 0;
}
__attribute__((used)) static void start(long *sp) {
    __libc_start_main(main, *sp, (char **)(sp + 1));
}
#ifdef __x86_64__
__asm__(".globl _start\\n_start: mov %rsp,%rdi\\n and $-16,%rsp\\n call start");
#else
__asm__(".globl _start\\n_start: mov x0, sp\\n b start");
#endif
"""
LIBC = (
    "int puts, printf, exit, dl_iterate_phdr, __libc_start_main, setvbuf, stdout, dlopen, dlerror;"
)


@dataclass
class Bench:
    """A folder to build in, for one CPU.

    Attributes:
        folder: where all is put.
        cpu: for which.
        environment: what the loader finds there.
        page_size: of the kernel; qemu can be one with larger pages.
    """

    folder: Path
    cpu: str = "x86_64"
    environment: dict[str, str] = field(default_factory=dict)
    page_size: int = 4096

    def _compile(self, path: Path, source: str, *options: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{path.name}.c"
        file.write_text(source or "int nothing_at_all;")
        flags = ("-w", "-fPIC", "-fno-builtin", "-nostdlib", "-fno-stack-protector")
        command: list[str | Path] = [*COMPILERS[self.cpu], *flags, *options, file, "-o", path]
        subprocess.run(command, check=True, capture_output=True)
        return path

    def _stub(self, name: str) -> Path:
        """A library to link with, so that its name is needed; what it really is, comes later."""
        folder = self.folder / "stubs"
        stub = folder / name.replace("/", "_").replace("$", "_")
        if not stub.exists():
            source = LIBC if name.startswith("libc.") else ""
            self._compile(stub, source, "-shared", f"-Wl,-soname,{name}")
        return stub

    def _link(self, needs: tuple[str, ...], rpath: str) -> list[str]:
        """What makes it need others by these names, and look for them there."""
        words = [f"-Wl,-rpath,{rpath}"] if rpath else []
        return [*words, "-Wl,--no-as-needed", *(str(self._stub(name)) for name in needs)]

    def library(
        self,
        path: str,
        source: str = "",
        *options: str,
        needs: tuple[str, ...] = (),
        rpath: str = "",
    ) -> Path:
        """A library that needs others by these names."""
        words = ("-shared", "-Wl,-z,lazy", *options, *self._link(needs, rpath))
        return self._compile(self.folder / path, source, *words)

    def program(
        self,
        path: str = "program",
        *,
        needs: tuple[str, ...] = (),
        rpath: str = "",
        interpreter: str = "",
    ) -> Path:
        """The program that prints what is loaded."""
        words = self._link((*needs, "libc.so"), rpath)
        loader = f"-Wl,--dynamic-linker={interpreter or LOADERS[self.cpu][-1]}"
        return self._compile(self.folder / path, HOST, "-pie", loader, *words)

    # ---- asking ----------------------------------------------------------------------

    def run(self, loader: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a program under a loader."""
        runner = [*RUNNERS[self.cpu]]
        if self.page_size != 4096:
            runner += ["-p", str(self.page_size)]
        return subprocess.run(
            [*runner, loader, *words],
            capture_output=True,
            text=True,
            errors="replace",
            env={"PATH": os.environ["PATH"], **self.environment},
            cwd=self.folder,
            timeout=60,
        )

    def output(self, loader: Path, *words: str | Path) -> list[str]:
        """What the constructors printed: ``ran NAME``."""
        lines = self.run(loader, *words).stdout.splitlines()
        return [line[4:] for line in lines if line.startswith("ran ")]

    def ask(self, loader: Path, *words: str | Path) -> tuple[list[str], list[str]]:
        """What is loaded, and what it complains of, when it runs a program."""
        done = self.run(loader, *words)
        lines = done.stdout.splitlines() + done.stderr.splitlines()
        errors = [line.removeprefix("error ") for line in lines if "Error " in line]
        if done.returncode != 0 and not errors:
            errors = [f"it ended with {done.returncode}"]
        # the kernel's own library has no name
        return [line[7:] for line in lines if line.startswith("loaded ") and line[7:]], errors

    def target(self, loader: Path) -> Target:
        """This machine, as far as a musl that is started by its path sees it."""
        return Target(
            name="this",
            title="a musl in a folder",
            os="linux",
            cpu=self.cpu,
            bits=64,
            endian="little",
            loader="musl",
            version=version_of(loader),
            interpreter=str(loader),
            page_size=self.page_size,
        )

    def predict(
        self, loader: Path, subject: Path, host: Path | None = None, *, now: bool = True
    ) -> Resolution:
        """What we say of it."""
        options = Options(
            host=str(host) if host else None,
            environment=self.environment,
            working_directory=str(self.folder),
            now=now,
        )
        return resolve(subject, RootSystem("/", self.target(loader)), options)

    def same(
        self, subject: Path, host: Path | None = None, *, now: bool = True
    ) -> list[Resolution]:
        """Assert that each loader does what we say; give what we said.

        A subject without a host is a program, started as such.
        """
        found = []
        for loader in LOADERS[self.cpu]:
            words = [host, "now" if now else "lazy", subject] if host else [subject]
            loaded, errors = self.ask(loader, *words)
            said = self.predict(loader, subject, host, now=now)
            found.append(said)
            complaints = [one.message for one in said.problems if one.when == "load"]
            complaints = list(dict.fromkeys(complaints))
            assert bool(complaints) == bool(errors), (loader, complaints, errors)
            assert said.loads is not bool(errors)
            if not errors:
                nodes = [*said.scope, *said.order] if host else said.order
                assert loaded == list(dict.fromkeys(node.path for node in nodes))
            elif not all(complaints):
                pass  # what musl does not say, but die of
            elif host:
                assert complaints[: len(errors)] == errors  # dlopen ends at the first
            else:
                assert complaints == errors
        return found


@cache
def version_of(loader: Path) -> tuple[int, ...]:
    """What is written in it."""
    match = re.search(rb"\0(1)\.(2)\.(\d+)\0", loader.read_bytes())
    assert match is not None
    return tuple(map(int, match.groups()))
