"""From a thread's registers and stack to the addresses of everybody who was calling.

One step goes from a frame to its caller's. It uses the first of these that knows:

1. call frame information (DWARF), or on 32-bit Arm the table it has instead;
2. what the kernel's own code leaves on the stack, above all where a signal came;
3. the frame pointer, if what it points at leads to code;
4. in the innermost frame, the link register.

Nothing is ever guessed by searching the stack for what looks like code: a short backtrace
is better than a wrong one.

A return address is where a caller will go on, which may be behind its end if the call was
its last instruction. So callers are looked up by the byte before. Not so the frame that
faulted, nor one that a signal interrupted: there the address is the instruction itself.

A call through a null pointer ends at an address without code, whose "function" has done
nothing yet: the return address is still on top of the stack or in the link register.
"""

from __future__ import annotations

from dataclasses import dataclass

from libferry.errors import FerryError
from libferry.runtime.fault import Fault
from libferry.unwind import call_frames
from libferry.unwind.arm_tables import undo
from libferry.unwind.cpus import Cpu, Record
from libferry.unwind.limits import Budget, NotUnwindable
from libferry.unwind.modules import CodeFile, Modules, Place


@dataclass(frozen=True)
class _State:
    """A frame: where it is, and the registers as its function would see them.

    ``exact``: it was interrupted at ``pc``, and did not call anybody there.
    """

    pc: int
    registers: dict[int, int]
    exact: bool

    @property
    def looked_up(self) -> int:
        return self.pc if self.exact else self.pc - 1


class Walk:
    """The way out of one fault."""

    def __init__(self, fault: Fault, cpu: Cpu, modules: Modules, budget: Budget) -> None:
        self._cpu = cpu
        self._modules = modules
        self._budget = budget
        self._base = fault.stack_base
        self._stack = fault.stack
        registers = {
            number: value & cpu.mask
            for number, value in fault.registers.items()
            if 0 <= number < len(cpu.names) and number != cpu.pc
        }
        pc = fault.program_counter & cpu.mask & ~cpu.code_mask
        self._first = _State(pc, registers, exact=True)

    def addresses(self, limit: int) -> list[tuple[int, bool]]:
        """The frames' addresses, innermost first, and whether each is exact."""
        state: _State | None = self._first
        found: list[tuple[int, bool]] = []
        seen = set()
        while state is not None and len(found) < limit:
            at = state.pc, state.registers.get(self._cpu.sp)
            if at in seen:
                break
            seen.add(at)
            caller = self._caller(state)
            # the code that a signal handler returns to may begin there
            exact = state.exact or (caller is not None and caller.exact)
            found.append((state.pc, exact))
            state = caller
        return found

    def _load(self, address: int, size: int) -> int:
        at = address - self._base
        if not 0 <= at <= len(self._stack) - size:
            raise NotUnwindable("beyond the part of the stack that was kept")
        return int.from_bytes(self._stack[at : at + size], "little")

    def _caller(self, state: _State) -> _State | None:
        place = self._modules.find(state.looked_up)
        if state.exact and (place is None or not place.code):
            return self._after_wild_jump(state)
        try:
            known, found = self._by_tables(state, place)
            if known:
                return found
        except (NotUnwindable, FerryError):
            pass
        for way in (self._by_kernel_record, self._by_frame_pointer, self._by_link_register):
            try:
                found = way(state)
            except NotUnwindable:
                continue
            if found is not None:
                return found
        return None

    def _returned(
        self, registers: dict[int, int], address: int, exact: bool = False
    ) -> _State | None:
        """The caller's state, by the return address; None at the end of the stack."""
        cpu = self._cpu
        pc = address & cpu.mask & ~cpu.code_mask
        if pc >> cpu.address_bits:
            pc &= (1 << cpu.address_bits) - 1  # the rest is a signature
        return _State(pc, registers, exact) if pc else None

    def _by_tables(self, state: _State, place: Place | None) -> tuple[bool, _State | None]:
        """Whether a table knows, and the caller's state; None: there is no caller."""
        cpu, file = self._cpu, place.file if place else None
        if place is None or not isinstance(file, CodeFile):
            return False, None
        entry = file.frames.find(place.offset)
        if entry is not None:
            row = call_frames.row_at(entry, place.offset, cpu, self._budget)
            column = entry.common.return_column
            registers, address = call_frames.caller(
                row, column, state.registers, cpu, self._load, self._budget
            )
            exact = entry.common.signal
        else:
            code = file.arm.find(place.offset, self._budget)
            if code is None:
                return False, None
            registers, address = undo(code, state.registers, self._load, self._budget)
            exact = False
        return True, None if address is None else self._returned(registers, address, exact)

    def _after_wild_jump(self, state: _State) -> _State | None:
        cpu, registers = self._cpu, dict(state.registers)
        try:
            if cpu.link is None:
                sp = registers.get(cpu.sp, 0)
                address = self._load(sp, cpu.word)
                registers[cpu.sp] = sp + cpu.word
            else:
                address = registers.get(cpu.link, 0)
        except NotUnwindable:
            return None
        return self._to_code(registers, address)

    def _to_code(
        self, registers: dict[int, int], address: int, exact: bool = False
    ) -> _State | None:
        """The caller's state, if the address is one to return to."""
        found = self._returned(registers, address, exact)
        return found if found and self._modules.is_code(found.looked_up) else None

    def _by_kernel_record(self, state: _State) -> _State | None:
        place = self._modules.find(state.pc)
        if place is not None and place.code and place.file is not None:
            return None
        for record in self._cpu.kernel:
            try:
                found = self._by_record(state, record)
            except NotUnwindable:
                continue
            if found is not None:
                return found
        return None

    def _by_record(self, state: _State, record: Record) -> _State | None:
        cpu = self._cpu
        if cpu.sp not in state.registers or (state.exact and record.interrupted):
            return None
        sp = state.registers[cpu.sp]

        def word(offset: int) -> int:
            return self._load(sp + offset, cpu.word)

        if any(map(word, record.zero)):
            return None
        if record.equal and word(record.equal[0]) != word(record.equal[1]):
            return None
        if record.points and word(record.points[0]) != sp + record.points[1]:
            return None
        registers = dict(state.registers)
        if record.size is not None:
            registers[cpu.sp] = sp + record.size
        for number, offset in record.registers.items():
            registers[number] = word(offset)
        return self._to_code(registers, word(record.pc), exact=record.interrupted)

    def _by_frame_pointer(self, state: _State) -> _State | None:
        cpu = self._cpu
        for number in cpu.fp:
            frame = state.registers.get(number, 0)
            if frame % cpu.word or frame < state.registers.get(cpu.sp, 0):
                continue
            try:
                saved = self._load(frame + cpu.saved_fp, cpu.word)
                address = self._load(frame + cpu.returns_to, cpu.word)
            except NotUnwindable:
                continue
            if state.exact and self._is_still_in(state, address):
                continue
            behind = max(cpu.saved_fp, cpu.returns_to) + cpu.word
            found = self._to_code(
                {**state.registers, number: saved, cpu.sp: frame + behind}, address
            )
            if found is not None:
                return found
        return None

    def _is_still_in(self, state: _State, saved: int) -> bool:
        """Whether the return address is in the link register, and the frame is the caller's.

        It is not if the function that faulted has saved it, or has called another since:
        then the link register leads back into the function itself.
        """
        link = self._cpu.link
        if link is None or state.registers.get(link) in (None, saved):
            return False
        back = self._to_code(state.registers, state.registers[link])
        if back is None:
            return False
        here = self._modules.find(state.looked_up)
        there = self._modules.find(back.looked_up)
        function = here.symbol() if here else None
        return function is None or there is None or there.symbol() != function

    def _by_link_register(self, state: _State) -> _State | None:
        cpu = self._cpu
        if not state.exact or cpu.link is None or cpu.link not in state.registers:
            return None
        return self._to_code(dict(state.registers), state.registers[cpu.link])
