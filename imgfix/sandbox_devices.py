"""The guest's file systems as a sandbox sees them: where each would be, a file that begins as it does.

initramfs-tools asks blkid(8) and klibc's fstype for the type of the root, and packs the fsck of that type. The devices
themselves are in the appliance.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from imgfix.facts.model import Filesystem

#: Bytes that hold the superblocks of all that Linux boots from; btrfs' lies farthest, at 64 KiB.
HEAD = 256 << 10

#: What libblkid looks up first (blkid(8), CONFIGURATION FILE), and what this host must not tell of its own disks.
_TABLE = "/run/blkid/blkid.tab"
_MASKED = ("/proc/swaps", "/proc/partitions", "/proc/mdstat", "/proc/cmdline")

_DEVICE = re.compile(r"/dev(/[A-Za-z0-9_+-][A-Za-z0-9_.+-]*)+")
_UUID = re.compile(r"[A-Za-z0-9-]+")


def lay(folder: Path, filesystems: Sequence[Filesystem], head: Callable[[str], bytes]) -> tuple[str, ...]:
    """Write the files below `folder`; return bubblewrap's options that put them in place.

    `head` returns the first HEAD bytes of a device. Left out is what has an odd name, and what is not mounted: swap
    holds memory.
    """
    folder.mkdir(mode=0o755)
    nothing = folder / "nothing"
    nothing.touch()
    nothing.chmod(0o644)
    folder.chmod(0o755)
    options = [word for path in _MASKED if Path(path).exists() for word in ("--ro-bind", str(nothing), path)]
    rows = []
    for number, found in enumerate(filesystems):
        named = _DEVICE.fullmatch(found.device) and _UUID.fullmatch(found.uuid)
        if not named or found.mountpoint is None:
            continue
        place = folder / str(number)
        place.write_bytes(head(found.device))
        with place.open("r+b") as stream:
            stream.truncate(max(HEAD, found.size))
        place.chmod(0o644)
        options += ["--ro-bind", str(place), found.device]
        options += ["--symlink", found.device, f"/dev/disk/by-uuid/{found.uuid}"]
        rows.append(_row(found))
    table = folder / "blkid.tab"
    table.write_text("".join(rows), encoding="utf-8")
    table.chmod(0o644)
    return (*options, "--ro-bind", str(table), _TABLE)


def _row(found: Filesystem) -> str:
    """Return a line of libblkid's cache (lib/blkid/save.c of util-linux)."""
    tags = {"UUID": found.uuid, "TYPE": found.fstype, "PARTUUID": found.partuuid}
    words = "".join(f' {name}="{escape(value)}"' for name, value in tags.items() if value)
    return f'<device DEVNO="0x0000" TIME="{time.time():.6f}"{words}>{found.device}</device>\n'
