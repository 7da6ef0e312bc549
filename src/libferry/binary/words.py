"""What a file says of itself, as lines for a person: a word, and what it says.

Only what is there, and only what somebody looks for: the rest is in ``describe``.
"""

from __future__ import annotations

import re

from libferry.binary.elf.view import ElfView
from libferry.binary.model import Binary

SHOWN_VERSIONS = 3
_SYSTEMS = {"linux": "Linux", "windows": "Windows", "macos": "macOS"}
_SIGNATURES = {
    "authenticode": "Authenticode",
    "apple": "with Apple's certificates",
    "ad-hoc": "ad hoc, by nobody",
}

Rows = list[tuple[str, str]]


def rows(binary: Binary) -> Rows:
    """Say what all formats have, and what only ELF has.

    Raises:
        BadBinary: the file is damaged in what is read late, or has changed.
    """
    found = [
        ("versions", _needed_versions(binary)),
        ("gives", _few(binary.versions_given)),
        ("TLS", _tls(binary)),
        ("minimum", _minimum(binary)),
        *_of_elf(binary),
        ("signed", _signed(binary)),
        ("Go", _go(binary)),
        ("build ID", binary.debug.build_id or ""),
        ("debug", _debug(binary)),
        ("made by", "; ".join(binary.compilers)),
    ]
    return [(name, value) for name, value in found if value]


def _needed_versions(binary: Binary) -> str:
    by_library: dict[str, list[str]] = {}
    for need in binary.versions_needed:
        by_library.setdefault(need.library, []).append(need.version)
    newest = {name: sorted(them, key=_age, reverse=True) for name, them in by_library.items()}
    return "; ".join(f"{name}: {_few(names)}" for name, names in newest.items())


def _age(version: str) -> list[int]:
    """What to sort by: 2.34 is newer than 2.4, and both than what has no number."""
    return [int(number) for number in re.findall(r"[0-9]{1,9}", version)]


def _few(names: list[str] | tuple[str, ...]) -> str:
    shown = ", ".join(names[:SHOWN_VERSIONS])
    return f"{shown} and {len(names) - SHOWN_VERSIONS} more" if names[SHOWN_VERSIONS:] else shown


def _tls(binary: Binary) -> str:
    tls = binary.tls
    return f"{tls.size} bytes, aligned to {tls.alignment}, {tls.model}" if tls else ""


def _minimum(binary: Binary) -> str:
    version = binary.minimum_os
    return f"{_SYSTEMS.get(binary.os, binary.os)} {version}" if version else ""


def _signed(binary: Binary) -> str:
    signature = binary.signature
    if signature is None:
        return ""
    names = [name for name in (signature.identifier, signature.team) if name]
    return ", ".join([_SIGNATURES[signature.kind], *names])


def _go(binary: Binary) -> str:
    go = binary.go
    if go is None:
        return ""
    parts = [go.version, go.path, f"{len(go.modules)} modules" if go.modules else ""]
    return ", ".join(filter(None, parts))


def _debug(binary: Binary) -> str:
    debug = binary.debug
    if debug.link:
        return debug.link
    return "stripped" if debug.stripped and binary.format == "elf" else ""


def _of_elf(binary: Binary) -> Rows:
    view = binary.view
    if not isinstance(view, ElfView) or binary.kind == "object":
        return []
    return [
        ("hardening", _hardening(view)),
        ("CPU", ", ".join(view.properties.isa_needed)),
        ("calls", _convention(view)),
        ("LoongArch", f"the {view.loongarch_world} world" if view.loongarch_world else ""),
        ("flags", ", ".join(sorted(view.flags - {"NOW", "PIE", "TEXTREL"}))),
    ]


def _hardening(view: ElfView) -> str:
    known = view.hardening
    relro = {"full": "full RELRO", "partial": "partial RELRO", "none": "no RELRO"}[known.relro]
    return ", ".join(
        [
            relro,
            *(["bound at once" if known.now else "bound lazily"] if view.headers.entries else []),
            *view.properties.features,
            *(["not position-independent"] if not known.pie else []),
            *(["executable stack"] if known.executable_stack else []),
            *(["code is changed at load"] if known.text_relocations else []),
            *(["writable code"] if known.writable_code else []),
        ]
    )


def _convention(view: ElfView) -> str:
    found = view.abi
    parts = [f"{found.float_abi} float" if found.float_abi else "", found.object_abi or ""]
    return ", ".join(filter(None, parts))
