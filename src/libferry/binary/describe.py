"""A Binary as data that ``json.dumps`` can write."""

from __future__ import annotations

import os

from libferry.binary.mangled import demangle
from libferry.binary.model import Binary, Export
from libferry.binary.window import decode


def as_dict(binary: Binary, *, exports: bool = True) -> dict[str, object]:
    """Describe ``binary`` with strings, numbers, lists and None only.

    With ``exports`` it can raise what ``Binary.exports`` raises.
    """
    facts: dict[str, object] = {
        "path": decode(os.fsencode(binary.path)),
        "format": binary.format,
        "os": binary.os,
        "cpu": binary.cpu,
        "bits": binary.bits,
        "endian": binary.endian,
        "kind": binary.kind,
        "slices": list(binary.slices),
        "soname": binary.soname,
        "needed": list(binary.needed),
        "rpath": list(binary.rpath),
        "runpath": list(binary.runpath),
        "interpreter": binary.interpreter,
    }
    if exports:
        meant = demangle(export.name for export in binary.exports)
        facts["exports"] = [_export_as_dict(e, meant.get(e.name)) for e in binary.exports]
    return facts


def _export_as_dict(export: Export, demangled: str | None) -> dict[str, object]:
    return {
        "name": export.name,
        "demangled": demangled,
        "kind": export.kind,
        "version": export.version,
        "hidden": export.hidden,
        "address": export.address,
        "ordinal": export.ordinal,
        "forward": export.forward,
    }
