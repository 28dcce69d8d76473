"""FakeTree: a guest's files in memory, for tests of everything that takes a Tree."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from imgfix.change import AppendFile, Copy, Edit, Link, Remove, SetAttributes, WriteFile
from imgfix.errors import GuestError
from imgfix.tree import Entry, Kind


@dataclass(frozen=True, slots=True)
class FakeEntry:
    """One file, folder, link or device node; `mode` None means the usual one of its kind."""

    content: bytes | str = b""
    kind: Kind = Kind.FILE
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    target: str = ""

    def data(self) -> bytes:
        """Return the content as bytes; text that came from surrogates goes back to its bytes."""
        if isinstance(self.content, str):
            return self.content.encode("utf-8", "surrogateescape")
        return self.content

    def entry(self) -> Entry:
        """Return what lstat says of this entry."""
        usual = {Kind.DIRECTORY: 0o755, Kind.LINK: 0o777}.get(self.kind, 0o644)
        mode = usual if self.mode is None else self.mode
        size = len(self.target.encode()) if self.kind is Kind.LINK else len(self.data())
        return Entry(self.kind, mode, self.uid, self.gid, size, self.target)


def link(target: str, *, uid: int = 0, gid: int = 0) -> FakeEntry:
    """Return a symbolic link to `target`."""
    return FakeEntry(kind=Kind.LINK, target=target, uid=uid, gid=gid)


def folder(mode: int = 0o755, *, uid: int = 0, gid: int = 0) -> FakeEntry:
    """Return a folder, needed only where it is empty or has a mode or owner of its own."""
    return FakeEntry(kind=Kind.DIRECTORY, mode=mode, uid=uid, gid=gid)


class FakeTree:
    """A Tree over a mapping of absolute paths; folders above a path exist without being named.

    Stricter than a real guest on purpose: a path whose folder part goes through a link leads to nothing, so
    a caller that forgot `imgfix.tree.resolve` fails in the tests and not on a usr-merged guest.
    """

    def __init__(self, files: Mapping[str, bytes | str | FakeEntry]) -> None:
        self._entries: dict[str, FakeEntry] = {"/": folder()}
        for path, value in files.items():
            self._add(path, value if isinstance(value, FakeEntry) else FakeEntry(value))

    def _add(self, path: str, entry: FakeEntry) -> None:
        if not path.startswith("/") or posixpath.normpath(path) != path:
            raise ValueError(f"{path!r} is no absolute, normal guest path")
        self._entries[path] = entry
        above = posixpath.dirname(path)
        while above != "/":
            self._entries.setdefault(above, folder())
            above = posixpath.dirname(above)

    def lstat(self, path: str) -> Entry | None:
        """See Tree.lstat."""
        found = self._entries.get(path)
        return None if found is None else found.entry()

    def read_file(self, path: str) -> bytes:
        """See Tree.read_file."""
        found = self._entries.get(path)
        if found is None or found.kind is not Kind.FILE:
            raise GuestError(f"{path}: no regular file in the guest")
        return found.data()

    def listdir(self, path: str) -> tuple[str, ...]:
        """See Tree.listdir."""
        found = self._entries.get(path)
        if found is None or found.kind is not Kind.DIRECTORY:
            return ()
        here = path.rstrip("/") + "/"
        return tuple(sorted(p[len(here) :] for p in self._entries if _is_child(p, here)))

    def edited(self, edits: Iterable[Edit]) -> FakeTree:
        """Return the tree in which `edits`, a plan's, were carried out one by one, as on a guest.

        Raises AssertionError where a guest would do something else than the plan says: write through a link.
        """
        done = FakeTree(self._entries)
        for edit in edits:
            done._do(edit)
        return done

    def _do(self, edit: Edit) -> None:
        old = self._entries.get(edit.path)
        match edit:
            case WriteFile(path, content, _, mode):
                assert old is None or old.kind is Kind.FILE, f"{path} is a {old.kind.value}"
                kept = old or FakeEntry(mode=mode)
                self._add(path, replace(kept, content=content))
            case Remove(path):
                gone = [p for p in self._entries if p == path or p.startswith(path + "/")]
                assert gone, f"{path} is not there to be removed"
                for name in gone:
                    del self._entries[name]
            case Link(path, target):
                assert old is None or old.kind is not Kind.DIRECTORY, f"{path} is a folder"
                self._add(path, link(target))
            case Copy(source, path):
                self._add(path, self._entries[source])
            case AppendFile(path, content):
                assert old is not None, f"{path} is not there to be appended to"
                self._add(path, replace(old, content=old.data() + content))
            case SetAttributes(path, mode, uid, gid):
                assert old is not None, f"{path} is not there to be given mode and owner"
                self._add(path, replace(old, mode=mode, uid=uid, gid=gid))


def _is_child(path: str, here: str) -> bool:
    rest = path.removeprefix(here)
    return path.startswith(here) and rest != "" and "/" not in rest
