"""What an ELF file says beyond what every reader asks for."""

from __future__ import annotations

from functools import cached_property

from libferry.binary.elf.symbols import exports
from libferry.binary.model import Export
from libferry.binary.view import View


class ElfView(View):
    """An ELF file."""

    @cached_property
    def exports(self) -> tuple[Export, ...]:
        """What the file offers to others, in its order."""
        with self.open() as window:
            return exports(window)
