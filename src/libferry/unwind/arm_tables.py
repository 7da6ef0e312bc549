"""32-bit Arm's own way to say how a function is unwound: ``.ARM.exidx``.

Arm does not use DWARF for exceptions. A sorted table has two words for each function: where
it begins, and what undoes it, as a few one-byte instructions that move a virtual stack
pointer and pop registers. If they fit into three bytes they are in the table itself, else
in ``.ARM.extab``. There is no row for each instruction, as DWARF has: what is undone is the
whole prologue. So a fault inside a prologue or an epilogue is unwound wrongly. That cannot
be told from here, and only happens in frames that were interrupted.

Much C code has no entry that helps: it says ``EXIDX_CANTUNWIND``, since a C function need
not let exceptions through.

Specification: Exception Handling ABI for the Arm Architecture (ehabi32), 6 "Index table
entries", 7.3 "Arm-defined personality routines" and 10.3 "Frame unwinding instructions".
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct

from libferry.binary.elf import Image
from libferry.binary.window import Window
from libferry.unwind.cursor import Cursor
from libferry.unwind.expressions import Load
from libferry.unwind.limits import Budget, NotUnwindable

PT_ARM_EXIDX = 0x70000001  # DWARF's PT_GNU_EH_FRAME is in no Arm file
EXIDX_CANTUNWIND = 1
SP, LR, PC = 13, 14, 15

_WORD = Struct("<I")
_PAIR = Struct("<II")
_COMPACT = 0x80000000


def _prel31(word: int, at: int) -> int:
    """A 31-bit distance from where it stands."""
    distance = word & 0x7FFFFFFF
    if distance & 0x40000000:
        distance -= 0x80000000
    return at + distance & 0xFFFFFFFF


class ArmTables:
    """The index of one file."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._window: Window | None = None
        self._address = 0
        for segment in image.segments:
            if segment.type == PT_ARM_EXIDX:
                what = "the index of Arm's frames"
                window = image.at(segment.address, what)
                self._window = window.view(0, min(segment.file_size, window.size), what)
                self._address = segment.address

    def find(self, address: int, budget: Budget) -> bytes | None:
        """The instructions that undo the function at an address of the file's counting."""
        window = self._window
        if window is None:
            return None

        def entry(number: int) -> tuple[int, int]:
            budget.spend()
            start, how = window.unpack(_PAIR, number * _PAIR.size, "the index of Arm's frames")
            return _prel31(start, self._address + number * _PAIR.size), how

        low, high = 0, window.size // _PAIR.size
        while low < high:
            middle = (low + high) // 2
            if entry(middle)[0] <= address:
                low = middle + 1
            else:
                high = middle
        if not low:
            return None
        _, how = entry(low - 1)
        if how == EXIDX_CANTUNWIND:
            return None
        if how & _COMPACT:
            if how >> 24 & 0x0F:
                raise NotUnwindable("only the first routine's instructions fit into the index")
            return how.to_bytes(4, "big")[1:]
        return self._from_table(_prel31(how, self._address + (low - 1) * _PAIR.size + 4))

    def _from_table(self, address: int) -> bytes:
        what = "a frame of Arm's"
        table = self._image.at(address, what)
        (first,) = table.unpack(_WORD, 0, what)
        if not first & _COMPACT:  # a personality routine; GNU's have the same words next
            (first,) = table.unpack(_WORD, 4, what)
            return self._words(table, 4, first.to_bytes(4, "big")[1:], first >> 24)
        if first >> 24 & 0x0F == 0:
            return self._words(table, 0, first.to_bytes(4, "big")[1:], 0)
        return self._words(table, 0, first.to_bytes(4, "big")[2:], first >> 16 & 0xFF)

    @staticmethod
    def _words(table: Window, at: int, begin: bytes, count: int) -> bytes:
        """Instructions go from the highest byte of a word to its lowest."""
        words = table.table(_WORD, at + 4, count, "a frame of Arm's")
        return begin + b"".join(word.to_bytes(4, "big") for word in words)


class _Undo:
    """Runs the instructions of one function."""

    def __init__(self, code: bytes, registers: Mapping[int, int], load: Load) -> None:
        self.cursor = Cursor(code, 4)
        self.registers = dict(registers)
        self.load = load
        if SP not in registers:
            raise NotUnwindable("the stack pointer is not known")
        self.sp = registers[SP]
        self.popped_pc = False

    def pop(self, registers: list[int]) -> None:
        sp_popped = None
        for number in registers:
            value = self.load(self.sp, 4)
            self.sp = self.sp + 4 & 0xFFFFFFFF
            if number == SP:
                sp_popped = value
            self.registers[number] = value
            self.popped_pc |= number == PC
        if sp_popped is not None:
            self.sp = sp_popped

    def skip(self, by: int) -> None:
        self.sp = self.sp + by & 0xFFFFFFFF

    def step(self) -> bool:
        """One instruction; False at the end. The table is ehabi32's table 4."""
        code = self.cursor.byte()
        if code < 0x40:
            self.skip(((code & 0x3F) << 2) + 4)
        elif code < 0x80:
            self.skip(-((code & 0x3F) << 2) - 4)
        elif code < 0x90:
            mask = (code & 0x0F) << 8 | self.cursor.byte()
            if not mask:
                raise NotUnwindable("this function refuses to be unwound")
            self.pop([4 + bit for bit in range(12) if mask >> bit & 1])
        elif code < 0xA0:
            number = code & 0x0F
            if number in (SP, PC) or number not in self.registers:
                raise NotUnwindable("the stack pointer comes from an impossible register")
            self.sp = self.registers[number]
        elif code < 0xB0:
            self.pop([*range(4, 5 + (code & 7)), *([LR] if code & 8 else [])])
        elif code == 0xB0:
            return False
        else:
            self._rarer(code)
        return True

    def _rarer(self, code: int) -> None:
        if code == 0xB1:
            mask = self.cursor.byte()
            if not 0 < mask < 16:
                raise NotUnwindable("a spare instruction")
            self.pop([bit for bit in range(4) if mask >> bit & 1])
        elif code == 0xB2:
            self.skip(0x204 + (self.cursor.uleb() << 2))
        elif code == 0xB3:  # FSTMFDX, which stores a word more than the registers
            self.skip(((self.cursor.byte() & 0x0F) + 1) * 8 + 4)
        elif code == 0xB4:  # the signature of a return address
            self.skip(4)
        elif 0xB8 <= code < 0xC0:
            self.skip(((code & 7) + 1) * 8 + 4)
        elif code in (0xC8, 0xC9):
            self.skip(((self.cursor.byte() & 0x0F) + 1) * 8)
        elif 0xD0 <= code < 0xD8:
            self.skip(((code & 7) + 1) * 8)
        else:
            raise NotUnwindable("a spare instruction, or one of iWMMXt")


def undo(
    code: bytes, registers: Mapping[int, int], load: Load, budget: Budget
) -> tuple[dict[int, int], int | None]:
    """The caller's registers and the return address."""
    run = _Undo(code, registers, load)
    while run.cursor.at < run.cursor.end:
        budget.spend()
        if not run.step():
            break
    found = run.registers
    found[SP] = run.sp
    if not run.popped_pc:
        if LR not in found:
            raise NotUnwindable("the return address is not known")
        found[PC] = found[LR]
    return found, found[PC]
