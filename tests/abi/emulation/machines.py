"""An emulated CPU that does to a frame what a trampoline does.

native/frame.h says what that is. Here it is said once more, as a table of registers for
each ABI, and for Unicorn, which emulates CPUs but no operating system. So a function for
macOS or for Windows on Arm can be run anywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import unicorn
from unicorn import arm64_const as arm64
from unicorn import arm_const as arm
from unicorn import riscv_const as riscv
from unicorn import x86_const as x86

from libferry.abi import Abi, CallPlan, frame

FRAME = 0x20000000  # where the frame is, ...
BUFFERS = 0x30000000  # ... what a function reads and writes, ...
TARGET = 0x40000000  # ... what it calls, ...
RETURN = 0x41000000  # ... where it returns to, ...
STACK = 0x50000000  # ... its stack's lowest address, ...
STACK_SIZE = 0x100000
STUB = 0x42000000  # ... and a few instructions of ours
CELLS = ((16, 8), (16, 4))


@dataclass(frozen=True)
class Cpu:
    """A CPU's registers. ``vectors`` gives each with its bytes; ``link`` is 0 on x86."""

    arch: int
    mode: int
    pointer: int
    stack: int
    counter: int
    link: int
    integers: tuple[int, ...]
    vectors: tuple[tuple[int, int], ...]
    result_integers: tuple[int, ...]
    result_vectors: tuple[tuple[int, int], ...]
    indirect: int = 0
    count: int = 0
    prepare: Callable[[unicorn.Uc], None] = lambda machine: None
    store_x87: bytes = b""
    load_x87: bytes = b""


def numbered(module: object, pattern: str, count: int) -> tuple[int, ...]:
    return tuple(getattr(module, pattern.format(n)) for n in range(count))


def x86_64(integers: tuple[int, ...], vectors: int) -> Cpu:
    xmm = tuple((register, 16) for register in numbered(x86, "UC_X86_REG_XMM{}", vectors))
    return Cpu(
        unicorn.UC_ARCH_X86,
        unicorn.UC_MODE_64,
        8,
        x86.UC_X86_REG_RSP,
        x86.UC_X86_REG_RIP,
        0,
        integers,
        xmm,
        (x86.UC_X86_REG_RAX, x86.UC_X86_REG_RDX),
        xmm[:2],
        count=x86.UC_X86_REG_RAX,
        store_x87=bytes.fromhex("db3c25"),  # fstp tbyte ptr [address]
        load_x87=bytes.fromhex("db2c25"),
    )


I386 = Cpu(
    unicorn.UC_ARCH_X86,
    unicorn.UC_MODE_32,
    4,
    x86.UC_X86_REG_ESP,
    x86.UC_X86_REG_EIP,
    0,
    (x86.UC_X86_REG_ECX, x86.UC_X86_REG_EDX),
    tuple((register, 16) for register in numbered(x86, "UC_X86_REG_XMM{}", 3)),
    (x86.UC_X86_REG_EAX, x86.UC_X86_REG_EDX),
    ((x86.UC_X86_REG_XMM0, 16),),
    store_x87=bytes.fromhex("db3d"),
    load_x87=bytes.fromhex("db2d"),
)


def enable_arm64(machine: unicorn.Uc) -> None:
    machine.reg_write(arm64.UC_ARM64_REG_CPACR_EL1, 3 << 20)


AARCH64 = Cpu(
    unicorn.UC_ARCH_ARM64,
    unicorn.UC_MODE_ARM,
    8,
    arm64.UC_ARM64_REG_SP,
    arm64.UC_ARM64_REG_PC,
    arm64.UC_ARM64_REG_X30,
    numbered(arm64, "UC_ARM64_REG_X{}", 8),
    tuple((register, 16) for register in numbered(arm64, "UC_ARM64_REG_Q{}", 8)),
    numbered(arm64, "UC_ARM64_REG_X{}", 2),
    tuple((register, 16) for register in numbered(arm64, "UC_ARM64_REG_Q{}", 4)),
    indirect=arm64.UC_ARM64_REG_X8,
    prepare=enable_arm64,
)


def enable_arm(machine: unicorn.Uc) -> None:
    machine.reg_write(arm.UC_ARM_REG_C1_C0_2, 0xF << 20)
    machine.reg_write(arm.UC_ARM_REG_FPEXC, 1 << 30)


ARM = Cpu(
    unicorn.UC_ARCH_ARM,
    unicorn.UC_MODE_ARM,
    4,
    arm.UC_ARM_REG_SP,
    arm.UC_ARM_REG_PC,
    arm.UC_ARM_REG_LR,
    numbered(arm, "UC_ARM_REG_R{}", 4),
    tuple((register, 8) for register in numbered(arm, "UC_ARM_REG_D{}", 8)),
    numbered(arm, "UC_ARM_REG_R{}", 4),
    tuple((register, 8) for register in numbered(arm, "UC_ARM_REG_D{}", 8)),
    prepare=enable_arm,
)


def enable_riscv(machine: unicorn.Uc) -> None:
    status = machine.reg_read(riscv.UC_RISCV_REG_MSTATUS)
    machine.reg_write(riscv.UC_RISCV_REG_MSTATUS, status | 3 << 13)


RISCV = Cpu(
    unicorn.UC_ARCH_RISCV,
    unicorn.UC_MODE_RISCV64,
    8,
    riscv.UC_RISCV_REG_SP,
    riscv.UC_RISCV_REG_PC,
    riscv.UC_RISCV_REG_RA,
    numbered(riscv, "UC_RISCV_REG_A{}", 8),
    tuple((register, 8) for register in numbered(riscv, "UC_RISCV_REG_FA{}", 8)),
    numbered(riscv, "UC_RISCV_REG_A{}", 2),
    tuple((register, 8) for register in numbered(riscv, "UC_RISCV_REG_FA{}", 2)),
    prepare=enable_riscv,
)

X86_64_REGISTERS = {
    name: getattr(x86, f"UC_X86_REG_{name.upper()}")
    for name in ("rdi", "rsi", "rdx", "rcx", "r8", "r9")
}
CPUS = {
    "x86_64-sysv": x86_64(tuple(X86_64_REGISTERS.values()), 8),
    "x86_64-windows": x86_64(tuple(X86_64_REGISTERS[n] for n in ("rcx", "rdx", "r8", "r9")), 4),
    "i386-sysv": I386,
    "i386-windows": I386,
    "aarch64-aapcs64": AARCH64,
    "aarch64-apple": AARCH64,
    "aarch64-windows": AARCH64,
    "arm-hardfloat": ARM,
    "riscv64-lp64d": RISCV,
}


class Machine:
    """One emulated CPU with a library in its memory."""

    def __init__(self, abi: Abi, segments: list[tuple[int, bytes]]) -> None:
        self.abi = abi
        self.cpu = CPUS[abi.name]
        self.uc = unicorn.Uc(self.cpu.arch, self.cpu.mode)
        self.cpu.prepare(self.uc)
        pages = set()
        for start, content in segments:
            pages |= set(range(start >> 12, (start + len(content) + 4095) >> 12))
        for page in pages:
            self.uc.mem_map(page << 12, 4096)
        for start, content in segments:
            self.uc.mem_write(start, content)
        for start, size in (
            *((FRAME, 0x10000), (BUFFERS, 0x10000), (TARGET, 4096), (RETURN, 4096)),
            *((STUB, 4096), (STACK, STACK_SIZE)),
        ):
            self.uc.mem_map(start, size)
        # frames of i386 have vector cells and integer cells elsewhere
        self.integer_cell = abi.integer_cell
        self.vector_cell = 8 if abi.vector_cell == 4 else 16

    # ---- registers to frames and back ----

    def load(self, image: bytes) -> None:
        """Load the argument registers from a frame."""
        for n, register in enumerate(self.cpu.integers):
            self.write_integer(register, image, frame.INTEGER + n * self.integer_cell)
        for n, (register, size) in enumerate(self.cpu.vectors):
            self.write_vector(register, size, image, self.abi.vector_cells + n * self.vector_cell)
        if self.cpu.indirect:
            self.write_integer(self.cpu.indirect, image, frame.INDIRECT)

    def save(self, image: bytearray) -> None:
        """Save the argument registers in a frame."""
        for n, register in enumerate(self.cpu.integers):
            self.read_integer(register, image, frame.INTEGER + n * self.integer_cell)
        for n, (register, size) in enumerate(self.cpu.vectors):
            self.read_vector(register, size, image, self.abi.vector_cells + n * self.vector_cell)
        if self.cpu.indirect:
            self.read_integer(self.cpu.indirect, image, frame.INDIRECT)

    def result_cells(self) -> list[tuple[int, int]]:
        step = 4 if self.cpu.pointer == 4 else 8
        return [
            (r, frame.RESULT_INTEGER + n * step) for n, r in enumerate(self.cpu.result_integers)
        ]

    def load_results(self, image: bytes, x87: int) -> None:
        for register, offset in self.result_cells():
            self.write_integer(register, image, offset)
        for n, (register, size) in enumerate(self.cpu.result_vectors):
            self.write_vector(register, size, image, self.abi.result_vectors + n * self.vector_cell)
        for offset in (frame.RESULT_X87_SECOND, frame.RESULT_X87)[2 - x87 :]:
            self.uc.mem_write(FRAME, bytes(image))
            self.stub(self.cpu.load_x87, FRAME + offset)

    def save_results(self, image: bytearray, x87: int) -> None:
        for register, offset in self.result_cells():
            self.read_integer(register, image, offset)
        for n, (register, size) in enumerate(self.cpu.result_vectors):
            self.read_vector(register, size, image, self.abi.result_vectors + n * self.vector_cell)
        for offset in (frame.RESULT_X87, frame.RESULT_X87_SECOND)[:x87]:
            self.stub(self.cpu.store_x87, FRAME + offset)
            image[offset : offset + 10] = self.uc.mem_read(FRAME + offset, 10)

    def stub(self, code: bytes, address: int) -> None:
        instruction = code + address.to_bytes(4, "little")
        self.uc.mem_write(STUB, instruction + b"\x90" * 4)
        counter = self.uc.reg_read(self.cpu.counter)
        self.uc.emu_start(STUB, STUB + len(instruction))
        self.uc.reg_write(self.cpu.counter, counter)

    def write_integer(self, register: int, image: bytes, offset: int) -> None:
        size = self.cpu.pointer
        self.uc.reg_write(register, int.from_bytes(image[offset : offset + size], "little"))

    def read_integer(self, register: int, image: bytearray, offset: int) -> None:
        size = self.cpu.pointer
        value = self.uc.reg_read(register) & ((1 << 8 * size) - 1)
        image[offset : offset + size] = value.to_bytes(size, "little")

    def write_vector(self, register: int, size: int, image: bytes, offset: int) -> None:
        self.uc.reg_write(register, int.from_bytes(image[offset : offset + size], "little"))

    def read_vector(self, register: int, size: int, image: bytearray, offset: int) -> None:
        value = self.uc.reg_read(register) & ((1 << 8 * size) - 1)
        image[offset : offset + size] = value.to_bytes(size, "little")

    # ---- calls ----

    def enter(self, arguments: int) -> None:
        """Set stack pointer and return address, the stack arguments beginning at an address."""
        if self.cpu.link:
            self.uc.reg_write(self.cpu.link, RETURN)
            self.uc.reg_write(self.cpu.stack, arguments)
            return
        start = arguments - self.cpu.pointer
        self.uc.mem_write(start, RETURN.to_bytes(self.cpu.pointer, "little"))
        self.uc.reg_write(self.cpu.stack, start)

    def call(self, plan: CallPlan, image: bytearray, function: int) -> int:
        """Call a function as a trampoline would; give what it popped."""
        self.uc.mem_write(FRAME, bytes(image))
        arguments = STACK + STACK_SIZE // 2
        start = self.abi.stack_image
        self.uc.mem_write(arguments, bytes(image[start : start + plan.stack_bytes]))
        self.load(image)
        if self.cpu.count:
            self.uc.reg_write(self.cpu.count, 0xA5A5A500 | plan.vector_count)
        self.enter(arguments)
        self.uc.emu_start(function, RETURN, count=1_000_000)
        assert self.uc.reg_read(self.cpu.counter) == RETURN, "it did not return"
        image[:] = self.uc.mem_read(FRAME, frame.SIZE)
        self.save_results(image, plan.x87_results)
        return int(self.uc.reg_read(self.cpu.stack)) - arguments

    def run_caller(self, plan: CallPlan, image: bytearray, function: int) -> None:
        """Run a function until it calls TARGET; save what it passes in a frame."""
        self.enter(STACK + STACK_SIZE // 2)
        self.uc.emu_start(function, TARGET, count=1_000_000)
        assert self.uc.reg_read(self.cpu.counter) == TARGET, "it does not call"
        self.save(image)
        stack = self.uc.reg_read(self.cpu.stack) + (0 if self.cpu.link else self.cpu.pointer)
        start = self.abi.stack_image
        image[start : start + plan.stack_bytes] = self.uc.mem_read(stack, plan.stack_bytes)

    def return_to_caller(self, plan: CallPlan, image: bytes) -> None:
        """Return what is in the frame, and let the caller finish."""
        self.load_results(image, plan.x87_results)
        stack = self.uc.reg_read(self.cpu.stack)
        if self.cpu.link:
            back = self.uc.reg_read(self.cpu.link)
        else:
            back = int.from_bytes(self.uc.mem_read(stack, self.cpu.pointer), "little")
            self.uc.reg_write(self.cpu.stack, stack + self.cpu.pointer + plan.pop_bytes)
        if back != RETURN:  # if it is, TARGET was the last thing that was called
            self.uc.emu_start(back, RETURN, count=1_000_000)
        assert back == RETURN or self.uc.reg_read(self.cpu.counter) == RETURN, "it did not return"
