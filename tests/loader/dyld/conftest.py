"""A Mac of files: what a test carries there lies where the test wrote it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from libferry.binary import read
from libferry.loader.dyld import resolve
from libferry.loader.model import Options, Resolution
from libferry.target import DescribedSystem, Target

from .machowriter import Macho


def target(name: str) -> Target:
    """A target of the list, as its file describes it."""
    path = files("libferry.target") / "data" / "macos" / f"{name}.toml"
    table = tomllib.loads(path.read_text())
    version = tuple(map(int, table.pop("version").split(".")))
    return Target(version=version, **table)


class Mac:
    """A macOS with the files of a folder."""

    def __init__(self, folder: Path, name: str = "macos-14-arm64") -> None:
        self.folder = folder
        self.target = target(name)

    def on(self, name: str) -> Mac:
        """The same files on another macOS."""
        return Mac(self.folder, name)

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def write(self, name: str, file: Macho | bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file if isinstance(file, bytes) else file.raw())
        return str(path)

    def resolve(
        self,
        name: str,
        *,
        environment: Mapping[str, str] | None = None,
        host: str | None = None,
        **options: object,
    ) -> Resolution:
        """Resolve a file of the folder; ``host`` is one, too."""
        path = self.path(name)
        system = DescribedSystem(self.target, [self.folder])
        given = Options(
            host=self.path(host) if host else None,
            environment=environment or {},
            working_directory=str(self.folder),
        )
        return resolve(read(path), path, system, replace(given, **options))  # type: ignore[arg-type]

    def loaded(self, resolution: Resolution) -> list[str]:
        """What is loaded from the folder, in order, without the folder."""
        paths = [node.found.real for node in resolution.order if node.found is not None]
        own = f"{self.folder}/"
        return [path.removeprefix(own) for path in paths if path.startswith(own)]


@pytest.fixture
def mac(tmp_path: Path) -> Mac:
    return Mac(tmp_path)
