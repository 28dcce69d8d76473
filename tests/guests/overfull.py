"""A guest's file system with hardly any room left, and a profile that asks for more."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.disks import plain

#: What the profile puts there, and the bytes that are left for it.
BIG = 1_000_000
LEFT = 200_000
#: Where it goes to -> where on the plain disk that file system begins.
PLACES = {"/srv/big": plain.ROOT_START, "/boot/big": plain.BOOT_START}

_PROFILE = (
    "name: big\ndescription: more than there is room for\nfiles:\n  {path}: {{source: big, mode: '0644'}}\n"
)
_SAID = r"cannot be written \(1000000 bytes\): .*No space left on device; ([^\n]*) free there"


def fill(disk: Path, path: str, scratch: Path) -> None:
    """Leave LEFT bytes in the file system of `disk` that holds `path`, and the 2 % that ext4 gives to nobody.

    https://github.com/torvalds/linux/blob/master/fs/ext4/super.c, ext4_calculate_resv_clusters
    """
    place = f"{disk}?offset={PLACES[path]}"
    told = subprocess.run(("dumpe2fs", "-h", place), capture_output=True, text=True, check=True).stdout
    names = ("Block count", "Free blocks", "Block size")
    count, free, size = (int(told.partition(f"{name}:")[2].split()[0]) for name in names)
    filler = scratch / "filler"
    filler.write_bytes(b"filler! " * (((free - count // 50) * size - LEFT) // 8))
    argv = ("debugfs", "-w", "-R", f"write {filler} filler", place)
    subprocess.run(argv, capture_output=True, check=True)
    filler.unlink()


def profile(folder: Path, path: str) -> Path:
    """Write a profile that puts BIG bytes at `path`."""
    (folder / "big").write_bytes(b"b" * BIG)
    written = folder / "big.yaml"
    written.write_text(_PROFILE.format(path=path))
    return written


def said(stderr: str) -> str | None:
    """Return what the error says is free, if it says both what was needed and what is free."""
    found = re.search(_SAID, stderr)
    return found[1] if found else None
