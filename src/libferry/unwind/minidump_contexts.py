"""How a minidump stores the registers of each CPU.

Microsoft's form of them is the ``CONTEXT`` that a CPU's ``winnt.h`` declares. Where Windows
did not run on a CPU yet, Breakpad made a form up, and what reads the dumps of Linux still
expects it for 64-bit and 32-bit Arm: LLDB reads no other, Breakpad and its successors both.
Of RISC-V and LoongArch there is nothing that several readers agree on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# minidumpapiset.h, MINIDUMP_SYSTEM_INFO.ProcessorArchitecture; the last is Breakpad's,
# minidump_format.h, MD_CPU_ARCHITECTURE_ARM64_OLD
INTEL, ARM, AMD64, ARM64_OLD = 0, 5, 9, 0x8003


@dataclass(frozen=True)
class Context:
    """The form of one CPU's registers; what is not named here is zero.

    Attributes:
        architecture: the CPU's number in the dump.
        size: of all registers, in bytes.
        word: the size of one of those named here.
        flags_at: where it says which registers it has.
        flags: that they are of this CPU, and that they are the integer and control ones.
        registers: where each is, by DWARF number.
        pc: where the program counter is.
    """

    architecture: int
    size: int
    word: int
    flags_at: int
    flags: int
    registers: Mapping[int, int]
    pc: int

    def pack(self, registers: Mapping[int, int], pc: int) -> bytes:
        """The registers as the dump has them."""
        raw = bytearray(self.size)
        raw[self.flags_at : self.flags_at + 4] = self.flags.to_bytes(4, "little")
        mask = (1 << 8 * self.word) - 1
        for number, at in self.registers.items():
            value = registers.get(number, 0) & mask
            raw[at : at + self.word] = value.to_bytes(self.word, "little")
        raw[self.pc : self.pc + self.word] = (pc & mask).to_bytes(self.word, "little")
        return bytes(raw)


CONTEXTS = {
    # winnt.h, x64 CONTEXT: Rax, Rcx, Rdx, Rbx, Rsp, Rbp, Rsi, Rdi, R8 ... R15, Rip
    "x86_64": Context(
        architecture=AMD64,
        size=1232,
        word=8,
        flags_at=48,
        flags=0x100000 | 0x1 | 0x2,
        registers={
            number: 120 + 8 * place
            for place, number in enumerate((0, 2, 1, 3, 7, 6, 4, 5, *range(8, 16)))
        },
        pc=248,
    ),
    # winnt.h, x86 CONTEXT: Edi, Esi, Ebx, Edx, Ecx, Eax, Ebp, Eip, SegCs, EFlags, Esp
    "i386": Context(
        architecture=INTEL,
        size=716,
        word=4,
        flags_at=0,
        flags=0x10000 | 0x1 | 0x2,
        registers={7: 156, 6: 160, 3: 164, 2: 168, 1: 172, 0: 176, 5: 180, 9: 192, 4: 196},
        pc=184,
    ),
    # Breakpad, minidump_cpu_arm64.h, MDRawContextARM64_Old
    "aarch64": Context(
        architecture=ARM64_OLD,
        size=796,
        word=8,
        flags_at=0,
        flags=0x80000000 | 0x2,
        registers={number: 8 + 8 * number for number in range(32)},
        pc=264,
    ),
    # Breakpad, minidump_cpu_arm.h, MDRawContextARM
    "arm": Context(
        architecture=ARM,
        size=368,
        word=4,
        flags_at=0,
        flags=0x40000000 | 0x2,
        registers={number: 4 + 4 * number for number in range(16)},
        pc=64,
    ),
}
