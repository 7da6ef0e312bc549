"""Find the call frame information of an address in a file.

It is in ``.eh_frame``, which is loaded because C++ exceptions need it, and in most
libraries a linker has put a sorted table before it, ``.eh_frame_hdr``. The program header
``PT_GNU_EH_FRAME`` leads there, so that this works in a stripped library too. Where the
table is missing the whole section is read once. ``.debug_frame`` is the same information
for debuggers only: other details, no table, not loaded, and gone after ``strip``.

Specification: LSB Core 5.0, 10.6 "Exception Frames"; DWARF 5, 6.4.1 for ``.debug_frame``.
"""

from __future__ import annotations

from collections.abc import Iterator

from libferry.binary.addresses import AddressMap
from libferry.binary.elf import Image
from libferry.binary.elf.sections import SHF_COMPRESSED, contents, sections
from libferry.binary.window import Window
from libferry.unwind.call_frames import Common, Entry, Program
from libferry.unwind.cursor import Bases, Cursor, DW_EH_PE_omit, fixed_size
from libferry.unwind.limits import Budget, NotUnwindable

PT_GNU_EH_FRAME = 0x6474E550
DT_PLTGOT = 3

RECORD_AT_MOST = 1 << 20
BYTES_A_STEP = 64  # more than most records have
HEADER_SIZE = 4 + 2 * 16
EXTENDED = 0xFFFFFFFF  # a 64-bit length follows
DATAREL = 0x30
ABSPTR = 0


class _Section:
    """``.eh_frame`` or ``.debug_frame``: records one after another."""

    def __init__(
        self, image: Image, budget: Budget, window: Window, address: int, debug: bool
    ) -> None:
        self.window = window
        self._budget = budget
        self.address = address
        self.debug = debug
        self.word = image.layout.bits // 8
        self.bases = Bases(data=image.tags.get(DT_PLTGOT))
        self._commons: dict[int, Common] = {}

    def _record(self, at: int) -> tuple[Cursor, int | None, int] | None:
        """The record at an offset: its contents, where its CIE is (None: it is one), its end.

        None at the end of all records.
        """
        if at + 4 > self.window.size:
            return None
        what = "call frame information"
        length, head, width = int.from_bytes(self.window.bytes(at, 4, what), "little"), 4, 4
        if length == EXTENDED:
            length, head = int.from_bytes(self.window.bytes(at + 4, 8, what), "little"), 12
            width = 8 if self.debug else 4
        if length == 0:
            return None
        if length > RECORD_AT_MOST:
            raise NotUnwindable("a record is too long")
        self._budget.spend(1 + length // BYTES_A_STEP)
        raw = self.window.bytes(at + head, length, what)
        cursor = Cursor(raw, self.word, self.address + at + head)
        number = cursor.unsigned(width)
        end = at + head + length
        if self.debug:
            return cursor, None if number == (1 << 8 * width) - 1 else number, end
        return cursor, at + head - number if number else None, end

    def entry(self, at: int) -> Entry | None:
        """The FDE at an offset; None if there is a CIE, or nothing."""
        record = self._record(at)
        if record is None:
            return None
        cursor, common_at, _ = record
        return None if common_at is None else self._entry(cursor, self._common(common_at))

    def _entry(self, cursor: Cursor, common: Common) -> Entry:
        start = cursor.pointer(common.encoding, self.bases)
        size = cursor.number(common.encoding & 0x0F)
        if common.augmented:
            cursor.raw(cursor.uleb())  # where exceptions are caught
        return Entry(common, start, size, _rest(cursor))

    def _common(self, at: int) -> Common:
        found = self._commons.get(at)
        if found is None:
            record = self._record(at) if at >= 0 else None
            if record is None or record[1] is not None:
                raise NotUnwindable("an FDE has no CIE")
            found = self._commons[at] = self._read_common(record[0])
        return found

    def _read_common(self, cursor: Cursor) -> Common:
        version = cursor.byte()
        augmentation = cursor.string()
        if augmentation == b"eh":  # GCC 2
            cursor.raw(self.word)
            augmentation = b""
        if version == 4:
            cursor.raw(2)  # sizes of addresses and segment selectors
        elif version not in (1, 3):
            raise NotUnwindable("a CIE has an unknown version")
        code_factor, data_factor = cursor.uleb(), cursor.sleb()
        return_column = cursor.byte() if version == 1 else cursor.uleb()
        encoding, signal = ABSPTR, False
        augmented = augmentation[:1] == b"z"
        if augmented:
            rest = Cursor(cursor.data, self.word, cursor.address)
            size = cursor.uleb()
            rest.at = cursor.at
            cursor.raw(size)
            for letter in augmentation[1:]:
                if letter == ord("R"):
                    encoding = rest.byte()
                elif letter == ord("P"):
                    form = rest.byte()
                    if form != DW_EH_PE_omit:
                        rest.number(form)
                elif letter == ord("L"):
                    rest.byte()
                elif letter == ord("S"):
                    signal = True
                elif letter not in b"BG":  # keys of Arm's signatures and memory tags
                    break
        elif augmentation:
            raise NotUnwindable("a CIE has an unknown augmentation")
        return Common(
            code_factor, data_factor, return_column, encoding, augmented, signal, _rest(cursor)
        )

    def scan(self) -> AddressMap[int]:
        """All functions, with the offsets of their FDEs: without a table, the only way."""
        return AddressMap(self._all())

    def _all(self) -> Iterator[tuple[int, int, int]]:
        at = 0
        while True:
            record = self._record(at)
            if record is None:
                return
            cursor, common_at, end = record
            if common_at is not None:
                entry = self._entry(cursor, self._common(common_at))
                if entry.start:  # a linker that dropped a function leaves 0
                    yield entry.start, entry.size, at
            at = end


def _rest(cursor: Cursor) -> Program:
    address = cursor.address + cursor.at
    return Program(cursor.raw(cursor.end - cursor.at), address)


class FrameTables:
    """The call frame information of one file."""

    def __init__(self, image: Image, budget: Budget) -> None:
        self._image = image
        self._budget = budget
        self._section: _Section | None = None
        self._table: tuple[Window, int, int, int, int] | None = None
        self._scanned: list[tuple[_Section, AddressMap[int]]] | None = None

    def find(self, address: int) -> Entry | None:
        """The FDE of an address in the file's own counting."""
        if self._section is None:
            self._open()
        entry = self._look_up(address)
        if entry is None:
            entry = self._search(address)
        return entry

    def _open(self) -> None:
        for segment in self._image.segments:
            if segment.type == PT_GNU_EH_FRAME:
                self._open_table(segment.address, segment.file_size)

    def _open_table(self, address: int, size: int) -> None:
        word = self._image.layout.bits // 8
        window = self._image.at(address, "the index of call frames")
        window = window.view(0, min(size, window.size), "the index of call frames")
        head = window.bytes(0, min(HEADER_SIZE, window.size), "the index of call frames")
        cursor = Cursor(head, word, address)
        version, frames, count, table = cursor.raw(4)
        if version != 1 or frames == DW_EH_PE_omit:
            return
        bases = Bases(data=address)
        start = cursor.pointer(frames, bases)
        what = "the call frames"
        self._section = _Section(
            self._image, self._budget, self._image.at(start, what), start, False
        )
        if count == DW_EH_PE_omit or table == DW_EH_PE_omit:
            return
        entries = cursor.pointer(count, bases)
        width = fixed_size(table, word)
        if width and table & 0xF0 in (DATAREL, ABSPTR):
            entries = min(entries, (window.size - cursor.at) // (2 * width))
            self._table = window, cursor.at, entries, table, address

    def _look_up(self, address: int) -> Entry | None:
        """Search the sorted table."""
        if self._table is None or self._section is None:
            return None
        window, at, count, encoding, base = self._table
        word = self._image.layout.bits // 8
        width = fixed_size(encoding, word) or word

        def pointer(number: int, column: int) -> int:
            self._budget.spend()
            raw = window.bytes(at + (2 * number + column) * width, width, "the index")
            return Cursor(raw, word).pointer(encoding, Bases(data=base)) if any(raw) else base

        low, high = 0, count
        while low < high:
            middle = (low + high) // 2
            if pointer(middle, 0) <= address:
                low = middle + 1
            else:
                high = middle
        if not low:
            return None
        where = pointer(low - 1, 1) - self._section.address
        entry = self._section.entry(where) if where >= 0 else None
        if entry is None or not entry.start <= address < entry.start + entry.size:
            return None
        return entry

    def _search(self, address: int) -> Entry | None:
        """Look where there is no table."""
        if self._scanned is None:
            self._scanned = []
            for section in self._without_table():
                self._scanned.append((section, section.scan()))
        for section, found in self._scanned:
            at = found.find(address)
            if at is not None:
                return section.entry(at[1])
        return None

    def _without_table(self) -> Iterator[_Section]:
        found, numbers = sections(self._image)
        if self._table is None:
            if self._section is not None:
                yield self._section
            elif ".eh_frame" in numbers:
                section = found[numbers[".eh_frame"]]
                window = contents(self._image, section)
                yield _Section(self._image, self._budget, window, section.address, False)
        if ".debug_frame" in numbers:
            section = found[numbers[".debug_frame"]]
            if not section.flags & SHF_COMPRESSED:
                yield _Section(self._image, self._budget, contents(self._image, section), 0, True)
