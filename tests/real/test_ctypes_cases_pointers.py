"""ctypes' test cases of pointers, strings, variables, errno and variadic functions.

After CPython's test_pointers.py, test_prototypes.py, test_stringptr.py, test_unicode.py,
test_values.py, test_errno.py, test_keeprefs.py, test_funcptr.py and test_random_things.py,
with their values; see sides.py.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import libferry
from libferry.errors import ArgumentTypeError, ArgumentValueError, SymbolNotFound

from .sides import IN_PROCESS, SIDES, WINDOWS_SIDES, opened

HEADER = """
    struct spam { const char *name; const char *value; };
    struct egg { const char *name; int num_spams; struct spam *spams; };
    struct node { int value; struct node *next; };
    struct label { const char *text; const wchar_t *wide; int *number; };
    struct point { int x; double y; };
    struct named { char name[6]; int numbers[2]; };

    extern int an_integer;
    extern int numbers[4];
    extern const char *names[3];
    extern const char *const fixed;
    extern double real;
    extern bool flag;
    extern struct point origin;
    extern struct node *head;
    extern int (*operation)(int a, int b);
    int get_an_integer(void);
    int sum_numbers(void);
    int operate(int a, int b);

    int *same(int *p);
    void *same_void(const void *p);
    const char *same_text(const char *s);
    char *same_writable(char *s);
    const wchar_t *same_wide(const wchar_t *s);
    const char *argument(const int *argc, const char **argv);
    int follow(int **pp);
    void point_at(int **pp, int *p);
    int *from_third(int a[8]);
    int get_eggs(struct egg **eggs);
    int sum_list(const struct node *head);
    size_t length_of_label(const struct label *label);
    char *split(char *text, const char *delimiters);
    const char *find(const char *text, int c);
    char *duplicate(const char *text);
    wchar_t *duplicate_wide(const wchar_t *text);
    void give_back(void *p);
    size_t wide_length(const wchar_t *text);
    int fail_with(int code);
    double total(const char *kinds, ...);
"""

SOURCE = """
    #include <errno.h>
    #include <stdlib.h>
    #include <string.h>
    #include <wchar.h>

    static int add(int a, int b) { return a + b; }
    static struct node second = {20, 0}, first = {10, &second};
    API int an_integer = 42;
    API int numbers[4] = {1, 2, 3, 4};
    API const char *names[3] = {"one", "two", 0};
    API const char *const fixed = "fixed";
    API double real = 0.5;
    API bool flag = true;
    API struct point origin = {7, 0.25};
    API struct node *head = &first;
    API int (*operation)(int a, int b) = add;
    API int get_an_integer(void) { return an_integer; }
    API int sum_numbers(void) { return numbers[0] + numbers[1] + numbers[2] + numbers[3]; }
    API int operate(int a, int b) { return operation(a, b); }

    API int *same(int *p) { return p; }
    API void *same_void(const void *p) { return (void *)p; }
    API const char *same_text(const char *s) { return s; }
    API char *same_writable(char *s) { return s; }
    API const wchar_t *same_wide(const wchar_t *s) { return s; }
    API const char *argument(const int *argc, const char **argv) { return argv[*argc - 1]; }
    API int follow(int **pp) { return **pp; }
    API void point_at(int **pp, int *p) { *pp = p; }
    API int *from_third(int a[8]) { return a + 2; }
    static struct spam spams[2] = {{"name1", "value1"}, {"name2", "value2"}};
    static struct egg eggs[1] = {{"first egg", 2, spams}};
    API int get_eggs(struct egg **out) { *out = eggs; return 1; }
    API int sum_list(const struct node *node)
    {
        int sum = 0;
        for (; node; node = node->next) sum += node->value;
        return sum;
    }
    API size_t length_of_label(const struct label *label)
    {
        return strlen(label->text) + wcslen(label->wide) * 100 + (size_t)*label->number * 10000;
    }
    API char *split(char *text, const char *delimiters) { return strtok(text, delimiters); }
    API const char *find(const char *text, int c) { return strchr(text, c); }
    API char *duplicate(const char *text)
    {
        char *copy = malloc(strlen(text) + 1);
        return copy ? strcpy(copy, text) : 0;
    }
    API wchar_t *duplicate_wide(const wchar_t *text)
    {
        size_t size = (wcslen(text) + 1) * sizeof(wchar_t);
        wchar_t *copy = malloc(size);
        return copy ? memcpy(copy, text, size) : 0;
    }
    API void give_back(void *p) { free(p); }
    API size_t wide_length(const wchar_t *text) { return wcslen(text); }
    API int fail_with(int code) { errno = code; return -1; }
    API double total(const char *kinds, ...)
    {
        double sum = 0;
        va_list list;
        va_start(list, kinds);
        for (; *kinds; kinds++)
            switch (*kinds) {
            case 'i': sum += va_arg(list, int); break;
            case 'u': sum += va_arg(list, unsigned); break;
            case 'l': sum += (double)va_arg(list, long); break;
            case 'q': sum += (double)va_arg(list, long long); break;
            case 'd': sum += va_arg(list, double); break;
            case 'D': sum += (double)va_arg(list, long double); break;
            case 's': sum += (double)strlen(va_arg(list, const char *)); break;
            case 'p': sum += *va_arg(list, int *); break;
            case 'P': {
                struct point p = va_arg(list, struct point);
                sum += p.x + p.y;
                break;
            }
            case 'f': sum += va_arg(list, int (*)(int, int))(3, 4); break;
            }
        va_end(list);
        return sum;
    }
"""


@pytest.fixture(scope="module", params=SIDES)
def lib(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[libferry.Library]:
    with opened(request.param, HEADER, SOURCE, tmp_path_factory) as library:
        yield library


# ---- pointers ----


def test_a_pointer_comes_back_and_leads_to_the_same_place(lib: libferry.Library) -> None:
    number = lib.new("int", 87654)
    result = lib.same(number)
    assert (result.value, result[0], result[0:1]) == (87654, 87654, [87654])
    result[0] = 54345
    assert number.value == 54345
    result.value = -99
    assert number.value == -99
    number.value = 5
    assert lib.same(result).value == 5


def test_a_null_pointer_is_none(lib: libferry.Library) -> None:
    for name in ("same", "same_void", "same_text", "same_writable", "same_wide"):
        assert lib[name](None) is None


def test_a_pointer_to_other_things_is_refused(lib: libferry.Library) -> None:
    for ctype in ("short", "unsigned int", "double", "char", "struct point", "int *"):
        with pytest.raises(ArgumentTypeError, match=r"same, argument 1 \(p\)"):
            lib.same(lib.new(ctype))
    for value in (42, 1.5, "text", object()):
        with pytest.raises(ArgumentTypeError, match=r"same, argument 1 \(p\)"):
            lib.same(value)


def test_void_pointers_take_everything(lib: libferry.Library) -> None:
    number, array = lib.new("int", 42), lib.new("int[3]")
    assert lib.same_void(number).address == number.address
    assert lib.same_void(array).address == array.address
    assert lib.same_void(lib.same(number)).cast("int *").value == 42


def test_a_pointer_to_a_pointer(lib: libferry.Library) -> None:
    five, six = lib.new("int", 5), lib.new("int", 6)
    pointer = lib.new("int *", five)
    assert lib.follow(pointer) == 5
    pointer.value = six
    assert lib.follow(pointer) == 6
    lib.point_at(pointer, five)
    assert pointer.value.address == five.address
    pointer.value.value = 50
    assert (five.value, lib.follow(pointer)) == (50, 50)


def test_an_array_of_strings(lib: libferry.Library) -> None:
    assert lib.argument([2], ["hello", "world"]) == "world"
    argv = lib.new("const char *[3]", ["hello", b"world", None])
    gc.collect()
    assert lib.argument([1], argv) == "hello"
    assert lib.argument([2], argv) == "world"
    assert lib.argument([3], argv) is None
    assert [one and one.string() for one in argv] == ["hello", "world", None]


def test_an_array_parameter_is_a_pointer(lib: libferry.Library) -> None:
    array = lib.new("int[8]", [1, 2, 3, 4, 5, 6, 7, 8])
    assert lib.from_third(array)[0:6] == [3, 4, 5, 6, 7, 8]
    lib.from_third(array)[0] = 33
    assert array[2] == 33


def test_structs_that_lead_to_structs(lib: libferry.Library) -> None:
    eggs: Any = lib.out("struct egg *")
    assert lib.get_eggs(eggs) == 1
    egg = eggs.value[0]
    assert (egg.name.string(), egg.num_spams) == ("first egg", 2)
    found = [(spam.name.string(), spam.value.string()) for spam in egg.spams[0:2]]
    assert found == [("name1", "value1"), ("name2", "value2")]


def test_a_list_that_is_made_in_python_lives_as_long_as_its_head(lib: libferry.Library) -> None:
    head = None
    for value in range(1, 101):
        head = lib.new("struct node", value=value, next=head)
    gc.collect()
    assert lib.sum_list(head) == 5050


def test_what_a_struct_leads_to_lives_as_long_as_it(lib: libferry.Library) -> None:
    label = lib.new("struct label", text="four", wide="süß")
    label.number = lib.new("int", 7)
    gc.collect()
    for _ in range(50):  # memory that went would be used anew
        lib.new("struct label", text="x" * 4, wide="y" * 3, number=lib.new("int", 1))
    assert lib.length_of_label(label) == 70304
    assert (label.text.string(), label.wide.string()) == ("four", "süß")
    assert label.number.value == 7
    label.text = "other"
    assert lib.length_of_label(label) == 70305


def test_an_index_reads_and_writes_where_the_pointer_leads(lib: libferry.Library) -> None:
    array = lib.new("int[5]", [10, 20, 30, 40, 50])
    pointer = lib.same(array)
    assert [pointer[i] for i in range(5)] == [10, 20, 30, 40, 50]
    pointer[3] = 44
    assert array[3] == 44
    with pytest.raises(TypeError):
        len(pointer)


# ---- strings ----


def test_strings_come_back(lib: libferry.Library) -> None:
    assert lib.same_text("123") == "123"
    assert lib.same_text(b"123") == "123"
    assert lib.same_text(bytearray(b"123\0")) == "123"
    assert lib.same_text("Grüße, 世界") == "Grüße, 世界"
    assert lib.same_text(b"abc\xe4") == "abc\udce4"  # not UTF-8: kept, as Python's os does
    assert lib.same_text(lib.same_text(b"abc\xe4")) == "abc\udce4"
    assert lib.same_text("") == ""


def test_a_nul_inside_a_string_is_refused(lib: libferry.Library) -> None:
    with pytest.raises(ArgumentValueError, match="argument 1"):
        lib.same_text("foo\0bar")
    with pytest.raises(ArgumentValueError, match="argument 1"):
        lib.same_wide("foo\0bar")


def test_a_writable_string_needs_writable_memory(lib: libferry.Library) -> None:
    with pytest.raises(ArgumentTypeError, match="argument 1"):
        lib.same_writable("123")
    text = lib.new("char[4]", "123")
    assert lib.same_writable(text).string() == "123"


def test_strings_are_found_and_split(lib: libferry.Library) -> None:
    assert lib.find("abcdefghi", ord("b")) == "bcdefghi"
    assert lib.find("abcdefghi", ord("x")) is None
    text = lib.new("char[6]", b"a\nb\nc")
    parts = [lib.split(text, "\n"), *(lib.split(None, "\n") for _ in range(3))]
    assert [part and part.string() for part in parts] == ["a", "b", "c", None]


def test_a_string_of_the_librarys_is_given_back(lib: libferry.Library) -> None:
    copy = lib.duplicate("Hello, World")
    assert copy.string() == "Hello, World"
    assert [copy[i] for i in range(5)] == list(b"Hello")
    assert lib.give_back(copy) is None
    wide = lib.duplicate_wide("Grüße")
    assert wide.string() == "Grüße"
    lib.give_back(wide)


def test_wide_strings(lib: libferry.Library) -> None:
    assert lib.wide_length("abc") == 3
    assert lib.wide_length("ab\u2070") == 3
    assert lib.same_wide("ab\u2070") == "ab\u2070"
    units = 2 if "windows" in lib.abi else 1  # UTF-16 has two of them for this one
    assert lib.wide_length("\U0001f980") == units
    assert lib.same_wide("\U0001f980") == "\U0001f980"
    for value in (b"ab\xe4", 5):
        with pytest.raises(ArgumentTypeError, match="argument 1"):
            lib.wide_length(value)


# ---- variables ----


def test_a_variable_is_read_and_written(lib: libferry.Library) -> None:
    assert lib.an_integer == lib.get_an_integer() == 42
    lib.an_integer *= 2
    assert lib.get_an_integer() == 84
    lib.an_integer = 42
    assert lib.get_an_integer() == 42
    with pytest.raises(ArgumentValueError):
        lib.an_integer = 2**31
    with pytest.raises(ArgumentTypeError):
        lib.an_integer = "42"


def test_variables_of_other_types(lib: libferry.Library) -> None:
    assert (lib.real, lib.flag, lib.fixed.string()) == (0.5, True, "fixed")
    lib.real, lib.flag = -1.5, False
    assert (lib.real, lib.flag) == (-1.5, False)
    lib.real, lib.flag = 0.5, True
    assert repr(lib.origin) == "<struct point x=7 y=0.25>"
    lib.origin = {"x": 8, "y": 0.5}
    assert repr(lib.origin) == "<struct point x=8 y=0.5>"
    lib.origin = (7, 0.25)


def test_a_variable_that_is_an_array(lib: libferry.Library) -> None:
    assert list(lib.numbers) == [1, 2, 3, 4]
    lib.numbers = [10, 20, 30, 40]
    assert lib.sum_numbers() == 100
    lib.numbers = [1, 2, 3, 4]
    assert [one and one.string() for one in lib.names] == ["one", "two", None]


def test_a_variable_that_is_a_pointer(lib: libferry.Library) -> None:
    assert lib.head.value.value == 10
    assert lib.sum_list(lib.head) == 30
    old = lib.head
    lib.head = lib.new("struct node", value=1)  # which lives as long as it is there
    gc.collect()
    for _ in range(10):
        lib.new("struct node", value=-1)
    assert lib.sum_list(lib.head) == 1
    lib.head = old
    assert lib.sum_list(lib.head) == 30


def test_a_variable_that_is_a_function(lib: libferry.Library) -> None:
    assert lib.operation(3, 4) == lib.operate(3, 4) == 7
    old = lib.operation
    lib.operation = lambda a, b: a * b
    gc.collect()
    assert lib.operate(3, 4) == 12
    lib.operation = old
    assert lib.operate(3, 4) == 7


def test_a_variable_that_is_not_there(lib: libferry.Library) -> None:
    with pytest.raises(SymbolNotFound):
        lib.variable("int undefined_symbol")
    with pytest.raises(AttributeError):
        _ = lib.undefined_symbol
    with pytest.raises(SymbolNotFound):
        lib.function("int undefined_function(void)")


# ---- errno ----


def test_errno_is_that_of_the_last_call(lib: libferry.Library) -> None:
    assert lib.fail_with(errno.ENOENT) == -1
    assert lib.errno == errno.ENOENT
    assert lib.get_an_integer() == 42
    assert lib.errno == 0


def test_errno_is_each_threads_own(lib: libferry.Library) -> None:
    lib.fail_with(errno.ENOENT)
    seen = []

    def other() -> None:
        seen.append(lib.errno)
        lib.fail_with(errno.EPERM)
        seen.append(lib.errno)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [0, errno.EPERM]
    assert lib.errno == errno.ENOENT


# ---- variadic functions ----


def test_variadic_arguments_are_promoted(lib: libferry.Library) -> None:
    assert lib.total("") == 0.0
    assert lib.total("iid", 1, -2, 0.5) == -0.5
    assert lib.total("qis", 2**40, True, "four") == 2**40 + 5
    assert lib.total("sd", b"five!", np.float64(0.25)) == 5.25
    for ctype, value in (("signed char", -3), ("unsigned short", 65535), ("bool", True)):
        assert lib.total("i", lib.value(ctype, value)) == value
    assert lib.total("d", lib.value("float", 1.5)) == 1.5


def test_variadic_arguments_whose_type_is_said(lib: libferry.Library) -> None:
    assert lib.total("lid", lib.value("long", -7), 1, 0.5) == -5.5
    assert lib.total("iu", 0, lib.value("unsigned", 2**32 - 1)) == 2**32 - 1
    assert lib.total("iq", 1, lib.value("long long", -1)) == 0
    assert lib.total("iDi", 1, lib.value("long double", 0.25), 2) == 3.25


def test_variadic_arguments_in_and_behind_registers(lib: libferry.Library) -> None:
    kinds = "id" * 12
    values = [value for i in range(12) for value in (i, i / 4)]
    assert lib.total(kinds, *values) == sum(range(12)) * 1.25
    assert lib.total("q" * 12, *[2**40 + i for i in range(12)]) == 12 * 2**40 + 66


def test_variadic_arrays_are_pointers(lib: libferry.Library) -> None:
    assert lib.total("sp", lib.new("char[5]", "four"), lib.new("int[2]", [38, 1])) == 42
    label = lib.new("struct named", name="seven", numbers=[30, 1])
    assert lib.total("sp", label.name, label.numbers) == 35


def test_variadic_pointers_structs_and_functions(lib: libferry.Library) -> None:
    number, point = lib.new("int", 40), lib.new("struct point", 1, 0.5)
    assert lib.total("pi", number, 2) == 42
    assert lib.total("iPd", 1, lib.value("struct point", (2, 0.25)), 0.5) == 3.75
    assert lib.total("PPP", *[lib.value("struct point", point)] * 3) == 4.5
    with lib.callback("int (*)(int, int)", lambda a, b: 10 * a + b) as callback:
        assert lib.total("fi", callback, 1) == 35


def test_variadic_arguments_without_a_c_type_are_refused(lib: libferry.Library) -> None:
    for value in (object(), {"x": 1}, (1, 2)):
        with pytest.raises(ArgumentTypeError, match="total, argument 2"):
            lib.total("i", value)
    with pytest.raises(ArgumentTypeError, match="total"):
        lib.total()


@pytest.mark.parametrize("side", WINDOWS_SIDES)
def test_the_last_error_stays_until_it_is_set(
    side: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    header = "void fail(unsigned long code); int succeed(void);"
    source = """
        void __stdcall SetLastError(unsigned long code);
        API void fail(unsigned long code) { SetLastError(code); }
        API int succeed(void) { return 1; }
    """
    with opened(side, header, source, tmp_path_factory) as lib:
        lib.fail(126)
        assert lib.last_error == 126
        assert lib.succeed() == 1
        assert lib.last_error == 126
        seen = []
        thread = threading.Thread(target=lambda: seen.append((lib.fail(32), lib.last_error)))
        thread.start()
        thread.join()
        assert seen == [(None, 32)]
        assert lib.last_error == 126


def test_ctypes_says_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    with opened(IN_PROCESS, HEADER, SOURCE, tmp_path_factory) as lib:
        dll = ctypes.CDLL(str(lib.binary.path))
        dll.total.restype = ctypes.c_double
        theirs = dll.total(b"idsq", 1, ctypes.c_double(0.1), b"four", ctypes.c_longlong(-5))
        assert lib.total("idsq", 1, 0.1, "four", lib.value("long long", -5)) == theirs
        # one library, one memory: what the one sets the other reads
        ctypes.c_int.in_dll(dll, "an_integer").value = 1234
        assert lib.an_integer == 1234
        lib.numbers = [5, 6, 7, 8]
        assert list((ctypes.c_int * 4).in_dll(dll, "numbers")) == [5, 6, 7, 8]
