"""Debian 11 and 13, agents installed, BIOS only, one kernel: each is applied in one launch without a network.

Debian 11 has the installer's MBR with swap on a logical partition; its initramfs has no Hyper-V driver. Debian 13
has a GPT and a swap file; its initramfs holds the drivers.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import image, loader
from .host import DiskError, run, say
from .image import MIB, Partition
from .root import Bootstrap, Root
from .workshop import TREES, Workshop

_AGENTS = ("waagent", "cloud-init", "cloud-guest-utils", "gdisk", "hyperv-daemons", "openssh-server")
_SYSTEM = (
    *(
        "linux-image-cloud-amd64",
        "initramfs-tools",
        "zstd",
        "grub-pc",
        "systemd-sysv",
        "udev",
        "dbus",
        "sudo",
    ),
    *("ifupdown", "iproute2", "netbase", "procps"),
)

# What the boot harness offers; and what makes the image ready for Hyper-V.
_DRIVERS = "ext4 crc32c_generic virtio_pci virtio_blk virtio_scsi sd_mod ata_piix"
_HYPERV = "hv_vmbus hv_storvsc hv_netvsc"

# What nobody reads in a test; fewer files make every later step quicker.
UNREAD = (
    *("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"),
    *("/var/lib/apt/lists/*", "/var/cache/apt/*.bin", "/etc/apt/sources.list.d/*"),
)


@dataclass(frozen=True, slots=True)
class Release:
    """One release of Debian: what it is built from and how its disk is laid out."""

    tree: str
    system: Bootstrap
    device: loader.RootDevice
    tokens: dict[str, str]
    ready: bool  # the initramfs holds Hyper-V's drivers


DEBIAN11 = Release(
    tree="debian11",
    system=Bootstrap(suite="bullseye", include=(*_SYSTEM, "isc-dhcp-client", *_AGENTS), frozen=True),
    device=loader.RootDevice("/dev/sda1", "hd0,msdos1", "5a0f6e91-3b7c-4d28-8e14-c92b60d7f3a1", "msdos"),
    tokens={"SWAP_UUID": "c17d2e54-90ab-4f36-a5d8-1e6b4c83f7a2"},
    ready=False,
)
DEBIAN13 = Release(
    tree="debian13",
    system=Bootstrap(suite="trixie", include=(*_SYSTEM, "dhcpcd-base", *_AGENTS)),
    device=loader.RootDevice("/dev/sda2", "hd0,gpt2", "e3d94b07-61f5-4c8a-b2e6-07a1d5389c4f", "gpt"),
    tokens={},
    ready=True,
)

MBR_ID = 0x3D91C7E4
MBR11 = (
    "label: dos\n"
    f"label-id: {MBR_ID:#010x}\n"
    "disk1 : start=1MiB, size=1100MiB, type=83, bootable\n"
    "disk2 : start=1102MiB, size=97MiB, type=5\n"
    "disk5 : start=1103MiB, size=96MiB, type=82\n"
)
DISK_GUID13 = "2B7F90C4-58E1-4D3A-9C06-F1A3D85E7B20"
GPT13 = (
    Partition(1, 1, image.BIOS_GRUB, "", "B5A1E2C3-0D4F-4968-8A7B-3C2D1E0F9A01"),
    Partition(2, 0, image.LINUX, "", "B5A1E2C3-0D4F-4968-8A7B-3C2D1E0F9A02"),
)
SIZE = 1200 * MIB


def build11(shop: Workshop) -> None:
    root = prepare(shop, DEBIAN11)
    say("writing the disk")
    image.create(shop.disk, SIZE)
    run(("sfdisk", "--no-reread", "--no-tell-kernel", shop.disk), stdin=MBR11)
    extents = image.extents(shop.disk)
    image.make_ext4(shop.disk, root.path, *extents[1], uuid=DEBIAN11.device.uuid, label="")
    make_swap(shop, *extents[5], uuid=DEBIAN11.tokens["SWAP_UUID"])
    core = loader.make_core(root, "(,msdos1)/boot/grub", ("biosdisk", "part_msdos", "ext2"))
    loader.embed(shop.disk, root, core, 1, 1 * MIB - image.SECTOR)


def build13(shop: Workshop) -> None:
    root = prepare(shop, DEBIAN13)
    swapfile = root.at("/swapfile")
    swapfile.write_bytes(b"\0" * (16 * MIB))
    swapfile.chmod(0o600)
    run(("mkswap", swapfile))
    say("writing the disk")
    image.create(shop.disk, SIZE)
    image.write_gpt(shop.disk, DISK_GUID13, GPT13)
    extents = image.extents(shop.disk)
    image.make_ext4(shop.disk, root.path, *extents[2], uuid=DEBIAN13.device.uuid, label="")
    core = loader.make_core(root, "(,gpt2)/boot/grub", ("biosdisk", "part_gpt", "ext2"))
    loader.embed(shop.disk, root, core, extents[1][0] // image.SECTOR, extents[1][1])


def prepare(shop: Workshop, release: Release) -> Root:
    root = shop.bootstrap(release.system)
    say("changing the root")
    root.remove(*UNREAD)
    root.lay(TREES / release.tree, {**release.tokens, "ROOT_UUID": release.device.uuid})
    people(root)
    say("building the initramfs")
    build_initramfs(root, ready=release.ready)
    loader.install_files(root)
    loader.write_config(root, release.device)
    return root


def people(root: Root) -> None:
    """A user who may become root, histories, and an identity that an image must lose."""
    root.add_user("tester", "tester")
    root.set_password("root", "rootpw")
    root.write("/etc/sudoers.d/tester", "tester ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    root.write("/root/.bash_history", "echo HISTORY-OF-ROOT\n", 0o600)
    root.write("/home/tester/.bash_history", "echo HISTORY-OF-TESTER\n", 0o600)
    root.chroot("chown", "tester:tester", "/home/tester/.bash_history")
    root.write("/etc/machine-id", "7f3a1c5e9b2d48608d4e6f0a1b3c5d7e\n", 0o444)
    root.write("/var/lib/systemd/random-seed", bytes(range(256)) * 2, 0o600)


def build_initramfs(root: Root, *, ready: bool) -> None:
    """A small image, made for this disk; the configuration left behind is what the installer wrote."""
    conf, hook = "/etc/initramfs-tools/initramfs.conf", "/etc/initramfs-tools/hooks/zz-disk"
    text = root.at(conf).read_text()
    if "\nMODULES=most\n" not in text:
        raise DiskError(f"{conf} has no line MODULES=most to change")
    root.write(conf, text.replace("\nMODULES=most\n", "\nMODULES=list\n"))
    drivers = f"{_DRIVERS} {_HYPERV}" if ready else _DRIVERS
    script = '#!/bin/sh\n[ "$1" = prereqs ] && exit 0\n. /usr/share/initramfs-tools/hook-functions\n'
    root.write(hook, f"{script}manual_add_modules {drivers}\n", 0o755)
    (kernel,) = root.kernels()
    root.chroot("update-initramfs", "-c", "-k", kernel)
    listed = root.chroot("lsinitramfs", f"/boot/initrd.img-{kernel}")
    if ("hv_storvsc" in listed) != ready or "virtio_scsi" not in listed:
        raise DiskError(f"initrd.img-{kernel} holds the wrong drivers")
    root.remove(hook)
    root.write(conf, text if ready else text.replace("\nMODULES=most\n", "\nMODULES=dep\n"))


def make_swap(shop: Workshop, start: int, length: int, uuid: str) -> None:
    """A swap area inside the disk's file: mkswap knows no offsets."""
    area = shop.folder / "swap"
    image.create(area, length)
    run(("mkswap", "-U", uuid, area))
    with shop.disk.open("r+b") as disk:
        disk.seek(start)
        disk.write(area.read_bytes()[: 1 * MIB])  # the signature lies in the first page, the rest is zeros
    area.unlink()
