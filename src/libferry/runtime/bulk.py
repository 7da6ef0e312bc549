"""``map``: a function over columns.

It hands the loop to where the library is (``native/map.c``). In this process it
reads numpy's arrays where they lie; how a worker gets them is told in ``pieces.py``.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from libferry import _core
from libferry.abi import ABIS, Boolean, CallPlan, CType, Integer, Move, Pointer, Real, Void, frame
from libferry.contract import ErrorRule, Signature
from libferry.errors import ArgumentTypeError, ArgumentValueError, UnsupportedDeclaration
from libferry.runtime import batch, crash, directed, values
from libferry.runtime.pace import Pace
from libferry.runtime.pieces import Progress, run_there

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Column = npt.NDArray[Any]

# native/map.h
FRAME, INTEGERS, DOUBLES, FLOATS = range(4)
ZEROS, SIGN, ONES, SIGN_OF_32, X87 = range(5)
FAST, COLUMNS = 6, 128
HEAD = struct.Struct("<QQIIIIII")
COLUMN = struct.Struct("<QqHBBI")

HERE_ROWS = 1 << 18  # at a time, in this process


@dataclass(frozen=True, slots=True)
class _Cell:
    """A part of an element, 1 to 8 bytes, that has one place in the frame."""

    source: int  # in the element
    offset: int  # in the frame
    size: int
    width: int
    fill: int


def _number_cell(ctype: CType, move: Move, *, x87: bool = False) -> _Cell:
    size = ctype.size  # type: ignore[union-attr]
    if x87:
        return _Cell(0, move.offset, size, size, X87)
    if move.extend == "ones":
        return _Cell(0, move.offset, size, 8, ONES)
    if move.extend == "sign" and size == 4:
        return _Cell(0, move.offset, size, move.width, SIGN_OF_32)
    signed = isinstance(ctype, Integer) and ctype.signed
    return _Cell(0, move.offset, size, move.width, SIGN if signed else ZEROS)


def _pieces(move: Move) -> Iterable[_Cell]:
    """A move of any size, in parts of 8, 4, 2 and 1 bytes."""
    done = 0
    while done < move.size:
        size = next(part for part in (8, 4, 2, 1) if done + part <= move.size)
        ones = move.extend == "ones" and move.width > move.size
        width, fill = (8, ONES) if ones else (size, ZEROS)
        yield _Cell(move.source + done, move.offset + done, size, width, fill)
        done += size


def _cells(ctype: CType, moves: tuple[Move, ...], *, x87: bool = False) -> list[_Cell]:
    if isinstance(ctype, Real) and ctype.size <= 8:
        return [_number_cell(ctype, moves[0], x87=x87)]
    if isinstance(ctype, Integer | Boolean) and ctype.size <= 8:
        return [_number_cell(ctype, moves[0])]
    return [cell for move in moves for cell in _pieces(move)]


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise UnsupportedDeclaration(
            "map a function over arrays", "numpy is not installed", hint="pip install numpy"
        ) from None
    return numpy


def dtype_of(ctype: CType) -> np.dtype[Any]:
    """What numpy calls elements that are exactly the C type's."""
    numpy = _numpy()
    found: np.dtype[Any]
    match ctype:
        case Boolean():
            found = numpy.dtype("?")
        case Integer(size=size, signed=signed) if size <= 8:
            found = numpy.dtype(f"<{'i' if signed else 'u'}{size}")
        case Real(form="binary32" | "binary64", size=size):
            found = numpy.dtype(f"<f{size}")
        case Pointer(size=size):
            found = numpy.dtype(f"<u{size}")
        case _:
            found = values.dtype(ctype)
    return found


def _viewed(value: Any, dtype: np.dtype[Any]) -> Any:
    """A buffer of bytes as elements of ``dtype``, such as one of an Arrow column."""
    if isinstance(value, list | range):
        return value
    view = memoryview(value)
    if view.itemsize == 1 < dtype.itemsize and view.nbytes % dtype.itemsize == 0:
        return _numpy().frombuffer(view, dtype)
    return view


class Job:
    """One function over its columns, made ready."""

    def __init__(self, function: _core.Function, arguments: Sequence[object], out: object) -> None:
        numpy = _numpy()
        self.function = function
        self.signature: Signature = function.signature
        self.plan: CallPlan = self.signature.plan
        self.abi = ABIS[self.plan.abi]
        self.tried = f"map {self.signature.name}"
        if len(arguments) != len(self.signature.parameters):
            raise ArgumentTypeError(
                self.tried,
                f"{len(arguments)} arguments given, {len(self.signature.parameters)} declared",
                hint=f"declared: {self.signature}",
            )
        columns = {
            n: self._column(n, value)
            for n, value in enumerate(arguments)
            if self._is_column(n, value)
        }
        if not columns:
            raise ArgumentTypeError(
                self.tried,
                "no argument is an array",
                hint="give at least one numpy array; what is no array is the same for every row",
            )
        try:
            self.shape = numpy.broadcast_shapes(*(c.shape for c in columns.values()))
        except ValueError as error:
            raise ArgumentValueError(
                self.tried, str(error), hint="give arrays of one length, or that broadcast"
            ) from None
        self.rows = int(numpy.prod(self.shape))
        self.columns = {
            n: numpy.broadcast_to(column, self.shape).reshape(-1) for n, column in columns.items()
        }
        self.constants = tuple(
            NotImplemented if n in columns else value for n, value in enumerate(arguments)
        )
        self.out = self._out(out)
        # its rows in one dimension, which may be a copy
        self.flat = None if self.out is None else self.out.reshape(-1)
        self.form = self._form()

    def _is_column(self, position: int, value: Any) -> bool:
        """Whether it has a value for each row: an array of any kind."""
        if isinstance(value, list | range):
            return True
        if hasattr(value, "__array__"):  # numpy's, Arrow's, pandas'
            return getattr(value, "ndim", 1) > 0
        if isinstance(self.signature.parameters[position].type, Pointer):
            return False
        try:
            return memoryview(value).ndim > 0
        except TypeError:
            return False

    def _column(self, position: int, value: Any) -> Column:
        numpy = _numpy()
        parameter = self.signature.parameters[position]
        place = f"{self.tried}, argument {position + 1}"
        if isinstance(parameter.type, Pointer):
            raise ArgumentTypeError(
                place,
                f"a column of {parameter.type.name} cannot be passed",
                hint="give one Buffer, Pointer or None for all rows; batch() takes strings",
            )
        dtype = dtype_of(parameter.type)
        try:
            column = numpy.asarray(value if hasattr(value, "__array__") else _viewed(value, dtype))
        except ValueError as error:
            raise ArgumentTypeError(
                place, f"it is no array: {error}", hint="give a list of numbers, or a numpy array"
            ) from None
        if column.dtype == dtype or numpy.can_cast(column.dtype, dtype, "safe"):
            return column  # type: ignore[no-any-return]
        if column.dtype.kind not in "iub" or dtype.kind not in "iu":
            raise ArgumentTypeError(
                place,
                f"an array of {column.dtype} is not one of {parameter.type.name}",
                hint=f"convert it first: array.astype({dtype.name!r})",
            )
        low, high = numpy.iinfo(dtype).min, numpy.iinfo(dtype).max
        wrong = numpy.flatnonzero((column < low) | (column > high))
        if len(wrong):
            first = int(wrong[0])
            raise ArgumentValueError(
                place,
                f"row {first}: {column.reshape(-1)[first]} does not fit in {parameter.type.name}",
                hint=f"it takes {low} to {high}",
            )
        return column  # type: ignore[no-any-return]

    def _out(self, out: Any) -> Column | None:
        numpy = _numpy()
        if isinstance(self.signature.result, Void):
            if out is not None:
                raise ArgumentTypeError(self.tried, "it returns nothing", hint="leave out= away")
            return None
        dtype = dtype_of(self.signature.result)
        if out is None:
            return numpy.empty(self.shape, dtype)  # type: ignore[no-any-return]
        if not isinstance(out, numpy.ndarray) or out.dtype != dtype or out.shape != self.shape:
            raise ArgumentTypeError(
                self.tried,
                f"out= is no array of {dtype} of the shape {self.shape}",
                hint=f"numpy.empty({self.shape}, {dtype.name!r})",
            )
        if not out.flags.writeable:
            raise ArgumentTypeError(self.tried, "out= is read-only", hint="give one that is not")
        return out  # type: ignore[no-any-return]

    def _form(self) -> int:
        """Which loop of map.c does it: the fast ones, if all is of one kind."""
        parameters = [parameter.type for parameter in self.signature.parameters]
        result = self.signature.result
        if not 0 < len(parameters) <= FAST or self.signature.convention != "cdecl":
            return FRAME
        word = self.abi.pointer_size
        if all(isinstance(t, Integer) and t.size <= word for t in parameters) and isinstance(
            result, Integer | Void
        ):
            return INTEGERS
        for size, form in ((8, DOUBLES), (4, FLOATS)):
            if all(isinstance(t, Real) and t.size == size for t in (*parameters, result)):
                return form
        return FRAME

    # ---- the description ----

    def inputs(
        self, columns: Mapping[int, tuple[int, int]], frame_at: int
    ) -> list[tuple[int, int, _Cell]]:
        """Address, stride and cell of each part of each column.

        The fast loops take every argument from a column: one that is the same in all rows
        is read from the frame again and again.
        """
        found = []
        for n, parameter in enumerate(self.signature.parameters):
            cells = _cells(parameter.type, self.plan.arguments[n])
            if n in columns:
                found += [(*columns[n], cell) for cell in cells]
            elif self.form != FRAME:
                found += [(frame_at + cell.offset, 0, cell) for cell in cells]
        return found

    def outputs(self) -> list[_Cell]:
        """Each part of the result."""
        if self.out is None:
            return []
        return _cells(self.signature.result, self.plan.result, x87=self.plan.x87)

    def describe(
        self, rows: int, frame_at: int, inputs: list[tuple[int, int, _Cell]], out: tuple[int, int]
    ) -> bytes:
        """A ``struct ferry_map``; ``inputs`` and ``out`` are addresses with strides."""
        outputs = self.outputs()
        if len(inputs) + len(outputs) > COLUMNS:
            raise UnsupportedDeclaration(
                self.tried,
                f"its values come in {len(inputs) + len(outputs)} parts, more than {COLUMNS}",
                hint="call it in a loop, or by batch()",
            )
        head = HEAD.pack(
            self.function.address, frame_at, rows, self.form, len(inputs), len(outputs), 0, 0
        )
        parts = [
            COLUMN.pack(at + c.source, stride, c.offset, c.size, c.width, c.fill)
            for at, stride, c in inputs
        ]
        parts += [
            COLUMN.pack(out[0] + c.source, out[1], c.offset, c.size, c.width, c.fill)
            for c in outputs
        ]
        return head + b"".join(parts)

    def dtype(self, position: int) -> np.dtype[Any]:
        """What the elements of an argument have to be."""
        return dtype_of(self.signature.parameters[position].type)

    def converted(self, column: Column, position: int) -> Column:
        """A piece of a column with the elements that C expects."""
        dtype = self.dtype(position)
        return column if column.dtype == dtype else column.astype(dtype)

    def row_bytes(self) -> int:
        """The size of a row: its elements, and its result."""
        result = 0 if self.out is None else self.out.itemsize
        return sum(self.dtype(n).itemsize for n in self.columns) + result

    def description_bytes(self) -> int:
        """How much room `describe` needs at most."""
        return HEAD.size + COLUMNS * COLUMN.size

    def finish(self) -> None:
        """Copy the results to ``out`` if they are not there yet."""
        if self.flat is not None and not _numpy().shares_memory(self.flat, self.out):
            assert self.out is not None
            self.out[...] = self.flat.reshape(self.shape)

    def frame_bytes(self) -> int:
        """How much of a frame the call needs, results included."""
        return max(frame.STACK, self.plan.frame_bytes + 16)


def map_rows(
    function: _core.Function,
    *arguments: object,
    out: object = None,
    progress: Progress | None = None,
) -> object:
    """Call ``function`` once for each row of its columns.

    Args:
        function: any function without pointers that differ from row to row.
        arguments: numpy arrays (of one shape, or that broadcast to one; any strides) and
            what numpy takes for one, such as Arrow columns; anything else is the same in
            every row. Structures come as structured arrays.
        out: an array for the results; one is made if it is left out.
        progress: called with (rows done, rows in all) from time to time.

    Returns:
        The array of results, or None for a function that returns void.

    Raises:
        ArgumentTypeError, ArgumentValueError: an argument cannot be a column.
        RowErrors: the function has an error convention and some rows failed by it; all
            rows were called, and the results are in the error.
    """
    function = function.current()
    job = Job(function, arguments, out)
    services = function.session.services_of
    if function.session.channel is None:
        _run_here(job, services.map, progress)
    else:
        with crash.in_rows(function.__name__, job.rows):
            run_there(job, services.map_queue.timed(function.timeout_ns), progress)
    job.finish()
    rule = job.signature.error
    if rule is not None and job.out is not None:
        _check_rows(job, rule)
    return job.out


def _check_rows(job: Job, rule: ErrorRule) -> None:
    """Collect the rows whose results are errors."""
    library = job.function.session.services_of.library
    assert job.out is not None
    flat = job.out.reshape(-1)
    compare: Callable[[Any, int], Any] = directed.COMPARE[rule.operator]
    failed: list[int] = _numpy().flatnonzero(compare(flat, rule.value)).tolist()
    signature = job.signature
    errors: dict[int, Exception] = {
        row: directed.failure(library, signature, flat[row].item(), []) for row in failed
    }
    batch.check(signature.name, job.out, errors)


def _run_here(job: Job, run: _core.Function, progress: Progress | None) -> None:
    numpy = _numpy()
    template = bytearray(frame.SIZE + 64)
    at = numpy.frombuffer(template, "u1").ctypes.data
    place = -(-at // 64) * 64
    job.function.fill(memoryview(template)[place - at :], place, job.constants)
    pace, stop = Pace(HERE_ROWS), 0
    while stop < job.rows:
        start, stop = stop, min(stop + pace.rows, job.rows)
        kept = {n: job.converted(c[start:stop], n) for n, c in job.columns.items()}
        columns = {n: (c.ctypes.data, c.strides[0]) for n, c in kept.items()}
        out = (0, 0) if job.flat is None else (job.flat[start:].ctypes.data, job.flat.strides[0])
        since = time.perf_counter()
        run(job.describe(stop - start, place, job.inputs(columns, place), out))
        pace.took(stop - start, time.perf_counter() - since)
        if progress is not None:
            progress(stop, job.rows)
