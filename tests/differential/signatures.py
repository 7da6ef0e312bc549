"""Functions for Hypothesis to invent: a result, up to 24 parameters, and what to pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count as numbers_from
from random import Random
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from .disputed import is_disputed, is_disputed_result
from .inventions import enums, records, scalars
from .targets import DATA_POINTERS, INTEGERS, Target
from .types import VOID, FunctionPointer, Names, Record, Scalar, Type
from .values import Value, invent_value

MOST_PARAMETERS = 24
MOST_CALLBACK_PARAMETERS = 12
BYTES_BEHIND_POINTER = 16  # of a const uint8_t *, and of an int32_t *
LONGEST_STRING = 40
A_FEW = 8
CARRIERS = ("dict", "tuple", "object")

# What an argument after ... cannot be declared as: C widens it.
UNPROMOTED = {"_Bool", "char", "signed char", "unsigned char", "short", "unsigned short", "float"}
UNPROMOTED |= {"int8_t", "uint8_t", "int16_t", "uint16_t"}


@dataclass(frozen=True)
class Callback:
    """What C passes to a callback, and what the callback returns."""

    arguments: tuple[Value, ...]
    returns: Value


@dataclass(frozen=True)
class Argument:
    """What to pass for one parameter.

    ``carrier`` is the Python type that holds it, where there is a choice. The value of
    a pointer to data is the bytes behind it, or None for NULL; that of a function
    pointer that is called, a ``Callback``.
    """

    type: Type
    value: Value
    carrier: str = ""


@dataclass(frozen=True)
class Shape:
    """What Hypothesis says of a function: all but the result, and values' beginning."""

    convention: str
    parameters: tuple[Type, ...]
    called: tuple[bool, ...]  # which function pointers among them are
    variadic_from: int | None
    values: int


@dataclass(frozen=True)
class Function:
    """One C function, what to pass to it, and what it returns.

    Arguments from ``variadic_from`` on stand for its "...".
    """

    convention: str
    result: Type
    returns: Value
    arguments: tuple[Argument, ...]
    variadic_from: int | None = None

    @property
    def fixed(self) -> tuple[Argument, ...]:
        return self.arguments[: self.variadic_from]

    def types(self) -> tuple[Type, ...]:
        return (self.result, *(argument.type for argument in self.arguments))

    def declaration(self, name: str, names: Names) -> str:
        """Declare it, for the C compiler and for libferry alike."""
        for ctype in self.types():
            names.define(ctype)
        parameters = [names.spell(a.type, f"a{n}") for n, a in enumerate(self.fixed)]
        if self.variadic_from is not None:
            parameters.append("...")
        listed = ", ".join(parameters) or "void"
        return names.spell(self.result, f"{self.convention}{name}({listed})")

    def text(self) -> str:
        """Give all that C needs to declare it, and what was passed after the dots."""
        names = Names("")
        declaration = self.declaration("f", names)
        dots = [names.spell(a.type) for a in self.arguments[len(self.fixed) :]]
        after = f"  /* ...: {', '.join(dots)} */" if dots else ""
        return "\n".join([*names.definitions, f"{declaration};{after}"])


def parameters(target: Target, pool: Sequence[Record], data: bool) -> st.SearchStrategy[Type]:
    """Give a parameter's type; a pointer to data only if ``data``."""
    numbers = [Scalar(name) for name in (*INTEGERS, "float", "double")]
    kinds = [st.sampled_from(pool)] * 5 + [scalars(target)] * 4 + [st.sampled_from(numbers)] * 4
    if data:
        kinds += [st.sampled_from([Scalar(name) for name in DATA_POINTERS])] * 2
    return st.sampled_from(kinds).flatmap(lambda kind: kind)


@st.composite
def callbacks(draw: st.DrawFn, target: Target, ctypes: st.SearchStrategy[Type]) -> Type:
    """Give a function pointer that is called."""
    returned = ctypes.filter(lambda ctype: not is_disputed_result(target, ctype))
    result = draw(st.one_of(st.just(VOID), returned, returned))
    taken = draw(st.lists(ctypes, max_size=MOST_CALLBACK_PARAMETERS))
    convention = draw(st.sampled_from(target.conventions))
    this = [Scalar("void *")] * ("thiscall" in convention)  # which is always a pointer
    return FunctionPointer(result, (*this, *taken), convention)


@st.composite
def shapes(draw: st.DrawFn, target: Target, pool: Sequence[Record], data: bool) -> Shape:
    ctypes, undirected = (parameters(target, pool, each) for each in (data, False))
    count = draw(st.one_of(st.integers(0, 8), st.integers(0, MOST_PARAMETERS)))
    variadic_from, convention = None, draw(st.sampled_from(target.conventions))
    if count and draw(st.integers(0, 4)) == 0:
        variadic_from, convention = draw(st.integers(1, min(count, 10))), ""
    promoted = undirected.filter(lambda ctype: getattr(ctype, "name", "") not in UNPROMOTED)
    taken: list[Type] = [Scalar("void *")] * ("thiscall" in convention)  # always a pointer
    called = [False] * len(taken)
    for n in range(len(taken), count):
        after_dots = variadic_from is not None and n >= variadic_from
        called.append(not after_dots and draw(st.integers(0, 15)) == 15)
        if called[-1]:
            taken.append(draw(callbacks(target, undirected)))
        else:
            taken.append(draw(promoted if after_dots else ctypes))
    start = draw(st.integers(0, (1 << 64) - 1))
    return Shape(convention, tuple(taken), tuple(called), variadic_from, start)


def invent_data(random: Random, name: str) -> Argument:
    """Give NULL, 16 bytes, or a string: it ends at its first zero byte, and so has none inside."""
    value = None
    if name == "const char *":
        if random.random() < 0.9:
            value = bytes(random.randint(1, 255) for _ in range(random.randint(0, LONGEST_STRING)))
        return Argument(Scalar(name), value, "bytes")
    carriers = ["bytearray", "Buffer", "numpy"] + ["bytes"] * (name == "const uint8_t *")
    if random.random() < 0.9:
        value = random.randbytes(BYTES_BEHIND_POINTER)
    return Argument(Scalar(name), value, random.choice(carriers))


def filled(target: Target, shape: Shape, result: Type) -> Function:
    """Give a function with values for everything."""
    random = Random(shape.values)
    passed = []
    for ctype, called in zip(shape.parameters, shape.called, strict=True):
        if isinstance(ctype, Scalar) and ctype.name in DATA_POINTERS:
            passed.append(invent_data(random, ctype.name))
            continue
        value = None
        if called:
            assert isinstance(ctype, FunctionPointer)
            handed = tuple(invent_value(random, target, each) for each in ctype.parameters)
            value = Callback(handed, invent_value(random, target, ctype.result))
        else:
            value = invent_value(random, target, ctype)
        passed.append(Argument(ctype, value, random.choice(CARRIERS)))
    if result == Scalar("const char *"):
        returns = invent_data(random, "const char *").value
    else:
        returns = invent_value(random, target, result)
    return Function(shape.convention, result, returns, tuple(passed), shape.variadic_from)


def results(target: Target, pool: Sequence[Record], data: bool) -> Iterator[Type]:
    """Give every kind of result in turn: one of C's own, a record, and so on."""
    own: list[Type] = [VOID, *target.scalars, *enums(target)]
    for name in DATA_POINTERS[1:] if data else DATA_POINTERS:
        own.remove(Scalar(name))  # an address that is returned need not lead to data
    returned = [record for record in pool if not is_disputed_result(target, record)]
    for n in numbers_from():
        yield own[n % len(own)]
        yield returned[n % len(returned)]


T = TypeVar("T")


def sample(strategy: st.SearchStrategy[T], start: int) -> list[T]:
    """Have Hypothesis make a few things; the same ones for the same start.

    It only makes them. A compiler is slow to start, so all are compiled in one go; and a
    failing function is short enough to read without being made smaller.

    After its first ten examples, Hypothesis likes to vary what it made before. That is
    good for finding a bug and poor for covering ABIs: of 200 functions half had a
    signature seen before. So it is asked for a few at a time. The first is always the
    simplest, and left out.
    """
    made: list[T] = []

    @seed(start)
    @settings(
        max_examples=A_FEW,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def keep(thing: T) -> None:
        made.append(thing)

    keep()
    return made[1:]


def different(strategy: st.SearchStrategy[T], count: int, start: int) -> list[T]:
    """Have Hypothesis make ``count`` things, no two alike."""
    made: dict[T, None] = {}
    for attempt in numbers_from():
        made |= dict.fromkeys(sample(strategy, hash((start, attempt))))
        if len(made) >= count:
            return list(made)[:count]
    raise AssertionError


@cache
def invent(target: Target, count: int, start: int, data: bool = True) -> tuple[Function, ...]:
    """Invent ``count`` different functions, with each type of result in turn.

    They share records among them. ``data`` says whether pointers to data are passed.
    """
    undisputed = records(target).filter(lambda record: not is_disputed(target, record))
    pool = different(undisputed, count, start)
    invented = different(shapes(target, pool, data), count, start)
    turn = results(target, pool, data)
    return tuple(
        filled(target, shape, result) for shape, result in zip(invented, turn, strict=False)
    )
