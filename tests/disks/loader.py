"""GRUB for BIOS put on a disk natively: what grub-install and grub-mkconfig do in an appliance, in two seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .host import DiskError
from .image import SECTOR
from .root import Root

PLATFORM = "i386-pc"

# Offsets in boot.img, and of the first block list in the first sector of core.img (GRUB's include/grub/i386/pc/boot.h
# and grub-core/boot/i386/pc/diskboot.S). The jump is what grub-bios-setup, too, replaces on hard disks.
_KERNEL_SECTOR = 0x5C
_DRIVE_CHECK = 0x66
_BIOS_PARAMETERS = slice(0x3, 0x5A)
_PARTITION_TABLE = slice(0x1B8, SECTOR)
_FIRST_BLOCK = SECTOR - 12


@dataclass(frozen=True, slots=True)
class RootDevice:
    """What grub-probe would find: the partition as the guest names it, GRUB's name, its file system."""

    device: str
    grub: str  # hd0,msdos1
    uuid: str
    partmap: str  # msdos, gpt
    filesystem: str = "ext2"

    def answers(self) -> Mapping[str, str]:
        return {
            "device": self.device,
            "fs": self.filesystem,
            "fs_uuid": self.uuid,
            "partmap": self.partmap,
            "drive": f"({self.grub})",
            "compatibility_hint": self.grub,
            "hints_string": f"--hint-bios={self.grub} --hint-efi={self.grub} --hint-baremetal=ahci{self.grub[2:]}",
        }


def install_files(root: Root, folder: str = "/boot/grub") -> None:
    """The modules that GRUB loads from the file system, as grub-install copies them."""
    for pattern in ("*.mod", "*.lst"):
        for file in root.at(f"/usr/lib/grub/{PLATFORM}").glob(pattern):
            root.write(f"{folder}/{PLATFORM}/{file.name}", file.read_bytes())


def make_core(root: Root, prefix: str, modules: tuple[str, ...]) -> bytes:
    """core.img with the modules that reach `prefix`, such as (,msdos1)/boot/grub."""
    path = "/tmp/core.img"
    root.chroot("grub-mkimage", "-O", PLATFORM, "-p", prefix, "-o", path, *modules)
    core = root.at(path).read_bytes()
    root.remove(path)
    return core


def embed(disk: Path, root: Root, core: bytes, start: int, room: int) -> None:
    """Put boot.img into the disk's first sector and `core` at sector `start`, where `room` bytes are free."""
    if len(core) > room:
        raise DiskError(f"core.img has {len(core)} bytes, {room} are free before the first file system")
    boot = bytearray(root.at(f"/usr/lib/grub/{PLATFORM}/boot.img").read_bytes())
    image = bytearray(core)
    boot[_KERNEL_SECTOR : _KERNEL_SECTOR + 8] = start.to_bytes(8, "little")
    boot[_DRIVE_CHECK : _DRIVE_CHECK + 2] = b"\x90\x90"
    image[_FIRST_BLOCK : _FIRST_BLOCK + 8] = (start + 1).to_bytes(8, "little")
    with disk.open("r+b") as file:
        old = file.read(SECTOR)
        boot[_BIOS_PARAMETERS] = old[_BIOS_PARAMETERS]
        boot[_PARTITION_TABLE] = old[_PARTITION_TABLE]
        file.seek(0)
        file.write(boot)
        file.seek(start * SECTOR)
        file.write(image)


def write_config(root: Root, device: RootDevice, path: str = "/boot/grub/grub.cfg") -> None:
    """grub.cfg by the guest's own grub-mkconfig, with a grub-probe that answers for the disk to come."""
    probe = root.at("/usr/sbin/grub-probe")
    real = probe.with_name("grub-probe.real")
    probe.rename(real)
    lines = "".join(
        f"    *--target={name}\\ *) echo '{value}' ;;\n" for name, value in device.answers().items()
    )
    root.write("/usr/sbin/grub-probe", f'#!/bin/sh\ncase "$* " in\n{lines}    *) : ;;\nesac\n', 0o755)
    try:
        root.chroot("env", "GRUB_DISABLE_OS_PROBER=true", "grub-mkconfig", "-o", path)
    finally:
        real.replace(probe)
    # The generator asks for /dev/disk/by-uuid, which this host has not, and falls back on the disk's name.
    text = root.at(path).read_text().replace(f"root={device.device} ", f"root=UUID={device.uuid} ")
    if f"root=UUID={device.uuid}" not in text:
        raise DiskError(f"{path} does not name the root by UUID")
    root.write(path, text, 0o600)
