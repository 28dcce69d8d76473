"""VHDX: Hyper-V's newer format. Pure.

Specification: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-vhdx
"""

from __future__ import annotations

import struct
import uuid
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from imgfix.disk.layout import AGAIN, File, Layout, Run, chunked, numbers, require_size
from imgfix.disk.record import layout_of
from imgfix.errors import ImageError

_KIB, _MIB = 1 << 10, 1 << 20
_HEADERS = (64 * _KIB, 128 * _KIB)
_HEADER_SIZE = 4 * _KIB
_REGIONS = (192 * _KIB, 256 * _KIB)
_REGION_SIZE = 64 * _KIB
_MAX_ENTRIES = 2047
_BAT = uuid.UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
_METADATA = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
FILE_PARAMETERS = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
DISK_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
_DISK_ID = uuid.UUID("beca12ab-b2e6-4523-93ef-c309e000c746")
LOGICAL_SECTOR = uuid.UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
_PHYSICAL_SECTOR = uuid.UUID("cda348c7-445d-4471-9cc9-e9885251c556")
_PARENT_LOCATOR = uuid.UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
_KNOWN_ITEMS = {FILE_PARAMETERS, DISK_SIZE, _DISK_ID, LOGICAL_SECTOR, _PHYSICAL_SECTOR, _PARENT_LOCATOR}
_HAS_PARENT = 2
_REQUIRED_ITEM = 4
_STATE = 7
_MISSING, _UNDEFINED, _ZERO, _UNMAPPED, _FULL = 0, 1, 2, 3, 6
_MEGABYTES = ~((1 << 20) - 1)


class _Header(NamedTuple):
    signature: Annotated[bytes, "4s"]
    checksum: Annotated[int, "I"]
    sequence: Annotated[int, "Q"]
    file_write: Annotated[bytes, "16s"]
    data_write: Annotated[bytes, "16s"]
    log: Annotated[bytes, "16s"]
    log_version: Annotated[int, "H"]
    version: Annotated[int, "H"]
    log_length: Annotated[int, "I"]
    log_offset: Annotated[int, "Q"]


class _Region(NamedTuple):
    guid: Annotated[bytes, "16s"]
    offset: Annotated[int, "Q"]
    length: Annotated[int, "I"]
    required: Annotated[int, "I"]


class _Item(NamedTuple):
    guid: Annotated[bytes, "16s"]
    offset: Annotated[int, "I"]
    length: Annotated[int, "I"]
    flags: Annotated[int, "I"]
    reserved: Annotated[int, "I"]


_HEADER, _REGION, _ITEM = (layout_of(kind, "<") for kind in (_Header, _Region, _Item))


@dataclass(frozen=True, slots=True)
class _Image:
    file: File
    block: int
    size: int
    bat: array[int]
    ratio: int

    def load(self, number: int, within: int, length: int) -> bytes:
        entry = self.bat[number + number // self.ratio]
        if entry & _STATE != _FULL:
            return b""
        return self.file.read_at((entry & _MEGABYTES) + within, length)

    def runs(self) -> Iterator[Run]:
        """Where the blocks are that hold something."""
        for number in range(-(-self.size // self.block)):
            entry = self.bat[number + number // self.ratio]
            if entry & _STATE == _FULL:
                start = number * self.block
                yield Run(start, entry & _MEGABYTES, min(self.block, self.size - start))

    def measure(self) -> int:
        """Check every entry; return the bytes that are allocated."""
        allocated = 0
        for number in range(-(-self.size // self.block)):
            entry = self.bat[number + number // self.ratio]
            state = entry & _STATE
            if state == _FULL:
                self.file.require(
                    (entry & _MEGABYTES) + min(self.block, self.size - number * self.block), "a block"
                )
                if not entry & _MEGABYTES:
                    raise ImageError(f"damaged: block {number} lies over the header", hint=AGAIN)
                allocated += self.block
            elif state not in (_MISSING, _UNDEFINED, _ZERO, _UNMAPPED):
                raise ImageError(f"damaged: block {number} has the state {state}", hint=AGAIN)
        return allocated


def layout(file: File) -> Layout:
    """Read headers, regions, metadata and the block table of a VHDX.

    Raises ImageError for a differencing disk, a log that was not replayed, 4,096-byte logical sectors, unknown
    required parts, and what is damaged or truncated.
    """
    if file.read_at(0, 8) != b"vhdxfile":
        raise ImageError(
            "it does not begin as a VHDX image does", hint="leave out --format: imgfix finds out what it is"
        )
    _refuse_dirty(_current_header(file))
    regions = _regions(file)
    items = _items(file, regions[_METADATA])
    block, size = _parameters(items)
    ratio = (1 << 23) * 512 // block
    blocks = -(-size // block)
    entries = blocks + (blocks - 1) // ratio
    bat = regions[_BAT]
    if bat.length < entries * 8:
        raise ImageError(
            f"damaged: its block table has {bat.length} bytes, {entries * 8} needed for its size", hint=AGAIN
        )
    table = numbers(file.exactly(bat.offset, entries * 8, "the block table"), "Q", big=False)
    image = _Image(file, block, size, table, ratio)
    return Layout(size, image.measure(), chunked(size, block, image.load), runs=image.runs)


def crc32c(data: bytes) -> int:
    """Return the Castagnoli CRC that VHDX uses (RFC 3720, appendix B.4)."""
    crc = 0xFFFF_FFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFF_FFFF


def _row(crc: int) -> int:
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F6_3B78 if crc & 1 else 0)
    return crc


_TABLE = tuple(_row(value) for value in range(256))


def _sound(data: bytes, signature: bytes) -> bool:
    """Whether a structure has its signature and its checksum, the latter's own four bytes counted as zero."""
    return data[:4] == signature and crc32c(data[:4] + bytes(4) + data[8:]) == int.from_bytes(
        data[4:8], "little"
    )


def _current_header(file: File) -> _Header:
    copies = [file.exactly(offset, _HEADER_SIZE, "a header") for offset in _HEADERS]
    valid = [_Header._make(_HEADER.unpack(copy[: _HEADER.size])) for copy in copies if _sound(copy, b"head")]
    if not valid:
        raise ImageError("damaged: neither of its two headers is valid", hint=AGAIN)
    header = max(valid, key=lambda one: one.sequence)
    if header.version != 1:
        raise ImageError(f"VHDX version {header.version} is not known, only 1")
    return header


def _refuse_dirty(header: _Header) -> None:
    if any(header.log):
        raise ImageError(
            "its log was not replayed: the machine that used it ended without closing it",
            hint="attach it once in Hyper-V (Mount-VHD -Path IN, then Dismount-VHD -Path IN), or replay the log of a "
            "copy: qemu-img check -f vhdx -r all IN",
        )


def _regions(file: File) -> Mapping[uuid.UUID, _Region]:
    for offset in _REGIONS:
        table = file.exactly(offset, _REGION_SIZE, "the region table")
        if _sound(table, b"regi"):
            return _parse_regions(table)
    raise ImageError("damaged: neither of its two region tables is valid", hint=AGAIN)


def _parse_regions(table: bytes) -> Mapping[uuid.UUID, _Region]:
    count = int.from_bytes(table[8:12], "little")
    if count > _MAX_ENTRIES:
        raise ImageError(f"damaged: {count} regions, {_MAX_ENTRIES} at most", hint=AGAIN)
    rows = table[16 : 16 + count * _REGION.size]
    regions = {uuid.UUID(bytes_le=row[0]): _Region._make(row) for row in _REGION.iter_unpack(rows)}
    for guid, region in regions.items():
        if region.required & 1 and guid not in (_BAT, _METADATA):
            raise ImageError(f"it needs the region {guid}, which imgfix does not know")
    for guid, name in ((_BAT, "block table"), (_METADATA, "metadata")):
        if guid not in regions:
            raise ImageError(f"damaged: no {name} in its region table", hint=AGAIN)
    return regions


def _items(file: File, region: _Region) -> Mapping[uuid.UUID, bytes]:
    head = file.exactly(region.offset, _REGION_SIZE, "the metadata table")
    count = int.from_bytes(head[10:12], "little")
    if head[:8] != b"metadata" or count > _MAX_ENTRIES:
        raise ImageError("damaged: its metadata table is not valid", hint=AGAIN)
    items = {}
    for row in _ITEM.iter_unpack(head[32 : 32 + count * _ITEM.size]):
        item = _Item._make(row)
        guid = uuid.UUID(bytes_le=item.guid)
        if guid in _KNOWN_ITEMS:
            items[guid] = file.exactly(region.offset + item.offset, min(item.length, _KIB), "the metadata")
        elif item.flags & _REQUIRED_ITEM:
            raise ImageError(f"it needs the metadata {guid}, which imgfix does not know")
    return items


def _parameters(items: Mapping[uuid.UUID, bytes]) -> tuple[int, int]:
    """The size of a block and of the disk, in bytes."""
    try:
        block, flags = struct.unpack_from("<II", items[FILE_PARAMETERS])
        (size,) = struct.unpack_from("<Q", items[DISK_SIZE])
        (sector,) = struct.unpack_from("<I", items[LOGICAL_SECTOR])
    except (KeyError, struct.error) as error:
        raise ImageError(
            "damaged: its metadata lacks block size, disk size or sector size", hint=AGAIN
        ) from error
    if flags & _HAS_PARENT:
        raise ImageError(
            "it is a differencing disk: what it does not hold is in its parent",
            hint="merge it with its parent first, in Hyper-V: Merge-VHD -Path IN",
        )
    if sector != 512:
        raise ImageError(
            f"its logical sectors have {sector} bytes; Azure presents every OS disk with 512",
            hint="install the guest on a disk with 512-byte sectors, or move its partitions to one",
        )
    if block & (block - 1) or not _MIB <= block <= 256 * _MIB:
        raise ImageError(
            f"damaged: blocks of {block} bytes; a power of two from 1 MiB to 256 MiB is allowed", hint=AGAIN
        )
    require_size(size)
    return block, size
