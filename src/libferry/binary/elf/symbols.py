"""The exports of an ELF library, with their versions.

The dynamic symbol table does not say how long it is. Loaders never ask: they find
a name through a hash table, and so the length has to come from there as well.

``DT_HASH``, of the gABI, has one chain entry for each symbol and begins with their
number. ``DT_GNU_HASH``, which took its place, leaves that number out. It sorts the
symbols by bucket, and each chain ends where an entry has its lowest bit set, so the
table ends with the chain that begins last. It also leaves out the first
``symoffset`` symbols, those that are only needed from elsewhere. If both are there,
glibc uses the second; so do we, since an export is what ``dlsym`` can find.

Two CPUs, Alpha and 64-bit S/390, have 8-byte words in ``DT_HASH``, against the gABI,
which says 4 for everybody. LLVM's linker keeps to the gABI even there. Nobody has 2^32
buckets, so if the first 8-byte word is that large, it is two words of 4.

Versions lie beside the symbols, in three more tables: ``DT_VERSYM`` has one number
for each symbol, ``DT_VERDEF`` is a list in which that number has a name, and the
number's highest bit marks the versions that only old callers still get. GNU's linker also
makes a symbol of each version, ``ZLIB_1.2.0@@ZLIB_1.2.0``: an absolute one of value 0,
which is nobody's data. Those are left out.

Specifications: gABI chapter 5, "Hash Table"; "Symbol Versioning" in the Linux
Standard Base, Core, chapter 10.7; for DT_GNU_HASH the only text is the code, in
binutils ``bfd/elflink.c`` and glibc ``elf/dl-lookup.c``.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from libferry.binary.addresses import AddressMap
from libferry.binary.elf.image import (
    DT_GNU_HASH,
    DT_HASH,
    DT_SYMENT,
    DT_SYMTAB,
    DT_VERDEF,
    DT_VERSYM,
    PF_X,
    Image,
)
from libferry.binary.model import Export, ExportKind
from libferry.binary.window import PAGE, Window

# gABI, "Symbol Table": st_info, st_other and st_shndx
GLOBAL_BINDINGS = {1, 2, 10}  # STB_GLOBAL, STB_WEAK, STB_GNU_UNIQUE
HIDDEN_VISIBILITIES = {1, 2}  # STV_INTERNAL, STV_HIDDEN
SHN_UNDEF, SHN_ABS = 0, 0xFFF1
STT_NOTYPE = 0
KINDS: dict[int, ExportKind] = {
    1: "data",  # STT_OBJECT
    2: "function",  # STT_FUNC
    5: "data",  # STT_COMMON
    6: "tls",  # STT_TLS
    10: "ifunc",  # STT_GNU_IFUNC
}

EXPORTS_AT_MOST = 1 << 24

# e_machine and bits of those with 8-byte words in DT_HASH
WIDE_HASH = {(0x9026, 64), (22, 64)}

# LSB Core, 10.7.2 "Version Definition Section" and 10.7.5 "Symbol Version Table"
VERDEF = "HHHHIII"  # version, flags, index, count, hash, offset of name, offset of next
VERSION_HIDDEN = 0x8000
FIRST_NAMED_VERSION = 2  # 0 is local, 1 the file itself


def exports(window: Window) -> tuple[Export, ...]:
    """List the defined dynamic symbols."""
    image = Image(window)
    tags = image.tags
    if DT_SYMTAB not in tags:
        return ()
    start, count = symbol_range(image, EXPORTS_AT_MOST)
    if count <= 0:
        return ()
    symbol = image.layout.symbol
    if tags.get(DT_SYMENT, symbol.size) != symbol.size:
        raise window.bad(f"symbols have {tags[DT_SYMENT]} bytes instead of {symbol.size}")
    what = "the dynamic symbol table"
    raw = image.at(tags[DT_SYMTAB], what).bytes(start * symbol.size, count * symbol.size, what)
    version_of = _versions(image, start, count)
    is_code = _code(image)

    found = []
    for index, (name, info, other, section, value) in enumerate(symbol.rows(raw)):
        if section == SHN_UNDEF or info >> 4 not in GLOBAL_BINDINGS:
            continue
        if other & 3 in HIDDEN_VISIBILITIES:
            continue
        kind = KINDS.get(info & 15)
        if kind is None:
            if info & 15 != STT_NOTYPE:
                continue  # sections and files, which no loader binds to
            kind = "function" if is_code(value) else "data"
        text = image.string(name, "the name of a symbol")
        if text:
            version, hidden = version_of(index)
            if section == SHN_ABS and text == version and not value:
                continue
            found.append(Export(text, kind, version, value, None, hidden))
    return tuple(found)


def symbol_range(image: Image, at_most: int) -> tuple[int, int]:
    """Give the first symbol that can be found, and how many follow.

    A table that would have more than ``at_most`` is refused. A sparse file may have any
    length, and counting goes through all of it.
    """
    tags, word = image.tags, image.layout.word
    if DT_GNU_HASH in tags:
        table = image.at(tags[DT_GNU_HASH], "the GNU hash table")
        return _gnu_hash_range(image, table, at_most)
    if DT_HASH in tags:
        table = image.at(tags[DT_HASH], "the hash table")
        if (image.machine, image.layout.bits) in WIDE_HASH:
            (bucket_count,) = table.unpack(image.layout.xword, 0, "the hash table")
            if bucket_count < 1 << 32:
                word = image.layout.xword
        (count,) = table.unpack(word, word.size, "the hash table")
        return 0, count
    return 0, 0


def _gnu_hash_range(image: Image, table: Window, at_most: int) -> tuple[int, int]:
    word, what = image.layout.word, "the GNU hash table"
    header = table.table(word, 0, 4, what)
    bucket_count, first, bloom_count, _ = header
    buckets_at = 16 + bloom_count * (image.layout.bits // 8)
    whole = table.view(buckets_at, word.size * bucket_count, what)
    if bucket_count > at_most:
        raise table.bad(f"{what} claims {bucket_count} buckets, more than any real library has")
    buckets = whole.table(word, 0, bucket_count, what)
    last = max(buckets, default=0)
    if last < first:
        return first, 0
    chains_at = buckets_at + 4 * bucket_count
    at = chains_at + 4 * (last - first)
    while True:
        size = min(PAGE, (table.size - at) & ~3)
        # At the end of the segment, ask for one entry more to get the error for it.
        for entry in table.table(word, at, max(size // 4, 1), what):
            if entry & 1:
                return first, last - first + 1
            last += 1
        if last - first > at_most:
            raise table.bad(f"{what} has a chain without an end")
        at += size


def _versions(image: Image, start: int, count: int) -> Callable[[int], tuple[str | None, bool]]:
    """Give the function from a symbol's index to its version, and whether that is hidden."""
    tags, half = image.tags, image.layout.half
    if DT_VERSYM not in tags:
        return lambda _: (None, False)
    what = "the symbol version table"
    symbol_versions = image.at(tags[DT_VERSYM], what).view(start * 2, count * 2, what)
    numbers = list(symbol_versions.table(half, 0, count, what))
    names = _defined_versions(image)
    known = {
        number: (
            names.get(number & ~VERSION_HIDDEN),
            bool(number & VERSION_HIDDEN),
        )
        for number in set(numbers)
    }
    return lambda index: known[numbers[index]]


def _defined_versions(image: Image) -> dict[int, str]:
    names: dict[int, str] = {}
    if DT_VERDEF not in image.tags:
        return names
    what = "the version definitions"
    table = image.at(image.tags[DT_VERDEF], what)
    word = image.layout.word
    record = Struct(word.format[0] + VERDEF)
    at = 0
    while True:  # every step goes forward, and reads within the table
        _, _, index, aux_count, _, aux, step = table.unpack(record, at, what)
        if aux_count and index >= FIRST_NAMED_VERSION:
            (name,) = table.unpack(word, at + aux, what)
            names[index] = image.string(name, "the name of a version")
        if not step:
            return names
        at += step


def _code(image: Image) -> Callable[[int], bool]:
    """Give the function that tells whether an address can be executed."""
    executable = AddressMap((s[3], s[5], None) for s in image.loads if s[1] & PF_X)
    return lambda address: executable.find(address) is not None
