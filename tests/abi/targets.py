"""How zig's clang is asked for each ABI."""

from __future__ import annotations

TARGETS = {
    "x86_64-sysv": ("-target", "x86_64-linux-gnu"),
    "i386-sysv": ("-target", "x86-linux-gnu"),
    # Microsoft's long double is a double; mingw's is the x87's
    "x86_64-windows": ("-target", "x86_64-windows-gnu", "-mlong-double-64"),
    "i386-windows": ("-target", "x86-windows-gnu", "-mlong-double-64"),
    "aarch64-aapcs64": ("-target", "aarch64-linux-gnu"),
    "aarch64-apple": ("-target", "aarch64-macos"),
    "aarch64-windows": ("-target", "aarch64-windows-gnu"),
    "arm-hardfloat": ("-target", "arm-linux-gnueabihf"),
    "riscv64-lp64d": ("-target", "riscv64-linux-gnu"),
    "loongarch64-lp64d": ("-target", "loongarch64-linux-gnu"),
}
