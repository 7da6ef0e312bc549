"""A table that SQLite sees and Python is: a struct of twelve callbacks.

SQLite calls them through an ``sqlite3_module`` and gives each the objects that Python made
for it before: a table and a cursor, whose first bytes are SQLite's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

import libferry

from .sqlites import HEADER, NEEDED, SQLITE, execute, query

pytestmark = NEEDED


@dataclass
class Cursor:
    """Where one scan of the table is."""

    memory: Any
    at: int = 0


@dataclass
class Table:
    """Rows of Python, as an eponymous table-valued function."""

    lib: libferry.Library
    rows: list[tuple[str, float]]
    vtab: Any = None
    cursors: dict[int, Cursor] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def connect(self, db: Any, _: object, argc: int, argv: Any, out: Any, error: Any) -> int:
        self.calls.append(f"connect {argv[0].string()}")
        self.vtab = out.value = self.lib.new("sqlite3_vtab")
        status = self.lib.sqlite3_declare_vtab(db, "CREATE TABLE x (name, size REAL)")
        assert isinstance(status, int)
        return status

    def disconnect(self, vtab: Any) -> int:
        assert vtab.address == self.vtab.address
        self.calls.append("disconnect")
        return 0

    def best_index(self, vtab: Any, info: Any) -> int:
        plan = info.value
        self.calls.append(f"best_index {plan.nConstraint}")
        plan.estimatedCost = float(len(self.rows))
        info.value = plan
        return 0

    def open(self, vtab: Any, out: Any) -> int:
        cursor = Cursor(self.lib.new("sqlite3_vtab_cursor"))
        self.cursors[cursor.memory.address] = cursor
        out.value = cursor.memory
        return 0

    def close(self, cursor: Any) -> int:
        del self.cursors[cursor.address]
        return 0

    def filter(self, cursor: Any, number: int, name: str | None, argc: int, argv: Any) -> int:
        assert cursor.value.pVtab.address == self.vtab.address  # SQLite has filled it in
        self.cursors[cursor.address].at = 0
        return 0

    def next(self, cursor: Any) -> int:
        self.cursors[cursor.address].at += 1
        return 0

    def eof(self, cursor: Any) -> int:
        return int(self.cursors[cursor.address].at >= len(self.rows))

    def column(self, cursor: Any, context: Any, index: int) -> int:
        name, size = self.rows[self.cursors[cursor.address].at]
        if index == 0:
            self.lib.sqlite3_result_text(context, name, -1, self.lib.SQLITE_TRANSIENT)
        else:
            self.lib.sqlite3_result_double(context, size)
        return 0

    def rowid(self, cursor: Any, out: Any) -> int:
        out.value = 1000 + self.cursors[cursor.address].at
        return 0

    def module(self) -> Any:
        return self.lib.new(
            "sqlite3_module",
            iVersion=1,
            xConnect=self.connect,
            xBestIndex=self.best_index,
            xDisconnect=self.disconnect,
            xOpen=self.open,
            xClose=self.close,
            xFilter=self.filter,
            xNext=self.next,
            xEof=self.eof,
            xColumn=self.column,
            xRowid=self.rowid,
        )


@pytest.fixture(scope="module", params=["in-process", "worker"])
def lib(request: pytest.FixtureRequest) -> Iterator[libferry.Library]:
    with libferry.load(SQLITE, header=HEADER, isolation=request.param) as library:
        yield library


ROWS = [("moon", 3474.8), ("earth", 12742.0), ("mars", 6779.0)]


def test_sql_reads_a_table_of_python(lib: libferry.Library) -> None:
    handle = lib.out("sqlite3 *")
    assert lib.sqlite3_open(":memory:", handle) == lib.SQLITE_OK
    db, table = handle.value, Table(lib, ROWS)
    module = table.module()
    assert lib.sqlite3_create_module(db, "sphere", module, None) == lib.SQLITE_OK

    assert query(lib, db, "SELECT rowid, name, size FROM sphere ORDER BY size") == [
        (1000, "moon", 3474.8),
        (1002, "mars", 6779.0),
        (1001, "earth", 12742.0),
    ]
    pairs = "SELECT a.name, b.name FROM sphere a, sphere b WHERE a.size > b.size * 3"
    assert query(lib, db, pairs) == [("earth", "moon")]
    execute(lib, db, "CREATE TABLE copy AS SELECT name FROM sphere WHERE name LIKE 'm%'")
    assert query(lib, db, "SELECT count(*) FROM copy") == [(2,)]
    assert table.cursors == {}
    assert lib.sqlite3_close(db) == lib.SQLITE_OK
    assert (table.calls[0], table.calls[-1]) == ("connect sphere", "disconnect")
