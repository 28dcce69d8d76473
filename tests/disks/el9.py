"""An EL9-like guest out of Debian 12's packages: LVM root, BLS menu, dracut, rpm database, agents installed.

MBR, BIOS only, XFS on /boot. The agents are there and not enabled. What is not EL's: the kernel, GRUB without its
command blscfg (see trees/el9/etc/grub.d/10_linux), no dnf, no SELinux labels.
"""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import image
from .host import DiskError, run, say
from .image import MIB
from .root import Bootstrap, Root
from .rpmdb import Package, fill
from .workshop import TREES, Workshop

SIZE = 4096 * MIB
MBR_ID = 0x7C3E91A5
PARTITIONS = ((700, "83", True), (0, "8e", False))

BOOT_UUID = "1d6b0f3e-8c47-4f52-9e0a-b7a5c2d91f64"
ROOT_UUID = "a92e4c70-5b1d-4d38-8f6c-3e7d0b95c1a2"
SWAP_UUID = "e05c8b13-7f2a-49d6-b3e8-6c1f4a7d9028"
MACHINE_ID = "4c7a9e1b5d3f42689a0b7c6d8e5f1203"

PE_START = 1 * MIB  # LVM's default: the first extent of the first logical volume lies here
ROOT_MIB = 3072
SWAP_MIB = 256

SYSTEM = Bootstrap(
    suite="bookworm",
    include=(
        *("dracut", "lvm2", "xfsprogs", "zstd", "grub-pc", "systemd-sysv", "udev", "dbus", "libpam-systemd"),
        *(
            "network-manager",
            "libnss-myhostname",
            "iproute2",
            "net-tools",
            "sudo",
            "kbd",
            "less",
            "netbase",
            "procps",
            "fdisk",
            "parted",
        ),
        *("cloud-init", "cloud-guest-utils", "gdisk", "hyperv-daemons", "openssh-server", "openssl", "rpm"),
        *(
            "python3",
            "python3-distro",
            "python3-pkg-resources",
            "python3-setuptools",
            "ca-certificates",
            "binutils",
        ),
    ),
    kernels=r"^linux-image-6\.1\.0-[0-9]+-cloud-amd64$",
    forced=("waagent",),  # Debian's conflicts with NetworkManager
)

HYPERV = "hv_vmbus hv_storvsc hv_netvsc hv_utils hv_balloon hyperv_keyboard hid_hyperv hyperv_drm hyperv_fb"
CMDLINE = (
    "root=/dev/mapper/rhel-root ro crashkernel=auto rd.lvm.lv=rhel/root rd.lvm.lv=rhel/swap"
    " resume=/dev/mapper/rhel-swap rhgb quiet"
)
# What dracut of EL embeds on the machine it installs.
EMBEDDED = {
    "90lvm.conf": " rd.lvm.lv=rhel/root rd.lvm.lv=rhel/swap ",
    "95resume.conf": " resume=/dev/mapper/rhel-swap ",
}
BLS = """\
title AlmaLinux ({kernel}) 9.4 (Seafoam Ocelot)
version {kernel}
linux /vmlinuz-{kernel}
initrd /initramfs-{kernel}.img
options {cmdline}
grub_users $grub_users
grub_arg --unrestricted
grub_class almalinux
"""

INSTALLED = (
    Package("almalinux-release", "9.4-1.el9", ("/usr/lib/os-release", "/etc/almalinux-release")),
    Package("WALinuxAgent", "2.7.0.6-9.el9.alma.1", ("/usr/sbin/waagent", "/etc/waagent.conf")),
    Package("cloud-init", "22.4-7.el9.alma.1", ("/usr/bin/cloud-init", "/etc/cloud/cloud.cfg")),
    Package("cloud-utils-growpart", "0.33-1.el9", ("/usr/bin/growpart",)),
    Package("gdisk", "1.0.7-5.el9", ("/usr/sbin/sgdisk",)),
    Package("hyperv-daemons", "0-0.42.20190303git.el9"),
    Package("hypervkvpd", "0-0.42.20190303git.el9", ("/usr/sbin/hypervkvpd",)),
    Package("hypervvssd", "0-0.42.20190303git.el9", ("/usr/sbin/hypervvssd",)),
    Package("hypervfcopyd", "0-0.42.20190303git.el9", ("/usr/sbin/hypervfcopyd",)),
    Package("openssh-server", "8.7p1-38.el9.alma.2", ("/usr/sbin/sshd", "/etc/ssh/sshd_config")),
    Package("bash", "5.1.8-9.el9", ("/usr/bin/bash", "/usr/bin/sh")),
    Package("python3", "3.9.18-3.el9", ("/usr/bin/python3",)),
    Package("dracut", "057-53.git20240104.el9", ("/usr/bin/dracut",)),
    Package("grub2-common", "1:2.06-77.el9.alma.1"),
    Package("grub2-pc", "1:2.06-77.el9.alma.1"),
    Package("grub2-tools", "1:2.06-77.el9.alma.1", ("/usr/sbin/grub2-mkconfig",)),
    Package("NetworkManager", "1:1.46.0-1.el9", ("/usr/sbin/NetworkManager",)),
    Package("lvm2", "9:2.03.23-2.el9", ("/usr/sbin/lvm",)),
    Package("rpm", "4.16.1.3-29.el9", ("/usr/bin/rpm",)),
    Package("systemd", "252-32.el9_4.alma.1", ("/usr/lib/systemd/systemd",)),
    Package("sudo", "1.9.5p2-10.el9_3", ("/usr/bin/sudo",)),
)

DEBIAN_ONLY = (
    *("/usr/bin/dpkg*", "/usr/bin/apt*", "/usr/sbin/dpkg*", "/etc/apt", "/etc/dpkg", "/etc/debian_version"),
    *(
        "/var/lib/dpkg",
        "/var/lib/apt",
        "/var/cache/apt",
        "/var/cache/debconf",
        "/usr/lib/apt",
        "/usr/lib/dpkg",
    ),
    *(
        "/etc/kernel/*.d",
        "/etc/cron.daily/dpkg",
        "/etc/cron.daily/apt-compat",
        "/var/log/apt",
        "/var/log/dpkg.log",
    ),
    *("/usr/lib/systemd/system/apt-*", "/usr/lib/systemd/system/dpkg-*", "/etc/default/grub.d", "/boot/grub"),
    *("/etc/systemd/system/timers.target.wants/apt-*", "/etc/systemd/system/timers.target.wants/dpkg-*"),
    *("/etc/grub.d/05_debian_theme", "/etc/grub.d/20_linux_xen", "/etc/grub.d/30_*", "/etc/network"),
    *("/etc/alternatives/dpkg*", "/usr/sbin/update-grub*", "/vmlinuz*", "/initrd.img*", "/boot/initrd.img-*"),
    *("/usr/lib/systemd/system/ssh.service", "/usr/lib/systemd/system/ssh.socket", "/etc/init.d/*"),
    *("/usr/lib/systemd/system/rescue-ssh.target", "/usr/lib/systemd/system/walinuxagent.service"),
    *("/usr/lib/systemd/system/hv-*-daemon.service", "/etc/systemd/system/sshd.service", "/etc/default/ssh"),
    *(
        "/etc/systemd/system/multi-user.target.wants/ssh.service",
        "/etc/systemd/system/cloud-init.target.wants",
    ),
    *(
        "/etc/systemd/system/multi-user.target.wants/walinuxagent.service",
        "/etc/cloud/cloud.cfg.d/90_dpkg.cfg",
    ),
)


def build(shop: Workshop) -> None:
    root = shop.bootstrap(SYSTEM)
    kernels = root.kernels()
    say("changing the root")
    configure(root)
    write_menu(root, kernels)
    say(f"building the initramfs images of {', '.join(kernels)} with dracut")
    build_initramfs(root, kernels)
    fill(root, packages(kernels), shop.folder / "rpmbuild")
    root.remove(*DEBIAN_ONLY)
    write_disk(shop, root)


def configure(root: Root) -> None:
    root.lay(TREES / "el9", {"BOOT_UUID": BOOT_UUID})
    root.link("/etc/system-release", "almalinux-release")
    root.link("/etc/os-release", "../usr/lib/os-release")
    root.link("/etc/yum.conf", "dnf/dnf.conf")
    root.link("/etc/grub2.cfg", "../boot/grub2/grub.cfg")
    units = "/etc/systemd/system/multi-user.target.wants"
    root.link(f"{units}/sshd.service", "/usr/lib/systemd/system/sshd.service")
    for short in ("kvp", "vss", "fcopy"):
        root.link(f"/usr/sbin/hyperv{short}d", f"hv_{short}_daemon")
    root.write("/etc/motd", "")
    root.write(
        "/usr/lib/tmpfiles.d/sshd.conf", "d /run/sshd 0755 root root\n"
    )  # as Debian's sshd -t wants it
    root.write("/etc/machine-id", f"{MACHINE_ID}\n", 0o444)
    root.write("/var/lib/systemd/random-seed", bytes(range(256)) * 2, 0o600)
    for path in (
        "/etc/NetworkManager/system-connections/ens4.nmconnection",
        "/var/log/secure",
        "/var/log/messages",
    ):
        root.at(path).chmod(0o600)
    add_users(root)
    name_grub2(root)


def add_users(root: Root) -> None:
    root.chroot("groupadd", "--system", "wheel")
    root.add_user("tester", "tester", "wheel")
    root.set_password("root", "rootpw")
    root.write("/etc/sudoers.d/wheel", "%wheel ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    root.write("/root/.bash_history", "echo HISTORY-OF-ROOT\nvi /etc/fstab\n", 0o600)
    root.write("/home/tester/.bash_history", "echo HISTORY-OF-TESTER\nsudo -i\n", 0o600)
    root.chroot("chown", "tester:tester", "/home/tester/.bash_history")


def name_grub2(root: Root) -> None:
    """EL's names and EL's folder, /boot/grub2; --update-bls-cmdline is EL >= 9.3's."""
    sbin = ("install", "mkconfig", "probe", "set-default", "reboot", "bios-setup")
    for name in (*sbin, "script-check", "file", "mkrelpath", "mkimage", "mkpasswd-pbkdf2"):
        folder = "/usr/sbin" if name in sbin else "/usr/bin"
        if name != "mkconfig":
            root.link(f"{folder}/grub2-{name}", f"grub-{name}")
    text = root.at("/usr/sbin/grub-mkconfig").read_text()
    for old, new in (
        ("bindir}/grub-editenv", "bindir}/grub2-editenv"),
        (
            "    -h | --help)\n",
            "    --update-bls-cmdline)\n\tGRUB_UPDATE_BLS_CMDLINE=yes ;;\n    -h | --help)\n",
        ),
        ("  GRUB_RECOVERY_TITLE\n", "  GRUB_UPDATE_BLS_CMDLINE \\\n  GRUB_RECOVERY_TITLE\n"),
        (
            '    print_option_help "-h, --help"',
            '    print_option_help "--update-bls-cmdline" "overwrite BLS cmdline args with default args"'
            '\n    print_option_help "-h, --help"',
        ),
    ):
        if old not in text:
            raise DiskError(f"grub-mkconfig has no {old!r} to change")
        text = text.replace(old, new)
    root.write("/usr/sbin/grub2-mkconfig", text, 0o755)
    header = root.at("/etc/grub.d/00_header").read_text()
    root.write("/etc/grub.d/00_header", header.replace('"/boot/grub"', '"/boot/grub2"'), 0o755)


def rescue(kernels: list[str]) -> list[str]:
    return [*kernels, f"0-rescue-{MACHINE_ID}"]


def write_menu(root: Root, kernels: list[str]) -> None:
    for kernel in rescue(kernels):
        name = f"{MACHINE_ID}-{kernel.removesuffix(f'-{MACHINE_ID}')}"
        root.write(f"/boot/loader/entries/{name}.conf", BLS.format(kernel=kernel, cmdline=CMDLINE))
    block = f"# GRUB Environment Block\nsaved_entry={MACHINE_ID}-{kernels[-1]}\nboot_success=1\n"
    root.write("/boot/grub2/grubenv", block.ljust(1024, "#"), 0o644)
    root.write("/boot/grub2/device.map", "# this device map was generated by anaconda\n(hd0)      /dev/sda\n")
    install_modules(root)


def install_modules(root: Root) -> None:
    """GRUB's modules in EL's folder; its entries come from files, see etc/grub.d/10_linux."""
    for name in ("i386-pc/*.mod", "i386-pc/*.lst", "i386-pc/boot.img"):
        for file in root.at("/usr/lib/grub").glob(name):
            root.write(f"/boot/grub2/i386-pc/{file.name}", file.read_bytes())
    commands = "/boot/grub2/i386-pc/command.lst"
    lines = root.at(commands).read_text().splitlines(keepends=True)
    # These two are functions until an entry has been read.
    root.write(
        commands,
        "".join(line for line in lines if line.lstrip("*") not in ("linux: linux\n", "initrd: linux\n")),
    )


def build_initramfs(root: Root, kernels: list[str]) -> None:
    for name, text in EMBEDDED.items():
        root.write(f"/tmp/embedded/etc/cmdline.d/{name}", f"{text}\n")
    # The older of two kernels has an image that needs nothing: imgfix must leave it alone.
    ready = kernels[:-1]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda kernel: _dracut(root, kernel, ready=kernel in ready), kernels))
    root.remove("/tmp/embedded")
    kernel, copy = kernels[0], rescue(kernels)[-1]
    shutil.copy2(root.at(f"/boot/vmlinuz-{kernel}"), root.at(f"/boot/vmlinuz-{copy}"))
    shutil.copy2(root.at(f"/boot/initramfs-{kernel}.img"), root.at(f"/boot/initramfs-{copy}.img"))
    for kernel in kernels:
        shutil.copy2(root.at(f"/boot/vmlinuz-{kernel}"), root.at(f"/lib/modules/{kernel}/vmlinuz"))


def _dracut(root: Root, kernel: str, *, ready: bool) -> None:
    path = f"/boot/initramfs-{kernel}.img"
    argv = ["dracut", "--force", "--no-hostonly", "--no-hostonly-cmdline", "--add", "lvm resume"]
    if ready:
        argv += ["--add-drivers", "hv_vmbus hv_storvsc hv_netvsc"]
    else:
        # With VMware's controller the tests show that a driver which imgfix adds is loaded: QEMU has that one.
        argv += ["--omit-drivers", f"{HYPERV} vmw_pvscsi", "--include", "/tmp/embedded", "/"]
    root.chroot(*argv, path, kernel)
    listed = root.chroot("lsinitrd", path)
    wanted = (
        "virtio_scsi.ko",
        "virtio_blk.ko",
        "ata_piix.ko",
        "sd_mod.ko",
        "bin/lvm",
        "hv_storvsc.ko" if ready else "cmdline.d/90lvm.conf",
    )
    lacking = [name for name in wanted if name not in listed]
    if lacking or (not ready and re.search(r"(hv_(vmbus|storvsc|netvsc)|vmw_pvscsi)\.ko", listed)):
        raise DiskError(f"{path} holds the wrong drivers; lacking: {lacking}")


def packages(kernels: list[str]) -> list[Package]:
    found: list[Package] = []
    for kernel in kernels:
        build = kernel.removeprefix("6.1.0-").partition("-")[0]
        evr = f"6.1.0-{build}.el9_4"
        files = (
            f"/boot/vmlinuz-{kernel}",
            f"/lib/modules/{kernel}/vmlinuz",
            f"/lib/modules/{kernel}/modules.dep",
        )
        found.append(Package("kernel-core", evr, files, ("kernel-core-uname-r",)))
        found.append(Package("kernel", evr))
    return [*found, *INSTALLED]


def write_disk(shop: Workshop, root: Root) -> None:
    say("writing the disk")
    image.create(shop.disk, SIZE)
    image.write_mbr(shop.disk, MBR_ID, PARTITIONS)
    boot = shop.folder / "boot.tar"
    run(("tar", "-C", root.at("/boot"), "-cf", boot, "--numeric-owner", "."))
    root.remove("/boot/*")
    # The file system first, where the logical volume will lie: mkfs cannot be given a volume inside a file.
    start = image.extents(shop.disk)[2][0] + PE_START
    image.make_ext4(shop.disk, root.path, start, ROOT_MIB * MIB, uuid=ROOT_UUID, label="root")
    with image.appliance(shop.disk) as g:
        make_lvm(g)
        fill_boot(g, boot)
        install_loader(g)


def make_lvm(
    g: Any, *, root_mib: int = ROOT_MIB, swap_mib: int = SWAP_MIB, swap_uuid: str = SWAP_UUID
) -> None:
    # LVM finds only the devices that udev has told it of, and udev may be late. -Zn -Wn: leave the file system that
    # is there alone.
    late = "--config devices/obtain_device_list_from_udev=0"
    create = f"lvm lvcreate {late} -y -Zn -Wn --type linear"
    image.shell(
        g,
        f"lvm pvcreate {late} -ff -y /dev/sda2",
        f"lvm vgcreate {late} rhel /dev/sda2",
        f"{create} -n root -L {root_mib}m rhel",
        f"{create} -n swap -L {swap_mib}m rhel",
    )
    g.mkswap("/dev/rhel/swap", uuid=swap_uuid)
    g.mount("/dev/rhel/root", "/")


def fill_boot(g: Any, tar: Path, *, uuid: str = BOOT_UUID) -> None:
    """XFS by the guest's own mkfs: a newer one on the host may use features its GRUB cannot read."""
    g.command(["mkfs.xfs", "-q", "-f", "-m", f"uuid={uuid}", image.renamed(g, "/dev/sda1")])
    g.mount("/dev/sda1", "/boot")
    g.tar_in(str(tar), "/boot")


def install_loader(g: Any) -> None:
    """grub-install by hand: Debian's would put /boot/grub, and EL's lies in /boot/grub2."""
    say("installing grub")
    core = "/boot/grub2/i386-pc/core.img"
    modules = ["biosdisk", "part_msdos", "xfs"]
    g.command(["grub-mkimage", "-O", "i386-pc", "-p", "(,msdos1)/grub2", "-o", core, *modules])
    g.command(["grub-bios-setup", "-d", "/boot/grub2/i386-pc", image.renamed(g, "/dev/sda")])
    g.command(["grub2-mkconfig", "-o", "/boot/grub2/grub.cfg"])
    menu = g.cat("/boot/grub2/grub.cfg")
    if menu.count("source /loader/entries/") != len(g.glob_expand("/boot/loader/entries/*.conf")):
        raise DiskError("grub.cfg does not hold an entry for each BLS file")
