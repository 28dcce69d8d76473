"""What happens during a rehearsal: events with their seconds, and the stages that a first boot goes through."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum


class Stage(IntEnum):
    """How far a boot has come; each stage needs the ones before it."""

    FIRMWARE = 0
    BOOT_LOADER = 1
    KERNEL = 2
    INITRAMFS = 3
    ROOT = 4
    INIT = 5
    NETWORK = 6
    DATASOURCE = 7
    PROVISIONING = 8
    READY = 9
    SSH = 10

    @property
    def words(self) -> str:
        """The stage in words."""
        return _WORDS[self]


_WORDS = {
    Stage.FIRMWARE: "firmware",
    Stage.BOOT_LOADER: "boot loader",
    Stage.KERNEL: "kernel",
    Stage.INITRAMFS: "initramfs",
    Stage.ROOT: "root file system",
    Stage.INIT: "init",
    Stage.NETWORK: "network",
    Stage.DATASOURCE: "datasource",
    Stage.PROVISIONING: "provisioning",
    Stage.READY: "Ready",
    Stage.SSH: "SSH",
}


class Kind(str, Enum):
    """What an event is about."""

    STARTED = "started"
    CONSOLE = "console"
    LOGIN = "login"
    SCREEN = "screen"
    DHCP = "dhcp"
    IMDS = "imds"
    WIRESERVER = "wireserver"
    NOT_READY = "not ready"
    READY = "ready"
    FAILED = "failed"
    SSH = "ssh"
    ANSWERS = "answers"
    SHUTDOWN = "shutdown"
    OFF = "off"
    DEAD = "dead end"
    TIMEOUT = "time-out"
    HOST = "host"


#: What an event of the host's side proves; the console's stages come from `console`.
STAGE_OF = {
    Kind.DHCP: Stage.NETWORK,
    Kind.IMDS: Stage.DATASOURCE,
    Kind.WIRESERVER: Stage.DATASOURCE,
    Kind.NOT_READY: Stage.PROVISIONING,
    Kind.FAILED: Stage.PROVISIONING,
    Kind.READY: Stage.READY,
    Kind.SSH: Stage.SSH,
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened `at` seconds after QEMU's start; `stage` is what it proves, `boot` counts from 1."""

    at: float
    kind: Kind
    text: str
    stage: Stage | None = None
    boot: int = 1
