"""Which register each cell of the frame stands for, by CPU, as native/frame.h has it.

This is native/arch once more, in tables for an emulator, and written without sight of
it. A register is given with the frame's offset that it is loaded from or stored to, and
the bytes of it that are.
"""

from __future__ import annotations

from dataclasses import dataclass

import unicorn
from unicorn import arm64_const as arm64
from unicorn import arm_const as arm
from unicorn import riscv_const as riscv
from unicorn import x86_const as x86

from libferry.abi import frame


@dataclass(frozen=True)
class Cell:
    """A register's place in the frame."""

    register: int
    offset: int
    size: int


def cells(registers: list[int], offset: int, size: int, step: int) -> tuple[Cell, ...]:
    return tuple(Cell(each, offset + n * step, size) for n, each in enumerate(registers))


@dataclass(frozen=True)
class Trampoline:
    """How one CPU's registers and the frame are exchanged.

    ``link`` is the register with the return address; without one it is on the stack.
    ``hidden`` is where a callee leaves the address of a result in memory, if it has to.
    """

    arch: int
    mode: int
    pointer: int
    pc: int
    sp: int
    link: int | None
    arguments: tuple[Cell, ...]
    results: tuple[Cell, ...]
    stack_image: int = frame.STACK
    vector_count: int | None = None
    x87: bool = False
    hidden: int | None = None
    setup: tuple[tuple[int, int], ...] = ()

    @property
    def first_argument(self) -> int:
        """Where in the frame the first argument lies if it is a pointer."""
        return self.arguments[0].offset if self.stack_image == frame.STACK else self.stack_image


def numbered(module: object, prefix: str, numbers: range) -> list[int]:
    return [getattr(module, f"{prefix}{n}") for n in numbers]


ARM64 = Trampoline(
    arch=unicorn.UC_ARCH_ARM64,
    mode=unicorn.UC_MODE_ARM,
    pointer=8,
    pc=arm64.UC_ARM64_REG_PC,
    sp=arm64.UC_ARM64_REG_SP,
    link=arm64.UC_ARM64_REG_LR,
    arguments=(
        *cells(numbered(arm64, "UC_ARM64_REG_X", range(8)), frame.INTEGER, 8, 8),
        *cells(numbered(arm64, "UC_ARM64_REG_Q", range(8)), frame.VECTOR, 16, 16),
        Cell(arm64.UC_ARM64_REG_X8, frame.INDIRECT, 8),
    ),
    results=(
        *cells(numbered(arm64, "UC_ARM64_REG_X", range(2)), frame.RESULT_INTEGER, 8, 8),
        *cells(numbered(arm64, "UC_ARM64_REG_Q", range(4)), frame.RESULT_VECTOR, 16, 16),
    ),
    setup=((arm64.UC_ARM64_REG_CPACR_EL1, 3 << 20),),  # floating point is switched on
)

RISCV64 = Trampoline(
    arch=unicorn.UC_ARCH_RISCV,
    mode=unicorn.UC_MODE_RISCV64,
    pointer=8,
    pc=riscv.UC_RISCV_REG_PC,
    sp=riscv.UC_RISCV_REG_SP,
    link=riscv.UC_RISCV_REG_RA,
    arguments=(
        *cells(numbered(riscv, "UC_RISCV_REG_A", range(8)), frame.INTEGER, 8, 8),
        *cells(numbered(riscv, "UC_RISCV_REG_FA", range(8)), frame.VECTOR, 8, 16),
    ),
    results=(
        *cells(numbered(riscv, "UC_RISCV_REG_A", range(2)), frame.RESULT_INTEGER, 8, 8),
        *cells(numbered(riscv, "UC_RISCV_REG_FA", range(2)), frame.RESULT_VECTOR, 8, 16),
    ),
    setup=((riscv.UC_RISCV_REG_MSTATUS, 3 << 13),),
)

# one run of bytes each, since r0 and r1 together hold a long long, s0 and s1 a double
ARM = Trampoline(
    arch=unicorn.UC_ARCH_ARM,
    mode=unicorn.UC_MODE_ARM,
    pointer=4,
    pc=arm.UC_ARM_REG_PC,
    sp=arm.UC_ARM_REG_SP,
    link=arm.UC_ARM_REG_LR,
    arguments=(
        *cells(numbered(arm, "UC_ARM_REG_R", range(4)), frame.INTEGER, 4, 4),
        *cells(numbered(arm, "UC_ARM_REG_D", range(8)), frame.VECTOR, 8, 8),
    ),
    results=(
        *cells(numbered(arm, "UC_ARM_REG_R", range(4)), frame.RESULT_INTEGER, 4, 4),
        *cells(numbered(arm, "UC_ARM_REG_D", range(8)), frame.RESULT_VECTOR, 8, 8),
    ),
    setup=((arm.UC_ARM_REG_C1_C0_2, 0xF << 20), (arm.UC_ARM_REG_FPEXC, 1 << 30)),
)


def x86_64(integers: list[int], vectors: int) -> Trampoline:
    xmm = numbered(x86, "UC_X86_REG_XMM", range(vectors))
    return Trampoline(
        arch=unicorn.UC_ARCH_X86,
        mode=unicorn.UC_MODE_64,
        pointer=8,
        pc=x86.UC_X86_REG_RIP,
        sp=x86.UC_X86_REG_RSP,
        link=None,
        arguments=(
            *cells(integers, frame.INTEGER, 8, 8),
            *cells(xmm, frame.VECTOR, 16, 16),
        ),
        results=(
            *cells([x86.UC_X86_REG_RAX, x86.UC_X86_REG_RDX], frame.RESULT_INTEGER, 8, 8),
            *cells(xmm[:2], frame.RESULT_VECTOR, 16, 16),
        ),
        vector_count=x86.UC_X86_REG_RAX,
        x87=True,
        hidden=x86.UC_X86_REG_RAX,
    )


WINDOWS_ORDER = [
    x86.UC_X86_REG_RCX, x86.UC_X86_REG_RDX, x86.UC_X86_REG_R8, x86.UC_X86_REG_R9
]  # fmt: skip
SYSV_ORDER = [x86.UC_X86_REG_RDI, x86.UC_X86_REG_RSI, *WINDOWS_ORDER[1::-1], *WINDOWS_ORDER[2:]]

I386 = Trampoline(
    arch=unicorn.UC_ARCH_X86,
    mode=unicorn.UC_MODE_32,
    pointer=4,
    pc=x86.UC_X86_REG_EIP,
    sp=x86.UC_X86_REG_ESP,
    link=None,
    arguments=(
        *cells([x86.UC_X86_REG_ECX, x86.UC_X86_REG_EDX], frame.INTEGER, 4, 8),
        *cells(numbered(x86, "UC_X86_REG_XMM", range(3)), frame.VECTOR_I386, 16, 16),
    ),
    results=(
        *cells([x86.UC_X86_REG_EAX, x86.UC_X86_REG_EDX], frame.RESULT_INTEGER, 4, 4),
        Cell(x86.UC_X86_REG_XMM0, frame.RESULT_VECTOR_I386, 16),
    ),
    stack_image=frame.STACK_I386,
    x87=True,
    hidden=x86.UC_X86_REG_EAX,
)

TRAMPOLINES = {
    "x86_64-sysv": x86_64(SYSV_ORDER, 8),
    "x86_64-windows": x86_64(WINDOWS_ORDER, 4),
    "i386-sysv": I386,
    "i386-windows": I386,
    "aarch64-aapcs64": ARM64,
    "aarch64-apple": ARM64,
    "aarch64-windows": ARM64,
    "arm-hardfloat": ARM,
    "riscv64-lp64d": RISCV64,
}
