"""An openSUSE-like guest: btrfs with the installer's subvolumes, the root being a snapshot that is the default one, as
snapper has it, and a read-only snapshot beside it; dracut with initrd-KERNEL, grub2's names, rpm's ndb.
"""

from __future__ import annotations

from typing import Any

from . import bookworm, debian, el9, image, loader, rpmdb
from .host import DiskError, run, say
from .image import MIB, Partition
from .root import Root
from .rpmdb import Package
from .workshop import TREES, Workshop

SIZE = 1700 * MIB
ROOT_UUID = "d2f5b81c-7e34-49a6-8c0b-6a91e4f7d358"
SWAP_UUID = "3a7e9d06-c5b8-4f21-b4d3-82f60c1e5a97"
DISK_GUID = "51F8A3D6-2C7B-4E09-8D14-B96E0A3C7F42"
PARTITIONS = (
    Partition(1, 1, image.BIOS_GRUB, "", "E1F3A5C7-2B4D-4F6A-8C9E-1D2F3A4B5C01"),
    Partition(2, 1620, image.LINUX, "", "E1F3A5C7-2B4D-4F6A-8C9E-1D2F3A4B5C02"),
    Partition(3, 0, image.SWAP, "", "E1F3A5C7-2B4D-4F6A-8C9E-1D2F3A4B5C03"),
)

# https://documentation.suse.com/sles/15-SP6/html/SLES-all/cha-snapper.html, the installer's proposal.
SNAPSHOT = "@/.snapshots/1/snapshot"
SUBVOLUMES = (".snapshots", "home", "opt", "root", "srv", "tmp", "usr/local", "var")
INFO = """\
<?xml version="1.0"?>
<snapshot>
  <type>{kind}</type>
  <num>{number}</num>
  <date>2024-06-12 09:31:0{number}</date>
  <description>{text}</description>
</snapshot>
"""

INSTALLED = (
    Package("openSUSE-release", "15.6-150600.2.1", ("/usr/lib/os-release",)),
    Package("kernel-default", "6.1.0-1.1"),
    Package("python-azure-agent", "2.9.1.1-150100.3.38.1", ("/usr/sbin/waagent", "/etc/waagent.conf")),
    Package("cloud-init", "23.3-150100.8.79.2", ("/usr/bin/cloud-init", "/etc/cloud/cloud.cfg")),
    Package("growpart", "0.31-5.9.3", ("/usr/bin/growpart",)),
    Package("gptfdisk", "1.0.9-150600.1.1", ("/usr/sbin/sgdisk",)),
    Package("hyper-v", "8-150200.14.10.1", ("/usr/sbin/hv_kvp_daemon",)),
    Package("openssh", "9.6p1-150600.6.1"),
    Package("openssh-server", "9.6p1-150600.6.1", ("/usr/sbin/sshd",)),
    Package("python3", "3.6.15-150300.10.60.1", ("/usr/bin/python3",)),
    Package("dracut", "059+suse.521.g8412a2e9-150600.1.4", ("/usr/bin/dracut",)),
    Package("grub2", "2.12-150600.6.4", ("/usr/sbin/grub2-mkconfig",)),
    Package("btrfsprogs", "6.5.1-150600.2.1", ("/usr/bin/btrfs",)),
    Package("wicked", "0.6.75-150600.9.1"),
    Package("systemd", "254.10-150600.2.5", ("/usr/lib/systemd/systemd",)),
    Package("sudo", "1.9.15p5-150600.1.8", ("/usr/bin/sudo",)),
)
UNITS = ("sshd.service", "waagent.service", "sshd-keygen@.service", "sshd-keygen.target")


def build(shop: Workshop) -> None:
    root = shop.bootstrap(bookworm.SYSTEM)
    say("changing the root")
    bookworm.purge(root, *bookworm.NETPLAN, *bookworm.INITRAMFS_TOOLS)
    bookworm.trim(root)
    (kernel,) = root.kernels()
    configure(root)
    say("building the initramfs image with dracut")
    build_initramfs(root, kernel)
    root.remove(*el9.DEBIAN_ONLY, "/var/lib/rpm", "/etc/selinux", "/var/lib/selinux")
    rpmdb.fill_ndb(root, INSTALLED, shop.folder / "rpmbuild")
    loader.install_files(root, "/boot/grub2")
    modules = ("biosdisk", "part_gpt", "btrfs")
    core = loader.make_core(root, f"(,gpt2)/{SNAPSHOT}/boot/grub2", modules)
    write_disk(shop, root)
    first, room = image.extents(shop.disk)[1]
    loader.embed(shop.disk, root, core, first // image.SECTOR, room)


def configure(root: Root) -> None:
    debian.people(root)
    for unit in UNITS:
        path = f"/usr/lib/systemd/system/{unit}"
        root.write(path, (TREES / "el9" / path.lstrip("/")).read_text())
    root.write("/usr/libexec/openssh/sshd-keygen", "#!/bin/sh\nexec /usr/bin/ssh-keygen -A\n", 0o755)
    root.write("/usr/lib/tmpfiles.d/sshd.conf", "d /run/sshd 0755 root root\n")
    el9.name_grub2(root)
    mkconfig = root.at("/usr/sbin/grub-mkconfig").read_text()
    root.write("/usr/sbin/grub2-mkconfig", mkconfig.replace("/grub-editenv", "/grub2-editenv"), 0o755)
    root.lay(TREES / "suse", {"ROOT_UUID": ROOT_UUID, "SWAP_UUID": SWAP_UUID})
    root.link("/etc/os-release", "../usr/lib/os-release")
    wants = "/etc/systemd/system/multi-user.target.wants"
    root.link(f"{wants}/wicked.service", "/usr/lib/systemd/system/wicked.service")
    unit = "/usr/lib/systemd/system/cloud-init.service"
    root.replace(unit, "After=networking.service\n", "After=wicked.service\n")
    for name in SUBVOLUMES:
        root.at(f"/{name}").mkdir(parents=True, exist_ok=True)
    for number, kind, text in ((1, "single", "first root filesystem"), (2, "single", "after installation")):
        root.write(f"/.snapshots/{number}/info.xml", INFO.format(number=number, kind=kind, text=text), 0o600)


def build_initramfs(root: Root, kernel: str) -> None:
    """As SUSE's dracut makes it for this machine: no Hyper-V driver, and resume from the swap partition."""
    path = f"/boot/initrd-{kernel}"
    modules = (
        "bash systemd systemd-initrd dracut-systemd kernel-modules btrfs resume rootfs-block udev-rules base"
    )
    drivers = "virtio_pci virtio_blk virtio_scsi sd_mod ata_piix ata_generic btrfs"
    argv = (
        "dracut",
        "--force",
        "--no-hostonly",
        "--no-hostonly-cmdline",
        "--modules",
        f"{modules} fs-lib shutdown",
    )
    root.chroot(*argv, "--xz", "--drivers", drivers, path, kernel)
    listed = root.chroot("lsinitrd", path)
    if "hv_storvsc.ko" in listed or not all(name in listed for name in ("virtio_scsi.ko", "btrfs.ko")):
        raise DiskError(f"{path} holds the wrong drivers")
    root.link("/boot/vmlinuz", f"vmlinuz-{kernel}")
    root.link("/boot/initrd", f"initrd-{kernel}")


def write_disk(shop: Workshop, root: Root) -> None:
    say("writing the disk")
    image.create(shop.disk, SIZE)
    image.write_gpt(shop.disk, DISK_GUID, PARTITIONS)
    everything = shop.folder / "root.tar"
    run(("tar", "-C", root.path, "-cf", everything, "--numeric-owner", "--xattrs", "--xattrs-include=*", "."))
    with image.appliance(shop.disk) as g:
        make_subvolumes(g)
        say("filling the subvolumes")
        g.tar_in(str(everything), "/", xattrs=True)
        g.mkswap("/dev/sda3", uuid=SWAP_UUID)
        g.command(["grub2-mkconfig", "-o", "/boot/grub2/grub.cfg"])
        if f"/{SNAPSHOT}/boot/vmlinuz" not in g.cat("/boot/grub2/grub.cfg"):
            raise DiskError("grub.cfg does not name the kernel in the root's subvolume")
        g.btrfs_subvolume_snapshot("/", "/.snapshots/2/snapshot", ro=True)


def make_subvolumes(g: Any) -> None:
    """The installer's, and the root's own snapshot as the default: no option in fstab names it."""
    g.mkfs("btrfs", "/dev/sda2")
    g.set_uuid("/dev/sda2", ROOT_UUID)
    g.mount("/dev/sda2", "/")
    g.btrfs_subvolume_create("/@")
    for name in SUBVOLUMES:
        g.mkdir_p(f"/@/{name}".rpartition("/")[0])
        g.btrfs_subvolume_create(f"/@/{name}")
    g.mkdir("/@/.snapshots/1")
    g.mkdir("/@/.snapshots/2")
    g.btrfs_subvolume_create(f"/{SNAPSHOT}")
    number = next(
        int(s["btrfssubvolume_id"])
        for s in g.btrfs_subvolume_list("/")
        if s["btrfssubvolume_path"] == SNAPSHOT
    )
    g.btrfs_subvolume_set_default(number, "/")
    g.umount("/")
    g.mount("/dev/sda2", "/")
    for name in SUBVOLUMES:
        g.mkdir_p(f"/{name}")
        g.mount_options(f"subvol=@/{name}", "/dev/sda2", f"/{name}")
