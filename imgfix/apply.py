"""Carrying a plan out on a guest. The only place where decisions become acts."""

from __future__ import annotations

from collections.abc import Callable

from imgfix.change import (
    AppendFile,
    Copy,
    Edit,
    Link,
    Rebuild,
    RebuildKind,
    Remove,
    WriteFile,
)
from imgfix.errors import ApplyError
from imgfix.guest import CommandResult, Guest
from imgfix.plan import Plan

#: Paths that one call of setfiles gets; reading the policy takes it longer than this many files.
_BATCH = 500


def apply(plan: Plan, guest: Guest, say: Callable[[str], None]) -> None:
    """Carry out the edits, then the rebuilds, in their order. Raises ApplyError; then nothing is published."""
    for edit in plan.edits:
        if isinstance(edit, AppendFile):
            why = edit.reason.removeprefix(edit.path).lstrip(": ")
            say(f"appending {len(edit.content)} bytes to initramfs {edit.path}: {why}")
        _edit(edit, guest)
    for rebuild in plan.rebuilds:
        why = rebuild.reason.removeprefix(rebuild.target).lstrip(": ")
        if rebuild.kind is RebuildKind.SELINUX_LABELS:
            _label(rebuild, guest, say)
            continue
        say(f"rebuilding {rebuild.kind.value} {rebuild.target}: {why}")
        for argv in rebuild.commands:
            _check(rebuild, argv, guest.run(argv))


def _edit(edit: Edit, guest: Guest) -> None:
    match edit:
        case WriteFile(path, content, _, mode):
            guest.write(path, content, mode)
        case Remove(path):
            guest.remove(path)
        case Link(path, target):
            guest.link(path, target)
        case Copy(source, path):
            guest.copy(source, path)
        case AppendFile(path, content):
            guest.append(path, content)


def _label(rebuild: Rebuild, guest: Guest, say: Callable[[str], None]) -> None:
    """Label what has none, whoever wrote it: imgfix, a generator or a package."""
    paths = guest.unlabelled()
    say(f"setting SELinux labels of {len(paths)} files and folders")
    for start in range(0, len(paths), _BATCH):
        for argv in rebuild.commands:
            command = (*argv, *paths[start : start + _BATCH])
            _check(rebuild, argv, guest.run(command))


def _check(rebuild: Rebuild, argv: tuple[str, ...], result: CommandResult) -> None:
    if result.status:
        raise ApplyError(
            f"{rebuild.target} cannot be rebuilt ({rebuild.reason}): `{' '.join(argv)}` failed in the guest with "
            f"status {result.status}:\n{result.output.strip()}",
            hint="run the command in the booted guest; once it works there it works here",
        )
