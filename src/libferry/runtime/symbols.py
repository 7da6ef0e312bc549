"""How an export is named, and what to say when there is none of that name.

Beside its plain name, an export can be asked for

* by a version, ``memcpy@GLIBC_2.2.5``: an ELF library may have several functions of one
  name, each with a version, so that programs go on to get the one they were linked
  with. One of them is the default, written ``memcpy@@GLIBC_2.14``, which is what a plain
  name finds. Both spellings mean the version that they name.
* by its ordinal, ``#7``: a DLL's exports are numbered, and need no names.
* by what a C++ compiler made of its name, ``_ZN4math3addEii``, or by what that stands
  for, ``math::add(int, int)``, if only one export does.
"""

from __future__ import annotations

import difflib
import re

from libferry.binary import Binary, Export
from libferry.binary.mangled import can_demangle, demangle, is_mangled, may_be
from libferry.errors import ArgumentTypeError, SymbolNotFound, UnsupportedDeclaration

SHOWN = 5  # names in a hint


def written(export: Export) -> str:
    """An export's name with its version, as ``symbol=`` takes it."""
    if export.version is None:
        return export.name
    return f"{export.name}{'@' if export.hidden else '@@'}{export.version}"


def check(binary: Binary, name: str) -> None:
    """Refuse an ordinal or a version that cannot be there.

    glibc itself finds any version in a library that has none.

    Raises:
        SymbolNotFound: the library is no DLL, or does not have that version.
    """
    if binary.format == "pe":
        return
    if re.fullmatch(r"#\d+", name):
        raise SymbolNotFound(
            f"find {name} in {binary.path.name}",
            f"an ordinal is the number of a DLL's export, and this is no DLL ({binary.format})",
            hint="give the function's name",
        )
    plain, at, version = name.partition("@")
    if binary.format != "elf" or not at:
        return
    same = [export for export in binary.exports if export.name == plain]
    if same and version.removeprefix("@") not in {export.version for export in same}:
        raise _no_version(binary, name, same)


def _no_version(binary: Binary, name: str, same: list[Export]) -> SymbolNotFound:
    plain = same[0].name
    versions = [written(export) for export in same if export.version]
    return SymbolNotFound(
        f"find {name} in {binary.path.name}",
        f"it exports {plain}, but not with that version"
        if versions
        else f"it exports {plain} without a version",
        hint=f"it has {', '.join(versions)}" if versions else f"ask for {plain}",
    )


def refuse_thread_local(binary: Binary, name: str) -> None:
    """Refuse a variable of which each thread has its own: whose would be read?

    Raises:
        UnsupportedDeclaration: it is one.
    """
    plain = name.partition("@")[0]
    if any(export.name == plain and export.kind == "tls" for export in binary.exports):
        raise UnsupportedDeclaration(
            f"find the variable {name} in {binary.path.name}",
            "it is thread-local: each thread of the library has its own",
            hint="call a function of the library that gives its value, or its address",
        )


def from_signature(binary: Binary, name: str) -> str:
    """The mangled name of a C++ one; any other name as it is.

    Raises:
        SymbolNotFound: no export is meant by it, or several.
    """
    if not isinstance(name, str):
        raise ArgumentTypeError(
            f"find an export of {binary.path.name}",
            f"{name!r:.80} is not text",
            hint="give its name; an ordinal is '#7'",
        )
    if not re.search(r"[(: ]", name) or any(e.name == name for e in binary.exports):
        return name
    own = re.sub(r"\(.*", "", name).rpartition("::")[2].rpartition(" ")[2]
    mangled = [export for export in binary.exports if is_mangled(export.name)]
    candidates = [e for e in mangled if not own.isidentifier() or may_be(e.name, own)]
    meant = demangle(export.name for export in candidates)
    exact = [e for e in candidates if e.name in meant and _is(meant[e.name], name)]
    if len({export.address for export in exact}) == 1:
        return exact[0].name
    tried = f"find {name} in {binary.path.name}"
    if mangled and not can_demangle():
        raise SymbolNotFound(
            tried,
            "that is a C++ name, and what reads mangled names is not installed",
            hint="pip install 'libferry[demangle]', or give the mangled name",
        )
    others = exact or candidates
    raise SymbolNotFound(
        tried,
        f"{len(exact)} exports are meant by it" if exact else "the library does not export it",
        hint=_listed("give one's mangled name" if exact else "near matches", others, meant)
        if others
        else f"libferry inspect {binary.path} lists what it exports",
    )


def _is(meant: str, wanted: str) -> bool:
    """The same; Microsoft's names begin with the result's type and the convention."""
    meant, wanted = _tight(meant), _tight(wanted)
    return meant == wanted or meant.endswith(" " + wanted)


def _tight(text: str) -> str:
    """Without the spaces that differ from one demangler to the next."""
    return re.sub(r"\s*([(),&*<>:])\s*", r"\1", text.strip())


def not_exported(binary: Binary, name: str) -> SymbolNotFound:
    """The error for a name that is not found; the hint offers near ones."""
    tried = f"find {name} in {binary.path.name}"
    plain = name.partition("@")[0] if binary.format == "elf" else name
    same = [export for export in binary.exports if export.name == plain]
    if same and plain == name and all(export.hidden for export in same):
        return SymbolNotFound(
            tried,
            "the library exports only old versions of it",
            hint=f"name one: symbol={written(same[-1])!r}; it has "
            + ", ".join(written(export) for export in same),
        )
    cxx = [e for e in binary.exports if is_mangled(e.name) and may_be(e.name, plain)]
    if cxx:
        meant = demangle(export.name for export in cxx[:SHOWN])
        hint = _listed(f"C++ has mangled it: symbol={cxx[0].name!r}", cxx, meant)
    else:
        near = difflib.get_close_matches(plain, {e.name for e in binary.exports}, 3, 0.6)
        hint = (
            f"near matches: {', '.join(near)}"
            if near
            else f"libferry inspect {binary.path} lists what it exports"
        )
    return SymbolNotFound(tried, "the library does not export it", hint=hint)


def _listed(head: str, exports: list[Export], meant: dict[str, str]) -> str:
    names = [f"{meant[e.name]} ({e.name})" if e.name in meant else e.name for e in exports[:SHOWN]]
    rest = f" and {len(exports) - SHOWN} more" if len(exports) > SHOWN else ""
    return f"{head}: {', '.join(names)}{rest}"
