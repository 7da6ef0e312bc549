"""Traces and metrics: a span for each call when asked for, and nothing at all when not."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import libferry as ferry
from libferry import _core
from libferry.runtime import telemetry

from .conftest import HEADER

pytest.importorskip("opentelemetry.sdk", reason="pip install opentelemetry-sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

CALLBACKS = "int apply(int (*f)(int), int value);"
SOURCE = """
int apply(int (*f)(int), int value) { return f(value); }
int twice(int value) { return 2 * value; }
double half(double value) { return value / 2; }
void die(void) { __builtin_trap(); }
"""
DECLARED = CALLBACKS + "int twice(int value); double half(double value); void die(void);"


class Told:
    """What OpenTelemetry was told."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader])

    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    def numbers(self) -> dict[str, list[Any]]:
        """The points of each metric."""
        data = self._reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture(scope="session")
def traced_file(compile_c: Any) -> Path:
    file: Path = compile_c(SOURCE, name="libtraced.so.1")
    return file


@pytest.fixture(params=["worker", "in-process"])
def lib(request: pytest.FixtureRequest, traced_file: Path, told: Told) -> Iterator[ferry.Library]:
    with ferry.load(traced_file, header=DECLARED, isolation=request.param) as library:
        telemetry.instrument(library, tracer_provider=told.tracers, meter_provider=told.meters)
        yield library


@pytest.fixture
def worker(traced_file: Path, told: Told) -> Iterator[ferry.Library]:
    with ferry.load(
        traced_file, header=DECLARED, isolation="worker", restart="next-call"
    ) as library:
        telemetry.instrument(library, tracer_provider=told.tracers, meter_provider=told.meters)
        yield library


@pytest.mark.parametrize("isolation", ["in-process", "worker"])
def test_without_it_functions_are_those_of_the_core(traced_file: Path, isolation: Any) -> None:
    with ferry.load(traced_file, header=DECLARED, isolation=isolation) as lib:
        assert type(lib.twice) is _core.Function
        assert lib.__dict__["twice"] is lib.twice


def test_without_it_opentelemetry_is_not_even_imported(traced_file: Path) -> None:
    script = f"import sys, libferry; libferry.load({str(traced_file)!r})\n"
    script += "print([name for name in sys.modules if 'opentelemetry' in name])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_where_it_is_not_installed_the_extra_is_named(traced_file: Path) -> None:
    script = f"""
import sys, libferry
sys.modules["opentelemetry"] = None  # what import finds where there is none
try:
    libferry.load({str(traced_file)!r}, trace=True)
except libferry.FerryError as error:
    print(error, "|", error.hint)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert b"OpenTelemetry is not installed | pip install 'libferry[telemetry]'" in done.stdout


def test_a_call_is_a_span(lib: ferry.Library, told: Told) -> None:
    assert lib.twice(4) == 8
    (span,) = told.spans()
    assert span.name == "libtraced.twice"
    expected = {
        "code.function.name": "twice",
        "libferry.library": "libtraced",
        "libferry.isolation": lib.isolation,
        "libferry.abi": "x86_64-sysv",
    }
    if lib.isolation == "worker":
        expected["libferry.worker.pid"] = lib.pid  # type: ignore[assignment]
    assert dict(span.attributes or {}) == expected
    assert span.status.status_code is StatusCode.UNSET


def test_a_crash_is_recorded_in_its_span(worker: ferry.Library, told: Told) -> None:
    with pytest.raises(ferry.LibraryCrashed):
        worker.die()
    (span,) = told.spans()
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "libferry.errors.LibraryCrashed"
    assert [event.name for event in span.events] == ["exception"]


def test_spans_nest_through_callbacks(lib: ferry.Library, told: Told) -> None:
    assert lib.apply(lambda n: lib.twice(n) + 1, 3) == 7
    inner, outer = told.spans()
    assert (inner.name, outer.name) == ("libtraced.twice", "libtraced.apply")
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id
    assert outer.parent is None


def test_an_awaited_call_is_a_span_of_the_task_it_is_in(lib: ferry.Library, told: Told) -> None:
    tracer = told.tracers.get_tracer("test")

    async def task(n: int) -> int:
        with tracer.start_as_current_span(f"task {n}"):
            result: int = await lib.aio.apply(lambda m: lib.twice(m), n)
            return result

    async def tasks() -> list[int]:
        return list(await asyncio.gather(task(1), task(2)))

    assert asyncio.run(tasks()) == [2, 4]
    by_id = {span.context.span_id: span for span in told.spans()}
    of_apply = [span for span in by_id.values() if span.name == "libtraced.apply"]
    assert sorted(by_id[s.parent.span_id].name for s in of_apply if s.parent) == [
        "task 1",
        "task 2",
    ]
    if lib.isolation == "worker":  # in-process the executor's thread makes the call
        of_twice = [span for span in by_id.values() if span.name == "libtraced.twice"]
        assert {by_id[s.parent.span_id].name for s in of_twice if s.parent} == {"libtraced.apply"}


def test_many_calls_at_once_are_one_span_with_their_number(lib: ferry.Library, told: Told) -> None:
    lib.twice.batch((n,) for n in range(7))
    lib.half.map(np.arange(12.0).reshape(3, 4))
    assert [(span.name, (span.attributes or {})["libferry.rows"]) for span in told.spans()] == [
        ("libtraced.twice.batch", 7),
        ("libtraced.half.map", 12),
    ]


def test_a_function_with_a_timeout_of_its_own_is_traced_too(
    worker: ferry.Library, told: Told
) -> None:
    assert worker.twice.within(5)(4) == 8
    assert worker.function("int twice(int value)", timeout=5)(5) == 10
    assert [span.name for span in told.spans()] == ["libtraced.twice"] * 2


def test_a_traced_function_is_passed_to_c_as_itself(lib: ferry.Library, told: Told) -> None:
    assert lib.apply(lib.twice, 21) == 42
    assert [span.name for span in told.spans()] == ["libtraced.apply"]


def test_calls_errors_and_times_are_counted(worker: ferry.Library, told: Told) -> None:
    for n in range(3):
        worker.twice(n)
    with pytest.raises(ferry.ArgumentValueError):
        worker.twice(1 << 40)
    numbers = told.numbers()
    calls = {p.attributes.get("error.type", ""): p.value for p in numbers["libferry.calls"]}
    assert calls == {"": 3, "libferry.errors.ArgumentValueError": 1}
    (error,) = numbers["libferry.call.errors"]
    assert error.attributes["error.type"] == "libferry.errors.ArgumentValueError"
    assert sum(point.count for point in numbers["libferry.call.duration"]) == 4
    assert numbers["libferry.call.duration"][0].explicit_bounds[0] == 1e-6


def test_crashes_restarts_and_live_workers_are_counted(worker: ferry.Library, told: Told) -> None:
    before = told.numbers()["libferry.worker.count"][0].value
    with pytest.raises(ferry.LibraryCrashed):
        worker.die()
    assert told.numbers()["libferry.worker.count"][0].value == before - 1
    assert worker.twice(1) == 2
    numbers = told.numbers()
    for name in ("libferry.worker.crashes", "libferry.worker.restarts"):
        assert {p.attributes["libferry.library"]: p.value for p in numbers[name]} == {
            "libtraced": 1
        }
    assert numbers["libferry.worker.count"][0].value == before


def test_load_traces_with_the_global_providers(traced_file: Path) -> None:
    script = f"""
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
import libferry as ferry
with ferry.load({str(traced_file)!r}, header={DECLARED!r}, trace=True) as lib:
    provider = TracerProvider()
    provider.add_span_processor(
        SimpleSpanProcessor(ConsoleSpanExporter(formatter=lambda span: span.name + chr(10)))
    )
    trace.set_tracer_provider(provider)
    lib.twice(1)
with ferry.pool({str(traced_file)!r}, header={DECLARED!r}, workers=1, trace=True) as pool:
    pool.half(1.0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.split() == [b"libtraced.twice", b"libtraced.half"]


def test_a_library_of_pointers_with_a_meaning_is_traced(library_file: Path, told: Told) -> None:
    with ferry.load(library_file, header=HEADER) as lib:
        telemetry.instrument(lib, tracer_provider=told.tracers, meter_provider=told.meters)
        assert lib.length("four") == 4
    assert [span.name for span in told.spans()] == ["lib.length"]
