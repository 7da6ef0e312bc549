"""What a C parameter accepts, what it refuses, and with which words."""

from __future__ import annotations

import array
import math

import numpy as np
import pytest

import libferry as ferry


@pytest.mark.parametrize(
    ("function", "low", "high"),
    [
        ("same_i8", -(2**7), 2**7 - 1),
        ("same_u8", 0, 2**8 - 1),
        ("same_i16", -(2**15), 2**15 - 1),
        ("same_u32", 0, 2**32 - 1),
        ("same_i64", -(2**63), 2**63 - 1),
        ("same_u64", 0, 2**64 - 1),
    ],
)
def test_an_integer_takes_its_whole_range_and_nothing_beyond(
    lib: ferry.Library, function: str, low: int, high: int
) -> None:
    call = lib[function]
    assert [call(low), call(high), call(0)] == [low, high, 0]
    for beyond in (low - 1, high + 1, 2**70, -(2**70)):
        with pytest.raises(ferry.ArgumentValueError, match="does not fit") as caught:
            call(beyond)
        assert str(low) in str(caught.value)
        assert caught.value.hint


def test_numpy_integers_are_integers(lib: ferry.Library) -> None:
    assert lib.add(np.int64(40), np.uint8(2)) == 42
    assert lib.same_u64(np.uint64(2**64 - 1)) == 2**64 - 1


@pytest.mark.parametrize("value", [1.0, "1", b"12", None, [1]])
def test_an_integer_refuses_what_is_none(lib: ferry.Library, value: object) -> None:
    with pytest.raises(ferry.ArgumentTypeError, match=r"argument 2 \(b\).*not an integer"):
        lib.add(1, value)


def test_a_char_is_a_number_or_one_byte(lib: ferry.Library) -> None:
    assert lib.same_char(b"A") == lib.same_char(65) == 65
    assert lib.same_char(b"\xff") == -1  # char is signed on x86-64


def test_a_bool_takes_truth_values_only(lib: ferry.Library) -> None:
    assert lib.same_bool(True) is True
    assert lib.same_bool(0) is False
    assert lib.same_bool(np.True_) is True
    for value in (2, "yes", None):
        with pytest.raises(ferry.ArgumentTypeError, match="is not a bool"):
            lib.same_bool(value)


def test_floating_point_keeps_every_bit(lib: ferry.Library) -> None:
    for value in (0.1, -0.0, 5e-324, math.inf, -math.inf):
        assert lib.same_double(value).hex() == value.hex()
    assert math.isnan(lib.same_double(math.nan))
    assert lib.same_float(0.1) == float(np.float32(0.1))
    assert lib.same_double(3) == 3.0


def test_a_float_refuses_what_only_a_double_holds(lib: ferry.Library) -> None:
    with pytest.raises(ferry.ArgumentValueError, match="does not fit in float"):
        lib.same_float(1e300)
    assert lib.same_float(math.inf) == math.inf


def test_a_double_refuses_text(lib: ferry.Library) -> None:
    with pytest.raises(ferry.ArgumentTypeError, match="not a number"):
        lib.same_double("0.5")


def test_a_string_is_encoded_and_ended(lib: ferry.Library) -> None:
    assert lib.length("grüß") == 6
    assert lib.length(b"grues") == 5
    assert lib.length("") == lib.length(b"") == 0


def test_a_wide_string_has_the_targets_characters(lib: ferry.Library) -> None:
    assert lib.wide_length("grüß 😀") == 6  # wchar_t has four bytes on Linux
    with pytest.raises(ferry.ArgumentTypeError, match="cannot be passed"):
        lib.wide_length(b"bytes")


@pytest.mark.parametrize("value", ["a\0b", b"a\0b"])
def test_a_nul_inside_a_string_is_refused(lib: ferry.Library, value: str | bytes) -> None:
    with pytest.raises(ferry.ArgumentValueError, match="NUL"):
        lib.length(value)


def test_data_may_hold_nul(lib: ferry.Library) -> None:
    assert lib.sum(b"\0\x01\0\x02", 4) == 3


def test_a_string_result_is_decoded_without_loss(lib: ferry.Library) -> None:
    assert lib.greeting() == "grüß dich"
    assert lib.wide_greeting() == "grüß dich"
    assert lib.nothing() is None
    assert lib.not_utf8().encode("utf-8", "surrogateescape") == b"\xc4\xe3\xba\xc3"


@pytest.mark.parametrize("isolation", ["in-process", "worker"])
def test_another_encoding_goes_both_ways(library_file: str, isolation: str) -> None:
    header = "const char *not_utf8(void); size_t length(const char *);"
    with ferry.load(library_file, header=header, isolation=isolation, encoding="gbk") as lib:  # type: ignore[arg-type]
        assert lib.not_utf8() == "你好"
        assert lib.length("你好") == 4
    with ferry.load(library_file, header=header, isolation=isolation, encoding=None) as lib:  # type: ignore[arg-type]
        assert lib.not_utf8() == b"\xc4\xe3\xba\xc3"
        with pytest.raises(ferry.ArgumentTypeError, match="encoding=None"):
            lib.length("text")


def test_a_mutable_string_result_stays_a_pointer(lib: ferry.Library) -> None:
    text = lib.owned()
    assert isinstance(text, ferry.Pointer)
    assert (text.type, text.string(), text.read(2)) == ("char *", "mine", b"mi")


def test_none_is_null(lib: ferry.Library) -> None:
    assert lib.is_null(None) == 1
    assert lib.is_null(b"") == 0


@pytest.mark.parametrize(
    "target", [bytearray(10), memoryview(bytearray(10)), np.zeros(10, np.uint8)], ids=type
)
def test_writable_memory_comes_back_changed(
    lib: ferry.Library, target: bytearray | memoryview
) -> None:
    lib.fill(target, 7, 10)
    assert bytes(target) == b"\x07" * 10


def test_an_array_of_the_right_items_is_passed_in_place(lib: ferry.Library) -> None:
    assert lib.total(np.array([1.5, 2.5]), 2) == 4.0
    assert lib.total(array.array("d", [1, 2, 3]), 3) == 6.0
    values = np.arange(5, dtype=np.int32)
    lib.twice(values, 5)
    assert values.tolist() == [0, 2, 4, 6, 8]


def test_an_array_of_other_items_is_refused(lib: ferry.Library) -> None:
    with pytest.raises(ferry.ArgumentTypeError, match="ndarray of float32"):
        lib.total(np.zeros(4, np.float32), 4)
    with pytest.raises(ferry.ArgumentTypeError, match="items"):
        lib.twice(np.zeros(4, np.float32), 4)


def test_scattered_memory_is_refused(lib: ferry.Library) -> None:
    with pytest.raises(ferry.ArgumentTypeError, match="contiguous") as caught:
        lib.total(np.zeros(8)[::2], 4)
    assert "ascontiguousarray" in caught.value.hint


def test_read_only_memory_is_not_written_to(lib: ferry.Library) -> None:
    frozen = np.zeros(4, np.int32)
    frozen.flags.writeable = False
    for value in (b"12345678", memoryview(b"1234"), frozen):
        with pytest.raises(ferry.ArgumentTypeError, match="read-only"):
            lib.twice(value, 1)


def test_an_address_as_a_number_is_not_a_pointer(lib: ferry.Library) -> None:
    with pytest.raises(ferry.ArgumentTypeError, match="cannot be passed as const void") as caught:
        lib.is_null(4096)
    assert "lib.cast" in caught.value.hint


@pytest.mark.parametrize("arguments", [(), (1,), (1, 2, 3)])
def test_the_number_of_arguments_is_checked(lib: ferry.Library, arguments: tuple[int]) -> None:
    with pytest.raises(ferry.ArgumentTypeError, match="2 declared") as caught:
        lib.add(*arguments)
    assert "int add(int a, int b)" in caught.value.hint


def test_named_arguments_are_refused(lib: ferry.Library) -> None:
    with pytest.raises(ferry.ArgumentTypeError, match=r"no named arguments \(b\)"):
        lib.add(1, b=2)


def test_errno_is_that_of_the_last_call(lib: ferry.Library) -> None:
    lib.set_errno(33)
    assert lib.errno == 33
    lib.add(1, 2)
    assert lib.errno == 0
    assert lib.last_error == 0


def test_reading_a_string_result_leaves_errno_alone(lib: ferry.Library) -> None:
    text = lib.owned()
    lib.set_errno(33)
    assert text.string() == "mine"
    lib.symbol("add")
    assert lib.errno == 33
    assert lib.failing_text() == "failed"
    assert lib.errno == 5


def test_a_refused_argument_leaves_nothing_behind(worker: ferry.Library) -> None:
    before = worker._ferry_session.arena_free
    data = bytearray(1000)
    for _ in range(10):
        with pytest.raises(ferry.ArgumentTypeError):
            worker.fill(data, "no number", 10)
    assert worker._ferry_session.arena_free == before
    data.extend(b"free to move again")  # no buffer export is left


def test_a_value_that_closes_the_library_while_it_is_converted(library_file: str) -> None:
    lib = ferry.load(library_file, header="int add(int, int);", isolation="worker")

    class Closing:
        def __index__(self) -> int:
            lib.close()
            return 1

    with pytest.raises(ferry.LibraryClosed):
        lib.add(Closing(), 1)
