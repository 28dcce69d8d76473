"""One bootstrap of Debian 12 that three look-alikes are made from (el8, ubuntu, suse), with what each of them needs."""

from __future__ import annotations

from .debian import UNREAD
from .root import Bootstrap, Root

SYSTEM = Bootstrap(
    suite="bookworm",
    include=(
        *(
            "linux-image-cloud-amd64",
            "initramfs-tools",
            "dracut-core",
            *("zstd", "xz-utils"),
            "grub-pc",
            "systemd-sysv",
            "udev",
        ),
        *(
            "lvm2",
            "xfsprogs",
            "btrfs-progs",
            "sudo",
            "iproute2",
            "netbase",
            "procps",
            "dbus",
            "libpam-systemd",
        ),
        *("waagent", "cloud-init", "cloud-guest-utils", "gdisk", "hyperv-daemons", "openssh-server"),
        *("netplan.io", "selinux-policy-default", "db5.3-util"),
    ),
)

DRACUT = ("dracut-core", "db5.3-util", "selinux-policy-default", "policycoreutils", "lvm2", "btrfs-progs")
INITRAMFS_TOOLS = ("initramfs-tools", "initramfs-tools-core")

# Debian's ways that other families have not; what lies below `el9.DEBIAN_ONLY` goes, too.
NETPLAN = ("netplan.io", "libnetplan0")


def purge(root: Root, *names: str) -> None:
    """Take packages out that another look-alike needs."""
    root.chroot("dpkg", "--purge", "--force-depends", "--force-remove-essential", *names)


def trim(root: Root) -> None:
    root.remove(*UNREAD, "/vmlinuz*", "/initrd.img*")
