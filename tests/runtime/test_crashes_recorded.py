"""The record of a crash: written once, whatever else goes wrong, and believed little."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import signal
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import libferry as ferry
from libferry.abi import ABIS
from libferry.runtime import crash, fault, runner

from .conftest import Compile
from .test_life import ended

SOURCE = r"""
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

int add(int a, int b) { return a + b; }
void store(uintptr_t at) { *(volatile int *)at = 1; }
void store_through(const void *a, int b, double c, const char *d, void *e) { store(16); }
void divide(int by) { static volatile int one = 1; one = one / by; }
void stay(int seconds) { sleep((unsigned)seconds); }
void fill_and_stay(char *to, int size) { memset(to, 7, size); sleep(60); }
void give_up(void) { abort(); }

/* A stack whose upper half is beyond the end of its file: reading that is SIGBUS. */
static void fault_there(void) { store(16); }
void fault_on_half_a_stack(void)
{
    static ucontext_t here, there;
    int file = (int)syscall(SYS_memfd_create, "stack", 0);
    char *stack;
    ftruncate(file, 1 << 16);
    stack = mmap(NULL, 1 << 17, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    getcontext(&there);
    there.uc_stack.ss_sp = stack;
    there.uc_stack.ss_size = 1 << 16;
    makecontext(&there, fault_there, 0);
    swapcontext(&here, &there);
}

/* The record's own place is gone, but for its first page. */
void fault_without_an_area(void)
{
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned long from, to;
    while (fgets(line, sizeof line, maps))
        if (strstr(line, "libferry-channel") && sscanf(line, "%lx-%lx", &from, &to) == 2)
            munmap((char *)from + 4096, 49 * 4096);
    fclose(maps);
    divide(0);
}

static pthread_barrier_t together;
static void *fault_together(void *at)
{
    pthread_barrier_wait(&together);
    *(volatile int *)at = 1;
    return NULL;
}
void fault_in_many_threads(int count)
{
    pthread_t thread;
    pthread_barrier_init(&together, NULL, (unsigned)count);
    for (int i = 0; i < count; i++)
        pthread_create(&thread, NULL, fault_together, (void *)(uintptr_t)(16 * (i + 1)));
    sleep(60);
}

static volatile char sink;
static int deeper(int n)
{ volatile char f[256]; f[0] = (char)n; sink = f[0]; return deeper(n + 1) + f[0]; }
static void *overflow(void *unused) { deeper(0); return unused; }
void overflow_elsewhere(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, overflow, NULL);
    pthread_join(thread, NULL);
}
void fault_without_files(uintptr_t at)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_NOFILE, &none);
    store(at);
}
void fault_unheard(void) { signal(SIGSEGV, SIG_DFL); store(16); }

int fault_in_a_fork(int by_vfork)
{
    int status;
    pid_t child = by_vfork ? vfork() : fork();
    if (child == 0)
        store(32);
    waitpid(child, &status, 0);
    return WTERMSIG(status);
}

void ask_for_parent(long a, long b, long c, long d, long e, long f)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
    syscall(SYS_getppid, a, b, c, d, e, f);
}
"""
HEADER = """
int add(int a, int b); void store(uintptr_t at); void divide(int by); void stay(int seconds);
void store_through(const void *a, int b, double c, const char *d, void *e);
void fill_and_stay(char *to, int size); void give_up(void);
void fault_on_half_a_stack(void); void fault_without_an_area(void);
void fault_in_many_threads(int count); void overflow_elsewhere(void); void fault_unheard(void);
void fault_without_files(uintptr_t at); int fault_in_a_fork(int by_vfork);
void ask_for_parent(long a, long b, long c, long d, long e, long f);
"""


@pytest.fixture(scope="module")
def file(compile_c: Compile) -> Path:
    return compile_c(SOURCE, "-O0", "-fno-sanitize=undefined")


@pytest.fixture
def lib(file: Path) -> Iterator[ferry.Library]:
    with ferry.load(file, header=HEADER, isolation="worker", timeout=60) as library:
        yield library


def crashed(lib: ferry.Library, function: str, *arguments: object) -> ferry.LibraryCrashed:
    with pytest.raises(ferry.LibraryCrashed) as caught:
        lib[function](*arguments)
    return caught.value


# ---- what is written ----


def test_a_fault_while_one_is_recorded_leaves_the_first(lib: ferry.Library) -> None:
    error = crashed(lib, "fault_on_half_a_stack")
    assert (error.signal, error.address) == (signal.SIGSEGV, 16)
    assert error.registers["rdi"] == 16
    record = crash.fault_of(lib._ferry_session)
    assert record is not None
    assert len(record.stack) == HALF - _used(record)  # all that can be read
    assert record.modules


HALF = 1 << 16


def _used(record: fault.Fault) -> int:
    """How far the stack pointer is from the beginning of the stack's mapping."""
    (mapping,) = (m for m in record.modules if m.start <= record.stack_base < m.end)
    return record.stack_base - mapping.start


def test_without_a_file_to_be_had_there_is_a_stack_but_no_modules(lib: ferry.Library) -> None:
    error = crashed(lib, "fault_without_files", 0x1230)
    assert error.address == 0x1230
    record = crash.fault_of(lib._ferry_session)
    assert record is not None
    assert struct.pack("<Q", 0x1230) in record.stack
    assert record.modules == ()
    assert error.place == hex(error.program_counter or 0)


def test_not_even_its_own_memory_has_to_be_there(lib: ferry.Library) -> None:
    error = crashed(lib, "fault_without_an_area")
    assert error.signal == signal.SIGFPE


def test_of_threads_that_fault_at_once_one_is_told(lib: ferry.Library) -> None:
    error = crashed(lib, "fault_in_many_threads", 8)
    assert error.address in range(16, 16 * 9, 16)
    assert error.address in error.registers.values()


def test_the_stack_and_the_mappings_are_those_of_the_thread(lib: ferry.Library, file: Path) -> None:
    error = crashed(lib, "store", 0x1230)
    record = crash.fault_of(lib._ferry_session)
    assert record is not None
    assert record.stack_base == error.registers["rsp"]
    (frame,) = struct.unpack_from("<Q", record.stack, error.registers["rbp"] - record.stack_base)
    assert frame > error.registers["rbp"]  # it was built with frame pointers
    assert any(module.path == "[stack]" for module in record.modules)
    (code,) = (m for m in record.modules if m.path == str(file) and m.executable)
    assert error.program_counter is not None
    assert code.start <= error.program_counter < code.end


def test_a_forbidden_system_call_is_recorded_with_its_arguments(lib: ferry.Library) -> None:
    error = crashed(lib, "ask_for_parent", 1, 2, 3, 4, 5, 6)
    assert error.signal == signal.SIGSYS
    record = crash.fault_of(lib._ferry_session)
    assert record is not None
    call = record.system_call
    assert call is not None
    getppid, audit_arch_x86_64 = 110, 0xC000003E
    assert (call.number, call.architecture) == (getppid, audit_arch_x86_64)
    assert call.arguments == (1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize("by_vfork", [0, 1])
def test_a_child_of_the_library_may_fault_for_itself(lib: ferry.Library, by_vfork: int) -> None:
    assert lib.fault_in_a_fork(by_vfork) == signal.SIGSEGV
    assert lib.add(1, 2) == 3
    assert crashed(lib, "store", 16).address == 16


def test_what_is_first_in_a_pid_namespace_says_by_which_signal_it_ended(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel ignores what it sends itself; the exit code is no signal."""
    apart = ["unshare", "--user", "--pid", "--fork"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this system lets nobody make a pid namespace")
    plain = runner.find

    def find(*arguments: object) -> runner.Runner:
        found = plain(*arguments)  # type: ignore[arg-type]
        return dataclasses.replace(found, command=(*apart, *found.command))

    monkeypatch.setattr(runner, "find", find)
    for function, number in (("give_up", signal.SIGABRT), ("divide", signal.SIGFPE)):
        with ferry.load(file, header=HEADER, isolation="worker", timeout=60) as lib:
            error = crashed(lib, function, *([0] if function == "divide" else []))
            assert error.signal == number
            assert number.name in error.happened


# ---- where there is no record ----


def test_a_thread_of_the_librarys_own_that_overflows_leaves_no_record(lib: ferry.Library) -> None:
    error = crashed(lib, "overflow_elsewhere")
    assert error.signal == signal.SIGSEGV
    if "stack overflow" not in error.happened:  # a sanitizer gives every thread another stack
        assert "used up its stack" in error.hint
        assert error.place == ""


def test_a_handler_of_the_librarys_own_leaves_no_record(lib: ferry.Library) -> None:
    assert "a handler of its own" in crashed(lib, "fault_unheard").hint


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_being_killed_is_told_as_coming_from_outside(
    lib: ferry.Library, number: signal.Signals
) -> None:
    os.kill(lib.pid, number)
    assert ended(lib.pid)
    assert f"killed from outside: {number.name}" in crashed(lib, "add", 1, 2).happened


def test_a_fatal_signal_from_outside_names_its_sender(lib: ferry.Library) -> None:
    os.kill(lib.pid, signal.SIGSEGV)
    assert ended(lib.pid)
    assert f"SIGSEGV (sent by process {os.getpid()})" in crashed(lib, "add", 1, 2).happened


def test_a_system_that_kills_for_lack_of_memory_is_told_of(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = iter([3, 4])
    monkeypatch.setattr(crash, "_kills_for_memory", lambda: next(counts, 4))
    with ferry.load(file, header=HEADER, isolation="worker") as lib:
        os.kill(lib.pid, signal.SIGKILL)
        assert ended(lib.pid)
        assert "out of memory" in crashed(lib, "add", 1, 2).happened


def test_the_kernel_counts_what_it_kills_for_lack_of_memory() -> None:
    for line in Path("/proc/vmstat").read_text().splitlines():
        if line.startswith("oom_kill "):
            assert crash._kills_for_memory() == int(line.split()[1])


# ---- who is told, and what stays ----


def test_eight_callers_learn_of_one_crash(lib: ferry.Library) -> None:
    told: list[ferry.LibraryCrashed] = []
    waiting = threading.Barrier(9)

    def wait(seconds: int) -> None:
        waiting.wait()
        with pytest.raises(ferry.LibraryCrashed) as caught:
            lib.stay(seconds)
        told.append(caught.value)

    threads = [threading.Thread(target=wait, args=(60 + n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    waiting.wait()
    error = crashed(lib, "store", 16)
    for thread in threads:
        thread.join(30)
    told = [one for one in told if one.arguments != ("16",)]
    assert len(told) == 8
    assert {one.address for one in told} <= {16}
    started = [one for one in told if one.function]
    assert {one.function for one in started} <= {"stay"}
    assert error.function == "store"


def test_a_buffer_of_a_call_that_never_ends_stays_readable(lib: ferry.Library) -> None:
    buffer = lib.buffer(64)

    async def main() -> ferry.LibraryCrashed:
        call = asyncio.ensure_future(lib.aio.fill_and_stay(buffer, len(buffer)))
        while bytes(buffer) != b"\x07" * 64:
            await asyncio.sleep(0.01)
        os.kill(lib.pid, signal.SIGBUS)
        with pytest.raises(ferry.LibraryCrashed) as caught:
            await call
        return caught.value

    error = asyncio.run(main())
    assert error.function == "fill_and_stay"
    assert error.arguments is not None
    assert error.arguments[1] == "64"
    assert bytes(buffer) == b"\x07" * 64


class _Odd(bytearray):
    def __repr__(self) -> str:
        raise RuntimeError("not to be written")


def test_arguments_are_short_whatever_they_are(lib: ferry.Library) -> None:
    error = crashed(lib, "store_through", b"x" * 10**7, -5, 0.5, "y" * 10**6, _Odd(8))
    assert error.function == "store_through"
    assert error.arguments is not None
    assert error.arguments[0].startswith("b'xxxx")
    assert "10,000,000 bytes" in error.arguments[0]
    assert error.arguments[1:3] == ("-5", "0.5")
    assert "_Odd" in error.arguments[4]
    assert all(len(argument) < 200 for argument in error.arguments)


def test_many_rows_are_told_by_their_number(lib: ferry.Library) -> None:
    with pytest.raises(ferry.LibraryCrashed, match="call divide for 3 rows") as caught:
        lib.divide.batch([(1,), (0,), (1,)])
    assert caught.value.function == "divide"


def test_a_report_has_it_all_in_lines(lib: ferry.Library) -> None:
    error = crashed(lib, "store", 0xABC0)
    report = error.report().splitlines()
    assert report[0] == str(error)
    assert "called: store(43968)" in report
    assert any("rdi 0x000000000000abc0" in line for line in report)
    assert report[-1].startswith("hint: ")
    facts = error.as_dict()
    assert facts["address"] == "0xabc0"
    assert facts["arguments"] == ["43968"]
    assert facts["backtrace"] == [str(frame) for frame in error.backtrace]


# ---- what a hostile worker says ----


MAPS = 128 * 1024  # FAULT_MAPS of native/channel.h


@pytest.mark.parametrize("abi", ABIS)
@given(
    head=st.binary(min_size=fault.HEAD, max_size=fault.HEAD),
    kind=st.integers(0, 4),
    stack=st.binary(max_size=100),
    maps=st.one_of(st.text("0123456789abcdef-rwxp :/\n[]").map(str.encode), st.binary()),
)
def test_any_bytes_are_a_record(
    abi: str, head: bytes, kind: int, stack: bytes, maps: bytes
) -> None:
    likelier = head[:24] + struct.pack("<I", kind) + head[28:]
    for one in (head, likelier):
        _survives(abi, one, stack, maps)


@pytest.mark.parametrize("abi", ["x86_64-sysv", "i386-windows"])
def test_a_record_of_noise_is_read_in_bounded_time(abi: str) -> None:
    noise = random.Random(4)
    for maps in (noise.randbytes(MAPS), b"0-f " * (MAPS // 4), b"0-1 x\n" * (MAPS // 6)):
        _survives(abi, b"\xff" * fault.HEAD, b"", maps)


def _survives(abi: str, head: bytes, stack: bytes, maps: bytes) -> None:
    read = fault.read(abi, head, stack, maps)
    assert len(read.registers) <= 64
    assert len(read.frames) <= 64
    error = ferry.LibraryCrashed("call f", crash._recorded(read), hint="none")
    crash._attach(error, read)
    assert error.report()
    assert error.as_dict()
    assert isinstance(read.system_call, fault.SystemCall | None)


def test_a_forged_record_does_not_hide_the_true_end(lib: ferry.Library) -> None:
    """Only a record of the signal that the system has seen counts."""
    session = lib._ferry_session
    crashed(lib, "store", 16)
    life = crash._lives[session]
    assert life.fault is not None
    life.fault = dataclasses.replace(life.fault, code=signal.SIGILL)
    assert crash.fault_of(session) is None
    assert crash.crash(session, "call f").signal == signal.SIGSEGV
