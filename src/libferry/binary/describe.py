"""A Binary as data that ``json.dumps`` can write."""

from __future__ import annotations

import os
from dataclasses import fields

from libferry.binary.mangled import demangle
from libferry.binary.model import (
    Binary,
    Debug,
    Dependency,
    Export,
    GoBuild,
    Segment,
    Signature,
    Tls,
    VersionNeed,
)
from libferry.binary.window import decode

Plain = dict[str, object]


def as_dict(binary: Binary, *, exports: bool = True) -> dict[str, object]:
    """Describe ``binary`` with strings, numbers, lists, dictionaries and None only.

    What only its own format has is under the format's name, such as ``elf``.

    Args:
        binary: what was read.
        exports: whether to list exports and imports, of which there may be thousands.

    Raises:
        BadBinary: the file is damaged in what is read late, or has changed.
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
    go = binary.go
    facts |= {
        "dependencies": [_plain(one) for one in binary.dependencies],
        "versions_needed": [_plain(one) for one in binary.versions_needed],
        "versions_given": list(binary.versions_given),
        "segments": [_plain(one) for one in binary.segments],
        "tls": _plain(binary.tls) if binary.tls else None,
        "debug": _plain(binary.debug),
        "signature": _plain(binary.signature) if binary.signature else None,
        "minimum_os": binary.minimum_os,
        "go": {**_plain(go), "settings": dict(go.settings)} if go else None,
        "compilers": list(binary.compilers),
        binary.format: binary.view.facts(),
    }
    if exports:
        meant = demangle(export.name for export in binary.exports)
        facts["imports"] = [one._asdict() for one in binary.imports]
        facts["exports"] = [_export_as_dict(e, meant.get(e.name)) for e in binary.exports]
    return facts


def _plain(value: Dependency | VersionNeed | Segment | Tls | Debug | Signature | GoBuild) -> Plain:
    """One of the model's dataclasses, with tuples as the lists that JSON makes of them."""
    return {field.name: _listed(getattr(value, field.name)) for field in fields(value)}


def _listed(value: object) -> object:
    return [_listed(one) for one in value] if isinstance(value, tuple) else value


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
