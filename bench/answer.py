"""The half of the multiprocessing contender that its process runs.

It is a module of its own because a spawned process imports the module of its
target: with little here to import, little is charged to multiprocessing's start.
"""

from __future__ import annotations

import ctypes
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any


def ctypes_add(path: Path, loader: type[ctypes.CDLL] = ctypes.CDLL) -> Any:
    """Give `add` with its types declared, which spares ctypes the guessing."""
    function = loader(str(path)).add
    function.argtypes = [ctypes.c_int, ctypes.c_int]
    function.restype = ctypes.c_int
    return function


def answer(connection: Connection, path: Path) -> None:
    """Serve `add` over a connection until the other end closes it."""
    add = ctypes_add(path)
    try:
        while True:
            connection.send(add(*connection.recv()))
    except EOFError:
        pass
