"""Headers as they are, by way of a real preprocessor for the target.

What a header declares depends on the machine it is read for: ``<zlib.h>`` asks
``<limits.h>`` how long a long is. So it goes through ``zig cc -E`` for the ABI's target,
which brings the C library's headers of every system; the machine's own, in
``/usr/include``, are another target's and are only looked at for what zig has not.

``-dD`` keeps the macros beside the text they stand in, so that one run gives both the
declarations and the constants. Line markers stay, too, and an error names the header's
own line.

A header that needs none of this is read as it is, in a millisecond and without zig.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from libferry.abi import ABIS
from libferry.build import BuildError, zig
from libferry.build.zig import zig_home
from libferry.contract.declarations import declare
from libferry.contract.header import Header
from libferry.contract.reader import Reader
from libferry.contract.tokens import tokenize
from libferry.contract.words import MEANINGS
from libferry.errors import DeclarationError

TIMEOUT = 120  # seconds

# What zig calls the target of each ABI, without the C library's version: a header may use
# what is newer than the oldest that we link against.
TARGETS = {abi: target.name.partition(".")[0] for abi, target in zig.TARGETS.items()}

OWN_INCLUDES = Path(__file__).parent / "include"

# Headers whose types are known without reading them (``known_types``), and ours.
_KNOWN_INCLUDES = frozenset(
    {"stddef.h", "stdint.h", "stdbool.h", "stdarg.h", "uchar.h", "sys/types.h", "ferry.h"}
)
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*(?:include|import)[ \t]*(?:[<\"]([^>\"\n]*)[>\"]|)", re.M)
_ERROR = re.compile(r"^(.*?):(\d+):\d+: (?:fatal )?error: (.*)$", re.M)


def read_header(
    header: str | os.PathLike[str],
    abi_name: str,
    *,
    include: Iterable[str | os.PathLike[str]] = (),
    define: Mapping[str, str | int | None] | None = None,
) -> Header:
    """Read a header for one ABI, through a preprocessor if it needs one.

    Args:
        header: the path of a file, or C declarations as text.
        abi_name: a key of ``libferry.abi.ABIS``.
        include: folders in which to look for what it includes, beside its own folder
            and the target's C library.
        define: macros to define before it; None for one without a value.

    Returns:
        Everything it declares. If it went through the preprocessor: also what it
        includes, each thing read when it is asked for.

    Raises:
        DeclarationError: it cannot be read, is not C, or needs a preprocessor that is
            not installed.
        UnsupportedDeclaration: it was read as it is and declares what cannot be called.
    """
    path, text = _open(header)
    folders = [Path(folder) for folder in include]
    if not folders and not define:
        try:
            if not _includes_more(text):
                return declare(text, abi_name)
        except DeclarationError as error:
            if not error.happened.startswith("#"):  # a directive that declare cannot follow
                raise
    try:
        home = zig_home()
    except BuildError:
        return _without_preprocessor(text, abi_name, path)
    preprocessed = _preprocess(home, path, text, abi_name, folders, define or {})
    tokens = tokenize(preprocessed, path.name if path else "header")
    try:
        return Reader(ABIS[abi_name], tokens, strict=False).lazily()
    except RecursionError:
        raise DeclarationError(
            _tried(path), "nested too deeply", hint="give plain C declarations"
        ) from None


def _open(header: str | os.PathLike[str]) -> tuple[Path | None, str]:
    """The header's path, if it is not given as text, and its text."""
    given = os.fspath(header)
    if isinstance(header, str) and (set(";(\n") & set(given) or given.lstrip().startswith("#")):
        return None, given
    path = Path(given)
    try:
        return path, path.read_text(encoding="utf-8", errors="surrogateescape")
    except (OSError, ValueError) as error:
        raise DeclarationError(
            f"read the header {given}",
            getattr(error, "strerror", None) or str(error),
            hint="give a header's path, or C declarations as text",
        ) from None


def _tried(path: Path | None) -> str:
    return f"read the header {path}" if path else "read the declarations"


def _includes_more(text: str) -> bool:
    """Whether it includes what has to be read, too."""
    return any(match[1] not in _KNOWN_INCLUDES for match in _INCLUDE.finditer(text))


def _without_preprocessor(text: str, abi_name: str, path: Path | None) -> Header:
    """Read it as it is. If that fails, the lack of a preprocessor is the reason."""
    try:
        return declare(text, abi_name)
    except DeclarationError as error:
        raise DeclarationError(
            _tried(path),
            f"it needs a preprocessor, which is not installed ({error.happened})",
            hint="pip install 'libferry[headers]', or give just the declarations that you call",
        ) from None


def _preprocess(
    home: Path,
    path: Path | None,
    text: str,
    abi_name: str,
    folders: list[Path],
    define: Mapping[str, str | int | None],
) -> str:
    """What the preprocessor makes of it, with its macros and line markers."""
    for folder in folders:
        if not folder.is_dir():
            raise DeclarationError(
                _tried(path), f"include: {folder} is no folder", hint="give folders with headers"
            )
    with tempfile.TemporaryDirectory(prefix="libferry-header-") as scratch:
        if path is None:
            file = Path(scratch) / "header"
            file.write_text(text, encoding="utf-8", errors="surrogateescape")
        else:
            file = path.absolute()
        command = [str(home / "zig"), "cc", "-E", "-dD", "-x", "c", "-std=gnu17"]
        command += ["-target", TARGETS[abi_name], "-fno-blocks", "-Wno-everything"]
        for folder in folders:
            command += ["-idirafter" if _is_system(folder) else "-I", str(folder.absolute())]
        for folder in (file.parent, *_roots(file, abi_name), OWN_INCLUDES):
            command += ["-idirafter", str(folder)]
        command += [_definition(name, value, path) for name, value in define.items()]
        # they stay as they are, and a header that defines them away if they are missing
        # does not
        command += [f"-D{name}={name}" for name in MEANINGS]
        done = _run([*command, str(file)], path, scratch)
    if done.returncode == 0:
        return done.stdout
    raise _complaint(done.stderr, path, file)


def _roots(file: Path, abi_name: str) -> Iterator[Path]:
    """The include folders that a header is below: ``/usr/include`` of ``openssl/evp.h``.

    Debian has a folder there for what differs by CPU.
    """
    for folder in file.parents:
        if folder.name == "include":
            yield folder
            yield from folder.glob(f"{ABIS[abi_name].cpu}-linux-gnu*")


def _is_system(folder: Path) -> bool:
    """Whether it holds a machine's C library: the target's own comes before it.

    Debian keeps a part of it in a folder by CPU, beside which ``bits`` is.
    """
    return any((folder / name).exists() for name in ("stdio.h", "bits", "sys/cdefs.h"))


def _definition(name: str, value: str | int | None, path: Path | None) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*(?:\([\w, .]*\))?", name, re.ASCII):
        raise DeclarationError(
            _tried(path), f"define: {name!r} is not a macro's name", hint="such as {'NDEBUG': 1}"
        )
    body = "" if value is None else str(value)
    if "\n" in body or "\0" in body:
        raise DeclarationError(
            _tried(path), f"define: {name} is not one line", hint="give one line of C"
        )
    return f"-D{name}={body}"


def _run(command: list[str], path: Path | None, scratch: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            check=False,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        happened = f"the preprocessor had not finished after {TIMEOUT} s"
        hint = "zig needs a cache it can write to: set ZIG_GLOBAL_CACHE_DIR to such a folder"
    except (OSError, ValueError) as error:
        happened = f"{command[0]} cannot be started: {getattr(error, 'strerror', None) or error}"
        hint = "pip install --force-reinstall ziglang"
    raise DeclarationError(_tried(path), happened, hint=hint)


def _complaint(words: str, path: Path | None, file: Path) -> DeclarationError:
    match = _ERROR.search(words)
    if match is None:
        happened = words.strip().splitlines()[-1] if words.strip() else "zig said nothing"
        return DeclarationError(_tried(path), happened, hint="check that it is a C header")
    name = "header" if path is None and match[1] == str(file) else Path(match[1]).name
    hint = "correct it there, or give macros that it needs: define={'NAME': value}"
    if "file not found" in match[3]:
        hint = "give the folder that has it: include=['folder']"
    return DeclarationError(_tried(path), f"{name}:{match[2]}: {match[3]}", hint=hint)
