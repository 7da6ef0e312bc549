"""Buffers, out parameters and typed pointers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import libferry as ferry

from .conftest import HEADER


def test_both_sides_see_a_buffer_without_copying(lib: ferry.Library) -> None:
    with lib.buffer(16) as buffer:
        view = np.frombuffer(memoryview(buffer), np.uint8)
        assert not view.any()  # zeroed
        lib.fill(buffer, 9, 16)
        assert view.tolist() == [9] * 16
        view[:] = 1
        assert lib.sum(buffer, 16) == 16
        del view


def test_a_view_of_a_buffer_is_the_same_memory_over_there(lib: ferry.Library) -> None:
    buffer = lib.buffer(64)
    lib.fill(memoryview(buffer)[16:32], 5, 16)
    assert bytes(buffer) == bytes(16) + b"\x05" * 16 + bytes(32)
    assert lib.same_place(buffer, memoryview(buffer)) == 1


def test_a_buffer_is_given_back_once_and_not_while_in_use(lib: ferry.Library) -> None:
    buffer = lib.buffer(16)
    view = memoryview(buffer)
    with pytest.raises(BufferError):
        buffer.free()
    view.release()
    buffer.free()
    buffer.free()
    with pytest.raises(ferry.ArgumentValueError, match="freed"):
        lib.fill(buffer, 1, 1)
    with pytest.raises(BufferError):
        memoryview(buffer)


def test_a_buffer_of_another_worker_is_copied(worker: ferry.Library, library_file: Path) -> None:
    with ferry.load(library_file, isolation="worker") as other:
        buffer = other.buffer(8)
        worker.fill(buffer, 3, 8)
        assert bytes(buffer) == b"\x03" * 8


def test_freed_memory_is_used_again(worker: ferry.Library) -> None:
    before = worker._ferry_session.arena_free
    for _ in range(100):
        buffers = [worker.buffer(size) for size in (1, 64, 65, 100_000)]
        for buffer in buffers[::2] + buffers[1::2]:
            buffer.free()
    assert worker._ferry_session.arena_free == before


def test_a_full_arena_says_so(library_file: Path) -> None:
    with ferry.load(library_file, header=HEADER, isolation="worker", arena=1 << 16) as lib:
        with pytest.raises(ferry.ArenaFull, match="65,536 free") as caught:
            lib.buffer(1 << 20)
        assert "arena=" in caught.value.hint
        with pytest.raises(ferry.ArenaFull):
            lib.sum(bytes(1 << 20), 1 << 20)
        assert lib.sum(b"\x01\x02", 2) == 3


def test_an_out_parameter_brings_a_typed_pointer(lib: ferry.Library) -> None:
    out = lib.out("thing *")
    assert out.value is None
    assert lib.thing_new(42, out) == 0
    thing = out.value
    assert isinstance(thing, ferry.Pointer)
    assert thing.type == "struct thing *"
    assert lib.thing_value(thing) == 42
    lib.thing_free(thing)


def test_an_out_parameter_brings_a_number(lib: ferry.Library) -> None:
    out = lib.out("double")
    lib.half(3, out)
    assert out.value == 1.5
    out.value = 7.0
    assert out.value == 7.0


@pytest.mark.parametrize(("ctype", "value"), [("int8_t", 128), ("int", 1.5), ("void *", 1)])
def test_an_out_parameter_refuses_what_does_not_fit(
    lib: ferry.Library, ctype: str, value: float
) -> None:
    with pytest.raises((ferry.ArgumentValueError, ferry.ArgumentTypeError)) as caught:
        lib.out(ctype).value = value
    assert caught.value.hint


@pytest.mark.parametrize("size", [-1, 1 << 50, 1 << 70])
def test_a_buffer_of_no_size_is_refused(lib: ferry.Library, size: int) -> None:
    with pytest.raises(ferry.ArgumentValueError, match="not a valid size"):
        lib.buffer(size)


def test_a_pointer_goes_only_where_its_type_is_expected(lib: ferry.Library) -> None:
    lib.thing_new(1, out := lib.out("thing *"))
    text = lib.owned()
    with pytest.raises(ferry.ArgumentTypeError, match="struct thing"):
        lib.thing_value(text)
    with pytest.raises(ferry.ArgumentTypeError):
        lib.thing_new(1, lib.out("int"))
    assert lib.is_null(text) == 0  # void * takes any
    assert lib.length(text) == 4
    assert lib.thing_value(text.cast("thing *")) > 0  # an override, by name
    lib.thing_free(out.value)


def test_a_pointer_of_another_library_is_refused(lib: ferry.Library, library_file: Path) -> None:
    with ferry.load(library_file, header=HEADER, isolation=lib.isolation) as other:  # type: ignore[arg-type]
        other.thing_new(1, out := other.out("thing *"))
        with pytest.raises(ferry.ArgumentTypeError, match="another library"):
            lib.thing_value(out.value)
        other.thing_free(out.value)


def test_an_address_becomes_a_pointer_by_cast_only(lib: ferry.Library) -> None:
    address = lib.symbol("greeting")
    assert address > 0
    assert lib.cast("void *", address).address == address
    assert lib.cast("void *", -1).address == 2**64 - 1
    with pytest.raises(ferry.DeclarationError, match="not a pointer"):
        lib.cast("int", 1)
    with pytest.raises(ferry.ArgumentTypeError):
        lib.cast("void *", 2**64)


def test_the_same_memory_twice_is_the_same_memory_there(lib: ferry.Library) -> None:
    data = bytearray(b"abc")
    assert lib.same_place(data, data) == 1


def test_memory_that_is_read_and_written_is_one() -> None:
    """Some functions work in place: the same array is the source and the target."""
    data = bytearray(b"ab")
    with ferry.load(
        "libc.so.6", header="void swab(const void *from, void *to, ssize_t n);", isolation="worker"
    ) as libc:
        libc.swab(data, data, 2)
    assert data == b"ba"


def test_overlapping_writable_memory_is_refused_across_a_worker(worker: ferry.Library) -> None:
    move = worker.function("void twice(int32_t *values, int count)")
    assert move is not None
    both = worker.function("int thing_new(int value, void *out)")
    assert both is not None
    swap = ferry.load(
        "libc.so.6", header="void swab(const void *from, void *to, ssize_t n);", isolation="worker"
    )
    data = bytearray(b"badc")
    with pytest.raises(ferry.ArgumentValueError, match="overlaps"):
        swap.swab(memoryview(data)[:3], memoryview(data)[1:], 2)
    swap.swab(memoryview(data)[:2], memoryview(data)[2:], 2)
    assert data == b"baab"
    swap.close()
