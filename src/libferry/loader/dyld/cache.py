"""The libraries of macOS that are no files.

Since macOS 11, most of what lies below /usr/lib and /System/Library exists only inside one
large file, the shared cache; ``ls`` does not show it, and ``dlopen`` finds it. Which paths
are in it is data (``target/data/dyld/shared-cache.toml``). That is not all: what is not
listed may still be there.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from importlib.resources import files
from typing import Any


class SharedCache:
    """The known contents of one macOS's shared cache, by install name."""

    def __init__(self, macos: int) -> None:
        self.names: set[str] = set()
        self._aliases: dict[str, str] = {}
        table = _table()
        for row in table["libraries"]:
            if row["since"] <= macos < row.get("until", 1 << 16):
                self.names.update(f"{row['folder']}/{name}" for name in row["names"].split())
        for row in table["frameworks"]:
            if row["since"] <= macos < row.get("until", 1 << 16):
                for name in row["names"].split():
                    self._framework(row["folder"], row["version"], name)
        for alias, name in table["aliases"].items():
            if name in self.names:
                self._aliases[alias] = name

    def _framework(self, folder: str, version: str, name: str) -> None:
        base = f"{folder}/{name}.framework"
        leaf = name.rpartition("/")[2]
        real = f"{base}/Versions/{version}/{leaf}"
        self.names.add(real)
        # the links that every framework has
        self._aliases[f"{base}/{leaf}"] = real
        self._aliases[f"{base}/Versions/Current/{leaf}"] = real

    def canonical(self, path: str) -> str | None:
        """The install name of what is in the cache at a path; None if nothing is known."""
        if path in self.names:
            return path
        return self._aliases.get(path)


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    place = files("libferry.target") / "data" / "dyld" / "shared-cache.toml"
    return tomllib.loads(place.read_text(encoding="utf-8"))


@lru_cache(maxsize=8)
def cache_of(macos: int) -> SharedCache:
    """The shared cache of a macOS, by its major version."""
    return SharedCache(macos)
