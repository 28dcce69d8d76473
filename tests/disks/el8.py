"""An EL8-like guest: BLS entries with $kernelopts in grubenv, XFS /boot, LVM root, an rpm database of Berkeley's,
and SELinux with the labels that the real setfiles gave it.

Made as el9 is, from what that one lays over Debian, with EL8's names and files over it.
"""

from __future__ import annotations

import shutil
from typing import Any

from . import bookworm, el9, image, rpmdb
from .host import DiskError, run, say
from .image import MIB
from .root import Root
from .rpmdb import Package
from .workshop import TREES, Workshop

SIZE = 1800 * MIB
MBR_ID = 0x2E94D7B1
PARTITIONS = ((300, "83", True), (0, "8e", False))
ROOT_MIB = 1300
SWAP_MIB = 64

BOOT_UUID = "7b0c5e2d-96a1-43f8-bd27-5e8c1f0a6d39"
ROOT_UUID = "c41f8a6e-2d93-4b75-a0e8-91d7f3b5c602"
SWAP_UUID = "08d7e3b4-61fa-4c29-8b5e-d4a2c9f17e63"
MACHINE_ID = "b1e8d5f04a7c4d3295c60f7e2a9b8d14"

POLICY = "targeted"
SPEC = f"/etc/selinux/{POLICY}/contexts/files/file_contexts"

CMDLINE = (
    "root=/dev/mapper/rhel-root ro crashkernel=auto resume=/dev/mapper/rhel-swap rd.lvm.lv=rhel/root"
    " rd.lvm.lv=rhel/swap rhgb quiet"
)
BLS = """\
title Red Hat Enterprise Linux ({kernel}) 8.10 (Ootpa)
version {kernel}
linux /vmlinuz-{kernel}
initrd /initramfs-{kernel}.img $tuned_initrd
options $kernelopts $tuned_params
id rhel-20240501000000-{kernel}
grub_users $grub_users
grub_arg --unrestricted
grub_class kernel
"""

INSTALLED = (
    Package("redhat-release", "8.10-0.3.el8", ("/usr/lib/os-release", "/etc/redhat-release")),
    Package("WALinuxAgent", "2.7.0.6-9.el8_8", ("/usr/sbin/waagent", "/etc/waagent.conf")),
    Package("cloud-init", "23.4-7.el8_10", ("/usr/bin/cloud-init", "/etc/cloud/cloud.cfg")),
    Package("cloud-utils-growpart", "0.33-0.el8", ("/usr/bin/growpart",)),
    Package("gdisk", "1.0.3-11.el8", ("/usr/sbin/sgdisk",)),
    Package("hyperv-daemons", "0-0.34.20180415git.el8"),
    Package("hypervkvpd", "0-0.34.20180415git.el8", ("/usr/sbin/hypervkvpd",)),
    Package("openssh-server", "8.0p1-24.el8", ("/usr/sbin/sshd", "/etc/ssh/sshd_config")),
    Package("platform-python", "3.6.8-62.el8_10"),
    Package("python3", "3.6.8-62.el8_10", ("/usr/bin/python3",)),
    Package("dracut", "049-233.git20240115.el8", ("/usr/bin/dracut",)),
    Package("grub2-tools", "1:2.02-156.el8", ("/usr/sbin/grub2-mkconfig",)),
    Package("lvm2", "8:2.03.14-14.el8", ("/usr/sbin/lvm",)),
    Package("policycoreutils", "2.9-25.el8", ("/usr/sbin/setfiles",)),
    Package(f"selinux-policy-{POLICY}", "3.14.3-139.el8_10", (SPEC,)),
    Package("systemd", "239-82.el8", ("/usr/lib/systemd/systemd",)),
    Package("sudo", "1.9.5p2-1.el8_9", ("/usr/bin/sudo",)),
)

# What el9's tree has and EL8 has not.
NOT_EL8 = (
    *("/etc/kernel/cmdline", "/etc/NetworkManager", "/etc/almalinux-release", "/etc/yum.repos.d/alma*"),
    *("/etc/lvm/devices", "/var/lib/rpm/rpmdb.sqlite*"),
)


def build(shop: Workshop) -> None:
    root = shop.bootstrap(bookworm.SYSTEM)
    say("changing the root")
    bookworm.purge(root, *bookworm.NETPLAN, *bookworm.INITRAMFS_TOOLS)
    bookworm.trim(root)
    configure(root)
    (kernel,) = root.kernels()
    write_menu(root, kernel)
    say("building the initramfs image with dracut")
    build_initramfs(root, kernel)
    rpmdb.fill_berkeley(root, packages(kernel), shop.folder / "rpmbuild")
    root.remove(*el9.DEBIAN_ONLY, *NOT_EL8)
    root.at("/etc/init.d").rmdir()
    root.link("/etc/init.d", "rc.d/init.d")
    label(root)
    write_disk(shop, root)


def configure(root: Root) -> None:
    el9.configure(root)
    root.lay(TREES / "el8", {"BOOT_UUID": BOOT_UUID})
    root.link("/etc/system-release", "redhat-release")
    root.write("/etc/machine-id", f"{MACHINE_ID}\n", 0o444)
    for level in (3, 5):
        root.link(f"/etc/rc{level}.d/S10network", "../init.d/network")
    root.at("/var/lib/dhclient").mkdir(exist_ok=True)
    unit = "/usr/lib/systemd/system/cloud-init.service"
    root.replace(unit, "After=NetworkManager.service\n", "After=network.service\n")
    mkconfig = root.at("/usr/sbin/grub-mkconfig").read_text()  # EL8's has no --update-bls-cmdline
    root.write("/usr/sbin/grub2-mkconfig", mkconfig.replace("/grub-editenv", "/grub2-editenv"), 0o755)
    for folder in ("/etc/selinux", "/var/lib/selinux"):
        root.at(f"{folder}/default").rename(root.at(f"{folder}/{POLICY}"))


def write_menu(root: Root, kernel: str) -> None:
    root.write(f"/boot/loader/entries/{MACHINE_ID}-{kernel}.conf", BLS.format(kernel=kernel))
    lines = (
        f"saved_entry={MACHINE_ID}-{kernel}",
        f"kernelopts={CMDLINE}",
        "boot_success=0",
        "boot_indeterminate=0",
    )
    block = "# GRUB Environment Block\n" + "".join(f"{line}\n" for line in lines)
    root.write("/boot/grub2/grubenv", block.ljust(1024, "#"))
    el9.install_modules(root)


def build_initramfs(root: Root, kernel: str) -> None:
    """As dracut of EL makes it for the machine it runs on: a small one, without a Hyper-V driver."""
    path = f"/boot/initramfs-{kernel}.img"
    modules = (
        "bash systemd systemd-initrd dracut-systemd kernel-modules lvm dm resume rootfs-block udev-rules base"
    )
    drivers = "virtio_pci virtio_blk virtio_scsi sd_mod ata_piix ata_generic ext4 xfs dm_mod"
    argv = (
        "dracut",
        "--force",
        "--no-hostonly",
        "--no-hostonly-cmdline",
        "--modules",
        f"{modules} fs-lib shutdown",
    )
    root.chroot(*argv, "--drivers", drivers, path, kernel)
    listed = root.chroot("lsinitrd", path)
    if "hv_storvsc.ko" in listed or not all(name in listed for name in ("virtio_scsi.ko", "bin/lvm")):
        raise DiskError(f"{path} holds the wrong drivers")
    shutil.copy2(root.at(f"/boot/vmlinuz-{kernel}"), root.at(f"/lib/modules/{kernel}/vmlinuz"))


def packages(kernel: str) -> list[Package]:
    files = (f"/boot/vmlinuz-{kernel}", f"/lib/modules/{kernel}/modules.dep")
    core = Package("kernel-core", "4.18.0-553.el8_10", files, ("kernel-core-uname-r",))
    return [core, Package("kernel", "4.18.0-553.el8_10"), *INSTALLED]


def label(root: Root) -> None:
    """Every file's label by the guest's own setfiles; mkfs.ext4 -d takes them along."""
    say("setting SELinux labels")
    mounted = [word for path in ("/dev", "/proc", "/run", "/sys") for word in ("-e", path)]
    root.chroot("setfiles", "-F", *mounted, SPEC, "/")
    if "shadow_t" not in run(("getfattr", "--only-values", "-n", "security.selinux", root.at("/etc/shadow"))):
        raise DiskError("setfiles gave /etc/shadow no label")


def write_disk(shop: Workshop, root: Root) -> None:
    say("writing the disk")
    image.create(shop.disk, SIZE)
    image.write_mbr(shop.disk, MBR_ID, PARTITIONS)
    boot = shop.folder / "boot.tar"
    run(("tar", "-C", root.at("/boot"), "-cf", boot, "--numeric-owner", "."))
    root.remove("/boot/*")
    start = image.extents(shop.disk)[2][0] + el9.PE_START
    image.make_ext4(shop.disk, root.path, start, ROOT_MIB * MIB, uuid=ROOT_UUID, label="")
    with image.appliance(shop.disk) as g:
        el9.make_lvm(g, root_mib=ROOT_MIB, swap_mib=SWAP_MIB, swap_uuid=SWAP_UUID)
        el9.fill_boot(g, boot, uuid=BOOT_UUID)
        install_loader(g)


def install_loader(g: Any) -> None:
    say("installing grub")
    core = "/boot/grub2/i386-pc/core.img"
    g.command(
        [
            "grub-mkimage",
            "-O",
            "i386-pc",
            "-p",
            "(,msdos1)/grub2",
            "-o",
            core,
            "biosdisk",
            "part_msdos",
            "xfs",
        ]
    )
    g.command(["grub-bios-setup", "-d", "/boot/grub2/i386-pc", image.renamed(g, "/dev/sda")])
    g.command(["grub2-mkconfig", "-o", "/boot/grub2/grub.cfg"])
    if "resume=/dev/mapper/rhel-swap" not in g.cat("/boot/grub2/grubenv"):
        raise DiskError("grub2-mkconfig left no kernelopts in grubenv")
    g.command(["setfiles", "-F", SPEC, "/boot"])
