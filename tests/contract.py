"""What every Tree must do: the same checks for the tree in memory and for a real guest.

`FILES` is to be there, below `ROOT`, before `CHECKS` are called with the tree; `install` says how, to a shell.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator

import pytest

from imgfix import tree as t
from imgfix.errors import GuestError
from imgfix.tree import Entry, Kind, Tree
from tests.fake_tree import FakeEntry, folder, link

ROOT = "/srv/contract"

FILES: dict[str, FakeEntry] = {
    f"{ROOT}/plain": FakeEntry("one\ntwo", mode=0o640, uid=3, gid=4),
    f"{ROOT}/bytes": FakeEntry(b"caf\xe9\x00\r\n"),
    f"{ROOT}/nothing": FakeEntry(b""),
    f"{ROOT}/setuid": FakeEntry("x", mode=0o4755),
    f"{ROOT}/.hidden": FakeEntry("h"),
    f"{ROOT}/with blank": FakeEntry("b"),
    f"{ROOT}/[ab]*": FakeEntry("glob"),
    f"{ROOT}/größe": FakeEntry("u"),
    f"{ROOT}/empty": folder(0o700, uid=5, gid=6),
    f"{ROOT}/sticky": folder(0o1777),
    f"{ROOT}/d/inner": FakeEntry("inner"),
    f"{ROOT}/d/deep/leaf": FakeEntry("leaf"),
    f"{ROOT}/to-file": link("plain"),
    f"{ROOT}/to-folder": link("d"),
    f"{ROOT}/absolute": link(f"{ROOT}/d/deep"),
    f"{ROOT}/upward": link("../../../../../../srv/contract/plain"),
    f"{ROOT}/chain": link("to-folder/inner"),
    f"{ROOT}/dangling": link("/nowhere/at/all"),
    f"{ROOT}/loop": link("pool"),
    f"{ROOT}/pool": link("loop"),
}

_IS_NO_FILE = ("missing", "d", "to-file", "dangling", "loop", "plain/below", "to-folder/inner", "missing/x")


def install() -> str:
    """Return a shell script that makes FILES, to be run as root in a guest."""
    return "set -e\n" + "".join(
        f"{line}\n" for path, entry in FILES.items() for line in _commands(path, entry)
    )


def _commands(path: str, entry: FakeEntry) -> Iterator[str]:
    name = shlex.quote(path)
    if entry.kind is Kind.LINK:
        yield f"ln -sfn {shlex.quote(entry.target)} {name}"
        return
    if entry.kind is Kind.DIRECTORY:
        yield f"mkdir -p {name}"
    else:
        escaped = "".join(f"\\{byte:03o}" for byte in entry.data())
        yield f"mkdir -p {shlex.quote(path.rpartition('/')[0])}"
        yield f"printf '{escaped}' > {name}"
    yield f"chown {entry.uid}:{entry.gid} {name}"
    yield f"chmod {entry.entry().mode:o} {name}"


def check_lstat(tree: Tree) -> None:
    """Each entry is what it is; a folder's size is the file system's own business."""
    for path, fake in FILES.items():
        found = tree.lstat(path)
        assert found is not None, path
        wanted = fake.entry()
        size = found.size if fake.kind is Kind.DIRECTORY else wanted.size
        assert found == Entry(fake.kind, wanted.mode, fake.uid, fake.gid, size, fake.target), path


def check_root(tree: Tree) -> None:
    """The root folder is there and lists what is in it."""
    root = tree.lstat("/")
    assert root is not None
    assert root.kind is Kind.DIRECTORY
    assert "srv" in tree.listdir("/")


def check_missing(tree: Tree) -> None:
    """What is not there, and what is below a file or a link, has no entry: callers resolve links first."""
    for name in ("missing", "missing/x", "plain/below", "to-folder/inner", "dangling/x", "loop/x", "Plain"):
        assert tree.lstat(f"{ROOT}/{name}") is None, name


def check_read(tree: Tree) -> None:
    """Contents come byte for byte."""
    for path, fake in FILES.items():
        if fake.kind is Kind.FILE:
            assert tree.read_file(path) == fake.data(), path


def check_read_refuses(tree: Tree) -> None:
    """What is no regular file cannot be read, and the error names it."""
    for name in _IS_NO_FILE:
        with pytest.raises(GuestError) as caught:
            tree.read_file(f"{ROOT}/{name}")
        assert f"{ROOT}/{name}" in caught.value.message, name


def check_listdir(tree: Tree) -> None:
    """Names are sorted, hidden ones too; what is no folder has none."""
    names = {path.removeprefix(f"{ROOT}/").partition("/")[0] for path in FILES}
    assert tree.listdir(ROOT) == tuple(sorted(names))
    assert tree.listdir(f"{ROOT}/d") == ("deep", "inner")
    for name in ("empty", "plain", "missing", "to-folder", "dangling", "loop"):
        assert tree.listdir(f"{ROOT}/{name}") == (), name


def check_resolve(tree: Tree) -> None:
    """Links are followed inside the guest; the end need not exist."""
    ends = {
        "to-file": f"{ROOT}/plain",
        "upward": f"{ROOT}/plain",
        "chain": f"{ROOT}/d/inner",
        "absolute/leaf": f"{ROOT}/d/deep/leaf",
        "to-folder/deep/../inner": f"{ROOT}/d/inner",
        "absolute/../inner": f"{ROOT}/d/inner",
        "dangling": "/nowhere/at/all",
    }
    for name, end in ends.items():
        assert t.resolve(tree, f"{ROOT}/{name}") == end, name
    assert t.read_text(tree, f"{ROOT}/chain") == "inner"
    assert not t.exists(tree, f"{ROOT}/dangling")
    assert t.is_dir(tree, f"{ROOT}/absolute")
    assert not t.is_file(tree, f"{ROOT}/absolute")


def check_loops(tree: Tree) -> None:
    """A loop of links is an error, not a hang."""
    for name in ("loop", "pool", "loop/x"):
        with pytest.raises(GuestError, match="too many symbolic links"):
            t.stat(tree, f"{ROOT}/{name}")


def check_glob(tree: Tree) -> None:
    """Patterns go through links, leave hidden names out, and an escaped bracket is one."""
    found = {
        "[dt]*/inner": ("d/inner", "to-folder/inner"),
        ".h*": (".hidden",),
        "d*": ("d", "dangling"),
        "[[]ab]*": ("[ab]*",),
        "with?blank": ("with blank",),
        "absolute/*": ("absolute/leaf",),
        "plain/*": (),
        "missing/*": (),
        "loop/*": (),
        "loo?/x": (),
    }
    for pattern, names in found.items():
        assert t.glob(tree, f"{ROOT}/{pattern}") == tuple(f"{ROOT}/{n}" for n in names), pattern


CHECKS: tuple[Callable[[Tree], None], ...] = (
    check_lstat,
    check_root,
    check_missing,
    check_read,
    check_read_refuses,
    check_listdir,
    check_resolve,
    check_loops,
    check_glob,
)
