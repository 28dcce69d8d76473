"""Decisions: what a step wants done to a guest, as values with a reason. Nothing here acts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Make the file at `path` hold `content`; a new file gets `mode` and root, an existing one keeps its own."""

    path: str
    content: bytes
    reason: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the file, link or whole folder at `path`."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Link:
    """Make `path` a symbolic link to `target`; used to enable systemd units without running the guest."""

    path: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy the file at `source` to `path` inside the guest, with mode, owner and xattrs."""

    source: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class AppendFile:
    """Put `content` behind what the file at `path` holds; other names of the same file (hard links) keep theirs."""

    path: str
    content: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class SetAttributes:
    """Give the file or folder at `path` these permission bits and this owner (numbers, as the guest has them)."""

    path: str
    mode: int
    uid: int
    gid: int
    reason: str


@dataclass(frozen=True, slots=True)
class RemoveSwapDevice:
    """Erase a swap area, which holds pages of the old machine's memory, and delete its partition or volume.

    `partition` is its number, None for what is no partition; `volume` tells whether it is a logical volume.
    """

    device: str
    partition: int | None
    volume: bool
    reason: str


@dataclass(frozen=True, slots=True)
class InstallPackages:
    """Install packages with the guest's own package manager.

    `packages` are names; one may be alternatives with ` | ` between them. With `files` (and `parallel` ones, which
    stay beside their other versions) they are in the folder that the user gave, all that they need included; no
    repository is asked. Files are named as in the folder.
    """

    manager: str
    packages: tuple[str, ...]
    reason: str
    files: tuple[str, ...] = ()
    parallel: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RemovePackages:
    """Remove packages with the guest's own `tool`, dpkg or rpm, which resolve nothing: all of them are named."""

    tool: str
    packages: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Run a command of the guest in a chroot in the appliance, after the edits and before the rebuilds.

    `name` says what it is for. Afterwards `creates` must be there and `removes` gone. `stamp` is a file that
    remembers that it has run, with `token`, which changes with the command and with what it depends on.
    """

    name: str
    argv: tuple[str, ...]
    reason: str
    creates: str | None = None
    removes: str | None = None
    stamp: str | None = None
    token: str = ""


class RebuildKind(Enum):
    """Rebuilds in the order in which they run."""

    DEPMOD = "depmod"
    INITRAMFS = "initramfs"
    GRUB_CONFIG = "grub config"
    SELINUX_LABELS = "selinux labels"


class Finish(Enum):
    """A pure edit of what a generator made, where the appliance is not the machine it thinks it runs on."""

    FOR_UEFI = "linuxefi"


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Run the guest's own generator; `commands` are argv tuples, `target` the file that they make.

    `finish` is applied to the file when they have run. `kernel` is the release that an initramfs is for; `on_host`
    has its commands run in a sandbox of this host, on a copy of the guest's files, and not in the appliance.
    """

    kind: RebuildKind
    target: str
    commands: tuple[tuple[str, ...], ...]
    reason: str
    finish: Finish | None = None
    kernel: str = ""
    on_host: bool = False


@dataclass(frozen=True, slots=True)
class Noop:
    """Nothing to do, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Advice:
    """Something the user should know and imgfix does not change."""

    text: str


Edit: TypeAlias = WriteFile | Remove | Link | Copy | AppendFile | SetAttributes
Change: TypeAlias = Edit | RemoveSwapDevice | InstallPackages | RemovePackages | RunCommand | Rebuild
Decision: TypeAlias = Change | Noop | Advice
