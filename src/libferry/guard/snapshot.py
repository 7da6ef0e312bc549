"""Record what was loaded, and later expect the same.

What ``expect=`` takes, and what it allows:

* ``"sha256:..."``: the library has these bytes. Nothing is said of what it needs.
* a mapping of paths or file names to digests: nothing else may be there, save for what
  ``"system"`` allows, if the mapping has it: ``{"libfoo.so": "sha256:...", "system": "any"}``
  lets in what lies in /lib and /usr and only root can change.
* what ``snapshot("file.json")`` read, which ``lib.loaded.write("file.json")`` wrote.

A file that is expected and not there is no difference: it can do no harm.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from libferry.errors import ArgumentTypeError, ArgumentValueError, FerryError
from libferry.guard.files import LoadedFile

FORMAT = "libferry snapshot 1"
SYSTEM = "system"
SYSTEM_FOLDERS = ("/lib", "/lib32", "/lib64", "/usr")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Loaded(tuple[LoadedFile, ...]):
    """The files that were loaded; a tuple that can be written to a file."""

    __slots__ = ()

    def write(self, path: str | os.PathLike[str], **more: object) -> None:
        """Write it as JSON, for ``libferry.snapshot`` to read.

        Raises:
            ArgumentValueError: the file cannot be written.
        """
        value = {"format": FORMAT, "files": [asdict(file) for file in self], **more}
        try:
            Path(path).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise ArgumentValueError(
                f"write the snapshot {os.fspath(path)}",
                error.strerror or str(error),
                hint="give the path of a file that can be written",
            ) from None


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a snapshot file.

    Raises:
        ArgumentValueError: it is none.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else f"it is no JSON: {error}"
    else:
        if isinstance(value, dict) and value.get("format") == FORMAT:
            return value
        problem = f"it does not say that its format is {FORMAT!r}"
    raise ArgumentValueError(
        f"read the snapshot {os.fspath(path)}",
        problem or "it cannot be read",
        hint="lib.loaded.write(path) and libferry run --snapshot write one",
    )


def snapshot(path: str | os.PathLike[str]) -> Loaded:
    """Read what ``lib.loaded.write`` or ``libferry run --snapshot`` wrote, for ``expect=``.

    Raises:
        ArgumentValueError: the file is no snapshot.
    """
    try:
        return Loaded(LoadedFile(**file) for file in read_json(path)["files"])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, FerryError):
            raise
        raise ArgumentValueError(
            f"read the snapshot {os.fspath(path)}",
            f"its list of files is not sound: {error}",
            hint="lib.loaded.write(path) writes one",
        ) from None


def interposed(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """The names that each preload took over when a program's snapshot was written.

    Raises:
        ArgumentValueError: the file is no snapshot.
    """
    found = read_json(path).get("interposed", {})
    if isinstance(found, dict) and all(isinstance(names, list) for names in found.values()):
        return {preload: list(map(str, names)) for preload, names in found.items()}
    raise ArgumentValueError(
        f"read the snapshot {os.fspath(path)}",
        "its list of what preloads take over is not sound",
        hint="libferry run --snapshot writes one",
    )


@dataclass(frozen=True)
class Expected:
    """What may be loaded.

    Attributes:
        library: the digest that the library itself has, if only that was given.
        files: digests by path or by file name.
        system: whether what only root can change there needs no digest.
    """

    library: str | None
    files: Mapping[str, str]
    system: bool = False

    @staticmethod
    def of(expect: object) -> Expected:
        """What ``expect=`` means.

        Raises:
            ArgumentTypeError, ArgumentValueError: it means nothing.
        """
        if isinstance(expect, str):
            return Expected(_checked("the library", expect), {})
        if isinstance(expect, Loaded):
            files = {file.path: file.digest for file in expect if file.digest}
            return Expected(None, files)
        if isinstance(expect, Mapping):
            system = expect.get(SYSTEM, None)
            if system not in (None, "any"):
                _checked(SYSTEM, system, "'any'")
            return Expected(
                None,
                {
                    os.fspath(name): _checked(os.fspath(name), digest)
                    for name, digest in expect.items()
                    if name != SYSTEM
                },
                system == "any",
            )
        raise ArgumentTypeError(
            "load a library",
            f"expect is {expect!r:.80}",
            hint="give 'sha256:...', a mapping of file names to such, or ferry.snapshot(path)",
        )

    def digest_for(self, path: Path) -> str | None:
        """The digest that the library of that path must have; None: it is not named."""
        return self.library or self._digest(str(path)) or self._digest(os.path.realpath(path))

    def _digest(self, path: str) -> str | None:
        return self.files.get(path) or self.files.get(Path(path).name)

    def differences(self, loaded: Iterable[LoadedFile]) -> list[str]:
        """What of it was not expected, each with the reason."""
        return [f"{file.path}: {why}" for file in loaded if (why := self._difference(file))]

    def _difference(self, file: LoadedFile) -> str:
        if self.library:
            return ""
        wanted = self._digest(file.path)
        if wanted is None and self.system and is_systems(file.path):
            return ""
        if file.digest is None:
            return file.problem
        if wanted is None:
            return f"was not expected ({file.digest})"
        return "" if wanted == file.digest else f"is {file.digest} instead of {wanted}"


def _checked(name: str, digest: object, instead: str = "'sha256:' and 64 digits") -> str:
    if isinstance(digest, str) and _DIGEST.fullmatch(digest):
        return digest
    raise ArgumentValueError(
        "load a library",
        f"{digest!r:.80} is no digest of {name}",
        hint=f"give {instead}; sha256sum prints the digits",
    )


def is_systems(path: str) -> bool:
    """Whether a file lies in the system's folders, and only root can change it."""
    real = os.path.realpath(path)
    if not real.startswith(tuple(f"{folder}/" for folder in SYSTEM_FOLDERS)):
        return False
    try:
        status = os.stat(real)
    except OSError:
        return False
    return status.st_uid == 0 and not status.st_mode & 0o022
