"""How one CPU and operating system pass arguments: facts, and one planner over them.

``ABIS`` maps each ABI's name to its facts; ``lower`` turns a C signature into a
``CallPlan``, a plain value that says where in the frame each argument goes. No
module here touches the machine it runs on: a plan for any ABI can be made,
printed and compared anywhere.
"""

from libferry.abi import (
    aarch64_aapcs64,
    aarch64_apple,
    aarch64_windows,
    arm_hardfloat,
    i386_sysv,
    i386_windows,
    loongarch64_lp64d,
    riscv64_lp64d,
    x86_64_sysv,
    x86_64_windows,
)
from libferry.abi.facts import Abi
from libferry.abi.layout import Member, alignment_of, make_record
from libferry.abi.lower import lower
from libferry.abi.plan import CallPlan, Move, Reference
from libferry.abi.types import (
    Array,
    Boolean,
    Complex,
    Convention,
    CType,
    Field,
    FunctionType,
    Integer,
    Opaque,
    Pointer,
    Real,
    Record,
    Value,
    Vector,
    Void,
    size_of,
    spell,
)

ABIS: dict[str, Abi] = {
    module.ABI.name: module.ABI
    for module in (
        x86_64_sysv,
        i386_sysv,
        x86_64_windows,
        i386_windows,
        aarch64_aapcs64,
        aarch64_apple,
        aarch64_windows,
        arm_hardfloat,
        riscv64_lp64d,
        loongarch64_lp64d,
    )
}

__all__ = [
    "ABIS",
    "Abi",
    "Array",
    "Boolean",
    "CType",
    "CallPlan",
    "Complex",
    "Convention",
    "Field",
    "FunctionType",
    "Integer",
    "Member",
    "Move",
    "Opaque",
    "Pointer",
    "Real",
    "Record",
    "Reference",
    "Value",
    "Vector",
    "Void",
    "alignment_of",
    "lower",
    "make_record",
    "size_of",
    "spell",
]
