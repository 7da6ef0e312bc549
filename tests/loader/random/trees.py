"""A tree of libraries by chance: what lies where, what it says, and how it is loaded."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from .stub import Stub, Wanted, write

FOLDERS = ("", "a", "b", "a/sub", "c")
NAMES = ("libp.so", "libq.so", "libr.so.1", "libs.so", "libt.so")
SYMBOLS = ("one", "two", "three")
VERSIONS = ("V_1", "V_2")
# PATH is the tree's own
PATHS = (
    *("$ORIGIN", "$ORIGIN/../b", "${ORIGIN}/sub", "PATH/a", "PATH/c", "PATH", "$ORIGIN/a"),
    *("", "a", "./b", "nowhere", "$ORIGIN/$LIB", "$ORIGIN/../a/", "PATH//b", "$NOTHING", "$"),
)
WRONG = ("empty", "text", "class", "machine", "short", "folder", "dangling")
DF_SYMBOLIC, DF_BIND_NOW = 2, 8
DF_1_NOW, DF_1_NODELETE, DF_1_NODEFLIB, DF_1_ORIGIN = 1, 8, 0x800, 0x80


@dataclass
class Tree:
    """One case.

    Attributes:
        files: by the path in the tree: what a library says, what else it is (one of WRONG),
            or ``-> TARGET`` for a link and ``= TARGET`` for a second name of one file.
        subject: the path of what is loaded.
        folder: the working directory.
    """

    files: dict[str, Stub | str] = field(default_factory=dict)
    subject: str = ""
    folder: str = ""
    now: bool = True
    environment: dict[str, str] = field(default_factory=dict)

    def put(self, root: Path) -> None:
        """Make it in an empty folder, which takes the place of PATH."""
        for name in FOLDERS:
            (root / name).mkdir(exist_ok=True)
        for path, what in sorted(self.files.items(), key=lambda item: isinstance(item[1], str)):
            file = root / path
            if isinstance(what, Stub):
                file.write_bytes(write(_placed(what, root)))
            elif what.startswith("-> "):
                file.symlink_to(os.path.relpath(root / what[3:], file.parent))
            elif what.startswith("= "):
                os.link(root / what[2:], file)
            else:
                _spoil(file, what)

    def story(self) -> str:
        """For whom it fails."""
        lines = [f"  {path}: {what}" for path, what in sorted(self.files.items())]
        how = "RTLD_NOW" if self.now else "RTLD_LAZY"
        return "\n".join(
            [f"load {self.subject} in /{self.folder} with {how}, {self.environment}", *lines]
        )


def _placed(stub: Stub, root: Path) -> Stub:
    def real(text: str) -> str:
        return text.replace("PATH", str(root))

    return replace(
        stub,
        rpath=None if stub.rpath is None else real(stub.rpath),
        runpath=None if stub.runpath is None else real(stub.runpath),
        needs=tuple(map(real, stub.needs)),
        asks=tuple((real(name), version, weak) for name, version, weak in stub.asks),
        wants=tuple(
            replace(want, version=(real(want.version[0]), want.version[1]))
            if want.version
            else want
            for want in stub.wants
        ),
    )


def _spoil(file: Path, how: str) -> None:
    if how == "folder":
        file.mkdir()
    elif how == "dangling":
        file.symlink_to("nowhere.so")
    else:
        whole = write(Stub())
        file.write_bytes(
            {
                "empty": b"",
                "text": b"/* GNU ld script */ INPUT(libp.so)\n" * 4,
                "class": write(Stub(elf_class=1)),
                "machine": write(Stub(machine=183)),
                "short": whole[:90],
            }[how]
        )


def grow(seed: int, plain: bool = False) -> Tree:
    """The tree of a number.

    Args:
        seed: which.
        plain: with nothing that only glibc knows: ``$LIB``, NODEFLIB, versions.
    """
    chance = random.Random(seed)
    tree = Tree(now=chance.random() < 0.6, folder=chance.choice(FOLDERS))
    spoiled = chance.choice((0.0, 0.0, 0.0, 0.05, 0.15))
    versioned = not plain and chance.random() < 0.5
    for name in NAMES:
        for folder in chance.sample(FOLDERS, chance.choice((1, 2, 3, 4))):
            path = os.path.join(folder, name)
            others = [other for other, what in tree.files.items() if isinstance(what, Stub)]
            if chance.random() < spoiled:
                # musl does not look at the class, and this is no true 32-bit file
                tree.files[path] = chance.choice(
                    [how for how in WRONG if not (plain and how == "class")]
                )
            elif others and chance.random() < 0.1:
                tree.files[path] = chance.choice(("-> ", "= ")) + chance.choice(others)
            else:
                tree.files[path] = _library(chance, name, versioned, plain)
    good = [path for path, what in tree.files.items() if isinstance(what, Stub)]
    if not good:
        tree.files["libp.so"] = Stub("libp.so")
        good = ["libp.so"]
    tree.subject = chance.choice(good)
    if chance.random() < 0.5:
        tree.environment["LD_LIBRARY_PATH"] = _paths(chance)
    if chance.random() < 0.2:
        preload = [_reference(chance, chance.choice(NAMES)) for _ in range(chance.choice((1, 2)))]
        tree.environment["LD_PRELOAD"] = chance.choice((" ", ":")).join(preload)
    return tree


def _paths(chance: random.Random) -> str:
    likely = chance.sample(PATHS[:11], k=chance.choice((2, 3, 4)))
    return ":".join(likely + chance.choices(PATHS, k=chance.choice((0, 0, 1))))


def _reference(chance: random.Random, name: str) -> str:
    return chance.choice((*("{}",) * 30, "./{}", "PATH/b/{}", "$ORIGIN/{}", "a/{}")).format(name)


def _library(chance: random.Random, name: str, versioned: bool, plain: bool) -> Stub:
    soname = chance.choice((*(name,) * 8, "", chance.choice(NAMES)))
    others = [other for other in NAMES if other != name]
    needs = [_reference(chance, one) for one in chance.sample(others, chance.choice((0, 1, 2, 2)))]
    needs += ["libnone.so"] if chance.random() < 0.03 else []
    gives = VERSIONS[: chance.choice((0, 1, 2))] if versioned else ()
    asks = tuple(
        (need, version, chance.random() < 0.2)
        for need in needs
        for version in VERSIONS
        if versioned and chance.random() < 0.2 and "$" not in need and need != "libnone.so"
    )
    exports = [(symbol, chance.choice(("", *gives))) for symbol in SYMBOLS if chance.random() < 0.7]
    wants = [
        Wanted(
            symbol,
            chance.choice([(file, version) for file, version, _ in asks] or [None])
            if chance.random() < 0.5
            else None,
            weak=chance.random() < 0.4,
            lazy=chance.random() < 0.5,
        )
        for symbol in (*SYMBOLS, "nobody_has")
        if chance.random() < (0.04 if symbol == "nobody_has" else 0.2)
    ]
    had = {symbol for symbol, _ in exports}
    bits = chance.choice((0, 0, 0, 0, DF_1_ORIGIN, DF_1_NOW, DF_1_NODELETE, DF_1_NODEFLIB))
    return Stub(
        soname=soname,
        needs=tuple(dict.fromkeys(needs)),
        rpath=_paths(chance) if chance.random() < 0.6 else None,
        runpath=_paths(chance) if chance.random() < 0.5 else None,
        exports=tuple(exports),
        wants=tuple(want for want in wants if want.name not in had),
        gives=gives,
        asks=asks,
        flags=chance.choice((0, 0, 0, DF_SYMBOLIC, DF_BIND_NOW)),
        flags_1=0 if plain and bits == DF_1_NODEFLIB else bits,
    )


def clear(root: Path) -> None:
    """Take the tree away, and leave what else lies in the folder."""
    for name in (*FOLDERS[1:], *NAMES):
        path = root / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
