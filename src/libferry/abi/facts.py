"""The form in which an ABI's facts are written down; one module per ABI fills it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from libferry.abi import frame
from libferry.abi.types import Real

# The four things that a long double is. All of them are spelled the same.
X87_16 = Real("long double", 16, "x87")
X87_12 = Real("long double", 12, "x87")
BINARY128 = Real("long double", 16, "binary128")
BINARY64 = Real("long double", 8, "binary64")


@dataclass(frozen=True)
class Abi:
    """Facts about one ABI that the planner walks.

    Attributes:
        name: CPU and convention, as in ``x86_64-sysv``.
        cpu: the CPU as ``libferry.binary`` names it.
        os: the operating systems that use it, as ``libferry.binary`` names them.
        specification: document and section that the facts are from.
        sizes: bytes of ``short``, ``int``, ``long``, ``long long``, ``wchar_t`` and
            ``void *``.
        char_signed: whether plain ``char`` is signed.
        wchar_signed: whether ``wchar_t`` is signed.
        long_double: what ``long double`` is.
        int128: whether there is an ``__int128``.
        scalar_alignment: the strictest alignment of a number or pointer, in bytes;
            anything smaller is aligned to its size.
        vector_alignment: the same for vectors.
        bit_fields: which school lays them out (``libferry.abi.layout``).
        unnamed_bit_fields_align: whether a bit-field without a name counts for its
            record's alignment, in the System V school.
        integer_registers: argument registers for integers and pointers, in order;
            the n-th is loaded from the n-th integer cell of the frame.
        vector_registers: the same for floating point.
        positional: the n-th argument uses the n-th register of its class, and the
            other class's n-th is then left out (x86-64 Windows).
        stack_image: where in the frame its trampoline expects the stack image.
        stack_slot: a stack argument takes a multiple of this, in bytes.
        stack_start: bytes at the start of the stack image that belong to the callee
            (x86-64 Windows: the home space).
        float_result: where a floating-point result comes back.
        stdcall: how a stdcall function's name may be decorated, as format strings
            of ``name`` and ``bytes`` (of its arguments); empty where stdcall means
            nothing.
    """

    name: str
    cpu: str
    os: tuple[str, ...]
    specification: str
    sizes: Mapping[str, int]
    char_signed: bool
    wchar_signed: bool
    long_double: Real
    int128: bool
    integer_registers: tuple[str, ...]
    vector_registers: tuple[str, ...]
    stack_slot: int
    float_result: Literal["vector", "x87"]
    positional: bool = False
    stack_start: int = 0
    stack_image: int = frame.STACK
    stdcall: tuple[str, ...] = ()
    scalar_alignment: int = 16
    vector_alignment: int = 64
    bit_fields: Literal["sysv", "microsoft"] = "sysv"
    unnamed_bit_fields_align: bool = False

    @property
    def pointer_size(self) -> int:
        """Bytes of a pointer."""
        return self.sizes["void *"]


def _model(long: int, pointer: int, wchar: int) -> Mapping[str, int]:
    return MappingProxyType(
        {
            "short": 2,
            "int": 4,
            "long": long,
            "long long": 8,
            "wchar_t": wchar,
            "void *": pointer,
        }
    )


# The three data models in use. LLP64 is Windows': long stayed at 32 bits there.
LP64 = _model(long=8, pointer=8, wchar=4)
ILP32 = _model(long=4, pointer=4, wchar=4)
LLP64 = _model(long=4, pointer=8, wchar=2)
ILP32_WINDOWS = _model(long=4, pointer=4, wchar=2)
