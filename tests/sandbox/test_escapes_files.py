"""Attempts to reach files: by other names, by links, by races, by what is left behind."""

from __future__ import annotations

import errno
import os
import stat
import struct
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import libferry as ferry
from libferry.errors import SandboxViolation
from tests.sandbox.attacks import adding, attacker, put
from tests.sandbox.library import sandboxed

pytestmark = [
    pytest.mark.needs("ziglang", install="pip install ziglang"),
    pytest.mark.needs("libseccomp.so.2", install="apt-get install libseccomp2"),
]

# arch/x86/entry/syscalls/syscall_64.tbl of Linux
OPEN, OPENAT, OPENAT2, CREAT, CHMOD, FCHMOD, FCHMODAT, MKNODAT = 2, 257, 437, 85, 90, 91, 268, 259
LINK, SYMLINK, RENAME, CHOWN, SETXATTR, EXECVEAT = 86, 88, 82, 92, 188, 322
AT_FDCWD, AT_EMPTY_PATH, S_IFREG, S_IFCHR = -100, 0x1000, 0o100000, 0o020000
ROUNDS = 300


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder below /tmp, where the profile files-write lets a library write."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="libferry-escape-") as name:
        yield Path(name)


@pytest.fixture
def writer() -> Iterator[ferry.Library]:
    with sandboxed("files-write") as library:
        yield library


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file that is in nobody's list."""
    file = tmp_path / "victim"
    file.write_text("secret")
    return file


def path(lib: ferry.Library, name: Path | str) -> int:
    return put(lib, os.fsencode(name) + b"\0")


# ---- names ----


@pytest.mark.parametrize(
    "name",
    [
        "/proc/{pid}/environ",
        "/proc/{pid}/mem",
        "/proc/{pid}/maps",
        "/proc/{pid}/root/etc/shadow",
        "/proc/{pid}/cwd/pyproject.toml",
        "/proc/{pid}/fd/0",
        "/proc/self/task/../environ",
        "/proc/thread-self/root/etc/shadow",
        "/usr/share/zoneinfo/../../../etc/shadow",
        "/etc/localtime/../shadow",
        "/dev/fd/3",
        "/dev/kmsg",
        "/dev/fuse",
        "/dev/kvm",
        "/sys/fs/bpf",
        "/sys/kernel/debug",
        "/boot",
        "/run",
    ],
)
def test_opening_by_a_roundabout_name(pure: ferry.Library, name: str) -> None:
    with pytest.raises(SandboxViolation) as caught:
        pure.open_file(name.format(pid=os.getpid()), os.O_RDONLY)
    assert caught.value.syscall == "openat"


def test_opening_by_the_old_call(pure: ferry.Library) -> None:
    with pytest.raises(SandboxViolation, match="open of '/etc/shadow'"):
        pure.call(OPEN, path(pure, "/etc/shadow"), os.O_RDONLY, 0, 0, 0, 0)


def test_opening_by_openat2_is_what_this_kernel_does_not_have(pure: ferry.Library) -> None:
    how = put(pure, struct.pack("<QQQ", 0, 0, 0))
    name = path(pure, "/etc/shadow")
    assert pure.call(OPENAT2, AT_FDCWD, name, how, 24, 0, 0) == -errno.ENOSYS


@pytest.mark.parametrize("flags", [os.O_PATH, os.O_DIRECTORY, os.O_TMPFILE | os.O_RDWR])
def test_opening_the_root_only_a_little(pure: ferry.Library, flags: int) -> None:
    """O_PATH asks for no access, and what it gives is in the worker's own root."""
    try:
        opened = pure.open_file("/", flags)
    except SandboxViolation:
        return
    assert flags == os.O_PATH
    name = path(pure, "etc/shadow")
    with pytest.raises(SandboxViolation, match="'/etc/shadow'"):
        pure.call(OPENAT, opened, name, os.O_RDONLY, 0, 0, 0)


def test_a_name_that_is_no_text(pure: ferry.Library) -> None:
    """Bytes that are no UTF-8, and quotes, are told and not believed."""
    with pytest.raises(SandboxViolation) as caught:
        pure.call(OPEN, put(pure, b'/\xff\n"]\0'), os.O_RDONLY, 0, 0, 0, 0)
    assert caught.value.path == os.fsdecode(b'/\xff\n"]')
    assert "\n" not in caught.value.allow


def test_reading_by_an_empty_name_what_was_never_opened(pure: ferry.Library) -> None:
    assert pure.call(OPEN, path(pure, ""), os.O_RDONLY, 0, 0, 0, 0) == -errno.ENOENT


# ---- names in memory that does not stay ----


def test_a_name_that_another_thread_changes_while_it_is_looked_at(folder: Path) -> None:
    """Whatever the supervisor has seen: it is the kernel that looks last."""
    (folder / "victim").write_text("secret")
    listed = b"/etc/localtime".ljust(64, b"\0")
    secret = bytes(folder / "victim").ljust(64, b"\0")
    assert len(secret) == 64, "the name has to fit"
    for _ in range(5):
        with attacker() as lib:
            read_to = lib.buffer(64)
            with suppress(SandboxViolation):
                lib.race_the_name(listed, secret, ROUNDS, read_to)
            assert b"secret" not in bytes(memoryview(read_to))


def test_a_name_that_cannot_be_read(pure: ferry.Library) -> None:
    assert pure.call(OPEN, 4096, os.O_RDONLY, 0, 0, 0, 0) == -errno.EFAULT


def test_a_name_in_the_kernels_memory(pure: ferry.Library) -> None:
    assert pure.call(OPEN, -4096, os.O_RDONLY, 0, 0, 0, 0) == -errno.EFAULT


def test_a_name_that_ends_where_memory_ends() -> None:
    with attacker() as lib:
        assert lib.opens_at_the_edge(b"/dev/null", 10) > 0
        with pytest.raises(SandboxViolation, match="'/etc/shadow'"):
            lib.opens_at_the_edge(b"/etc/shadow", 12)


def test_a_name_without_an_end() -> None:
    with attacker() as lib:
        assert lib.opens_at_the_edge(b"/etc/shadow", 11) == -errno.EFAULT


@pytest.mark.parametrize("length", [4096, 5000, 1 << 20])
def test_a_name_that_is_too_long(length: int) -> None:
    with attacker() as lib:
        assert lib.opens_a_long_name(length) == -errno.ENAMETOOLONG


# ---- links ----


def test_a_link_that_leads_out_is_not_followed(
    writer: ferry.Library, folder: Path, tmp_path: Path
) -> None:
    """A link may be made, and leads nowhere: /etc is read-only, whatever it is called."""
    assert (
        writer.call(SYMLINK, path(writer, "/etc/hosts"), path(writer, folder / "l"), 0, 0, 0, 0)
        == 0
    )
    before = Path("/etc/hosts").read_bytes()
    assert writer.open_file(str(folder / "l"), os.O_WRONLY) in (-errno.EACCES, -errno.EROFS)
    assert Path("/etc/hosts").read_bytes() == before


def test_a_hard_link_to_a_file_elsewhere(writer: ferry.Library, folder: Path) -> None:
    with pytest.raises(SandboxViolation, match="/etc/hosts"):
        writer.call(LINK, path(writer, "/etc/hosts"), path(writer, folder / "l"), 0, 0, 0, 0)
    assert list(folder.iterdir()) == []


def test_a_hard_link_through_a_link(writer: ferry.Library, folder: Path) -> None:
    (folder / "etc").symlink_to("/etc")
    names = path(writer, folder / "etc/hosts"), path(writer, folder / "l")
    assert writer.call(LINK, *names, 0, 0, 0, 0) in (-errno.EXDEV, -errno.EACCES, -errno.EPERM)
    assert os.stat("/etc/hosts").st_nlink == 1


def test_moving_a_file_here(writer: ferry.Library, folder: Path) -> None:
    with pytest.raises(SandboxViolation):
        writer.call(RENAME, path(writer, "/etc/hosts"), path(writer, folder / "h"), 0, 0, 0, 0)
    assert Path("/etc/hosts").exists()


def test_moving_a_file_over_another(writer: ferry.Library, folder: Path) -> None:
    (folder / "planted").write_text("planted")
    (folder / "etc").symlink_to("/etc")
    names = path(writer, folder / "planted"), path(writer, folder / "etc/hosts")
    assert writer.call(RENAME, *names, 0, 0, 0, 0) in (-errno.EXDEV, -errno.EACCES, -errno.EROFS)
    assert Path("/etc/hosts").read_text() != "planted"


def test_a_link_that_another_thread_moves_while_it_is_opened(folder: Path, victim: Path) -> None:
    (folder / "good").write_text("good")
    profile = adding(write=(str(folder),))
    with attacker(profile) as lib:
        names = [folder / name for name in ("link", "spare", "good")]
        opened = lib.race_the_link(*(bytes(name) for name in (*names, victim)), ROUNDS)
    assert opened > 0, "the race was none"
    assert (folder / "good").read_text() == "!ood"
    assert victim.read_text() == "secret"


# ---- what is left behind for others ----


@pytest.mark.parametrize("bits", [stat.S_ISUID, stat.S_ISGID])
@pytest.mark.parametrize(
    "way", ["chmod", "fchmodat", "creat", "open", "openat", "tmpfile", "mknodat"]
)
def test_a_file_that_runs_as_its_owner(
    writer: ferry.Library, folder: Path, way: str, bits: int
) -> None:
    """Another user of this machine would only have to start it."""
    (folder / "there").write_text("#!")
    there, new = path(writer, folder / "there"), path(writer, folder / "new")
    mode = bits | 0o755
    making = os.O_CREAT | os.O_WRONLY
    call: tuple[int, ...] = {
        "chmod": (CHMOD, there, mode, 0, 0),
        "fchmodat": (FCHMODAT, AT_FDCWD, there, mode, 0),
        "creat": (CREAT, new, mode, 0, 0),
        "open": (OPEN, new, making, mode, 0),
        "openat": (OPENAT, AT_FDCWD, new, making, mode),
        "tmpfile": (OPEN, path(writer, folder), os.O_TMPFILE | os.O_WRONLY, mode, 0),
        "mknodat": (MKNODAT, AT_FDCWD, new, S_IFREG | mode, 0),
    }[way]
    assert writer.call(*call, 0, 0) == -errno.EPERM
    assert all(not file.stat().st_mode & 0o6000 for file in folder.iterdir())


def test_a_file_that_runs_as_its_owner_by_its_descriptor(
    writer: ferry.Library, folder: Path
) -> None:
    opened = writer.open_file(str(folder / "new"), os.O_CREAT | os.O_WRONLY)
    assert writer.call(FCHMOD, opened, 0o4755, 0, 0, 0, 0) == -errno.EPERM
    assert writer.call(FCHMOD, opened, 0o700, 0, 0, 0, 0) == 0
    assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o700


def test_a_device(writer: ferry.Library, folder: Path) -> None:
    sda = 8 << 8
    name = path(writer, folder / "disk")
    refused = (-errno.EPERM, -errno.EACCES)
    assert writer.call(MKNODAT, AT_FDCWD, name, S_IFCHR | 0o666, sda, 0, 0) in refused
    assert list(folder.iterdir()) == []


def test_another_owner(writer: ferry.Library, folder: Path) -> None:
    (folder / "mine").write_text("")
    refused = (-errno.EPERM, -errno.EINVAL)
    assert writer.call(CHOWN, path(writer, folder / "mine"), 12345, 12345, 0, 0, 0) in refused


def test_capabilities_of_a_file(writer: ferry.Library, folder: Path) -> None:
    """struct vfs_cap_data: revision 2, and all of them."""
    (folder / "tool").write_text("")
    name, value = (
        put(writer, b"security.capability\0"),
        struct.pack("<5I", 0x02000001, *[2**32 - 1] * 4),
    )
    file = path(writer, folder / "tool")
    assert writer.call(SETXATTR, file, name, put(writer, value), 20, 0, 0) == -errno.EPERM


def test_executing_a_file_by_its_descriptor(folder: Path) -> None:
    program = folder / "true"
    program.write_bytes(Path("/bin/true").read_bytes())
    program.chmod(0o755)
    profile = adding(read=(str(folder),), execute=("/bin/false",), processes=True)
    with sandboxed(profile) as lib:
        opened = lib.open_file(str(program), os.O_RDONLY)
        words = put(lib, struct.pack("<QQ", path(lib, "true"), 0))
        given = lib.call(EXECVEAT, opened, path(lib, ""), words, words + 8, AT_EMPTY_PATH, 0)
        assert given == -errno.EACCES
