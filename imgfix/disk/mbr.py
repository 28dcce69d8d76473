"""The MBR partition table, with logical partitions. Pure.

Layout: UEFI specification 2.10, 5.2 (https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html);
chains of logical partitions as in Linux' block/partitions/msdos.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imgfix.disk.sector import SECTOR, ReadAt, read_exact
from imgfix.errors import ImageError

#: Boot code is what a BIOS runs: the bytes before the disk signature.
BOOT_CODE = slice(0, 440)
PROTECTIVE = 0xEE
EXTENDED = frozenset((0x05, 0x0F, 0x85))
#: Linux reads at most this many links of a chain (DISK_MAX_PARTS); more is a damaged or hostile table.
MAX_LOGICAL = 256

_ENTRIES_AT = 446
_ENTRY = struct.Struct("<B3sB3sII")
_ACTIVE = 0x80
#: What a file system put straight on a disk leaves in a first sector that ends in 55 AA as well.
_FILE_SYSTEMS = ((3, b"NTFS    "), (3, b"EXFAT   "), (54, b"FAT"), (82, b"FAT32"))


@dataclass(frozen=True, slots=True)
class Entry:
    """One used entry; `start` and `sectors` in 512-byte sectors, `start` from the begin of the disk."""

    number: int
    active: bool
    type: int
    start: int
    sectors: int


def signature(sector: bytes) -> int:
    """Return the 32-bit disk signature."""
    return int.from_bytes(sector[BOOT_CODE.stop : BOOT_CODE.stop + 4], "little")


def is_table(sector: bytes) -> bool:
    """Say whether the first sector of a disk is an MBR, and not empty or a file system's boot sector."""
    if not _is_marked(sector):
        return False
    slots = tuple(_slots(sector))
    if any(flag not in (0, _ACTIVE) for flag, *_ in slots):
        return False
    is_empty = not any(kind for _, kind, *_ in slots)
    return not (is_empty and any(sector[at : at + len(mark)] == mark for at, mark in _FILE_SYSTEMS))


def primaries(sector: bytes) -> tuple[Entry, ...]:
    """Return the used entries of an MBR; numbers are 1 to 4, extended partitions are among them."""
    return tuple(
        Entry(number, flag == _ACTIVE, kind, start, sectors)
        for number, (flag, kind, start, sectors) in enumerate(_slots(sector), start=1)
        if kind and sectors
    )


def logicals(read_at: ReadAt, extended: Entry, first_number: int) -> tuple[Entry, ...]:
    """Return the logical partitions inside `extended`, numbered from `first_number`.

    Raises ImageError for a chain that loops, leaves the disk, or is broken after its first link. A first
    link without 55 AA is an extended partition that nobody has used yet.
    """
    found: list[Entry] = []
    seen: set[int] = set()
    link: int | None = extended.start
    while link is not None:
        if link in seen or len(seen) >= MAX_LOGICAL:
            raise ImageError(f"the chain of logical partitions loops or is too long, at sector {link}")
        seen.add(link)
        sector = read_exact(read_at, link * SECTOR, SECTOR, "a logical partition's table")
        if not _is_marked(sector):
            if len(seen) == 1:
                break
            raise ImageError(f"the chain of logical partitions is broken at sector {link}: no 55 AA there")
        found += _data_entries(sector, link, first_number + len(found))
        link = _next_link(sector, extended.start)
    return tuple(found)


def _is_marked(sector: bytes) -> bool:
    return len(sector) == SECTOR and sector[510:] == b"\x55\xaa"


def _slots(sector: bytes) -> Iterator[tuple[int, int, int, int]]:
    for flag, _, kind, _, start, sectors in _ENTRY.iter_unpack(sector[_ENTRIES_AT:510]):
        yield flag, kind, start, sectors


def _data_entries(sector: bytes, link: int, first_number: int) -> list[Entry]:
    used = [slot for slot in _slots(sector) if slot[1] and slot[3] and slot[1] not in EXTENDED]
    return [
        Entry(number, flag == _ACTIVE, kind, link + start, sectors)
        for number, (flag, kind, start, sectors) in enumerate(used, start=first_number)
    ]


def _next_link(sector: bytes, base: int) -> int | None:
    """Links count from the begin of the extended partition, data entries from their own link."""
    return next(
        (base + start for _, kind, start, sectors in _slots(sector) if kind in EXTENDED and sectors), None
    )
