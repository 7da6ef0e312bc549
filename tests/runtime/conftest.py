"""A small C library of bad and good manners, for the tests of calling."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import libferry as ferry

SOURCE = r"""
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

int add(int a, int b) { return a + b; }
int8_t same_i8(int8_t v) { return v; }
uint8_t same_u8(uint8_t v) { return v; }
int16_t same_i16(int16_t v) { return v; }
uint32_t same_u32(uint32_t v) { return v; }
int64_t same_i64(int64_t v) { return v; }
uint64_t same_u64(uint64_t v) { return v; }
char same_char(char v) { return v; }
bool same_bool(bool v) { return v; }
float same_float(float v) { return v; }
double same_double(double v) { return v; }

size_t length(const char *text) { return strlen(text); }
size_t wide_length(const wchar_t *text) { return wcslen(text); }
const char *greeting(void) { return "gr\xc3\xbc\xc3\x9f dich"; }
const char *not_utf8(void) { return "\xc4\xe3\xba\xc3"; }
const wchar_t *wide_greeting(void) { return L"gr\u00fc\u00df dich"; }
const char *nothing(void) { return NULL; }
char *owned(void) { static char text[] = "mine"; return text; }
int is_null(const void *p) { return p == NULL; }

uint32_t sum(const uint8_t *data, size_t size)
{
    uint32_t total = 0;
    while (size--) total += *data++;
    return total;
}
void fill(void *to, int value, size_t size) { memset(to, value, size); }
double total(const double *values, int count)
{
    double sum = 0;
    while (count--) sum += *values++;
    return sum;
}
void twice(int32_t *values, int count) { while (count--) *values++ *= 2; }
int same_place(const void *a, const void *b) { return a == b; }

struct thing { int value; };
int thing_new(int value, struct thing **out)
{
    *out = malloc(sizeof **out);
    (*out)->value = value;
    return 0;
}
int thing_value(const struct thing *thing) { return thing->value; }
void thing_free(struct thing *thing) { free(thing); }
void half(double value, double *out) { *out = value / 2; }

const char *failing_text(void) { errno = 5; return "failed"; }
int set_errno(int value) { errno = value; return -1; }
static int calls;
int count_call(void) { return ++calls; }
void pause_ms(int ms) { usleep((useconds_t)ms * 1000); }
void crash_at(uintptr_t address) { *(volatile int *)address = 1; }
void divide(int by) { static volatile int one = 1; one = one / by; }
void trap(void) { __asm__ volatile("int3"); }
void stop(void) { abort(); }
void leave(int code) { _exit(code); }
"""

HEADER = """
int add(int a, int b);
int8_t same_i8(int8_t v); uint8_t same_u8(uint8_t v); int16_t same_i16(int16_t v);
uint32_t same_u32(uint32_t v); int64_t same_i64(int64_t v); uint64_t same_u64(uint64_t v);
char same_char(char v); bool same_bool(bool v);
float same_float(float v); double same_double(double v);
size_t length(const char *text); size_t wide_length(const wchar_t *text);
const char *greeting(void); const char *not_utf8(void); const wchar_t *wide_greeting(void);
const char *nothing(void); char *owned(void); int is_null(const void *p);
uint32_t sum(const uint8_t *data, size_t size);
void fill(void *to, int value, size_t size);
double total(const double *values, int count);
void twice(int32_t *values, int count);
int same_place(const void *a, const void *b);
typedef struct thing thing;
int thing_new(int value, thing **out); int thing_value(const thing *thing);
void thing_free(thing *thing); void half(double value, double *out);
const char *failing_text(void);
int set_errno(int value); int count_call(void); void pause_ms(int ms);
void crash_at(uintptr_t address); void divide(int by); void trap(void); void stop(void);
void leave(int code);
"""

Compile = Callable[..., Path]


@pytest.fixture(scope="session")
def compile_c(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Compile C for a zig target; give the shared library."""

    def compile_source(
        source: str, *options: str, target: str = "x86_64-linux-gnu.2.17", name: str = "lib.so"
    ) -> Path:
        folder = tmp_path_factory.mktemp("c")
        (folder / "source.c").write_text(source)
        command = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-O1", "-shared"]
        command += ["-fPIC", "-o", str(folder / name), str(folder / "source.c"), *options]
        subprocess.run(command, check=True, env=_quiet_environment())
        return folder / name

    return compile_source


def _quiet_environment() -> dict[str, str]:
    """Without LD_PRELOAD: the compiler need not run under the sanitizers."""
    return {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}


@pytest.fixture(scope="session")
def library_file(compile_c: Compile) -> Path:
    """The library above, for this machine."""
    return compile_c(SOURCE)


@pytest.fixture(params=["in-process", "worker"])
def lib(request: pytest.FixtureRequest, library_file: Path) -> Iterator[ferry.Library]:
    """The library, once in this process and once in a worker."""
    with ferry.load(library_file, header=HEADER, isolation=request.param) as library:
        yield library


@pytest.fixture
def worker(library_file: Path) -> Iterator[ferry.Library]:
    """The library in a worker, for what would end this process."""
    with ferry.load(library_file, header=HEADER, isolation="worker") as library:
        yield library
