"""Carrying a plan out on a guest. The only place where decisions become acts."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Protocol

from imgfix import tree as files
from imgfix.change import (
    AppendFile,
    Copy,
    Edit,
    Finish,
    Link,
    Rebuild,
    RebuildKind,
    Remove,
    RunCommand,
    SetAttributes,
    WriteFile,
)
from imgfix.disk.fault import boundary
from imgfix.errors import ApplyError, CommandError, FailedCommand
from imgfix.guest import CommandResult, Guest
from imgfix.plan import Plan
from imgfix.textedit import grubcfg
from imgfix.wording import without_place

#: How each Finish changes the text that a generator made.
FINISHES: dict[Finish, Callable[[str], str]] = {Finish.FOR_UEFI: grubcfg.for_uefi}

#: Paths that one call of setfiles gets; reading the policy takes it longer than this many files.
_BATCH = 500


class HostRebuilder(Protocol):
    """Carries out rebuilds outside the appliance."""

    def rebuild(self, rebuild: Rebuild) -> None:
        """Carry `rebuild` out; raises ImgfixError."""


def apply(plan: Plan, guest: Guest, say: Callable[[str], None], host: HostRebuilder | None = None) -> None:
    """Carry out the edits, then the profile's commands, then the rebuilds, each in their order.

    `host` does those rebuilds that are not for the appliance. Raises ApplyError; then nothing is published.
    """
    for number, edit in enumerate(plan.edits):
        if isinstance(edit, AppendFile):
            say(f"appending {-(-len(edit.content) // 1024)} KiB to initramfs {edit.path}")
        _edit(edit, guest)
        boundary(f"edit-{number}")
    for command in plan.commands:
        say(f"running in the guest: {command.name}")
        _run(command, guest)
    for rebuild in plan.rebuilds:
        why = without_place(rebuild.reason, rebuild.target)
        if rebuild.kind is RebuildKind.SELINUX_LABELS:
            _label(rebuild, guest, say)
            continue
        say(f"rebuilding {rebuild.kind.value} {rebuild.target}: {why}")
        if rebuild.on_host:
            assert host is not None
            host.rebuild(rebuild)
            continue
        for argv in rebuild.commands:
            check(rebuild, argv, guest.run(argv))
        if rebuild.finish is not None:
            _finish(rebuild.target, FINISHES[rebuild.finish], guest)


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
        case SetAttributes(path, mode, uid, gid):
            guest.set_attributes(path, mode, uid, gid)


def _label(rebuild: Rebuild, guest: Guest, say: Callable[[str], None]) -> None:
    """Label what has none, whoever wrote it: imgfix, a generator or a package."""
    paths = guest.unlabelled()
    say(f"setting SELinux labels of {len(paths)} files and folders")
    for start in range(0, len(paths), _BATCH):
        for argv in rebuild.commands:
            command = (*argv, *paths[start : start + _BATCH])
            check(rebuild, argv, guest.run(command))


def _finish(path: str, edit: Callable[[str], str], guest: Guest) -> None:
    old = guest.read_file(path)
    new = edit(old.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    if new != old:
        guest.write(path, new, 0o644)


def _run(command: RunCommand, guest: Guest) -> None:
    """Run a command of the profile and see that it did what it is for."""
    result = guest.run(command.argv)
    hint = "try the command in the booted guest; in the appliance it has no network and no running services"
    if result.status:
        raise CommandError(
            f"the profile's command {command.name!r} failed in the guest with status {result.status}: "
            f"`{shlex.join(command.argv)}`:\n{result.output.strip() or 'no output'}",
            command=FailedCommand(command.argv, result.status, result.output),
            hint=hint,
        )
    if command.creates is not None and not files.exists(guest, command.creates):
        raise ApplyError(
            f"the profile's command {command.name!r} has run, and {command.creates}, which it creates, is not there",
            hint=hint,
        )
    if command.removes is not None and files.exists(guest, command.removes):
        raise ApplyError(
            f"the profile's command {command.name!r} has run, and {command.removes}, which it removes, is still there",
            hint=hint,
        )
    if command.stamp is not None:
        guest.write(command.stamp, command.token.encode(), 0o644)


def check(rebuild: Rebuild, argv: tuple[str, ...], result: CommandResult) -> None:
    """Raise CommandError where a command of a rebuild has failed."""
    if result.status:
        raise CommandError(
            f"{rebuild.target} cannot be rebuilt ({rebuild.reason}): `{' '.join(argv)}` failed in the guest with "
            f"status {result.status}:\n{result.output.strip()}",
            command=FailedCommand(argv, result.status, result.output),
            hint="run the command in the booted guest; once it works there it works here",
        )
