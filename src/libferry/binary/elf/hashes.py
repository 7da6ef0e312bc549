"""How many dynamic symbols there are, which the file does not say.

Loaders never ask: they find a name through a hash table, and so the length has to come
from there as well.

``DT_HASH``, of the gABI, has one chain entry for each symbol and begins with their
number. ``DT_GNU_HASH``, which took its place, leaves that number out. It sorts the
symbols by bucket, and each chain ends where an entry has its lowest bit set, so the
table ends with the chain that begins last. It also leaves out the first
``symoffset`` symbols, those that are only needed from elsewhere. If both are there,
glibc uses the second; so do we, since an export is what ``dlsym`` can find.

A program that exports nothing has an empty GNU table, of which nothing can be learned:
GNU's linker then writes 1 for ``symoffset``, however many symbols are needed from
elsewhere. What is left is to look who speaks of them: a relocation with the highest
number, or the section header if there is one.

Two CPUs, Alpha and 64-bit S/390, have 8-byte words in ``DT_HASH``, against the gABI,
which says 4 for everybody. LLVM's linker keeps to the gABI even there. Nobody has 2^32
buckets, so if the first 8-byte word is that large, it is two words of 4.

Specifications: gABI chapter 5, "Hash Table"; for DT_GNU_HASH the only text is the code,
in binutils ``bfd/elflink.c`` and glibc ``elf/dl-lookup.c``.
"""

from __future__ import annotations

from libferry.binary.elf.columns import numbers
from libferry.binary.elf.image import Image
from libferry.binary.elf.layout import (
    DT_GNU_HASH,
    DT_HASH,
    DT_MIPS_SYMTABNO,
    DT_SYMTAB,
    EM_ALPHA,
    EM_MIPS,
    EM_S390,
)
from libferry.binary.elf.relocations import highest_symbol
from libferry.binary.elf.sections import SHT_DYNSYM, sections
from libferry.binary.window import PAGE, Window

SYMBOLS_AT_MOST = 1 << 24

SHORT_CHAIN = 64  # bytes; nearly all chains have a few entries of 4

# e_machine and bits of those with 8-byte words in DT_HASH
WIDE_HASH = {(EM_ALPHA, 64), (EM_S390, 64)}


def symbol_count(image: Image) -> int:
    """Give the number of dynamic symbols, found or only needed, with the empty first one."""
    tags = image.tags
    if DT_SYMTAB not in tags:
        return 0
    if image.machine == EM_MIPS and DT_MIPS_SYMTABNO in tags:
        count = tags[DT_MIPS_SYMTABNO]
    elif DT_HASH in tags:
        count = _hash_range(image)[1]
    else:
        found = sum(symbol_range(image, SYMBOLS_AT_MOST))
        count = max(found, highest_symbol(image) + 1, _count_of_section(image))
    if count > SYMBOLS_AT_MOST:
        raise image.window.bad(f"it claims {count} symbols, more than any real library has")
    return count


def _count_of_section(image: Image) -> int:
    for section in sections(image)[0]:
        if section.type == SHT_DYNSYM and section.address == image.tags[DT_SYMTAB]:
            return section.size // image.layout.symbol.size
    return 0


def symbol_range(image: Image, at_most: int) -> tuple[int, int]:
    """Give the first symbol that can be found, and how many follow.

    A table that would have more than ``at_most`` is refused. A sparse file may have any
    length, and counting goes through all of it.
    """
    if DT_GNU_HASH in image.tags:
        table = image.at(image.tags[DT_GNU_HASH], "the GNU hash table")
        return _gnu_hash_range(image, table, at_most)
    if DT_HASH in image.tags:
        return _hash_range(image)
    return 0, 0


def _hash_range(image: Image) -> tuple[int, int]:
    what, word = "the hash table", image.layout.word
    table = image.at(image.tags[DT_HASH], what)
    if (image.machine, image.layout.bits) in WIDE_HASH:
        (bucket_count,) = table.unpack(image.layout.xword, 0, what)
        if bucket_count < 1 << 32:
            word = image.layout.xword
    return 0, table.unpack(word, word.size, what)[0]


def _gnu_hash_range(image: Image, table: Window, at_most: int) -> tuple[int, int]:
    word, what = image.layout.word, "the GNU hash table"
    header = table.table(word, 0, 4, what)
    bucket_count, first, bloom_count, _ = header
    buckets_at = 16 + bloom_count * (image.layout.bits // 8)
    whole = table.view(buckets_at, word.size * bucket_count, what)
    if bucket_count > at_most:
        raise table.bad(f"{what} claims {bucket_count} buckets, more than any real library has")
    buckets = numbers("I", whole.bytes(0, word.size * bucket_count, what), image.layout.endian)
    last = max(buckets, default=0)
    if last < first:
        return first, 0
    chains_at = buckets_at + 4 * bucket_count
    at = chains_at + 4 * (last - first)
    most = SHORT_CHAIN
    while True:
        size = min(most, (table.size - at) & ~3)
        # At the end of the segment, ask for one entry more to get the error for it.
        for entry in table.table(word, at, max(size // 4, 1), what):
            if entry & 1:
                return first, last - first + 1
            last += 1
        if last - first > at_most:
            raise table.bad(f"{what} has a chain without an end")
        at += size
        most = PAGE
