"""Python callables as C functions, wherever the C is."""

from __future__ import annotations

import gc
import sys
import threading
import traceback
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import libferry as ferry

from .sides import SIDES, Side, opened

SOURCE = """
EXPORT int apply(int (*f)(int), int x) { return f(x); }
EXPORT int twice(int (*f)(int), int x) { return f(f(x)); }
EXPORT double mixed(double (*f)(char, float, long long, double, const char *, void *, short),
                    void *data)
{
    return f('x', 0.5f, -1234567890123ll, 2.25, "text", data, -7);
}
EXPORT long long many(long long (*f)(int, long long, int, int, int, int, int, int, long long, int))
{
    return f(1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
}
typedef struct { int x, y; } point;
typedef struct { double v[4]; char tag; } large;
EXPORT point swap(point (*f)(point), int x, int y) { point p = {x, y}; return f(p); }
EXPORT large grow(large (*f)(large, int), double first)
{
    large l = {{first, first + 1, first + 2, first + 3}, 'a'};
    return f(l, 10);
}
EXPORT unsigned char narrow(unsigned char (*f)(signed char)) { return f(-3); }
EXPORT float single(float (*f)(float)) { return f(1.5f) + 1; }
typedef struct node { int value; const struct node *next; } node;
EXPORT int walk(int (*visit)(const node *)) { node b = {2, 0}, a = {1, &b}; return visit(&a); }
static int (*kept)(int);
EXPORT void keep(int (*f)(int)) { kept = f; }
EXPORT int call_kept(int x) { return kept(x); }
EXPORT int is_null(int (*f)(int)) { return f == 0; }
static int seven(int x) { return x + 7; }
EXPORT int (*seventh(void))(int) { return seven; }
static int depth_seen;
EXPORT int down(int (*f)(int), int n) { return n == 0 ? 0 : 1 + f(n - 1); }
EXPORT void sort(int *v, int n, int (*compare)(const int *, const int *))
{
    for (int i = 1; i < n; i++)
        for (int j = i; j > 0 && compare(&v[j], &v[j - 1]) < 0; j--) {
            int t = v[j]; v[j] = v[j - 1]; v[j - 1] = t;
        }
}
"""
HEADER = """
int apply(int (*f)(int), int x);
int twice(int (*f)(int), int x);
double mixed(double (*f)(char, float, long long, double, const char *, void *, short), void *);
long long many(long long (*f)(int, long long, int, int, int, int, int, int, long long, int));
typedef struct { int x, y; } point;
typedef struct { double v[4]; char tag; } large;
point swap(point (*f)(point), int x, int y);
large grow(large (*f)(large, int), double first);
unsigned char narrow(unsigned char (*f)(signed char));
float single(float (*f)(float));
typedef struct node { int value; const struct node *next; } node;
int walk(int (*visit)(const node *));
void keep(int (*f)(int));
int call_kept(int x);
int is_null(int (*f)(int));
int (*seventh(void))(int);
int down(int (*f)(int), int n);
void sort(int *v, int n, int (*compare)(const int *, const int *));
"""


@pytest.fixture(params=SIDES)
def lib(request: pytest.FixtureRequest) -> Iterator[ferry.Library]:
    with opened(request.param, SOURCE, HEADER) as library:
        yield library


HERE: Side = ("x86_64-sysv", "in-process")
THERE: Side = ("x86_64-sysv", "worker")


@pytest.fixture(params=[HERE, THERE], ids=["in-process", "worker"])
def native(request: pytest.FixtureRequest) -> Iterator[ferry.Library]:
    with opened(request.param, SOURCE, HEADER) as library:
        yield library


def test_c_calls_a_python_function(lib: ferry.Library) -> None:
    assert lib.apply(lambda x: x * 3, 14) == 42
    assert lib.twice(lambda x: x * 3, 2) == 18


def test_every_kind_of_argument_arrives(lib: ferry.Library) -> None:
    got: list[object] = []

    def take(*arguments: object) -> float:
        got.extend(arguments)
        return -0.125

    data = lib.buffer(4)
    assert lib.mixed(take, data) == -0.125
    pointer = got.pop(5)
    assert isinstance(pointer, ferry.Pointer)
    assert pointer.address == data.address
    assert got == [ord("x"), 0.5, -1234567890123, 2.25, "text", -7]


def test_arguments_on_the_stack_arrive_in_order(lib: ferry.Library) -> None:
    def take(*digits: int) -> int:
        return int("".join(map(str, digits)))

    assert lib.many(take) == 12345678910


def test_structures_go_both_ways(lib: ferry.Library) -> None:
    swapped = lib.swap(lambda p: {"x": p.y, "y": p.x}, 3, -4)
    assert (swapped.x, swapped.y) == (-4, 3)


def test_structures_in_memory_go_both_ways(lib: ferry.Library) -> None:
    grown = lib.grow(lambda one, by: ([v * by for v in one.v], ord("z")), 1.5)
    assert list(grown.v) == [15.0, 25.0, 35.0, 45.0]
    assert grown.tag == ord("z")


def test_narrow_and_floating_results_are_what_c_expects(lib: ferry.Library) -> None:
    assert lib.narrow(lambda v: 200 + v) == 197
    assert lib.single(lambda v: v * 2) == 4.0


def test_a_callback_reads_what_its_pointers_lead_to(lib: ferry.Library) -> None:
    def visit(node: Any) -> int:
        first = node.value
        return int(first.value * 10 + first.next.value.value)

    assert lib.walk(visit) == 12


def test_c_sorts_by_a_python_comparison(lib: ferry.Library) -> None:
    values = lib.new("int[6]", [5, 3, 9, -1, 4, 3])
    lib.sort(values, 6, lambda a, b: a.value - b.value)
    assert list(values) == [-1, 3, 3, 4, 5, 9]


def test_calls_and_callbacks_nest_32_deep_each(lib: ferry.Library) -> None:
    def step(n: int) -> int:
        return int(lib.down(step, n))

    assert lib.down(step, 31) == 31


def test_beyond_that_a_worker_says_so_and_goes_on() -> None:
    with opened(THERE, SOURCE, HEADER) as lib:

        def step(n: int) -> int:
            return int(lib.down(step, n))

        with pytest.raises(ferry.NestedTooDeep, match="32 deep"):
            lib.down(step, 40)
        assert lib.down(step, 20) == 20


def test_an_exception_is_raised_from_the_outer_call(lib: ferry.Library) -> None:
    def fail(x: int) -> int:
        raise KeyError(x)

    with pytest.raises(KeyError) as caught:
        lib.apply(fail, 5)
    assert caught.value.args == (5,)
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[-1].name == "fail"
    assert lib.apply(lambda x: x, 5) == 5


def test_c_gets_the_declared_error_value(lib: ferry.Library) -> None:
    seen: list[int] = []

    def first_fails(x: int) -> int:
        seen.append(x)
        if len(seen) == 1:
            raise ValueError("no")
        return x

    callback = lib.callback("int (*)(int)", first_fails, error=-99)
    with pytest.raises(ValueError, match="no"):
        lib.twice(callback, 1)
    assert seen == [1, -99]  # the second call was given what the first "returned"


def test_a_wrong_result_is_an_error_of_the_outer_call(lib: ferry.Library) -> None:
    with pytest.raises(ferry.ArgumentTypeError, match="return from"):
        lib.apply(lambda x: "text", 1)
    with pytest.raises(ferry.ArgumentValueError, match="does not fit"):
        lib.apply(lambda x: 1 << 40, 1)


def test_an_error_value_that_does_not_fit_is_refused_when_it_is_declared(
    native: ferry.Library,
) -> None:
    with pytest.raises(ferry.ArgumentValueError):
        native.callback("unsigned char (*)(signed char)", lambda x: 0, error=-1)


def test_what_c_keeps_lives_until_it_is_released(lib: ferry.Library) -> None:
    lib.keep(lambda x: x + 1)
    gc.collect()
    assert lib.call_kept(41) == 42


def test_a_callback_can_be_released(native: ferry.Library) -> None:
    def function(x: int) -> int:
        return x

    alive = weakref.ref(function)
    with native.callback("int (*)(int)", function) as callback:
        assert native.apply(callback, 3) == 3
    assert "released" in repr(callback)
    with pytest.raises(ferry.FerryError, match="released"):
        native.apply(callback, 3)
    del callback, function
    gc.collect()
    assert alive() is None


def test_many_callbacks_are_made_and_released(native: ferry.Library) -> None:
    for number in range(9000):  # there are 4,096 at a time
        with native.callback("int (*)(int)", lambda x, n=number: x + n) as callback:
            if number % 1000 == 0:
                assert native.apply(callback, 1) == number + 1


def test_too_many_at_once_are_refused(native: ferry.Library) -> None:
    # other libraries of this process share its thunks
    kept = [native.callback("int (*)(int)", abs) for _ in range(4000)]
    with pytest.raises(ferry.TooManyCallbacks, match="4,096"):
        kept += [native.callback("int (*)(int)", abs) for _ in range(97)]
    for callback in kept:
        callback.release()
    assert native.apply(abs, -3) == 3


def test_the_same_callable_is_one_callback(native: ferry.Library) -> None:
    for _ in range(10000):
        native.apply(abs, -1)
    assert native.apply(abs, -1) == 1


def test_a_released_callback_that_c_calls_ends_its_worker() -> None:
    with opened(THERE, SOURCE, HEADER) as lib:
        callback = lib.callback("int (*)(int)", abs)
        lib.keep(callback)
        callback.release()
        with pytest.raises(ferry.LibraryCrashed, match="after it was released"):
            lib.call_kept(1)


def test_a_released_callback_in_this_process_returns_zero_and_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    with opened(HERE, SOURCE, HEADER) as lib:
        callback = lib.callback("int (*)(int)", abs)
        lib.keep(callback)
        callback.release()
        assert lib.call_kept(1) == 0
    assert "after it was released" in str(reported[0].exc_value)


def test_null_and_function_pointers_of_the_library_are_callbacks_too(lib: ferry.Library) -> None:
    assert lib.is_null(None) == 1
    assert lib.apply(lib.seventh(), 1) == 8


def test_a_function_pointer_that_c_returns_can_be_called(lib: ferry.Library) -> None:
    assert lib.seventh()(35) == 42


def test_a_callback_of_another_library_is_refused(native: ferry.Library) -> None:
    with opened(THERE, SOURCE, HEADER) as other:
        foreign = other.callback("int (*)(int)", abs)
        with pytest.raises(ferry.ArgumentTypeError, match="another library"):
            native.apply(foreign, 1)


def test_what_is_no_function_pointer_is_refused(native: ferry.Library) -> None:
    with pytest.raises(ferry.DeclarationError, match="not a function pointer"):
        native.callback("int *", abs)
    with pytest.raises(ferry.ArgumentTypeError):
        native.apply(5, 1)


def test_closing_the_library_inside_a_callback_ends_the_call() -> None:
    with opened(THERE, SOURCE, HEADER) as lib:

        def close(x: int) -> int:
            lib.close()
            return x

        with pytest.raises(ferry.LibraryClosed):
            lib.apply(close, 1)


def test_ctrl_c_in_a_callback_is_raised_from_the_call(native: ferry.Library) -> None:
    def interrupted(x: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        native.apply(interrupted, 1)
    assert native.apply(abs, -1) == 1


def test_many_threads_call_back_at_once(native: ferry.Library) -> None:
    wrong: list[int] = []

    def work(seed: int) -> None:
        wrong.extend(i for i in range(300) if native.twice(lambda x: x + seed, i) != i + 2 * seed)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_library_that_is_dropped_takes_its_callbacks_along() -> None:
    def keep_one() -> weakref.ref[Any]:
        lib = opened(THERE, SOURCE, HEADER)

        def function(x: int) -> int:
            return int(lib.call_kept(x))  # a cycle: the library keeps this, and this it

        lib.keep(function)
        return weakref.ref(function)

    alive = keep_one()
    gc.collect()
    assert alive() is None
