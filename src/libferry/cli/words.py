"""Command-line words to C arguments and back, as the declaration says.

A shell gives us text, and C wants a number, a string or memory. Which one, the
parameter's type says; how to write it, this table:

==========================  ====================================================
integer                     ``42``, ``-5``, ``0xff``; a ``char`` also as a letter
``float``, ``double``       ``1.5``, ``-2e9``, ``inf``, ``nan``
``_Bool``                   ``true``, ``false``, ``1``, ``0``
any pointer                 ``null`` or ``none``
``const char *``            text, as it is; ``text:null`` for the text "null"
pointer to bytes, ``char``  text, or ``hex:00ff``, or ``@file`` for its contents
pointer to numbers          ``1,2,3``; ``hex:`` and ``@file`` too
pointer the library         ``out:64`` for 64 bytes; for a pointer to one number,
writes through              ``out``, or ``out=7`` if it is to be 7 before the call
==========================  ====================================================

Text that ends up in memory the library may write to, or that is declared as bytes,
gets a terminating NUL behind it, so that it is a C string for those who want one.
"""

from __future__ import annotations

import math
import reprlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from libferry._core import Function
from libferry.abi import Boolean, CType, Integer, Opaque, Pointer, Real, Void
from libferry.abi.types import spell
from libferry.cli.failure import UsageError
from libferry.contract import Parameter, Signature
from libferry.errors import ArgumentTypeError, ArgumentValueError
from libferry.runtime import Buffer, Library, Out, explain
from libferry.runtime import Pointer as Address

FILE_LIMIT = 1 << 30  # bytes of an @file: what an arena holds at most
SHOWN_BYTES = 256  # of a hex dump on a terminal
SHOWN_NUMBERS = 64

_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class Output:
    """Memory that the library may have written to, and what it is declared as."""

    position: int
    name: str
    pointee: CType
    memory: Buffer
    encoding: str

    @property
    def value(self) -> object:
        """What is there: a number, a list of them, text, or None if it is just bytes."""
        if isinstance(self.memory, Out):
            return plain(self.memory.value)
        data = bytes(self.memory)
        if isinstance(self.pointee, Integer | Real) and not _is_byte(self.pointee):
            return _numbers(data, self.pointee)
        return _text(data, self.pointee, self.encoding)

    def as_dict(self) -> dict[str, object]:
        """The same for ``--json``, with the bytes in any case."""
        return {
            "argument": self.position,
            "name": self.name or None,
            "value": json_number(self.value),
            "hex": bytes(self.memory).hex(),
        }

    def lines(self, *, clip: bool) -> list[str]:
        """The same for people: on the line of its title, or as a hex dump below it."""
        title = f"out {self.position}" + (f" ({self.name})" if self.name else "")
        value = self.value
        if isinstance(value, list):
            shown = value[:SHOWN_NUMBERS] if clip else value
            more = f" and {len(value) - len(shown)} more" if len(value) > len(shown) else ""
            return [f"{title}: {' '.join(map(spoken, shown))}{more}"]
        if value is None and not isinstance(self.memory, Out):
            data = bytes(self.memory)
            return [f"{title}: {len(data)} bytes", *hex_dump(data, clip=clip)]
        return [f"{title}: {spoken(value)}"]


def read(
    library: Library, function: Function, words: Sequence[str], encoding: str
) -> tuple[list[object], list[Output]]:
    """The C arguments that ``words`` mean, and which of them to show after the call.

    Raises:
        ArgumentTypeError, ArgumentValueError: a word is not what the declaration wants.
        UsageError: an ``@file`` cannot be read.
    """
    signature: Signature = function.signature
    if len(words) != len(signature.parameters):
        explain.count(function, len(words), None)
    reader = _Reader(library, signature, encoding)
    values = [
        reader.argument(position, word, parameter)
        for position, (word, parameter) in enumerate(
            zip(words, signature.parameters, strict=True), 1
        )
    ]
    return values, reader.outputs


class _Reader:
    """Reads the words of one call; it knows what to say when one is wrong."""

    def __init__(self, library: Library, signature: Signature, encoding: str) -> None:
        self.library = library
        self.signature = signature
        self.encoding = encoding
        self.outputs: list[Output] = []
        self.position = 0
        self.name = ""

    def argument(self, position: int, word: str, parameter: Parameter) -> object:
        self.position, self.name = position, parameter.name
        ctype = parameter.type
        return self.pointer(word, ctype) if isinstance(ctype, Pointer) else self.number(word, ctype)

    def refuse(
        self,
        happened: str,
        hint: str,
        error: type[ArgumentTypeError] | type[ArgumentValueError] = ArgumentTypeError,
    ) -> NoReturn:
        raise error(self.tried, happened, hint=f"{hint}; declared: {self.signature}")

    @property
    def tried(self) -> str:
        name = f" ({self.name})" if self.name else ""
        return f"call {self.signature.name}, argument {self.position}{name}"

    # ---- numbers ----

    def number(self, word: str, ctype: CType) -> int | float:
        """A number of an arithmetic type."""
        shown = reprlib.repr(word)
        match ctype:
            case Integer(size=1, text=True) as char if len(word) == 1 and not word.isdigit():
                return self.letter(word, char)
            case Integer():
                try:
                    return int(word, 0)
                except ValueError:
                    self.refuse(f"{shown} is not an integer", "write 42, -5 or 0x2a")
            case Boolean():
                if word.lower() not in _BOOLEANS:
                    self.refuse(f"{shown} is not a bool", "write true or false")
                return _BOOLEANS[word.lower()]
            case Real():
                try:
                    return float.fromhex(word) if "0x" in word.lower() else float(word)
                except (ValueError, OverflowError):
                    self.refuse(f"{shown} is not a number", "write 1.5, -2e9, inf or nan")
        raise AssertionError(f"{ctype} was lowered, but no word can be one")

    def letter(self, word: str, char: Integer) -> int:
        """The code of one character, as a number that a ``char`` can hold."""
        code = self.encode(word)
        if len(code) != 1:
            self.refuse(
                f"{word!r} takes {len(code)} bytes in {self.encoding}",
                "give another --encoding, or the number",
                ArgumentValueError,
            )
        return int.from_bytes(code, "little", signed=char.signed)

    # ---- pointers ----

    def pointer(self, word: str, ctype: Pointer) -> object:
        """What to pass for a pointer: memory, text, or None."""
        if word.lower() in ("null", "none"):
            return None
        text = word.removeprefix("text:")
        to = ctype.to
        if ctype.readonly and isinstance(to, Integer) and to.text:
            return text  # the library's own encoding and NUL are the runtime's business
        if word == "out" or word.startswith(("out:", "out=")):
            return self.output(word, to)
        if word.startswith("@"):
            return self.memory(self.contents(word[1:]), ctype)
        if word.startswith("hex:"):
            return self.memory(self.from_hex(word[4:]), ctype)
        if isinstance(to, Void) or _is_byte(to):
            return self.memory(self.encode(text) + b"\0", ctype)
        if isinstance(to, Integer) and to.text:
            wide = text.encode(_wide(to), "surrogatepass") + bytes(to.size)
            return self.memory(wide, ctype)
        if isinstance(to, Integer | Real | Boolean):
            return self.memory(b"".join(self.pack(part, to) for part in word.split(",")), ctype)
        return self.refuse(
            f"{reprlib.repr(word)} cannot be passed as {spell(ctype)}",
            "write null, out:SIZE, hex:00ff or @file",
        )

    def memory(self, data: bytes, ctype: Pointer) -> bytes | bytearray:
        """Memory that holds ``data``; what may be written to must be writable."""
        return data if ctype.readonly else bytearray(data)

    def output(self, word: str, to: CType) -> Buffer:
        """Memory that is shown after the call."""
        one = word == "out" or word.startswith("out=")
        if one and (isinstance(to, Void | Opaque) or (isinstance(to, Integer) and to.text)):
            self.refuse(f"how much memory {word!r} is to be is not known", "write out:SIZE")
        if one:
            room = self.library.out(to.name)
            memory: Buffer = room
            if word != "out":
                self.fill(room, word[4:], to)
        else:
            memory = self.library.buffer(self.size(word[4:]))
        self.outputs.append(Output(self.position, self.name, to, memory, self.encoding))
        return memory

    def fill(self, room: Out, word: str, to: CType) -> None:
        if isinstance(to, Pointer):
            self.refuse("a pointer cannot be given a value", "write out")
        memoryview(room)[:] = self.pack(word, to)

    def size(self, word: str) -> int:
        try:
            size = int(word, 0)
        except ValueError:
            size = -1
        if not 0 <= size < 1 << 62:
            self.refuse(f"{reprlib.repr(word)} is not a size", "write out:SIZE, such as out:64")
        return size

    def pack(self, word: str, to: CType) -> bytes:
        """One number as memory."""
        value = self.number(word.strip(), to)
        try:
            if isinstance(to, Real):
                return struct.pack("<f" if to.size == 4 else "<d", value)
            signed = isinstance(to, Integer) and to.signed
            return int(value).to_bytes(getattr(to, "size", 1), "little", signed=signed)
        except OverflowError:
            self.refuse(
                f"{reprlib.repr(word)} does not fit in {to.name}",
                "check the value",
                ArgumentValueError,
            )

    def contents(self, path: str) -> bytes:
        try:
            with open(path, "rb") as file:
                data = file.read(FILE_LIMIT + 1)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{self.tried}: read {path}",
                getattr(error, "strerror", None) or str(error),
                hint="give a file that can be read; text that begins with @ is text:@...",
            ) from None
        if len(data) > FILE_LIMIT:
            self.refuse(
                f"{path} is larger than {FILE_LIMIT:,} bytes", "give a part", ArgumentValueError
            )
        return data

    def from_hex(self, digits: str) -> bytes:
        try:
            return bytes.fromhex(digits)
        except ValueError:
            self.refuse(
                f"{reprlib.repr(digits)} is not hexadecimal",
                "write two digits for a byte, as in hex:00ff; text that begins with hex: is "
                "text:hex:...",
            )

    def encode(self, text: str) -> bytes:
        try:
            return text.encode(self.encoding, "surrogateescape")
        except UnicodeEncodeError:
            self.refuse(
                f"{reprlib.repr(text)} cannot be encoded as {self.encoding}",
                "give another --encoding",
                ArgumentValueError,
            )


def _is_byte(to: CType) -> bool:
    return isinstance(to, Integer) and to.size == 1


def _wide(to: Integer) -> str:
    return {2: "utf-16-le", 4: "utf-32-le"}[to.size]


def _numbers(data: bytes, to: Integer | Real) -> object:
    """The whole numbers in ``data``, or its text if they are wide characters."""
    if isinstance(to, Integer) and to.text:
        end = next(
            (i for i in range(0, len(data), to.size) if not any(data[i : i + to.size])), None
        )
        return _printable(data[:end].decode(_wide(to), "replace"))
    if not data or len(data) % to.size:
        return None
    parts = [data[i : i + to.size] for i in range(0, len(data), to.size)]
    if isinstance(to, Real):
        return [struct.unpack("<f" if to.size == 4 else "<d", part)[0] for part in parts]
    return [int.from_bytes(part, "little", signed=to.signed) for part in parts]


def _text(data: bytes, to: CType, encoding: str) -> str | None:
    """The C string at the start of ``data``, if it is one that can be printed.

    What was declared as ``char`` is believed. Other bytes must look like text to the
    end: something printable, then nothing but NUL.
    """
    string, _, rest = data.partition(b"\0")
    declared = isinstance(to, Integer) and to.text
    if not declared and (not string or any(rest)):
        return None
    try:
        return _printable(string.decode(encoding))
    except UnicodeDecodeError:
        return None


def _printable(text: str) -> str | None:
    return text if all(char.isprintable() or char in "\n\t" for char in text) else None


def plain(value: object) -> object:
    """A result as data that a shell or JSON can hold: a pointer is its address in hex."""
    if isinstance(value, Address):
        return f"{value.address:#x}"
    return value


def json_number(value: object) -> object:
    """JSON has no infinity and no NaN: they become the words C prints for them."""
    if isinstance(value, list):
        return [json_number(one) for one in value]
    return spoken(value) if isinstance(value, float) and not math.isfinite(value) else value


def spoken(value: object) -> str:
    """A value as one word: what ``read`` would take for it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def hex_dump(data: bytes, *, clip: bool) -> list[str]:
    """Bytes as hexdump(1) shows them; on a terminal only the beginning."""
    shown = data[:SHOWN_BYTES] if clip else data
    lines = []
    for start in range(0, len(shown), 16):
        row = shown[start : start + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"  {start:08x}  {row[:8].hex(' '):23}  {row[8:].hex(' '):23}  {text}")
    if len(shown) < len(data):
        lines.append(f"  {len(data) - len(shown)} more bytes; all of them: --json, or | less")
    return lines
