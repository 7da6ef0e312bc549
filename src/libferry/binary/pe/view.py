"""What a PE file says beyond what every reader asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TypeVar

from libferry.binary import go
from libferry.binary.model import (
    Debug,
    Dependency,
    Export,
    GoBuild,
    Import,
    Segment,
    Signature,
    Tls,
)
from libferry.binary.pe import headers
from libferry.binary.pe.exports import exports
from libferry.binary.pe.image import (
    DIRECTORY_RELOCATION,
    IMAGE_FILE_RELOCS_STRIPPED,
    IMAGE_SCN_MEM_READ,
    IMAGE_SCN_MEM_WRITE,
    Image,
)
from libferry.binary.pe.imports import dependencies, imports
from libferry.binary.pe.manifest import Manifest, parse_manifest
from libferry.binary.pe.resources import manifest
from libferry.binary.view import View

Part = TypeVar("Part")

# "Section Flags"; the alignment is of no meaning here, but GNU's linker leaves it in
IMAGE_SCN_CNT_INITIALIZED_DATA, IMAGE_SCN_ALIGN = 0x00000040, 0x00F00000


class PeView(View):
    """A PE file. All are read when they are first asked for, and can raise ``BadBinary``."""

    def _read(self, part: Callable[[Image], Part]) -> Part:
        with self.open() as window:
            return part(Image(window))

    @cached_property
    def exports(self) -> tuple[Export, ...]:
        """What the file offers to others, by ordinal."""
        with self.open() as window:
            return exports(window)

    @cached_property
    def offered(self) -> Mapping[str | int, Export]:
        """The exports by name, and by ordinal."""
        by_ordinal: dict[str | int, Export] = {
            one.ordinal: one for one in self.exports if one.ordinal is not None
        }
        return by_ordinal | {one.name: one for one in self.exports}

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """What it wants from others; what is looked for when it is first used comes last."""
        with self.open() as window:
            return imports(window)

    @cached_property
    def dependencies(self) -> tuple[Dependency, ...]:
        """The libraries it asks for; ``delay`` those of which the first use asks."""
        return tuple(self._read(dependencies))

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """Its sections."""
        return self._read(headers.segments)

    @cached_property
    def tls(self) -> Tls | None:
        """Its thread-local storage; the alignment is 1 where the file has none."""
        return self._read(headers.tls)

    @cached_property
    def tls_callbacks(self) -> tuple[int, ...]:
        """RVAs of what is called before the entry point, and for each thread."""
        return self._read(headers.tls_callbacks)

    @cached_property
    def debug(self) -> Debug:
        """GUID and age of its PDB as one number, and the path that the linker wrote."""
        return self._read(headers.debug)

    @cached_property
    def reproducible(self) -> bool:
        """Whether its time stamps are a hash of its contents (/Brepro)."""
        return self._read(headers.is_reproducible)

    @cached_property
    def signature(self) -> Signature | None:
        """Authenticode, if there is one inside."""
        return self._read(headers.signature)

    @cached_property
    def minimum_os(self) -> str | None:
        """The version of its subsystem: ``6.1`` is Windows 7."""
        major, minor = self._read(lambda image: image.subsystem_version)
        return f"{major}.{minor}"

    @cached_property
    def subsystem(self) -> int:
        """The number of its subsystem: 2 for windows, 3 for a console, 1 for a driver."""
        return self._read(lambda image: int(image.subsystem))

    @cached_property
    def characteristics(self) -> frozenset[str]:
        """The DLL characteristics: ``NX_COMPAT``, ``DYNAMIC_BASE``, ``HIGH_ENTROPY_VA``…"""
        return self._read(headers.characteristics)

    @cached_property
    def relocatable(self) -> bool:
        """Whether it can lie elsewhere than at its preferred address.

        Without relocations it still can if nothing in it holds an address; its
        characteristics then do not say that they were stripped.
        """
        return self._read(
            lambda image: (
                image.directory(DIRECTORY_RELOCATION) is not None
                or not image.characteristics & IMAGE_FILE_RELOCS_STRIPPED
            )
        )

    @cached_property
    def load_config(self) -> headers.LoadConfig | None:
        """The load configuration: Control Flow Guard, SafeSEH, /GS, flags for dependencies."""
        return self._read(headers.load_config)

    @cached_property
    def shadow_stack(self) -> bool:
        """Whether it is built for a shadow stack (CET)."""
        return self._read(headers.has_shadow_stack)

    @cached_property
    def hybrid(self) -> headers.Hybrid | None:
        """Whether it has code of two CPUs: ``arm64ec``, ``arm64x``, ``chpe``."""
        return self._read(lambda image: headers.hybrid(image, headers.load_config(image)))

    @cached_property
    def clr(self) -> headers.Clr | None:
        """Its .NET header, if it has one."""
        return self._read(headers.clr)

    @cached_property
    def rich_header(self) -> tuple[tuple[int, int, int], ...]:
        """Product, build and number of objects of Microsoft's tools that took part."""
        return self._read(headers.rich_header)

    @cached_property
    def compilers(self) -> tuple[str, ...]:
        """The linker's version, and Microsoft's tools by their numbers."""
        return self._read(headers.compilers)

    @cached_property
    def go(self) -> GoBuild | None:
        """How Go built it."""
        return self._read(_go)

    @cached_property
    def manifest(self) -> Manifest | None:
        """The manifest that the loader looks at: of name 1 in a program, 2 in a library."""
        raw = self._read(manifest)
        return None if raw is None else parse_manifest(raw, f"read {self.path}")

    def facts(self) -> dict[str, object]:
        """What only PE has, as data that ``json.dumps`` can write."""
        config, clr, manifest = self.load_config, self.clr, self.manifest
        return {
            "subsystem": self.subsystem,
            "characteristics": sorted(self.characteristics),
            "relocatable": self.relocatable,
            "reproducible": self.reproducible,
            "shadow_stack": self.shadow_stack,
            "hybrid": self.hybrid,
            "load_config": config._asdict() if config else None,
            "tls_callbacks": list(self.tls_callbacks),
            "clr": clr._asdict() | {"runtime": list(clr.runtime)} if clr else None,
            "rich_header": [list(row) for row in self.rich_header],
            "manifest": _of_manifest(manifest) if manifest else None,
        }


def _of_manifest(manifest: Manifest) -> dict[str, object]:
    return {
        "identity": manifest.identity._asdict() if manifest.identity else None,
        "dependencies": [one._asdict() for one in manifest.dependencies],
        "execution_level": manifest.execution_level,
        "systems": list(manifest.systems),
    }


def _go(image: Image) -> GoBuild | None:
    """Go's block is in the first section that is data and writable, and nothing else."""
    kinds = IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ | IMAGE_SCN_MEM_WRITE
    places = [
        (image.base + rva, memory_size)
        for _, memory_size, rva, file_size, _, flags in image.headers
        if rva and file_size and flags & ~IMAGE_SCN_ALIGN == kinds
    ]
    return go.build(places[:1], lambda address, what: image.at(address - image.base, what))
