"""Pointers with a meaning: the header says what they are for, the call looks like Python."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import libferry as ferry

from .sides import SIDES, Side, compiled, opened

SOURCE = """
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
EXPORT int mean(const double *v, size_t n, double *out)
{
    if (n == 0) return -2;
    *out = 0;
    for (size_t i = 0; i < n; i++) *out += v[i] / (double)n;
    return 0;
}
EXPORT const char *error_text(int code) { return code == -2 ? "nothing to average" : "?"; }
static const char *last;
EXPORT int last_error(char *buf, int len)
{
    int needed = (int)strlen(last);
    if (len <= needed) return -1;
    strcpy(buf, last);
    return needed;
}
EXPORT int half(int n) { last = "it is odd: é"; return n % 2 ? -4 : n / 2; }
EXPORT void squares(int n, int *out) { for (int i = 0; i < n; i++) out[i] = i * i; }
EXPORT int describe(int value, char *text, size_t size)
{
    strncpy(text, value ? "something" : "nothing", size);
    return (int)strlen(text);
}
EXPORT int fetch(unsigned char *data, size_t *size)
{
    size_t i, have = 5;
    for (i = 0; i < have && i < *size; i++) data[i] = (unsigned char)('a' + i);
    *size = i;
    return 0;
}
EXPORT void step(int *counter) { *counter += 10; }
EXPORT void reverse(int *v, int n)
{
    for (int i = 0; i < n / 2; i++) { int t = v[i]; v[i] = v[n - 1 - i]; v[n - 1 - i] = t; }
}
static int freed;
EXPORT char *greet(const char *name)
{
    char *text = malloc(strlen(name) + 7);
    strcpy(text, "hello ");
    strcat(text, name);
    return text;
}
EXPORT void release(void *memory) { freed++; free(memory); }
EXPORT int how_many_freed(void) { return freed; }
typedef struct { int id; double weight; } thing;
EXPORT thing *thing_new(int id)
{
    thing *t = id < 0 ? 0 : malloc(sizeof *t);
    if (t) t->id = id;
    return t;
}
EXPORT int thing_id(const thing *t) { return t->id; }
EXPORT int thing_open(int id, thing **out) { *out = thing_new(id); return *out ? 0 : -5; }
EXPORT int limits(thing *low, thing *high) { low->id = 1; high->id = 9; return 0; }
EXPORT int negative_row(int v) { return v < 0 ? -2 : v * 2; }
"""

HEADER = """
#include "ferry.h"
typedef struct { int id; double weight; } thing;
FERRY_STRING const char *error_text(int code);
FERRY_ERROR(!= 0, error_text)
int mean(FERRY_IN(n) const double *v, size_t n, FERRY_OUT double *out);
int last_error(FERRY_OUT(len) char *buf, int len);
FERRY_ERROR(< 0, last_error) int half(int n);
void squares(int n, FERRY_OUT(n) int *out);
int describe(int value, FERRY_OUT(size) FERRY_STRING char *text, size_t size);
FERRY_ERROR(!= 0) int fetch(FERRY_OUT(*size) unsigned char *data, FERRY_INOUT size_t *size);
void step(FERRY_INOUT int *counter);
void reverse(FERRY_INOUT(n) int *v, int n);
void release(void *memory);
FERRY_OWNED(release) FERRY_STRING char *greet(FERRY_STRING const char *name);
int how_many_freed(void);
FERRY_OWNED(release) FERRY_ERROR(== NULL) thing *thing_new(int id);
int thing_id(const thing *t);
FERRY_ERROR(< 0) int thing_open(int id, FERRY_OUT FERRY_OWNED(release) thing **out);
FERRY_ERROR(!= 0) int limits(FERRY_OUT thing *low, FERRY_OUT thing *high);
FERRY_ERROR(< 0, error_text) int negative_row(int v);
"""


@pytest.fixture(params=SIDES)
def lib(request: pytest.FixtureRequest) -> Iterator[ferry.Library]:
    with opened(request.param, SOURCE, HEADER) as library:
        yield library


THERE: Side = ("x86_64-sysv", "worker")


def test_a_sequence_brings_its_length_and_what_is_written_is_returned(lib: ferry.Library) -> None:
    assert lib.mean([1.0, 2.0, 6.0]) == 3.0
    assert lib.mean(np.array([1.5, 2.5])) == 2.0


def test_a_failure_is_an_error_with_the_librarys_own_words(lib: ferry.Library) -> None:
    with pytest.raises(ferry.CallFailed, match="nothing to average") as caught:
        lib.mean([])
    assert caught.value.result == -2
    assert caught.value.message == "nothing to average"


def test_a_message_may_be_written_to_room_that_is_made_for_it(lib: ferry.Library) -> None:
    assert lib.half(6) == 3
    with pytest.raises(ferry.CallFailed, match="it is odd: é") as caught:
        lib.half(7)
    assert (caught.value.result, caught.value.message) == (-4, "it is odd: é")


def test_an_array_that_is_written_is_returned(lib: ferry.Library) -> None:
    assert list(lib.squares(5)) == [0, 1, 4, 9, 16]


def test_text_that_is_written_is_returned_as_text(lib: ferry.Library) -> None:
    assert lib.describe(1, 20) == (9, "something")


def test_bytes_end_where_the_function_says(lib: ferry.Library) -> None:
    assert lib.fetch(100) == b"abcde"
    assert lib.fetch(3) == b"abc"


def test_what_is_read_and_written_is_passed_and_returned(lib: ferry.Library) -> None:
    assert lib.step(5) == 15


def test_a_buffer_changes_in_place(lib: ferry.Library) -> None:
    values = np.arange(5, dtype="i4")
    lib.reverse(values)
    assert values.tolist() == [4, 3, 2, 1, 0]


def test_owned_text_is_freed_once_it_is_read(lib: ferry.Library) -> None:
    assert lib.greet("world") == "hello world"
    assert lib.how_many_freed() == 1


def test_owned_memory_is_freed_with_its_object(lib: ferry.Library) -> None:
    thing = lib.thing_new(7)
    assert lib.thing_id(thing) == 7
    assert lib.how_many_freed() == 0
    del thing
    gc.collect()
    assert lib.how_many_freed() == 1


def test_owned_memory_can_be_freed_early(lib: ferry.Library) -> None:
    thing = lib.thing_new(7)
    thing.free()
    thing.free()
    assert lib.how_many_freed() == 1


def test_null_is_an_error_where_the_header_says_so(lib: ferry.Library) -> None:
    with pytest.raises(ferry.CallFailed, match="NULL"):
        lib.thing_new(-1)


def test_a_pointer_that_is_stored_is_returned_and_owned(lib: ferry.Library) -> None:
    result, thing = lib.thing_open(3)
    assert result == 0
    assert lib.thing_id(thing) == 3
    del thing
    gc.collect()
    assert lib.how_many_freed() == 1
    with pytest.raises(ferry.CallFailed, match="-5"):
        lib.thing_open(-1)


def test_structures_that_are_written_are_returned(lib: ferry.Library) -> None:
    low, high = lib.limits()
    assert (low.id, high.id) == (1, 9)


def test_failed_rows_of_a_map_are_collected(lib: ferry.Library) -> None:
    with pytest.raises(ferry.RowErrors) as caught:
        lib.negative_row.map(np.array([1, -1, 2, -7], dtype="i4"))
    assert sorted(caught.value.errors) == [1, 3]
    assert "nothing to average" in str(caught.value.errors[1])
    assert list(caught.value.results) == [2, -2, 4, -2]  # type: ignore[call-overload]


def test_a_wrong_number_of_arguments_says_which_are_wanted() -> None:
    with (
        opened(THERE, SOURCE, HEADER) as lib,
        pytest.raises(ferry.ArgumentTypeError, match="3 arguments given, 1 expected") as caught,
    ):
        lib.mean([1.0], 1, 2)
    assert "called with (v)" in caught.value.hint


def test_what_is_no_sequence_is_refused_by_name() -> None:
    with (
        opened(THERE, SOURCE, HEADER) as lib,
        pytest.raises(ferry.ArgumentTypeError, match=r"argument 1 \(v\)"),
    ):
        lib.mean(5)


def test_a_contract_beside_the_header_says_the_same(tmp_path: Path) -> None:
    contract = tmp_path / "mean.toml"
    contract.write_text(
        """
        [library]
        declarations = '''
            const char *error_text(int code);
            int mean(const double *v, size_t n, double *out);
        '''
        thread-safe = false

        [functions.mean]
        error = "!= 0, error_text"
        parameters.v = { direction = "in", length = "n" }
        parameters.out = { direction = "out" }
        """
    )
    abi, isolation = THERE
    with ferry.load(compiled(SOURCE, abi), contract=contract, isolation=isolation) as lib:
        assert lib.mean([1.0, 2.0]) == 1.5
        with pytest.raises(ferry.CallFailed, match="nothing to average"):
            lib.mean([])


def test_a_count_below_zero_that_c_wrote_is_nothing() -> None:
    """Such as the -1 of a failure that nobody declared; it does not count from the end."""
    source = "EXPORT void none(unsigned char *data, int *size) { data[0] = 1; *size = -1; }"
    header = "void none(FERRY_OUT(*size) unsigned char *data, FERRY_INOUT int *size);"
    with opened(("x86_64-sysv", "worker"), source, header) as lib:
        assert lib.none(8) == b""
