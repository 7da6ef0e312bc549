"""Records in a library's memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import libferry as ferry

from ..conftest import Compile, compile_c

SOURCE = r"""
#include <stdlib.h>
#include <string.h>

struct point { int x, y; };
struct node { int value; struct node *next; const char *name; };
struct table { int (*compare)(int, int); double weights[4]; struct point corners[2]; };

static struct point origin = { 3, 4 };
static struct node second = { 2, NULL, "second" }, first = { 1, &second, "first" };
int counter = 7;

struct point *get_origin(void) { return &origin; }
struct node *get_list(void) { return &first; }
int *get_counter(void) { return &counter; }
void nowhere(void) { }

int sum_list(const struct node *node)
{
    int sum = 0;
    for (; node; node = node->next) sum += node->value;
    return sum;
}
size_t name_length(const struct node *node) { return strlen(node->name); }
void move(struct point *point, int by) { point->x += by; point->y += by; }
int area(const struct point *corners) { return corners[1].x * corners[1].y; }
int call_compare(const struct table *table, int a, int b) { return table->compare(a, b); }
double weight(const struct table *table) { return table->weights[0] + table->weights[3]; }
int address_ends_in_zeros(const void *p, unsigned long alignment)
{
    return (unsigned long)p % alignment == 0;
}
size_t count_words(const char *const *words)
{
    size_t n = 0;
    while (words[n]) n++;
    return n;
}
int total(const int *values, int count)
{
    int sum = 0;
    while (count--) sum += *values++;
    return sum;
}
"""

HEADER = """
struct point { int x, y; };
struct node { int value; struct node *next; const char *name; };
struct table { int (*compare)(int, int); double weights[4]; struct point corners[2]; };
struct _Alignas64 { _Alignas(64) char c; };
struct _Alignas256 { _Alignas(256) char c; };
typedef float vector8 __attribute__((vector_size(32)));
struct message { int length; char data[]; };
struct point *get_origin(void); struct node *get_list(void); int *get_counter(void);
void *nowhere(void);
int sum_list(const struct node *node); size_t name_length(const struct node *node);
void move(struct point *point, int by); int area(const struct point *corners);
int call_compare(const struct table *table, int a, int b); double weight(const struct table *t);
int address_ends_in_zeros(const void *p, unsigned long alignment);
size_t count_words(const char *const *words);
int total(const int *values, int count);
"""

__all__ = ["compile_c"]


@pytest.fixture(scope="session")
def records_file(compile_c: Compile) -> Path:
    """The library above, for this machine."""
    return compile_c(SOURCE)


@pytest.fixture(params=["in-process", "worker"])
def lib(request: pytest.FixtureRequest, records_file: Path) -> Iterator[ferry.Library]:
    """The library, once in this process and once in a worker."""
    with ferry.load(records_file, header=HEADER, isolation=request.param) as library:
        yield library


@pytest.fixture
def worker(records_file: Path) -> Iterator[ferry.Library]:
    """The library in a worker."""
    with ferry.load(records_file, header=HEADER, isolation="worker") as library:
        yield library
