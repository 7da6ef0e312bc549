"""Zip files, which wheels are, too."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from lzma import LZMAError
from pathlib import Path
from typing import IO

from libferry.audit.inputs.limits import Budget
from libferry.audit.inputs.streams import CHUNK
from libferry.audit.inputs.unpacking import Unpacking
from libferry.errors import BadArchive

MAGICS = (b"PK\x03\x04", b"PK\x05\x06")


def unpack(path: Path, unpacking: Unpacking) -> None:
    """Unpack it all.

    Raises:
        BadArchive: it is damaged or hostile.
    """
    budget = unpacking.budget
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.is_dir():
                    unpacking.folder(info.filename)
                else:
                    with archive.open(info) as file:
                        unpacking.file(info.filename, _counted(file, budget))
    except BadArchive:
        raise
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, zlib.error, LZMAError) as error:
        raise budget.bad(f"it is a damaged zip file: {error}") from None
    except (NotImplementedError, RuntimeError) as error:  # a method of its own; a password
        raise budget.bad(
            f"it cannot be unpacked: {error}", hint="unpack it and check the folder"
        ) from None


def _counted(file: IO[bytes], budget: Budget) -> Iterator[bytes]:
    """The contents, a little first: most files are known by their first bytes."""
    size = 1 << 12
    while part := file.read(size):
        budget.spend(len(part))
        yield part
        size = CHUNK
