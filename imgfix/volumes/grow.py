"""Growing the root to the end of the disk: partition, physical volume, logical volume, file system. Never shrinks."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from imgfix.appliance import DISK, Appliance
from imgfix.disk.sector import SECTOR
from imgfix.disk.size import MIB, TIB
from imgfix.errors import ApplyError, GuestError
from imgfix.facts.model import Filesystem, LogicalVolume, Storage

#: A GPT's backup takes 33 sectors at the end; partitions end at whole MiB.
_GPT_END = MIB
#: What 32 bits of 512-byte sectors reach.
_MBR_END = 2 * TIB
_MBR_PRIMARIES = 4

_EXT = frozenset({"ext2", "ext3", "ext4"})
#: Those that grow while they are mounted, by what; the rest must not be.
_MOUNTED = {"xfs": "xfs_growfs %s", "btrfs": "btrfs filesystem resize max %s"}
_SYSROOT = "/sysroot"  # where libguestfs mounts a guest in its appliance

# sfdisk keeps type, UUID, name and flags of a partition that only gets another size; partx tells the kernel.
_PARTITION = """
set -e
echo ',{sectors}' | sfdisk -q --no-reread --no-tell-kernel --force -w never -W never -N {number} {disk}
partx --update --nr {number} {disk}
udevadm settle --timeout=60
"""


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a partition lies: bytes, `end` the first one behind it."""

    number: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Growth:
    """What is to be grown to make `root` larger, from the outside in; None where a layer is not there or is full.

    `partition` is the partition as it will be, `pv` and `lv` are devices.
    """

    root: Filesystem
    partition: Extent | None
    pv: str | None = None
    lv: str | None = None


class _Blocked(Exception):
    """Partition `by` lies behind partition `partition`."""

    def __init__(self, partition: int, by: int) -> None:
        self.partition = partition
        self.by = by


def plan(appliance: Appliance, storage: Storage, *, last: bool) -> Growth | None:
    """Find out how the root can grow over the free space behind it; changes nothing.

    Returns None where there is no space to take. A swap partition right behind the root is an error only with `last`:
    it may be deleted meanwhile. Raises GuestError where the root cannot grow.
    """
    root = next(f for f in storage.filesystems if f.mountpoint == "/")
    _refuse_unknown(root, storage)
    try:
        return _plan(appliance, storage, root)
    except _Blocked as blocked:
        if not last and any(s.partition == blocked.by for s in storage.swaps):
            return None
        raise GuestError(
            f"{root.device}, the root, cannot grow: partition {blocked.by} lies behind partition {blocked.partition}",
            hint="leave out --grow-root, or delete or move that partition in the virtual machine",
        ) from None


def carry_out(appliance: Appliance, growth: Growth) -> Filesystem:
    """Grow everything below the file system, and ext file systems too, with nothing mounted; returns the new root.

    Raises ApplyError.
    """
    device = shlex.quote(growth.root.device)
    if growth.partition is not None:
        sectors = (growth.partition.end - growth.partition.start) // SECTOR
        _run(appliance, _PARTITION.format(number=growth.partition.number, sectors=sectors, disk=DISK))
    if growth.pv is not None:
        _run(appliance, f"pvresize -q {shlex.quote(growth.pv)}")
    if growth.lv is not None:
        _run(appliance, f"blockdev --setrw {device}; lvextend -q -l +100%FREE {device}")
    if growth.root.fstype in _EXT:
        _run(
            appliance, f"blockdev --setrw {device}; e2fsck -f -p {device}; [ $? -le 1 ] && resize2fs {device}"
        )
    return replace(growth.root, size=int(appliance.call("blockdev_getsize64", growth.root.device)))


def carry_out_mounted(appliance: Appliance, growth: Growth) -> None:
    """Grow a file system that does so while it is mounted for writing; for others nothing. Raises ApplyError."""
    if growth.root.fstype in _MOUNTED:
        _run(appliance, _MOUNTED[growth.root.fstype] % _SYSROOT)


def _refuse_unknown(root: Filesystem, storage: Storage) -> None:
    if root.fstype not in _EXT and root.fstype not in _MOUNTED:
        known = ", ".join(sorted((*_EXT, *_MOUNTED)))
        raise GuestError(
            f"{root.device}, the root, is {root.fstype}, which imgfix does not grow; it grows {known}",
            hint="leave out --grow-root",
        )
    if storage.scheme is None:
        raise GuestError(
            "the disk has no partition table; imgfix grows a root in a partition, or in a volume on one",
            hint="leave out --grow-root",
        )


def _plan(appliance: Appliance, storage: Storage, root: Filesystem) -> Growth | None:
    disk = int(appliance.call("blockdev_getsize64", DISK))
    parts = _partitions(appliance)
    volume = next((v for v in storage.logical_volumes if v.device == root.device), None)
    if volume is None:
        grown = _grown(_number(root.device, root), parts, storage, disk)
        return Growth(root, grown) if grown else None
    pv = _last_pv(appliance, volume, parts, root)
    free = int(_run(appliance, f"vgs --noheadings -o vg_free_count {shlex.quote(volume.vg)}"))
    grown = _grown(_number(pv, root), parts, storage, disk)
    if grown is None and not free:
        return None
    return Growth(root, grown, pv if grown else None, volume.device)


def _number(device: str, root: Filesystem) -> int:
    found = re.fullmatch(rf"{DISK}(\d+)", device)
    if found is None:
        raise GuestError(
            f"{root.device}, the root, lies on {device}: imgfix does not grow what is encrypted or in an array",
            hint="leave out --grow-root, and grow it in the virtual machine",
        )
    return int(found[1])


def _partitions(appliance: Appliance) -> tuple[Extent, ...]:
    return tuple(
        Extent(int(p["part_num"]), int(p["part_start"]), int(p["part_end"]) + 1)
        for p in appliance.call("part_list", DISK)
    )


def _grown(number: int, parts: Sequence[Extent], storage: Storage, disk: int) -> Extent | None:
    """Return partition `number` as it will be, None if less than a MiB is behind it; raises _Blocked.

    It must be the last one: up to the next partition is rarely what was asked for, and a rerun could not tell why it
    has less.
    """
    mine = next(p for p in parts if p.number == number)
    if storage.scheme == "mbr" and number > _MBR_PRIMARIES:
        raise GuestError(
            f"partition {number} cannot grow: it is a logical one, inside an extended partition",
            hint="leave out --grow-root, and grow both in the virtual machine",
        )
    behind = min((p for p in parts if p.start >= mine.end), key=lambda p: p.start, default=None)
    if behind is not None:
        raise _Blocked(number, behind.number)
    end = disk - _GPT_END if storage.scheme == "gpt" else min(disk, _MBR_END)
    end = end // MIB * MIB
    return replace(mine, end=end) if end - mine.end >= MIB else None


def _last_pv(appliance: Appliance, volume: LogicalVolume, parts: Sequence[Extent], root: Filesystem) -> str:
    """Return the physical volume of the root's group that lies last on the disk."""
    output = _run(appliance, "pvs --noheadings -o pv_name,vg_name")
    mine = [words[0] for words in map(str.split, output.splitlines()) if words[1:] == [volume.vg]]
    starts = {f"{DISK}{p.number}": p.start for p in parts}
    known = [pv for pv in mine if pv in starts]
    if not known:
        _number(mine[0] if mine else f"the volume group {volume.vg}", root)  # raises
    return max(known, key=lambda pv: starts[pv])


def _run(appliance: Appliance, script: str) -> str:
    status, output = appliance.shell(script)
    if status:
        raise ApplyError(
            f"the root cannot be grown: `{script.strip()}` ended with status {status}:\n{output}",
            hint="leave out --grow-root, and grow it in the virtual machine",
        )
    return output
