"""ctypes' test cases of callbacks: every type in both directions, structs, pointers, errors.

After CPython's test_callbacks.py, test_functions.py, test_funcptr.py, test_libc.py and
test_random_things.py, with their values; see sides.py. ctypes prints an exception that
leaves a callback and goes on; libferry raises it from the call that C was in.
"""

from __future__ import annotations

import ctypes
import gc
import math
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import libferry
from libferry.errors import ArgumentTypeError

from .sides import IN_PROCESS, SIDES, WINDOWS_SIDES, opened

# C type, its name in a function's name, and what goes there and back.
SAME = [
    ("signed char", "schar", (42, -42)),
    ("unsigned char", "uchar", (42, 200)),
    ("char", "char", (ord("x"), ord("a"))),
    ("short", "short", (42, -42)),
    ("unsigned short", "ushort", (42, 65535)),
    ("int", "int", (42, -42)),
    ("unsigned int", "uint", (42, 2**32 - 1)),
    ("long", "long", (42, -42)),
    ("unsigned long", "ulong", (42, 2**32 - 1)),
    ("long long", "llong", (42, -42, -(2**63))),
    ("unsigned long long", "ullong", (42, 2**64 - 1)),
    ("float", "float", (math.e, -math.e)),
    ("double", "double", (3.14, -3.14)),
    ("long double", "ldouble", (3.14, -3.14)),
    ("bool", "bool", (True, False)),
    ("double _Complex", "complex", (3.14 - 1j,)),
    ("float _Complex", "fcomplex", (1.5 - 0.25j,)),
]

FORTY_INTS = ", ".join(["int"] * 40)
FORTY_SUMS = ", ".join(f"v + {i}" for i in range(40))

HEADER = (
    """
    struct large { unsigned long first, second, third; };
    struct rect { long left, top, right, bottom; };
    struct point { long x, y; };
    struct floats { float a[3]; };
    typedef int (*unary)(int);
    typedef int (*compare)(const void *, const void *);

    int with_squares(int a, int b, int c, int d, int e, int (*f)(int, int, int, int, int));
    double with_squared_doubles(double a, double b, double c, double d, double e,
                                double (*f)(double, double, double, double, double));
    void with_large(struct large in, void (*f)(struct large));
    struct rect from_callback(struct rect (*f)(struct rect, struct point, double), double v);
    struct floats floats_from(struct floats (*f)(struct floats));
    double integrate(double a, double b, double (*f)(double), long steps);
    int halves(int value, unary f);
    long long long_halves(long long value, long long (*f)(long long));
    int with_table(int (*f)(int *));
    int *pointer_from(int *(*f)(int *), int *p);
    void sort(void *base, size_t count, size_t width, compare f);
    extern int last;
    void keep_last(unary f, int v);
    int twice(unary f, int v);
    int many(int (*f)(FORTY_INTS), int v);
    struct pair { unary c; int (*d)(int, int); };
    int call_pair(struct pair *p);
    unary next_of(void);
    struct allocator { void (*use)(void *(*give)(int), void (*take)(void *)); };
    struct allocator *get_allocator(void);
""".replace("FORTY_INTS", FORTY_INTS)
    + "".join(
        f"{ctype} same_{name}({ctype} (*f)({ctype}), {ctype} v);"
        f"{ctype} second_{name}({ctype} (*f)(signed char, {ctype}), {ctype} v);\n"
        for ctype, name, _ in SAME
    )
)

SOURCE = (
    """
    API int with_squares(int a, int b, int c, int d, int e, int (*f)(int, int, int, int, int))
    { return f(a * a, b * b, c * c, d * d, e * e); }
    API double with_squared_doubles(double a, double b, double c, double d, double e,
                                    double (*f)(double, double, double, double, double))
    { return f(a * a, b * b, c * c, d * d, e * e); }
    API void with_large(struct large in, void (*f)(struct large)) { f(in); }
    API struct rect from_callback(struct rect (*f)(struct rect, struct point, double), double v)
    {
        struct rect r = {1, 2, 3, 4};
        struct point p = {5, 6};
        r = f(r, p, v);
        r.left += 1000;
        return r;
    }
    API struct floats floats_from(struct floats (*f)(struct floats))
    {
        struct floats v = {{0.5f, 1.5f, 2.5f}};
        v = f(v);
        v.a[0] *= 2;
        return v;
    }
    API double integrate(double a, double b, double (*f)(double), long steps)
    {
        double sum = 0, width = (b - a) / (double)steps;
        for (long i = 0; i < steps; i++) sum += f(a + width * ((double)i + 0.5));
        return sum * width;
    }
    API int halves(int value, unary f)
    {
        int sum = 0;
        for (; value != 0; value /= 2) sum += f(value);
        return sum;
    }
    API long long long_halves(long long value, long long (*f)(long long))
    {
        long long sum = 0;
        for (; value != 0; value /= 2) sum += f(value);
        return sum;
    }
    API int with_table(int (*f)(int *))
    {
        static int table[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
        return f(table);
    }
    API int *pointer_from(int *(*f)(int *), int *p) { return f(p) + 1; }
    API void sort(void *base, size_t count, size_t width, compare f)
    {
        char *items = base;
        for (size_t i = 1; i < count; i++)
            for (size_t j = i; j && f(&items[(j - 1) * width], &items[j * width]) > 0; j--)
                for (size_t k = j * width; k < (j + 1) * width; k++) {
                    char c = items[k];
                    items[k] = items[k - width];
                    items[k - width] = c;
                }
    }
    API int last = 0;
    API void keep_last(unary f, int v) { last = f(v); }
    API int twice(unary f, int v) { return f(f(v)); }
    API int many(int (*f)(FORTY_INTS), int v) { return f(FORTY_SUMS); }
    API int call_pair(struct pair *p) { return p->c(10) + p->d(3, 4); }
    static int next(int v) { return v + 1; }
    API unary next_of(void) { return next; }
    static void use(void *(*give)(int), void (*take)(void *)) { take(give(32)); }
    static struct allocator the_allocator = {use};
    API struct allocator *get_allocator(void) { return &the_allocator; }
""".replace("FORTY_INTS", FORTY_INTS).replace("FORTY_SUMS", FORTY_SUMS)
    + "".join(
        f"API {ctype} same_{name}({ctype} (*f)({ctype}), {ctype} v) {{ return f(v); }}\n"
        f"API {ctype} second_{name}({ctype} (*f)(signed char, {ctype}), {ctype} v)"
        f"{{ return f(-3, v); }}\n"
        for ctype, name, _ in SAME
    )
)


@pytest.fixture(scope="module", params=SIDES)
def lib(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[libferry.Library]:
    with opened(request.param, HEADER, SOURCE, tmp_path_factory) as library:
        yield library


@pytest.mark.parametrize(("ctype", "name", "values"), SAME, ids=[name for _, name, _ in SAME])
def test_every_type_goes_there_and_back(
    lib: libferry.Library, ctype: str, name: str, values: tuple[Any, ...]
) -> None:
    got = []

    def callback(*arguments: object) -> object:
        got.append(arguments)
        return arguments[-1]

    for value in values:
        expected = ctypes.c_float(value).value if ctype == "float" else value
        assert lib[f"same_{name}"](callback, value) == expected
        assert lib[f"second_{name}"](callback, value) == expected
        assert got == [(expected,), (-3, expected)]
        assert [type(one[-1]) for one in got] == [type(value)] * 2
        got.clear()


def test_five_integers(lib: libferry.Library) -> None:
    assert lib.with_squares(2, 3, 4, 5, 6, lambda *squares: sum(squares)) == 90
    weigh = lambda a, b, c, d, e: a + 10 * b + 100 * c + 1000 * d + 10000 * e  # noqa: E731
    assert lib.with_squares(2, 3, 1, 0, -1, weigh) == 4 + 90 + 100 + 10000


def test_five_doubles(lib: libferry.Library) -> None:
    numbers = (1.1, 2.2, 3.3, 4.4, 5.5)
    squares = [number * number for number in numbers]
    got: list[float] = []

    def callback(*values: float) -> float:
        got.extend(values)
        return sum(values)

    assert lib.with_squared_doubles(*numbers, callback) == sum(squares)
    assert got == squares


def test_a_large_struct_is_the_callbacks_own(lib: libferry.Library) -> None:
    numbers = (0xDEADBEEF, 0xCAFEBABE, 0x0BAD1DEA)
    large = lib.new("struct large", numbers)
    got = []

    def callback(one: Any) -> None:
        got.append((one.first, one.second, one.third))
        one.first = one.second = one.third = 0x0BADF00D

    lib.with_large(large, callback)
    assert got == [numbers]
    assert (large.first, large.second, large.third) == numbers


def test_a_struct_that_a_callback_got_can_be_kept(lib: libferry.Library) -> None:
    kept: list[Any] = []
    lib.with_large((1, 2, 3), kept.append)
    lib.with_large((4, 5, 6), kept.append)
    assert [(one.first, one.second, one.third) for one in kept] == [(1, 2, 3), (4, 5, 6)]


def test_a_callback_gives_a_struct(lib: libferry.Library) -> None:
    def callback(r: Any, p: Any, v: float) -> dict[str, int]:
        return {"left": r.left + p.x, "top": r.top + p.y, "right": int(v), "bottom": r.bottom}

    result = lib.from_callback(callback, 77.0)
    assert (result.left, result.top, result.right, result.bottom) == (1006, 8, 77, 4)


def test_a_callback_gives_back_the_struct_it_got(lib: libferry.Library) -> None:
    result = lib.from_callback(lambda r, p, v: r, 0.0)
    assert (result.left, result.top, result.right, result.bottom) == (1001, 2, 3, 4)


def test_a_callback_gives_a_struct_of_floats(lib: libferry.Library) -> None:
    result = lib.floats_from(lambda v: ([v.a[2], v.a[0], v.a[1]],))
    assert list(result.a) == [5.0, 0.5, 1.5]


def test_integrate(lib: libferry.Library) -> None:
    assert abs(lib.integrate(0.0, 1.0, lambda x: x**2, 10) - 1 / 3) < 0.01
    assert lib.integrate(0.0, math.pi, math.sin, 100) == pytest.approx(2.0, rel=1e-3)


def test_a_callback_is_called_19_times(lib: libferry.Library) -> None:
    got: list[int] = []

    def callback(value: int) -> int:
        got.append(value)
        return value

    assert lib.halves(2**18, callback) == 2**19 - 1
    assert got == [2**power for power in range(18, -1, -1)]
    assert lib.halves(-10, callback) == -18


def test_a_callback_of_long_long(lib: libferry.Library) -> None:
    assert lib.long_halves(1000000000000, lambda value: value & 0x7FFFFFFF) == 13577625587


def test_a_callback_reads_what_its_pointer_leads_to(lib: libferry.Library) -> None:
    got: list[int] = []

    def callback(table: Any) -> int:
        got.extend(table[i] for i in range(10))
        return sum(table[0:10])

    assert lib.with_table(callback) == 55
    assert got == list(range(1, 11))


def test_a_callback_writes_through_its_pointer(lib: libferry.Library) -> None:
    def double_fifth(table: Any) -> int:
        table[4] = 2 * table[4]
        return 0

    lib.with_table(double_fifth)
    assert lib.with_table(lambda table: table[4]) == 10
    lib.with_table(lambda table: table.__setitem__(4, 5) or 0)


def test_a_callback_gives_a_pointer(lib: libferry.Library) -> None:
    numbers = lib.new("int[4]", [10, 20, 30, 40])
    result = lib.pointer_from(lambda p: p, numbers)
    assert result.value == 20
    assert lib.pointer_from(lambda p: numbers, numbers).value == 20


def test_sort_characters(lib: libferry.Library) -> None:
    def callback(a: Any, b: Any) -> int:
        x, y = (p.cast("const char *")[0] for p in (a, b))
        return int(x > y) - int(x < y)

    text = bytearray(b"spam, spam, and spam\0")
    lib.sort(text, len(text) - 1, 1, callback)
    assert text == b"   ,,aaaadmmmnpppsss\0"


def test_sort_integers(lib: libferry.Library) -> None:
    numbers = lib.new("int[5]", [5, 1, 99, 7, 33])

    def callback(a: Any, b: Any) -> int:
        first, second = a.cast("int *").value, b.cast("int *").value
        assert isinstance(first, int)
        return first - int(second)

    lib.sort(numbers, 5, 4, callback)
    assert numbers == [1, 5, 7, 33, 99]


def test_forty_arguments(lib: libferry.Library) -> None:
    got: list[tuple[int, ...]] = []

    def callback(*values: int) -> int:
        got.append(values)
        return len(values)

    assert lib.many(callback, 100) == 40
    assert got == [tuple(range(100, 140))]


def test_a_callback_of_other_types_is_refused(lib: libferry.Library) -> None:
    with lib.callback("int (*)(int, int, int, int)", max) as other:
        with pytest.raises(ArgumentTypeError, match="argument 2"):
            lib.halves(-10, other)
        with pytest.raises(ArgumentTypeError, match="argument 2"):
            lib.halves(-10, 42)


def test_a_function_that_c_gives_can_be_called_and_passed_back(lib: libferry.Library) -> None:
    successor = lib.next_of()
    assert successor(41) == 42
    assert lib.twice(successor, 40) == 42
    assert lib.halves(1, successor) == 2
    with pytest.raises(ArgumentTypeError):
        successor("41")
    with pytest.raises(ArgumentTypeError):
        successor()


def test_function_pointers_in_a_struct(lib: libferry.Library) -> None:
    pair = lib.new("struct pair")
    assert pair.c is None
    pair.c, pair.d = (lambda v: v * 10), (lambda a, b: a - b)
    gc.collect()
    assert lib.call_pair(pair) == 99
    assert pair.c(7) == 70
    assert pair.d(7, 8) == -1
    pair.c = lib.next_of()
    assert lib.call_pair(pair) == 10


def test_a_struct_of_functions_that_c_keeps(lib: libferry.Library) -> None:
    room, calls = lib.buffer(32), []

    def give(size: int) -> libferry.Buffer:
        calls.append(size)
        return room

    def take(pointer: libferry.Pointer) -> None:
        calls.append(pointer.address)

    lib.get_allocator().value.use(give, take)
    assert calls == [32, room.address]


class Broken(Exception):
    pass


def test_an_exception_is_raised_by_the_call_around_it(lib: libferry.Library) -> None:
    def callback(value: int) -> int:
        if value == 2:
            raise Broken(value)
        return value

    with pytest.raises(Broken, match="2") as caught:
        lib.halves(8, callback)
    assert [entry.name for entry in caught.traceback][-1] == "callback"
    assert lib.halves(8, lambda value: value) == 15  # the next call is not affected


@pytest.mark.parametrize(("argument", "error"), [(42, ValueError), (0, ZeroDivisionError)])
def test_errors_of_python_are_raised(
    lib: libferry.Library, argument: int, error: type[Exception]
) -> None:
    def callback(value: int) -> int:
        raise ValueError(42 / value)

    with pytest.raises(error):
        lib.keep_last(callback, argument)


def test_c_gets_the_declared_value_instead_of_an_exception(lib: libferry.Library) -> None:
    def callback(value: int) -> int:
        raise Broken

    lib.last = 5
    with pytest.raises(Broken):
        lib.keep_last(callback, 1)
    assert lib.last == 0
    with lib.callback("unary", callback, error=-7) as failing:
        with pytest.raises(Broken):
            lib.keep_last(failing, 1)
        assert lib.last == -7


@pytest.mark.parametrize("result", [("tuple",), "1", None, 1.5, 2**31])
def test_a_result_of_the_wrong_type_is_an_error(lib: libferry.Library, result: object) -> None:
    with pytest.raises(libferry.FerryError, match="return"):
        lib.keep_last(lambda value: result, 1)


def test_callbacks_that_call_back(lib: libferry.Library) -> None:
    def fall(value: int) -> int:
        return 1 if value == 0 else value * int(lib.twice(lambda v: fall(value - 1), 0))

    # each level calls the next one twice and takes the second answer
    assert fall(5) == math.factorial(5)


class Adder:
    """Callable, and holds the callback that holds it."""

    def __init__(self, lib: libferry.Library) -> None:
        self.callback = lib.callback("unary", self)

    def __call__(self, value: int) -> int:
        return value + 1


def test_a_released_callback_keeps_nothing_alive(lib: libferry.Library) -> None:
    adder = Adder(lib)
    gone = weakref.ref(adder)
    callback = adder.callback
    del adder
    gc.collect()
    assert lib.twice(callback, 0) == 2  # C may have kept it, so it lives
    callback.release()
    gc.collect()
    assert gone() is None
    with pytest.raises(libferry.FerryError):
        lib.twice(callback, 0)


@pytest.mark.parametrize("side", WINDOWS_SIDES)
def test_a_stdcall_callback_leaves_the_stack_as_it_was(
    side: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    header = """
        int run(int (__stdcall *f)(int, long long), int a, int b);
        int __stdcall std_run(int (__stdcall *f)(int, long long), int a, int b);
    """
    source = """
        API int run(int (__stdcall *f)(int, long long), int a, int b)
        { return f(a, b) * 100 + f(b, a); }
        API int __stdcall std_run(int (__stdcall *f)(int, long long), int a, int b)
        { return f(a, b) * 100 + f(b, a); }
    """
    with opened(side, header, source, tmp_path_factory) as lib:
        got = []

        def callback(a: int, b: int) -> int:
            got.append((a, b))
            return a + b

        assert lib.run(callback, 5, 10) == 1515
        assert lib.std_run(callback, 5, -10) == -505
        assert got == [(5, 10), (10, 5), (5, -10), (-10, 5)]


def test_ctypes_says_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    class Large(ctypes.Structure):
        _fields_ = [(name, ctypes.c_ulong) for name in ("first", "second", "third")]

    with opened(IN_PROCESS, HEADER, SOURCE, tmp_path_factory) as lib:
        dll = ctypes.CDLL(str(lib.binary.path))
        dll.integrate.restype = ctypes.c_double
        function = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(math.exp)
        theirs = dll.integrate(ctypes.c_double(0), ctypes.c_double(2), function, ctypes.c_long(50))
        assert lib.integrate(0.0, 2.0, math.exp, 50) == theirs

        mine: list[Any] = []
        yours: list[Any] = []
        take = ctypes.CFUNCTYPE(None, Large)(lambda s: yours.append((s.first, s.second, s.third)))
        dll.with_large(Large(1, 2**63, 3), take)
        lib.with_large((1, 2**63, 3), lambda s: mine.append((s.first, s.second, s.third)))
        assert mine == yours
