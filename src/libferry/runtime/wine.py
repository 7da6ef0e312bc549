"""Wine: where it is, and a prefix of our own.

A prefix is what Wine calls the folder with its C: drive and registry. Making one
takes some fifteen seconds and 1.3 GB, so there is one in the user's cache, and none of the
user's own prefixes is touched. A prefix made without Wine's 32-bit part never gets
a 32-bit system folder, so prefixes with and without have different names.

Under WoW64 (Wine 8) a 32-bit program runs in a 64-bit process: no 32-bit Linux
libraries are needed, only Wine's ``i386-windows`` folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path, PureWindowsPath

from libferry.binary import Binary
from libferry.errors import NoRunner
from libferry.runtime.environment import child_environment

# Where distributions put Wine's programs and its PE files.
_PROGRAMS = ("/usr/lib/wine/wine64", "wine64", "wine", "/opt/wine-stable/bin/wine")
_SERVERS = ("/usr/lib/wine/wineserver64", "/usr/lib/wine/wineserver", "wineserver")
_LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/wine",
    "/usr/lib/wine",
    "/usr/lib64/wine",
    "/usr/local/lib/wine",
    "/opt/wine-stable/lib64/wine",
    "/opt/wine-stable/lib/wine",
)

SERVER_LINGERS = 10  # seconds after its last client, so that the next start is quick
PREFIX_TIMEOUT = 180  # seconds


def program() -> str | None:
    """The Wine loader that runs 64-bit programs, or None."""
    return next(filter(None, map(shutil.which, _PROGRAMS)), None)


def system_folder(folder: str) -> Path | None:
    """Wine's own PE files: ``folder`` is ``x86_64-windows`` or ``i386-windows``."""
    for library in _LIBRARIES:
        if (Path(library) / folder / "ntdll.dll").exists():
            return Path(library) / folder
    return None


@cache
def has_32_bit() -> bool:
    """Whether 32-bit Windows programs can run."""
    return system_folder("i386-windows") is not None


def prefix() -> Path:
    """The prefix's folder; it may not exist yet."""
    # absolute: Wine refuses another, and the base directory specification ignores it
    cache_home = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache_home):
        cache_home = os.path.abspath(os.path.expanduser("~/.cache"))
    return Path(cache_home) / "libferry" / ("wine-wow64" if has_32_bit() else "wine-64")


def environment() -> dict[str, str]:
    """Variables for everything that runs in the prefix."""
    variables = {
        "WINEPREFIX": str(prefix()),
        "WINEDEBUG": os.environ.get("WINEDEBUG", "-all"),
        # no dialogs that offer to download Mono or Gecko
        "WINEDLLOVERRIDES": os.environ.get("WINEDLLOVERRIDES", "mscoree=;mshtml="),
    }
    # Wine reads the names of files in the locale's encoding, and so do Windows' own
    # functions there; libferry passes paths as UTF-8
    locale = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "C")
    if locale in ("C", "POSIX"):
        variables["LC_ALL"] = "C.UTF-8"
    return variables


def ensure_running() -> None:
    """Make the prefix if there is none, and start its server and services.

    They are started here, with no streams of ours, because they outlive the worker:
    a server that inherited our stderr would keep a shell pipe open after we exit.

    Raises:
        NoRunner: Wine could not make its prefix.
    """
    home = prefix()
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with open(home.parent / f"{home.name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _prepare(home)
    except OSError as error:
        raise NoRunner(
            f"use a Wine prefix in {home}",
            error.strerror or str(error),
            hint="set XDG_CACHE_HOME to a folder that you can write to, with 2 GB of room",
        ) from None


def _prepare(home: Path) -> None:
    ready = home / "libferry-ready"
    if not ready.exists():
        print(f"libferry: making a Wine prefix in {home}, once; about 15 s", file=sys.stderr)
        shutil.rmtree(home, ignore_errors=True)
        _boot("--init")
        ready.touch()
    elif _start_server():
        _boot()


def _start_server() -> bool:
    """Start wineserver; False if one was running already."""
    server = next(filter(None, map(shutil.which, _SERVERS)), None)
    return server is None or _quietly(server, f"-p{SERVER_LINGERS}") == 0


def _boot(*options: str) -> None:
    _start_server()
    wine = program() or "wine64"
    try:
        code = _quietly(wine, "wineboot", *options)
        failure = f"wineboot ended with {code}" if code else ""
    except (OSError, subprocess.SubprocessError) as error:
        failure = str(error)
    if failure:
        raise NoRunner(
            f"make a Wine prefix in {prefix()}",
            failure,
            hint=f"see what Wine says: WINEPREFIX={prefix()} {wine} wineboot {' '.join(options)}",
        )


def _quietly(*command: str) -> int:
    """Run a program of Wine's in the prefix, with no streams of ours; its exit code."""
    done = subprocess.run(
        command,
        env=child_environment(environment()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        timeout=PREFIX_TIMEOUT,
    )
    return done.returncode


def windows_path(path: Path) -> str:
    """A Linux path as programs under Wine see it: drive Z: is the root."""
    return str(PureWindowsPath("Z:/", *path.absolute().parts[1:]))


def linux_path(path: str) -> Path:
    """The file of a path as programs under Wine see it: drives are links in the prefix."""
    windows = PureWindowsPath(path)
    place = prefix() / "dosdevices" / windows.drive.lower()
    for part in windows.parts[1:]:
        exact = place / part
        if not exact.exists():  # Windows' names have no case
            names = os.listdir(place) if place.is_dir() else []
            exact = next((place / n for n in names if n.lower() == part.lower()), exact)
        place = exact
    return place.resolve()


def is_system(path: Path) -> bool:
    """Whether a file is one of Wine's own DLLs, which are opened by name."""
    return path.parent in (system_folder("x86_64-windows"), system_folder("i386-windows"))


def missing_imports(binary: Binary) -> list[str]:
    """The DLLs a library needs that are neither beside it nor Wine's own.

    Windows says only that something is missing (error 126), not what.
    """
    folders = [binary.path.absolute().parent, system_folder(f"{binary.cpu}-windows")]
    present = {entry.name.lower() for folder in folders if folder for entry in folder.iterdir()}
    return [
        name
        for name in binary.needed
        # API sets are names without a file (Microsoft Learn, "Windows API sets")
        if name.lower() not in present and not name.lower().startswith(("api-ms-", "ext-ms-"))
    ]
