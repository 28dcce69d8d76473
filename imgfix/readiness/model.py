"""What `imgfix check --json` and `imgfix verify --json` print: the published model, with its version.

The schema is printed by `imgfix check --schema`. A new field raises the minor number of VERSION, a field that is
removed or means something else the major one. Texts of the guest are as they are in it, not escaped.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

VERSION: Literal["1.0"] = "1.0"
SCHEMA_ID = f"imgfix-readiness-{VERSION}"


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


class _Published(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Evidence(_Published):
    """Where a finding can be seen."""

    kind: EvidenceKind
    name: str = Field(description="path in the guest, kernel release, device, package or file of the host")
    line: int | None = Field(None, ge=1, description="line of a file, where one is to blame")
    detail: str = Field("", description="what is there")


class Action(str, Enum):
    """What apply does to a target."""

    WRITE = "write"
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


class Finding(_Published):
    """One thing that was found."""

    status: Status
    text: str = Field(description="what was found, or why apply changes it")
    step: str = Field(description="the step that found it; `disk` for the image file")
    action: Action | None = Field(None, description="what apply does; null where it does nothing")
    target: str = Field("", description="the file, device, packages or command of the action")
    hint: str = Field("", description="what to do about a blocker")
    evidence: tuple[Evidence, ...] = ()


class Requirement(_Published):
    """One requirement with all that was found about it; its status is that of the worst finding."""

    id: str = Field(description="R1 to R26, or the name of what is in no row of the guide")
    title: str
    status: Status
    findings: tuple[Finding, ...]
    evidence: tuple[Evidence, ...] = Field((), description="what holds for the requirement as a whole")


class GenerationVerdict(_Published):
    """Whether the image boots as this generation of VM, as it is now; reasons in the order of the boot."""

    generation: Literal[1, 2]
    boots: bool
    reasons: tuple[str, ...]


class Guest(_Published):
    """The Linux on the disk."""

    name: str
    id: str
    version: str
    family: str
    kernels: tuple[str, ...]


class Disk(_Published):
    """The image file that was looked at."""

    path: str
    format: str
    size: int = Field(description="bytes of guest data, a VHD's footer not counted")


class Readiness(_Published):
    """The verdict on one disk image and all that it rests on."""

    version: Literal["1.0"] = VERSION
    imgfix: str = Field(description="the version of imgfix")
    disk: Disk
    profile: str
    mode: str
    guest: Guest
    ready: bool = Field(description="nothing is left to be fixed, and nothing is in the way")
    fixable: bool = Field(description="nothing is in the way: apply makes it ready, or it is")
    generations: tuple[GenerationVerdict, ...]
    requirements: tuple[Requirement, ...]

    def of_status(self, status: Status) -> tuple[Requirement, ...]:
        """Return the requirements that stand so."""
        return tuple(r for r in self.requirements if r.status is status)


def schema() -> dict[str, Any]:
    """Return the JSON schema of Readiness."""
    found = Readiness.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **found}
