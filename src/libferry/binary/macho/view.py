"""What a Mach-O file says beyond what every reader asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from libferry.binary import go, macho
from libferry.binary.addresses import AddressMap
from libferry.binary.macho.exports import Exports, read_exports
from libferry.binary.macho.facts import (
    ARM64E_VERSION_MASK,
    ARM64E_VERSION_SHIFT,
    ARM64E_VERSIONED,
    FILE_TYPES,
    FLAGS,
    LC_BUILD_VERSION,
    LC_DYLD_CHAINED_FIXUPS,
    LC_DYLD_ENVIRONMENT,
    LC_DYLD_INFO,
    LC_DYSYMTAB,
    LC_ENCRYPTION_INFO,
    LC_ENCRYPTION_INFO_64,
    LC_ID_DYLIB,
    LC_LAZY_LOAD_DYLIB,
    LC_SUB_CLIENT,
    LC_SUB_FRAMEWORK,
    LC_UUID,
    LOADS_LIBRARY,
    PLATFORMS,
    S_THREAD_LOCAL_REGULAR,
    S_THREAD_LOCAL_ZEROFILL,
    SECTION_TYPE,
    SELF,
    TOOLS,
    USE_COMMAND_SIZE,
    USE_DELAYED_INIT,
    USE_MARKER,
    USE_REEXPORT,
    USE_UPWARD,
    USE_WEAK,
    USES,
    VERSION_MIN,
    VM_PROT_EXECUTE,
    VM_PROT_READ,
    VM_PROT_WRITE,
    WEAK_LOOKUP,
)
from libferry.binary.macho.image import Image, architecture
from libferry.binary.macho.imports import Bind, read_binds
from libferry.binary.macho.signature import read_signature
from libferry.binary.model import (
    Binary,
    Debug,
    Dependency,
    DependencyKind,
    Export,
    GoBuild,
    Import,
    ImportKind,
    Segment,
    Signature,
    Tls,
)
from libferry.binary.view import View
from libferry.binary.window import Stamp, Window

Version = tuple[int, int, int]


class Linked(NamedTuple):
    """A library that is asked for, as its load command has it.

    Attributes:
        weak: whether it may be missing.
        reexport: whether what it exports is this library's, too.
        upward: whether it asks for this library in turn, and is initialised later.
        delayed: whether it is only initialised when it is first used (since macOS 15).
        lazy: LC_LAZY_LOAD_DYLIB, which dyld has not known since macOS 12.
        current, compatibility: the version it had when this file was linked.
    """

    name: str
    weak: bool
    reexport: bool
    upward: bool
    delayed: bool
    lazy: bool
    current: Version
    compatibility: Version

    @property
    def kind(self) -> DependencyKind:
        """The same in one word; the first that is true."""
        if self.reexport:
            return "reexport"
        if self.weak:
            return "weak"
        if self.upward:
            return "upward"
        return "lazy" if self.lazy or self.delayed else "needed"


class Platform(NamedTuple):
    """What a file was built for: a platform, its oldest version, and the SDK's.

    ``tools`` are those that wrote so: names with versions.
    """

    name: str
    minimum: Version
    sdk: Version
    tools: tuple[str, ...]


class MachOView(View):
    """One slice of a Mach-O file."""

    def __init__(self, path: Path, stamp: Stamp, index: int = 0) -> None:
        super().__init__(path, stamp)
        self._index = index

    @contextmanager
    def _image(self) -> Iterator[Image]:
        """Open the file once more, for what lies beyond the load commands."""
        with self.open() as window:
            yield Image(window, self._index)

    @cached_property
    def _header(self) -> Image:
        """The load commands, which stay in memory when the file is closed."""
        with self._image() as image:
            return image

    @cached_property
    def all_slices(self) -> tuple[Binary, ...]:
        """All slices of the file this is of, in its order."""
        with self.open() as window:
            return macho.read_all(window)

    @cached_property
    def architecture(self) -> str:
        """Apple's name for the CPU: ``x86_64``, ``x86_64h``, ``arm64``, ``arm64e``."""
        return architecture(self._header.cpu_type, self._header.cpu_subtype)

    @cached_property
    def architectures(self) -> tuple[str, ...]:
        """The same of each slice of the file."""
        return tuple(architecture(*name) for name in self._header.slices) or (self.architecture,)

    @cached_property
    def pointer_authentication(self) -> int | None:
        """The version of the ABI of signed pointers; None but for arm64e."""
        subtype: int = self._header.cpu_subtype
        if self.architecture != "arm64e" or not subtype & ARM64E_VERSIONED:
            return None
        return subtype >> ARM64E_VERSION_SHIFT & ARM64E_VERSION_MASK

    @cached_property
    def file_type(self) -> str:
        """As otool names it: ``DYLIB``, ``BUNDLE``, ``EXECUTE``, ``DYLIB_STUB``…"""
        return FILE_TYPES[self._header.file_type][1]

    @cached_property
    def flags(self) -> frozenset[str]:
        """The header's flags, without ``MH_``: ``TWOLEVEL``, ``PIE``…"""
        bits = self._header.flags
        return frozenset(name for bit, name in enumerate(FLAGS) if name and bits >> bit & 1)

    @cached_property
    def linked(self) -> tuple[Linked, ...]:
        """The libraries it asks for; an import's ordinal counts them from 1."""
        image, found = self._header, []
        for command in image.all(*LOADS_LIBRARY):
            name = image.string(command, "the name of a needed library")
            offset, stamp, current, compatibility = image.unpack(image.layout.symtab, command, 8)
            uses = USES.get(command.number, 0)
            if stamp == USE_MARKER and offset == USE_COMMAND_SIZE:
                (uses,) = image.unpack(image.layout.word, command, 24)
            found.append(
                Linked(
                    name,
                    bool(uses & USE_WEAK),
                    bool(uses & USE_REEXPORT),
                    bool(uses & USE_UPWARD),
                    bool(uses & USE_DELAYED_INIT),
                    command.number == LC_LAZY_LOAD_DYLIB,
                    _version(current),
                    _version(compatibility),
                )
            )
        return tuple(found)

    @cached_property
    def dependencies(self) -> tuple[Dependency, ...]:
        """The libraries it asks for, and how."""
        return tuple(Dependency(one.name, one.kind, one.compatibility) for one in self.linked)

    @cached_property
    def versions(self) -> tuple[Version, Version] | None:
        """A library's own current and compatibility version."""
        image = self._header
        for command in image.all(LC_ID_DYLIB):
            _, _, current, compatibility = image.unpack(image.layout.symtab, command, 8)
            return _version(current), _version(compatibility)
        return None

    @cached_property
    def _exports(self) -> Exports:
        with self._image() as image:
            return read_exports(image)

    @cached_property
    def exports(self) -> tuple[Export, ...]:
        """What the file offers to others, in its order."""
        return self._exports.all

    @cached_property
    def weak_exports(self) -> frozenset[str]:
        """The names of exports that another library's may replace (C++ inline functions)."""
        return self._exports.weak

    @cached_property
    def reexported(self) -> dict[str, tuple[int, str]]:
        """Names that another library gives: its ordinal, and the name there."""
        return self._exports.reexported

    @cached_property
    def binds(self) -> tuple[Bind, ...]:
        """What dyld binds, with ordinals."""
        with self._image() as image:
            return read_binds(image)

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """What it wants from others.

        Of the symbols that all libraries of a process share (C++ inline functions), those
        that it exports itself are left out.
        """
        names = [one.name for one in self.linked]
        own = {one.name for one in self.exports} if self._shares else frozenset[str]()
        found = []
        for bind in self.binds:
            name = bind.name.removeprefix("_")
            if bind.ordinal == SELF or (bind.ordinal == WEAK_LOOKUP and name in own):
                continue
            library = names[bind.ordinal - 1] if 0 < bind.ordinal <= len(names) else None
            kind: ImportKind = "function" if bind.lazy else "unknown"
            found.append(Import(name, kind, library, None, bind.weak))
        return tuple(found)

    @property
    def _shares(self) -> bool:
        return any(bind.ordinal == WEAK_LOOKUP for bind in self.binds)

    @cached_property
    def fixups(self) -> str:
        """In which language its symbols are bound: ``chained``, ``opcodes`` or ``symbols``."""
        if any(True for _ in self._header.all(LC_DYLD_CHAINED_FIXUPS)):
            return "chained"
        return "opcodes" if any(True for _ in self._header.all(LC_DYLD_INFO)) else "symbols"

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """What is mapped, with the permissions it has at first."""
        page = 0x4000 if "arm" in self.architecture else 0x1000
        return tuple(
            Segment(
                one.name,
                one.address,
                one.size,
                one.offset,
                one.file_size,
                page,
                bool(one.initial & VM_PROT_READ),
                bool(one.initial & VM_PROT_WRITE),
                bool(one.initial & VM_PROT_EXECUTE),
            )
            for one in self._header.segments()
        )

    @cached_property
    def maximum_protections(self) -> tuple[tuple[bool, bool, bool], ...]:
        """What each segment may become: readable, writable, executable."""
        masks = (VM_PROT_READ, VM_PROT_WRITE, VM_PROT_EXECUTE)
        return tuple(
            (
                bool(one.maximum & masks[0]),
                bool(one.maximum & masks[1]),
                bool(one.maximum & masks[2]),
            )
            for one in self._header.segments()
        )

    @cached_property
    def restricted(self) -> bool:
        """Whether a program asks dyld to ignore the environment: ``__RESTRICT,__restrict``."""
        return any(
            (section.segment, section.name) == ("__RESTRICT", "__restrict")
            for segment in self._header.segments()
            for section in segment.sections
        )

    @cached_property
    def tls(self) -> Tls | None:
        """What each thread has a copy of: its thread-local sections together."""
        kinds = (S_THREAD_LOCAL_REGULAR, S_THREAD_LOCAL_ZEROFILL)
        parts = [
            section
            for segment in self._header.segments()
            for section in segment.sections
            if section.flags & SECTION_TYPE in kinds
        ]
        if not parts:
            return None
        size = max(one.address + one.size for one in parts) - min(one.address for one in parts)
        return Tls(size, max(one.alignment for one in parts), "dynamic")

    @cached_property
    def uuid(self) -> str | None:
        """The UUID by which debuggers and crash reports know it: 32 hex digits."""
        for command in self._header.all(LC_UUID):
            return self._header.bytes(command, 8, 16).hex()
        return None

    @cached_property
    def debug(self) -> Debug:
        """Its identity, and whether a debugger finds more than exports in it."""
        image = self._header
        stripped = not any(one.name == "__DWARF" for one in image.segments())
        for command in image.all(LC_DYSYMTAB):
            _, local = image.unpack(image.layout.pair, command, 8)
            stripped = stripped and not local
        return Debug(self.uuid, None, stripped)

    @cached_property
    def signature(self) -> Signature | None:
        """The signature inside."""
        with self._image() as image:
            return read_signature(image)

    @cached_property
    def platforms(self) -> tuple[Platform, ...]:
        """What it was built for; two in a library for macOS and Mac Catalyst."""
        image, found = self._header, []
        order = image.layout.pair.format[:1]
        for command in image.all(LC_BUILD_VERSION):
            number, minimum, sdk, count = image.unpack(image.layout.symtab, command, 8)
            raw = image.bytes(command, 24, count * 8)
            tools = tuple(
                f"{TOOLS.get(tool, f'tool {tool}')} {_text(_version(version))}"
                for tool, version in Struct(order + "II").iter_unpack(raw)
            )
            name = PLATFORMS.get(number, f"platform {number}")
            found.append(Platform(name, _version(minimum), _version(sdk), tools))
        for command in image.all(*VERSION_MIN):
            minimum, sdk = image.unpack(image.layout.pair, command, 8)
            name = VERSION_MIN[command.number]
            found.append(Platform(name, _version(minimum), _version(sdk), ()))
        return tuple(found)

    @cached_property
    def minimum_os(self) -> str | None:
        """The oldest system it is for, of the first platform that it names."""
        return _text(self.platforms[0].minimum) if self.platforms else None

    @cached_property
    def compilers(self) -> tuple[str, ...]:
        """The tools that wrote themselves down with the platform; mostly the linker."""
        return tuple(dict.fromkeys(tool for one in self.platforms for tool in one.tools))

    @cached_property
    def go(self) -> GoBuild | None:
        """How Go built it."""
        with self._image() as image:
            return _go(image)

    @cached_property
    def encrypted(self) -> bool:
        """Whether its code is encrypted (FairPlay, of Apple's shops)."""
        image = self._header
        return any(
            # encryption_info_command.cryptid
            image.unpack(image.layout.word, command, 16) != (0,)
            for command in image.all(LC_ENCRYPTION_INFO, LC_ENCRYPTION_INFO_64)
        )

    @cached_property
    def environment(self) -> tuple[str, ...]:
        """The variables that a program sets for dyld (LC_DYLD_ENVIRONMENT)."""
        return tuple(self._header.strings((LC_DYLD_ENVIRONMENT,), "a variable for dyld"))

    @cached_property
    def clients(self) -> tuple[str, ...]:
        """Who may be linked with it, if not all may."""
        return tuple(self._header.strings((LC_SUB_CLIENT,), "the name of a client"))

    @cached_property
    def umbrella(self) -> str | None:
        """The framework that it is a part of, if it is to be linked only through that."""
        names = self._header.strings((LC_SUB_FRAMEWORK,), "the name of an umbrella framework")
        return names[0] if names else None

    def facts(self) -> dict[str, object]:
        """What only Mach-O has, as data that ``json.dumps`` can write."""
        versions = self.versions
        return {
            "file_type": self.file_type,
            "architecture": self.architecture,
            "architectures": list(self.architectures),
            "pointer_authentication": self.pointer_authentication,
            "flags": sorted(self.flags),
            "platforms": [
                {
                    "name": one.name,
                    "minimum": _text(one.minimum),
                    "sdk": _text(one.sdk),
                    "tools": list(one.tools),
                }
                for one in self.platforms
            ],
            "current_version": _text(versions[0]) if versions else None,
            "compatibility_version": _text(versions[1]) if versions else None,
            "fixups": self.fixups,
            "encrypted": self.encrypted,
            "restricted": self.restricted,
            "environment": list(self.environment),
            "clients": list(self.clients),
            "umbrella": self.umbrella,
        }


def _go(image: Image) -> GoBuild | None:
    """Go's block has a section of its own."""
    segments = list(image.segments())
    places = AddressMap((one.address, one.file_size, one) for one in segments)

    def at(address: int, what: str) -> Window:
        found = places.find(address)
        if found is None:
            raise image.window.bad(f"{what} is at {address:#x}, which is in no segment")
        into, segment = found
        return image.window.view(segment.offset + into, segment.file_size - into, what)

    sections = [section for one in segments for section in one.sections]
    found = [(one.address, one.size) for one in sections if one.name == "__go_buildinfo"]
    return go.build(found[:1], at)


def _version(packed: int) -> Version:
    """Read ``xxxx.yy.zz``, as loader.h packs a version into 32 bits."""
    return packed >> 16, packed >> 8 & 0xFF, packed & 0xFF


def _text(version: Version) -> str:
    return ".".join(map(str, version if version[2] else version[:2]))
