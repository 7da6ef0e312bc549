"""Where a file runs, and where no longer: what the machine that built it left in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from libferry.audit.check import Check
from libferry.audit.model import Rule
from libferry.audit.subject import Seen, Subject
from libferry.audit.versions import floors

ELF = frozenset({"elf"})

_WINDOWS = re.compile(r"\\|^[A-Za-z]:|\.dll$", re.IGNORECASE)

# Where builders build, and whose folder that is. A folder of these in a search path was meant
# for the build's own tests (CMake's build tree has them all), and was not removed.
BUILD_FOLDERS = {
    "/home/": "a user's home",
    "/root/": "root's home",
    "/Users/": "a user's home on macOS",
    "/tmp/": "temporary files",
    "/var/tmp/": "temporary files",
    "/build/": "such as those of Debian's sbuild and of Nix",
    "/builddir/": "of Fedora's mock",
    "/builds/": "of GitLab",
    "/__w/": "of GitHub's containers",
    "/github/": "of GitHub's containers",
    "/workspace/": "such as those of Google Cloud Build and Gitpod",
    "/var/lib/jenkins/": "of Jenkins",
    "/usr/src/": "source code",
    "/feedstock_root/": "of conda",
    "/opt/_internal/": "of manylinux",
}


def windows_names(subject: Subject) -> Iterator[Seen]:
    """Backslashes, drives and ``.dll`` in an ELF file."""
    binary = subject.binary
    for what, names in (
        ("asks for", binary.needed),
        ("looks for libraries in", _with_drives((*binary.rpath, *binary.runpath))),
        ("calls itself", (binary.soname,) if binary.soname else ()),
    ):
        for name in names:
            if _WINDOWS.search(name):
                yield Seen(name, f"it {what} {name}, a name of Windows")


def _with_drives(folders: tuple[str, ...]) -> Iterator[str]:
    """The folders of a path, in which the colon after a drive's letter ended an item."""
    drive = ""
    for folder in folders:
        if len(folder) == 1 and folder.isalpha():
            drive = folder
        else:
            yield f"{drive}:{folder}" if drive and folder[:1] in ("/", "\\") else folder
            drive = ""


def build_folders(subject: Subject) -> Iterator[Seen]:
    """Absolute paths of the machine that built it."""
    binary = subject.binary
    for tag, folders in (("RPATH", binary.rpath), ("RUNPATH", binary.runpath)):
        for folder in folders:
            whose = next((w for f, w in BUILD_FOLDERS.items() if f"{folder}/".startswith(f)), None)
            if whose:
                yield Seen(
                    folder, f"{tag} has {folder}, a folder of the machine that built it ({whose})"
                )
    for name in binary.needed:
        if name.startswith("/"):
            yield Seen(
                name,
                f"it asks for {name} by its path, and so for that place and no other",
                fix="give the library a soname, and link again; or libferry fix "
                f"--replace-needed {name}={name.rpartition('/')[2]} FILE",
            )


_FAMILIES = {
    "GLIBC": ("glibc-floor", "glibc"),
    "GLIBCXX": ("libstdcxx-floor", "libstdc++"),
    "CXXABI": ("libstdcxx-floor", "libstdc++"),
    "GCC": ("libstdcxx-floor", "libgcc_s"),
}


def version_floors(subject: Subject) -> Iterator[Seen]:
    """The newest version needed of glibc and of the C++ runtime."""
    for floor in floors(subject.binary):
        if floor.family in _FAMILIES:
            rule, name = _FAMILIES[floor.family]
            because = f", for {floor.because}" if floor.because else ""
            yield Seen(
                floor.version,
                f"it needs {name} with {floor.version} or newer{because}",
                floor.as_dict(),
                rule=rule,
            )


def loongarch_world(subject: Subject) -> Iterator[Seen]:
    """A file of one world for a target of the other."""
    target, world = subject.target, subject.elf.loongarch_world if subject.elf else None
    if world is None:
        return
    if target is None:
        yield Seen(world, f"it is for LoongArch's {world} world", severity="note")
    elif target.abi in ("old-world", "new-world") and target.abi != f"{world}-world":
        resolution = subject.resolution
        if resolution and any(one.id == "loongarch-world" for one in resolution.problems):
            return  # its loader says so, and which version it misses
        yield Seen(
            world,
            f"it is for LoongArch's {world} world, and {target.name} is "
            f"{target.abi.replace('-', ' ')}",
        )


# CPU -> the largest page its Linux kernels have in use, and where
_LARGEST_PAGE = {
    "aarch64": (65536, "Kylin, openEuler and RHEL 8 have kernels with 64 KiB"),
    "ppc64": (65536, "most kernels have 64 KiB"),
    "loongarch64": (16384, "all kernels have 16 KiB"),
}


def small_pages(subject: Subject) -> Iterator[Seen]:
    """Segments that are aligned for 4 KiB only, on a CPU that has larger pages elsewhere."""
    if subject.binary.cpu not in _LARGEST_PAGE:
        return
    if subject.target is not None and subject.target.page_size > 4096:
        return  # its loader says so
    page, where = _LARGEST_PAGE[subject.binary.cpu]
    smallest = min((segment.alignment for segment in subject.binary.segments), default=page)
    if smallest < page:
        yield Seen(
            "PT_LOAD",
            f"its segments are aligned to {smallest} bytes, and {where}",
            {"alignment": smallest, "page_size": page},
        )


def go_on_musl(subject: Subject) -> Iterator[Seen]:
    """A Go library where musl's loader is."""
    elf, target = subject.elf, subject.target
    if elf is None or target is None or target.loader != "musl" or not elf.has_go_runtime:
        return
    settings = dict(elf.go.settings) if elf.go else {}
    if settings.get("-buildmode", "c-shared") == "c-shared":
        yield Seen("Go", "it is a Go library, and Go's runtime does not start in one on musl")


CHECKS = (
    Check(
        windows_names,
        (
            Rule(
                id="windows-name",
                group="portability",
                severity="warning",
                title="A cross build left a name of Windows in it",
                explanation="A build system that runs on Windows, or was told the wrong target, "
                "wrote `C:\\…`, a backslash or a `.dll` where Linux' loader looks for names. "
                "No such library is ever found.",
                fix="set the target system in the build (CMAKE_SYSTEM_NAME=Linux), or libferry "
                "fix --replace-needed OLD NEW FILE",
                good="zig cc -target x86_64-linux-gnu -shared -o liba.so a.c",
                bad="zig cc -target x86_64-linux-gnu -shared -o liba.so a.c -Wl,-soname,a.dll",
                source="gABI, 'Shared Object Dependencies': a path has slashes",
            ),
        ),
        ELF,
    ),
    Check(
        build_folders,
        (
            Rule(
                id="build-folder",
                group="portability",
                severity="warning",
                title="It looks for libraries on the machine that built it",
                explanation="CMake writes the folders of all linked libraries into a build's "
                "files, and removes them in `cmake --install`; who copies the file from the build "
                "tree ships them. A library without a soname is asked for by the path that it was "
                "linked by. It works on the machine that built it, and nowhere else.",
                fix="cmake --install, or libferry fix --runpath '$ORIGIN' FILE",
                good="cc -shared -fPIC -o liba.so a.c -Wl,-rpath,'$ORIGIN'",
                bad="cc -shared -fPIC -o liba.so a.c -Wl,-rpath,/home/me/project/build",
                source="CMake, CMAKE_BUILD_RPATH; gABI, 'Shared Object Dependencies'",
            ),
        ),
        ELF,
    ),
    Check(
        version_floors,
        (
            Rule(
                id="glibc-floor",
                group="portability",
                severity="note",
                title="The oldest glibc it runs with, and which symbols make it so",
                explanation="The newest version that a file asks for is the oldest glibc it runs "
                "with. Often one symbol decides: `__libc_start_main` and `pthread_create` (2.34), "
                "`__isoc23_strtol` (2.38), `memcpy` (2.14).",
                fix="build it on the oldest system it shall run on, or with zig cc -target "
                "CPU-linux-gnu.2.17",
                good="zig cc -target x86_64-linux-gnu.2.17 -shared -o liba.so a.c",
                bad="cc -shared -fPIC -o liba.so a.c    # on a new system",
                source="glibc, 'Symbol versioning'; PEP 600",
            ),
            Rule(
                id="libstdcxx-floor",
                group="portability",
                severity="note",
                title="The oldest libstdc++ or libgcc_s it runs with",
                explanation="A newer g++ needs a newer `GLIBCXX_` and `CXXABI_`. Unlike glibc, "
                "libstdc++ can be shipped along, or linked in; but of two in one process only one "
                "is used, and it has to be the newer.",
                fix="link with -static-libstdc++ -static-libgcc (and hide its symbols), or build "
                "with an older g++",
                good="g++ -shared -fPIC -static-libstdc++ -static-libgcc -o liba.so a.cc "
                "-Wl,--exclude-libs,ALL",
                bad="g++-13 -shared -fPIC -o liba.so a.cc    # for CentOS 7",
                source="GCC, libstdc++ manual, 'ABI Policy and Guidelines'",
            ),
        ),
        ELF,
    ),
    Check(
        loongarch_world,
        (
            Rule(
                id="loongarch-world",
                group="load",
                severity="error",
                title="It belongs to the other of LoongArch's two worlds",
                explanation=(
                    "Before LoongArch was in the upstream projects, vendors shipped systems whose "
                    "glibc has versions up to GLIBC_2.27 and its loader at `/lib64/ld.so.1`: the "
                    "old world (Kylin V10, UOS 20, Loongnix). Upstream's is the new world: "
                    "GLIBC_2.36 and `/lib64/ld-linux-loongarch-lp64d.so.1`. System calls, signal "
                    "frames and relocations differ; a file of one does not run in the other "
                    "without liblol or a container."
                ),
                fix="build it with a toolchain of that world",
                good="readelf -V liba.so | grep GLIBC_2.36    # for a new-world target",
                bad="readelf -V liba.so | grep GLIBC_2.27    # for a new-world target",
                source="glibc NEWS for 2.36; LoongArch ELF psABI, 'e_flags'; areweloongyet.com, "
                "'old world and new world'",
            ),
        ),
        ELF,
    ),
    Check(
        small_pages,
        (
            Rule(
                id="small-page-alignment",
                group="portability",
                severity="warning",
                title="Its segments are aligned for 4 KiB pages only",
                explanation="It does not load on kernels of the same CPU with larger pages (see "
                "`page-size`). GNU's linker aligns to 64 KiB on these CPUs unless it is told "
                "otherwise; Go, zig and lld with `-z max-page-size=4096` do not.",
                fix="link it with -Wl,-z,max-page-size=65536",
                good="zig cc -target aarch64-linux-gnu -shared -o liba.so a.c "
                "-Wl,-z,max-page-size=65536",
                bad="zig cc -target aarch64-linux-gnu -shared -o liba.so a.c "
                "-Wl,-z,max-page-size=4096",
                source="AAELF64, 'Program Header'; LoongArch ELF psABI; ld(1), -z max-page-size",
            ),
        ),
        ELF,
    ),
    Check(
        go_on_musl,
        (
            Rule(
                id="go-on-musl",
                group="portability",
                severity="error",
                title="A Go library on musl",
                explanation="A library of `-buildmode=c-shared` starts Go's runtime from an "
                "initialiser, and takes the program's arguments from it: glibc passes them, musl "
                "does not, and the process crashes while it loads. Its thread-local storage is "
                "initial-exec besides, which musl does not allow in `dlopen`.",
                fix="run it in a process of its own with glibc, or as a program that is talked to",
                good="GOOS=linux go build -buildmode=c-shared    # for a glibc target",
                bad="GOOS=linux go build -buildmode=c-shared    # for Alpine",
                source="golang.org/issue/13492 (arguments), golang.org/issue/54805 (initial-exec)",
            ),
        ),
        ELF,
    ),
)
