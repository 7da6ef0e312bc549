"""SQLite, its header, and what most programs do with it: run SQL, read rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import libferry

from .places import needs

SQLITE = "/usr/lib/x86_64-linux-gnu/libsqlite3.so.0"
HEADER = Path("/usr/include/sqlite3.h")
NEEDED = [
    needs(SQLITE, "apt-get install libsqlite3-0"),
    needs(str(HEADER), "apt-get install libsqlite3-dev"),
    pytest.mark.needs("ziglang", install="pip install 'libferry[headers]'"),
]


def execute(lib: libferry.Library, db: Any, sql: str) -> None:
    status = lib.sqlite3_exec(db, sql, None, None, None)
    assert status == lib.SQLITE_OK, lib.sqlite3_errmsg(db)


def prepare(lib: libferry.Library, db: Any, sql: str) -> Any:
    statement = lib.out("sqlite3_stmt *")
    status = lib.sqlite3_prepare_v2(db, sql, -1, statement, None)
    assert status == lib.SQLITE_OK, lib.sqlite3_errmsg(db)
    return statement.value


def column(lib: libferry.Library, statement: Any, index: int) -> object:
    """Give a column as its own type says."""
    match lib.sqlite3_column_type(statement, index):
        case lib.SQLITE_INTEGER:
            return lib.sqlite3_column_int64(statement, index)
        case lib.SQLITE_FLOAT:
            return lib.sqlite3_column_double(statement, index)
        case lib.SQLITE_TEXT:
            text = lib.sqlite3_column_text(statement, index)
            return text.read(lib.sqlite3_column_bytes(statement, index)).decode()
        case lib.SQLITE_BLOB:
            blob = lib.sqlite3_column_blob(statement, index)
            return blob.read(lib.sqlite3_column_bytes(statement, index)) if blob else b""
    return None


def query(lib: libferry.Library, db: Any, sql: str) -> list[tuple[object, ...]]:
    statement, rows = prepare(lib, db, sql), []
    while lib.sqlite3_step(statement) == lib.SQLITE_ROW:
        count = lib.sqlite3_column_count(statement)
        rows.append(tuple(column(lib, statement, index) for index in range(count)))
    status = lib.sqlite3_finalize(statement)
    assert status == lib.SQLITE_OK, lib.sqlite3_errmsg(db)
    return rows
