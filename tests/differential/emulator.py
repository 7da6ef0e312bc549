"""A CPU in this process, into which a library is mapped and whose functions are called.

There is no operating system in it: the libraries here need none. Calls go through the
frame, as libferry's do: registers are loaded from it, the stack image is copied, and
what comes back is stored in it. A callback is an address at which nothing is mapped;
the CPU stops there and goes on once its result is in place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import lief
import unicorn
from unicorn import x86_const as x86

from libferry.abi import frame

from .targets import Target
from .trampolines import TRAMPOLINES, Cell

BASE = 0x1000_0000  # of ELF and Mach-O files, which do not care
STACK_END = 0x3000_0000
STACK_SIZE = 1 << 20
FRAME = 0x4000_0000
HEAP = 0x5000_0000
HEAP_SIZE = 1 << 20
NOWHERE = 0x6000_0000  # where functions return to, and above it the callbacks
PAGE = 0x1_0000

MOST_INSTRUCTIONS = 5_000_000
X87_EMPTY = 0xFFFF

ThunkBody = Callable[[bytearray], None]


class Stopped(Exception):
    """The CPU could not go on."""


class Machine:
    """One library, mapped."""

    def __init__(self, target: Target, path: Path) -> None:
        self.trampoline = TRAMPOLINES[target.abi]
        self.cpu = unicorn.Uc(self.trampoline.arch, self.trampoline.mode)
        if target.abi == "arm-hardfloat":
            self.cpu.ctl_set_cpu_model(unicorn.arm_const.UC_CPU_ARM_CORTEX_A15)
        self.symbols: dict[str, int] = {}
        self._load(path)
        self.cpu.mem_map(STACK_END - STACK_SIZE, STACK_SIZE)
        self.cpu.mem_map(FRAME, PAGE)
        self.cpu.mem_map(HEAP, HEAP_SIZE)
        for register, value in self.trampoline.setup:
            self.cpu.reg_write(register, value)

    def _load(self, path: Path) -> None:
        binary = lief.parse(path)
        if isinstance(binary, lief.PE.Binary):
            base = binary.imagebase
            export = binary.get_export()
            assert export is not None and not binary.imports
            found = {str(entry.name): entry.address for entry in export.entries}
            parts = [(s.virtual_address, s.virtual_size, bytes(s.content)) for s in binary.sections]
        else:
            assert isinstance(binary, lief.ELF.Binary | lief.MachO.Binary)
            base = BASE
            assert not list(binary.relocations), "the library cannot simply be mapped"
            found = {str(symbol.name): symbol.value for symbol in binary.symbols}
            parts = [
                (s.virtual_address, s.virtual_size, bytes(s.content))
                for s in binary.segments
                if isinstance(s, lief.MachO.SegmentCommand) or s.type == lief.ELF.Segment.TYPE.LOAD
            ]
        end = max(at + size for at, size, _ in parts)
        self.cpu.mem_map(base, -(-end // PAGE) * PAGE)
        for at, size, content in parts:
            self.cpu.mem_write(base + at, content[:size])
        for name, value in found.items():
            # _name@8, @name@8, name@8 and _name are all decorations of name
            plain = re.sub(r"@\d+$", "", name).lstrip("@_" if "@" in name else "_")
            self.symbols[plain] = base + value

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.cpu.mem_read(address, size))

    def write(self, address: int, content: bytes) -> None:
        self.cpu.mem_write(address, content)

    def call_with(self, name: str, pointer: int) -> int:
        """Call a function that takes a pointer; give the low half of what it returns."""
        image = bytearray(frame.SIZE)
        at, size = self.trampoline.first_argument, self.trampoline.pointer
        image[at : at + size] = pointer.to_bytes(size, "little")
        self.call(name, image, 16)
        return int.from_bytes(image[frame.RESULT_INTEGER :][:4], "little")

    def call(
        self,
        name: str,
        image: bytearray,
        stack_bytes: int,
        vector_count: int = 0,
        thunks: tuple[ThunkBody, ...] = (),
    ) -> int:
        """Call a function as the frame says; give how far the stack pointer moved.

        Callback n has the address ``callback(n)``.

        Raises:
            Stopped: the function did not come back.
        """
        cpu, way = self.cpu, self.trampoline
        self.write(FRAME, bytes(image))
        sp = STACK_END - 2 * frame.SIZE - stack_bytes & ~63  # for what is aligned to more than 16
        self.write(sp, bytes(image[way.stack_image :][:stack_bytes]))
        self._load_registers(way.arguments, image)
        if way.vector_count is not None:
            cpu.reg_write(way.vector_count, vector_count)
        if way.x87:
            self._set_x87([])
        if way.link is None:
            self.write(sp - way.pointer, NOWHERE.to_bytes(way.pointer, "little"))
            cpu.reg_write(way.sp, sp - way.pointer)
        else:
            cpu.reg_write(way.link, NOWHERE)
            cpu.reg_write(way.sp, sp)
        pc = self.symbols[name]
        while (pc := self._run(pc)) != NOWHERE:
            number = pc - NOWHERE >> 4
            if not 0 < number <= len(thunks):
                raise Stopped(f"went to {pc:#x}")
            pc = self._enter(thunks[number - 1])
        image[:] = self.read(FRAME, frame.SIZE)  # what was passed by reference lies there
        self._store_registers(way.results, image)
        if way.x87:
            self._store_x87(image)
        moved: int = cpu.reg_read(way.sp) - sp
        return moved

    @staticmethod
    def callback(number: int) -> int:
        return NOWHERE + (number + 1 << 4)

    def _run(self, pc: int) -> int:
        try:
            self.cpu.emu_start(pc, NOWHERE, count=MOST_INSTRUCTIONS)
        except unicorn.UcError as error:
            at: int = self.cpu.reg_read(self.trampoline.pc)
            if error.errno == unicorn.UC_ERR_FETCH_UNMAPPED and at >> 16 == NOWHERE >> 16:
                return at
            raise Stopped(f"{error} at {at:#x}") from error
        at = self.cpu.reg_read(self.trampoline.pc)
        if at != NOWHERE:
            raise Stopped(f"still running at {at:#x}")
        return at

    def _enter(self, body: ThunkBody) -> int:
        """Do what an entry thunk does: save the registers, have it answered, go back."""
        cpu, way = self.cpu, self.trampoline
        image = bytearray(frame.SIZE)
        sp = cpu.reg_read(way.sp)
        if way.link is None:
            back = int.from_bytes(self.read(sp, way.pointer), "little")
            sp += way.pointer
        else:
            back = cpu.reg_read(way.link)
        image[way.stack_image :] = self.read(sp, frame.SIZE - way.stack_image)
        self._store_registers(way.arguments, image)
        cpu.reg_write(way.sp, sp)
        body(image)
        return back

    def leave(self, image: bytearray, pop: int, x87: int, hidden: int | None) -> None:
        """Load a callback's result into the registers, as a thunk does before it returns."""
        cpu, way = self.cpu, self.trampoline
        self._load_registers(way.results, image)
        if hidden is not None and way.hidden is not None:
            cpu.reg_write(way.hidden, hidden)
        if way.x87:
            places = (frame.RESULT_X87, frame.RESULT_X87_SECOND)[:x87]
            self._set_x87([bytes(image[at:][:10]) for at in places])
        cpu.reg_write(way.sp, cpu.reg_read(way.sp) + pop)

    def _load_registers(self, cells: tuple[Cell, ...], image: bytearray) -> None:
        for cell in cells:
            content = image[cell.offset : cell.offset + cell.size]
            self.cpu.reg_write(cell.register, int.from_bytes(content, "little"))

    def _store_registers(self, cells: tuple[Cell, ...], image: bytearray) -> None:
        for cell in cells:
            value: int = self.cpu.reg_read(cell.register)
            image[cell.offset : cell.offset + cell.size] = value.to_bytes(cell.size, "little")

    def _set_x87(self, numbers: list[bytes]) -> None:
        """Leave just these on the x87's stack, the first on top."""
        top = 8 - len(numbers)
        tags = X87_EMPTY & ((1 << 2 * top) - 1) if numbers else X87_EMPTY
        self.cpu.reg_write(x86.UC_X86_REG_FPCW, 0x37F)
        self.cpu.reg_write(x86.UC_X86_REG_FPSW, (top & 7) << 11)
        self.cpu.reg_write(x86.UC_X86_REG_FPTAG, tags)
        for n, number in enumerate(numbers):
            mantissa, exponent = int.from_bytes(number[:8], "little"), number[8:]
            register = x86.UC_X86_REG_FP0 + (top + n) % 8
            self.cpu.reg_write(register, (mantissa, int.from_bytes(exponent, "little")))

    def _store_x87(self, image: bytearray) -> None:
        top: int = self.cpu.reg_read(x86.UC_X86_REG_FPSW) >> 11 & 7
        for n, at in enumerate((frame.RESULT_X87, frame.RESULT_X87_SECOND)[: (8 - top) % 8]):
            mantissa, exponent = self.cpu.reg_read(x86.UC_X86_REG_FP0 + (top + n) % 8)
            image[at : at + 10] = mantissa.to_bytes(8, "little") + exponent.to_bytes(2, "little")
