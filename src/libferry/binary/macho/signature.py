"""The code signature inside a Mach-O file: what it claims, not whether it holds.

A "SuperBlob" is a list of blobs, each with a magic number and a size, all big-endian on
every CPU. The CodeDirectory has the hashes of the pages, a name, the team and flags;
entitlements are a property list; a CMS blob has the certificates, and is empty in an
ad-hoc signature, which says no more than that the pages are as they were.

Specification: xnu, ``osfmk/kern/cs_blobs.h``; Apple's TN3126 "Inside Code Signing: Hashes".
"""

from __future__ import annotations

import re
from struct import Struct

from libferry.binary.macho.facts import LC_CODE_SIGNATURE
from libferry.binary.macho.image import Image
from libferry.binary.model import Signature
from libferry.binary.window import Window, decode

# cs_blobs.h: CSMAGIC_*, CSSLOT_*
_SUPERBLOB, _CODE_DIRECTORY, _ENTITLEMENTS, _CMS = 0xFADE0CC0, 0xFADE0C02, 0xFADE7171, 0xFADE0B01
_HEADER, _SUPERBLOB_HEADER, _INDEX = Struct(">II"), Struct(">III"), Struct(">II")
# CS_CodeDirectory: version, flags, identOffset; and since version 0x20200, teamOffset
_DIRECTORY, _TEAM, _TEAM_SINCE = Struct(">8xII4xI"), Struct(">48xI"), 0x20200
# cs_blobs.h: CS_*
_ADHOC, _FORCED_LV, _REQUIRE_LV, _RUNTIME = 0x2, 0x10, 0x2000, 0x10000

# The kernel refuses more (cs_blobs.h has no limit; the largest known has a dozen).
_BLOBS_AT_MOST = 64

DISABLES_VALIDATION = "com.apple.security.cs.disable-library-validation"


def entitled(entitlements: str | None, key: str) -> bool:
    """Whether a property list of entitlements has a key that is true."""
    pattern = rf"<key>\s*{re.escape(key)}\s*</key>\s*<true\s*/>"
    return entitlements is not None and re.search(pattern, entitlements) is not None


def read_signature(image: Image) -> Signature | None:
    """Read what the signature says; None if there is none."""
    for command in image.all(LC_CODE_SIGNATURE):
        offset, size = image.unpack(image.layout.pair, command, 8)
        if size:
            return _read(image.window.view(offset, size, "the code signature"))
    return None


def _read(view: Window) -> Signature:
    what = "the code signature"
    magic, _, count = view.unpack(_SUPERBLOB_HEADER, 0, what)
    if magic != _SUPERBLOB:
        raise view.bad(f"the code signature begins with {magic:#x}", at=0)
    if count > _BLOBS_AT_MOST:
        raise view.bad(f"a code signature of {count} parts, more than there are kinds")
    raw = view.bytes(_SUPERBLOB_HEADER.size, count * _INDEX.size, what)
    directory: Window | None = None
    entitlements, has_cms = None, False
    for _, at in _INDEX.iter_unpack(raw):
        kind, size = view.unpack(_HEADER, at, "a part of the code signature")
        if kind not in (_CODE_DIRECTORY, _ENTITLEMENTS, _CMS):
            continue
        blob = view.view(at, size, "a part of the code signature")
        if kind == _CODE_DIRECTORY:
            directory = directory or blob  # the others have other hashes of the same
        elif kind == _ENTITLEMENTS:
            start = _HEADER.size
            entitlements = decode(blob.bytes(start, max(size - start, 0), "the entitlements"))
        else:
            has_cms = size > _HEADER.size
    if directory is None:
        raise view.bad("the code signature has no code directory")
    version, flags, identifier = directory.unpack(_DIRECTORY, 0, "the code directory")
    team = 0
    if version >= _TEAM_SINCE:
        (team,) = directory.unpack(_TEAM, 0, "the code directory")
    hardened = bool(flags & _RUNTIME)
    validates = bool(flags & (_FORCED_LV | _REQUIRE_LV)) or hardened
    return Signature(
        kind="ad-hoc" if flags & _ADHOC or not has_cms else "apple",
        identifier=directory.string(identifier, "the signing identifier") if identifier else None,
        team=directory.string(team, "the team identifier") if team else None,
        entitlements=entitlements,
        hardened=hardened,
        # Apple, "Disable Library Validation Entitlement": the hardened runtime validates
        library_validation=validates and not entitled(entitlements, DISABLES_VALIDATION),
    )
