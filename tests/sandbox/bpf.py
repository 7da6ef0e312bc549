"""A seccomp filter's verdict on a call, by the instructions that libseccomp uses.

include/uapi/linux/bpf_common.h, filter.h; seccomp(2) has ``struct seccomp_data``.
"""

from __future__ import annotations

import struct

ALLOW, NOTIFY, TRAP, KILL = 0x7FFF0000, 0x7FC00000, 0x00030000, 0x80000000

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP, _EQUAL, _GREATER, _AT_LEAST, _SET = 0x05, 0x15, 0x25, 0x35, 0x45


def refusal(number: int) -> int:
    return 0x00050000 | number


def verdict(program: bytes, arch: int, nr: int, *arguments: int) -> int:
    """What the kernel would do with that call."""
    six = [value % (1 << 64) for value in (*arguments, *[0] * 6)][:6]
    data = struct.pack("<IIQ6Q", nr % (1 << 32), arch, 0, *six)
    instructions = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    accumulator = at = 0
    while True:
        code, yes, no, k = instructions[at]
        at += 1
        if code == _LOAD:
            (accumulator,) = struct.unpack_from("<I", data, k)
        elif code == _AND:
            accumulator &= k
        elif code == _RETURN:
            return int(k)
        elif code == _JUMP:
            at += k
        else:
            holds = {
                _EQUAL: accumulator == k,
                _GREATER: accumulator > k,
                _AT_LEAST: accumulator >= k,
                _SET: bool(accumulator & k),
            }[code]
            at += yes if holds else no
