"""A phony guest on btrfs subvolumes inside LUKS, with snapshots that look like roots, as it is after a power cut.

GPT, an ext4 on /boot, swap in a partition and in a file. The root is the subvolume @ by fstab alone; the
default subvolume is the top one. crypttab
calls the volume otherwise than the appliance does.
"""

from __future__ import annotations

from typing import Any

from . import image, phony
from .host import say
from .image import LINUX, MIB, SWAP, Partition
from .workshop import Workshop

SIZE = 384 * MIB
PASSPHRASE = "a passphrase of the tests"
LUKS_UUID = "3c1f8f5e-6d0b-4b8e-9f5b-0a4c2b7d9e11"
ROOT_UUID = "7e0c5b9a-2d41-4f6f-8a37-5d1b9c3e8f42"
BOOT_UUID = "c2b7a1d4-90e3-4c58-b6f1-2e8d7a5c4b30"
NAME = "sda2_crypt"
PARTITIONS = (
    Partition(1, 40, LINUX, "boot", "0b2e6c1a-7d5f-4a39-8c04-f1e2d3c4b5a6"),
    Partition(3, 16, SWAP, "swap", "2d408e3c-9f71-4c5b-ae26-1304f5e6d7c8"),
    Partition(2, 0, LINUX, "crypt", "1c3f7d2b-8e60-4b4a-9d15-02f3e4d5c6b7"),
)
FSTAB = f"""\
# what the installer wrote, and one line of a disk that stays behind
/dev/mapper/{NAME} / btrfs defaults,subvol=@ 0 0
/dev/mapper/{NAME} /home btrfs defaults,subvol=/@home 0 0
UUID={ROOT_UUID} /swap btrfs subvol=@swap,noatime 0 0
LABEL=boot /boot ext4 defaults 0 2
/swap/swapfile none swap sw 0 0
PARTLABEL=swap none swap sw 0 0
UUID=deadbeef-0000-4000-8000-000000000000 /backup ext4 nofail 0 2
/home/www /srv/www none bind 0 0
"""
# btrfs may answer an fsync with a whole commit, which leaves the log empty, for as long as one transaction lasts.
LOGGED = """\
for try in 1 2 3 4 5 6 7 8; do
echo logged >/sysroot/etc/last && sync /sysroot/etc/last
logged=$(btrfs inspect-internal dump-super /dev/mapper/building | sed -n 's/^log_root[[:space:]][[:space:]]*//p')
[ "$logged" = 0 ] || break
done
[ "$logged" != 0 ] || { echo "btrfs keeps no log of what was synced"; exit 1; }
"""
CRYPTTAB = f"{NAME} /dev/sda2 none luks,discard\n"


def build(shop: Workshop) -> None:
    root = phony.lay(
        shop.folder / "root",
        phony.system("on LUKS", FSTAB, etc__crypttab=CRYPTTAB),
        mountpoints=("swap", "backup", "srv/www", ".snapshots"),
    )
    (root / "boot").rename(shop.folder / "boot")
    (root / "boot").mkdir()
    image.create(shop.disk, SIZE)
    image.write_gpt(shop.disk, "9f3d1e57-4c8a-4f2b-a6d0-b1c2d3e4f506", PARTITIONS)
    phony.plant_boot_code(shop.disk)
    start, length = image.extents(shop.disk)[1]
    image.make_ext4(shop.disk, shop.folder / "boot", start, length, uuid=BOOT_UUID, label="boot")
    with image.crashing(shop.disk) as g:
        make_volume(g)
        fill(g, phony.packed(root, shop.folder / "root.tar"))
        say("cutting the power")
        leave_dirty(g)


def make_volume(g: Any) -> None:
    # Few iterations: the test is of the way to the key, and an emulated machine derives slowly.
    image.shell(
        g,
        "mkswap /dev/sda3",
        f"printf %s '{PASSPHRASE}' >/tmp/key",
        f"cryptsetup luksFormat -q --type luks2 --uuid {LUKS_UUID} --pbkdf pbkdf2 --pbkdf-force-iterations 1000"
        " /dev/sda2 /tmp/key",
        "cryptsetup open --key-file /tmp/key /dev/sda2 building",
        "udevadm settle",
        f"mkfs.btrfs -q -U {ROOT_UUID} /dev/mapper/building",
        "udevadm settle",
    )


def fill(g: Any, tar: str) -> None:
    g.mount("/dev/mapper/building", "/")
    image.shell(g, *(f"btrfs subvolume create /sysroot/{name}" for name in ("@", "@home", "@swap")))
    g.tar_in(tar, "/@")
    image.shell(
        g,
        "truncate -s 0 /sysroot/@swap/swapfile",
        "chattr +C /sysroot/@swap/swapfile",
        "dd if=/dev/zero of=/sysroot/@swap/swapfile bs=1M count=8 status=none",
        "mkswap /sysroot/@swap/swapfile",
        "btrfs subvolume create /sysroot/@/.snapshots/1",
        "btrfs subvolume snapshot -r /sysroot/@ /sysroot/@/.snapshots/1/snapshot",
        "mkdir -p /sysroot/timeshift",
        # Restored and forgotten: a snapshot that can be written to.
        "btrfs subvolume snapshot /sysroot/@ /sysroot/timeshift/@",
    )
    g.umount_all()


def leave_dirty(g: Any) -> None:
    """What was synced last is in the logs only: the journal of ext4, the log tree of btrfs."""
    # By itself btrfs would commit its log after half a minute.
    g.mount_options("subvol=@,commit=3600", "/dev/mapper/building", "/")
    g.mount("/dev/sda1", "/boot")
    g.sync()
    image.shell(
        g,
        "echo logged >/sysroot/boot/last && sync /sysroot/boot/last",
        *LOGGED.splitlines(),
    )
