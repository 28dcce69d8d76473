"""Moving a GPT's backup to the new end of a disk that has grown (R8). Pure: it returns the writes.

The backup header belongs in the last sector, its entries right before it: UEFI specification 2.10, 5.3.1
(https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from imgfix.disk import gpt, mbr
from imgfix.disk.sector import SECTOR, ReadAt, read_exact
from imgfix.disk.size import round_up_mib
from imgfix.errors import ImageError

_MAX_SECTORS = 0xFFFF_FFFF


class Write(NamedTuple):
    """`data` goes to byte `offset` of the disk."""

    offset: int
    data: bytes


def minimum_size(table: gpt.Table) -> int:
    """Return the bytes a disk needs for the partitions of `table` and a backup behind them."""
    last = max((entry.last for entry in table.entries), default=table.header.first_usable - 1)
    return (last + 1 + table.header.entries_sectors + 1) * SECTOR


def padded_size(read_at: ReadAt, size: int, *, gpt_disk: bool, least: int = 0) -> int:
    """Return the bytes that a disk of `size` bytes is to have: whole MiB, and no less than `least`.

    One more where a GPT disk lost its end and its partitions leave no room for a backup.
    """
    needed = minimum_size(gpt.read_primary(read_at, size)) if gpt_disk else 0
    return round_up_mib(max(size, needed, least))


def relocate(read_at: ReadAt, old_size: int, new_size: int) -> tuple[Write, ...]:
    """Return the writes, in order, that make the GPT of a disk right at `new_size` bytes; none if it is.

    `read_at` reads the disk as it is, of `old_size` bytes. The old backup is zeroed only where it provably
    is one (its CRCs hold) and no partition lies there. Raises ImageError if the primary is damaged or no
    backup fits behind the last partition (see minimum_size).
    """
    table = gpt.read_primary(read_at, old_size)
    if minimum_size(table) > new_size:
        raise ImageError(
            f"the GPT needs a disk of {minimum_size(table)} bytes for its backup, the disk has {new_size}"
        )
    last_lba = new_size // SECTOR - 1
    writes = _protective(read_exact(read_at, 0, SECTOR, "the protective MBR"), last_lba)
    if _is_right(read_at, table, last_lba):
        return writes
    return (*_zeros(read_at, table), *_copies(table, last_lba), *writes)


def _is_right(read_at: ReadAt, table: gpt.Table, last_lba: int) -> bool:
    header = table.header
    if header.alternate_lba != last_lba:
        return False
    try:
        backup = gpt.read_table(read_at, last_lba)
    except ImageError:
        return False
    mirrored = (backup.header.alternate_lba, backup.header.first_usable, backup.header.last_usable)
    wanted = (gpt.PRIMARY_LBA, header.first_usable, header.last_usable)
    return (
        mirrored == wanted
        and backup.array == table.array
        and backup.header.disk_guid == header.disk_guid
        and backup.header.entries_lba > header.last_usable
    )


def _copies(table: gpt.Table, last_lba: int) -> Iterator[Write]:
    header = table.header
    entries_lba = last_lba - header.entries_sectors
    usable = entries_lba - 1
    backup = gpt.build_sector(
        header,
        my_lba=last_lba,
        alternate_lba=gpt.PRIMARY_LBA,
        last_usable=usable,
        entries_lba=entries_lba,
    )
    primary = gpt.build_sector(header, alternate_lba=last_lba, last_usable=usable)
    padding = bytes(header.entries_sectors * SECTOR - header.entries_size)
    yield Write(entries_lba * SECTOR, table.array + padding)
    yield Write(last_lba * SECTOR, backup)
    yield Write(gpt.PRIMARY_LBA * SECTOR, primary)


def _zeros(read_at: ReadAt, table: gpt.Table) -> Iterator[Write]:
    try:
        old = gpt.read_table(read_at, table.header.alternate_lba).header
    except ImageError:
        return
    if old.my_lba == gpt.PRIMARY_LBA or old.disk_guid != table.header.disk_guid:
        return
    for lba, sectors in ((old.entries_lba, old.entries_sectors), (old.my_lba, 1)):
        if lba >= table.header.first_usable and not _overlaps(table, lba, lba + sectors):
            yield Write(lba * SECTOR, bytes(sectors * SECTOR))


def _overlaps(table: gpt.Table, start: int, end: int) -> bool:
    return any(entry.first < end and start <= entry.last for entry in table.entries)


def _protective(sector: bytes, last_lba: int) -> tuple[Write, ...]:
    """A hybrid MBR is left alone, and so is the "too large to say" size that Windows writes on every disk."""
    entries = mbr.primaries(sector)
    wanted = min(last_lba, _MAX_SECTORS)
    if len(entries) != 1 or entries[0].type != mbr.PROTECTIVE or entries[0].sectors in (wanted, _MAX_SECTORS):
        return ()
    at = 446 + 16 * (entries[0].number - 1) + 12
    # The CHS fields before it stay: no firmware or kernel reads them in an entry of type EE.
    return (Write(0, sector[:at] + struct.pack("<I", wanted) + sector[at + 4 :]),)
