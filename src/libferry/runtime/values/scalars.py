"""Codecs of numbers: integers, ``_Bool``, floating point, complex and vectors."""

from __future__ import annotations

import numbers
import operator
import struct
from collections.abc import Sequence
from typing import Any

from libferry import _core
from libferry.abi import Boolean, Complex, Integer, Real, Vector
from libferry.runtime.showing import kind, show
from libferry.runtime.values.base import Codec, Context, Home, Misfit, wrong_type, wrong_value
from libferry.runtime.values.reals import FORMS, exact, to_bits, to_float

_LETTERS = {1: "b", 2: "h", 4: "i", 8: "q"}  # struct's, of signed integers by size


class NumberCodec(Codec):
    """A number that is one item of a buffer, if it has a ``format`` there."""

    format: str | None = None
    place: int | None = None  # a kind of _core, if C can read and write it

    def number(self, value: Any) -> Any:
        """The plain Python number that a value stands for here.

        Raises:
            Misfit: it is none, or does not fit.
        """
        return self.decode(self.encode(value, Context()), None)


class IntegerCodec(NumberCodec):
    """An integer or enumerated type; ``bits`` is a bit-field's width."""

    def __init__(self, ctype: Integer, bits: int | None = None) -> None:
        super().__init__(ctype, ctype.size)
        self.signed = ctype.signed
        self.character = ctype.text and ctype.size == 1
        self.text = ctype.text
        self.bits = bits
        width = 8 * ctype.size if bits is None else bits
        self.low = -(1 << (width - 1)) if ctype.signed and width else 0
        self.high = self.low + (1 << width) - 1
        if ctype.size in _LETTERS:
            letter = _LETTERS[ctype.size]
            self.format = letter if ctype.signed else letter.upper()
            self.place = _core.KIND_SIGNED if ctype.signed else _core.KIND_UNSIGNED

    def number(self, value: Any) -> int:
        """The int that a value stands for, if it is in range."""
        if self.character and isinstance(value, bytes) and len(value) == 1:
            return int.from_bytes(value, "little", signed=self.signed)
        if not hasattr(value, "__index__"):
            raise wrong_type(f"{kind(value)} is not an integer", f"give an int for {self.name}")
        number = operator.index(value)
        if not self.low <= number <= self.high:
            where = f"{self.name} of {self.size} byte{'s' * (self.size != 1)}"
            if self.bits is not None:
                where = f"{self.bits} bit{'s' * (self.bits != 1)} of {self.name}"
            raise wrong_value(
                f"{show(number)} does not fit in {where}", f"it holds {self.low} to {self.high}"
            )
        return number

    def encode(self, value: object, context: Context) -> bytes:
        """Little-endian, as every target here."""
        return self.number(value).to_bytes(self.size, "little", signed=self.signed)

    def decode(self, data: bytes, library: Home | None) -> int:
        """An int, also for ``char``."""
        return int.from_bytes(data, "little", signed=self.signed)

    def _key(self) -> tuple[object, ...]:
        # a char is text, whether it is signed or not
        return ("integer", self.size, self.character or self.signed, self.character)

    def _convert(self, source: Codec, data: bytes) -> bytes:
        if not isinstance(source, IntegerCodec):
            raise self.differs(source)
        return self.encode(source.decode(data, None), Context())


class BooleanCodec(NumberCodec):
    """``_Bool``; any byte but zero is true."""

    format = "?"
    place = _core.KIND_BOOL

    def __init__(self, ctype: Boolean) -> None:
        super().__init__(ctype, ctype.size)

    def number(self, value: Any) -> bool:
        """True or False; 0, 1 and numpy's are as good."""
        if isinstance(value, bool):
            return value
        if type(value).__module__ == "numpy" and type(value).__name__.startswith("bool"):
            return bool(value)
        if not hasattr(value, "__index__") or operator.index(value) not in (0, 1):
            raise wrong_type(f"{show(value)} is not a bool", "give True, False, 0 or 1")
        return bool(value)

    def encode(self, value: object, context: Context) -> bytes:
        """One byte, 0 or 1."""
        return bytes([self.number(value)])

    def decode(self, data: bytes, library: Home | None) -> bool:
        """Whether any bit is set."""
        return any(data)

    def _key(self) -> tuple[object, ...]:
        return ("_Bool", self.size)


class RealCodec(NumberCodec):
    """``float``, ``double`` and ``long double``; rounded to nearest, ties to even."""

    def __init__(self, ctype: Real) -> None:
        super().__init__(ctype, ctype.size)
        self.real = ctype
        self.form = FORMS[ctype.form]
        self.format = {"binary32": "f", "binary64": "d"}.get(ctype.form)
        if self.format:
            self.place = _core.KIND_FLOAT

    def encode(self, value: object, context: Context) -> bytes:
        """As the target stores it, padding zero."""
        try:
            if self.format and type(value) is float:
                return struct.pack("<" + self.format, value)
            return to_bits(value, self.form).to_bytes(self.size, "little")
        except TypeError:
            raise wrong_type(
                f"{kind(value)} is not a number", f"give a float or an int for {self.name}"
            ) from None
        except OverflowError:
            raise wrong_value(
                f"{show(value)} does not fit in {self.name} of {self.size} bytes",
                "it is finite there only if it is smaller; float('inf') is a value, too",
            ) from None

    def decode(self, data: bytes, library: Home | None) -> float:
        """The nearest float; what is too large for one is infinite."""
        if self.format:
            number: float = struct.unpack("<" + self.format, data)[0]
            return number
        return to_float(int.from_bytes(data[: self.form.bytes], "little"), self.form)

    def _key(self) -> tuple[object, ...]:
        return ("real", self.size, self.real.form)

    def _convert(self, source: Codec, data: bytes) -> bytes:
        if not isinstance(source, RealCodec):
            raise self.differs(source)
        bits = int.from_bytes(data[: source.form.bytes], "little")
        return self.encode(exact(bits, source.form), Context())


class ComplexCodec(NumberCodec):
    """``_Complex``: the real part, then the imaginary."""

    def __init__(self, ctype: Complex) -> None:
        super().__init__(ctype, ctype.size)
        self.part = RealCodec(ctype.part)
        if self.part.format:
            self.format = "Z" + self.part.format

    def encode(self, value: object, context: Context) -> bytes:
        """Both parts."""
        if not isinstance(value, numbers.Number):
            if not hasattr(value, "__complex__"):
                raise wrong_type(
                    f"{kind(value)} is not a complex number", f"give a complex for {self.name}"
                )
            value = value.__complex__()
        real, imaginary = getattr(value, "real", value), getattr(value, "imag", 0)
        return self.part.encode(real, context) + self.part.encode(imaginary, context)

    def decode(self, data: bytes, library: Home | None) -> complex:
        """A complex of the nearest floats."""
        half = self.part.size
        return complex(
            self.part.decode(data[:half], library), self.part.decode(data[half:], library)
        )

    def _key(self) -> tuple[object, ...]:
        return ("complex", self.part.key)

    def _convert(self, source: Codec, data: bytes) -> bytes:
        if not isinstance(source, ComplexCodec):
            raise self.differs(source)
        half = source.part.size
        return self.part.convert(source.part, data[:half]) + self.part.convert(
            source.part, data[half:]
        )


class VectorCodec(Codec):
    """A SIMD vector: a tuple; any sequence of as many numbers is accepted, or its bytes."""

    def __init__(self, ctype: Vector) -> None:
        super().__init__(ctype, ctype.size)
        self.lane: NumberCodec = (
            RealCodec(ctype.of) if isinstance(ctype.of, Real) else IntegerCodec(ctype.of)
        )
        self.lanes = ctype.size // self.lane.size

    def encode(self, value: object, context: Context) -> bytes:
        """Lane 0 first."""
        if isinstance(value, bytes | bytearray):
            if len(value) != self.size:
                raise wrong_value(
                    f"{len(value)} bytes are not a {self.name}", f"give {self.size} bytes"
                )
            return bytes(value)
        if isinstance(value, str) or not (
            isinstance(value, Sequence) or getattr(value, "ndim", 0) == 1
        ):
            raise wrong_type(
                f"{kind(value)} is not a vector", f"give a sequence of {self.lanes} numbers"
            )
        if len(value) != self.lanes:  # type: ignore[arg-type]
            raise wrong_value(
                f"{len(value)} numbers are not a {self.name}",  # type: ignore[arg-type]
                f"give {self.lanes} of them",
            )
        parts = []
        for index, item in enumerate(value):  # type: ignore[arg-type,var-annotated]
            try:
                parts.append(self.lane.encode(item, context))
            except Misfit as misfit:
                raise misfit.inside(f"[{index}]") from None
        return b"".join(parts)

    def decode(self, data: bytes, library: Home | None) -> tuple[object, ...]:
        """A tuple of numbers."""
        step = self.lane.size
        return tuple(
            self.lane.decode(data[at : at + step], library) for at in range(0, self.size, step)
        )

    def _key(self) -> tuple[object, ...]:
        return ("vector", self.lane.key, self.lanes)

    def _convert(self, source: Codec, data: bytes) -> bytes:
        if not isinstance(source, VectorCodec):
            raise self.differs(source)
        return self.encode(source.decode(data, None), Context())
