"""Names of modules and files, as Windows compares them."""

from __future__ import annotations

import ntpath

from libferry.loader.windows.rules import LOAD_LIBRARY_EX, page

DEFAULT_EXTENSION = ".dll"
EXTENSION_SOURCE = page(LOAD_LIBRARY_EX)
API_SET_PREFIXES = ("api-", "ext-")


def has_path(name: str) -> bool:
    """Whether a name is a path, be it relative; then it is not searched for."""
    return "\\" in name or "/" in name or name[1:2] == ":"


def is_absolute(name: str) -> bool:
    """Whether a path says everything: a drive or a share, and from its root."""
    return bool(ntpath.splitdrive(name)[0]) and ntpath.isabs(name)


def with_extension(name: str) -> str:
    """The name with ``.dll``, if it has no extension; a point at its end prevents that."""
    name = name.rstrip(" ")
    last = name.replace("/", "\\").rpartition("\\")[2]
    if "." not in last:
        return name + DEFAULT_EXTENSION
    return name[:-1] if name.endswith(".") else name


def module_name(path: str) -> str:
    """By what a loaded module is found again."""
    return ntpath.basename(path.replace("/", "\\")).lower()


def is_api_set(name: str) -> bool:
    """Whether a name is of the kind that stands for no file."""
    return name.lower().startswith(API_SET_PREFIXES)


def contract(name: str) -> tuple[str, str]:
    """The name of an API set, in full, and without the last of its numbers.

    Since Windows 8.1 the last number does not count: the table of Windows 10 has
    ``api-ms-win-core-file-l1-2-4``, and every DLL that asks for ``-l1-2-0`` gets it.
    """
    full = name.lower().removesuffix(DEFAULT_EXTENSION)
    return full, full.rpartition("-")[0]
