"""The registers of each CPU, by their DWARF numbers, and what an unwinder asks of them.

DWARF leaves the numbering to each CPU's ABI, and some look odd: i386 counts in the order
of its instructions' encoding, x86-64 swaps four of those, and both give the return address
a number of its own though no register has it. On the others the return address comes in a
*link register*, and a function that calls no further leaves it there.

A frame pointer, where compilers keep one, points at two words: the caller's frame pointer
and the return address. On RISC-V and LoongArch it points behind them.

Linux's kernel puts the registers of what it interrupted on the stack before it calls a
signal handler, and lets the handler return to a few instructions of its own. On i386 it
also has the instructions that enter it for a system call, so that what runs inside
``abort`` is no library's. Neither is in a file. What they leave on the stack is a fixed
part of the kernel's interface, and so it can be a table here: ``Record``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Record:
    """What the kernel's own code has on the stack, counted from the stack pointer.

    Attributes:
        pc: where to go on.
        registers: where registers are saved, by DWARF number.
        size: what to add to the stack pointer, where that is not saved.
        zero: words that are zero, by which one knows the record.
        equal: two words that are equal, for the same.
        points: a word that points so far behind the stack pointer, for the same.
    """

    pc: int
    registers: Mapping[int, int]
    size: int | None = None
    zero: tuple[int, ...] = ()
    equal: tuple[int, int] | None = None
    points: tuple[int, int] | None = None

    @property
    def interrupted(self) -> bool:
        """Whether a signal came at ``pc``, and nothing was called there."""
        return self.size is None


def _signal_64(pc: int, first: int, first_register: int, count: int) -> Record:
    """The ``rt_sigframe`` of CPUs of 64 bits: a siginfo, and a ucontext with the registers.

    A ucontext begins with its flags and a link, which the kernel has no use for.
    """
    registers = {first_register + n: first + 8 * n for n in range(count)}
    return Record(pc, registers, zero=(128, 128 + 8))


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
        kernel: the records of the kernel's code that have no call frame information.
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
    kernel: tuple[Record, ...] = ()

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
# Linux, arch/x86/include/asm/sigframe.h and uapi/asm/sigcontext.h "struct sigcontext_32";
# arch/x86/entry/vdso/vdso32/system_call.S for what __kernel_vsyscall pushes
_SIGCONTEXT_32 = {0: 44, 1: 40, 2: 36, 3: 32, 4: 28, 5: 24, 6: 20, 7: 16}
_SIGCONTEXT_32_IP, _SIGCONTEXT_32_SP, _SIGCONTEXT_32_SP_AT_SIGNAL = 56, 28, 68


def _sigcontext_32(at: int) -> dict[int, int]:
    return {number: at + offset for number, offset in _SIGCONTEXT_32.items()}


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
    kernel=(
        # rt_sigframe: the signal, two pointers (12), siginfo (128), start of ucontext (20)
        Record(160 + _SIGCONTEXT_32_IP, _sigcontext_32(160), points=(4, 12)),
        # sigframe: the signal, and the registers
        Record(
            4 + _SIGCONTEXT_32_IP,
            _sigcontext_32(4),
            equal=(4 + _SIGCONTEXT_32_SP, 4 + _SIGCONTEXT_32_SP_AT_SIGNAL),
        ),
        # __kernel_vsyscall
        Record(12, {5: 0, 2: 4, 1: 8}, size=16),
    ),
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
    kernel=(_signal_64(128 + 176 + 8 + 32 * 8, 128 + 176 + 8, 0, 32),),
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
    kernel=(_signal_64(128 + 176, 128 + 176 + 8, 1, 31),),
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
    kernel=(_signal_64(128 + 176, 128 + 176 + 8, 0, 32),),
)

CPUS = {
    "x86_64": _X86_64,
    "i386": _I386,
    "aarch64": _AARCH64,
    "arm": _ARM,
    "riscv64": _RISCV64,
    "loongarch64": _LOONGARCH64,
}
