"""The exports to keep, from what somebody has that says them."""

from __future__ import annotations

from pathlib import Path

from libferry.abi import ABIS
from libferry.binary import Binary
from libferry.errors import ArgumentValueError


def names_to_keep(file: Path, binary: Binary) -> frozenset[str]:
    """The names in a list (one a line, ``#`` begins a comment), a C header, or a contract.

    Raises:
        ArgumentValueError: it cannot be read, or names nothing.
        DeclarationError: the header or contract cannot be read.
    """
    tried = f"read what to keep from {file}"
    if file.exists() and not file.is_file():
        raise ArgumentValueError(
            tried, "it is no regular file", hint="give a list of names, one a line"
        )
    if file.suffix in (".h", ".toml"):
        names = _declared(file, binary)
    else:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise ArgumentValueError(
                tried, f"it cannot be read: {error}", hint="give a list of names, one a line"
            ) from None
        names = {line.split("#")[0].strip() for line in lines} - {""}
    if not names:
        raise ArgumentValueError(tried, "it names nothing", hint="one name a line")
    return frozenset(names)


def _declared(file: Path, binary: Binary) -> set[str]:
    from libferry.contract import read_contract, read_header

    fitting = (a.name for a in ABIS.values() if a.cpu == binary.cpu and binary.os in a.os)
    abi = next(fitting, "x86_64-sysv")
    header = read_contract(file).header(abi) if file.suffix == ".toml" else read_header(file, abi)
    return set(header.functions) | set(header.variables)
