"""Device names: what a guest's files call a file system, found again on the disk."""

from __future__ import annotations

import pytest

from imgfix.facts import devices
from imgfix.facts.model import Array, Filesystem, LogicalVolume, Storage

ESP = Filesystem("/dev/sda1", "vfat", "4F2A-11B0", "EFI", 1, partition=1, partuuid="AAAA-01", partlabel="esp")
ROOT = Filesystem("/dev/sda2", "ext4", "0a3407de", "cloudimg-rootfs", 1, partition=2, partuuid="bbbb-02")
TENTH = Filesystem("/dev/sda10", "ext4", "1010", "", 1, partition=10)
HOME = Filesystem("/dev/rh-el/home-1", "xfs", "f00d", "", 1)
SWAP = Filesystem("/dev/rh-el/swap", "swap", "5a5a", "", 1)
STORAGE = Storage(
    "gpt",
    (ESP, ROOT, TENTH, HOME, SWAP),
    (
        LogicalVolume("rh-el", "home-1", "/dev/rh-el/home-1"),
        LogicalVolume("rh-el", "swap", "/dev/rh-el/swap"),
    ),
)


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("/dev/sda2", ROOT),
        ("/dev/vda2", ROOT),
        ("/dev/hda2", ROOT),
        ("/dev/xvda2", ROOT),
        ("/dev/nvme0n1p2", ROOT),
        ("/dev/mmcblk0p2", ROOT),
        ("/dev/cciss/c0d0p2", ROOT),
        ("/dev/sda10", TENTH),
        ("UUID=0a3407de", ROOT),
        ('UUID="0A3407DE"', ROOT),
        ("UUID='4f2a-11b0'", ESP),
        ("LABEL=cloudimg-rootfs", ROOT),
        ("LABEL=CLOUDIMG-ROOTFS", None),
        ("PARTUUID=aaaa-01", ESP),
        ("PARTLABEL=esp", ESP),
        ("/dev/disk/by-uuid/0a3407de", ROOT),
        ("/dev/disk/by-label/EFI", ESP),
        ("/dev/disk/by-partuuid/BBBB-02", ROOT),
        ("/dev/mapper/rh--el-home--1", HOME),
        ("/dev/rh-el/home-1", HOME),
        ("/dev/mapper/rh-el-swap", None),
        ("/dev/mapper/rh--el-swap", SWAP),
        ("/dev/sdb2", None),
        ("/dev/nvme1n1p2", None),
        ("/dev/nvme0n2p2", None),
        ("/dev/sda3", None),
        ("/dev/sda", None),
        ("UUID=", None),
        ("LABEL=", None),
        ("PARTLABEL=", None),
        ("tmpfs", None),
        ("", None),
    ],
)
def test_find(spec: str, found: Filesystem | None) -> None:
    assert devices.find(spec, STORAGE) == found


@pytest.mark.parametrize("spec", ["/dev/md127", "/dev/md0", "/dev/md/0", "/dev/md/root", "UUID=4d0"])
def test_an_array_by_the_names_of_the_guest(spec: str) -> None:
    root = Filesystem("/dev/md127", "ext4", "4d0", "", 1)
    dead = Array("", "raid5", 1, 3, ("/dev/md1",))
    array = Array("/dev/md127", "raid1", 1, 2, ("/dev/md/root", "/dev/md0", "/dev/md/0"))
    storage = Storage("gpt", (ESP, root), arrays=(dead, array))
    assert devices.find(spec, storage) == root
    assert devices.find("/dev/md1", storage) is None


@pytest.mark.parametrize("spec", ["/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/mmcblk0", "/dev/xvda"])
def test_a_file_system_without_a_partition_table(spec: str) -> None:
    whole = Filesystem("/dev/sda", "ext4", "0a34", "", 1)
    assert devices.find(spec, Storage(None, (whole,))) == whole


@pytest.mark.parametrize(
    "spec",
    [
        *(
            "/dev/sda1",
            "/dev/sdaa12",
            "/dev/hdb",
            "/dev/vdc3",
            "/dev/xvdf",
            "/dev/nvme0n1",
            "/dev/nvme10n1p3",
        ),
        *("/dev/mmcblk0p1", "/dev/cciss/c0d0", "/dev/cciss/c1d0p2"),
        *("/dev/disk/by-path/pci-0000:00:05.0-part1", "/dev/disk/by-id/ata-VBOX_HARDDISK_VB1-part1"),
        *("/dev/disk/by-id/wwn-0x5000c500a1b2c3d4-part2", "/dev/disk/by-id/scsi-36000c29f-part1"),
    ],
)
def test_names_of_controllers_are_disk_names(spec: str) -> None:
    assert devices.names_disk(spec)


@pytest.mark.parametrize(
    "spec",
    [
        *(
            "UUID=0a34",
            "LABEL=sda1",
            "/dev/mapper/rhel-root",
            "/dev/rhel/root",
            "/dev/sr0",
            "/dev/md0",
            "tmpfs",
        ),
        *(
            "/dev/disk/by-uuid/0a34",
            "/dev/disk/by-label/x",
            "/dev/disk/by-id/dm-name-rhel-root",
            "/dev/zram0",
        ),
        *(
            "/dev/disk/by-id/lvm-pv-uuid-x",
            "/dev/disk/by-id/md-uuid-x",
            "/dev/fd0",
            "/dev/sda1/x",
            "x/dev/sda1",
        ),
        "//server/dev/sda1",
    ],
)
def test_other_names_are_stable(spec: str) -> None:
    assert not devices.names_disk(spec)


def test_zram_is_no_disk() -> None:
    assert devices.is_zram("/dev/zram0")
    assert not devices.is_zram("/dev/sda1")
