"""A phony guest on one leg of a RAID1, as it is after a power cut: two arrays, two volume groups, /usr apart.

MBR. /boot is an array of metadata 1.0, the other array and a partition are the physical volumes of the system. The
root is btrfs as SUSE lays it out: the default subvolume is a snapshot, and fstab names none for /.
"""

from __future__ import annotations

from typing import Any

from . import image, phony
from .host import say
from .image import MIB
from .workshop import Workshop

SIZE = 900 * MIB
MBR_ID = 0x5A17C0DE
# Two arrays, a physical volume for each group, a plain partition.
PARTITIONS = ((40, "fd", True), (200, "fd", False), (360, "8e", False), (0, "5", False))
LOGICAL = ((120, "8e"), (0, "83"))
USR_UUID = "5d8f2b6c-1a7e-4c93-b0d4-8e6f9a3c2b17"
ROOT_UUID = "e4a9c7d3-6b58-4f12-9a0e-3c7d5b1f8e26"
ARRAYS = ("6b1f0c52:9e4d7a38:c5b2e180:4f7d3a96", "f28c4e17:5a9b6d03:817e2fc4:b6d05a3e")
FSTAB = f"""\
UUID={ROOT_UUID} / btrfs defaults 0 0
UUID={ROOT_UUID} /var btrfs subvol=/@/var 0 0
UUID={ROOT_UUID} /.snapshots btrfs subvol=/@/.snapshots 0 0
/dev/md/boot /boot ext4 defaults 1 2
/dev/mapper/sys-usr /usr xfs ro 0 0
/dev/mapper/data-home--dirs /home ext4 defaults 0 2
PARTUUID={MBR_ID:08x}-06 /srv ext4 nofail 0 2
/dev/sdb1 /backup ext4 noauto 0 0
"""
MDADM = "".join(
    f"ARRAY /dev/md/{name} metadata={version} UUID={uuid}\n"
    for name, version, uuid in zip(("boot", "pv"), ("1.0", "1.2"), ARRAYS, strict=True)
)
DEFAULT = "@/.snapshots/1/snapshot"


def build(shop: Workshop) -> None:
    root = phony.lay(
        shop.folder / "root",
        phony.system("on RAID", FSTAB, etc__mdadm__mdadm_conf=MDADM),
        mountpoints=("srv", ".snapshots"),
    )
    (root / "etc/mdadm/mdadm_conf").rename(root / "etc/mdadm/mdadm.conf")
    image.create(shop.disk, SIZE)
    image.write_mbr(shop.disk, MBR_ID, PARTITIONS, LOGICAL)
    phony.plant_boot_code(shop.disk)
    tars = {
        "usr": phony.packed(root / "usr", shop.folder / "usr.tar"),
        "boot": phony.packed(root / "boot", shop.folder / "boot.tar"),
        "root": phony.packed(root, shop.folder / "root.tar", "usr/*", "boot/*"),
    }
    with image.crashing(shop.disk) as g:
        make_volumes(g)
        fill(g, tars)
        say("cutting the power")
        leave_dirty(g)


def make_volumes(g: Any) -> None:
    create = "mdadm --create --run --level=1 --raid-devices=2 --homehost=web01"
    image.shell(
        g,
        f"yes | {create} --metadata=1.0 --uuid={ARRAYS[0]} --name=boot /dev/md/boot /dev/sda1 missing",
        f"yes | {create} --metadata=1.2 --uuid={ARRAYS[1]} --name=pv /dev/md/pv /dev/sda2 missing",
        "udevadm settle",
        "lvm pvcreate -y /dev/md/pv /dev/sda3 /dev/sda5",
        "lvm vgcreate sys /dev/md/pv /dev/sda3",
        "lvm vgcreate data /dev/sda5",
        "lvm lvcreate -y -n root -L 190m sys /dev/md/pv",
        "lvm lvcreate -y -n usr -L 320m sys",
        "lvm lvcreate -y -n home-dirs -L 64m data",
        f"mkfs.btrfs -q -U {ROOT_UUID} /dev/sys/root",
        f"mkfs.xfs -q -f -m uuid={USR_UUID} /dev/sys/usr",
        "for device in /dev/md/boot /dev/data/home-dirs /dev/sda6; do mkfs.ext4 -q $device; done",
    )


def fill(g: Any, tars: dict[str, str]) -> None:
    g.mount("/dev/sys/root", "/")
    image.shell(
        g,
        *(f"btrfs subvolume create /sysroot/{p}" for p in ("@", "@/var", "@/.snapshots")),
        "mkdir -p /sysroot/@/.snapshots/1 /sysroot/@/.snapshots/2",
        f"btrfs subvolume create /sysroot/{DEFAULT}",
    )
    g.tar_in(tars["root"], f"/{DEFAULT}")
    image.shell(
        g,
        f"btrfs subvolume snapshot -r /sysroot/{DEFAULT} /sysroot/@/.snapshots/2/snapshot",
        f"id=$(btrfs inspect-internal rootid /sysroot/{DEFAULT}); btrfs subvolume set-default $id /sysroot",
    )
    g.umount_all()
    for device, tar in (("/dev/sys/usr", "usr"), ("/dev/md/boot", "boot")):
        g.mount(device, "/")
        g.tar_in(tars[tar], "/")
        g.umount_all()


def leave_dirty(g: Any) -> None:
    """What was synced last is in the log of XFS only."""
    g.mount("/dev/sys/usr", "/")
    g.sync()
    image.shell(
        g, "mkdir /sysroot/last && echo logged >/sysroot/last/file && sync /sysroot/last/file /sysroot/last"
    )
