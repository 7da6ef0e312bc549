"""Wheels for other systems: libraries that many people run and nobody here built.

``make wheels`` downloads them into ``build/wheels``, a folder for each platform. For ``make
soak`` there are 147 more (``popular-wheels.txt``), whose folders begin with ``popular-``.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

WHEELS = Path(__file__).parents[1] / "build" / "wheels"

NATIVE = (".so", ".dylib", ".dll", ".pyd", ".exe")


def needs_wheels(platform: str) -> pytest.MarkDecorator:
    """Mark a test that needs the wheels of one platform."""
    return pytest.mark.needs(f"build/wheels/{platform}", install="make wheels")


def wheels_of(platform: str) -> list[Path]:
    return sorted((WHEELS / platform).glob("*.whl")) + sorted(
        (WHEELS / f"popular-{platform}").glob("*.whl")
    )


def unpack(wheel: Path, place: Path) -> Path:
    """Unpack a wheel into a folder of its name below ``place``, once."""
    folder = place / wheel.name.removesuffix(".whl")
    if not folder.exists():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return folder


def libraries_of(platform: str, place: Path) -> list[Path]:
    """Unpack all wheels of a platform below ``place``; give their native files."""
    folders = [unpack(wheel, place) for wheel in wheels_of(platform)]
    files = (path for folder in folders for path in sorted(folder.rglob("*")))
    return [path for path in files if path.name.endswith(NATIVE)]
