"""Scanning: every device of the disk that can hold something, with its type and its names. Mounts nothing.

libguestfs' own list_filesystems does not serve: it mounts each btrfs for writing to list its subvolumes
(https://github.com/libguestfs/libguestfs/blob/master/daemon/btrfs.ml, with_mounted).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from imgfix.appliance import DISK, Appliance, GuestfsError
from imgfix.disk.partition import Partition, PartitionTable
from imgfix.facts.model import Encrypted, Filesystem, LogicalVolume, Storage, Verdict
from imgfix.volumes import raid

LUKS = "crypto_LUKS"
_MEMBERS = frozenset({"LVM2_member", "linux_raid_member"})


def scan(appliance: Appliance, table: PartitionTable, mapped: Mapping[str, str]) -> Storage:
    """Return what is on the disk: file systems, swap areas, logical volumes, arrays, encrypted volumes.

    `mapped` says what the LUKS devices that are open are open as.
    """
    parts = {f"{DISK}{p.number}": p for p in table.partitions}
    volumes, inactive = _logical_volumes(appliance)
    found: list[Filesystem] = []
    members: list[str] = []
    for device in dict.fromkeys((*_devices(appliance, parts), *(v.device for v in volumes))):
        fstype = _tag(appliance, "vfs_type", device) or "unknown"
        if fstype == "linux_raid_member":
            members.append(device)
        # What LVM and MD make of their members is found by itself; a btrfs of several devices is one file system.
        if fstype not in _MEMBERS:
            filesystem = _filesystem(appliance, device, fstype, parts.get(device))
            if not (fstype == "btrfs" and any(f.uuid == filesystem.uuid for f in found)):
                found.append(filesystem)
    return Storage(
        scheme=table.scheme,
        filesystems=tuple(sorted(found, key=lambda f: f.device)),
        logical_volumes=volumes,
        has_boot_code=table.has_boot_code,
        has_esp=any(p.is_esp for p in table.partitions),
        esp=next((p.number for p in table.partitions if p.is_esp), None),
        bios=Verdict(table.bios.possible, (table.bios.how,)),
        encrypted=tuple(
            Encrypted(f.device, f.uuid, mapped.get(f.device, "")) for f in found if f.fstype == LUKS
        ),
        arrays=raid.arrays(appliance, members),
        inactive=inactive,
        hibernated=tuple(f.device for f in found if f.fstype == "swsuspend"),
    )


def _devices(appliance: Appliance, parts: Mapping[str, Partition]) -> Iterator[str]:
    """Yield partitions (no extended one), or the whole disk, then what device mapper and MD make of them."""
    seen = appliance.call("list_partitions")
    yield from (device for device in seen if device in parts)
    if not parts:
        yield DISK
    yield from appliance.call("list_dm_devices")
    inner = [device for device in seen if device.startswith("/dev/md")]
    yield from inner
    for array in appliance.call("list_md_devices"):
        if not any(device.startswith(f"{array}p") for device in inner) and _size(appliance, array):
            yield array


def _logical_volumes(appliance: Appliance) -> tuple[tuple[LogicalVolume, ...], tuple[str, ...]]:
    """Return the volumes that are there, and the names of those that could not be activated."""
    active, inactive = [], []
    for device in appliance.call("lvs"):
        vg, _, lv = device.removeprefix("/dev/").partition("/")
        if _size(appliance, device):
            active.append(LogicalVolume(vg, lv, device))
        else:
            inactive.append(device)
    return tuple(active), tuple(inactive)


def _size(appliance: Appliance, device: str) -> int:
    try:
        return int(appliance.call("blockdev_getsize64", device))
    except GuestfsError:
        return 0


def _filesystem(appliance: Appliance, device: str, fstype: str, part: Partition | None) -> Filesystem:
    return Filesystem(
        device=device,
        fstype=fstype,
        uuid=_tag(appliance, "vfs_uuid", device),
        label=_tag(appliance, "vfs_label", device),
        size=_size(appliance, device),
        partition=part.number if part else None,
        partuuid=part.uuid if part else "",
        partlabel=part.name if part else "",
    )


def _tag(appliance: Appliance, verb: str, device: str) -> str:
    try:
        return str(appliance.call(verb, device))
    except GuestfsError:
        return ""  # no tag, or a signature that blkid does not know
