"""Records, arrays and pointers in memory that a library sees."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

import libferry as ferry

from .conftest import HEADER


def test_a_new_record_is_memory_of_both_sides(lib: ferry.Library) -> None:
    point = lib.new("struct point", x=1, y=2)
    lib.move(point, 10)
    assert (point.x, point.y) == (11, 12)
    point.x = 0
    lib.move(point, 1)
    assert repr(point) == "<struct point x=1 y=13>"


def test_a_new_array_is_memory_of_both_sides(lib: ferry.Library) -> None:
    numbers = lib.new("int[10]", range(4))
    assert lib.total(numbers, 10) == 6
    numbers[5] = 10
    assert lib.total(numbers, 10) == 16
    assert lib.total(numbers[5:], 5) == 10
    corners = lib.new("struct point[2]", [(1, 2), {"y": 5}])
    corners[1].x = 4
    assert lib.area(corners) == 20
    lib.move(corners[1], 1)
    assert corners.tolist() == [{"x": 1, "y": 2}, {"x": 5, "y": 6}]
    assert lib.new("char[]", "hello").string() == "hello"


def test_a_new_number_is_a_cell(lib: ferry.Library) -> None:
    cell = lib.new("long double", 1.5)
    assert cell.value == 1.5
    cell.value = 2
    assert cell.value == 2.0
    number = lib.new("int", 5)
    assert lib.total(number, 1) == 5


def test_a_record_of_this_process_is_copied_in_and_out(lib: ferry.Library) -> None:
    point = lib.new("struct point", 1, 2).copy()
    lib.move(point, 1)
    assert (point.x, point.y) == (2, 3)


def test_memory_lives_as_long_as_what_points_to_it(worker: ferry.Library) -> None:
    free = worker._ferry_session.arena_free
    node = worker.new("struct node", value=3, name="three")
    node = worker.new("struct node", 2, node, "two")
    node = worker.new("struct node", 1, node)
    gc.collect()
    assert worker.sum_list(node) == 6
    assert worker.name_length(node.next) == 3
    node.next = None
    gc.collect()
    assert worker.sum_list(node) == 1
    del node
    gc.collect()
    assert worker._ferry_session.arena_free == free


def test_records_that_point_to_each_other_are_collected(worker: ferry.Library) -> None:
    free = worker._ferry_session.arena_free
    first, second = worker.new("struct node", 1), worker.new("struct node", 2)
    first.next, second.next = second, first
    assert first.next.address == second.address
    del first, second
    gc.collect()
    assert worker._ferry_session.arena_free == free


def test_assigning_a_part_keeps_what_it_points_to(worker: ferry.Library) -> None:
    nodes = worker.new("struct node[2]")
    nodes[0] = {"value": 1, "name": "kept"}
    nodes[1] = nodes[0]
    nodes[0] = {}
    gc.collect()
    assert nodes[1].name.string() == "kept"
    copy = nodes[1].copy()
    nodes[1] = {}
    gc.collect()
    assert copy.name.string() == "kept"


def test_a_buffer_cannot_be_freed_under_a_view(lib: ferry.Library) -> None:
    buffer = lib.buffer(32)
    node = lib.new("struct node", next=None)
    from libferry import _core

    view = _core.view(type(node), buffer, 8, lib)
    view.value = 5
    assert bytes(buffer)[8] == 5
    with pytest.raises(BufferError):
        buffer.free()
    del view
    buffer.free()
    with pytest.raises(BufferError):
        _core.view(type(node), buffer, 0, lib)


def test_fields_may_hold_callables(lib: ferry.Library) -> None:
    table = lib.new("struct table", compare=lambda a, b: a - b, weights=[0.5, 0, 0, 2])
    gc.collect()
    assert lib.call_compare(table, 5, 3) == 2
    assert lib.weight(table) == 2.5
    table.compare = lambda a, b: a * b
    assert lib.call_compare(table, 5, 3) == 15


def test_a_pointer_leads_to_a_value(lib: ferry.Library) -> None:
    origin = lib.get_origin()
    assert (origin.value.x, origin.value.y) == (3, 4)
    origin.value = {"x": 5, "y": 6}
    assert lib.get_origin()[0].as_dict() == {"x": 5, "y": 6}
    origin[0] = (3, 4)
    counter = lib.get_counter()
    assert counter.value == 7
    counter.value = 8
    assert lib.total(counter, 1) == 8
    counter[0] = 7
    assert counter[0:1].tolist() == [7]
    for wrong in (-(2**62), 2**63):
        with pytest.raises(ferry.ArgumentValueError, match="outside of the address space"):
            counter[wrong]
    for part in (slice(None), slice(3, 1), slice(0, 4, 2)):
        with pytest.raises(ferry.ArgumentTypeError):
            counter[part]
    with pytest.raises(TypeError):
        counter["0"]


def test_in_this_process_a_pointer_leads_to_the_memory_itself(records_file: Path) -> None:
    with ferry.load(records_file, header=HEADER, isolation="in-process") as lib:
        origin = lib.get_origin().value
        origin.x = 9
        assert lib.get_origin().value.x == 9
        origin.x = 3
    with pytest.raises(ferry.LibraryClosed):
        origin.x = 1
    with pytest.raises(ferry.LibraryClosed):
        memoryview(origin)
    assert "closed" in repr(origin)


def test_what_a_view_shows_is_not_unmapped(records_file: Path) -> None:
    lib = ferry.load(records_file, header=HEADER, isolation="in-process")
    view = memoryview(lib.get_origin().value)
    lib.close()
    assert bytes(view) == b"\3\0\0\0\4\0\0\0"


def test_pointers_are_followed_from_record_to_record(lib: ferry.Library) -> None:
    first = lib.get_list().value
    assert first.value == 1
    assert first.name.string() == "first"
    assert first.next.value.name.string() == "second"
    assert first.next.value.next is None


def test_a_pointer_in_our_memory_leads_back_to_it(lib: ferry.Library) -> None:
    target = lib.new("struct node", 5)
    node = lib.new("struct node", next=target)
    assert node.next.value.value == 5
    node.next.value = {"value": 6}
    assert target.value == 6


@pytest.mark.parametrize(
    ("ctype", "message"),
    [("void *", "void"), ("struct unknown *", "struct unknown"), ("int (*)(int)", "int")],
)
def test_what_has_no_size_cannot_be_read(lib: ferry.Library, ctype: str, message: str) -> None:
    pointer = lib.cast(ctype, lib.symbol("counter"))
    with pytest.raises(ferry.ArgumentTypeError, match=f"size of {message}") as caught:
        _ = pointer.value
    assert caught.value.hint


def test_a_string_needs_an_owner(lib: ferry.Library) -> None:
    node = lib.get_list()
    with pytest.raises(ferry.ArgumentTypeError, match="keep the string"):
        node.value = {"name": "nobody would keep this"}


def test_pointers_of_another_library_or_type_are_refused(
    lib: ferry.Library, records_file: Path
) -> None:
    node, point = lib.new("struct node"), lib.new("struct point")
    with ferry.load(records_file, header=HEADER, isolation="worker") as other:
        for wrong in (other.get_list(), other.new("struct node"), other.buffer(8)):
            with pytest.raises((ferry.ArgumentTypeError, ferry.ArgumentValueError)):
                node.next = wrong
    for wrong in (point, lib.get_counter(), 5, "text", bytearray(8)):
        with pytest.raises(ferry.ArgumentTypeError, match=r"set struct node\.next"):
            node.next = wrong
    node.next = lib.buffer(24)
    freed = lib.buffer(24)
    freed.free()
    with pytest.raises(ferry.ArgumentValueError, match="freed"):
        node.next = freed
    with pytest.raises(ferry.ArgumentTypeError):
        lib.move(lib.new("struct node"), 1)


def test_memory_of_this_process_has_no_address_in_a_worker(worker: ferry.Library) -> None:
    here = worker.new("struct node", 1).copy()
    node = worker.new("struct node")
    with pytest.raises(ferry.ArgumentValueError, match="in this process"):
        node.next = here
    with pytest.raises(ferry.ArgumentTypeError, match="take the address"):
        _ = here.address
    assert node.address == worker.new("struct node", next=node).next.address


def test_large_alignments_are_kept(lib: ferry.Library) -> None:
    for _ in range(5):
        aligned = lib.new("struct _Alignas64", c=1)
        assert aligned.address % 64 == 0
        assert lib.address_ends_in_zeros(aligned, 64)
        assert len(bytes(aligned)) == 64
        assert lib.new("struct _Alignas256[2]", [{"c": 1}]).address % 256 == 0
        assert lib.new("vector8", range(8)).address % 32 == 0


def test_a_flexible_array_is_allocated_with_its_record(lib: ferry.Library) -> None:
    message = lib.new("struct message", length=5, data="hello")
    assert message.data.string() == "hello"
    message.data[0] = b"j"
    assert bytes(message) == b"\5\0\0\0jello"


def test_a_list_is_an_array_for_a_pointer_to_const(lib: ferry.Library) -> None:
    assert lib.total([1, 2, 3], 3) == 6
    assert lib.area([(0, 0), (5, 6)]) == 30
    assert lib.count_words(["a", "list", "of words", None]) == 3
    with pytest.raises(ferry.ArgumentTypeError, match=r"\[1\]"):
        lib.total([1, "2"], 2)


def test_a_dict_is_a_record_for_a_pointer_to_const(lib: ferry.Library) -> None:
    assert lib.sum_list({"value": 7}) == 7
    assert lib.name_length({"name": "seven"}) == 5
    with pytest.raises(ferry.ArgumentTypeError, match="near matches: value"):
        lib.sum_list({"valu": 7})
    with pytest.raises(ferry.ArgumentTypeError, match="what lib.new made"):
        lib.move({"x": 1}, 1)  # not const: C's change would be lost


def test_what_lib_new_cannot_make(lib: ferry.Library) -> None:
    for ctype in ("char[200000000000000]", "int[1000000][1000000][1000000]"):
        with pytest.raises(ferry.DeclarationError, match="address space"):
            lib.new(ctype)
    for ctype in ("char[100000000000000]",):
        with pytest.raises(ferry.ArenaFull):
            lib.new(ctype, b"a")
        with pytest.raises(ferry.ArenaFull):
            lib.new(ctype)
    for ctype in ("void", "struct unknown", "int (int)"):
        with pytest.raises(ferry.DeclarationError):
            lib.new(ctype)
    with pytest.raises(ferry.ArgumentTypeError):
        lib.new("int", 1, 2)
    with pytest.raises(ferry.ArgumentTypeError):
        lib.new("struct point", 1, y=2)
    with pytest.raises(ferry.ArgumentValueError):
        lib.new("char[2]", "abc")


def test_numpy_sees_the_same_memory(lib: ferry.Library) -> None:
    numbers = lib.new("int[6]")
    numbers.as_numpy()[:] = np.arange(6)
    assert lib.total(numbers, 6) == 15
    corners = lib.new("struct point[2]").as_numpy()
    corners["x"], corners["y"] = 3, 4
    gc.collect()
    assert lib.area(corners.view(np.uint8).view(np.int32).reshape(2, 2).copy().tobytes()) == 12


def test_memory_outlives_the_library(lib: ferry.Library) -> None:
    numbers, node = lib.new("int[3]", [1, 2, 3]), lib.new("struct node", 5)
    node.next = node
    view = numbers.as_numpy()
    lib.close()
    assert view.tolist() == numbers.tolist() == [1, 2, 3]
    assert node.value == 5
    numbers[0] = 9
    node.next = None
    with pytest.raises(ferry.LibraryClosed):
        node.name = "no memory for this any more"
    with pytest.raises(ferry.LibraryClosed):
        lib.new("int")
