"""Mach-O: macOS and its relatives.

After the header comes a list of load commands, each with a number and its own size,
and everything is said by one of them: segments, libraries, search paths, symbols.
Readers skip the commands they do not know.

A file for several CPUs ("universal", or "fat") is a small table, always big-endian,
of complete Mach-O files. We describe the first, name all in ``Binary.slices``, and give
the others with ``MachOView.all_slices``. Its magic number 0xcafebabe is also that of Java
classes; what follows tells them apart, since no universal file has as many slices as the
first Java version number.

What other formats keep in a symbol table lies in the last segment, in three languages of
different age, and one file speaks one or two of them:

- the symbol table (``nlist``), from NeXTSTEP, which all still have, if only for debuggers;
- since macOS 10.6, ``LC_DYLD_INFO``: little programs of opcodes that bind symbols, and a
  trie of exports: names as paths of edges from its root, so that ``_png_read`` and
  ``_png_write`` share ``_png_``;
- since macOS 11, ``LC_DYLD_CHAINED_FIXUPS``: one table of imports, and chains through the
  data that say where they go; with the same trie in a command of its own.

The nodes of a trie are reached by offsets, and those of a hostile file may form a loop.

An import says which library it is from, as an ordinal: the number of the load command.
That is the "two-level namespace"; the special ordinals below zero mean "anywhere".

Specification: Apple's headers ``mach-o/loader.h``, ``mach-o/fat.h``, ``mach-o/nlist.h``,
``mach-o/fixup-chains.h`` and ``mach/machine.h``; the trie and the opcodes are described in
``loader.h`` at ``dyld_info_command``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from libferry.binary.macho.facts import (
    FILE_TYPES,
    LC_ID_DYLIB,
    LC_LOAD_DYLINKER,
    LC_RPATH,
    LOADS_LIBRARY,
    MAGICS,
    UNIVERSAL_MAGICS,
)
from libferry.binary.macho.image import Image, architecture, cpu_name
from libferry.binary.model import Binary
from libferry.binary.window import Stamp, Window

__all__ = ["MAGICS", "UNIVERSAL_MAGICS", "read"]

if TYPE_CHECKING:
    from pathlib import Path

    from libferry.binary.macho.view import MachOView


def read(window: Window, cpu: str | None = None) -> Binary:
    """Read all but what is read late.

    Args:
        window: the file.
        cpu: which slice of a universal file, by Apple's name (``arm64e``) or ours
            (``aarch64``); the first if None.

    Raises:
        BadBinary: it is damaged, or has no such slice.
    """
    image = Image(window)
    if cpu is None:
        return _describe(window, image, 0)
    names = image.slices or ((image.cpu_type, image.cpu_subtype),)
    for index, (kind, subtype) in enumerate(names):
        if cpu in (architecture(kind, subtype), cpu_name(kind)):
            return _describe(window, Image(window, index) if index else image, index)
    there = ", ".join(architecture(*name) for name in names)
    raise window.bad(f"it has nothing for {cpu}", hint=f"ask for what it has: {there}")


def read_all(window: Window) -> tuple[Binary, ...]:
    """Read all slices of a universal file; of any other, the one Binary that it is."""
    first = Image(window)
    others = (Image(window, index) for index in range(1, len(first.slices)))
    return tuple(_describe(window, image, index) for index, image in enumerate((first, *others)))


def _describe(window: Window, image: Image, index: int) -> Binary:
    soname = image.strings((LC_ID_DYLIB,), "the library's own name")
    interpreter = image.strings((LC_LOAD_DYLINKER,), "the path of dyld")
    return Binary(
        path=window.path,
        format="macho",
        kind=FILE_TYPES[image.file_type][0],
        cpu=cpu_name(image.cpu_type),
        bits=image.bits,
        endian=image.endian,
        os="macos",
        soname=soname[0] if soname else None,
        needed=tuple(image.strings(LOADS_LIBRARY, "the name of a needed library")),
        rpath=tuple(image.strings((LC_RPATH,), "an rpath")),
        runpath=(),
        interpreter=interpreter[0] if interpreter else None,
        slices=tuple(cpu_name(cpu) for cpu, _ in image.slices),
        _stamp=window.stamp,
        _make_view=partial(_view, index=index),
    )


def _view(path: Path, stamp: Stamp, *, index: int) -> MachOView:
    from libferry.binary.macho.view import MachOView

    return MachOView(path, stamp, index)
