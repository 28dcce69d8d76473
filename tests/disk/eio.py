"""A sector that cannot be read: a preloaded library fails reads of it with EIO, in imgfix, qemu-img and QEMU alike.

The kernel's own ways to that (dm-error, dm-flakey) need root and a kernel that has them; see eio.c.
"""

from __future__ import annotations

import subprocess
from pathlib import Path


def build(folder: Path) -> Path:
    """Compile the library into `folder`."""
    shim = folder / "eio.so"
    argv = ("gcc", "-shared", "-fPIC", "-o", shim, Path(__file__).with_name("eio.c"), "-ldl")
    subprocess.run(argv, check=True)
    return shim


def variables(shim: Path, disk: Path, at: int) -> dict[str, str]:
    """Return what the environment of a program must have so that it cannot read the sector at byte `at` of `disk`."""
    return {
        "LD_PRELOAD": str(shim),
        "IMGFIX_EIO_INODE": str(disk.stat().st_ino),
        "IMGFIX_EIO_AT": str(at),
    }
