"""The guest-side path rules of imgfix.tree, on the tree in memory."""

from __future__ import annotations

import pytest

from imgfix import tree as t
from imgfix.errors import GuestError
from imgfix.tree import Kind, Tree
from tests.fake_tree import FakeEntry, FakeTree, folder, link


@pytest.fixture
def guest() -> Tree:
    return FakeTree(
        {
            "/etc/fstab": FakeEntry("/dev/sda1 / ext4\n", mode=0o600, uid=3, gid=4),
            "/etc/latin": b"caf\xe9\n",
            "/etc/.hidden": "",
            "/usr/lib/os-release": "ID=debian\n",
            "/etc/os-release": link("../usr/lib/os-release"),
            "/lib": link("usr/lib"),
            "/abs": link("/usr/lib"),
            "/escape": link("../../../../etc"),
            "/dangling": link("/nowhere/at/all"),
            "/loop": link("/pool"),
            "/pool": link("loop"),
            "/self/inner": link("../self/inner/x"),
            "/dev/null": FakeEntry(kind=Kind.OTHER, mode=0o666),
            "/empty": folder(0o700),
        }
    )


@pytest.mark.parametrize(
    ("path", "end"),
    [
        ("/etc/fstab", "/etc/fstab"),
        ("etc//./fstab", "/etc/fstab"),
        ("/", "/"),
        ("/etc/os-release", "/usr/lib/os-release"),
        ("/lib/os-release", "/usr/lib/os-release"),
        ("/abs/os-release", "/usr/lib/os-release"),
        ("/escape/fstab", "/etc/fstab"),
        ("/../../etc/fstab", "/etc/fstab"),
        ("/lib/../fstab", "/usr/fstab"),
        ("/dangling", "/nowhere/at/all"),
        ("/dangling/more", "/nowhere/at/all/more"),
        ("/new/file", "/new/file"),
    ],
)
def test_resolve(guest: Tree, path: str, end: str) -> None:
    assert t.resolve(guest, path) == end


@pytest.mark.parametrize("path", ["/loop", "/pool/deeper", "/self/inner"])
def test_a_loop_of_links_is_refused(guest: Tree, path: str) -> None:
    with pytest.raises(GuestError, match="too many symbolic links"):
        t.resolve(guest, path)


@pytest.mark.parametrize("count", [t.MAX_LINKS, t.MAX_LINKS + 1])
def test_the_number_of_links_is_the_kernels(count: int) -> None:
    files: dict[str, str | FakeEntry] = {f"/l{i}": link(f"l{i + 1}") for i in range(count)}
    chain = FakeTree({**files, f"/l{count}": "end"})
    if count <= t.MAX_LINKS:
        assert t.read_text(chain, "/l0") == "end"
    else:
        with pytest.raises(GuestError):
            t.read(chain, "/l0")


def test_what_a_path_is(guest: Tree) -> None:
    assert t.exists(guest, "/lib/os-release")
    assert not t.exists(guest, "/dangling")
    assert t.is_file(guest, "/etc/os-release")
    assert not t.is_file(guest, "/lib")
    assert not t.is_file(guest, "/dev/null")
    assert t.is_dir(guest, "/lib")
    assert t.is_dir(guest, "/empty")
    assert not t.is_dir(guest, "/etc/fstab")


def test_stat_tells_mode_owner_and_size(guest: Tree) -> None:
    entry = t.stat(guest, "/escape/fstab")
    assert entry == t.Entry(Kind.FILE, 0o600, 3, 4, 17)
    below_a_file = t.stat(guest, "/etc/fstab/x")
    assert below_a_file is None
    assert t.stat(guest, "/") == t.Entry(Kind.DIRECTORY, 0o755)


def test_read_keeps_bytes_that_are_not_utf8(guest: Tree) -> None:
    text = t.read_text(guest, "/etc/latin")
    assert text.encode("utf-8", "surrogateescape") == b"caf\xe9\n" == t.read(guest, "/etc/latin")


@pytest.mark.parametrize("path", ["/etc", "/dangling", "/dev/null", "/nothing"])
def test_read_refuses_what_is_no_file(guest: Tree, path: str) -> None:
    with pytest.raises(GuestError, match="no regular file"):
        t.read(guest, path)


def test_names(guest: Tree) -> None:
    assert t.names(guest, "/etc") == (".hidden", "fstab", "latin", "os-release")
    assert t.names(guest, "/abs") == ("os-release",)
    assert t.names(guest, "/empty") == t.names(guest, "/etc/fstab") == t.names(guest, "/no") == ()


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("/etc/*", ("/etc/fstab", "/etc/latin", "/etc/os-release")),
        ("/etc/.*", ("/etc/.hidden",)),
        ("/lib/os-*", ("/lib/os-release",)),
        ("/etc/[fl]*", ("/etc/fstab", "/etc/latin")),
        ("/etc/fsta?", ("/etc/fstab",)),
        ("/etc/fstab", ("/etc/fstab",)),
        ("/dangling", ("/dangling",)),
        ("/etc/x*", ()),
        ("/no/where/*", ()),
        ("/", ("/",)),
    ],
)
def test_glob(guest: Tree, pattern: str, paths: tuple[str, ...]) -> None:
    assert t.glob(guest, pattern) == paths


def test_glob_goes_through_links_and_passes_a_loop_by(guest: Tree) -> None:
    usr_merged = FakeTree({"/usr/lib/x": "", "/etc/x": "", "/abs": link("/usr/lib"), "/lib": link("usr/lib")})
    assert t.glob(usr_merged, "/*/x") == ("/abs/x", "/etc/x", "/lib/x")
    with pytest.raises(GuestError):
        t.resolve(guest, "/loop/x")
    assert t.glob(guest, "/*/os-release")
    assert t.glob(guest, "/loop/x") == ()


def test_fake_refuses_paths_that_are_not_normal() -> None:
    for path in ("etc/fstab", "/etc/", "/etc/../fstab"):
        with pytest.raises(ValueError, match="guest path"):
            FakeTree({path: ""})


def test_fake_does_not_follow_links_by_itself(guest: Tree) -> None:
    assert guest.lstat("/lib/os-release") is None
    assert guest.listdir("/lib") == ()
    link_itself = guest.lstat("/lib")
    assert link_itself == t.Entry(Kind.LINK, 0o777, size=7, target="usr/lib")
