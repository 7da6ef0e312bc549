"""What a Mach-O file says beyond what every reader asks for."""

from __future__ import annotations

from functools import cached_property

from libferry.binary.macho import exports
from libferry.binary.model import Export
from libferry.binary.view import View


class MachOView(View):
    """A Mach-O file."""

    @cached_property
    def exports(self) -> tuple[Export, ...]:
        """What the file offers to others, in its order."""
        with self.open() as window:
            return exports(window)
