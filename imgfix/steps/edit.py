"""Decisions about whole files, made from pure text editors."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from imgfix import tree as files
from imgfix.change import Decision, Noop, Remove, SetAttributes, WriteFile
from imgfix.errors import GuestError, ParseError
from imgfix.tree import Entry, Kind, Tree


def edited(tree: Tree, path: str, edit: Callable[[str], str], *, reason: str, settled: str) -> Decision:
    """Decide on the file at `path` as `edit` makes it: a WriteFile with `reason`, or a Noop with `settled`.

    A file that is not there is made from an empty text. Raises ParseError with file and line.
    """
    old = files.read_text(tree, path) if files.is_file(tree, path) else ""
    with parsing(path):
        new = edit(old)
    if new == old:
        return Noop(f"{path}: {settled}")
    return WriteFile(path, new.encode("utf-8", "surrogateescape"), reason)


def written(tree: Tree, path: str, text: str, *, reason: str, mode: int = 0o644) -> Decision:
    """Decide on a file that is wholly ours: a WriteFile, or a Noop where it is like this already."""
    content = text.encode()
    if files.is_file(tree, path) and files.read(tree, path) == content:
        return Noop(f"{path}: as wanted")
    return WriteFile(path, content, reason, mode)


def placed(
    tree: Tree, path: str, content: bytes, *, mode: int = 0o644, uid: int = 0, gid: int = 0, reason: str
) -> Iterator[Decision]:
    """Decide on a file with everything that is to be so: content, permission bits, owner; a Noop where it is."""
    entry = files.stat(tree, path)
    is_file = entry is not None and entry.kind is Kind.FILE
    settled = is_file and files.read(tree, path) == content
    if not settled:
        yield WriteFile(path, content, reason, mode)
    # A file that is made anew has this mode and belongs to root; one that was there keeps what it had.
    had = (entry.mode, entry.uid, entry.gid) if entry is not None and is_file else (mode, 0, 0)
    if had != (mode, uid, gid):
        yield SetAttributes(path, mode, uid, gid, reason)
    elif settled:
        yield Noop(f"{path}: as wanted")


def removed(tree: Tree, patterns: Sequence[str], *, reason: str) -> Iterator[Decision]:
    """Decide to remove everything that matches the glob `patterns`; one Noop if nothing does.

    What is reached twice, by a link (/var/mail) or through a removed folder, goes once.
    """
    found = matching(tree, patterns)
    for path in found:
        if unfollowed(tree, path) is not None:
            yield Remove(path, reason)
    if not found:
        yield Noop(f"{reason}: nothing of the kind")


def matching(tree: Tree, patterns: Sequence[str]) -> list[str]:
    """Return what matches the glob `patterns`, each once.

    A wildcard does not lead away: `/var/log/*/*.gz` is nothing below a link from /var/log to somebody's archive.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        parts = pattern.split("/")
        fixed = next((index for index, part in enumerate(parts) if any(c in part for c in "*?[")), len(parts))
        top = files.resolve(tree, "/".join(parts[: min(fixed, len(parts) - 1)]) or "/").rstrip("/")
        for path in files.glob(tree, pattern):
            if (files.resolve(tree, posixpath.dirname(path)) + "/").startswith(top + "/"):
                found[path] = None
    return list(found)


def unfollowed(tree: Tree, path: str) -> Entry | None:
    """Return the entry at `path` itself, links followed on the way to it but not at its end; None without."""
    folder, name = posixpath.split(path)
    return tree.lstat(posixpath.join(files.resolve(tree, folder), name))


@contextmanager
def parsing(path: str) -> Iterator[None]:
    """Give a ParseError the name of the file that cannot be parsed, and the way out."""
    try:
        yield
    except ParseError as error:
        where = f"{path}:{error.line}" if error.line else path
        raise ParseError(
            f"{where}: {error.message}",
            line=error.line,
            hint=error.hint or f"mend {path} in the guest; imgfix does not rewrite what it cannot parse",
        ) from error
    except ValueError as error:
        raise GuestError(f"{path}: {error}") from error
