"""A Binary as data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from libferry.binary import read
from libferry.binary.describe import as_dict


def test_a_description_survives_json(small_elf: Path) -> None:
    described = as_dict(read(small_elf))
    assert json.loads(json.dumps(described)) == described


def test_a_description_says_what_the_source_and_the_command_say(small_elf: Path) -> None:
    described = as_dict(read(small_elf))
    exports = described.pop("exports")
    assert {name: described[name] for name in list(described)[:13]} == {
        "path": str(small_elf),
        "format": "elf",
        "os": "linux",
        "cpu": "x86_64",
        "bits": 64,
        "endian": "little",
        "kind": "library",
        "slices": [],
        "soname": "libsample.so.1",
        "needed": [],
        "rpath": [],
        "runpath": ["$ORIGIN/a", "/b"],
        "interpreter": None,
    }
    assert isinstance(exports, list)
    kinds = {(e["name"], e["kind"], e["version"]) for e in exports}
    assert kinds >= {
        ("answer", "function", "SAMPLE_1"),
        ("counter", "data", "SAMPLE_1"),
        ("maybe", "function", "SAMPLE_2"),
        ("mine", "tls", "SAMPLE_2"),
    }
    assert described["versions_given"] == ["SAMPLE_1", "SAMPLE_2"]
    assert described["tls"] == {"size": 4, "alignment": 4, "model": "dynamic"}
    assert described["debug"] == {"build_id": None, "link": None, "stripped": True}


@pytest.mark.parametrize(
    ("target", "own"),
    [
        ("x86_64-windows-gnu", {"subsystem": 3, "hybrid": None, "clr": None}),
        ("aarch64-macos.13.0", {"file_type": "DYLIB", "architecture": "arm64"}),
    ],
)
@pytest.mark.needs("ziglang", install="pip install 'libferry[build]'")
def test_what_only_its_format_has_is_under_the_formats_name(
    target: str, own: dict[str, object], tmp_path: Path
) -> None:
    source, made = tmp_path / "a.c", tmp_path / "a.out"
    source.write_text("int answer(void) { return 42; }")
    options = ["-Wl,--subsystem,console"] if "windows" in target else []
    compiler = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-shared"]
    subprocess.run([*compiler, "-o", made, source, *options], check=True, timeout=300)
    described = as_dict(read(made))
    found = described[str(described["format"])]
    assert isinstance(found, dict)
    assert own.items() <= found.items()
    assert json.loads(json.dumps(described)) == described
