"""Structures and unions as objects, without a library."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest

from libferry.contract import declare
from libferry.errors import ArgumentTypeError, ArgumentValueError, SymbolNotFound
from libferry.runtime.values import Struct, record_class

ABI = "x86_64-sysv"


def struct(text: str, name: str = "struct s", abi: str = ABI) -> Any:
    """The class of a record that C text declares."""
    found = record_class(abi, declare(text, abi).types[name])
    assert found is not None
    return found


POINT = "struct point { int x, y; };"


def test_fields_are_given_by_name_by_position_or_as_one_value() -> None:
    point = struct(POINT, "struct point")
    first = point(x=1, y=2)
    assert struct("struct s { char name[4]; };")("abc").name.string() == "abc"
    assert first == point(1, 2) == point({"x": 1, "y": 2}) == point((1, 2)) == point(first)
    assert point() == point(0, 0)
    assert repr(first) == "<struct point x=1 y=2>"
    assert bytes(first) == b"\1\0\0\0\2\0\0\0"
    assert first.as_dict() == {"x": 1, "y": 2}
    assert first["x"] == 1


def test_the_same_record_has_one_class_as_long_as_it_is_used() -> None:
    point = struct(POINT, "struct point")
    assert struct(POINT, "struct point") is point
    assert struct(POINT, "struct point", "i386-sysv") is not point
    assert point.abi == ABI
    assert point.ctype.name == "struct point"
    gone = weakref.ref(struct("struct s { char only_here; };"))
    gc.collect()
    assert gone() is None


def test_parts_are_the_same_memory() -> None:
    line = struct(POINT + "struct s { struct point from, to; int grid[2][2]; };")()
    start = line["from"]
    start.x = 5
    line.grid[1][0] = 7
    row = line.grid[1]
    row[1] = 8
    assert line.as_dict() == {
        "from": {"x": 5, "y": 0},
        "to": {"x": 0, "y": 0},
        "grid": [[0, 0], [7, 8]],
    }
    line.to = start
    start.x = 6
    assert line.to.x == 5


def test_a_part_keeps_the_whole_alive() -> None:
    inner = struct(POINT + "struct s { char c; struct point p; };")(p=(1, 2)).p
    gc.collect()
    assert inner.as_dict() == {"x": 1, "y": 2}


def test_members_of_anonymous_members_are_the_records_own() -> None:
    both = struct("struct s { int kind; union { int i; float f; struct { short a, b; }; }; };")
    made = both(kind=1, f=1.0)
    assert (made.i, made.a, made.b) == (0x3F800000, 0, 0x3F80)
    made.b = 0
    assert made.f == 0.0
    assert both(1, 2).i == 2
    with pytest.raises(ArgumentTypeError, match="i and f share their memory"):
        both(i=1, f=2)
    assert both(a=1, b=2).i == 0x20001


def test_bit_fields_leave_their_neighbours_alone() -> None:
    made = struct(
        "struct s { unsigned a : 3; int b : 6; unsigned long long c : 50; _Bool d : 1; };"
    )()
    made.b = -1
    assert (made.a, made.b, made.c, made.d) == (0, -1, 0, False)
    made.c = 2**50 - 1
    made.b = 0
    made.d = True
    assert (made.a, made.b, made.c, made.d) == (0, 0, 2**50 - 1, True)


@pytest.mark.parametrize(
    ("field", "value", "error", "message"),
    [
        ("l", 2**40, ArgumentValueError, "set struct s.l: 1099511627776 does not fit in long of 4"),
        ("l", 1.5, ArgumentTypeError, "set struct s.l: float is not an integer"),
        ("u", -1, ArgumentValueError, "-1 does not fit in unsigned char of 1 byte"),
        ("b", 4, ArgumentValueError, "4 does not fit in 3 bits of int"),
        ("t", 2, ArgumentTypeError, "2 is not a bool"),
        ("f", 1e300, ArgumentValueError, "1e.300 does not fit in float"),
        ("f", "1", ArgumentTypeError, "str is not a number"),
        ("name", "abcde", ArgumentValueError, r"set struct s.name: 5 bytes do not fit in char\[4"),
        ("name", 5, ArgumentTypeError, "int is not a sequence"),
        ("a", [1, 2, 3, 4], ArgumentValueError, r"4 elements do not fit in int\[3\]"),
        ("a", [1, 2**40], ArgumentValueError, r"set struct s.a\[1\]: 1099511627776"),
        ("a", {1, 2}, ArgumentTypeError, "set is not a sequence"),
        ("p", {"x": 1, "z": 2}, ArgumentTypeError, "set struct s.p: it has no field 'z'"),
        ("p", {"x": "a"}, ArgumentTypeError, "set struct s.p.x: str is not an integer"),
        ("p", (1, 2, 3), ArgumentTypeError, "3 values are too many for a struct point"),
        ("p", 5, ArgumentTypeError, "int is not a struct point"),
        ("z", "x", ArgumentTypeError, "str is not a complex number"),
        ("next", 5, ArgumentTypeError, "int would be an address"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_path(
    field: str, value: object, error: type[Exception], message: str
) -> None:
    made = struct(
        POINT + "struct s { long l; unsigned char u; int b : 3; _Bool t; float f; char name[4];"
        "int a[3]; struct point p; double _Complex z; struct s *next; };",
        abi="i386-sysv",
    )()
    with pytest.raises(error, match=message) as caught:
        setattr(made, field, value)
    assert caught.value.hint  # type: ignore[attr-defined]
    assert bytes(made) == bytes(len(bytes(made)))
    with pytest.raises(error):
        type(made)({field: value})


def test_an_unknown_field_is_answered_with_near_ones() -> None:
    made = struct("struct s { int width, height; };")()
    for use in (
        lambda: made.widht,
        lambda: setattr(made, "widht", 1),
        lambda: made["widht"],
    ):
        with pytest.raises(SymbolNotFound, match=r"struct s\.widht") as caught:
            use()
        assert "width" in caught.value.hint
    with pytest.raises(ArgumentTypeError, match="no field 'widht'") as wrong:
        type(made)(widht=1)
    assert "width" in wrong.value.hint
    assert not hasattr(made, "depth")


def test_a_field_may_have_any_name() -> None:
    names = ["class", "copy", "as_dict", "address", "ctype", "size", "codec", "self", "mro", "None"]
    names += ["_ferry_descriptor", "__val", "__hash__", "__class__", "__slots__", "__getitem__"]
    made = struct("struct s { " + "".join(f"int {name};" for name in names) + " };")()
    for number, name in enumerate(names):
        made[name] = number
    for number, name in enumerate(names):
        assert made[name] == number
        if not name.endswith("__"):
            assert getattr(made, name) == number
            setattr(made, name, -number)
            assert made[name] == -number
    assert type(made).ctype.name == "struct s"
    assert copy.copy(made) == made
    assert "class=0" in repr(made)
    assert set(names) <= set(dir(made))


def test_comparison_ignores_padding_and_knows_types() -> None:
    padded = struct("struct s { char c; int i; };")
    one, two = padded(1, 2), padded(1, 2)
    memoryview(two)[1] = 0xFF
    assert one == two
    assert one != padded(1, 3)
    assert one != (1, 2)
    assert struct("struct t { char c; int i; };", "struct t")(1, 2) != one
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_a_copy_has_memory_of_its_own() -> None:
    one = struct(POINT, "struct point")(1, 2)
    others = [one.copy(), copy.copy(one), copy.deepcopy(one)]
    one.x = 9
    assert [other.x for other in others] == [1, 1, 1]


def test_the_buffer_is_the_memory() -> None:
    one = struct(POINT, "struct point")(1, 2)
    view = memoryview(one)
    assert (view.format, view.nbytes, view.readonly) == ("B", 8, False)
    view[4] = 7
    assert one.y == 7
    np.frombuffer(view, np.int32)[:] = 3
    del one
    assert bytes(view) == b"\3\0\0\0" * 2


def test_numbers_of_numpy_are_numbers() -> None:
    made = struct("struct s { short i; float f; double d; _Bool b; double _Complex z; };")()
    made.i, made.f, made.d = np.int64(-3), np.float32(0.1), np.longdouble(0.25)
    made.b, made.z = np.True_, np.complex64(1 + 2j)
    assert made.as_dict() == {"i": -3, "f": np.float32(0.1), "d": 0.25, "b": True, "z": 1 + 2j}
    rows = np.array([(5, 0.5)], dtype=[("i", "i2"), ("d", "f8")])
    assert type(made)(rows[0]) == type(made)(i=5, d=0.5)


def test_deep_and_long_values_are_shown_shortened() -> None:
    text = "struct a { int i; }; struct b { struct a a; }; struct c { struct b b; };"
    made = struct(text + "struct s { struct c c; int many[100]; char name[8]; };")(name="ok")
    assert repr(made) == (
        "<struct s c=<struct c b=<struct b a=<struct a ...>>> "
        "many=[0, 0, 0, 0, 0, 0, 0, 0, ...] name=b'ok'>"
    )


def test_a_flexible_array_goes_on_behind_the_record() -> None:
    message = struct("struct s { int length; short data[]; };")
    made = message(length=3, data=[1, 2, 3])
    assert bytes(made) == b"\3\0\0\0\1\0\2\0\3\0"
    assert made.size == 10
    assert made.data.tolist() == [1, 2, 3]
    made.data[2] = 9
    assert made.copy().data.tolist() == [1, 2, 9]
    assert message(length=1).data.tolist() == []
    pair = struct("struct m { int n; char d[]; }; struct s { struct m m; int after; };")
    with pytest.raises(ArgumentTypeError, match="no room"):
        pair(m={"n": 1, "d": b"x"})


def test_empty_records_and_arrays_are_values_too() -> None:
    empty = struct("struct e {}; struct s { struct e e[3]; int none[0]; int i; };")()
    assert empty.as_dict() == {"e": [{}, {}, {}], "none": [], "i": 0}
    assert empty == type(empty)()
    empty.e = [(), {}]
    assert len(empty.e) == 3


def test_wide_bit_fields_of_128_bits() -> None:
    made = struct("struct s { __int128 a : 100; unsigned __int128 b : 20; };")(a=-(2**99), b=7)
    assert (made.a, made.b) == (-(2**99), 7)
    made.a = 2**99 - 1
    assert (made.a, made.b) == (2**99 - 1, 7)
    with pytest.raises(ArgumentValueError, match="100 bits"):
        made.a = 2**99


def test_the_class_is_its_layout_and_cannot_be_changed() -> None:
    point, other = struct(POINT, "struct point"), struct("struct s { char c[100]; };")
    made = point(1, 2)
    with pytest.raises(TypeError):
        type("Derived", (point,), {})
    with pytest.raises(TypeError):
        point.x = property(lambda self: 5)
    with pytest.raises(TypeError):
        made.__class__ = other
    with pytest.raises(TypeError, match="cannot be deleted"):
        del made.x
    with pytest.raises(TypeError):
        Struct()
    with pytest.raises(TypeError):
        object.__new__(point)
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(made)
    assert vars(other)["c"].__get__(other()).tolist() == [0] * 100
    with pytest.raises(IndexError):
        vars(struct("struct t { char away[50]; int last; };", "struct t"))["last"].__get__(made)
    with pytest.raises(TypeError):
        vars(point)["x"].__get__(5)
    assert made.as_dict() == {"x": 1, "y": 2}


def test_values_code_may_do_anything() -> None:
    made = struct(POINT, "struct point")(1, 2)

    class Odd:
        def __index__(self) -> int:
            made.y = 50
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        made.x = Odd()
    assert made.as_dict() == {"x": 1, "y": 50}


def test_records_in_cycles_are_collected() -> None:
    class Holder(list[Any]):
        pass

    made = struct("struct s { char name[4]; };")()
    holder = Holder([made])
    view = memoryview(made)
    holder.append(view)
    gone = weakref.ref(holder)
    del made, view, holder
    gc.collect()
    assert gone() is None
