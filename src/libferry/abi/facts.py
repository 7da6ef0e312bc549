"""The form in which an ABI's facts are written down; one module per ABI fills it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from libferry.abi import frame
from libferry.abi.plan import Extend
from libferry.abi.types import Convention, Real

# The four things that a long double is. All of them are spelled the same.
X87_16 = Real("long double", 16, "x87")
X87_12 = Real("long double", 12, "x87")
BINARY128 = Real("long double", 16, "binary128")
BINARY64 = Real("long double", 8, "binary64")


# How an ABI sorts the types that are more than a number (``libferry.abi.classify``):
#   "eightbytes"   x86-64 System V: each eight bytes have a class of their own
#   "by-size"      x86-64 Windows: 1, 2, 4 or 8 bytes, or else the address
#   "stack"        i386: there are no registers to speak of
#   "homogeneous"  Arm: up to four floating-point numbers of one kind, or words
#   "flattened"    RISC-V, LoongArch: one or two numbers, or words
Aggregates = Literal["eightbytes", "by-size", "stack", "homogeneous", "flattened"]

# An argument of a function without ``...``; one before it; one in its place.
Situation = Literal["fixed", "named", "variadic"]

# What becomes of a value that the registers that are left cannot hold:
#   "skip"   it goes to the stack, and a smaller one may still take them
#   "close"  it goes to the stack, and so do all others of its kind
#   "split"  its first words take them and the rest goes to the stack, if that is
#            empty; else as "close"
Spill = Literal["skip", "close", "split"]


@dataclass(frozen=True)
class Variadic:
    """What is different where a function takes ``...``.

    Attributes:
        registers: whether variadic arguments may be in registers at all.
        vectors: whether they may be in vector registers.
        slot: what they take on the stack, if more than other arguments.
        even: whether one that is aligned to two words begins in an even register.
        alignment: the strictest alignment of theirs that counts.
        spill: what becomes of one that is larger than what is left, if anything else.
        fixed_too: whether the same goes for the arguments before the ``...``.
        named_vectors: whether a vector (not a structure of some) is exempt from that.
        result_too: whether it does for the result.
    """

    registers: bool = True
    vectors: bool = True
    slot: int = 1
    even: bool = False
    alignment: int = 64
    spill: Spill | None = None
    fixed_too: bool = False
    named_vectors: bool = False
    result_too: bool = False

    def without_vectors(self, situation: Situation) -> bool:
        """Whether an argument in this situation may not use vector registers."""
        concerned = situation == "variadic" or (situation == "named" and self.fixed_too)
        return concerned and not self.vectors


@dataclass(frozen=True)
class Rules:
    """One of the conventions that a CPU with several of them has (i386).

    Attributes:
        integer_registers: argument registers of this convention.
        callee_pops: whether the callee takes its arguments from the stack.
        object_first: whether the first argument has to be a pointer, or as good as one.
        records_use_up: whether a structure, though it goes to the stack, uses up as many
            registers as it has words.
        hidden_pointer_first: whether the address for a result in memory is passed like
            a first argument; else it is first on the stack.
    """

    integer_registers: tuple[str, ...] = ()
    callee_pops: bool = False
    object_first: bool = False
    records_use_up: bool = False
    hidden_pointer_first: bool = False


@dataclass(frozen=True)
class Abi:
    """Facts about one ABI that the planner walks.

    What it is:
        name: CPU and convention, as in ``x86_64-sysv``.
        cpu: the CPU as ``libferry.binary`` names it.
        os: the operating systems that use it, as ``libferry.binary`` names them.
        specification: document and section that the facts are from.

    Types:
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

    Registers:
        integer_registers: argument registers for integers and pointers, in order;
            the n-th is loaded from the n-th integer cell of the frame.
        vector_registers: the same for floating point.
        word: bytes of an integer register.
        integer_cell: bytes from one integer cell of the frame to the next.
        vector_cells, vector_cell, vector_width: where the vector cells begin in the
            frame, the bytes from one to the next, and how many of them a register
            holds. What is wider takes several (Arm: a double is s0 and s1).
        nan_boxed: whether a ``float`` in a wider register has ones above it.
        widen_word: how a 4-byte integer is extended to an 8-byte register.
        positional: the n-th argument uses the n-th register of its class, and the
            other class's n-th is then left out (x86-64 Windows).
        even: whether what is aligned to two words begins in an even register.
        spill: what becomes of a value that is larger than what is left.

    Stack:
        stack_image: where in the frame its trampoline expects the stack image.
        stack_start: bytes at the start of the stack image that belong to the callee
            (x86-64 Windows: the home space).
        stack_slot: a stack argument takes a multiple of this, in bytes.
        stack_alignment: the strictest alignment of a stack argument.
        frame_end: where the room in the frame ends.

    More than numbers:
        aggregates: how types are sorted.
        by_reference_above: bytes; a larger structure is passed by its address (Arm).
        natural_alignment: whether it is a structure's natural alignment that counts
            when it is passed, not what ``_Alignas`` made of it (Arm).
        zero_width_spoils: whether ``:0`` keeps a structure from being flattened.
        variadic: what is different where a function takes ``...``.

    Results:
        small_result: bytes; a larger structure is returned in memory (Arm).
        small_records: whether a structure of 1, 2, 4 or 8 bytes is returned in
            registers (i386).
        hidden_pointer: where the address for a result in memory is passed: like a first
            argument, in a register of its own, or first on the stack.
        hidden_pointer_popped: whether the callee takes it from the stack.
        result_vectors: where in the frame vector results begin.
        counts_vector_results: whether its trampoline looks for one only if the count of
            vectors is not 0.

    Conventions:
        conventions: those that are other than the above.
        decorations: how a convention may decorate a function's name, as format
            strings of ``name`` and ``bytes`` (of all its arguments).
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
    aggregates: Aggregates
    stack_slot: int
    scalar_alignment: int = 16
    vector_alignment: int = 64
    bit_fields: Literal["sysv", "microsoft"] = "sysv"
    unnamed_bit_fields_align: bool = False
    word: int = 8
    integer_cell: int = frame.INTEGER_CELL
    vector_cells: int = frame.VECTOR
    vector_cell: int = frame.VECTOR_CELL
    vector_width: int = frame.VECTOR_CELL
    nan_boxed: bool = False
    widen_word: Extend = "type"
    positional: bool = False
    even: bool = False
    spill: Spill = "skip"
    stack_image: int = frame.STACK
    stack_start: int = 0
    stack_alignment: int = 16
    frame_end: int = frame.SIZE
    by_reference_above: int = 16
    natural_alignment: bool = False
    zero_width_spoils: bool = False
    variadic: Variadic = Variadic()
    small_result: int = 16
    small_records: bool = False
    hidden_pointer: Literal["argument", "register", "stack"] = "argument"
    hidden_pointer_popped: bool = False
    result_vectors: int = frame.RESULT_VECTOR
    counts_vector_results: bool = False
    conventions: Mapping[Convention, Rules] = field(default_factory=dict)
    decorations: Mapping[Convention, tuple[str, ...]] = field(default_factory=dict)

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

# i386's. Where a function takes ... all of them are cdecl.
STDCALL = Rules(callee_pops=True)
FASTCALL = Rules(("ecx", "edx"), callee_pops=True, records_use_up=True)
THISCALL = Rules(("ecx",), callee_pops=True, object_first=True)
