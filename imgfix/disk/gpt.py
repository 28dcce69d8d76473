"""The GUID partition table: header and entries read and verified. Pure.

Layout and rules: UEFI specification 2.10, 5.3
(https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html). Numbers are little-endian, places are
logical blocks (LBA) of 512 bytes.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass, replace

from imgfix.disk.sector import SECTOR, ReadAt, read_exact
from imgfix.errors import ImageError

SIGNATURE = b"EFI PART"
PRIMARY_LBA = 1
#: Type GUIDs: https://uefi.org/specs/UEFI/2.10/05_GUID_Partition_Table_Format.html (ESP),
#: https://www.gnu.org/software/grub/manual/grub/html_node/BIOS-installation.html (BIOS boot).
ESP = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
BIOS_BOOT = uuid.UUID("21686148-6449-6e6f-744e-656564454649")

_LAYOUT = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
#: sgdisk writes 128 entries of 128 bytes; a table above 1 MiB is damaged or hostile.
_MAX_TABLE = 1 << 20


@dataclass(frozen=True, slots=True)
class Header:
    """A verified header; places in LBA. `sector` holds its bytes, as vendors may extend it past 92 bytes."""

    sector: bytes
    header_size: int
    my_lba: int
    alternate_lba: int
    first_usable: int
    last_usable: int
    disk_guid: uuid.UUID
    entries_lba: int
    entry_count: int
    entry_size: int
    entries_crc: int

    @property
    def entries_size(self) -> int:
        """Bytes of the array of entries."""
        return self.entry_count * self.entry_size

    @property
    def entries_sectors(self) -> int:
        """Sectors that the array of entries takes."""
        return -(-self.entries_size // SECTOR)


@dataclass(frozen=True, slots=True)
class Entry:
    """One used entry; `first` and `last` are LBAs, both inside the partition."""

    number: int
    type: uuid.UUID
    guid: uuid.UUID
    first: int
    last: int
    attributes: int
    name: str


@dataclass(frozen=True, slots=True)
class Table:
    """Header, array of entries as bytes, and the used entries."""

    header: Header
    array: bytes
    entries: tuple[Entry, ...]


def read_primary(read_at: ReadAt, size: int) -> Table:
    """Return the verified primary table of a disk of `size` bytes.

    Raises ImageError if it is damaged, saying what is, and whether the backup at the end would do.
    """
    try:
        return read_table(read_at, PRIMARY_LBA)
    except ImageError as error:
        raise ImageError(
            f"the primary GPT is damaged: {error.message}", hint=_repair_hint(read_at, size)
        ) from error


def read_table(read_at: ReadAt, lba: int) -> Table:
    """Return the verified table whose header is at `lba`, primary or backup; raises ImageError."""
    header = parse_header(read_exact(read_at, lba * SECTOR, SECTOR, "the GPT header"), lba)
    array = read_exact(
        read_at, header.entries_lba * SECTOR, header.entries_size, "the GPT's partition entries"
    )
    if zlib.crc32(array) != header.entries_crc:
        raise ImageError(
            f"its entries have CRC {zlib.crc32(array):08x}, the header says {header.entries_crc:08x}"
        )
    return Table(header, array, _entries(header, array))


def parse_header(sector: bytes, lba: int) -> Header:
    """Read and verify the 512-byte header that was found at `lba`; raises ImageError."""
    signature, revision, length, crc, _, my_lba, alternate, first, last, guid, at, count, each, array_crc = (
        _LAYOUT.unpack_from(sector)
    )
    if signature != SIGNATURE:
        raise ImageError(f"no header with {SIGNATURE.decode()!r} at sector {lba}")
    if revision >> 16 != 1 or not _LAYOUT.size <= length <= SECTOR:
        raise ImageError(f"the header has revision {revision:#x} and {length} bytes")
    if header_crc(sector[:length]) != crc:
        raise ImageError(f"the header has CRC {header_crc(sector[:length]):08x}, it says {crc:08x}")
    if my_lba != lba:
        raise ImageError(f"the header says it is at sector {my_lba}, it is at {lba}")
    header = Header(
        sector, length, my_lba, alternate, first, last, uuid.UUID(bytes_le=guid), at, count, each, array_crc
    )
    _check_places(header)
    return header


def header_crc(header: bytes) -> int:
    """Return the CRC32 of a header's bytes, its own CRC field counted as zero."""
    return zlib.crc32(header[:16] + bytes(4) + header[20:])


def build_sector(header: Header, **places: int) -> bytes:
    """Return the sector of `header` with the given fields replaced, and its CRC made right."""
    new = replace(header, **places)  # type: ignore[arg-type]  # only integer fields are passed
    fields = list(_LAYOUT.unpack_from(header.sector))
    fields[5:9] = [new.my_lba, new.alternate_lba, new.first_usable, new.last_usable]
    fields[10] = new.entries_lba
    body = _LAYOUT.pack(*fields) + header.sector[_LAYOUT.size : header.header_size]
    crc = struct.pack("<I", header_crc(body))
    return body[:16] + crc + body[20:] + header.sector[header.header_size :]


def _check_places(header: Header) -> None:
    if (
        not 128 <= header.entry_size <= 4096
        or header.entry_size % 8
        or not 0 < header.entries_size <= _MAX_TABLE
    ):
        raise ImageError(f"the header names {header.entry_count} entries of {header.entry_size} bytes")
    if header.first_usable > header.last_usable + 1:
        raise ImageError(
            f"the first usable sector is {header.first_usable}, behind the last, {header.last_usable}"
        )
    is_primary = header.my_lba == PRIMARY_LBA
    end = header.entries_lba + header.entries_sectors
    if header.entries_lba <= PRIMARY_LBA or (is_primary and end > header.first_usable):
        raise ImageError(
            f"the partition entries take sectors {header.entries_lba} to {end}, "
            f"the first usable sector is {header.first_usable}"
        )


def _entries(header: Header, array: bytes) -> tuple[Entry, ...]:
    slots = (array[at : at + header.entry_size] for at in range(0, header.entries_size, header.entry_size))
    return tuple(_entry(number, slot) for number, slot in enumerate(slots, start=1) if any(slot[:16]))


def _entry(number: int, slot: bytes) -> Entry:
    kind, guid, first, last, attributes, name = _ENTRY.unpack_from(slot)
    if first > last:
        raise ImageError(f"partition {number} starts at sector {first}, behind its end, {last}")
    text = name.decode("utf-16-le", errors="replace").split("\0", 1)[0]
    return Entry(number, uuid.UUID(bytes_le=kind), uuid.UUID(bytes_le=guid), first, last, attributes, text)


def _repair_hint(read_at: ReadAt, size: int) -> str:
    try:
        read_table(read_at, size // SECTOR - 1)
    except ImageError:
        return "there is no good backup at the end of the disk either: copy or export the disk again"
    # sgdisk reads the backup when the primary is bad, and any change, such as -e, writes both.
    return "the backup at the end of the disk is good; on a copy of the image: sgdisk -e DISK"
