"""Debian 12 as its installer leaves it: GPT, BIOS and UEFI, initramfs-tools, ifupdown; no agents, no sshd.

The size is no whole number of MiB. fstab names the disk /dev/vda: as built it boots on virtio-blk only, and by UEFI
only where there is a boot entry for its shim. Somebody has hardened it after a checklist: no UDF, no Hyper-V network.
"""

from __future__ import annotations

from . import image
from .host import DiskError, say
from .image import MIB, Partition
from .root import Bootstrap, Root
from .workshop import TREES, Workshop

SIZE = 4096 * MIB + 7 * image.SECTOR

ROOT_UUID = "3f1c9a52-7d2e-4b6c-9a41-0d5e8b7c2f10"
SWAP_UUID = "b8a4d7e1-52c3-4f0b-8f6d-6a1e9c3b7d21"
ESP_VOLUME = "7C1D9A3E"
DISK_GUID = "6D0B2F4C-1E7A-4C58-93B6-5F20A8D417E3"
MACHINE_ID = "9b1f4c7e2d3a4586a7c0e5d41f6b8923"

PARTITIONS = (
    Partition(1, 1, image.BIOS_GRUB, "biosboot", "0F4E6B1A-3C5D-4A7E-8B92-D1C6E5F70A11"),
    Partition(2, 64, image.ESP, "esp", "0F4E6B1A-3C5D-4A7E-8B92-D1C6E5F70A12"),
    Partition(3, 3584, image.LINUX, "root", "0F4E6B1A-3C5D-4A7E-8B92-D1C6E5F70A13"),
    Partition(4, 0, image.SWAP, "swap", "0F4E6B1A-3C5D-4A7E-8B92-D1C6E5F70A14"),
)

SYSTEM = Bootstrap(
    suite="bookworm",
    include=(
        *("linux-image-cloud-amd64", "initramfs-tools", "zstd", "grub-pc", "grub-efi-amd64-bin"),
        *("grub-efi-amd64-signed", "shim-signed", "shim-helpers-amd64-signed"),
        *(
            "systemd-sysv",
            "systemd-timesyncd",
            "udev",
            "dbus",
            "libpam-systemd",
            "sudo",
            "kbd",
            "nano",
            "less",
        ),
        *("ifupdown", "isc-dhcp-client", "iproute2", "netbase", "procps", "fdisk", "e2fsprogs", "dosfstools"),
        *("ca-certificates", "lsb-release"),
        # As a server that runs something in Python. What the agents need of it is here already: byte-compiling
        # it in an emulated appliance takes minutes, and fetching the agents themselves shows as much.
        *("python3", "python3-distro", "python3-pkg-resources", "python3-setuptools", "python3-yaml"),
        *(
            "python3-jinja2",
            "python3-jsonschema",
            "python3-jsonpatch",
            "python3-requests",
            "python3-oauthlib",
        ),
        *("python3-configobj", "python3-netifaces", "python3-serial", "openssl", "openssh-client", "parted"),
    ),
    kernels=r"^linux-image-6\.1\.0-[0-9]+-cloud-amd64$",
)

# What MODULES=dep would choose, for all three controllers the boot harness offers.
INITRAMFS_HOOK = """\
#!/bin/sh
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules ext4 crc32c_generic crc32c_intel virtio_pci virtio_blk virtio_scsi sd_mod sr_mod \
    ata_piix ata_generic nvme {more}
"""
#: What came after the older image was made, the hardening and the swap partition to resume from; and what stood there.
LATER = {"/etc/modprobe.d/CIS.conf": "", "/etc/initramfs-tools/conf.d/resume": "RESUME=none\n"}
HYPERV = "hv_vmbus hv_storvsc hv_netvsc hv_utils hv_balloon hyperv_keyboard"


def build(shop: Workshop) -> None:
    root = shop.bootstrap(SYSTEM)
    say("changing the root")
    configure(root)
    say("building the initramfs images")
    build_initramfs(root)
    say("writing the disk")
    image.create(shop.disk, SIZE)
    image.write_gpt(shop.disk, DISK_GUID, PARTITIONS)
    extents = image.extents(shop.disk)
    image.make_vfat(shop.disk, *extents[2], volume=ESP_VOLUME, label="ESP")
    image.make_ext4(shop.disk, root.path, *extents[3], uuid=ROOT_UUID, label="root")
    install_loader(shop)


def configure(root: Root) -> None:
    root.lay(TREES / "debian12", {"SWAP_UUID": SWAP_UUID})
    root.remove("/etc/apt/sources.list.d/*", "/var/lib/apt/lists/*", "/var/cache/apt/*.bin", "/etc/.pwd.lock")
    root.at("/boot/efi").mkdir(exist_ok=True)
    root.write("/etc/machine-id", f"{MACHINE_ID}\n", 0o444)
    root.write("/var/lib/systemd/random-seed", bytes(range(256)) * 2, 0o600)
    root.add_user("tester", "tester")
    root.set_password("root", "rootpw")
    root.write("/etc/sudoers.d/tester", "tester ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    root.write("/root/.bash_history", "echo HISTORY-OF-ROOT\nvi /etc/fstab\n", 0o600)
    root.write("/home/tester/.bash_history", "echo HISTORY-OF-TESTER\nsudo -i\n", 0o600)
    root.chroot("chown", "tester:tester", "/home/tester/.bash_history")
    root.chroot(
        "sh", "-ec", "echo 'grub-pc grub-pc/install_devices multiselect /dev/vda' | debconf-set-selections"
    )


def build_initramfs(root: Root) -> None:
    """The newest image without hv_*; the older one, made on Hyper-V, with all that it needs.

    The configuration left behind is the one a user has: MODULES=dep, no modules named.
    """
    conf = "/etc/initramfs-tools/initramfs.conf"
    text = root.at(conf).read_text()
    if "\nMODULES=most\n" not in text:
        raise DiskError(f"{conf} has no line MODULES=most to change")
    hook = "/etc/initramfs-tools/hooks/zz-disk"
    root.write(conf, text.replace("\nMODULES=most\n", "\nMODULES=list\n"))
    older, newest = root.kernels()
    later = {path: root.at(path).read_text() for path in LATER}
    for kernel, more, files in ((older, HYPERV, LATER), (newest, "", later)):
        for path, content in files.items():
            root.write(path, content)
        root.write(hook, INITRAMFS_HOOK.format(more=more), 0o755)
        root.chroot("update-initramfs", "-c", "-k", kernel)
        listed = root.chroot("lsinitramfs", f"/boot/initrd.img-{kernel}")
        if ("hv_vmbus" in listed) != bool(more) or "virtio_blk" not in listed:
            raise DiskError(f"initrd.img-{kernel} holds the wrong drivers")
    root.remove(hook)
    root.write(conf, text.replace("\nMODULES=most\n", "\nMODULES=dep\n"))


def install_loader(shop: Workshop) -> None:
    with image.appliance(shop.disk) as g:
        g.mkswap("/dev/sda4", uuid=SWAP_UUID, label="swap")
        g.mount("/dev/sda3", "/")
        g.mount("/dev/sda2", "/boot/efi")
        g.fallocate64("/swapfile", 64 * MIB)
        g.chmod(0o600, "/swapfile")
        g.mkswap_file("/swapfile")
        say("installing grub for BIOS and UEFI")
        g.command(["grub-install", "--target=i386-pc", image.renamed(g, "/dev/sda")])
        # As on a machine that keeps boot entries: shim and the signed GRUB, and nothing at the removable path.
        efi = ["grub-install", "--target=x86_64-efi", "--efi-directory=/boot/efi", "--no-nvram"]
        g.command([*efi, "--bootloader-id=debian"])
        g.command(["update-grub"])
        g.write("/boot/grub/device.map", b"(hd0)\t/dev/vda\n")
        for name in ("shimx64.efi", "grubx64.efi", "mmx64.efi", "grub.cfg"):
            if not g.is_file(f"/boot/efi/EFI/debian/{name}"):
                raise DiskError(f"grub-install left no EFI/debian/{name}")
        if g.exists("/boot/efi/EFI/BOOT"):
            raise DiskError("grub-install made EFI/BOOT")
        if f"root=UUID={ROOT_UUID}" not in g.cat("/boot/grub/grub.cfg"):
            raise DiskError("grub.cfg does not name the root by UUID")
