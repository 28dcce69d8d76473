"""The smallest guest: GPT, an ext4 for /boot, one for all else, swap behind it. Built without an appliance."""

from __future__ import annotations

from pathlib import Path

from . import image, phony
from .host import run
from .image import LINUX, MIB, SWAP, Partition

SIZE = 64 * MIB
BOOT_MIB, SWAP_MIB = 8, 8
BOOT_START = MIB
ROOT_START = BOOT_START + BOOT_MIB * MIB
#: A byte of the disk that no file of the guest uses.
FREE = ROOT_START + 28 * MIB
#: Bytes at which there is something to read: MBR, GPT, the file system's superblock, its group descriptors, data.
SECTORS = (0, 512, ROOT_START + 1024, ROOT_START + 4096, ROOT_START + 70 * 4096)
BOOT_UUID = "c4a81d60-3b5e-4f92-9d07-6e2f1a8b4c35"
ROOT_UUID = "7e0c5b9a-2d41-4f6f-8a37-5d1b9c3e8f42"
GUIDS = (
    "0b2e6c1a-7d5f-4a39-8c04-f1e2d3c4b5a6",
    "2d408e3c-9f71-4c5b-ae26-1304f5e6d7c8",
    "6f1b9e52-8a3c-4d70-b5e4-90c7d2a1f386",
)
FSTAB = (
    "LABEL=root / ext4 defaults 0 1\nLABEL=boot /boot ext4 defaults 0 2\nPARTLABEL=swap none swap sw 0 0\n"
)


def build(disk: Path, folder: Path) -> Path:
    """Build it at `disk`; `folder` is scratch, and left with files in it."""
    root, boot = phony.lay_apart(folder, "plain", FSTAB)
    image.create(disk, SIZE)
    partitions = (
        Partition(3, BOOT_MIB, LINUX, "boot", GUIDS[2]),
        Partition(1, SIZE // MIB - BOOT_MIB - SWAP_MIB - 4, LINUX, "root", GUIDS[0]),
        Partition(2, SWAP_MIB, SWAP, "swap", GUIDS[1]),
    )
    image.write_gpt(disk, "9f3d1e57-4c8a-4f2b-a6d0-b1c2d3e4f506", partitions)
    phony.plant_boot_code(disk)
    (start, length), (swap, swap_length) = (image.extents(disk)[number] for number in (1, 2))
    image.make_ext4(disk, root, start, length, uuid=ROOT_UUID, label="root")
    image.make_ext4(disk, boot, BOOT_START, BOOT_MIB * MIB, uuid=BOOT_UUID, label="boot")
    area = folder / "swap"
    image.create(area, swap_length)
    run(("mkswap", "-q", area))
    with disk.open("r+b") as stream:
        stream.seek(swap)
        stream.write(area.read_bytes()[:4096])
    return disk
