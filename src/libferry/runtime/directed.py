"""Functions whose pointers have a meaning: who writes, how much, who frees, what fails.

A header (or a contract beside it) says so, and the Python function is then what a
Python programmer would have written:

* what only the function writes (``FERRY_OUT``) is not passed but returned;
* what it reads (``FERRY_IN``) is passed as a value, or, with a length, as a sequence
  or a buffer, and the parameter that is the length is not passed either;
* what it reads and writes (``FERRY_INOUT``) is passed as a value and returned, or, with
  a length, is a buffer that changes in place;
* what the caller has to free (``FERRY_OWNED``) is freed with the Python object;
* a result that says "failed" (``FERRY_ERROR``) is a ``CallFailed`` with the library's
  own message, and is not returned if success has only one value.
"""

from __future__ import annotations

import dataclasses
import operator
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from libferry import _core
from libferry.abi import Array, CType, Integer, Opaque, Pointer, Void, size_of
from libferry.contract import ErrorRule, Parameter, Signature
from libferry.contract.length import Length
from libferry.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    CallFailed,
    DeclarationError,
)
from libferry.runtime import batch, explain
from libferry.runtime.memory import Out
from libferry.runtime.memory import Pointer as MemoryPointer
from libferry.runtime.values import making

if TYPE_CHECKING:
    from libferry.runtime.instance import Instance
    from libferry.runtime.library import Library

COMPARE: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


MESSAGE_BYTES = 4096  # room for an error's message, where the library writes it


def is_directed(signature: Signature) -> bool:
    """Whether the declaration says more than C does."""
    return bool(
        signature.owned
        or signature.string
        or signature.error
        or any(p.direction or p.string or p.owned for p in signature.parameters)
    )


def plain(signature: Signature) -> Signature:
    """The signature that is called: what is text is a pointer to const text."""
    parameters = tuple(
        dataclasses.replace(p, type=dataclasses.replace(p.type, readonly=True))
        if p.string and isinstance(p.type, Pointer) and p.direction != "out"
        else p
        for p in signature.parameters
    )
    return dataclasses.replace(signature, parameters=parameters)


class OwnedPointer(MemoryPointer):
    """A pointer to memory that the library has to free, which happens when this goes."""

    def free(self) -> None:
        """Free it now. Twice is fine."""
        self._end()

    _end: weakref.finalize[..., OwnedPointer]


def own(library: Library, pointer: MemoryPointer, free: str) -> OwnedPointer:
    """``pointer`` as one that is freed by the library's function ``free``.

    Raises:
        DeclarationError: nobody has declared that function.
    """
    function = _declared(library, free, "frees what it returns")
    owned = OwnedPointer(pointer.session, pointer.type, pointer.address)
    owned.home, owned.ctype = pointer.home, pointer.ctype
    (parameter,) = function.signature.parameters
    address = _core.Pointer(pointer.session, parameter.type.name, pointer.address)
    owned._end = weakref.finalize(owned, _free, function, address)
    owned._end.atexit = False
    return owned


def _free(function: Callable[[object], object], pointer: _core.Pointer) -> None:
    if pointer.session.state == "usable":
        with suppress(ArgumentTypeError):  # its worker is gone since, and the memory with it
            function(pointer)


def _declared(library: Library, name: str, why: str) -> Any:
    signature = library._ferry_functions.get(name)
    if signature is None:
        raise DeclarationError(
            f"use {name}",
            f"it is not declared, and the contract says that it {why}",
            hint=f"declare {name} in the header, too",
        )
    return library._ferry_plain(name)


class _Cell:
    """A parameter that one value goes through: made here, and read after the call."""

    def __init__(self, library: Library, parameter: Parameter) -> None:
        assert isinstance(parameter.type, Pointer)
        self.library = library
        self.parameter = parameter
        self.ctype = parameter.type.to

    def make(self, home: Instance, value: object = None) -> Any:
        """Room for the value in memory that both sides see."""
        given = () if value is None else (value,)
        return making.new(home, self.ctype, *given)

    def result(self, cell: Any) -> object:
        """What the function left there."""
        value = cell.value if isinstance(cell, Out) else cell
        if isinstance(value, MemoryPointer):
            return _returned(self.library, value, self.parameter.string, self.parameter.owned)
        return value


class _Room:
    """A parameter that leads to several elements which only the function writes."""

    def __init__(self, library: Library, parameter: Parameter, length: Length) -> None:
        assert isinstance(parameter.type, Pointer)
        self.library = library
        self.parameter = parameter
        self.length = length
        to = parameter.type.to
        self.text = parameter.string
        self.bytes = isinstance(to, Void | Opaque) or (isinstance(to, Integer) and to.size == 1)
        self.element: CType = Integer("unsigned char", 1, False) if isinstance(to, Void) else to

    def make(self, home: Instance, count: int) -> Any:
        """Room for ``count`` elements."""
        if self.bytes:
            return home.buffer(count)
        return making.new(home, Array(self.element, count))

    def result(self, room: Any, count: int) -> object:
        """The first ``count`` elements: bytes, text, or an array."""
        if not self.bytes:
            return room[:count]
        data = bytes(memoryview(room)[:count])
        if not self.text:
            return data
        data = data.split(b"\0", 1)[0]
        encoding = self.library._ferry_encoding
        return data if encoding is None else data.decode(encoding, "surrogateescape")


def _returned(library: Library, pointer: MemoryPointer, string: bool, owned: str | None) -> object:
    """A pointer that came back: its text, or itself, freed when it should be."""
    if owned is None:
        return pointer.string() if string else pointer
    kept = own(library, pointer, owned)
    if not string:
        return kept
    try:
        return kept.string()
    finally:
        kept.free()


@dataclasses.dataclass
class _Call:
    """One call of a ``DirectedFunction`` in the making."""

    home: Instance
    arguments: list[Any]
    counts: dict[str, int] = dataclasses.field(default_factory=dict)  # by a length's name


class DirectedFunction:
    """A C function whose header says what its pointers mean, as a Python callable.

    Attributes:
        signature: the declaration.
        function: the function as C has it, with every parameter.
    """

    def __init__(self, library: Library, signature: Signature, function: Any) -> None:
        self.signature = signature
        self.function = function
        self.__name__ = signature.name
        self._library = library
        self._names = [parameter.name for parameter in signature.parameters]
        self._lengths = {
            n: Length.read(p.length) for n, p in enumerate(signature.parameters) if p.length
        }
        self._cells: dict[int, _Cell] = {}
        self._rooms: dict[int, _Room] = {}
        for n, parameter in enumerate(signature.parameters):
            if not isinstance(parameter.type, Pointer) or not parameter.direction:
                continue
            if n not in self._lengths:
                if not (parameter.string and parameter.direction == "in"):
                    self._cells[n] = _Cell(library, parameter)
            elif parameter.direction == "out":
                self._rooms[n] = _Room(library, parameter, self._lengths[n])
        self._sequences = {n for n in self._lengths if n not in self._rooms}
        self._hidden = {
            *self._rooms,
            *(n for n, cell in self._cells.items() if cell.parameter.direction == "out"),
            *(self._index(self._lengths[n]) for n in self._sequences),
        } - {-1}

    def _index(self, length: Length) -> int:
        """Of the parameter that a length is the value of; -1 for none."""
        plain_name = length.parameter and not length.pointed
        return self._names.index(length.parameter) if plain_name else -1

    def __call__(self, *given: object) -> Any:
        """Call it with what the function does not write or count itself."""
        call = self._begin(given)
        for n in self._sequences:
            call.arguments[n] = self._sequence(call, n)
        for name, count in call.counts.items():
            if name:
                call.arguments[self._names.index(name)] = count
        for n, cell in self._cells.items():
            call.arguments[n] = self._cell(call, cell, call.arguments[n])
        sizes = {n: self._room_count(call, room) for n, room in self._rooms.items()}
        for n, room in self._rooms.items():
            call.arguments[n] = room.make(call.home, sizes[n])
        result = self._run(call)
        self._check(result, call.arguments)
        results = [*self._result(result), *self._written(call, sizes)]
        if not results:
            return None
        return results[0] if len(results) == 1 else tuple(results)

    def _run(self, call: _Call) -> Any:
        try:
            return self.function(*call.arguments)
        except ArgumentTypeError:
            if call.home.session.state == "gone":  # what was made here is not the new worker's
                explain.ended(call.home.session, self.function, "gone")
            raise

    def _begin(self, given: tuple[object, ...]) -> _Call:
        visible = [n for n in range(len(self._names)) if n not in self._hidden]
        if len(given) != len(visible):
            names = ", ".join(self._names[n] or f"argument {n + 1}" for n in visible)
            raise ArgumentTypeError(
                f"call {self.__name__}",
                f"{len(given)} argument{'s' * (len(given) != 1)} given, {len(visible)} expected",
                hint=f"it is called with ({names}); the rest is made for you: {self.signature}",
            )
        arguments: list[Any] = [None] * len(self._names)
        for n, value in zip(visible, given, strict=True):
            arguments[n] = value
        return _Call(self._library._ferry_home(), arguments)

    def _sequence(self, call: _Call, n: int) -> object:
        """A sequence as memory; how many elements it has, its length parameter is told."""
        parameter, length = self.signature.parameters[n], self._lengths[n]
        assert isinstance(parameter.type, Pointer)
        value = call.arguments[n]
        to = parameter.type.to
        size = 1 if isinstance(to, Void | Opaque) else size_of(to)
        if isinstance(value, str) and self._library._ferry_encoding:
            value = value.encode(self._library._ferry_encoding)
        if value is None:
            count = 0
        elif isinstance(value, list | tuple):
            count = len(value)
            value = making.new(call.home, Array(to, count), value)
        else:
            try:
                count = memoryview(value).nbytes // size
            except TypeError:
                raise ArgumentTypeError(
                    f"call {self.__name__}, argument {n + 1} ({parameter.name})",
                    f"{type(value).__name__} is no sequence of {parameter.type.to.name}",
                    hint="give a list, bytes, a numpy array or a Buffer",
                ) from None
        units, rest = divmod(count, length.factor)
        known = call.counts.setdefault(length.parameter if not length.pointed else "", units)
        if rest or (known != units and length.parameter and not length.pointed):
            raise ArgumentValueError(
                f"call {self.__name__}, argument {n + 1} ({parameter.name})",
                f"it has {count} elements, and {known * length.factor} are expected",
                hint=f"its length is {length}",
            )
        return value

    def _cell(self, call: _Call, cell: _Cell, value: object) -> object:
        direction = cell.parameter.direction
        if direction == "out":
            return cell.make(call.home)
        if value is None or isinstance(value, _core.Pointer | _core.Buffer | _core.Aggregate):
            return value
        return cell.make(call.home, value)

    def _room_count(self, call: _Call, room: _Room) -> int:
        length = room.length
        value: Any = 1
        if length.parameter:
            value = call.arguments[self._names.index(length.parameter)]
        if length.pointed:
            value = value.value
        try:
            return operator.index(value) * length.factor
        except TypeError:
            raise ArgumentTypeError(
                f"call {self.__name__}",
                f"{length.parameter} is {type(value).__name__}, and has to say how much room "
                f"{room.parameter.name} needs",
                hint="give an int",
            ) from None

    def _result(self, result: Any) -> Iterator[object]:
        """What the function returned, if it says anything."""
        rule = self.signature.error
        if isinstance(self.signature.result, Void) or (rule is not None and rule.operator == "!="):
            return
        if isinstance(result, MemoryPointer):
            text = self.signature.string
            result = _returned(self._library, result, text, self.signature.owned)
        yield result

    def _written(self, call: _Call, sizes: dict[int, int]) -> Iterator[object]:
        """What the function left in what it was given, in order."""
        measures = {room.length.parameter for room in self._rooms.values() if room.length.pointed}
        for n, value in enumerate(call.arguments):
            if n in self._rooms:
                room = self._rooms[n]
                count = self._room_count(call, room) if room.length.pointed else sizes[n]
                # what C says may be anything, and below zero would count from the end
                yield room.result(value, max(0, min(count, sizes[n])))
            elif n in self._cells and self._names[n] not in measures:
                cell = self._cells[n]
                if cell.parameter.direction != "in" and value is not None:
                    yield cell.result(value)

    def _check(self, result: object, arguments: list[Any]) -> None:
        rule = self.signature.error
        if rule is not None and fails(rule, result):
            raise failure(self._library, self.signature, result, arguments)

    def map(self, *columns: Any, **options: Any) -> Any:
        """The function as C has it, over columns; failed rows are errors."""
        return self.function.map(*columns, **options)

    def batch(self, rows: Any) -> list[Any]:
        """The function as it is called here, over tuples of arguments, one by one."""
        return batch.gather(self, rows)

    def within(self, seconds: float | None) -> DirectedFunction:
        """The same function, whose calls may take ``seconds``; None is no limit."""
        return DirectedFunction(self._library, self.signature, self.function.within(seconds))

    def __repr__(self) -> str:
        return f"<libferry.DirectedFunction {self.signature}>"


def fails(rule: ErrorRule, result: object) -> bool:
    """Whether a result says that the call failed."""
    number = 0 if result is None else result
    if isinstance(number, _core.Pointer):
        number = number.address
    return isinstance(number, int) and COMPARE[rule.operator](number, rule.value)


def failure(
    library: Library, signature: Signature, result: object, arguments: list[Any]
) -> CallFailed:
    """The error of a call that failed, in the library's own words if it has some."""
    errno = library.errno
    message = _message(library, signature, result, arguments)
    shown = "NULL" if result is None else str(result)
    happened = f"{message} (it returned {shown})" if message else f"it returned {shown}"
    hint = "the library's documentation says what that means"
    if errno:
        hint += f"; errno is {errno}"
    return CallFailed(f"call {signature.name}", happened, hint=hint, result=result, message=message)


def _message(
    library: Library, signature: Signature, result: object, arguments: list[Any]
) -> str | None:
    """What the library's message function says: asked with the code, or what was passed.

    One that writes its text (``FERRY_OUT(len) char *buf, int len``) gets room for it.
    """
    rule = signature.error
    if rule is None or rule.message is None:
        return None
    function = _declared(library, rule.message, "says what went wrong")
    parameters = function.signature.parameters
    rooms = {
        n: Length.read(p.length)
        for n, p in enumerate(parameters)
        if p.direction == "out" and p.length
    }
    room = library.buffer(MESSAGE_BYTES) if rooms else None
    sizes = {
        one.parameter: MESSAGE_BYTES // one.factor for one in rooms.values() if not one.pointed
    }
    given: list[object] = []
    for n, parameter in enumerate(parameters):
        match = next(
            (
                value
                for declared, value in zip(signature.parameters, arguments, strict=False)
                if isinstance(parameter.type, Pointer) and declared.type == parameter.type
            ),
            result,
        )
        given.append(room if n in rooms else sizes.get(parameter.name, match))
    text = function(*given)
    if room is not None:
        text = bytes(room).split(b"\0", 1)[0]
    if isinstance(text, MemoryPointer):
        text = text.string()
    if isinstance(text, bytes):
        return text.decode(library._ferry_encoding or "utf-8", "replace")
    return str(text)
