"""Find out whose file this is, by its first bytes; and if nobody's, what it is instead.

People give libferry the wrong file for good reasons. ``libc.so`` is the library's
name in every book, but on disk it is a linker script; a download may be the web page
that says "not found"; a file from Git may be a pointer to the real one. We say what
the file is, because "bad magic" helps nobody.
"""

from __future__ import annotations

import os
import re

from libferry.binary import elf, macho, pe
from libferry.binary.model import Binary
from libferry.binary.opening import open_window
from libferry.binary.window import Window, decode
from libferry.errors import BadBinary

_ARCHIVES = {
    b"!<arch>\n": "a static library (an ar archive)",
    b"!<thin>\n": "a thin static library (an ar archive without its members)",
}

# first bytes -> what such a file is, and what to do
_OTHER_FORMATS = {
    b"\0asm": ("a WebAssembly module", "run it with a WebAssembly runtime such as wasmtime"),
    b"BC\xc0\xde": ("LLVM bitcode", "compile it to a library: clang -shared FILE -o LIBRARY"),
    b"PK\x03\x04": ("a ZIP archive (also a wheel or a jar)", "unpack it: unzip FILE"),
    b"\x1f\x8b": ("compressed with gzip", "unpack it: gunzip FILE, or tar xf FILE"),
    b"\xfd7zXZ\0": ("compressed with xz", "unpack it: unxz FILE, or tar xf FILE"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "unpack it: zstd -d FILE"),
    b"BZh": ("compressed with bzip2", "unpack it: bunzip2 FILE, or tar xf FILE"),
    b"\xed\xab\xee\xdb": ("an RPM package", "unpack it: rpm2cpio FILE | cpio -id"),
    b"MSCF": ("a Windows cabinet", "unpack it: cabextract FILE"),
    b"\xd0\xcf\x11\xe0": ("a Windows installer (MSI) or Office file", "unpack it: msiextract FILE"),
    b"dyld_v": ("a dyld shared cache", "extract the library: dyld-shared-cache-extractor FILE DIR"),
}

# the same for text, looked up without regard to case
_TEXTS = {
    "version https://git-lfs": ("a Git LFS pointer", "fetch the real file: git lfs pull"),
    "<!doctype html": ("a web page", "check the download: the server sent a page, not the file"),
    "<html": ("a web page", "check the download: the server sent a page, not the file"),
    "<?xml": ("an XML document", "check the download: the server sent a message, not the file"),
    "#!": ("a script", "give the library that the script loads"),
    "--- !tapi": (
        "an Apple .tbd stub, which only lists a library's symbols",
        "give the library itself: its path is at install-name",
    ),
}
_ANY_TEXT = (
    "looks like text",
    "give the compiled library: a file that ends in .so, .dll or .dylib",
)

_TEXT_LOOKED_AT = 4096
_SCRIPT_COMMAND = re.compile(r"\b(?:GROUP|INPUT)\s*\(([^;{}]*)", re.ASCII)
_SCRIPT_START = re.compile(
    r"\s*(?:/\*[^*]*\*/\s*)?(?:OUTPUT_FORMAT|GROUP|INPUT)\s*\(|/\* GNU ld script", re.ASCII
)


def read(path: str | os.PathLike[str], cpu: str | None = None) -> Binary:
    """Read what the library file at ``path`` says of itself.

    Args:
        path: the file.
        cpu: which slice of a universal Mach-O file, by our name (``aarch64``) or Apple's
            (``arm64e``); the first if None. Any other file must be for this CPU.

    Raises:
        LibraryNotFound: there is no such file.
        BadBinary: the file is not a library that we can read, is damaged, or has nothing
            for ``cpu``.
    """
    with open_window(path) as window:
        head = window.bytes(0, min(8, window.size), "the first bytes")
        if head.startswith(elf.MAGIC):
            return _for_cpu(elf.read(window), cpu, window)
        if head[:4] in macho.MAGICS or head[:4] in macho.UNIVERSAL_MAGICS:
            return macho.read(window, cpu)
        if head.startswith(pe.MAGIC) and _is_text(window) is None:
            return _for_cpu(pe.read(window), cpu, window)
        raise _something_else(window, head)


def _for_cpu(binary: Binary, cpu: str | None, window: Window) -> Binary:
    if cpu is not None and binary.cpu != cpu:
        raise window.bad(
            f"it is for {binary.cpu}, and was asked for {cpu}",
            hint=f"give the file for {cpu}; only a Mach-O file can have several CPUs",
        )
    return binary


def _something_else(window: Window, head: bytes) -> BadBinary:
    if head in _ARCHIVES:
        name = decode(os.fsencode(window.path))
        return window.bad(
            f"this is {_ARCHIVES[head]}: it can be linked, but not loaded",
            hint="give the shared library, or make one: "
            f"cc -shared -o LIBRARY -Wl,--whole-archive {name} -Wl,--no-whole-archive",
        )
    start = window.bytes(0, min(16, window.size), "the first bytes")
    for magic, (kind, hint) in _OTHER_FORMATS.items():
        if start.startswith(magic):
            return window.bad(f"this is not a library, but {kind}", hint=hint)
    text = _is_text(window)
    if text is None:
        return window.bad(
            f"the first bytes are {start.hex(' ')}, and neither ELF, PE nor Mach-O begins so",
            hint="find out what it is: file " + decode(os.fsencode(window.path)),
        )
    if _SCRIPT_START.match(text):
        return window.bad(
            "this is a GNU ld script: it tells the linker which libraries to use, "
            "and is none itself",
            hint=_script_hint(text),
        )
    for beginning, (kind, hint) in _TEXTS.items():
        if text.lstrip()[: len(beginning)].lower() == beginning:
            return window.bad(f"this is not a library, but {kind}", hint=hint)
    kind, hint = _ANY_TEXT
    return window.bad(f"this is not a library: it {kind}", hint=hint)


def _is_text(window: Window) -> str | None:
    """Give the beginning of the file if it is text, else None."""
    size = min(_TEXT_LOOKED_AT, window.size)
    raw = window.bytes(0, size, "the first bytes")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = raw.decode("utf-16", "replace")
        return text if all(char.isprintable() or char.isspace() for char in text) else None
    if any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in raw):
        return None
    for cut in range(4):  # the last character may be cut in two
        try:
            return raw[: size - cut].decode()
        except UnicodeDecodeError:
            if size == window.size:
                return None
    return None


def _script_hint(text: str) -> str:
    for inside in _SCRIPT_COMMAND.findall(text):
        for word in inside.replace("(", " ").replace(")", " ").replace(",", " ").split():
            if word.startswith("-l"):
                return f"give the library it names: lib{word[2:]}.so"
            if ".so" in word:
                return f"give the library it names: {word}"
    return "give the library that it names in GROUP or INPUT"
