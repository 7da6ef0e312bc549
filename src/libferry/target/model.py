"""Where a library shall run, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from libferry.binary.model import Endian

Os = Literal["linux", "windows", "macos"]
Loader = Literal["glibc", "musl", "windows", "dyld"]

UNCHECKED = "not checked"  # what a source says of a fact that nobody compared with anything


@dataclass(frozen=True)
class Given:
    """A library that a target is known to have, though its file is not here.

    Attributes:
        name: its soname, DLL name or install name.
        path: where it lies there.
        versions: the symbol versions that it has; None if it has none, or they are unknown.
        exports: the names that it exports; None if they are unknown.
        source: who says so; see ``UNCHECKED``.
    """

    name: str
    path: str
    versions: frozenset[str] | None = None
    exports: frozenset[str] | None = None
    source: str = ""


@dataclass(frozen=True)
class Target:
    """One system: its CPU, its loader, and what is installed there.

    Attributes:
        name: such as ``kylin-v10-server-arm64``; ``this`` for this machine.
        title: the same for people.
        os, cpu, bits, endian: as in ``Binary``.
        loader: which loader runs there.
        version: of glibc, musl, Windows (``6.1``, ``10.0``) or macOS, as numbers.
        interpreter: the path of the loader there, or None.
        isa: the ISA levels and features there, such as ``x86-64-v2``; what a library may
            ask for by GNU properties or attributes, and what glibc-hwcaps are looked in.
        abi: what tells apart two systems of one CPU: ``old-world`` and ``new-world``
            (LoongArch), ``hard-float``; or "".
        page_size: bytes; of the kernel that the system is delivered with.
        default_paths: the loader's own folders, in order.
        lib, platform: what ``$LIB`` and ``$PLATFORM`` stand for.
        given: the libraries known to be there: by name those that a search finds, by path
            those that only somebody's RUNPATH leads to.
        facts: what one loader alone asks for (see its engine); ``isa_at_least`` if machines
            of this target may have more than ``isa``; ``links`` of folders, such as ``/lib``.
        sources: where all this was read, by attribute or library; that it was not, is said
            by ``UNCHECKED`` in the text.
    """

    name: str
    title: str
    os: Os
    cpu: str
    bits: Literal[32, 64]
    endian: Endian
    loader: Loader
    version: tuple[int, ...]
    interpreter: str | None = None
    isa: frozenset[str] = frozenset()
    abi: str = ""
    page_size: int = 4096
    default_paths: tuple[str, ...] = ()
    lib: str = "lib"
    platform: str = ""
    given: Mapping[str, Given] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
