"""Read one library file: ELF, PE or Mach-O.

``read(path)`` gives a ``Binary``, a plain value with what the file says of
itself. Nothing is loaded or run, and the file may be for any CPU and system.
"""

from libferry.binary.model import (
    Binary,
    Debug,
    Dependency,
    Export,
    GoBuild,
    Import,
    Segment,
    Signature,
    Tls,
    VersionNeed,
)
from libferry.binary.recognise import read

__all__ = [
    "Binary",
    "Debug",
    "Dependency",
    "Export",
    "GoBuild",
    "Import",
    "Segment",
    "Signature",
    "Tls",
    "VersionNeed",
    "read",
]
