"""The packaging hook: compile the C core when a wheel or an editable install is made.

The wheel is for one CPython version and one CPU (the extension), and carries the
workers for every target. Its tag says manylinux_2_17, which is what zig links for.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))
import build


class NativeBuildHook(BuildHookInterface[Any]):
    """Runs ``native/build.py`` and names what it made."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile into the package folder; called by hatchling before it packs."""
        root = Path(self.root)
        made = build.build(root / "src" / "libferry")
        build_data["artifacts"] += [f"/{path.relative_to(root)}" for path in made]
        build_data["pure_python"] = False
        python = f"cp{sys.version_info.major}{sys.version_info.minor}"
        machine = sysconfig.get_platform().rsplit("-", 1)[-1]
        glibc = build.GLIBC.replace(".", "_")
        build_data["tag"] = f"{python}-{python}-manylinux_{glibc}_{machine}"
