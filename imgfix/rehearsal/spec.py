"""What the parent asks of the rehearsal's own process, as one line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, cast

from imgfix.accel import Accelerator
from imgfix.rehearsal.identity import Identity
from imgfix.rehearsal.machine import Controller, Hardware

Agent = Literal["cloud-init", "waagent"]


@dataclass(frozen=True, slots=True)
class Spec:
    """One rehearsal on one controller. `agent` None: whichever reports first; `timeout` in seconds, to SSH; `quiet`
    in seconds without a sign of progress behind a login prompt, after which nothing more is awaited.

    `user` None: nobody's key is known, as with a specialized image; `provisioned` False: no agent is awaited.
    """

    identity: Identity
    hardware: Hardware
    key: Path
    user: str | None
    agent: Agent | None
    provisioned: bool
    timeout: float
    quiet: float
    twice: bool = False
    kernel_update: bool = False

    @property
    def second_hardware(self) -> Hardware:
        """The second boot has no DVD, as a VM on Azure that was provisioned."""
        return replace(self.hardware, dvd=None)

    def to_json(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self), default=_plain)

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """Read what to_json wrote."""
        data = json.loads(text)
        hard = data["hardware"]
        hardware = Hardware(
            folder=Path(hard["folder"]),
            overlay=Path(hard["overlay"]),
            dvd=_path(hard["dvd"]),
            resource_disk=_path(hard["resource_disk"]),
            generation=1 if hard["generation"] == 1 else 2,
            controller=cast(Controller, hard["controller"]),
            accelerator=Accelerator(hard["accelerator"]),
            credentials=tuple(hard["credentials"]),
        )
        rest = {
            name: data[name]
            for name in ("user", "agent", "provisioned", "timeout", "quiet", "twice", "kernel_update")
        }
        return cls(Identity(**data["identity"]), hardware, Path(data["key"]), **rest)


def _plain(value: object) -> str:
    return value.value if isinstance(value, Accelerator) else str(value)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
