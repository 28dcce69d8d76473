"""Tree: a guest's files, read-only. What facts and steps see of a guest, real or in memory."""

from __future__ import annotations

import fnmatch
import posixpath
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from imgfix.errors import GuestError

#: More symbolic links than this on the way to one file is a loop, as in the kernel (MAXSYMLINKS).
MAX_LINKS = 40


class Kind(Enum):
    """What a path is, as far as imgfix cares."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Entry:
    """One lstat: `mode` is the permission bits (no type bits), `size` in bytes, `target` of a link."""

    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    target: str = ""


class Tree(Protocol):
    """A guest's file tree. Paths are absolute guest paths; no method writes, none follows the last link."""

    def lstat(self, path: str) -> Entry | None:
        """Return the entry at `path` (its folder part resolved by the caller), or None."""

    def read_file(self, path: str) -> bytes:
        """Return the content of the regular file at `path`; raises GuestError if it is none."""

    def listdir(self, path: str) -> tuple[str, ...]:
        """Return the sorted names in the folder `path`; empty if it is no folder."""


def resolve(tree: Tree, path: str) -> str:
    """Return `path` with every symbolic link followed inside the guest; the end need not exist.

    Raises GuestError on a loop of links. A link never leads out of the guest: `..` stops at `/`.
    """
    done = "/"
    ahead = [part for part in path.split("/") if part not in ("", ".")]
    links = 0
    while ahead:
        part = ahead.pop(0)
        if part == "..":
            done = posixpath.dirname(done)
            continue
        here = posixpath.join(done, part)
        entry = tree.lstat(here)
        if entry is None or entry.kind is not Kind.LINK:
            done = here
            continue
        links += 1
        if links > MAX_LINKS:
            raise GuestError(f"{path}: too many symbolic links in the guest")
        if entry.target.startswith("/"):
            done = "/"
        ahead = [p for p in entry.target.split("/") if p not in ("", ".")] + ahead
    return done


def stat(tree: Tree, path: str) -> Entry | None:
    """Return the entry that `path` leads to, links followed, or None."""
    return tree.lstat(resolve(tree, path))


def exists(tree: Tree, path: str) -> bool:
    """Tell whether `path` leads to anything."""
    return stat(tree, path) is not None


def is_file(tree: Tree, path: str) -> bool:
    """Tell whether `path` leads to a regular file."""
    entry = stat(tree, path)
    return entry is not None and entry.kind is Kind.FILE


def is_dir(tree: Tree, path: str) -> bool:
    """Tell whether `path` leads to a folder."""
    entry = stat(tree, path)
    return entry is not None and entry.kind is Kind.DIRECTORY


def read(tree: Tree, path: str) -> bytes:
    """Return the bytes of the file that `path` leads to; raises GuestError if it leads to none."""
    return tree.read_file(resolve(tree, path))


def read_text(tree: Tree, path: str) -> str:
    """Return the text of the file that `path` leads to, byte for byte recoverable.

    Bytes that are not UTF-8 come as surrogates, so that encoding the text again gives the same file.
    """
    return read(tree, path).decode("utf-8", "surrogateescape")


def names(tree: Tree, path: str) -> tuple[str, ...]:
    """Return the sorted names in the folder that `path` leads to; empty if it leads to none."""
    return tree.listdir(resolve(tree, path))


def glob(tree: Tree, pattern: str) -> tuple[str, ...]:
    """Return the paths that match `pattern`, sorted; `*` and `?` never match a slash or a leading dot.

    A link that leads in a circle has nothing below it.
    """
    found = ["/"]
    for part in (p for p in pattern.split("/") if p):
        wild = any(c in part for c in "*?[")
        step: list[str] = []
        for base in found:
            try:
                folder = resolve(tree, base)
            except GuestError:
                continue
            if not wild:
                if tree.lstat(posixpath.join(folder, part)) is not None:
                    step.append(posixpath.join(base, part))
                continue
            step += [
                posixpath.join(base, name)
                for name in tree.listdir(folder)
                if fnmatch.fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
            ]
        found = step
    return tuple(sorted(found))
