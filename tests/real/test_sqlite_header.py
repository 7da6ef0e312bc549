"""SQLite with its own header: SQL that calls Python, and Python that is told what happens.

Each callback is called by SQLite in the middle of a call, and most call SQLite again.
Python's own sqlite3 module, on the same SQLite, says what the answers should be.
"""

from __future__ import annotations

import sqlite3
import statistics
from collections.abc import Iterator
from typing import Any

import pytest

import libferry

from .sqlites import HEADER, NEEDED, SQLITE, column, execute, prepare, query

pytestmark = NEEDED


@pytest.fixture(scope="module", params=["in-process", "worker"])
def lib(request: pytest.FixtureRequest) -> Iterator[libferry.Library]:
    with libferry.load(SQLITE, header=HEADER, isolation=request.param) as library:
        yield library


@pytest.fixture
def db(lib: libferry.Library) -> Iterator[Any]:
    """Give an open database in memory with a table of towns."""
    handle = lib.out("sqlite3 *")
    assert lib.sqlite3_open(":memory:", handle) == lib.SQLITE_OK
    execute(lib, handle.value, "CREATE TABLE town (name TEXT, people INTEGER, height REAL)")
    execute(lib, handle.value, f"INSERT INTO town VALUES {', '.join(map(str, TOWNS))}")
    yield handle.value
    assert lib.sqlite3_close(handle.value) == lib.SQLITE_OK


TOWNS = [("Ulm", 126000, 478.0), ("Jena", 111000, 143.5), ("Trier", 110000, 137.0)]


def test_header_and_library_are_of_one_version(lib: libferry.Library) -> None:
    assert lib.sqlite3_libversion() == lib.SQLITE_VERSION == sqlite3.sqlite_version
    assert lib.sqlite3_version.string() == lib.SQLITE_VERSION  # const char sqlite3_version[]
    assert lib.sqlite3_libversion_number() == lib.SQLITE_VERSION_NUMBER
    assert lib.sqlite3_sourceid()[:60] == lib.SQLITE_SOURCE_ID[:60]


# ---- sqlite3_exec ----


def test_exec_tells_python_each_row(lib: libferry.Library, db: Any) -> None:
    rows = []

    def tell(_: object, count: int, values: Any, names: Any) -> int:
        texts = (values[i] and values[i].string() for i in range(count))
        rows.append(dict(zip((names[i].string() for i in range(count)), texts, strict=True)))
        return 0

    sql = "SELECT name, people / 1000 AS thousands, NULL AS nil FROM town ORDER BY name"
    assert lib.sqlite3_exec(db, sql, tell, None, None) == lib.SQLITE_OK
    assert rows == [
        {"name": "Jena", "thousands": "111", "nil": None},
        {"name": "Trier", "thousands": "110", "nil": None},
        {"name": "Ulm", "thousands": "126", "nil": None},
    ]


def test_exec_stops_when_python_says_so(lib: libferry.Library, db: Any) -> None:
    seen, message = [], lib.out("char *")

    def stop(*row: object) -> int:
        seen.append(row)
        return 1

    assert lib.sqlite3_exec(db, "SELECT * FROM town", stop, None, message) == lib.SQLITE_ABORT
    assert len(seen) == 1
    assert message.value.string() == "query aborted"  # type: ignore[attr-defined]
    lib.sqlite3_free(message.value)


class Broken(Exception):
    pass


def test_an_exception_ends_the_query_and_no_more(lib: libferry.Library, db: Any) -> None:
    def fail(*row: object) -> int:
        raise Broken

    with lib.callback("sqlite3_callback", fail, error=1) as callback:
        with pytest.raises(Broken):
            lib.sqlite3_exec(db, "SELECT * FROM town", callback, None, None)
        assert lib.sqlite3_errcode(db) == lib.SQLITE_ABORT
    assert query(lib, db, "SELECT count(*) FROM town") == [(3,)]


def test_a_query_inside_a_query(lib: libferry.Library, db: Any) -> None:
    seen = []

    def tell(_: object, count: int, values: Any, names: Any) -> int:
        (name,) = (values[i].string() for i in range(count))
        seen.append(query(lib, db, f"SELECT height FROM town WHERE name = '{name}'"))
        return 0

    assert lib.sqlite3_exec(db, "SELECT name FROM town", tell, None, None) == lib.SQLITE_OK
    assert seen == [[(height,)] for _, _, height in TOWNS]


# ---- binding ----


def test_every_type_is_bound_and_comes_back(lib: libferry.Library, db: Any) -> None:
    """The last argument is a destructor; SQLITE_TRANSIENT is one at the address -1."""
    statement = prepare(lib, db, "SELECT ?, ?, ?, ?, ?, ?, ?, :eight")
    copy = lib.SQLITE_TRANSIENT
    blob = bytes(range(256))
    for status in (
        lib.sqlite3_bind_int(statement, 1, -(2**31)),
        lib.sqlite3_bind_int64(statement, 2, 2**63 - 1),
        lib.sqlite3_bind_double(statement, 3, 0.1),
        lib.sqlite3_bind_text(statement, 4, "Grüße, 世界", -1, copy),
        lib.sqlite3_bind_text16(statement, 5, "Grüße".encode("utf-16-le"), 10, copy),
        lib.sqlite3_bind_blob(statement, 6, blob, len(blob), copy),
        lib.sqlite3_bind_zeroblob(statement, 7, 5),
        lib.sqlite3_bind_null(statement, 8),
    ):
        assert status == lib.SQLITE_OK
    assert lib.sqlite3_bind_parameter_count(statement) == 8
    assert lib.sqlite3_bind_parameter_index(statement, ":eight") == 8
    assert lib.sqlite3_bind_parameter_name(statement, 8) == ":eight"
    assert lib.sqlite3_step(statement) == lib.SQLITE_ROW
    row = [column(lib, statement, index) for index in range(8)]
    assert row == [-(2**31), 2**63 - 1, 0.1, "Grüße, 世界", "Grüße", blob, bytes(5), None]
    assert lib.sqlite3_finalize(statement) == lib.SQLITE_OK


def test_text_is_given_back_by_a_destructor_in_python(lib: libferry.Library, db: Any) -> None:
    statement, gone = prepare(lib, db, "SELECT upper(?)"), []
    text = lib.new("char[6]", "hello")

    def take_back(pointer: libferry.Pointer) -> None:
        gone.append(pointer.address)

    status = lib.sqlite3_bind_text(statement, 1, text, 5, take_back)
    assert status == lib.SQLITE_OK
    assert lib.sqlite3_step(statement) == lib.SQLITE_ROW
    assert column(lib, statement, 0) == "HELLO"
    assert gone == []
    assert lib.sqlite3_finalize(statement) == lib.SQLITE_OK
    assert gone == [text.address]


def test_binding_where_nothing_is_to_bind(lib: libferry.Library, db: Any) -> None:
    statement = prepare(lib, db, "SELECT ?")
    assert lib.sqlite3_bind_int(statement, 2, 1) == lib.SQLITE_RANGE
    assert lib.sqlite3_errmsg(db) == "column index out of range"
    assert lib.sqlite3_extended_errcode(db) == lib.SQLITE_RANGE
    assert lib.sqlite3_errstr(lib.SQLITE_RANGE) == "column index out of range"
    lib.sqlite3_finalize(statement)


def test_a_wrong_statement_is_explained_with_its_place(lib: libferry.Library, db: Any) -> None:
    statement = lib.out("sqlite3_stmt *")
    sql = "SELECT nmae FROM town"
    assert lib.sqlite3_prepare_v2(db, sql, -1, statement, None) == lib.SQLITE_ERROR
    assert lib.sqlite3_errmsg(db) == "no such column: nmae"
    assert lib.sqlite3_error_offset(db) == sql.index("nmae")


# ---- functions in Python ----


def register(lib: libferry.Library, db: Any, name: str, count: int, function: Any) -> None:
    status = lib.sqlite3_create_function(
        db, name, count, lib.SQLITE_UTF8 | lib.SQLITE_DETERMINISTIC, None, function, None, None
    )
    assert status == lib.SQLITE_OK


def test_sql_calls_python(lib: libferry.Library, db: Any) -> None:
    def mean(context: Any, count: int, values: Any) -> None:
        numbers = [lib.sqlite3_value_double(values[i]) for i in range(count)]
        lib.sqlite3_result_double(context, statistics.fmean(numbers))

    def shout(context: Any, count: int, values: Any) -> None:
        text = lib.sqlite3_value_text(values[0]).cast("char *").string()
        lib.sqlite3_result_text(context, f"{text}!", -1, lib.SQLITE_TRANSIENT)

    def nil(context: Any, count: int, values: Any) -> None:
        lib.sqlite3_result_null(context)

    register(lib, db, "mean", -1, mean)
    register(lib, db, "shout", 1, shout)
    register(lib, db, "nil", 0, nil)
    sql = "SELECT shout(name), mean(people, height, 1), nil() FROM town ORDER BY height DESC"
    assert query(lib, db, sql) == [
        (f"{name}!", statistics.fmean([people, height, 1]), None) for name, people, height in TOWNS
    ]


def test_each_type_of_value_is_told_and_given(lib: libferry.Library, db: Any) -> None:
    def same(context: Any, count: int, values: Any) -> None:
        lib.sqlite3_result_value(context, values[0])

    def kind(context: Any, count: int, values: Any) -> None:
        lib.sqlite3_result_int(context, lib.sqlite3_value_type(values[0]))

    def blob(context: Any, count: int, values: Any) -> None:
        data = lib.sqlite3_value_blob(values[0]).read(lib.sqlite3_value_bytes(values[0]))
        lib.sqlite3_result_blob(context, data[::-1], len(data), lib.SQLITE_TRANSIENT)

    for name, function in {"same": same, "kind": kind, "backwards": blob}.items():
        register(lib, db, name, 1, function)
    assert query(lib, db, "SELECT same(1), same(0.5), same('x'), same(NULL), same(x'00ff')") == [
        (1, 0.5, "x", None, b"\x00\xff")
    ]
    assert query(lib, db, "SELECT kind(1), kind(0.5), kind('x'), kind(x'00'), kind(NULL)") == [
        (1, 2, 3, 4, 5)
    ]
    assert query(lib, db, "SELECT backwards(x'010203')") == [(b"\x03\x02\x01",)]


def test_a_function_gives_an_error(lib: libferry.Library, db: Any) -> None:
    def fail(context: Any, count: int, values: Any) -> None:
        lib.sqlite3_result_error(context, "no such luck", -1)

    register(lib, db, "fail", 0, fail)
    message = lib.out("char *")
    status = lib.sqlite3_exec(db, "SELECT fail()", None, None, message)
    assert (status, message.value.string()) == (lib.SQLITE_ERROR, "no such luck")  # type: ignore[attr-defined]
    lib.sqlite3_free(message.value)


def test_a_function_raises(lib: libferry.Library, db: Any) -> None:
    def fail(context: Any, count: int, values: Any) -> None:
        raise Broken(lib.sqlite3_value_int(values[0]))

    register(lib, db, "fail", 1, fail)
    with pytest.raises(Broken, match="7"):
        lib.sqlite3_exec(db, "SELECT fail(7)", None, None, None)
    assert query(lib, db, "SELECT 1") == [(1,)]


def test_an_aggregate_keeps_its_state_in_sqlites_memory(lib: libferry.Library, db: Any) -> None:
    state = lib.function("void *sqlite3_aggregate_context(sqlite3_context *context, int size)")

    def step(context: Any, count: int, values: Any) -> None:
        here = state(context, 16).cast("double *")
        value = lib.sqlite3_value_double(values[0])
        here[0], here[1] = here[0] + value, here[1] + value * value

    def final(context: Any) -> None:
        here = state(context, 0).cast("double *")
        lib.sqlite3_result_double(context, here[1] - here[0])

    status = lib.sqlite3_create_function_v2(
        db, "odd_sum", 1, lib.SQLITE_UTF8, None, None, step, final, None
    )
    assert status == lib.SQLITE_OK
    heights = [height for _, _, height in TOWNS]
    expected = sum(h * h for h in heights) - sum(heights)
    assert query(lib, db, "SELECT odd_sum(height) FROM town") == [(expected,)]


def test_a_function_is_told_when_it_goes(lib: libferry.Library) -> None:
    handle, gone = lib.out("sqlite3 *"), []
    assert lib.sqlite3_open(":memory:", handle) == lib.SQLITE_OK
    data = lib.new("int", 77)

    def value(context: Any, count: int, values: Any) -> None:
        lib.sqlite3_result_int(context, lib.sqlite3_user_data(context).cast("int *").value)

    def take_back(pointer: libferry.Pointer) -> None:
        gone.append(pointer.cast("int *").value)

    status = lib.sqlite3_create_function_v2(
        handle.value, "value", 0, lib.SQLITE_UTF8, data, value, None, None, take_back
    )
    assert status == lib.SQLITE_OK
    assert query(lib, handle.value, "SELECT value() + value()") == [(154,)]
    assert gone == []
    assert lib.sqlite3_close(handle.value) == lib.SQLITE_OK
    assert gone == [77]


def test_python_sorts(lib: libferry.Library, db: Any) -> None:
    def by_last_letter(_: object, size_a: int, a: Any, size_b: int, b: Any) -> int:
        x, y = a.read(size_a)[::-1], b.read(size_b)[::-1]
        return int(x > y) - int(x < y)

    status = lib.sqlite3_create_collation(db, "backwards", lib.SQLITE_UTF8, None, by_last_letter)
    assert status == lib.SQLITE_OK
    sql = "SELECT name FROM town ORDER BY name COLLATE backwards"
    other = sqlite3.connect(":memory:")
    other.create_collation("backwards", lambda a, b: (a[::-1] > b[::-1]) - (a[::-1] < b[::-1]))
    rows = other.execute(
        "SELECT name FROM (SELECT 'Ulm' AS name UNION SELECT 'Jena' UNION SELECT 'Trier')"
        " ORDER BY name COLLATE backwards"
    ).fetchall()
    assert query(lib, db, sql) == rows == [("Jena",), ("Ulm",), ("Trier",)]


# ---- being told ----


def test_python_is_told_of_changes(lib: libferry.Library, db: Any) -> None:
    told: list[tuple[object, ...]] = []

    def tell(_: object, what: int, database: str, table: str, row: int) -> None:
        told.append((what, database, table, row))

    lib.sqlite3_update_hook(db, tell, None)
    execute(lib, db, "INSERT INTO town (rowid, name) VALUES (9000000000000000000, 'Aalen')")
    execute(lib, db, "UPDATE town SET people = 0 WHERE name = 'Ulm'")
    execute(lib, db, "DELETE FROM town WHERE people = 0")
    lib.sqlite3_update_hook(db, None, None)
    execute(lib, db, "DELETE FROM town WHERE name = 'Aalen'")
    assert told == [
        (lib.SQLITE_INSERT, "main", "town", 9000000000000000000),
        (lib.SQLITE_UPDATE, "main", "town", 1),
        (lib.SQLITE_DELETE, "main", "town", 1),
    ]


def test_python_allows_and_forbids(lib: libferry.Library, db: Any) -> None:
    asked = []

    def judge(_: object, action: int, *names: str | None) -> int:
        asked.append((action, *names))
        return int(lib.SQLITE_DENY if names[1] == "people" else lib.SQLITE_OK)

    assert lib.sqlite3_set_authorizer(db, judge, None) == lib.SQLITE_OK
    assert query(lib, db, "SELECT name FROM town")[0] == ("Ulm",)
    assert (lib.SQLITE_READ, "town", "name", "main", None) in asked
    statement = lib.out("sqlite3_stmt *")
    sql = "SELECT people FROM town"
    assert lib.sqlite3_prepare_v2(db, sql, -1, statement, None) == lib.SQLITE_AUTH
    assert lib.sqlite3_errmsg(db) == "access to town.people is prohibited"
    assert lib.sqlite3_set_authorizer(db, None, None) == lib.SQLITE_OK


def test_python_ends_a_query_that_takes_too_long(lib: libferry.Library, db: Any) -> None:
    calls = iter(range(5))
    lib.sqlite3_progress_handler(db, 1000, lambda _: int(next(calls) == 4), None)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    assert lib.sqlite3_exec(db, endless, None, None, None) == lib.SQLITE_INTERRUPT
    assert list(calls) == []
    lib.sqlite3_progress_handler(db, 0, None, None)


def test_python_is_shown_the_statements(lib: libferry.Library, db: Any) -> None:
    shown = []

    def show(what: int, _: object, statement: Any, sql: Any) -> int:
        assert what == lib.SQLITE_TRACE_STMT
        expanded = lib.sqlite3_expanded_sql(statement.cast("sqlite3_stmt *"))
        shown.append((sql.cast("char *").string(), expanded.string()))
        lib.sqlite3_free(expanded)
        return 0

    assert lib.sqlite3_trace_v2(db, lib.SQLITE_TRACE_STMT, show, None) == lib.SQLITE_OK
    statement = prepare(lib, db, "SELECT ? + 1")
    lib.sqlite3_bind_int(statement, 1, 41)
    assert lib.sqlite3_step(statement) == lib.SQLITE_ROW
    assert column(lib, statement, 0) == 42
    lib.sqlite3_finalize(statement)
    assert lib.sqlite3_trace_v2(db, 0, None, None) == lib.SQLITE_OK
    assert shown == [("SELECT ? + 1", "SELECT 41 + 1")]


# ---- the rest of C ----


def test_printf_of_its_own(lib: libferry.Library) -> None:
    long_long = lib.value("sqlite3_int64", -(2**40))
    text = lib.sqlite3_mprintf(
        "%d %lld %s %Q %q %.3f %c", -1, long_long, "a", "b'c", "d'e", 0.5, 88
    )
    assert text.string() == "-1 -1099511627776 a 'b''c' d''e 0.500 X"
    lib.sqlite3_free(text)
    room = lib.new("char[10]")
    assert lib.sqlite3_snprintf(10, room, "%s", "too long for it").string() == "too long "


def test_a_variadic_function_that_stores(lib: libferry.Library, db: Any) -> None:
    on = lib.new("int", -1)
    key = lib.SQLITE_DBCONFIG_ENABLE_FKEY
    assert lib.sqlite3_db_config(db, key, 1, on) == lib.SQLITE_OK
    assert on.value == 1
    assert lib.sqlite3_db_config(db, key, 0, on) == lib.SQLITE_OK
    assert on.value == 0
    assert query(lib, db, "PRAGMA foreign_keys") == [(0,)]


def test_functions_in_a_struct_of_sqlites(lib: libferry.Library) -> None:
    """The operating system's interface is a struct of functions, which others may replace."""
    vfs = lib.sqlite3_vfs_find(None)
    assert vfs.value.zName.string() == "unix"
    assert vfs.value.mxPathname == 512
    now = lib.new("sqlite3_int64")
    assert vfs.value.xCurrentTimeInt64(vfs, now) == lib.SQLITE_OK
    julian_days = now.value / 86_400_000
    assert 2_460_000 < julian_days < 2_500_000  # 2023 to 2132
    path = lib.new("char[600]")
    assert vfs.value.xFullPathname(vfs, "/nowhere/file.db", 600, path) == lib.SQLITE_OK
    assert path.string() == "/nowhere/file.db"


def test_a_blob_is_read_and_written_in_place(lib: libferry.Library, db: Any) -> None:
    execute(lib, db, "CREATE TABLE file (data BLOB)")
    execute(lib, db, "INSERT INTO file VALUES (zeroblob(1000))")
    blob = lib.out("sqlite3_blob *")
    assert lib.sqlite3_blob_open(db, "main", "file", "data", 1, 1, blob) == lib.SQLITE_OK
    assert lib.sqlite3_blob_bytes(blob.value) == 1000
    assert lib.sqlite3_blob_write(blob.value, b"middle", 6, 500) == lib.SQLITE_OK
    room = bytearray(10)
    assert lib.sqlite3_blob_read(blob.value, room, 10, 498) == lib.SQLITE_OK
    assert room == b"\0\0middle\0\0"
    assert lib.sqlite3_blob_read(blob.value, room, 10, 995) == lib.SQLITE_ERROR
    assert lib.sqlite3_blob_close(blob.value) == lib.SQLITE_OK


def test_a_database_is_read_by_pythons_sqlite(lib: libferry.Library, db: Any) -> None:
    size = lib.new("sqlite3_int64")
    image = lib.sqlite3_serialize(db, "main", size, 0)
    other = sqlite3.connect(":memory:")
    other.deserialize(image.read(size.value))
    lib.sqlite3_free(image)
    assert other.execute("SELECT * FROM town").fetchall() == TOWNS
