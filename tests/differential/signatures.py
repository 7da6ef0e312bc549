"""Functions for Hypothesis to invent: a result, up to 20 parameters, and what to pass."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from .targets import FLOATS, INTEGERS, POINTERS, TYPES, Target

RESULTS = ("void", *TYPES)
MOST_PARAMETERS = 20
BYTES_BEHIND_POINTER = 16  # of a const uint8_t *, and of an int32_t *
LONGEST_STRING = 40
A_FEW = 8

# Numbers, None for NULL, and the bytes behind a pointer.
Value = int | float | bytes | None


@dataclass(frozen=True)
class Argument:
    """What to pass for one parameter.

    ``carrier`` is the Python type that holds the bytes behind a pointer. Behind a
    ``void *`` there are none: it is passed an address, and that is the value.
    """

    ctype: str
    value: Value
    carrier: str = ""


@dataclass(frozen=True)
class Function:
    """One C function, what to pass to it, and what it returns."""

    convention: str
    result: str
    returns: Value
    arguments: tuple[Argument, ...]

    def declaration(self, name: str) -> str:
        """Declare it, for the C compiler and for libferry alike."""
        parameters = ", ".join(f"{a.ctype} a{n}" for n, a in enumerate(self.arguments))
        return f"{self.result} {self.convention}{name}({parameters or 'void'})"


def integers(target: Target, ctype: str) -> st.SearchStrategy[int]:
    least, greatest = target.bounds(ctype)
    edges = {least, least + 1, -1, 0, 1, greatest // 2, greatest - 1, greatest}
    inside = sorted(edge for edge in edges if least <= edge <= greatest)
    return st.one_of(st.sampled_from(inside), st.integers(least, greatest))


def bits_as_float(ctype: str, bits: int) -> float:
    """Read a float from its bits; a signalling NaN is made quiet, keeping its payload.

    A signalling NaN does not survive being loaded into an x87 register, which is how
    i386 returns a float; so nobody can promise to carry one.
    """
    exponent, quiet = (0x7F800000, 1 << 22) if ctype == "float" else (0x7FF << 52, 1 << 51)
    if bits & exponent == exponent and bits & (quiet * 2 - 1):
        bits |= quiet
    code, integer = ("<f", "<I") if ctype == "float" else ("<d", "<Q")
    value: float = struct.unpack(code, struct.pack(integer, bits))[0]
    return value


def floats(ctype: str) -> st.SearchStrategy[float]:
    width = 8 * FLOATS[ctype]
    mantissa = 23 if ctype == "float" else 52
    infinity = (1 << width - 1) - (1 << mantissa)
    one = (infinity >> 1) & infinity
    magnitudes = [
        0,
        1,  # the least denormal
        (1 << mantissa) - 1,  # the greatest denormal
        1 << mantissa,  # the least normal
        one,
        infinity - 1,  # the greatest finite
        infinity,
        infinity | 1 << mantissa - 1,  # the NaN that CPUs make
        infinity | 1 << mantissa - 1 | 0x12345,  # a NaN with a payload
    ]
    sign = 1 << width - 1
    edges = [*magnitudes, *(sign | magnitude for magnitude in magnitudes)]
    bits = st.one_of(st.sampled_from(edges), st.integers(0, (1 << width) - 1))
    return bits.map(lambda bits: bits_as_float(ctype, bits))


def addresses(target: Target) -> st.SearchStrategy[int | None]:
    return integers(target, "size_t").map(lambda address: address or None)


def strings() -> st.SearchStrategy[bytes | None]:
    """Give NULL, or a C string: it ends at its first zero byte, and so has none inside."""
    character = st.integers(1, 255)
    return st.none() | st.lists(character, max_size=LONGEST_STRING).map(bytes)


def arguments(target: Target, ctype: str) -> st.SearchStrategy[Argument]:
    if ctype in INTEGERS:
        return integers(target, ctype).map(lambda number: Argument(ctype, number))
    if ctype in FLOATS:
        return floats(ctype).map(lambda number: Argument(ctype, number))
    if ctype == "void *":
        return addresses(target).map(lambda address: Argument(ctype, address))
    if ctype == "const char *":
        return strings().map(lambda string: Argument(ctype, string, "bytes"))
    carriers = ["bytearray", "Buffer", "numpy"] + ["bytes"] * (ctype == "const uint8_t *")
    content = st.binary(min_size=BYTES_BEHIND_POINTER, max_size=BYTES_BEHIND_POINTER)
    return st.builds(Argument, st.just(ctype), st.none() | content, st.sampled_from(carriers))


def results(target: Target, ctype: str) -> st.SearchStrategy[Value]:
    if ctype == "void":
        return st.none()
    if ctype in INTEGERS:
        return integers(target, ctype)
    if ctype in FLOATS:
        return floats(ctype)
    return strings() if ctype == "const char *" else addresses(target)


@st.composite
def functions(draw: st.DrawFn, target: Target, result: str) -> Function:
    # By kind first: there are many more integer types than others.
    kinds = [INTEGERS, tuple(FLOATS), POINTERS]
    ctypes = st.sampled_from(kinds).flatmap(st.sampled_from)
    count = draw(st.integers(0, MOST_PARAMETERS))
    return Function(
        convention=draw(st.sampled_from(target.conventions)),
        result=result,
        returns=draw(results(target, result)),
        arguments=tuple(draw(arguments(target, draw(ctypes))) for _ in range(count)),
    )


def sample(strategy: st.SearchStrategy[Function], count: int, start: int) -> list[Function]:
    """Have Hypothesis make functions; the same ones for the same start.

    It only makes them. A compiler is slow to start, so all are compiled in one go; and a
    failing function is short enough to read without being made smaller.
    """
    made: list[Function] = []

    @seed(start)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def keep(function: Function) -> None:
        made.append(function)

    keep()
    return made


@cache
def invent(target: Target, count: int, start: int) -> tuple[Function, ...]:
    """Invent ``count`` different signatures, with each type of result in turn.

    After its first ten examples, Hypothesis likes to vary what it made before. That is
    good for finding a bug and poor for covering ABIs: of 200 functions half had a
    signature seen before, and none returned a float. So it is asked for a few at a time,
    for each result on its own, until there are enough that differ.
    """
    invented: dict[str, Function] = {}
    wanted = 0
    for turn, result in enumerate(RESULTS):
        wanted += len(range(turn, count, len(RESULTS)))
        attempt = 0
        while len(invented) < wanted:
            made = sample(functions(target, result), A_FEW, hash((start, turn, attempt)))
            for function in made:
                if len(invented) < wanted:
                    invented.setdefault(function.declaration("f"), function)
            attempt += 1
    return tuple(invented.values())
