"""Draft: a Tree over a Tree. Decisions are staged in it, so that later steps see what earlier ones decided."""

from __future__ import annotations

import posixpath
from dataclasses import replace

from imgfix import tree
from imgfix.change import Copy, Decision, Link, Remove, WriteFile
from imgfix.errors import GuestError
from imgfix.tree import Entry, Kind, Tree


class Draft:
    """Implements `imgfix.tree.Tree`. `stage` takes a decision in; the tree below is never touched."""

    def __init__(self, base: Tree) -> None:
        self._base = base
        self._entries: dict[str, Entry] = {}
        self._contents: dict[str, bytes] = {}
        self._removed: set[str] = set()

    def lstat(self, path: str) -> Entry | None:
        """Return the entry at `path` as it would be, or None."""
        if path in self._entries:
            return self._entries[path]
        return None if self._is_hidden(path) else self._base.lstat(path)

    def read_file(self, path: str) -> bytes:
        """Return the content that the file at `path` would have; raises GuestError if it is none."""
        if path in self._contents:
            return self._contents[path]
        if self.lstat(path) is None:
            raise GuestError(f"{path}: no such regular file in the guest")
        return self._base.read_file(path)

    def listdir(self, path: str) -> tuple[str, ...]:
        """Return the sorted names that the folder `path` would have."""
        below = () if self._is_hidden(path) else self._base.listdir(path)
        names = {name for name in below if self.lstat(posixpath.join(path, name)) is not None}
        names |= {posixpath.basename(p) for p in self._entries if posixpath.dirname(p) == path}
        return tuple(sorted(names))

    def stage(self, decision: Decision) -> Decision:
        """Take `decision` into the draft and return it with its path resolved; others pass through unchanged."""
        match decision:
            case WriteFile():
                decision = replace(decision, path=tree.resolve(self, decision.path))
                self._write(decision.path, decision.content, decision.mode)
            case Copy():
                decision = replace(decision, source=tree.resolve(self, decision.source))
                self._write(decision.path, b"", 0o600)
                del self._contents[decision.path]
            case Link():
                decision = replace(decision, path=self._in_folder(decision.path))
                self._put(decision.path, Entry(Kind.LINK, mode=0o777, target=decision.target))
            case Remove():
                decision = replace(decision, path=self._in_folder(decision.path))
                self._forget_below(decision.path)
                self._removed.add(decision.path)
            case _:
                pass
        return decision

    def _in_folder(self, path: str) -> str:
        """Resolve the folder of `path` but not its last part: a link is itself removed or replaced."""
        folder, name = posixpath.split(path)
        return posixpath.join(tree.resolve(self, folder), name)

    def _write(self, path: str, content: bytes, mode: int) -> None:
        old = self.lstat(path)
        base = old if old is not None and old.kind is Kind.FILE else Entry(Kind.FILE, mode=mode)
        self._put(path, replace(base, size=len(content)))
        self._contents[path] = content

    def _put(self, path: str, entry: Entry) -> None:
        folder = posixpath.dirname(path)
        if folder != path and self.lstat(folder) is None:
            self._put(folder, Entry(Kind.DIRECTORY, mode=0o755))
        self._contents.pop(path, None)
        self._entries[path] = entry

    def _forget_below(self, path: str) -> None:
        for known in [p for p in self._entries if p == path or p.startswith(path + "/")]:
            del self._entries[known]
            self._contents.pop(known, None)

    def _is_hidden(self, path: str) -> bool:
        """Tell whether `path`, or a folder above it, was removed: the tree below does not show through."""
        return any(path == gone or path.startswith(gone + "/") for gone in self._removed)
