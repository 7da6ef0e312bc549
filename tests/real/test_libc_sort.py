"""qsort and bsearch of seven C libraries: the first callbacks that anybody writes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

import libferry

from .places import ARM_LIBC, I386, QEMU, WINE, WINE32
from .sides import ARM, LOONGARCH, RISCV

HEADER = """
    struct person { int age; char name[12]; double height; };
    typedef int (*comparison)(const void *a, const void *b);
    typedef int (*person_comparison)(const struct person *a, const struct person *b);
    void qsort(void *base, size_t count, size_t size, comparison compare);
    void *bsearch(const void *key, const void *base, size_t count, size_t size,
                  comparison compare);
"""

WINE_LIBRARIES = "/usr/lib/x86_64-linux-gnu/wine"
LIBRARIES: list[Any] = [
    pytest.param(("libc.so.6", "in-process"), id="in-process"),
    pytest.param(("libc.so.6", "worker"), id="worker"),
    pytest.param(("/lib32/libc.so.6", "worker"), id="i386", marks=I386),
    pytest.param(
        ("/usr/aarch64-linux-gnu/lib/libc.so.6", "worker"), id="arm64", marks=(QEMU, ARM_LIBC)
    ),
    pytest.param(("/usr/arm-linux-gnueabihf/lib/libc.so.6", "worker"), id="arm", marks=ARM),
    pytest.param(("/usr/riscv64-linux-gnu/lib/libc.so.6", "worker"), id="riscv64", marks=RISCV),
    pytest.param(
        ("/usr/loongarch64-linux-gnu/lib/libc.so.6", "worker"), id="loongarch64", marks=LOONGARCH
    ),
    pytest.param(
        (f"{WINE_LIBRARIES}/x86_64-windows/ucrtbase.dll", "worker"), id="windows", marks=WINE
    ),
    pytest.param(
        (f"{WINE_LIBRARIES}/i386-windows/ucrtbase.dll", "worker"),
        id="windows-i386",
        marks=(WINE, WINE32),
    ),
]


@pytest.fixture(scope="module", params=LIBRARIES)
def libc(request: pytest.FixtureRequest) -> Iterator[libferry.Library]:
    path, isolation = request.param
    with libferry.load(path, header=HEADER, isolation=isolation) as library:
        yield library


def compare_ints(a: Any, b: Any) -> int:
    x, y = a.cast("const int *").value, b.cast("const int *").value
    return int(x > y) - int(x < y)


def shuffled(count: int) -> list[int]:
    numbers = [17 * i - 1000 for i in range(count)]
    random.Random(count).shuffle(numbers)
    return numbers


def test_numbers_are_sorted(libc: libferry.Library) -> None:
    numbers = libc.new("int[60]", shuffled(60))
    libc.qsort(numbers, 60, 4, compare_ints)
    assert numbers == sorted(shuffled(60))


def test_numbers_are_found(libc: libferry.Library) -> None:
    numbers = libc.new("int[50]", sorted(shuffled(50)))
    for index in (0, 1, 25, 49):
        key = libc.new("int", numbers[index])
        found = libc.bsearch(key, numbers, 50, 4, compare_ints)
        assert found.address == numbers.address + 4 * index
        assert found.cast("int *").value == numbers[index]
    assert libc.bsearch(libc.new("int", 1), numbers, 50, 4, compare_ints) is None


PEOPLE = [(41, "Ada", 1.65), (36, "Grace", 1.68), (85, "Ida", 1.6), (36, "Emmy", 1.7)]


def test_structs_are_sorted_by_two_keys(libc: libferry.Library) -> None:
    people = libc.new("struct person[4]", PEOPLE)
    size = len(bytes(people)) // 4

    def compare(a: Any, b: Any) -> int:
        one, two = (p.cast("const struct person *").value for p in (a, b))
        x, y = (one.age, one.name.string()), (two.age, two.name.string())
        return int(x > y) - int(x < y)

    libc.qsort(people, 4, size, compare)
    found = [(p.age, p.name.string(), p.height) for p in people]
    assert found == [PEOPLE[3], PEOPLE[1], PEOPLE[0], PEOPLE[2]]


def test_a_declaration_may_name_the_structs(libc: libferry.Library) -> None:
    """A function can be declared with the types that it is called with."""
    sort = libc.function(
        "void sort_people(struct person *base, size_t count, size_t size, person_comparison f)",
        symbol="qsort",
    )
    people = libc.new("struct person[4]", PEOPLE)
    size = len(bytes(people)) // 4
    sort(people, 4, size, lambda a, b: round(100 * (b.value.height - a.value.height)))
    assert [p.height for p in people] == [1.7, 1.68, 1.65, 1.6]


class Broken(Exception):
    pass


def test_an_exception_while_sorting(libc: libferry.Library) -> None:
    calls = []

    def compare(a: Any, b: Any) -> int:
        calls.append(1)
        if len(calls) == 10:
            raise Broken
        return compare_ints(a, b)

    numbers = libc.new("int[50]", shuffled(50))
    with pytest.raises(Broken):
        libc.qsort(numbers, 50, 4, compare)
    assert sorted(numbers) == sorted(shuffled(50))  # no number is lost
    libc.qsort(numbers, 50, 4, compare_ints)
    assert numbers == sorted(shuffled(50))


def test_sorting_while_sorting(libc: libferry.Library) -> None:
    inner = []

    def compare(a: Any, b: Any) -> int:
        pair = libc.new("int[2]", [a.cast("int *").value, b.cast("int *").value])
        libc.qsort(pair, 2, 4, compare_ints)
        inner.append(list(pair))
        return compare_ints(a, b)

    numbers = libc.new("int[20]", shuffled(20))
    libc.qsort(numbers, 20, 4, compare)
    assert numbers == sorted(shuffled(20))
    assert all(low <= high for low, high in inner)
