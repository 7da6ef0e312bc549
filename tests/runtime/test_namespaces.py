"""isolation="namespace": libraries side by side in this process, each with a libc of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import libferry as ferry
from libferry.runtime import namespaces
from tests.runtime.conftest import Compile

PLAIN = r"""
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static int calls;
int count(void) { return ++calls; }
int version(void) { return VERSION; }
int shared_name(void) { return 100 * VERSION; }
int by_name(void) { return shared_name(); }
int set_errno(int value) { errno = value; return -1; }
char *room(size_t size) { return malloc(size); }
void give_back(char *room) { free(room); }
int make_key(void) { pthread_key_t key; return pthread_key_create(&key, 0) ? -1 : (int)key; }
void *get_key(int key) { return pthread_getspecific((pthread_key_t)key); }
int set_key(int key, void *value) { return pthread_setspecific((pthread_key_t)key, value); }
int apply(int (*f)(int), int x) { return f(x); }
static void *run(void *f) { return (void *)(long)((int (*)(int))f)(20); }
int apply_on_a_thread(int (*f)(int))
{
    pthread_t thread; void *result;
    if (pthread_create(&thread, 0, run, (void *)f)) return -1;
    pthread_join(thread, &result);
    return (int)(long)result;
}
void say(const char *text) { printf("%s\n", text); }
"""
HEADER = """
int count(void); int version(void); int by_name(void); int set_errno(int value);
char *room(size_t size); void give_back(char *room);
int make_key(void); uintptr_t get_key(int key); int set_key(int key, uintptr_t value);
int apply(int (*f)(int), int x); int apply_on_a_thread(int (*f)(int)); void say(const char *text);
"""
# variables of threads in initial-exec TLS: 256 bytes of the static block
INITIAL_EXEC = r"""
#include <stdlib.h>
static __attribute__((tls_model("initial-exec"))) _Thread_local char block[256];
char *own(void) { if (!block[0]) block[0] = getenv("HOME") ? 1 : 2; return block; }
"""
TUNABLE = {"GLIBC_TUNABLES": "glibc.rtld.nns=16"}


@pytest.fixture(scope="session")
def plain(compile_c: Compile) -> Path:
    return compile_c(PLAIN, "-DVERSION=1", "-Wl,-soname,libplain.so.1")


@pytest.fixture(scope="session")
def initial_exec(compile_c: Compile) -> Path:
    return compile_c(INITIAL_EXEC)


def opened(path: Path, **options: object) -> ferry.Library:
    return ferry.load(path, header=HEADER, isolation="namespace", **options)  # type: ignore[arg-type]


def fresh(script: str, *words: object, **environment: str) -> Any:
    """What a script prints as JSON, in a Python of its own."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return json.loads(done.stdout)


def test_two_versions_of_one_library_live_side_by_side(compile_c: Compile, plain: Path) -> None:
    newer = compile_c(PLAIN, "-DVERSION=2", "-Wl,-soname,libplain.so.1")
    with opened(plain) as one, opened(newer) as two:
        assert (one.version(), two.version()) == (1, 2)
        assert (one.by_name(), two.by_name()) == (100, 200)


def test_the_same_library_twice_has_its_variables_twice(plain: Path) -> None:
    with opened(plain) as one, opened(plain) as two:
        assert [one.count(), one.count(), two.count()] == [1, 2, 1]


def test_it_is_in_this_process_and_says_how(plain: Path) -> None:
    with opened(plain) as lib:
        assert lib.pid == os.getpid()
        assert repr(lib) == "<libferry.Library lib.so (x86_64-sysv; namespace)>"


def test_errno_is_that_of_its_own_c_library(plain: Path) -> None:
    with opened(plain) as one, opened(plain) as two:
        one.set_errno(5)
        two.set_errno(7)
        assert (one.errno, two.errno) == (5, 7)
        one.count()
        assert one.errno == 0


def test_what_one_heap_gave_the_other_does_not_take(plain: Path) -> None:
    with opened(plain) as one, opened(plain) as two:
        memory = one.room(16)
        with pytest.raises(ferry.ArgumentTypeError, match="belongs to another library"):
            two.give_back(memory)
        one.give_back(memory)


def test_it_calls_python_back(plain: Path) -> None:
    with opened(plain) as lib:
        assert lib.apply(lambda x: x + 1, 41) == 42


def test_a_thread_that_it_began_calls_python_back(plain: Path) -> None:
    lib = opened(plain)
    assert lib.apply_on_a_thread(lambda x: lib.apply(lambda y: 2 * y, x) + 2) == 42


def test_pthread_keys_are_not_those_of_this_process(plain: Path) -> None:
    """Two C libraries in one process number their keys alike, and keep the values in one
    place: CPython's thread state is under one of the first."""
    with opened(plain) as one, opened(plain) as two:
        keys = [one.make_key() for _ in range(10)]
        others = [two.make_key() for _ in range(10)]
        assert not set(keys) & set(others)
        assert min(keys + others) >= 32
        one.set_key(keys[0], 77)
        assert two.get_key(others[0]) == 0
        assert one.apply(lambda x: x, one.get_key(keys[0])) == 77


def test_each_thread_has_its_own_values_and_ends_well(plain: Path) -> None:
    seen = []
    with opened(plain) as lib:
        key = lib.make_key()

        def use() -> None:
            before = lib.get_key(key)
            lib.set_key(key, threading.get_ident() & 0xFFFF | 1)
            seen.append((before, lib.get_key(key) == threading.get_ident() & 0xFFFF | 1))

        for _ in range(20):
            thread = threading.Thread(target=use)
            thread.start()
            thread.join()
    assert seen == [(0, True)] * 20


def test_a_new_namespace_does_not_see_values_of_an_old_one(plain: Path) -> None:
    numbers = set()
    for _ in range(3):
        with opened(plain) as lib:
            key = lib.make_key()
            numbers.add(key)
            assert lib.get_key(key) == 0
            lib.set_key(key, 4711)
    assert len(numbers) == 1, "the keys were not used again, so this has shown nothing"


def test_initial_exec_variables_of_threads(initial_exec: Path) -> None:
    with (
        ferry.load(initial_exec, header="char *own(void);", isolation="namespace") as one,
        ferry.load(initial_exec, header="char *own(void);", isolation="namespace") as two,
    ):
        assert one.own().address != two.own().address


def test_a_constructor_whose_dlopen_fails_goes_on(compile_c: Compile) -> None:
    path = compile_c(
        "#include <dlfcn.h>\nstatic int state = 1;\nint got(void) { return state; }\n"
        "__attribute__((constructor)) static void begin(void)\n"
        '{ state = dlopen("libnowhere.so.9", RTLD_NOW) ? 2 : 3; }',
        "-ldl",
    )
    with ferry.load(path, header="int got(void);", isolation="namespace") as lib:
        assert lib.got() == 3


def test_what_it_printed_is_there_in_the_end(plain: Path) -> None:
    script = """
import sys, libferry
lib = libferry.load(sys.argv[1], header="void say(const char *);", isolation="namespace")
lib.say("first")
lib.close()
lib = libferry.load(sys.argv[1], header="void say(const char *);", isolation="namespace")
lib.say("last")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, plain], capture_output=True, text=True, check=True
    )
    assert done.stdout == "first\nlast\n"


def test_a_thousand_times_leaves_nothing_behind(plain: Path) -> None:
    def left() -> tuple[int, int]:
        return namespaces.room(plain), Path("/proc/self/maps").read_text().count(".so")

    opened(plain).close()
    before, descriptors = left(), len(os.listdir("/proc/self/fd"))
    for _ in range(1000):
        with opened(plain) as lib:
            assert lib.count() == 1
    assert left() == before
    assert len(os.listdir("/proc/self/fd")) <= descriptors  # other tests' may be closed meanwhile


def test_whatever_order_they_are_closed_in_the_room_is_there_again(plain: Path) -> None:
    """glibc itself gives room back only if the last that was opened is the first closed."""
    before = namespaces.room(plain)
    libraries = [opened(plain) for _ in range(before)]
    for library in libraries:
        library.close()
    assert namespaces.room(plain) == before


def test_an_empty_one_in_the_middle_is_used_again(plain: Path) -> None:
    libraries = [opened(plain) for _ in range(namespaces.room(plain))]
    libraries.pop(1).close()
    assert namespaces.room(plain) == 1
    libraries.append(opened(plain))
    assert libraries[-1].count() == 1
    for library in libraries:
        library.close()


# how many the loader itself takes before it refuses, without us
REAL = """
import ctypes, json, sys, libferry.runtime
libc = ctypes.CDLL(None)
libc.dlmopen.restype = ctypes.c_void_p
libc.dlmopen.argtypes = [ctypes.c_long, ctypes.c_char_p, ctypes.c_int]
count = 0
while libc.dlmopen(-1, sys.argv[1].encode(), 2):
    count += 1
print(json.dumps(count))
"""
OURS = """
import json, sys, libferry
from libferry.runtime import namespaces
room = namespaces.room(sys.argv[1])
libraries = []
try:
    while True:
        libraries.append(libferry.load(sys.argv[1], isolation="namespace"))
except libferry.NamespacesFull as error:
    print(json.dumps([room, len(libraries), namespaces.room(sys.argv[1]), str(error), error.hint]))
"""


@pytest.mark.parametrize("environment", [{}, TUNABLE], ids=["as it is", "nns=16"])
@pytest.mark.parametrize("kind", ["plain", "initial_exec"])
def test_the_limit_is_known_before_it_is_hit(
    kind: str, environment: dict[str, str], request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(kind)
    real = fresh(REAL, path, **environment)
    room, fitted, left, message, hint = fresh(OURS, path, **environment)
    assert (room, fitted, left) == (real, real, 0)
    assert f"{real} namespaces" in message
    assert "isolation='worker'" in hint
    assert ("nns=16" in hint) is not bool(environment)


def test_a_library_that_is_refused_takes_no_room(compile_c: Compile, plain: Path) -> None:
    other = compile_c("int f(void) { return 1; }", "-Wl,-soname,libgone.so", name="libgone.so")
    broken = compile_c("int f(void); int g(void) { return f(); }", str(other))
    other.unlink()
    before = namespaces.room(plain)
    with pytest.raises(ferry.LoadError, match=r"libgone\.so"):
        ferry.load(broken, isolation="namespace")
    assert namespaces.room(plain) == before


@pytest.mark.needs("/lib/ld-linux.so.2", install="apt-get install libc6-i386")
def test_only_what_this_process_can_hold() -> None:
    with pytest.raises(ferry.NoRunner, match="it is i386-sysv"):
        ferry.load("/usr/lib32/libc.so.6", isolation="namespace")
