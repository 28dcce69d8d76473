"""The footer of a VHD: reading any, writing the fixed one. Pure: bytes in, bytes out.

Specification: https://learn.microsoft.com/en-us/windows/win32/vstor/about-vhd (Virtual Hard Disk Image Format
Specification 1.0, "Hard Disk Footer Format"). All numbers are big-endian.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, NamedTuple, get_type_hints

from imgfix.errors import ImageError

FOOTER_SIZE = 512
COOKIE = b"conectix"
#: VHD counts seconds from 2000-01-01T00:00:00Z; this is that moment in unix time.
EPOCH = 946_684_800
LATEST_TIMESTAMP = EPOCH + 0xFFFF_FFFF
NO_OFFSET = 0xFFFF_FFFF_FFFF_FFFF
VERSION_1_0 = 0x0001_0000


class _Fields(NamedTuple):
    """The footer as a table: one row a field, with its struct code. The last 427 bytes are reserved."""

    cookie: Annotated[bytes, "8s"]
    features: Annotated[int, "I"]
    version: Annotated[int, "I"]
    data_offset: Annotated[int, "Q"]
    timestamp: Annotated[int, "I"]
    creator_app: Annotated[bytes, "4s"]
    creator_version: Annotated[int, "I"]
    creator_os: Annotated[bytes, "4s"]
    original_size: Annotated[int, "Q"]
    current_size: Annotated[int, "Q"]
    cylinders: Annotated[int, "H"]
    heads: Annotated[int, "B"]
    sectors: Annotated[int, "B"]
    disk_type: Annotated[int, "I"]
    checksum: Annotated[int, "I"]
    unique_id: Annotated[bytes, "16s"]
    saved_state: Annotated[int, "B"]
    reserved: Annotated[bytes, "427s"]


_CODES = (hint.__metadata__[0] for hint in get_type_hints(_Fields, include_extras=True).values())
_LAYOUT = struct.Struct(">" + "".join(_CODES))
_CHECKSUM = slice(64, 68)


class DiskType(IntEnum):
    """The disk types of the specification that are not deprecated."""

    FIXED = 2
    DYNAMIC = 3
    DIFFERENCING = 4


@dataclass(frozen=True, slots=True)
class Footer:
    """A verified footer. Sizes are in bytes, `timestamp` in unix seconds; geometry is informative only."""

    disk_type: DiskType
    current_size: int
    original_size: int
    timestamp: int
    unique_id: uuid.UUID
    creator_app: bytes
    creator_version: int
    creator_os: bytes
    cylinders: int
    heads: int
    sectors: int
    data_offset: int
    features: int
    saved_state: bool


def checksum(footer: bytes) -> int:
    """Return the ones' complement of the sum of all bytes, the checksum's own four counted as zero."""
    return ~(sum(footer) - sum(footer[_CHECKSUM])) & 0xFFFF_FFFF


def parse_footer(data: bytes, file_size: int) -> Footer:
    """Read and verify the 512-byte footer `data` of a VHD file of `file_size` bytes.

    Raises ImageError unless cookie, version, checksum and type hold and, for a fixed disk, its current size
    is the file without the footer. Readers of the field differ where it is not (qemu takes the geometry for
    some creators, and serves the footer as data when the file is cut), so nothing is guessed here.
    """
    if len(data) != FOOTER_SIZE:
        raise ImageError(f"a VHD footer has {FOOTER_SIZE} bytes, here are {len(data)}")
    fields = _Fields._make(_LAYOUT.unpack(data))
    _check_marks(fields, data)
    footer = _footer(fields)
    if footer.disk_type is DiskType.FIXED:
        _check_fixed_size(footer.current_size, file_size)
    return footer


def fixed_footer(size: int, *, timestamp: int, unique_id: uuid.UUID) -> bytes:
    """Return the footer of a fixed VHD of `size` bytes of data; `timestamp` in unix seconds.

    Byte for byte what `qemu-img convert -O vpc -o subformat=fixed,force_size` writes: creator "qem2" and the
    maximum geometry make every reader take the current size instead of the geometry
    (https://gitlab.com/qemu-project/qemu/-/blob/master/block/vpc.c, vpc_open and create_fixed_disk).
    Raises ValueError for a size that is no whole number of sectors or a time that the format cannot hold.
    """
    if size <= 0 or size % 512:
        raise ValueError(f"{size} bytes is not a whole number of sectors")
    if not EPOCH <= timestamp <= LATEST_TIMESTAMP:
        raise ValueError(f"{timestamp} is not between {EPOCH} and {LATEST_TIMESTAMP}")
    draft = _LAYOUT.pack(
        *_Fields(
            cookie=COOKIE,
            features=2,
            version=VERSION_1_0,
            data_offset=NO_OFFSET,
            timestamp=timestamp - EPOCH,
            creator_app=b"qem2",
            creator_version=0x0005_0003,
            creator_os=b"Wi2k",
            original_size=size,
            current_size=size,
            cylinders=65535,
            heads=16,
            sectors=255,
            disk_type=DiskType.FIXED,
            checksum=0,
            unique_id=unique_id.bytes,
            saved_state=0,
            reserved=bytes(427),
        )
    )
    return draft[: _CHECKSUM.start] + struct.pack(">I", checksum(draft)) + draft[_CHECKSUM.stop :]


def _check_marks(fields: _Fields, data: bytes) -> None:
    if fields.cookie != COOKIE:
        raise ImageError(f"no VHD footer: the cookie is {fields.cookie!r}, not {COOKIE!r}")
    if fields.checksum != checksum(data):
        raise ImageError(
            f"the VHD footer is damaged: its checksum is {fields.checksum:#010x}, "
            f"its bytes give {checksum(data):#010x}",
            hint="copy or export the disk again",
        )
    # Only the major version, the upper half, breaks readers (specification, "File Format Version").
    if fields.version >> 16 != VERSION_1_0 >> 16:
        raise ImageError(f"VHD version {fields.version:#010x} is unknown, only 1.x is known")
    if fields.disk_type not in tuple(DiskType):
        raise ImageError(
            f"VHD disk type {fields.disk_type} is unknown: 2 (fixed), 3 (dynamic), 4 (differencing)"
        )


def _check_fixed_size(current: int, file_size: int) -> None:
    if current != file_size - FOOTER_SIZE:
        raise ImageError(
            f"the fixed VHD says it holds {current} bytes, but the file has {file_size - FOOTER_SIZE} bytes "
            "before its footer: truncated, padded, or resized by a tool that did not rewrite the footer",
            hint="copy or export the disk again",
        )
    if current == 0 or current % 512:
        raise ImageError(f"the fixed VHD says it holds {current} bytes, not a whole number of sectors")


def _footer(fields: _Fields) -> Footer:
    return Footer(
        disk_type=DiskType(fields.disk_type),
        current_size=fields.current_size,
        original_size=fields.original_size,
        timestamp=fields.timestamp + EPOCH,
        unique_id=uuid.UUID(bytes=fields.unique_id),
        creator_app=fields.creator_app,
        creator_version=fields.creator_version,
        creator_os=fields.creator_os,
        cylinders=fields.cylinders,
        heads=fields.heads,
        sectors=fields.sectors,
        data_offset=fields.data_offset,
        features=fields.features,
        saved_state=bool(fields.saved_state),
    )
