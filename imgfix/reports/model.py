"""The published form of a report. Its version changes whenever a field changes its meaning, or goes.

Times are UTC; for texts see imgfix.reports.part.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from imgfix.rehearsal.model import RehearsalReport
from imgfix.reports.part import Part, Text

VERSION = 1


class Versions(Part):
    """What did the work. None where it could not be asked."""

    imgfix: str
    libguestfs: str | None
    qemu: str | None
    qemu_img: str | None
    python: str
    host_kernel: str
    accelerator: Text = Field(description="KVM or TCG (emulation); empty where no appliance was started")


class SourceDisk(Part):
    """The disk that was read."""

    path: Text
    format: str
    size: int = Field(description="bytes of the virtual disk")
    sha256: str | None = Field(description="of the whole file; None for a failed apply")


class OutputDisk(Part):
    """The VHD that was written."""

    path: Text
    size: int = Field(description="bytes of the virtual disk")
    file_size: int = Field(description="bytes of the file: the disk and a footer of 512 bytes")
    sha256: str | None = Field(description="of the whole file")


class ProfileUsed(Part):
    """The profile, and the digest of all its settings as `extends` and `--set` made them."""

    name: Text
    mode: Literal["generalized", "specialized"]
    sha256: str = Field(description="of the settings as JSON with sorted keys and no spaces")


class Guest(Part):
    """What the guest is."""

    id: Text
    version: Text
    pretty_name: Text
    family: str


class Generation(Part):
    """Whether the disk boots as one generation of Azure's VMs, and why."""

    number: Literal[1, 2]
    boots: bool
    reasons: tuple[Text, ...]


class Piece(Part):
    """A partition, or a volume inside one; `start` is None for a volume. Sizes in bytes."""

    name: Text = Field(description="the appliance's name: /dev/sda1, /dev/rhel/root")
    number: int | None = Field(description="of a partition")
    start: int | None
    size: int
    type: Text = Field(description="GUID (GPT) or 0xNN (MBR) of a partition")
    content: Text = Field(description="ext4, xfs, swap, LVM2_member, esp, bios-boot or empty")
    mountpoint: Text | None
    free: int | None = Field(description="bytes free, where it was mounted")
    label: Text


class Disk(Part):
    """The disk's layout at one moment."""

    scheme: Literal["gpt", "mbr"] | None
    size: int
    pieces: tuple[Piece, ...]


class Initramfs(Part):
    """The image that a kernel's boot entries load."""

    path: Text
    size: int
    compression: str
    modules: int = Field(description="number of kernel modules in it")


class Driver(Part):
    """Where a kernel has a driver: initramfs, module, built in or missing."""

    name: Text
    before: str
    after: str


class Kernel(Part):
    """One installed kernel."""

    release: Text
    image: Text
    initramfs_before: Initramfs | None
    initramfs_after: Initramfs | None
    drivers: tuple[Driver, ...]


class Package(Part):
    """One installed package."""

    name: Text
    version: Text


class PackageChange(Part):
    """A package that came, went or changed its version; None where it was not there."""

    name: Text
    before: Text | None
    after: Text | None


class Change(Part):
    """One decision that was carried out (or, in a failed apply, planned)."""

    verb: Literal[
        "write", "empty", "remove", "link", "copy", "append", "set", "run", "delete", "install", "rebuild"
    ]
    what: Text
    why: Text


class Step(Part):
    """What one step did, found to be right, and advises."""

    name: str
    requirements: tuple[str, ...] = Field(description="rows of docs/requirements.md that it serves")
    changes: tuple[Change, ...]
    right: tuple[Text, ...] = Field(description="what was right already")
    advice: tuple[Text, ...]


class Verdict(Part):
    """One requirement of Azure's, and how it came to be met. All of them are, where an apply went well."""

    id: str = Field(description="R1 to R26, or the name of what is in no row of the guide")
    title: str
    outcome: Literal["right", "changed", "advice"] = Field(
        description="right: it was already; changed: apply saw to it; advice: right, with something to know"
    )
    right: tuple[Text, ...]
    changes: tuple[Change, ...]
    advice: tuple[Text, ...]


class FileState(Part):
    """A file before or after; `sha256` is None for what is no file, and for a file that others may not read."""

    kind: Literal["file", "directory", "link", "other"]
    mode: str = Field(description="octal permission bits: 0644")
    uid: int
    gid: int
    size: int
    sha256: str | None
    target: Text | None = Field(description="of a link")


class FileChange(Part):
    """A file of the guest that an edit, a command or a rebuild changed."""

    path: Text
    step: str
    why: Text
    action: Literal["created", "changed", "removed"]
    before: FileState | None
    after: FileState | None
    diff: tuple[Text, ...] | None = Field(description="lines of a unified diff without its heading")
    no_diff: Text = Field(description="why there is none, else empty")


class Phase(Part):
    """One stretch of work; a phase may have several. Seconds."""

    name: str
    begin: float = Field(description="seconds since imgfix began")
    seconds: float


class CommandTime(Part):
    """A command of the guest that ran, in the appliance or beside it. Seconds."""

    argv: tuple[Text, ...]
    begin: float = Field(description="seconds since imgfix began")
    seconds: float
    status: int


class GuestCommand(Part):
    """A command of the guest that failed."""

    argv: tuple[Text, ...]
    status: int
    output: Text = Field(description="the end of stdout and stderr together, up to 256 KiB")
    guestfish: Text = Field(description="a shell line that runs it again")


class Failure(Part):
    """Where an apply failed, and how."""

    phase: str | None
    exit_code: int
    message: Text
    hint: Text | None
    command: GuestCommand | None
    kept: Text | None = Field(description="the work copy, where --keep-failed asked for it")


class NextStep(Part):
    """What to do with the VHD; `command` is one or more shell lines."""

    title: str
    command: Text
    note: str


class Report(Part):
    """What `imgfix apply --report FILE.json` writes."""

    format: Literal["imgfix-report"] = "imgfix-report"
    version: Literal[1] = 1
    outcome: Literal["ready", "failed"]
    began: datetime
    ended: datetime
    versions: Versions
    source: SourceDisk | None
    output: OutputDisk | None
    profile: ProfileUsed | None
    guest: Guest | None
    generations: tuple[Generation, ...]
    disk_before: Disk | None
    disk_after: Disk | None
    kernels: tuple[Kernel, ...]
    packages: tuple[Package, ...] = Field(description="all installed packages of the finished guest")
    package_changes: tuple[PackageChange, ...]
    requirements: tuple[Verdict, ...] = Field(description="empty for a failed apply")
    steps: tuple[Step, ...]
    files: tuple[FileChange, ...]
    secrets: tuple[Text, ...] = Field(
        description="what looks secret and stays: kinds and paths, never contents"
    )
    warnings: tuple[Text, ...]
    rehearsal: RehearsalReport | None = Field(description="the first boot, where --rehearse asked for it")
    phases: tuple[Phase, ...]
    commands: tuple[CommandTime, ...] = Field(description="commands of the guest, in their order")
    launches: int = Field(description="appliances that were started")
    next: tuple[NextStep, ...]
    failure: Failure | None
