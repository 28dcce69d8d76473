"""Faults planted into a prepared image, each rehearsed: does the verdict name the stage and the cause?

    python -m tests.rehearsal.faults PREPARED.vhd FOLDER [NAME ...]

PREPARED.vhd is a Debian 13 that cloud-init provisions (the test disk `debian13`, applied). Without an appliance:
debugfs edits the ext4 inside a sparse copy. Prints a row of a table for each: fault, stage, cause, seconds. Exit 1 if
any verdict is another.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imgfix.interrupt import Interrupts
from imgfix.progress import Progress
from imgfix.rehearsal.events import Stage
from imgfix.rehearsal.machine import Controller
from imgfix.rehearsal.rehearse import Generation, Request, Result, rehearse
from imgfix.rehearsal.spec import Agent

MENU = "/boot/grub/grub.cfg"


class Image:
    """A copy of the prepared image; its largest partition is the ext4 root."""

    def __init__(self, path: Path) -> None:
        self.path = path
        table = json.loads(subprocess.run(("sfdisk", "--json", path), capture_output=True, check=True).stdout)
        parts = table["partitiontable"]["partitions"]
        self._offset = max(parts, key=lambda part: int(part["size"]))["start"] * 512

    def debugfs(self, command: str) -> str:
        """Run one command of debugfs(8) that may write."""
        argv = ("debugfs", "-w", "-R", command, f"{self.path}?offset={self._offset}")
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    def write(self, path: str, text: str) -> None:
        """Make or replace a file."""
        mine = self.path.with_suffix(".file")
        mine.write_text(text)
        self.debugfs(f"rm {path}")
        self.debugfs(f"write {mine} {path}")
        self.debugfs(f"sif {path} mode 0100644")
        self.debugfs(f"sif {path} uid 0")

    def change(self, path: str, pattern: str, new: str) -> None:
        """Replace what a pattern finds in a file; it must find something."""
        old = self.debugfs(f"cat {path}")
        changed = re.sub(pattern, new, old)
        assert changed != old, f"{pattern} is not in {path}"
        self.write(path, changed)

    def names(self, folder: str) -> list[str]:
        """List a folder."""
        return [
            line.split("/")[5] for line in self.debugfs(f"ls -p {folder}").splitlines() if line.count("/") > 5
        ]

    def overwrite(self, at: int, data: bytes) -> None:
        """Overwrite bytes of the disk."""
        with self.path.open("r+b") as stream:
            stream.seek(at)
            stream.write(data)


@dataclass(frozen=True, slots=True)
class Fault:
    """A planted fault and the verdict that it shall have: a stage and a cause, or an answer that is a no.

    `controller` None tries all of them; `timeout` in seconds is short where the fault shows early.
    """

    name: str
    plant: Callable[[Image], None]
    stage: Stage | None
    cause: str
    agent: Agent | None = "cloud-init"
    generation: Generation = "auto"
    controller: Controller | None = "virtio-scsi"
    timeout: float = 600.0


def _damage_initramfs(image: Image) -> None:
    (name,) = [name for name in image.names("/boot") if name.startswith("initrd.img")]
    image.debugfs(f"rm /boot/{name}")
    image.write(f"/boot/{name}", "this is no archive\n" * 500)


def _rename_kernel(image: Image) -> None:
    (name,) = [name for name in image.names("/boot") if name.startswith("vmlinuz")]
    image.debugfs(f"unlink /boot/{name}")


def _mask(*units: str) -> Callable[[Image], None]:
    def plant(image: Image) -> None:
        for unit in units:
            image.debugfs(f"unlink /etc/systemd/system/{unit}")
            image.debugfs(f"symlink /etc/systemd/system/{unit} /dev/null")

    return plant


def _removed(path: str) -> Callable[[Image], None]:
    def plant(image: Image) -> None:
        image.debugfs(f"unlink {path}")

    return plant


def _fstab(line: str) -> Callable[[Image], None]:
    return lambda image: image.change("/etc/fstab", r"\Z", line)


def _static_network(image: Image) -> None:
    image.write(
        "/etc/network/interfaces",
        "auto lo eth0\niface lo inet loopback\niface eth0 inet static\n  address 192.0.2.10/24\n",
    )


FAULTS = (
    Fault("no EFI loader", lambda image: None, Stage.FIRMWARE, "no removable loader", generation="2"),
    Fault("no boot code", lambda image: image.overwrite(0, bytes(440)), Stage.FIRMWARE, "no boot code",
          generation="1"),
    Fault("GRUB's modules gone", _removed("/boot/grub/i386-pc/normal.mod"),
          Stage.BOOT_LOADER, "grub rescue"),
    Fault("menu gone", _removed(MENU), Stage.BOOT_LOADER, "grub prompt"),
    Fault("kernel gone", _rename_kernel, Stage.BOOT_LOADER, "kernel not found"),
    Fault("initramfs damaged", _damage_initramfs, Stage.INITRAMFS, "initramfs damaged"),
    Fault("no initramfs", lambda image: image.change(MENU, r"(?m)^\tinitrd.*$", ""), Stage.ROOT,
          "unknown root device"),
    Fault("root by disk name", lambda image: image.change(MENU, r"root=UUID=\S+", "root=/dev/vda2"), Stage.ROOT,
          "root by disk name"),
    Fault("wrong UUID", lambda image: image.change(MENU, r"root=UUID=e", "root=UUID=f"), Stage.ROOT,
          "root not found", controller=None),
    Fault("rootdelay", lambda image: image.change(MENU, r"net\.ifnames=0", "net.ifnames=0 rootdelay=300"),
          Stage.ROOT, "rootdelay sleep", timeout=60),
    Fault("no init", _removed("/usr/sbin/init"), Stage.INIT, "no init"),
    Fault("fstab names a disk that is gone", _fstab("UUID=11111111-2222-3333-4444-55555 /d ext4 defaults 0 2\n"),
          Stage.INIT, "fstab device missing"),
    Fault("static network", _static_network, Stage.NETWORK, "no network after provisioning"),
    Fault("cloud-init disabled", lambda image: image.write("/etc/cloud/cloud-init.disabled", ""),
          Stage.DATASOURCE, "cloud-init disabled"),
    Fault("cloud-init disabled by the kernel",
          lambda image: image.change(MENU, r"net\.ifnames=0", "net.ifnames=0 cloud-init=disabled"),
          Stage.DATASOURCE, "cloud-init disabled by the kernel"),
    Fault("another datasource",
          lambda image: image.write("/etc/cloud/cloud.cfg.d/91-azure_datasource.cfg", "datasource_list: [ None ]\n"),
          Stage.DATASOURCE, "no datasource"),
    Fault("sshd masked", _mask("ssh.service", "ssh.socket", "sshd.service"), Stage.SSH, "sshd not running"),
    Fault("keys refused",
          lambda image: image.write("/etc/ssh/sshd_config.d/00-site.conf", "PubkeyAuthentication no\n"),
          Stage.SSH, "key refused"),
    Fault("no serial console", lambda image: image.change(MENU, r"(console|earlyprintk)=\S*ttyS0\S*", ""),
          None, "serial console"),
)  # fmt: skip


def file_name(fault: Fault) -> str:
    """Return the fault's name as a file has it."""
    return re.sub("[^a-zA-Z]+", "-", fault.name)


def planted(fault: Fault, prepared: Path, folder: Path) -> Path:
    """Return a sparse copy of the prepared image with the fault in it."""
    path = folder / f"{file_name(fault)}.vhd"
    subprocess.run(("cp", "--sparse=always", "--reflink=auto", prepared, path), check=True)
    fault.plant(Image(path))
    return path


def verdict(fault: Fault, prepared: Path, folder: Path) -> Result:
    """Plant a fault, rehearse, remove the copy."""
    path = planted(fault, prepared, folder)
    try:
        request = Request(
            path,
            generation=fault.generation,
            agent=fault.agent,
            controller=fault.controller,
            timeout=fault.timeout,
            quiet=60,
        )
        return rehearse(request, Progress(), Interrupts())
    finally:
        path.unlink()


def seen(result: Result) -> tuple[Stage | None, str]:
    """Return what a rehearsal's verdict is, as a fault has it."""
    cause = result.attempt.cause
    if cause is not None:
        return cause.stage, cause.name
    wrong = [answer.name for answer in result.attempt.answers if answer.ok is False]
    return None, ", ".join(wrong) or "passed"


def main() -> int:
    """Plant one fault after the other; returns the exit status."""
    prepared, folder, *names = sys.argv[1:]
    wrong = 0
    for fault in FAULTS:
        if names and fault.name not in names:
            continue
        result = verdict(fault, Path(prepared), Path(folder))
        attempt = result.attempt
        stage, cause = seen(result)
        is_right = (stage, cause) == (fault.stage, fault.cause)
        wrong += not is_right
        end = max((event.at for event in attempt.events), default=0.0)
        print(
            f"| {fault.name} | {_words(stage)} | {cause} | {end:.0f} | {'' if is_right else 'WRONG'} |",
            flush=True,
        )
        (Path(folder) / f"{file_name(fault)}.log").write_text(attempt.console)
        if not is_right:
            print(f"wanted {_words(fault.stage)}, {fault.cause}; {attempt.cause}; reached {attempt.reached}")
            for event in attempt.events[-12:]:
                print(f"   {event.at:.1f} {event.kind.value}: {event.text[:200]}")
            print("   | " + "\n   | ".join(attempt.console.splitlines()[-8:]), flush=True)
    return 1 if wrong else 0


def _words(stage: Stage | None) -> str:
    return "came to SSH" if stage is None else stage.words


if __name__ == "__main__":
    sys.exit(main())
