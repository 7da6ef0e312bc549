"""``/etc/ld.so.cache``: what ldconfig found, so that the loader need not look.

It is one file in up to two formats. glibc 2.0 wrote a table of names and paths behind the
words ``ld.so-1.7.0``; 2.2 put a second table with hardware needs *into the strings of the
first*, where older loaders never look, and ldconfig of 2.32 left the first away. The loader
takes the second if it is there. The strings' offsets count from the start of the table that
they belong to: of the second, its magic; of the first, the end of its entries.

Since 2.33 a third part at the end, the extension, names the ``glibc-hwcaps`` folders. An
entry from such a folder has bit 62 of its hardware field set, which loaders before 2.33
take for hardware that nobody has, and the folder's number in the low half.

The table is sorted, but not as one thinks: runs of digits compare as numbers, and downwards
(``_dl_cache_libcmp``). The loader searches it by halves and then looks at all of one name,
so a table sorted in any other way gives wrong answers; we do exactly the same instead of
making a dictionary of it, which would also cost more than all look-ups together.

Source: glibc ``sysdeps/generic/dl-cache.h`` and ``elf/dl-cache.c``. The entry's field
``osversion`` was obeyed until 2.35.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from libferry.binary.model import Endian

OLD_MAGIC = b"ld.so-1.7.0"
NEW_MAGIC = b"glibc-ld.so.cache1.1"
EXTENSION_MAGIC = 0xEAA42174  # cache_extension_magic
TAG_HWCAPS = 1  # cache_extension_tag_glibc_hwcaps

ENDIAN_MASK, ENDIAN_UNSET = 3, 0  # cache_file_new.flags, since 2.33
ENDIAN: dict[int, Endian] = {2: "little", 3: "big"}

HWCAP_EXTENSION = 1 << 62  # DL_CACHE_HWCAP_EXTENSION
ISA_LEVEL_MASK = (1 << 10) - 1  # in the upper half: DL_CACHE_HWCAP_ISA_LEVEL_MASK


class Entry(NamedTuple):
    """One line of ``ldconfig -p``.

    Attributes:
        flags: the kind of library and CPU, such as 0x303.
        name, path: the soname and where it lies.
        hwcap: the hardware field as it is.
        folder: the glibc-hwcaps folder, such as ``x86-64-v3``; "" if it is none; None if
            the entry names one that the file does not have.
    """

    flags: int
    name: str
    path: str
    hwcap: int
    folder: str | None


class Cache:
    """An ld.so.cache; what is damaged in it finds nothing, as in the loader."""

    def __init__(self, data: bytes, endian: Endian = "little") -> None:
        self._data = data
        self._order = order = "<" if endian == "little" else ">"
        self._record = struct.Struct(order + "iIIIQ")
        self._count = self._first = self._base = 0
        self._folders: list[int] = []
        if data.startswith(NEW_MAGIC):
            self._open_new(0, endian)
        elif data.startswith(OLD_MAGIC) and len(data) > 16:
            (count,) = struct.unpack_from(order + "I", data, 12)
            entries_end = 16 + 12 * count
            if entries_end > len(data):
                return
            start = (entries_end + 7) & ~7  # ALIGN_CACHE: the new header has 64-bit fields
            if data.startswith(NEW_MAGIC, start):
                self._open_new(start, endian)
                return
            self._record = struct.Struct(order + "iII")
            self._count, self._first, self._base = count, 16, entries_end

    def _open_new(self, start: int, endian: Endian) -> None:
        header = struct.Struct(self._order + "20sIIB3xI12x")
        if start + header.size > len(self._data):
            return
        _, count, _, flags, extension = header.unpack_from(self._data, start)
        marked = flags & ENDIAN_MASK
        if marked != ENDIAN_UNSET and ENDIAN.get(marked) != endian:
            return
        first = start + header.size
        if (len(self._data) - first) // self._record.size < count:
            return
        self._count, self._first, self._base = count, first, start
        self._folders = self._extension(start + extension) if extension else []

    def _extension(self, at: int) -> list[int]:
        """The strings of the glibc-hwcaps folders, by number."""
        data, order = self._data, self._order
        if at % 4 or at + 8 > len(data):
            return []
        magic, count = struct.unpack_from(order + "II", data, at)
        if magic != EXTENSION_MAGIC or at + 8 + 16 * count > len(data):
            return []
        for index in range(count):
            tag, _, offset, size = struct.unpack_from(order + "IIII", data, at + 8 + 16 * index)
            start = self._base + offset
            if tag == TAG_HWCAPS and start + size <= len(data) and size % 4 == 0:
                return list(struct.unpack_from(f"{order}{size // 4}I", data, start))
        return []

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        return map(self.__getitem__, range(self._count))

    def __getitem__(self, index: int) -> Entry:
        if not 0 <= index < self._count:
            raise IndexError(index)
        fields = self._record.unpack_from(self._data, self._first + index * self._record.size)
        flags, key, value = fields[:3]
        hwcap = fields[4] if len(fields) > 3 else 0
        folder: str | None = ""
        if is_extension(hwcap):
            number = hwcap & 0xFFFFFFFF
            known = number < len(self._folders)
            folder = os.fsdecode(self._string(self._folders[number])) if known else None
        name, path = os.fsdecode(self._string(key)), os.fsdecode(self._string(value))
        return Entry(flags, name, path, hwcap, folder)

    def _string(self, offset: int) -> bytes:
        start = self._base + offset
        end = self._data.find(b"\0", start)
        return self._data[start:end] if end >= 0 else b""

    def _key(self, index: int) -> bytes:
        at = self._first + index * self._record.size
        return self._string(self._record.unpack_from(self._data, at)[1])

    def entries(self, name: str) -> list[Entry]:
        """All entries of one name, in their order, as ``search_cache`` comes upon them."""
        wanted = os.fsencode(name)
        left, right = 0, self._count - 1
        while left <= right:
            middle = (left + right) // 2
            order = compare(wanted, self._key(middle))
            if order == 0:
                first = last = middle
                while first and compare(wanted, self._key(first - 1)) == 0:
                    first -= 1
                while last + 1 < self._count and compare(wanted, self._key(last + 1)) == 0:
                    last += 1
                return [self[index] for index in range(first, last + 1)]
            if order < 0:
                left = middle + 1
            else:
                right = middle - 1
        return []


def is_extension(hwcap: int) -> bool:
    """Whether the hardware field is the number of a folder (``dl_cache_hwcap_extension``)."""
    return (hwcap >> 32) & ~ISA_LEVEL_MASK == HWCAP_EXTENSION >> 32


def compare(left: bytes, right: bytes) -> int:
    """Less than, equal to or more than 0, as ``_dl_cache_libcmp``."""
    if left == right:
        return 0
    at = other = 0
    while at < len(left):
        one = left[at]
        two = right[other] if other < len(right) else 0
        if 48 <= one <= 57:
            if not 48 <= two <= 57:
                return 1
            number, at = _number(left, at)
            against, other = _number(right, other)
            if number != against:
                return number - against
        elif 48 <= two <= 57:
            return -1
        elif one != two:
            return one - two
        else:
            at, other = at + 1, other + 1
    return -(right[other] if other < len(right) else 0)


def _number(text: bytes, at: int) -> tuple[int, int]:
    end = at
    while end < len(text) and 48 <= text[end] <= 57:
        end += 1
    value = int(text[at : min(end, at + 20)]) & 0xFFFFFFFF  # an int of the loader's wraps
    return value, end


def choose(
    entries: list[Entry], flags: int, folders: Mapping[str, int], hardware: int
) -> Entry | None:
    """The entry that the loader takes (``search_cache``).

    Args:
        entries: those of one name.
        flags: of the CPU.
        folders: the rank of each glibc-hwcaps folder that this machine can use, from 1;
            empty before 2.33.
        hardware: the bits of legacy folders that it has; 0 since 2.37.
    """
    best: Entry | None = None
    rank = 0
    for entry in entries:
        if entry.flags != flags and not (flags == 3 and entry.flags == 1):
            continue
        if is_extension(entry.hwcap):
            new = folders.get(entry.folder or "", 0)
            if new and (best is None or new < rank):
                best, rank = entry, new
        elif best is not None and rank:
            break
        elif entry.hwcap & ~hardware:
            continue
        else:
            best = entry
            if entry.flags == flags:
                break
    return best
