"""A disk's partition table, GPT or MBR, as one model. Pure: it reads through a callable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from imgfix.disk import gpt, mbr
from imgfix.disk.bootcode import UNKNOWN, BiosBoot, read_bios_boot
from imgfix.disk.sector import SECTOR, ReadAt
from imgfix.errors import ImageError

#: GPT attribute bit 2: legacy BIOS bootable (UEFI specification 2.10, table 5.8).
_LEGACY_BOOTABLE = 1 << 2
#: Where the header of a GPT stands on a disk with 4,096-byte logical sectors.
_HEADER_4K = 4096


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition; `start` and `size` in bytes.

    `type` is a lower-case GUID (GPT) or "0x83" (MBR), `uuid` what Linux calls PARTUUID, `attributes` the
    64 bits of a GPT entry (0 for MBR), `bootable` the active flag (MBR) or the legacy-BIOS bit (GPT).
    Names come from the guest: escape before showing.
    """

    number: int
    start: int
    size: int
    type: str
    uuid: str
    name: str = ""
    attributes: int = 0
    bootable: bool = False

    @property
    def end(self) -> int:
        """The first byte behind the partition."""
        return self.start + self.size

    @property
    def is_esp(self) -> bool:
        """An EFI system partition, on GPT or MBR."""
        return self.type in (str(gpt.ESP), "0xef")

    @property
    def is_bios_boot(self) -> bool:
        """The partition that holds GRUB's core image on a GPT disk that boots by BIOS."""
        return self.type == str(gpt.BIOS_BOOT)


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """What stands at the begin of a disk; `scheme` is None where there is no table.

    `identity` is the GPT's disk GUID or the MBR signature (eight hex digits). `has_boot_code` says that the
    first 440 bytes are not all zero, so a BIOS has something to run; `bios` says how far that gets.
    """

    scheme: Literal["gpt", "mbr"] | None
    identity: str | None
    has_boot_code: bool
    partitions: tuple[Partition, ...]
    bios: BiosBoot = UNKNOWN


def read_partitions(read_at: ReadAt, size: int) -> PartitionTable:
    """Return the partition table of a disk of `size` bytes with 512-byte sectors.

    Raises ImageError for a damaged table, a partition that ends beyond the disk, a GPT without protective
    MBR (Linux and UEFI ignore it) and a GPT made for 4,096-byte sectors (Azure has none).
    """
    sector = read_at(0, SECTOR)
    is_mbr = mbr.is_table(sector)
    has_gpt = read_at(gpt.PRIMARY_LBA * SECTOR, 8) == gpt.SIGNATURE
    if not has_gpt and read_at(_HEADER_4K, 8) == gpt.SIGNATURE:
        raise ImageError(
            "the GPT is made for 4096-byte sectors, and Azure presents disks with 512-byte sectors",
            hint="export the disk from the hypervisor with 512-byte logical sectors (512e)",
        )
    if is_mbr and any(entry.type == mbr.PROTECTIVE for entry in mbr.primaries(sector)):
        table = _from_gpt(read_at, size, sector)
    elif has_gpt and not (is_mbr and mbr.primaries(sector)):
        raise ImageError(
            "there is a GPT header, but no protective MBR in the first sector: UEFI and Linux ignore it",
            hint="on a copy of the image, after a look at its content: sgdisk -e DISK",
        )
    elif is_mbr:
        table = _from_mbr(read_at, sector)
    else:
        table = PartitionTable(None, None, _has_boot_code(sector), ())
    _check_ends(table, size)
    return replace(table, bios=read_bios_boot(read_at, size, table.partitions))


def _has_boot_code(sector: bytes) -> bool:
    return any(sector[mbr.BOOT_CODE])


def _from_gpt(read_at: ReadAt, size: int, sector: bytes) -> PartitionTable:
    table = gpt.read_primary(read_at, size)
    partitions = tuple(
        Partition(
            number=entry.number,
            start=entry.first * SECTOR,
            size=(entry.last - entry.first + 1) * SECTOR,
            type=str(entry.type),
            uuid=str(entry.guid),
            name=entry.name,
            attributes=entry.attributes,
            bootable=bool(entry.attributes & _LEGACY_BOOTABLE),
        )
        for entry in table.entries
    )
    return PartitionTable("gpt", str(table.header.disk_guid), _has_boot_code(sector), partitions)


def _from_mbr(read_at: ReadAt, sector: bytes) -> PartitionTable:
    entries = list(mbr.primaries(sector))
    next_number = 5
    for extended in [entry for entry in entries if entry.type in mbr.EXTENDED]:
        found = mbr.logicals(read_at, extended, next_number)
        next_number += len(found)
        entries += found
    identity = f"{mbr.signature(sector):08x}"
    partitions = tuple(
        Partition(
            number=entry.number,
            start=entry.start * SECTOR,
            size=entry.sectors * SECTOR,
            type=f"{entry.type:#04x}",
            uuid=f"{identity}-{entry.number:02x}",
            bootable=entry.active,
        )
        for entry in entries
    )
    return PartitionTable("mbr", identity, _has_boot_code(sector), partitions)


def _check_ends(table: PartitionTable, size: int) -> None:
    for partition in table.partitions:
        if partition.end > size:
            raise ImageError(
                f"partition {partition.number} ends at byte {partition.end}, the disk at byte {size}: "
                "the image is truncated",
                hint="copy or export the disk again; a partial download or a full disk cuts files short",
            )
