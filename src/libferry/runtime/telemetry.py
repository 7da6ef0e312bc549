"""Traces and metrics of calls, as OpenTelemetry has them (the extra ``telemetry``).

``load(trace=True)`` or ``instrument(lib)`` puts a wrapper around each function that is
looked up from then on: a span for each call, and a few numbers. A library that does not
ask for it has no wrapper, so that its calls cost what they cost without this module.

The span of a call is the current one while C runs, also in the callbacks that C makes on
that thread. A thread that the library started has no current span, and its callbacks
begin a trace of their own.

Names follow the semantic conventions (opentelemetry.io/docs/specs/semconv, "General",
"Code", "Errors") where they have one, and begin with ``libferry.`` where they have not.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from libferry.errors import UnsupportedDeclaration
from libferry.runtime import events
from libferry.runtime.output import short_name

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.trace import Span, TracerProvider

    from libferry.runtime.aio import AioFunction
    from libferry.runtime.library import Library

# seconds; a call in this process takes a tenth of the first, and a long one minutes
_BOUNDARIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)


def check_installed() -> None:
    """Whether there is an OpenTelemetry to tell.

    Raises:
        UnsupportedDeclaration: there is none.
    """
    try:
        import opentelemetry.metrics
        import opentelemetry.trace  # noqa: F401
    except ImportError:
        raise UnsupportedDeclaration(
            "trace a library",
            "OpenTelemetry is not installed",
            hint="pip install 'libferry[telemetry]'",
        ) from None


def instrument(
    library: Library,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Trace the calls of a library from now on; functions that were kept are as they were.

    Args:
        library: what ``load`` gave. Twice is fine, and the last time counts.
        tracer_provider: whom to tell; None is OpenTelemetry's global one.
        meter_provider: the same for numbers.

    Raises:
        UnsupportedDeclaration: OpenTelemetry is not installed.
    """
    check_installed()
    library._ferry_trace = Trace(library, tracer_provider, meter_provider)
    library._ferry_forget()
    library.aio._ferry_forget()


class _Numbers:
    """The instruments of one meter provider."""

    def __init__(self, provider: MeterProvider | None) -> None:
        from opentelemetry import metrics

        meter = metrics.get_meter("libferry", _version(), provider)
        self.calls = meter.create_counter("libferry.calls", "{call}", "Calls that were made.")
        self.errors = meter.create_counter(
            "libferry.call.errors", "{error}", "Calls that raised, by the error's type."
        )
        self.duration = meter.create_histogram(
            "libferry.call.duration",
            "s",
            "How long calls took.",
            explicit_bucket_boundaries_advisory=_BOUNDARIES,
        )
        self._workers = {
            "lost": meter.create_counter(
                "libferry.worker.crashes", "{worker}", "Workers that were lost."
            ),
            "restarted": meter.create_counter(
                "libferry.worker.restarts", "{worker}", "Workers that took a lost one's place."
            ),
        }
        meter.create_observable_up_down_counter(
            "libferry.worker.count", [_count_workers], "{worker}", "Workers that serve now."
        )
        events.observers.append(self._happened)

    def _happened(self, kind: events.Kind, library: str) -> None:
        if kind in self._workers:
            self._workers[kind].add(1, {"libferry.library": library})


def _count_workers(_: CallbackOptions) -> Iterable[Observation]:
    from opentelemetry.metrics import Observation

    return [Observation(len(events.live))]


@functools.cache
def _numbers(provider: MeterProvider | None) -> _Numbers:
    return _Numbers(provider)


def _version() -> str:
    import libferry

    return libferry.__version__


class Trace:
    """What traces one library."""

    def __init__(
        self, library: Library, tracers: TracerProvider | None, meters: MeterProvider | None
    ) -> None:
        from opentelemetry import trace

        self._library = library
        self._name = short_name(library.binary.path.name)
        self._tracer = trace.get_tracer("libferry", _version(), tracers)
        self._numbers = _numbers(meters)
        self._same = {
            "libferry.library": self._name,
            "libferry.isolation": library.isolation,
            "libferry.abi": library.abi,
        }

    def function(self, function: Any) -> TracedFunction:
        """The same function, traced."""
        return TracedFunction(self, function)

    def awaited(self, function: AioFunction) -> TracedAioFunction:
        """The same for one that is awaited."""
        return TracedAioFunction(self, function)

    @contextmanager
    def measure(self, function: str, way: str = "") -> Iterator[Span]:
        """A span, and the numbers, of what is done meanwhile."""
        labels = {**self._same, "code.function.name": function}
        attributes: dict[str, str | int] = dict(labels)
        if self._library.isolation != "in-process":
            attributes["libferry.worker.pid"] = self._library.pid
        began = time.perf_counter()
        try:
            with self._tracer.start_as_current_span(
                f"{self._name}.{function}{way}", attributes=attributes
            ) as span:
                try:
                    yield span
                except BaseException as error:
                    labels["error.type"] = _type_name(error)
                    span.set_attribute("error.type", labels["error.type"])
                    raise
        finally:
            self._numbers.duration.record(time.perf_counter() - began, labels)
            self._numbers.calls.add(1, labels)
            if "error.type" in labels:
                self._numbers.errors.add(1, labels)


def _type_name(error: BaseException) -> str:
    kind = type(error)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


class TracedFunction:
    """A function of a library, each call of which is a span.

    Attributes:
        function: the function itself.
    """

    def __init__(self, trace: Trace, function: Any) -> None:
        self._trace = trace
        self.function = function
        self.__name__: str = function.__name__

    def __call__(self, *values: object) -> Any:
        """Call it."""
        with self._trace.measure(self.__name__):
            return self.function(*values)

    def map(self, *columns: Any, **options: Any) -> Any:
        """Call it for each row of the columns: one span."""
        return self._rows("map", columns, lambda: self.function.map(*columns, **options))

    def batch(self, rows: Any) -> list[Any]:
        """Call it for each tuple of arguments: one span."""
        rows = list(rows) if isinstance(rows, Iterable) else rows
        result: list[Any] = self._rows("batch", (rows,), lambda: self.function.batch(rows))
        return result

    def _rows(self, way: str, given: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        with self._trace.measure(self.__name__, f".{way}") as span:
            span.set_attribute("libferry.rows", _longest(given))
            result = call()
            if hasattr(result, "size"):  # after broadcasting
                span.set_attribute("libferry.rows", int(result.size))
            return result

    def within(self, seconds: float | None) -> TracedFunction:
        """The same function, whose calls may take ``seconds``; None is no limit."""
        return TracedFunction(self._trace, self.function.within(seconds))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)

    def __repr__(self) -> str:
        return f"<traced {self.function!r}>"


def _longest(given: tuple[Any, ...]) -> int:
    columns = (one for one in given if isinstance(one, Sized) and not isinstance(one, str | bytes))
    return max((int(getattr(one, "size", len(one))) for one in columns), default=1)


class TracedAioFunction:
    """The same, to be awaited."""

    def __init__(self, trace: Trace, function: AioFunction) -> None:
        self._trace = trace
        self._function = function
        self.__name__ = function.__name__

    async def __call__(self, *values: object) -> Any:
        """Call it."""
        with self._trace.measure(self.__name__):
            return await self._function(*values)

    def within(self, seconds: float | None) -> TracedAioFunction:
        """The same function, whose calls may take ``seconds``; None is no limit."""
        return TracedAioFunction(self._trace, self._function.within(seconds))
