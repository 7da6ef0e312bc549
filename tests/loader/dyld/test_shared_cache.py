"""What is listed as macOS' own, against a stub library of Apple's SDK that Zig brings along."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from libferry.loader.dyld.cache import cache_of

pytestmark = pytest.mark.needs("ziglang", install="pip install ziglang")

NAME = re.compile(r"^install-name:\s+'?(/usr/lib/[^'\s]+)", re.MULTILINE)


def parts_of_libsystem() -> set[str]:
    """libSystem and what it re-exports; the SDK is of macOS 26 or newer."""
    spec = importlib.util.find_spec("ziglang")
    assert spec is not None
    assert spec.origin is not None
    stub = Path(spec.origin).parent / "lib" / "libc" / "darwin" / "libSystem.tbd"
    return set(NAME.findall(stub.read_text(encoding="utf-8")))


def test_all_parts_of_libsystem_are_in_the_newest_cache() -> None:
    parts = parts_of_libsystem()
    assert len(parts) > 35
    assert parts <= cache_of(26).names


def test_what_libsystem_has_lost_is_not_in_the_newest_cache() -> None:
    listed = {name for name in cache_of(26).names if name.startswith("/usr/lib/system/")}
    assert listed <= parts_of_libsystem()
