"""A guest made of this host's own programs, whose initramfs generator packs what it is told of its surroundings."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from imgfix.facts.model import Filesystem, Storage
from tests.fake_tree import FakeEntry, folder, link

IMAGE, KERNEL = "/boot/initrd.img-6.1.0-9-amd64", "6.1.0-9-amd64"
PROGRAMS = (
    "sh",
    "cat",
    "cpio",
    "gzip",
    "ls",
    "id",
    "mkdir",
    "grep",
    "sleep",
    "touch",
    "readlink",
    "mktemp",
    "rm",
)

UUID = "5e83b1f7-46a2-4c0d-9f35-e2a7d8016cb4"
STORAGE = Storage(
    scheme="gpt",
    filesystems=(
        Filesystem("/dev/sda1", "ext4", UUID, size=96 << 20, mountpoint="/"),
        Filesystem("/dev/sda2", "swap", UUID.replace("5", "6"), size=1 << 20),
        Filesystem("/dev/../etc/x", "ext4", "a", mountpoint="/x"),
    ),
)

#: What it packs is what it was told of its surroundings, and the module of its kernel.
GENERATOR = """#!/bin/sh
set -e
cd "$(mktemp -d)"
id -u >uid
ls / >top
ls -d /proc/[0-9]* >processes
grep -c : /proc/net/dev >cards
grep -E '^(CapEff|NoNewPrivs)' /proc/self/status >rights
ls /sys /home /root >empty
mkdir etc
cat /etc/setting >etc/setting
ls /usr/lib/modules >modules
cat /proc/swaps /proc/partitions /proc/cmdline >devices
ls -l /dev/sda* /dev/disk/by-uuid >>devices
cat /run/blkid/blkid.tab >>devices
touch /sys/x 2>/dev/null || :
ls | cpio --quiet -o -H newc | gzip >"$1"
"""


def programs() -> dict[str, bytes | str | FakeEntry]:
    """This host's own programs with their libraries, as a guest's."""
    found: dict[str, bytes | str | FakeEntry] = {
        name: link(f"usr{name}") for name in ("/bin", "/sbin", "/lib", "/lib64") if Path(name).is_symlink()
    }
    for name in PROGRAMS:
        found |= program(name)
    return found


def program(name: str) -> dict[str, bytes | str | FakeEntry]:
    """A program of this host with its libraries."""
    found: dict[str, bytes | str | FakeEntry] = {}
    path = Path(shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin") or "").resolve()
    told = subprocess.run(("ldd", path), capture_output=True, text=True, check=True).stdout
    for library in re.findall(r"(/\S+) \(", told):
        found[str(_placed(Path(library)))] = FakeEntry(Path(library).read_bytes(), mode=0o755)
    found[f"/usr/bin/{name}"] = FakeEntry(path.read_bytes(), mode=0o755)
    return found


def _placed(path: Path) -> Path:
    """Where a library of a folder that is a link lies."""
    return path if path.parts[1] == "usr" else Path("/usr", *path.parts[1:])


def contents() -> dict[str, bytes | str | FakeEntry]:
    """A guest with a generator, an old image, things of two kernels, and places that a sandbox covers."""
    return {
        **programs(),
        "/usr/sbin/generator": FakeEntry(GENERATOR, mode=0o755),
        "/etc/setting": "of the guest\n",
        "/boot": folder(),
        IMAGE: "old",
        f"/usr/lib/modules/{KERNEL}/modules.dep": "",
        "/usr/lib/modules/5.10.0-1-amd64/modules.dep": "",
        "/home": folder(),
        "/root": folder(0o700),
        "/home/tester/secret": "of a person\n",
        "/root/secret": "of root\n",
        "/dev": link("/oldroot/etc"),
        "/closed": folder(0o555),
        "/closed/file": "",
    }
