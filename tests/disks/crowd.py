"""Many small phony guests for batches: native to build, about half a minute to apply without KVM.

python -m tests.disks.crowd FOLDER [COUNT]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from . import phony

MIB = 1 << 20
DISK_MIB, ROOT_MIB = 64, 60

#: os-release of three families, and one that wants to be seen in terminals and pages.
RELEASES = {
    "debian": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "rhel": 'ID=almalinux\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\nPRETTY_NAME="AlmaLinux 9.4 (phony)"\n',
    "suse": 'ID=opensuse-leap\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"\nPRETTY_NAME="openSUSE Leap 15.6"\n',
    "hostile": 'ID=evil\nPRETTY_NAME="\x1b]0;owned\x07<script>alert(1)</script>[red]{{ 7*7 }}"\n',
}
#: No package database, no programs: what needs them is left alone.
SETTINGS = "packages.missing: warn"


def guest(path: Path, release: str, text: str = "") -> Path:
    """Make a disk of one ext4 root with the os-release RELEASES[release]; `text` tells it from others."""
    files = phony.system(path.stem, "", etc__issue=text)
    files["usr/lib/os-release"] = RELEASES[release]
    root = phony.lay(path.parent / f".{path.name}.root", files)
    with path.open("wb") as stream:
        stream.truncate(DISK_MIB * MIB)
    sgdisk = ("sgdisk", f"--new=1:1M:+{ROOT_MIB}M", str(path))
    where = f"offset={MIB}"
    mkfs = ("mkfs.ext4", "-q", "-F", "-d", str(root), "-E", where, str(path), f"{ROOT_MIB * 1024}k")
    for argv in (sgdisk, mkfs):
        subprocess.run(argv, check=True, capture_output=True)
    phony.plant_boot_code(path)
    shutil.rmtree(root)
    return path


def good(folder: Path, count: int) -> list[Path]:
    """Make `count` disks of the three families in turn: debian0.raw, rhel1.raw, suse2.raw, debian3.raw ..."""
    families = ("debian", "rhel", "suse")
    folder.mkdir(parents=True, exist_ok=True)
    return [
        guest(folder / f"{family}{number}.raw", family, f"number {number}\n")
        for number in range(count)
        for family in (families[number % 3],)
    ]


def bad(folder: Path) -> list[Path]:
    """Make three disks that nobody can prepare: blank, truncated, hostile."""
    blank, truncated = folder / "blank.raw", folder / "truncated.raw"
    with blank.open("wb") as stream:
        stream.truncate(DISK_MIB * MIB)
    guest(truncated, "debian")
    with truncated.open("r+b") as stream:
        stream.truncate(DISK_MIB // 2 * MIB)
    return [blank, truncated, guest(folder / "hostile.raw", "hostile")]


if __name__ == "__main__":
    good(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 8)
    bad(Path(sys.argv[1]))
