"""Trees of libraries by chance: ours is what each real loader says, word by word.

Each tree is loaded with ``dlopen`` by a small program under the loader in question. It
prints what is in the process then, in order, or ``dlerror``; that is compared with the
order of our resolution, or its first problem.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.loader.crafted.releases import loader, release
from tests.loader.crafted.workshop import Loader, Workshop
from tests.loader.glibc.listing import listing
from tests.loader.musl.loaders import NEEDS, Bench

from .trees import Tree, clear, grow

CASES = int(os.environ.get("FERRY_CASES", "40"))
SEED = int(os.environ.get("FERRY_SEED", "0"))
STORIES = 3  # a wrong rule fails dozens

GCC = pytest.mark.needs("gcc", install="apt-get install gcc libc6-dev")
RELEASES = [
    pytest.param(None, id="this machine", marks=GCC),
    *(release(name, "amd64") for name in ("bullseye", "trixie", "sid")),
]


def trees(root: Path, plain: bool = False) -> Iterator[tuple[int, Tree]]:
    """Each tree, while it is there."""
    for seed in range(SEED, SEED + CASES):
        tree = grow(seed, plain)
        tree.put(root)
        tree.environment = {
            name: value.replace("PATH", str(root)) for name, value in tree.environment.items()
        }
        yield seed, tree
        clear(root)


def judge_all(root: Path, judge: Callable[[Tree], object], plain: bool = False) -> None:
    stories = []
    for seed, tree in trees(root, plain):
        try:
            judge(tree)
        except AssertionError as different:
            said = str(different).splitlines()
            told = "\n".join(said[:12])
            stories.append(f"FERRY_SEED={seed} FERRY_CASES=1\n{told}\n{tree.story()}")
    if stories:
        told = "\n\n".join(stories[:STORIES])
        pytest.fail(f"{len(stories)} of {CASES} trees\n\n{told}", pytrace=False)


@pytest.mark.parametrize("release", RELEASES)
def test_glibc_opens_the_same_libraries_or_says_the_same(
    tmp_path: Path, release: tuple[str, str] | None
) -> None:
    shop = Workshop(tmp_path, loader(*release) if release else Loader())
    shop.program("host")

    def judge(tree: Tree) -> None:
        mode = "now" if tree.now else "lazy"
        shop.judge_dlopen(tree.subject, "host", tree.environment, mode, tree.folder)

    judge_all(tmp_path, judge)


@pytest.mark.parametrize("release", RELEASES)
def test_glibc_lists_the_same_libraries_and_versions(
    tmp_path: Path, release: tuple[str, str] | None
) -> None:
    shop = Workshop(tmp_path, loader(*release) if release else Loader())
    command = [*shop.loader.command] or ["/lib64/ld-linux-x86-64.so.2"]
    command += ["--inhibit-cache"] if release else []

    def judge(tree: Tree) -> None:
        tree.environment.pop("LD_PRELOAD", None)  # without a program, nothing starts
        folder = tmp_path / tree.folder
        words = list(command)
        if release:
            path = (tree.environment.get("LD_LIBRARY_PATH", ""), shop.loader.libraries)
            words += ["--library-path", ":".join(filter(None, path))]
        theirs = listing(words, tmp_path / tree.subject, tree.environment, folder)
        _, resolution = shop.predict(tree.subject, None, tree.environment, tree.folder)
        messages = [problem.message for problem in resolution.problems]
        if theirs.error:
            assert any(theirs.error.endswith(message) for message in messages), theirs.error
            return
        versions = {message for message in messages if "version `" in message}
        assert {one.rpartition("/")[2] for one in versions} == {
            one.rpartition("/")[2] for one in theirs.versions
        }
        # it lists what is loaded, under the first name asked for, and what is not found
        asked = (node for node in resolution.root.walk() if node is not resolution.root)
        # a second name of the file that is listed is another library to it, seen for once as
        # a program
        nodes = [
            node
            for node in asked
            if node.state in ("loaded", "missing")
            or node.how.endswith(f"the same file as {resolution.root.path}")
        ]
        ours = {os.path.join(folder, node.path) if node.found else node.name for node in nodes}
        found = {
            os.path.join(folder, path) if path else name
            for name, path in theirs.paths.items()
            if "ld-linux" not in name  # how it was started, not what is loaded
        }
        assert {*map(os.path.normpath, ours)} == {*map(os.path.normpath, found)}

    judge_all(tmp_path, judge)


@pytest.mark.parametrize("cpu", [pytest.param("x86_64", marks=NEEDS)])
def test_musl_opens_the_same_libraries_or_says_the_same(tmp_path: Path, cpu: str) -> None:
    bench = Bench(tmp_path, cpu)
    host = bench.program("host")

    def judge(tree: Tree) -> None:
        bench.environment = tree.environment
        bench.same(tmp_path / tree.subject, host, now=tree.now)

    judge_all(tmp_path, judge, plain=True)
