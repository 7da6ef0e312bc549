"""The registers of each CPU, by their DWARF numbers, and what an unwinder asks of them.

DWARF leaves the numbering to each CPU's ABI, and some look odd: i386 counts in the order
of its instructions' encoding, x86-64 swaps four of those, and both give the return address
a number of its own though no register has it. On the others the return address comes in a
*link register*, and a function that calls no further leaves it there.

A frame pointer, where compilers keep one, points at two words: the caller's frame pointer
and the return address. On RISC-V and LoongArch it points behind them.

Linux's kernel puts the registers of what it interrupted on the stack before it calls a
signal handler, and lets the handler return to a few instructions that belong to no
library, or to the vDSO. Where there is no call frame information for those, the layout
of that record is needed: ``SignalRecord``. On x86 and Arm the C library has the
instructions, with call frame information.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SignalRecord:
    """Where a kernel's ``rt_sigframe`` has the registers, counted from the stack pointer.

    Attributes:
        pc: the program counter.
        first: the register with DWARF number ``first_register``; the others follow it.
        first_register: see above.
        count: how many there are.
    """

    pc: int
    first: int
    first_register: int
    count: int


@dataclass(frozen=True)
class Cpu:
    """What unwinding needs to know of a CPU.

    Attributes:
        machine: ELF ``e_machine``.
        word: the size of a register, in bytes.
        names: the registers' names, by DWARF number.
        sp: the stack pointer's number.
        fp: the frame pointers' numbers, the likeliest first.
        pc: the number that the program counter has, or the return address; None if none.
        link: the link register's number, or None if a call puts the address on the stack.
        saved_fp: where a frame pointer has the caller's, relative to itself.
        returns_to: where it has the return address.
        address_bits: how many bits of a return address are an address.
        code_mask: what to clear of a return address: Arm marks Thumb code with bit 0.
        signal: the kernel's record, if it is needed.
    """

    machine: int
    word: int
    names: tuple[str, ...]
    sp: int
    fp: tuple[int, ...]
    pc: int | None
    link: int | None
    saved_fp: int = 0
    returns_to: int = 0
    address_bits: int = 64
    code_mask: int = 0
    signal: SignalRecord | None = None

    @property
    def mask(self) -> int:
        """All bits of a register."""
        return (1 << 8 * self.word) - 1


def _numbered(letter: str, count: int, **named: str) -> tuple[str, ...]:
    return tuple(named.get(f"{letter}{n}", f"{letter}{n}") for n in range(count))


# System V ABI, AMD64 supplement 1.0, figure 3.36 "DWARF Register Number Mapping"; 16 is
# the return address
_X86_64_NAMES = ("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp")
_X86_64 = Cpu(
    machine=62,
    word=8,
    names=(*_X86_64_NAMES, *(f"r{n}" for n in range(8, 16)), "rip"),
    sp=7,
    fp=(6,),
    pc=16,
    link=None,
    returns_to=8,
)

# System V ABI, Intel386 supplement 1.1, table 2.14 "DWARF Register Number Mapping"; 8 is
# the return address
_I386 = Cpu(
    machine=3,
    word=4,
    names=("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip", "eflags"),
    sp=4,
    fp=(5,),
    pc=8,
    link=None,
    returns_to=4,
    address_bits=32,
)

# DWARF for the Arm 64-bit Architecture (aadwarf64), 4.1 "DWARF register names". An address
# has 48 bits (52 only for who asks); those above may hold a signature of it, and a tag.
# Linux, arch/arm64/kernel/signal.c "struct rt_sigframe_user_layout"
_AARCH64 = Cpu(
    machine=183,
    word=8,
    names=(*_numbered("x", 31), "sp"),
    sp=31,
    fp=(29,),
    pc=None,
    link=30,
    returns_to=8,
    address_bits=48,
    signal=SignalRecord(pc=128 + 176 + 8 + 32 * 8, first=128 + 176 + 8, first_register=0, count=32),
)

# DWARF for the Arm Architecture (aadwarf32), 4.1 "DWARF register names". Clang's frame
# pointer is r11, or r7 in Thumb code, "Procedure Call Standard" 6.2.1.2
_ARM = Cpu(
    machine=40,
    word=4,
    names=(*_numbered("r", 13), "sp", "lr", "pc"),
    sp=13,
    fp=(11, 7),
    pc=15,
    link=14,
    returns_to=4,
    address_bits=32,
    code_mask=1,
)

# RISC-V ABIs Specification 1.0, "DWARF Register Numbers"; "Frame Pointer Convention".
# Linux, arch/riscv/kernel/signal.c "struct rt_sigframe"
_RISCV64 = Cpu(
    machine=243,
    word=8,
    names=_numbered("x", 32, x1="ra", x2="sp", x3="gp", x4="tp", x8="s0"),
    sp=2,
    fp=(8,),
    pc=None,
    link=1,
    saved_fp=-16,
    returns_to=-8,
    signal=SignalRecord(pc=128 + 176, first=128 + 176 + 8, first_register=1, count=31),
)

# DWARF for the LoongArch Architecture (ladwarf), "DWARF Register Numbers". Linux,
# arch/loongarch/kernel/signal.c "struct rt_sigframe"
_LOONGARCH64 = Cpu(
    machine=258,
    word=8,
    names=_numbered("r", 32, r1="ra", r2="tp", r3="sp", r22="fp"),
    sp=3,
    fp=(22,),
    pc=None,
    link=1,
    saved_fp=-16,
    returns_to=-8,
    signal=SignalRecord(pc=128 + 176, first=128 + 176 + 8, first_register=0, count=32),
)

CPUS = {
    "x86_64": _X86_64,
    "i386": _I386,
    "aarch64": _AARCH64,
    "arm": _ARM,
    "riscv64": _RISCV64,
    "loongarch64": _LOONGARCH64,
}
