"""Call every function of a batch by its plan, and be called by every caller."""

from __future__ import annotations

from pathlib import Path
from random import Random

import unicorn

from libferry.abi import ABIS, Boolean, CallPlan, Integer, Move, Reference, Void, frame, lower

from .images import compile_image
from .machines import BUFFERS, FRAME, Machine
from .signatures import Signature, Typed, invent, mask, value
from .source import RESULT, WIDE, define, place, source


def put(image: bytearray, moves: tuple[Move, ...], raw: bytes, typed: Typed) -> None:
    """Follow an argument's moves."""
    for move in moves:
        part = raw[move.source : move.source + move.size]
        ctype = typed.ctype
        fill = 0
        if move.extend == "ones":
            fill = 0xFF
        elif move.extend == "sign" or (isinstance(ctype, Integer) and ctype.signed):
            fill = 0xFF if part[-1] & 0x80 else 0
        part += bytes([fill]) * (move.width - move.size)
        image[move.offset : move.offset + move.width] = part


def take(image: bytes, moves: tuple[Move, ...], size: int) -> bytes:
    """Follow moves backwards."""
    raw = bytearray(size)
    for move in moves:
        raw[move.source : move.source + move.size] = image[move.offset : move.offset + move.size]
    return bytes(raw)


def point(image: bytearray, reference: Reference) -> None:
    address = (FRAME + reference.at).to_bytes(reference.width, "little")
    image[reference.cell : reference.cell + reference.width] = address


def masked(raw: bytes, typed: Typed) -> str:
    return bytes(a & b for a, b in zip(raw, mask(typed.ctype), strict=True)).hex(" ")


def x87_number(raw: bytes) -> bytes:
    """Write a float or double as the x87 has it."""
    bits, mantissa = (32, 23) if len(raw) == 4 else (64, 52)
    number = int.from_bytes(raw, "little")
    sign, rest = number >> bits - 1, number & ((1 << bits - 1) - 1)
    exponent, fraction = rest >> mantissa, rest & ((1 << mantissa) - 1)
    bias = (1 << bits - mantissa - 2) - 1
    if exponent == 0 and fraction == 0:
        return (sign << 79).to_bytes(10, "little")
    if exponent:
        fraction |= 1 << mantissa
    else:
        exponent = 1
    shift = 64 - fraction.bit_length()
    exponent = exponent - bias + 16383 + (63 - mantissa) - shift
    return (sign << 79 | exponent << 64 | fraction << shift).to_bytes(10, "little")


def from_x87(raw: bytes, size: int) -> bytes:
    """Read a float or double from what the x87 has; it is one exactly."""
    number = int.from_bytes(raw, "little")
    bits, mantissa = (32, 23) if size == 4 else (64, 52)
    sign, exponent, fraction = number >> 79, number >> 64 & 0x7FFF, number & ((1 << 64) - 1)
    bias = (1 << bits - mantissa - 2) - 1
    if not fraction:
        return (sign << bits - 1).to_bytes(size, "little")
    exponent = exponent - 16383 + bias
    shift = 63 - mantissa
    if exponent <= 0:
        shift += 1 - exponent
        exponent = 0
    fraction >>= shift
    if exponent:
        fraction &= (1 << mantissa) - 1
    return (sign << bits - 1 | exponent << mantissa | fraction).to_bytes(size, "little")


def check_callee(machine: Machine, s: Signature, plan: CallPlan, at: int, random: Random) -> str:
    raw = [value(random, p.ctype) for p in s.parameters]
    image = bytearray(random.randbytes(frame.SIZE))
    for moves, part, typed in zip(plan.arguments, raw, s.parameters, strict=True):
        put(image, moves, part, typed)
    for reference in plan.references:
        point(image, reference)
    if plan.result_reference:
        point(image, plan.result_reference)
    result = b"" if isinstance(s.result.ctype, Void) else value(random, s.result.ctype)
    machine.uc.mem_write(BUFFERS, random.randbytes(0x8000))
    machine.uc.mem_write(RESULT, result)
    popped = machine.call(plan, image, at)
    wrong = ""
    for n, (part, typed) in enumerate(zip(raw, s.parameters, strict=True)):
        received = bytes(machine.uc.mem_read(place(n), len(part)))
        if masked(received, typed) != masked(part, typed):
            wrong += f"  a{n} {typed.text} got {masked(received, typed)}\n"
            wrong += f"     instead of {masked(part, typed)}\n"
        if isinstance(typed.ctype, Integer | Boolean) and typed.ctype.size <= 8:
            signed = isinstance(typed.ctype, Integer) and typed.ctype.signed
            wide = int.from_bytes(part, "little", signed=signed)
            got = bytes(machine.uc.mem_read(place(n) + WIDE, 8))
            if got != wide.to_bytes(8, "little", signed=signed):
                wrong += f"  a{n} {typed.text} was not extended: {got.hex(' ')}\n"
    if result:
        if plan.x87:
            returned = from_x87(take(image, plan.result, 10), len(result))
        else:
            returned = take(image, plan.result, len(result))
        if masked(returned, s.result) != masked(result, s.result):
            wrong += f"  the result {s.result.text} is {masked(returned, s.result)}\n"
            wrong += f"     instead of {masked(result, s.result)}\n"
    if popped != plan.pop_bytes:
        wrong += f"  popped {popped}, not {plan.pop_bytes}\n"
    return wrong


def check_caller(machine: Machine, s: Signature, plan: CallPlan, at: int, random: Random) -> str:
    raw = [value(random, p.ctype) for p in s.parameters]
    for n, part in enumerate(raw):
        machine.uc.mem_write(place(n), part)
    image = bytearray(random.randbytes(frame.SIZE))
    machine.run_caller(plan, image, at)
    for reference in plan.references:
        cell = image[reference.cell : reference.cell + reference.width]
        address = int.from_bytes(cell[: machine.cpu.pointer], "little")
        content = machine.uc.mem_read(address, reference.size)
        image[reference.at : reference.at + reference.size] = content
    wrong = ""
    for n, (moves, part, typed) in enumerate(zip(plan.arguments, raw, s.parameters, strict=True)):
        received = take(image, moves, len(part))
        if masked(received, typed) != masked(part, typed):
            wrong += f"  a{n} {typed.text} was passed as {masked(received, typed)}\n"
            wrong += f"     instead of {masked(part, typed)}\n"
    if not isinstance(s.result.ctype, Void):
        result = value(random, s.result.ctype)
        written = x87_number(result) if plan.x87 else result
        if plan.result_reference:
            cell = plan.result_reference.cell
            address = int.from_bytes(image[cell : cell + machine.cpu.pointer], "little")
            machine.uc.mem_write(address, result)
            pointer = address.to_bytes(8, "little")
            image[frame.RESULT_INTEGER : frame.RESULT_INTEGER + 8] = pointer
        else:
            put(image, plan.result, written, Typed("", Void()))
    machine.return_to_caller(plan, image)
    if not isinstance(s.result.ctype, Void):
        received = bytes(machine.uc.mem_read(RESULT, len(result)))
        if masked(received, s.result) != masked(result, s.result):
            wrong += f"  the result {s.result.text} came back as {masked(received, s.result)}\n"
            wrong += f"     instead of {masked(result, s.result)}\n"
    return wrong


def story(s: Signature, plan: CallPlan, who: str, wrong: str) -> str:
    return f"{plan.abi}, {who}\n" + "\n".join(define(s)) + f"\n{plan}\n{wrong}"


def check(abi_name: str, seed: int, count: int, directory: Path) -> list[str]:
    """Check random signatures both ways; give the story of each that went wrong."""
    abi = ABIS[abi_name]
    random = Random(f"{abi_name} {seed}")
    signatures = [invent(random, abi, str(n)) for n in range(count)]
    segments, functions = compile_image(abi_name, source(signatures), directory)
    stories = []
    for s in signatures:
        plan = lower(
            abi,
            s.result.ctype,
            tuple(p.ctype for p in s.parameters),
            convention=s.convention,
            variadic_from=s.variadic_from,
        )
        for who, letter, run in (("called", "f", check_callee), ("calling", "g", check_caller)):
            machine = Machine(abi, segments)
            try:
                wrong = run(machine, s, plan, functions[f"{letter}{s.name}"], random)
            except (unicorn.UcError, AssertionError) as error:
                where = machine.uc.reg_read(machine.cpu.counter)
                wrong = f"  {error}, at {where:#x}"
            if wrong:
                stories.append(story(s, plan, who, wrong))
    return stories
