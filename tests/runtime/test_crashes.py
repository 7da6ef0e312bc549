"""What ends a worker, told by its cause, its place and its call, on every side.

What is expected comes from the kernel's headers (si_code), from Microsoft's (exception
codes), and from the compiled library's own symbols.
"""

from __future__ import annotations

import logging
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

import libferry as ferry
from libferry import unwind
from libferry.runtime.crash import fault_of
from libferry.runtime.life import Restart

from .sides import SIDES, Side, compiled, opened

SOURCE = r"""
#include <stdint.h>
#include <stdlib.h>
#ifdef _WIN32
#include <windows.h>
static DWORD WINAPI elsewhere(void *at) { *(volatile int *)at = 1; return 0; }
EXPORT void store_elsewhere(uintptr_t at)
{ WaitForSingleObject(CreateThread(NULL, 0, elsewhere, (void *)at, 0, NULL), INFINITE); }
EXPORT void fail_fast(void) { __asm__ volatile("int $0x29" : : "c"(7)); }
static DWORD WINAPI overflow(void *unused);
EXPORT void overflow_elsewhere(unsigned stack)
{
    DWORD flags = STACK_SIZE_PARAM_IS_A_RESERVATION;
    WaitForSingleObject(CreateThread(NULL, stack, overflow, NULL, flags, NULL), INFINITE);
}
EXPORT void throw_it(unsigned code) { RaiseException(code, 0, 0, NULL); }
#else
#include <pthread.h>
static void *elsewhere(void *at) { *(volatile int *)at = 1; return NULL; }
EXPORT void store_elsewhere(uintptr_t at)
{
    pthread_t thread;
    pthread_create(&thread, NULL, elsewhere, (void *)at);
    pthread_join(thread, NULL);
}
#endif
static const int constant = 1;
static volatile char sink;
EXPORT int add(int a, int b) { return a + b; }
EXPORT void store(uintptr_t at) { *(volatile int *)at = 1; }
EXPORT void store_constant(void) { *(volatile int *)(uintptr_t)&constant = 2; }
EXPORT void jump(uintptr_t to) { ((void (*)(void))to)(); }
EXPORT int deeper(int n)
{ volatile char frame[256]; frame[0] = (char)n; sink = frame[0]; return deeper(n + 1) + frame[0]; }
#ifdef _WIN32
static DWORD WINAPI overflow(void *unused) { return unused ? 0 : (DWORD)deeper(0); }
#endif
EXPORT int deeper_after(int (*call)(int)) { return deeper(call(0)); }
EXPORT void leave(int code) { exit(code); }
EXPORT void leave_now(int code) { _Exit(code); }
EXPORT void give_up(void) { abort(); }
EXPORT void divide(int by) { static volatile int one = 1; one = one / by; }
"""
HEADER = """
int add(int a, int b); void store(uintptr_t at); void store_constant(void); void jump(uintptr_t to);
void store_elsewhere(uintptr_t at); int deeper(int n); void leave(int code);
void leave_now(int code); void give_up(void); void divide(int by);
int deeper_after(int (*call)(int));
"""
WINDOWS_ONLY = """
void throw_it(unsigned code); void fail_fast(void); void overflow_elsewhere(unsigned stack);
"""
ACCESS_VIOLATION, STACK_OVERFLOW, DIVIDED = 0xC0000005, 0xC00000FD, 0xC0000094
CPP_EXCEPTION = 0xE06D7363
MSVCRT_ABORT = 3
STACK_BUFFER_OVERRUN = 0xC0000409

WORKERS = [side for side in SIDES if str(side.id).endswith("worker")]
X86 = [side for side in WORKERS if str(side.id).startswith(("x86", "i386"))]
WINDOWS = [side for side in WORKERS if "windows" in str(side.id)]


@pytest.fixture
def lib(side: Side) -> Iterator[ferry.Library]:
    more = WINDOWS_ONLY if "windows" in side[0] else ""
    with opened(side, SOURCE, HEADER + more, timeout=60) as library:
        assert library.add(1, 2) == 3
        yield library


def crash(lib: ferry.Library, function: str, *arguments: object) -> ferry.LibraryCrashed:
    with pytest.raises(ferry.LibraryCrashed) as caught:
        lib[function](*arguments)
    assert caught.value.function == function
    return caught.value


@pytest.mark.parametrize("side", WORKERS)
def test_an_access_is_told_with_its_address_its_place_and_its_call(
    lib: ferry.Library, side: Side
) -> None:
    error = crash(lib, "store", 16)
    assert error.address == 16
    if "windows" in side[0]:
        assert error.code == ACCESS_VIOLATION
        assert "EXCEPTION_ACCESS_VIOLATION (written)" in error.happened
    else:
        assert error.signal == signal.SIGSEGV
        assert "SIGSEGV (not mapped)" in error.happened
    assert error.arguments == ("16",)
    assert error.program_counter in error.registers.values()
    assert error.lane == 0
    assert error.thread
    file = compiled(SOURCE, side[0])
    assert _symbol_at(file, _offset(error.place, file.name)) == "store"


def _offset(place: str, name: str) -> int:
    found = re.match(re.escape(name) + r"\+0x([0-9a-f]+)", place)
    assert found, place
    return int(found[1], 16)


def _symbol_at(file: Path, offset: int) -> str:
    """The exported function that begins last before an offset."""
    before = [one for one in ferry.inspect(file).exports if one.address <= offset]
    return max(before, key=lambda one: one.address).name


@pytest.mark.parametrize("side", WORKERS)
def test_a_write_to_a_constant_has_no_permission(lib: ferry.Library, side: Side) -> None:
    error = crash(lib, "store_constant")
    expected = "ACCESS_VIOLATION (written)" if "windows" in side[0] else "SIGSEGV (no permission)"
    assert expected in error.happened
    assert f"at address {error.address:#x}" in error.happened


@pytest.mark.parametrize("side", WORKERS)
def test_a_jump_into_nothing_is_told_by_where_it_led(lib: ferry.Library, side: Side) -> None:
    error = crash(lib, "jump", 0)
    assert error.address == 0
    assert not error.program_counter
    assert error.place.startswith("0x0")


@pytest.mark.parametrize("side", WORKERS)
def test_a_stack_that_overflows_is_told_as_such(lib: ferry.Library, side: Side) -> None:
    error = crash(lib, "deeper", 0)
    if "windows" in side[0]:
        assert error.code == STACK_OVERFLOW
        assert "STACK_OVERFLOW" in error.happened
    else:
        assert error.signal == signal.SIGSEGV
        assert "stack overflow" in error.happened
    file = compiled(SOURCE, side[0])
    assert _symbol_at(file, _offset(error.place, file.name)) == "deeper"


@pytest.mark.parametrize("side", WORKERS)
def test_a_stack_that_overflows_on_another_lane_is_too(lib: ferry.Library, side: Side) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = Barrier(2)

        def meet(number: int) -> int:  # so there are two lanes, and one is not the main thread's
            both.wait(60)
            return number

        calls = [pool.submit(lib.deeper_after, meet) for _ in range(2)]
        for call in calls:
            with pytest.raises(ferry.LibraryCrashed, match=r"(?i)stack.overflow"):
                call.result()


@pytest.mark.parametrize("side", WORKERS)
def test_a_fault_on_the_librarys_own_thread_ends_the_callers_call(
    lib: ferry.Library, side: Side
) -> None:
    error = crash(lib, "store_elsewhere", 16)
    assert error.address == 16
    assert error.lane is None
    assert error.thread
    assert "the library's own" in error.report()


@pytest.mark.parametrize("side", WORKERS)
@pytest.mark.parametrize("function", ["leave", "leave_now"])
def test_a_library_may_end_its_process_itself(lib: ferry.Library, function: str) -> None:
    error = crash(lib, function, 7)
    assert error.happened == "the library ended its process: exit(7)"
    assert (error.code, error.signal, error.place) == (7, None, "")


@pytest.mark.parametrize("side", WORKERS)
def test_abort_is_told_as_its_system_does_it(lib: ferry.Library, side: Side) -> None:
    error = crash(lib, "give_up")
    if "windows" in side[0]:
        assert error.code == MSVCRT_ABORT
        assert "abort()" in error.hint
    else:
        assert error.signal == signal.SIGABRT
        assert "raised by itself" in error.happened


@pytest.mark.parametrize("side", X86)
def test_a_division_by_zero_is_told(lib: ferry.Library, side: Side) -> None:
    error = crash(lib, "divide", 0)
    if "windows" in side[0]:
        assert error.code == DIVIDED
    else:
        assert "SIGFPE (an integer divided by zero)" in error.happened


@pytest.mark.parametrize("side", WINDOWS)
def test_a_cpp_exception_nobody_caught_is_told(lib: ferry.Library, side: Side) -> None:
    error = crash(lib, "throw_it", CPP_EXCEPTION)
    assert "an uncaught C++ exception" in error.happened
    assert error.code == CPP_EXCEPTION


@pytest.mark.parametrize("side", WINDOWS)
def test_windows_finds_the_callers_itself(lib: ferry.Library, side: Side) -> None:
    crash(lib, "store", 16)
    record = fault_of(lib._ferry_session)
    assert record is not None
    callers = [
        module.path.rpartition("\\")[2]
        for address in record.frames
        for module in record.modules
        if module.start <= address < module.end
    ]
    assert callers[0] == f"worker-{side[0]}.exe"
    assert callers[-1] == "ntdll.dll"


@pytest.mark.parametrize("side", WINDOWS)
@pytest.mark.parametrize("stack", [0, 4 << 20])
def test_a_windows_thread_that_overflows_is_told_whoever_made_it(
    lib: ferry.Library, stack: int
) -> None:
    error = crash(lib, "overflow_elsewhere", stack)
    assert error.code == STACK_OVERFLOW
    assert error.lane is None


@pytest.mark.parametrize("side", WINDOWS)
def test_of_what_passes_every_filter_by_eight_bits_are_left(lib: ferry.Library) -> None:
    error = crash(lib, "fail_fast")
    assert error.code == STACK_BUFFER_OVERRUN & 0xFF
    assert "__fastfail" in error.hint


# tests/unwind/test_real_workers.py has longer ones
@pytest.mark.parametrize("side", WINDOWS)
def test_a_backtrace_of_windows_ends_before_the_worker(lib: ferry.Library, side: Side) -> None:
    modules = [str(frame).partition("+")[0] for frame in crash(lib, "store", 16).backtrace]
    assert modules == ["lib.dll"]


def test_who_waits_for_the_error_does_not_wait_for_its_backtrace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It takes longer than the crash; the log's line, too, is made when somebody reads it."""
    unwound: list[object] = []

    def backtrace(fault: object) -> tuple[str]:
        unwound.append(fault)
        return ("somewhere",)

    monkeypatch.setattr(unwind, "backtrace", backtrace)
    monkeypatch.setattr(logging.getLogger("libferry"), "propagate", False)
    path = compiled("#include <stdlib.h>\nvoid die(void) { abort(); }", "x86_64-sysv")
    lib = ferry.load(path, header="void die(void);", isolation="worker")
    with pytest.raises(ferry.LibraryCrashed) as caught:
        lib.die()
    assert unwound == []
    str(caught.value)
    assert len(unwound) == 1


@pytest.mark.parametrize(
    ("restart", "fresh"),
    [
        ("never", "load the library again for a fresh worker"),
        (
            "next-call",
            "the next call starts a fresh worker, and what was made in the old one is refused "
            "there",
        ),
    ],
)
def test_the_hint_says_what_to_do_in_order(restart: Restart, fresh: str) -> None:
    check = "if every call does this, check the declaration against the library's header"
    side: Side = ("x86_64-sysv", "worker")
    with (
        opened(side, SOURCE, "void store(uintptr_t at);", restart=restart) as lib,
        pytest.raises(ferry.LibraryCrashed) as caught,
    ):
        lib.store(16)
    assert caught.value.hint == f"this process is unharmed; {fresh}; {check}"
