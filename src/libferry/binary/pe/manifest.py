"""What a manifest says to the loader: assemblies, files, and what else concerns a start.

A manifest names side-by-side assemblies that a program or library depends on; the manifest
of an assembly lists the files that are its libraries. Both are the same language, with a
namespace for each time that it grew: an element counts by its local name.

It is somebody else's XML. Entities, with which a kilobyte can become gigabytes, are not
needed in it, and one that declares any is refused.

Specification: Microsoft, "Assembly Manifests" and "Application Manifests",
https://learn.microsoft.com/windows/win32/sbscs/manifest-files-reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple
from xml.parsers import expat

from libferry.errors import BadBinary


class Assembly(NamedTuple):
    """The identity of an assembly; attributes that are not there are empty.

    ``architecture`` is ``x86``, ``amd64``, ``arm64`` or ``*``; ``token`` is the public
    key's, in lower case; of a private assembly it is empty.
    """

    name: str
    version: str = ""
    architecture: str = ""
    token: str = ""
    language: str = ""


@dataclass(frozen=True)
class Manifest:
    """What the loader reads in a manifest.

    Attributes:
        identity: the assembly that this is the manifest of, or None.
        dependencies: the assemblies that it asks for; ``optional`` those of them that
            may be missing.
        files: the files of the assembly, by lower-case name: where each is loaded from,
            or "" for beside the manifest.
        execution_level: ``asInvoker``, ``highestAvailable``, ``requireAdministrator``, or "".
        systems: the GUIDs of the Windows versions that it says it knows.
    """

    identity: Assembly | None = None
    dependencies: tuple[Assembly, ...] = ()
    optional: frozenset[Assembly] = frozenset()
    files: dict[str, str] = field(default_factory=dict)
    execution_level: str = ""
    systems: tuple[str, ...] = ()


def parse_manifest(raw: bytes, tried: str) -> Manifest:
    """Read a manifest.

    Raises:
        BadBinary: it is no XML, or declares entities; error 14001 of Windows.
    """
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(raw.strip(b" \t\r\n\0"), True)
    except (expat.ExpatError, LookupError, ValueError, _Entities) as error:
        # LookupError and ValueError: it names an encoding that there is not, or that is none
        raise BadBinary(
            tried,
            f"its manifest is no manifest: {error}",
            hint="build it again with a manifest that is XML: mt.exe -manifest FILE",
        ) from None
    return Manifest(
        reader.identity,
        tuple(reader.dependencies),
        frozenset(reader.optional),
        reader.files,
        reader.execution_level,
        tuple(reader.systems),
    )


class _Entities(Exception):
    def __str__(self) -> str:
        return "it declares entities"


def _refuse(*_: object) -> None:
    raise _Entities


class _Reader:
    def __init__(self) -> None:
        self.identity: Assembly | None = None
        self.dependencies: list[Assembly] = []
        self.optional: list[Assembly] = []
        self.files: dict[str, str] = {}
        self.execution_level = ""
        self.systems: list[str] = []
        self.inside: list[str] = []
        self.may_be_missing = False

    def start(self, qualified: str, attributes: dict[str, str]) -> None:
        name = qualified.rpartition(" ")[2]
        plain = {key.rpartition(" ")[2]: value for key, value in attributes.items()}
        if name == "assemblyIdentity" and plain.get("name"):
            self._identity(plain)
        elif name == "dependency":
            self.may_be_missing = plain.get("optional", "").lower() in ("yes", "true")
        elif name == "file" and plain.get("name"):
            self.files[plain["name"].lower()] = plain.get("loadFrom", "")
        elif name == "requestedExecutionLevel":
            self.execution_level = plain.get("level", "")
        elif name == "supportedOS":
            self.systems.append(plain.get("Id", "").strip("{}").lower())
        self.inside.append(name)

    def end(self, _: str) -> None:
        self.inside.pop()

    def _identity(self, plain: dict[str, str]) -> None:
        assembly = Assembly(
            plain["name"],
            plain.get("version", ""),
            plain.get("processorArchitecture", "").lower(),
            plain.get("publicKeyToken", "").lower(),
            plain.get("language", "").lower(),
        )
        if "dependentAssembly" in self.inside:
            self.dependencies.append(assembly)
            if self.may_be_missing:
                self.optional.append(assembly)
        elif self.inside == ["assembly"]:
            self.identity = assembly
