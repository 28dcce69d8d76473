"""Phony guests: enough of a Linux for imgfix to prepare it, and small. What they sit on is real.

The kernel has every driver built in, so that nothing must be rebuilt by programs that are not there.
"""

from __future__ import annotations

from pathlib import Path

from .host import run

KERNEL = "6.1.0-18-amd64"
BUILTIN = (
    *(
        "hv/hv_vmbus",
        "scsi/hv_storvsc",
        "net/hyperv/hv_netvsc",
        "hv/hv_utils",
        "hv/hv_balloon",
        "nvme/host/nvme",
    ),
    *(
        "input/serio/hyperv-keyboard",
        "hid/hid-hyperv",
        "scsi/sd_mod",
        "ata/ata_piix",
        "pci/controller/pci-hyperv",
    ),
)
FILE_SYSTEMS = ("fat/vfat", "udf/udf", "isofs/isofs", "ext4/ext4", "xfs/xfs", "btrfs/btrfs")
OS_RELEASE = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 ({name})"\n'
#: The strings by which GRUB's boot sector is known, where it keeps its core image's sector, and a sector in the gap.
BOOT_STRINGS = (0x180, b"GRUB \0Geom\0Hard Disk\0Read\0 Error\r\n\0")
CORE_FIELD, CORE_SECTOR = 0x5C, 40
MACHINE_ID = "5b1e3c3f7a0e4c6e9b8d1a2b3c4d5e6f\n"


def system(name: str, fstab: str, **more: str) -> dict[str, str]:
    """The files of a guest called `name`, by path; `more` come on top, `__` in a name standing for a slash."""
    drivers = [f"kernel/drivers/{d}.ko\n" for d in BUILTIN] + [f"kernel/fs/{f}.ko\n" for f in FILE_SYSTEMS]
    return {
        "etc/fstab": fstab,
        "etc/hostname": "web01\n",
        "etc/machine-id": MACHINE_ID,
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/shadow": "root:*:1::::::\n",
        "etc/group": "root:x:0:\n",
        "usr/lib/os-release": OS_RELEASE.format(name=name),
        f"usr/lib/modules/{KERNEL}/modules.builtin": "".join(drivers),
        f"usr/lib/modules/{KERNEL}/modules.dep": "",
        "usr/sbin/init": "",
        f"boot/vmlinuz-{KERNEL}": "no kernel\n",
        **{path.replace("__", "/"): text for path, text in more.items()},
    }


def lay(folder: Path, files: dict[str, str], *, mountpoints: tuple[str, ...] = ()) -> Path:
    """Write the files, and the links of a merged /usr, below `folder`."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    for name in ("bin", "sbin", "lib"):
        (folder / name).symlink_to(f"usr/{name}")
    (folder / "etc/os-release").symlink_to("../usr/lib/os-release")
    for path in ("usr/bin", "home", "var/log", "tmp", "root", *mountpoints):
        (folder / path).mkdir(parents=True, exist_ok=True)
    return folder


def lay_apart(folder: Path, name: str, fstab: str) -> tuple[Path, Path]:
    """Write a guest called `name` below `folder`; returns its root, and apart from it what belongs into /boot."""
    root, boot = lay(folder / "root", system(name, fstab)), folder / "boot"
    (root / "boot").rename(boot)
    (root / "boot").mkdir()
    return root, boot


def packed(folder: Path, tar: Path, *without: str) -> str:
    """Pack a folder, owned by root, for the appliance; `without` are paths in it to leave out."""
    excluded = [f"--exclude=./{path}" for path in without]
    run(("tar", "-C", folder, "-cf", tar, "--owner=0", "--group=0", "--numeric-owner", *excluded, "."))
    return str(tar)


def plant_boot_code(disk: Path) -> None:
    """Make a partitioned disk look as if GRUB had been installed on it for a BIOS; it would not boot."""
    with disk.open("r+b") as stream:
        stream.write(b"\xeb\x63")
        stream.seek(CORE_FIELD)
        stream.write(CORE_SECTOR.to_bytes(8, "little"))
        stream.seek(BOOT_STRINGS[0])
        stream.write(BOOT_STRINGS[1])
        stream.seek(CORE_SECTOR * 512)
        stream.write(b"no core image")
