"""The disk's layout for a report: partitions in their order, each with what is in it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from imgfix.disk.mbr import EXTENDED
from imgfix.disk.partition import Partition, PartitionTable
from imgfix.facts.model import Filesystem, Storage
from imgfix.reports.model import Disk, Piece

#: Containers of volumes, by the type of their partition: GPT, then MBR
#: (https://uapi-group.org/specifications/specs/discoverable_partitions_specification/, sfdisk --list-types).
_CONTAINERS = {
    "e6d6d379-f507-44c2-a23c-238f2a3df928": "LVM",
    "0x8e": "LVM",
    "a19d880f-05fc-4d3b-a006-743f0f84911e": "RAID",
    "0xfd": "RAID",
}
_EXTENDED = frozenset(f"{kind:#04x}" for kind in EXTENDED)


def disk(table: PartitionTable, size: int, storage: Storage | None) -> Disk:
    """Return the layout of a disk of `size` bytes; `storage` is what the guest knows of it, None if not looked at."""
    filesystems = storage.filesystems if storage else ()
    inside = {f.partition: f for f in filesystems if f.partition is not None}
    pieces = [_partition(p, inside.get(p.number)) for p in sorted(table.partitions, key=lambda p: p.start)]
    return Disk(scheme=table.scheme, size=size, pieces=(*pieces, *_volumes(filesystems)))


def _partition(partition: Partition, found: Filesystem | None) -> Piece:
    return Piece(
        name=found.device if found else f"/dev/sda{partition.number}",
        number=partition.number,
        start=partition.start,
        size=partition.size,
        type=partition.type,
        content=_content(partition, found),
        mountpoint=found.mountpoint if found else None,
        free=found.free if found else None,
        label=(found.label if found else "") or partition.name,
    )


def _content(partition: Partition, found: Filesystem | None) -> str:
    if partition.is_bios_boot:
        return "bios-boot"
    if partition.type in _EXTENDED:
        return "extended"
    if partition.is_esp:
        return f"esp ({found.fstype})" if found and found.fstype else "esp"
    return found.fstype if found else _CONTAINERS.get(partition.type, "")


def _volumes(filesystems: tuple[Filesystem, ...]) -> Iterator[Piece]:
    for found in filesystems:
        if found.partition is None:
            yield Piece(
                name=found.device,
                number=None,
                start=None,
                size=found.size,
                type="",
                content=found.fstype,
                mountpoint=found.mountpoint,
                free=found.free,
                label=found.label,
            )
