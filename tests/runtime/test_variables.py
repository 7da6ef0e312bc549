"""Exported data, read and written by name, wherever the library lives.

What C sees is asked of C: functions of the library read the same variables.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import libferry as ferry
from libferry.build import compile_library

from .conftest import Compile
from .test_foreign_workers import FOREIGN

SOURCE = """
#ifdef _WIN32
#define API __declspec(dllexport)
#else
#define API
#endif
struct point { int x; double y; };
API int counter = 7;
API struct point origin = {1, 2.5};
API struct point corners[2] = {{1, 1.5}, {2, 2.5}};
API int table[4] = {1, 2, 3, 4};
API char name[8] = "name";
API const char *title = "title";
API int *here = &counter;
API int (*handler)(int);
API const int limit = 5;
API _Bool flag = 1;
API unsigned char byte = 200;
API long long big = 1LL << 40;
API float ratio = 0.25f;

API int get_counter(void) { return counter; }
API void count(void) { counter++; }
API double origin_y(void) { return origin.y; }
API int table_sum(void) { return table[0] + table[1] + table[2] + table[3]; }
API int *counters_address(void) { return &counter; }
API int is_here(void) { return here != 0; }
API int handle(int value) { return handler ? handler(value) : -1; }
"""

HEADER = """
struct point { int x; double y; };
extern int counter; extern struct point origin, corners[2]; extern int table[4];
extern char name[8]; extern const char *title; extern int *here;
extern int (*handler)(int); extern const int limit;
extern _Bool flag; extern unsigned char byte; extern long long big; extern float ratio;
int get_counter(void); void count(void); double origin_y(void); int table_sum(void);
int *counters_address(void); int is_here(void); int handle(int value);
"""

SIDES = [
    pytest.param("x86_64-sysv/in-process", id="in-process"),
    pytest.param("x86_64-sysv/worker", id="worker"),
    *(pytest.param(f"{p.values[0]}/worker", id=str(p.values[0]), marks=p.marks) for p in FOREIGN),
]


@pytest.fixture(params=SIDES)
def lib(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ferry.Library]:
    abi, _, isolation = request.param.partition("/")
    file = compile_library(SOURCE, abi, tmp_path, "variables")
    with ferry.load(file, header=HEADER, isolation=isolation) as library:
        yield library


def test_a_number_is_read_and_written(lib: ferry.Library) -> None:
    assert lib.counter == 7
    lib.counter = 41
    lib.count()
    assert (lib.counter, lib.get_counter()) == (42, 42)


def test_every_kind_of_number_is_read(lib: ferry.Library) -> None:
    assert (lib.flag, lib.byte, lib.big, lib.ratio, lib.limit) == (True, 200, 1 << 40, 0.25, 5)


def test_a_number_that_does_not_fit_changes_nothing(lib: ferry.Library) -> None:
    with pytest.raises(ferry.ArgumentValueError, match="does not fit in unsigned char"):
        lib.byte = 256
    assert lib.byte == 200


def test_a_structure_is_read_by_field_and_written_as_a_whole(lib: ferry.Library) -> None:
    assert (lib.origin.x, lib.origin.y) == (1, 2.5)
    lib.origin = {"x": 3, "y": 4.5}
    assert lib.variable("struct point origin").value.x == 3
    assert lib.origin_y() == 4.5


def test_arrays_are_read_by_element_and_written_as_a_whole(lib: ferry.Library) -> None:
    assert list(lib.table) == [1, 2, 3, 4]
    assert [(c.x, c.y) for c in lib.corners] == [(1, 1.5), (2, 2.5)]
    lib.table = [10, 20, 30, 40]
    assert lib.table_sum() == 100
    lib.name = b"other"
    assert bytes(lib.name) == b"other\0\0\0"


def test_one_element_is_written_through_the_pointer_to_the_first(lib: ferry.Library) -> None:
    first = lib.cast("int *", lib.variable("int table[4]"))
    first[3] = 40
    assert (first[3], lib.table_sum()) == (40, 46)


def test_a_pointer_leads_to_the_librarys_memory(lib: ferry.Library) -> None:
    assert lib.here.address == lib.counters_address().address
    assert lib.here.value == 7
    assert lib.title.string() == "title"
    lib.here = None
    assert (lib.here, lib.is_here()) == (None, 0)


def test_a_variable_may_lead_to_a_callback(lib: ferry.Library) -> None:
    assert (lib.handler, lib.handle(1)) == (None, -1)
    with lib.callback("int (*)(int)", lambda value: value + 1) as callback:
        lib.handler = callback
        assert lib.handle(41) == 42
        lib.handler = None


def test_it_has_the_address_that_c_gives_it(lib: ferry.Library) -> None:
    assert lib.variable("int counter").address == lib.counters_address().address


def test_a_variable_that_is_not_there_is_an_error(lib: ferry.Library) -> None:
    with pytest.raises(ferry.SymbolNotFound, match="find no_such in variables"):
        lib.variable("int no_such")


def test_writing_to_a_constant_ends_its_worker_with_an_error(lib: ferry.Library) -> None:
    if lib.isolation == "in-process":
        return  # the memory is this process's own
    address = lib.variable("int limit").address
    with pytest.raises(ferry.LibraryCrashed) as caught:
        lib.limit = 6
    assert caught.value.address == address


@pytest.mark.parametrize("isolation", ["in-process", "worker"])
def test_a_thread_local_variable_is_refused(compile_c: Compile, isolation: str) -> None:
    """Which thread's it would be is nobody's choice: calls come on any of the library's."""
    file = compile_c("__thread int mine = 3; int *address(void) { return &mine; }")
    with ferry.load(file, isolation=isolation, header="extern int mine;") as lib:  # type: ignore[arg-type]
        with pytest.raises(ferry.UnsupportedDeclaration, match="thread-local"):
            lib.variable("int mine")
        with pytest.raises(ferry.UnsupportedDeclaration, match="thread-local"):
            _ = lib.mine
        assert lib.function("int *address(void)")().value == 3
