"""What `imgfix check --json` and `imgfix verify --json` print: the published model, with its version.

`imgfix schema readiness` prints the schema. The version changes whenever a field changes its meaning, or goes.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

from pydantic import Field

from imgfix.reports.part import Part, Text

VERSION = 1


class Status(str, Enum):
    """How a requirement stands, from best to worst."""

    READY = "ready"
    ADVICE = "advice"
    FIXED = "fixed by apply"
    BLOCKER = "blocker"

    @property
    def rank(self) -> int:
        """The higher, the worse."""
        return list(Status).index(self)


class EvidenceKind(str, Enum):
    """What a piece of evidence is about."""

    FILE = "file"
    KERNEL = "kernel"
    INITRAMFS = "initramfs"
    PARTITION = "partition"
    VOLUME = "volume"
    PACKAGE = "package"
    DISK = "disk"
    HOST = "host"


class Evidence(Part):
    """Where a finding can be seen."""

    kind: EvidenceKind
    name: Text = Field(description="path in the guest, kernel release, device, package or file of the host")
    line: int | None = Field(None, ge=1, description="line of a file, where one is to blame")
    detail: Text = Field("", description="what is there")


class Action(str, Enum):
    """What apply does to a target."""

    WRITE = "write"
    EMPTY = "empty"
    REMOVE = "remove"
    LINK = "link"
    COPY = "copy"
    APPEND = "append"
    SET = "set attributes"
    DELETE = "delete"
    INSTALL = "install"
    UNINSTALL = "uninstall"
    RUN = "run"
    REBUILD = "rebuild"


class Finding(Part):
    """One thing that was found."""

    status: Status
    text: Text = Field(description="what was found, or why apply changes it")
    step: str = Field(description="the step that found it; `disk` for the image file")
    action: Action | None = Field(None, description="what apply does; null where it does nothing")
    target: Text = Field("", description="the file, device, packages or command of the action")
    hint: Text = Field("", description="what to do about a blocker")
    evidence: tuple[Evidence, ...] = ()


class Requirement(Part):
    """One requirement with all that was found about it; its status is that of the worst finding."""

    id: str = Field(description="R1 to R26, or the name of what is in no row of the guide")
    title: str
    status: Status
    findings: tuple[Finding, ...]
    evidence: tuple[Evidence, ...] = Field((), description="what holds for the requirement as a whole")


class GenerationVerdict(Part):
    """Whether the image boots as this generation of VM, as it is now; reasons in the order of the boot."""

    generation: Literal[1, 2]
    boots: bool
    reasons: tuple[Text, ...]


class Guest(Part):
    """The Linux on the disk."""

    name: Text
    id: Text
    version: Text
    family: Text
    kernels: tuple[Text, ...]


class Disk(Part):
    """The image file that was looked at."""

    path: Text
    format: str
    size: int = Field(description="bytes of guest data, a VHD's footer not counted")


class Readiness(Part):
    """The verdict on one disk image and all that it rests on."""

    format: Literal["imgfix-readiness"] = "imgfix-readiness"
    version: Literal[1] = 1
    imgfix: str = Field(description="the version of imgfix")
    disk: Disk
    profile: Text
    mode: str
    guest: Guest
    ready: bool = Field(description="nothing is left to be fixed, and nothing is in the way")
    fixable: bool = Field(description="nothing is in the way: apply makes it ready, or it is")
    generations: tuple[GenerationVerdict, ...]
    requirements: tuple[Requirement, ...]

    def of_status(self, status: Status) -> tuple[Requirement, ...]:
        """Return the requirements that stand so."""
        return tuple(r for r in self.requirements if r.status is status)
