"""What a plan makes of each file: before and after, told from the guest as it is. Pure: it reads a Tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imgfix import tree as files
from imgfix.change import AppendFile, Copy, Link, Remove, SetAttributes, WriteFile
from imgfix.draft import Draft
from imgfix.plan import Item, Plan
from imgfix.tree import Entry, Kind, Tree

#: A file larger than this (bytes) is not compared line by line: no configuration is that long.
MAX_TEXT = 1 << 20
_OTHERS_READ = 0o004


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a file changes, and which step says so."""

    step: str
    text: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One path of the guest that the plan's edits change; None before or after means that nothing is there.

    `old` and `new` are the contents of what is a regular file and is text of at most MAX_TEXT bytes, else None.
    `source` is the path that a copy is made from.
    """

    path: str
    before: Entry | None
    after: Entry | None
    old: bytes | None
    new: bytes | None
    reasons: tuple[Reason, ...]
    source: str | None = None

    @property
    def is_text(self) -> bool:
        """Tell whether both sides, as far as there are two, can be compared line by line."""
        return (self.old is not None or not _is_file(self.before)) and self.new is not None

    @property
    def is_private(self) -> bool:
        """Tell whether others may not read the file, so that its text is no matter for a report.

        Menus of GRUB are as private on Enterprise Linux, and seldom hold a secret.
        """
        before = self.before
        return before is not None and not before.mode & _OTHERS_READ and not self.path.startswith("/boot/")

    @property
    def first_line(self) -> int | None:
        """The first line of the old text that changes, counted from 1; None where there is no old text."""
        if self.old is None or self.new is None or self.old == self.new:
            return None
        old, new = self.old.split(b"\n"), self.new.split(b"\n")
        same = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), None)
        return min(len(old), len(new)) if same is None else same + 1


def differences(plan: Plan, guest: Tree) -> tuple[Difference, ...]:
    """Return what the plan's edits change in `guest`, in the order in which each path is first edited.

    What is removed with its folder is not listed besides. Rebuilds and commands are no edits: their results are not
    known before they have run.
    """
    draft = Draft(guest)
    touched: dict[str, list[Item]] = {}
    for item in plan.items:
        if isinstance(item.decision, WriteFile | Remove | Link | Copy | AppendFile | SetAttributes):
            draft.stage(item.decision)
            touched.setdefault(item.decision.path, []).append(item)
    found = (_difference(path, items, guest, draft) for path, items in touched.items())
    return tuple(d for d in found if (d.before, d.old) != (d.after, d.new))


def _difference(path: str, items: list[Item], guest: Tree, draft: Draft) -> Difference:
    before, after = guest.lstat(path), draft.lstat(path)
    source = next((i.decision.source for i in items if isinstance(i.decision, Copy)), None)
    reasons = tuple(dict.fromkeys(_reasons(items)))
    # What is removed or copied as a whole is not read: it may be a log of any size, or an initramfs.
    is_whole = after is None or source is not None or (after.kind is Kind.FILE and after.size == 0)
    old = None if is_whole else _text(guest, path, before)
    new = None if source is not None else _text(draft, path, after)
    return Difference(path, before, after, old, new, reasons, source)


def _reasons(items: list[Item]) -> Iterator[Reason]:
    for item in items:
        decision = item.decision
        if isinstance(decision, WriteFile | Remove | Link | Copy | AppendFile | SetAttributes):
            yield Reason(item.step, decision.reason)


def _is_file(entry: Entry | None) -> bool:
    return entry is not None and entry.kind is Kind.FILE


def _text(tree: Tree, path: str, entry: Entry | None) -> bytes | None:
    if entry is None or entry.kind is not Kind.FILE or entry.size > MAX_TEXT:
        return None
    content = files.read(tree, path)
    return None if b"\0" in content else content
