"""An Ubuntu-like guest, as the server installer (subiquity) leaves it: netplan, cloud-init that the installer used and
then disabled, swap in a file, GRUB's settings in a drop-in as Ubuntu's cloud images have them, snapd's seed.

Made of Debian 12's packages; those of the agents bear the names that they have in Ubuntu.
"""

from __future__ import annotations

import re

from . import bookworm, debian, image, loader
from .host import DiskError, run, say
from .image import MIB, Partition
from .root import Root
from .workshop import TREES, Workshop

SIZE = 1400 * MIB + 3 * image.SECTOR
ROOT_UUID = "91e6c07d-4b2f-4a85-8d3c-f05a7b9e2c61"
DEVICE = loader.RootDevice("/dev/sda2", "hd0,gpt2", ROOT_UUID, "gpt")
DISK_GUID = "8E5A1C37-94D2-4B60-A7F3-2C0B6D9E8F15"
PARTITIONS = (
    Partition(1, 1, image.BIOS_GRUB, "", "C2D4E6F8-1A3B-4C5D-9E7F-0A1B2C3D4E01"),
    Partition(2, 0, image.LINUX, "", "C2D4E6F8-1A3B-4C5D-9E7F-0A1B2C3D4E02"),
)

NAMES = {"waagent": "walinuxagent", "hyperv-daemons": "linux-cloud-tools-virtual"}

NOT_UBUNTU = ("/usr/bin/dracut*", "/usr/lib/dracut", "/etc/dracut.conf*", "/etc/selinux", "/etc/network")


def build(shop: Workshop) -> None:
    root = shop.bootstrap(bookworm.SYSTEM)
    say("changing the root")
    bookworm.purge(root, *bookworm.DRACUT)
    bookworm.trim(root)
    root.remove(*NOT_UBUNTU)
    root.lay(TREES / "ubuntu", {"ROOT_UUID": ROOT_UUID})
    rename_packages(root)
    configure(root)
    say("building the initramfs")
    debian.build_initramfs(root, ready=False)
    loader.install_files(root)
    loader.write_config(root, DEVICE)
    say("writing the disk")
    image.create(shop.disk, SIZE)
    image.write_gpt(shop.disk, DISK_GUID, PARTITIONS)
    extents = image.extents(shop.disk)
    image.make_ext4(shop.disk, root.path, *extents[2], uuid=ROOT_UUID, label="")
    core = loader.make_core(root, "(,gpt2)/boot/grub", ("biosdisk", "part_gpt", "ext2"))
    loader.embed(shop.disk, root, core, extents[1][0] // image.SECTOR, extents[1][1])


def configure(root: Root) -> None:
    debian.people(root)
    root.link("/etc/os-release", "../usr/lib/os-release")
    root.link("/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
    for path in ("/etc/netplan/50-cloud-init.yaml", "/etc/cloud/cloud.cfg.d/90-installer-network.cfg"):
        root.at(path).chmod(0o600)
    for path in ("/etc/cloud/cloud.cfg.d/99-installer.cfg", "/var/log/installer/autoinstall-user-data"):
        root.at(path).chmod(0o600)
    wants = "/etc/systemd/system/multi-user.target.wants"
    root.link(f"{wants}/systemd-networkd.service", "/lib/systemd/system/systemd-networkd.service")
    # As in 24.04: the socket is enabled, the service is not.
    root.remove(f"{wants}/ssh.service", "/etc/systemd/system/sshd.service")
    swapfile = root.at("/swap.img")
    swapfile.write_bytes(b"\0" * (16 * MIB))
    swapfile.chmod(0o600)
    run(("mkswap", swapfile))


def rename_packages(root: Root) -> None:
    """dpkg's list with Ubuntu's names: the packages themselves are Debian's."""
    status = "/var/lib/dpkg/status"
    text = root.at(status).read_text()
    for old, new in NAMES.items():
        text, count = re.subn(rf"(?m)^Package: {old}$", f"Package: {new}", text)
        if count != 1:
            raise DiskError(f"{status} names {old} {count} times")
        for file in root.at("/var/lib/dpkg/info").glob(f"{old}.*"):
            file.rename(file.with_name(f"{new}{file.suffix}"))
    root.write(status, text)
