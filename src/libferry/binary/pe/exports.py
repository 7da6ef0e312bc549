"""The names that a PE file offers.

Exports are three parallel-looking arrays that are not parallel. The first has the
addresses, one for each ordinal. The other two have the names and, for each name,
the index into the first. So one address may have no name, or several. An address
that points into the export directory itself is none: it is the text of a forward,
such as ``NTDLL.RtlAllocateHeap``.

Linkers write the names one behind the other, in the order of their table. Then all of
them are decoded and cut apart at once, which is most of the time that a library with
thousands of exports takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate, count, repeat
from operator import add, itemgetter
from struct import Struct, unpack
from typing import Any

from libferry.binary.model import Export, ExportKind
from libferry.binary.pe.image import DIRECTORY_EXPORT, Image
from libferry.binary.window import Window

# "Export Directory Table": RVA of the DLL's name, ordinal base, number of addresses,
# number of names, RVAs of the addresses, the names and the names' indices
EXPORTS = Struct("<12xIIIIIII")
# Not in the specification: ordinals are 16 bits wherever they are used.
EXPORTS_AT_MOST = 1 << 16
NOWHERE = (0, 0, (0, 0, False))
# What the class itself does, without the call of a Python function for each
_EXPORT: Callable[[tuple[Any, ...]], Export] = partial(tuple.__new__, Export)
NAME_AT_MOST = 1 << 16  # bytes of the last name that are fetched together with the others


def own_name(image: Image) -> str | None:
    """Give the name that the library gives itself."""
    directory = _directory(image)
    return image.string(directory[0], "the DLL's name") if directory and directory[0] else None


def exports(window: Window) -> tuple[Export, ...]:
    """List the exports by ordinal; an address with several names comes once for each."""
    image = Image(window)
    directory = _directory(image)
    if directory is None:
        return ()
    _, base, size, name_count, addresses_at, names_at, indices_at = directory
    if size > EXPORTS_AT_MOST or name_count > EXPORTS_AT_MOST:
        raise window.bad(
            f"{size} exports with {name_count} names: ordinals have 16 bits, "
            f"so there can be no more than {EXPORTS_AT_MOST}"
        )
    if not size:
        return ()
    what = "the export address table"
    addresses = unpack(f"<{size}I", image.at(addresses_at, what).bytes(0, 4 * size, what))
    indices, texts = _names(image, name_count, names_at, indices_at)
    if 0 not in addresses and indices == tuple(range(size)):  # what most linkers write
        rvas = list(addresses)
    else:
        indices, texts = _by_ordinal(addresses, base, indices, texts)
        rvas = [addresses[index] for index in indices]
    if not rvas:
        return ()
    kinds, forwards = _kinds(image, rvas)
    ordinals = map(add, indices, repeat(base))
    rows = zip(texts, kinds, repeat(None), rvas, ordinals, repeat(False), forwards, strict=False)
    return tuple(map(_EXPORT, rows))


def _kinds(image: Image, rvas: list[int]) -> tuple[list[ExportKind], Iterable[str | None]]:
    """Tell what the addresses are, and where forwards lead; those get the address 0."""
    start, size = image.directory(DIRECTORY_EXPORT) or (0, 0)
    low, high, (_, _, code) = image.sections.around(rvas[0]) or NOWHERE
    if not code:
        low = high = 0
    end = start + size
    kinds: list[ExportKind] = [
        "forward"
        if start <= rva < end
        else "function"
        if low <= rva < high or image.is_code(rva)
        else "data"
        for rva in rvas
    ]
    if "forward" not in kinds:
        return kinds, repeat(None)
    forwards: list[str | None] = [None] * len(rvas)
    places = [number for number, kind in enumerate(kinds) if kind == "forward"]
    texts = _strings(image, [rvas[number] for number in places], "the text of a forward")
    for number, text in zip(places, texts, strict=True):
        forwards[number], rvas[number] = text, 0
    return kinds, forwards


def _directory(image: Image) -> tuple[int, ...] | None:
    where = image.directory(DIRECTORY_EXPORT)
    if where is None:
        return None
    what = "the export directory"
    return image.at(where[0], what).unpack(EXPORTS, 0, what)


def _by_ordinal(
    addresses: Sequence[int], base: int, indices: Sequence[int], texts: Sequence[str]
) -> tuple[tuple[int, ...], list[str]]:
    """Sort the names by index, and add what has none; an address of 0 is not used."""
    offered = [
        (index, text)
        for index, text in zip(indices, texts, strict=True)
        if index < len(addresses) and addresses[index]
    ]
    named = set(indices)
    offered += (
        (index, f"#{base + index}")
        for index, address in enumerate(addresses)
        if address and index not in named
    )
    offered.sort(key=itemgetter(0))
    return tuple(index for index, _ in offered), [text for _, text in offered]


def _names(
    image: Image, count: int, names_at: int, indices_at: int
) -> tuple[tuple[int, ...], list[str]]:
    """Give the names' indices into the address table, and the names."""
    if not count:
        return (), []
    what = "the export name table"
    rvas = unpack(f"<{count}I", image.at(names_at, what).bytes(0, 4 * count, what))
    what = "the export ordinal table"
    indices = unpack(f"<{count}H", image.at(indices_at, what).bytes(0, 2 * count, what))
    return indices, _strings(image, rvas, "the name of an export")


def _strings(image: Image, rvas: Sequence[int], what: str) -> list[str]:
    texts = _one_behind_the_other(image, rvas, what)
    return texts if texts is not None else [image.string(rva, what) for rva in rvas]


def _one_behind_the_other(image: Image, rvas: Sequence[int], what: str) -> list[str] | None:
    """Give the strings at ``rvas`` if they lie so, else None."""
    first, last = rvas[0], rvas[-1]
    if last < first:
        return None
    place = image.at(first, what)
    size = min(last - first + NAME_AT_MOST, place.size)
    if last - first >= size:
        return None
    raw = place.bytes(0, size, what)
    end = raw.find(0, last - first)
    if end < 0:
        return None
    raw = raw[:end]
    image.window.charge(end)
    if not raw.isascii():
        return None
    texts = raw.decode("ascii").split("\0")
    # where each would begin if there were no NULs in between
    starts = accumulate(map(len, texts[:-1]), initial=first)
    return texts if list(map(add, starts, count())) == list(rvas) else None
