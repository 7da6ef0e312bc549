"""Carry out libferry's call plans in an emulator, and compare every byte that arrived.

For a CPU or a system that this machine cannot run this is all there is, and for the
others it finds a planner's fault without the rest of libferry. Values are made by the
compiled library itself: once on zeros and once on ones, so that what differs is padding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from libferry.abi import frame, types
from libferry.abi.facts import Abi
from libferry.abi.lower import NoPlan, lower
from libferry.abi.plan import CallPlan, Move
from libferry.abi.types import Convention

from .describe import describe
from .difference import Difference, story
from .emulator import FRAME, HEAP, Machine, Stopped, ThunkBody
from .signatures import Argument, Callback, Function
from .source import RECORD_SIZE, expected_record, written
from .targets import Target
from .types import VOID, FunctionPointer, Names, Type

GARBAGE = 0xA5  # in the padding of what is passed


@dataclass(frozen=True)
class Image:
    """A value's bytes; of ``mask`` the bits that count are set."""

    content: bytes
    mask: bytes

    def differs(self, other: bytes) -> bool:
        return len(other) != len(self.content) or any(
            (mine ^ theirs) & mask
            for mine, theirs, mask in zip(self.content, other, self.mask, strict=True)
        )

    @property
    def passed(self) -> bytes:
        return bytes(
            byte & mask | GARBAGE & ~mask
            for byte, mask in zip(self.content, self.mask, strict=True)
        )

    def __str__(self) -> str:
        return shown(self.content, self.mask)


def shown(content: bytes, mask: bytes) -> str:
    """Write bytes in hexadecimal, and those that do not count as dots."""
    return " ".join(
        f"{byte:02x}" if counts else ".." for byte, counts in zip(content, mask, strict=True)
    )


def extended(ctype: types.CType, move: Move, content: bytes) -> bytes:
    """Fill the cell of a move."""
    part = content[move.source : move.source + move.size]
    assert len(part) == move.size <= move.width
    negative = bool(part and part[-1] & 0x80)
    signed = move.extend == "sign" or (
        move.extend == "type" and isinstance(ctype, types.Integer) and ctype.signed
    )
    fill = 0xFF if move.extend == "ones" or (signed and negative) else 0
    return part + bytes([fill]) * (move.width - move.size)


def x87_as(size: int, content: bytes) -> bytes:
    """Give the bytes of a float or double that came back as an 80-bit number, exactly."""
    mantissa = int.from_bytes(content[:8], "little")
    high = int.from_bytes(content[8:], "little")
    sign, exponent = high >> 15, high & 0x7FFF
    width, fraction = (8, 23) if size == 4 else (11, 52)
    bias = (1 << width - 1) - 1
    kept = mantissa >> 63 - fraction & (1 << fraction) - 1
    if exponent == 0x7FFF:
        power = 2 * bias + 1
    elif mantissa == 0:
        power = 0
    else:
        power = exponent - 0x3FFF + bias
        if power <= 0:  # it was denormal
            kept, power = (kept | 1 << fraction) >> 1 - power, 0
    bits = (sign << width | power) << fraction | kept
    return bits.to_bytes(size, "little")


def as_x87(content: bytes) -> bytes:
    """Give a float or double as an 80-bit number."""
    width, fraction = (8, 23) if len(content) == 4 else (11, 52)
    bits = int.from_bytes(content, "little")
    sign, power = bits >> width + fraction, bits >> fraction & (1 << width) - 1
    kept = bits & (1 << fraction) - 1
    bias = (1 << width - 1) - 1
    if kept == power == 0:
        return (sign << 79).to_bytes(10, "little")
    if power == 2 * bias + 1:
        return (sign << 79 | 0x7FFF << 64 | 1 << 63 | kept << 63 - fraction).to_bytes(10, "little")
    if power == 0:
        shift = fraction + 1 - kept.bit_length()
        kept, power = kept << shift, 1 - shift
    exponent = power - bias + 0x3FFF
    mantissa = 1 << 63 | (kept & (1 << fraction) - 1) << 63 - fraction
    return (sign << 79 | exponent << 64 | mantissa).to_bytes(10, "little")


@dataclass
class Caller:
    """One batch: its library in a machine, and libferry's facts about its ABI."""

    target: Target
    abi: Abi
    machine: Machine
    names: Names
    sizes: dict[Type, int] = field(default_factory=dict)

    def layouts(self) -> Iterator[str]:
        """Compare records' sizes and alignments, by libferry and by the compiler."""
        self.machine.call_with("take_layouts", HEAP)
        for n, record in enumerate(self.names.records()):
            size, alignment = struct.unpack("<II", self.machine.read(HEAP + 8 * n, 8))
            self.sizes[record] = size
            ours = describe(self.abi, self.target, record)
            assert isinstance(ours, types.Record)
            if (ours.size, ours.alignment) != (size, alignment):
                names = Names("")
                names.define(record)
                yield "\n".join(
                    [
                        f"{self.target.abi}: the layout of {names.spell(record)}",
                        *names.definitions,
                        f"  expected  size {size}, alignment {alignment}",
                        f"  received  size {ours.size}, alignment {ours.alignment}",
                    ]
                )

    def image(self, ctype: Type, maker: str) -> Image:
        """Have the library make a value."""
        size = types.size_of(describe(self.abi, self.target, ctype))
        made = []
        for fill in (b"\0", b"\xff"):
            self.machine.write(HEAP, fill * size)
            self.machine.call_with(f"make_{maker}", HEAP)
            made.append(self.machine.read(HEAP, size))
        zeros, ones = made
        mask = bytes(~(zero ^ one) & 0xFF for zero, one in zip(zeros, ones, strict=True))
        return Image(zeros, mask)

    def images(self, function: Function, name: str) -> list[Image]:
        """Give the bytes to pass for each argument."""
        found, number = [], 0
        for n, argument in enumerate(function.arguments):
            if isinstance(argument.value, Callback):
                width = self.target.pointer
                address = self.machine.callback(number).to_bytes(width, "little")
                found.append(Image(address, b"\xff" * width))
                number += 1
            else:
                found.append(self.image(argument.type, f"{name}_a{n}"))
        return found

    def call(self, function: Function, name: str) -> Iterator[Difference]:
        """Call one function, and give whatever did not arrive as it was sent."""
        described = [describe(self.abi, self.target, ctype) for ctype in function.types()]
        plan = lower(
            self.abi,
            described[0],
            tuple(described[1:]),
            convention=convention(function.convention),
            variadic_from=function.variadic_from,
        )
        images = self.images(function, name)
        image = bytearray(frame.SIZE)
        for ctype, moves, value in zip(described[1:], plan.arguments, images, strict=True):
            for move in moves:
                image[move.offset : move.offset + move.width] = extended(ctype, move, value.passed)
        hidden = [plan.result_reference] if plan.result_reference else []
        for reference in (*plan.references, *hidden):
            address = (FRAME + reference.at).to_bytes(reference.width, "little")
            image[reference.cell : reference.cell + reference.width] = address

        differences: list[Difference] = []
        thunks = tuple(
            self.thunk(argument, f"{name}_a{n}", differences)
            for n, argument in enumerate(function.arguments)
            if isinstance(argument.value, Callback)
        )
        try:
            moved = self.machine.call(name, image, plan.stack_bytes, plan.vector_count, thunks)
        except Stopped as stopped:
            yield from differences
            yield Difference("the call", plan, "that it returns", str(stopped))
            return
        yield from differences
        popped = plan.pop_bytes
        if moved != popped:
            yield Difference("what the callee popped", popped, popped, moved)
        yield from self.compare_result(function, name, plan, image)
        yield from self.compare_record(function, plan)

    def compare_result(
        self, function: Function, name: str, plan: CallPlan, image: bytearray
    ) -> Iterator[Difference]:
        if function.result == VOID:
            return
        expected = self.image(function.result, f"{name}_result")
        received = bytearray(len(expected.content))
        for move in plan.result:
            part = bytes(image[move.offset : move.offset + move.width])
            if plan.x87:
                part = x87_as(len(received), part)
            received[move.source : move.source + len(part)] = part
        if expected.differs(bytes(received)):
            got = shown(bytes(received), expected.mask)
            yield Difference("the result", plan_of(plan, None), expected, got)

    def compare_record(self, function: Function, plan: CallPlan) -> Iterator[Difference]:
        used = self.machine.call_with("take_record", HEAP)
        record = self.machine.read(HEAP, min(used, RECORD_SIZE))
        if record[:1] != b"\0":
            yield Difference("the stack's alignment, modulo 16", plan, "00", record[:1].hex())
        at = 1
        for where, number, ctype, value in written(function):
            expected = expected_record(self.target, ctype, value)
            received = record[at : at + len(expected)]
            if received != expected:
                yield Difference(where, plan_of(plan, number), expected.hex(" "), received.hex(" "))
            at += len(expected)
        if at != used:
            yield Difference("the record's length", at, at, used)

    def thunk(self, argument: Argument, name: str, differences: list[Difference]) -> ThunkBody:
        """Give what answers a callback: the plan followed backwards."""
        ctype, value = argument.type, argument.value
        assert isinstance(ctype, FunctionPointer)
        assert isinstance(value, Callback)
        result, *parameters = (
            describe(self.abi, self.target, each) for each in (ctype.result, *ctype.parameters)
        )
        plan = lower(self.abi, result, tuple(parameters), convention=convention(ctype.convention))
        expected = [self.image(each, f"{name}_v{n}") for n, each in enumerate(ctype.parameters)]
        returned = None if ctype.result == VOID else self.image(ctype.result, f"{name}_r")

        def body(image: bytearray) -> None:
            end = self.machine.trampoline.stack_image + plan.stack_bytes
            image[end : frame.VECTOR_I386] = bytes([GARBAGE]) * (frame.VECTOR_I386 - end)
            for each in plan.references:
                pointer = int.from_bytes(image[each.cell :][: each.width], "little")
                image[each.at : each.at + each.size] = self.machine.read(pointer, each.size)
            for n, (moves, sent) in enumerate(zip(plan.arguments, expected, strict=True)):
                received = bytearray(len(sent.content))
                for move in moves:
                    part = image[move.offset : move.offset + move.size]
                    received[move.source : move.source + move.size] = part
                if sent.differs(bytes(received)):
                    got = shown(bytes(received), sent.mask)
                    where = f"callback {name}, argument {n + 1}"
                    differences.append(Difference(where, plan_of(plan, n), sent, got))
            self.answer(image, plan, result, returned)

        return body

    def answer(
        self, image: bytearray, plan: CallPlan, result: types.CType, returned: Image | None
    ) -> None:
        """Put a callback's result where C looks for it."""
        places = {frame.RESULT_X87, frame.RESULT_X87_SECOND} & {m.offset for m in plan.result}
        for move in plan.result if returned else ():
            assert returned
            if plan.x87:
                part = as_x87(returned.passed)
            elif plan.result_reference:
                part = returned.passed[move.source : move.source + move.size]
            else:  # C may rely on the whole register
                cell = replace(move, width=max(8, move.width))
                part = extended(result, cell, returned.passed)
            image[move.offset : move.offset + len(part)] = part
        hidden = None
        if there := plan.result_reference:
            hidden = int.from_bytes(image[there.cell :][: there.width], "little")
            self.machine.write(hidden, bytes(image[there.at : there.at + there.size]))
        self.machine.leave(image, plan.pop_bytes, len(places), hidden)


def convention(spelled: str) -> Convention:
    """Give libferry's name for a convention as a target spells it."""
    for name in ("stdcall", "fastcall", "thiscall"):
        if name in spelled:
            return name
    return "cdecl"


def plan_of(plan: CallPlan, number: int | None) -> str:
    """Show what a plan says of one argument, or of the result."""
    if number is None:
        return f"{plan.result} {plan.result_reference or ''}"
    places = {move.offset for move in plan.arguments[number]}
    by_reference = [r for r in plan.references if any(r.at <= at < r.at + r.size for at in places)]
    return f"{plan.arguments[number]} {by_reference or ''}"


def check(caller: Caller, functions: Sequence[Function]) -> list[str]:
    """Call every function of a batch; give the story of each that went wrong."""
    stories = list(caller.layouts())
    for number, function in enumerate(functions):
        name = f"f{number}"
        try:
            differences = list(caller.call(function, name))
        except NoPlan as refused:
            differences = [Difference("the plan", "the above", "a plan", refused)]
        if differences:
            stories.append(story(caller.target, function, name, differences))
    return stories
