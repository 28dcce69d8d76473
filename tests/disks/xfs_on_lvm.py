"""A phony guest as the installers of Enterprise Linux lay it out: root on XFS and swap in one volume group, on MBR."""

from __future__ import annotations

from pathlib import Path

from . import image, phony
from .image import MIB

SIZE = 480 * MIB
#: LVM's default: the first extent of the first logical volume lies here in the physical volume.
PE_START = MIB
#: mkfs.xfs makes none below 300 MiB.
BOOT_MIB, ROOT_MIB, SWAP_MIB = 40, 320, 64
PARTITIONS = ((BOOT_MIB, "83", True), (0, "8e", False))
BOOT_UUID = "83d5f1a6-0c2b-4e97-a4d8-6b1e9f7c2053"
FSTAB = (
    f"/dev/mapper/rhel-root / xfs defaults 0 0\nUUID={BOOT_UUID} /boot ext4 defaults 0 2\n"
    "/dev/mapper/rhel-swap none swap defaults 0 0\n"
)


def build(disk: Path, folder: Path) -> Path:
    """Build it at `disk`; `folder` is scratch, and left with files in it."""
    root, boot = phony.lay_apart(folder, "XFS on LVM", FSTAB)
    image.create(disk, SIZE)
    image.write_mbr(disk, 0x3D7A61E5, PARTITIONS)
    phony.plant_boot_code(disk)
    start, length = image.extents(disk)[1]
    image.make_ext4(disk, boot, start, length, uuid=BOOT_UUID, label="")
    tar = phony.packed(root, folder / "root.tar")
    with image.appliance(disk) as g:
        image.shell(
            g,
            "lvm pvcreate -y /dev/sda2",
            "lvm vgcreate rhel /dev/sda2",
            f"lvm lvcreate -y -n root -L {ROOT_MIB}m rhel",
            f"lvm lvcreate -y -n swap -L {SWAP_MIB}m rhel",
            "mkfs.xfs -q /dev/rhel/root",
            "mkswap /dev/rhel/swap",
        )
        g.mount("/dev/rhel/root", "/")
        g.tar_in(tar, "/")
    return disk
