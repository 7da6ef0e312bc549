"""SQLite in a worker: handles, text in both directions, and errors that it words itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import libferry

from .places import needs

SQLITE = "/usr/lib/x86_64-linux-gnu/libsqlite3.so.0"

# Callbacks cannot be declared yet. Where NULL may be passed for one, it is a void * here.
HEADER = """
    typedef struct sqlite3 sqlite3;
    typedef struct sqlite3_stmt sqlite3_stmt;
    const char *sqlite3_libversion(void);
    int sqlite3_libversion_number(void);
    int sqlite3_open(const char *filename, sqlite3 **ppDb);
    int sqlite3_close(sqlite3 *db);
    int sqlite3_exec(sqlite3 *db, const char *sql, void *callback, void *arg, char **errmsg);
    void sqlite3_free(void *p);
    const char *sqlite3_errmsg(sqlite3 *db);
    long long sqlite3_last_insert_rowid(sqlite3 *db);
    int sqlite3_prepare_v2(sqlite3 *db, const char *sql, int bytes, sqlite3_stmt **stmt,
                           const char **tail);
    int sqlite3_bind_text(sqlite3_stmt *stmt, int n, const char *text, int bytes,
                          void *destructor);
    int sqlite3_bind_double(sqlite3_stmt *stmt, int n, double value);
    int sqlite3_bind_int64(sqlite3_stmt *stmt, int n, long long value);
    int sqlite3_step(sqlite3_stmt *stmt);
    int sqlite3_reset(sqlite3_stmt *stmt);
    int sqlite3_column_count(sqlite3_stmt *stmt);
    const unsigned char *sqlite3_column_text(sqlite3_stmt *stmt, int column);
    int sqlite3_column_bytes(sqlite3_stmt *stmt, int column);
    double sqlite3_column_double(sqlite3_stmt *stmt, int column);
    long long sqlite3_column_int64(sqlite3_stmt *stmt, int column);
    int sqlite3_finalize(sqlite3_stmt *stmt);
"""
SQLITE_OK, SQLITE_ERROR, SQLITE_MISUSE, SQLITE_ROW, SQLITE_DONE = 0, 1, 21, 100, 101
COPY_IT = -1  # SQLITE_TRANSIENT, as the destructor: the text is SQLite's to copy, at once

pytestmark = needs(SQLITE, "apt-get install libsqlite3-0")


@pytest.fixture(scope="module")
def sqlite() -> Iterator[libferry.Library]:
    with libferry.load(SQLITE, header=HEADER, isolation="worker") as library:
        yield library


@pytest.fixture
def database(sqlite: libferry.Library) -> Iterator[object]:
    """Give an open database in memory, with an empty table of accounts."""
    handle = sqlite.out("sqlite3 *")
    assert sqlite.sqlite3_open(":memory:", handle) == SQLITE_OK
    create = "CREATE TABLE account (owner TEXT, balance REAL, number INTEGER)"
    assert sqlite.sqlite3_exec(handle.value, create, None, None, None) == SQLITE_OK
    yield handle.value
    assert sqlite.sqlite3_close(handle.value) == SQLITE_OK


def prepare(sqlite: libferry.Library, database: object, sql: str) -> object:
    statement = sqlite.out("sqlite3_stmt *")
    assert sqlite.sqlite3_prepare_v2(database, sql, -1, statement, None) == SQLITE_OK
    return statement.value


def test_it_says_its_version_twice(sqlite: libferry.Library) -> None:
    major, minor, patch = map(int, sqlite.sqlite3_libversion().split("."))
    number = sqlite.sqlite3_libversion_number()
    assert number == major * 1_000_000 + minor * 1_000 + patch


def test_rows_come_back_as_they_were_bound(sqlite: libferry.Library, database: object) -> None:
    rows = [
        ("Ada Lovelace", 0.1, 2**63 - 1),
        ("王小云", -1e300, -(2**63)),
        ("", 5e-324, 0),
    ]
    copy_it = sqlite.cast("void *", COPY_IT % 2**64)
    insert = prepare(sqlite, database, "INSERT INTO account VALUES (?, ?, ?)")
    for rowid, (owner, balance, number) in enumerate(rows, 1):
        assert sqlite.sqlite3_bind_text(insert, 1, owner, -1, copy_it) == SQLITE_OK
        assert sqlite.sqlite3_bind_double(insert, 2, balance) == SQLITE_OK
        assert sqlite.sqlite3_bind_int64(insert, 3, number) == SQLITE_OK
        assert sqlite.sqlite3_step(insert) == SQLITE_DONE
        assert sqlite.sqlite3_reset(insert) == SQLITE_OK
        assert sqlite.sqlite3_last_insert_rowid(database) == rowid
    assert sqlite.sqlite3_finalize(insert) == SQLITE_OK

    select = prepare(sqlite, database, "SELECT * FROM account ORDER BY rowid")
    assert sqlite.sqlite3_column_count(select) == 3
    found = []
    while sqlite.sqlite3_step(select) == SQLITE_ROW:
        owner = sqlite.sqlite3_column_text(select, 0)  # unsigned char *, so not a string
        assert sqlite.sqlite3_column_bytes(select, 0) == len(owner.cast("char *").string().encode())
        balance = sqlite.sqlite3_column_double(select, 1)
        number = sqlite.sqlite3_column_int64(select, 2)
        found.append((owner.cast("char *").string(), balance, number))
    assert sqlite.sqlite3_finalize(select) == SQLITE_OK
    assert found == rows


def test_a_null_column_has_no_text(sqlite: libferry.Library, database: object) -> None:
    select = prepare(sqlite, database, "SELECT NULL")
    assert sqlite.sqlite3_step(select) == SQLITE_ROW
    assert sqlite.sqlite3_column_text(select, 0) is None
    assert sqlite.sqlite3_finalize(select) == SQLITE_OK


def test_a_bad_statement_is_explained(sqlite: libferry.Library, database: object) -> None:
    statement = sqlite.out("sqlite3_stmt *")
    sql = "SELECT * FROM acount"
    assert sqlite.sqlite3_prepare_v2(database, sql, -1, statement, None) == SQLITE_ERROR
    assert statement.value is None
    assert sqlite.sqlite3_errmsg(database) == "no such table: acount"


def test_an_error_message_is_stored_and_given_back(
    sqlite: libferry.Library, database: object
) -> None:
    message = sqlite.out("char *")
    status = sqlite.sqlite3_exec(database, "DELETE account", None, None, message)
    assert status == SQLITE_ERROR
    assert isinstance(message.value, libferry.Pointer)
    assert message.value.string() == 'near "account": syntax error'
    sqlite.sqlite3_free(message.value)


def test_a_database_that_cannot_be_opened(sqlite: libferry.Library) -> None:
    handle = sqlite.out("sqlite3 *")
    assert sqlite.sqlite3_open("/nowhere/at/all.db", handle) != SQLITE_OK
    assert sqlite.sqlite3_errmsg(handle.value) == "unable to open database file"
    assert sqlite.sqlite3_close(handle.value) == SQLITE_OK
