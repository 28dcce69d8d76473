"""The requirements, and which of them a step's decision is about: tables, and no rules of their own.

A decision belongs to every requirement whose row matches it, else to those of its step in DEFAULTS. What the guide has
no row for (the network, the profile's own files) has a name instead of a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from imgfix.facts.model import Facts
from imgfix.steps.command_line import needs_numa_off

TITLES: dict[str, str] = {
    "R1": "the image is a fixed VHD",
    "R2": "it boots as Generation 1 (BIOS) or 2 (UEFI)",
    "R3": "VFAT and UDF in every kernel",
    "R4": "its size is one that Azure takes",
    "R5": "no LVM on the OS disk",
    "R6": "numa=off for old kernels",
    "R7": "no swap on the OS disk",
    "R8": "its size is a whole number of MiB, the GPT's backup at its end",
    "R9": "no users, secrets and software of the old machine",
    "R10": "Hyper-V drivers in every initramfs",
    "R11": "qemu-img writes no wrong sizes",
    "R12": "every kernel has Hyper-V drivers",
    "R13": "Azure Linux Agent present, new enough, enabled",
    "R14": "kernel command line",
    "R15": "GRUB's configuration is up to date",
    "R16": "SSH server installed, starts at boot",
    "R17": "packages that Azure needs",
    "R18": "swap on the resource disk as the profile says",
    "R19": "provisioning as the profile says",
    "R20": "mounts and disk_setup in cloud-init's init stage",
    "R21": "Azure is cloud-init's only datasource",
    "R22": "no swap file of the agent",
    "R23": "cloud-init's output goes to a log",
    "R24": "generalized or specialized as the profile says",
    "R25": "it can be uploaded to Azure",
    "R26": "login and logs on the serial console",
    "network": "DHCP on the first network card",
    "storage": "volumes, and names of disks",
    "profile": "files, commands and first boot of the profile",
    "labels": "SELinux labels",
}

#: The requirements of a step's decisions that no row says more about.
DEFAULTS: dict[str, tuple[str, ...]] = {
    "packages": ("R17",),
    "files": ("profile",),
    "storage": ("storage",),
    "swap": ("R7",),
    "lvm": ("R5",),
    "fstab": ("storage",),
    "kernel_args": ("R14",),
    "kernel_modules": ("R3",),
    "initramfs": ("R10",),
    "grub_terminal": ("R26",),
    "grub": ("R15",),
    "firmware": ("R2",),
    "cloud_init": ("R19",),
    "agent": ("R13",),
    "waagent": ("R18", "R19"),
    "services": ("R17",),
    "ssh": ("R24",),
    "leftovers": ("R9",),
    "platforms": ("R9",),
    "users": ("R9",),
    "generalize": ("R24",),
    "network": ("network",),
    "first_boot": ("profile",),
    "secrets": ("R9",),
    "commands": ("profile",),
    "selinux": ("labels",),
}


@dataclass(frozen=True, slots=True)
class Row:
    """Decisions of `step` whose words (verb, target, reason) hold `pattern` are about `requirements`.

    `when` asks the facts whether the row counts at all.
    """

    step: str
    pattern: str
    requirements: tuple[str, ...]
    when: Callable[[Facts], bool] = lambda _: True


def _is_old(facts: Facts) -> bool:
    return any(needs_numa_off(kernel.release) for kernel in facts.kernels)


_AGENT = r"(?i:waagent|walinuxagent|azure-agent|Azure Linux Agent)"

ROWS: tuple[Row, ...] = (
    Row("packages", r"^install ", ("R17",)),
    Row("packages", r"packages are missing", ("R17",)),
    Row("packages", _AGENT, ("R13",)),
    Row("packages", r"openssh|ssh server", ("R16",)),
    Row("packages", r"purge|only another platform", ("R9",)),
    Row("packages", r"every package is installed", ("R13", "R16", "R17")),
    Row("swap", r"/mnt/resource/swapfile", ("R22",)),
    Row("swap", r"no swap partition, volume or file|keeps swap", ("R7", "R22")),
    Row("kernel_args", r"", ("R14",)),
    Row("kernel_args", r"", ("R6",), when=_is_old),
    Row("kernel_modules", r"\b(udf|vfat|fat)\b", ("R3",)),
    Row("kernel_modules", r"\b(hv_\w+|nvme|mana|mlx\w+)\b", ("R10",)),
    Row("kernel_modules", r"cannot run on Hyper-V", ("R12",)),
    Row("kernel_modules", r"nothing in modprobe\.d", ("R3", "R10")),
    Row("initramfs", r"cannot run on Hyper-V|no bootable kernel", ("R12",)),
    Row("initramfs", r"waits for removed swap", ("R7", "R10")),
    Row("cloud_init", r"init stage", ("R20",)),
    Row("cloud_init", r"datasource|keeps cloud-init from using Azure", ("R21",)),
    Row("cloud_init", r"cloud-init's output|log of cloud-init", ("R23",)),
    Row("cloud_init", r"\bswap\b", ("R18",)),
    Row("waagent", r"is missing", ("R13",)),
    Row("services", r"(?i:\bssh)", ("R16",)),
    Row("services", _AGENT, ("R13",)),
    Row("services", r"tty|serial|getty|console", ("R26",)),
    Row("ssh", r"host keys", ("R16", "R24")),
    Row("users", r"a history of", ("R24",)),
)


def requirements_of(step: str, words: str, facts: Facts) -> tuple[str, ...]:
    """Return the requirements, in the order of TITLES, that a decision of `step` in `words` is about."""
    found = {
        requirement
        for row in ROWS
        if row.step == step and re.search(row.pattern, words) and row.when(facts)
        for requirement in row.requirements
    }
    return tuple(r for r in TITLES if r in (found or DEFAULTS[step]))


def covered_by(step: str) -> tuple[str, ...]:
    """Return every requirement that decisions of `step` may be about."""
    rows = {requirement for row in ROWS if row.step == step for requirement in row.requirements}
    return tuple(r for r in TITLES if r in rows | set(DEFAULTS[step]))


#: Steps that look at what packages bring: until they are installed, what these advise of is not yet so.
AFTER_PACKAGES = frozenset({"agent", "cloud_init", "services", "ssh", "waagent"})

_NOTHING = "the profile asks for nothing here"

#: Steps that may change more when packages come along: those, and who clears away what the installation leaves, has
#: cloud-init keep off the network, and labels what is new.
UNFORESEEN = AFTER_PACKAGES | {"generalize", "network", "selinux"}

#: What it means that no decision is about a requirement.
SILENT: dict[str, str] = dict.fromkeys(TITLES, _NOTHING) | {
    "R3": "every kernel has them, and nothing disables them",
    "R6": "every kernel is new enough to do without",
    "R7": "no swap partition, volume or file",
    "R10": "no initramfs needs them",
    "R12": "every kernel has hv_vmbus, hv_storvsc and hv_netvsc",
    "R18": "neither cloud-init nor the agent is there to make any",
    "R20": "cloud-init is not there, or does not provision",
    "R21": "cloud-init is not there, or does not provision",
    "R22": "it is not there",
    "R23": "cloud-init is not there, or does not provision",
}
