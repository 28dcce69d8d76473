"""Draft: a Tree over a Tree. Decisions are staged in it, so that later steps see what earlier ones decided."""

from __future__ import annotations

import posixpath
from dataclasses import replace

from imgfix import tree
from imgfix.change import AppendFile, Copy, Decision, Link, Remove, SetAttributes, WriteFile
from imgfix.errors import GuestError
from imgfix.tree import Entry, Kind, Tree


class Draft:
    """Implements `imgfix.tree.Tree`. `stage` takes a decision in; the tree below is never touched."""

    def __init__(self, base: Tree) -> None:
        self._base = base
        self._entries: dict[str, Entry] = {}
        self._contents: dict[str, bytes] = {}
        self._copies: dict[str, str] = {}
        self._appended: dict[str, bytes] = {}
        self._removed: set[str] = set()

    def lstat(self, path: str) -> Entry | None:
        """Return the entry at `path` as it would be, or None."""
        if path in self._entries:
            return self._entries[path]
        return None if self._is_hidden(path) else self._base.lstat(path)

    def read_file(self, path: str) -> bytes:
        """Return the content that the file at `path` would have; raises GuestError if it is none."""
        entry = self.lstat(path)
        if entry is None or entry.kind is not Kind.FILE:
            raise GuestError(f"{path}: no such regular file in the guest")
        # What lies below never changes, so that a copy can be read from its source when it is asked for.
        below = self._contents.get(path)
        content = self._base.read_file(self._copies.get(path, path)) if below is None else below
        return content + self._appended.get(path, b"")

    def listdir(self, path: str) -> tuple[str, ...]:
        """Return the sorted names that the folder `path` would have; empty if it would be no folder."""
        entry = self.lstat(path)
        if entry is None or entry.kind is not Kind.DIRECTORY:
            return ()
        below = () if self._is_hidden(path) else self._base.listdir(path)
        names = {name for name in below if self.lstat(posixpath.join(path, name)) is not None}
        names |= {posixpath.basename(p) for p in self._entries if posixpath.dirname(p) == path}
        return tuple(sorted(names))

    def stage(self, decision: Decision) -> Decision:
        """Take `decision` into the draft and return it with its path resolved; others pass through unchanged.

        Raises GuestError for what could not be carried out: a file written where a folder is, a copy of nothing.
        """
        match decision:
            case WriteFile():
                decision = replace(decision, path=tree.resolve(self, decision.path))
                self._write(decision.path, decision.content, decision.mode)
            case AppendFile():
                decision = replace(decision, path=tree.resolve(self, decision.path))
                self._append(decision.path, decision.content)
            case Copy():
                source, path = tree.resolve(self, decision.source), self._in_folder(decision.path)
                decision = replace(decision, source=source, path=path)
                self._copy(source, path)
            case Link():
                decision = replace(decision, path=self._in_folder(decision.path))
                self._put(decision.path, Entry(Kind.LINK, mode=0o777, target=decision.target))
            case Remove():
                decision = replace(decision, path=self._in_folder(decision.path))
                self._forget_below(decision.path)
                self._removed.add(decision.path)
            case SetAttributes():
                decision = replace(decision, path=tree.resolve(self, decision.path))
                self._set_attributes(decision)
            case _:
                pass
        return decision

    def _in_folder(self, path: str) -> str:
        """Resolve the folder of `path` but not its last part: a link is itself removed or replaced."""
        folder, name = posixpath.split(path)
        return posixpath.join(tree.resolve(self, folder), name)

    def _copy(self, source: str, path: str) -> None:
        entry = self.lstat(source)
        if entry is None or entry.kind is not Kind.FILE:
            raise GuestError(f"{source}: no such regular file in the guest, to be copied to {path}")
        content, origin = self._contents.get(source), self._copies.get(source, source)
        appended = self._appended.get(source)
        self._put(path, entry)
        if appended is not None:
            self._appended[path] = appended
        if content is None:
            self._copies[path] = origin
        else:
            self._contents[path] = content

    def _write(self, path: str, content: bytes, mode: int) -> None:
        old = self.lstat(path)
        if old is not None and old.kind is Kind.DIRECTORY:
            raise GuestError(f"{path}: a folder in the guest, where a file is to be written")
        base = old if old is not None and old.kind is Kind.FILE else Entry(Kind.FILE, mode=mode)
        self._put(path, replace(base, size=len(content)))
        self._contents[path] = content

    def _append(self, path: str, content: bytes) -> None:
        """Not read before somebody asks: what is appended to is an initramfs."""
        old = self.lstat(path)
        if old is None or old.kind is not Kind.FILE:
            raise GuestError(f"{path}: no such regular file in the guest, to append to")
        self._entries[path] = replace(old, size=old.size + len(content))
        self._appended[path] = self._appended.get(path, b"") + content

    def _set_attributes(self, change: SetAttributes) -> None:
        entry = self.lstat(change.path)
        if entry is None:
            raise GuestError(f"{change.path}: not in the guest, so it has no mode and owner to be set")
        # Not by _put: what is in a file or a folder, here or in the tree below, stays.
        self._entries[change.path] = replace(entry, mode=change.mode, uid=change.uid, gid=change.gid)

    def _put(self, path: str, entry: Entry) -> None:
        folder = posixpath.dirname(path)
        above = self.lstat(folder)
        if above is None:
            self._put(folder, Entry(Kind.DIRECTORY, mode=0o755))
        elif above.kind is not Kind.DIRECTORY:
            raise GuestError(f"{folder}: not a folder in the guest, where {path} is to go")
        self._contents.pop(path, None)
        self._copies.pop(path, None)
        self._appended.pop(path, None)
        self._entries[path] = entry

    def _forget_below(self, path: str) -> None:
        for known in [p for p in self._entries if p == path or p.startswith(path + "/")]:
            del self._entries[known]
            self._contents.pop(known, None)
            self._copies.pop(known, None)
            self._appended.pop(known, None)

    def _is_hidden(self, path: str) -> bool:
        """Tell whether `path`, or a folder above it, was removed: the tree below does not show through."""
        return any(path == gone or path.startswith(gone + "/") for gone in self._removed)
