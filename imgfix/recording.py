"""What an apply does to each file: its state before and after, for the reports. Reads the guest, never changes it."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from imgfix import tree as files
from imgfix.change import AppendFile, Copy, Link, Remove, RunCommand, SetAttributes, WriteFile
from imgfix.errors import GuestError
from imgfix.plan import Plan
from imgfix.tree import Kind, Tree
from imgfix.wording import told

#: A text larger than this (bytes) is not shown; both sides of every file are in memory at once.
MAX_TEXT = 128 << 10
#: Bytes of texts that are kept altogether.
MAX_TEXTS = 16 << 20
#: Others may read it: what a file without this bit holds is no matter for a report.
_OTHERS_READ = 0o004
#: Folders whose menus Enterprise Linux keeps from others' eyes, though they seldom hold a secret.
_MENUS = ("/boot/grub/", "/boot/grub2/", "/boot/efi/EFI/", "/boot/loader/")


class Readable(Tree, Protocol):
    """A guest's files, of which the digest can be told without reading them here."""

    def sha256(self, path: str) -> str:
        """Return the hexadecimal digest of the regular file at `path`."""


@dataclass(frozen=True, slots=True)
class FileState:
    """One file at one moment; `size` in bytes. `sha256` and `text` are None where they cannot be told or shown.

    `hidden` says why the text is not shown, "" where it is; `target` is that of a link.
    """

    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    sha256: str | None = None
    text: str | None = None
    hidden: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that was planned to change; None before or after means that it was not there."""

    path: str
    reason: str
    step: str
    before: FileState | None
    after: FileState | None


@dataclass(frozen=True, slots=True)
class _Planned:
    path: str
    step: str
    reason: str


class Recorder:
    """Takes down the planned files twice. `planned` are in the order of the plan, each once."""

    def __init__(self, plan: Plan) -> None:
        self._planned = tuple({p.path: p for p in reversed(tuple(_planned(plan)))}.values())[::-1]
        self._before: dict[str, FileState | None] = {}
        self._left = MAX_TEXTS

    def look(self, guest: Readable) -> None:
        """Take down the states before the first change."""
        self._before = {planned.path: self._state(guest, planned.path) for planned in self._planned}

    def look_again(self, guest: Readable) -> tuple[FileChange, ...]:
        """Return what has changed since; what is as it was is left out."""
        changes = (
            FileChange(p.path, p.reason, p.step, self._before[p.path], self._state(guest, p.path))
            for p in self._planned
        )
        return tuple(change for change in changes if change.before != change.after)

    def _state(self, guest: Readable, path: str) -> FileState | None:
        try:
            # The folder part of what is gone may be gone as well, or be a link.
            real = posixpath.join(files.resolve(guest, posixpath.dirname(path)), posixpath.basename(path))
            entry = guest.lstat(real)
        except GuestError:
            return None
        if entry is None:
            return None
        state = FileState(entry.kind, entry.mode, entry.uid, entry.gid, entry.size, target=entry.target)
        return self._read(guest, real, state) if entry.kind is Kind.FILE else state

    def _read(self, guest: Readable, path: str, state: FileState) -> FileState:
        if state.size > MAX_TEXT or state.size > self._left:
            why = f"{state.size} bytes" if state.size > MAX_TEXT else "too many texts in this report"
            return _with(state, guest.sha256(path), None, why)
        content = guest.read_file(path)
        digest = hashlib.sha256(content).hexdigest()
        if b"\0" in content:
            return _with(state, digest, None, "no text")
        text = content.decode("utf-8", "surrogateescape")
        if not state.mode & _OTHERS_READ and not (path.startswith(_MENUS) and "password" not in text):
            return _with(state, None, None, "others may not read it")
        self._left -= len(content)
        return _with(state, digest, text, "")


def _with(state: FileState, sha256: str | None, text: str | None, hidden: str) -> FileState:
    return FileState(
        state.kind, state.mode, state.uid, state.gid, state.size, sha256, text, hidden, state.target
    )


def _planned(plan: Plan) -> Iterable[_Planned]:
    """The files that the edits, commands and rebuilds of a plan name; a later reason for a file gives way."""
    for item in plan.changes:
        decision = item.decision
        reason = told(decision).why
        if isinstance(decision, WriteFile | Remove | Link | Copy | AppendFile | SetAttributes):
            yield _Planned(decision.path, item.step, reason)
        elif isinstance(decision, RunCommand):
            for path in (decision.creates, decision.removes, decision.stamp):
                if path is not None:
                    yield _Planned(path, item.step, reason)
    for rebuild in plan.rebuilds:
        step = next(item.step for item in plan.changes if item.decision == rebuild)
        yield _Planned(rebuild.target, step, told(rebuild).why)
