"""The names that musl exports, against Debian's musl of several versions."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from libferry.target.linux import musl_names

BUILD = Path(__file__).parents[2] / "build/debian"

# What Debian changes: it adds fts, which glibc has; leaves crypt to libcrypt (bookworm); and
# took renameat2 from the next version (trixie).
ADDED = {"fts_children", "fts_close", "fts_open", "fts_read", "fts_set", "renameat2"}
REMOVED = {"crypt", "crypt_r", "encrypt", "setkey"}


@pytest.mark.needs("nm", install="apt-get install binutils")
@pytest.mark.parametrize(
    ("folder", "version", "cpu"),
    [
        pytest.param(
            *case, marks=pytest.mark.needs(str(BUILD / case[0]), install="tools/setup-debian")
        )
        for case in (
            ("bookworm-arm64-musl", (1, 2, 3), "aarch64"),
            ("trixie-arm64-musl", (1, 2, 5), "aarch64"),
            ("trixie-amd64-musl", (1, 2, 5), "x86_64"),
        )
    ],
)
def test_musl_has_the_names_of_debians(folder: str, version: tuple[int, ...], cpu: str) -> None:
    (loader,) = (file for file in (BUILD / folder).rglob("ld-musl-*.so.1") if file.is_file())
    said = subprocess.run(
        ["nm", "-D", "--defined-only", "--format=posix", loader],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    theirs = {line.split()[0] for line in said.splitlines()}
    ours = musl_names(version, cpu)
    assert theirs - ours <= ADDED
    assert ours - theirs <= REMOVED
    assert len(ours & theirs) > 1000
