"""A stream-optimized VMDK as VMware, ovftool and VirtualBox write it: front to back, its directory at the end.

qemu-img writes the directory in front, so that it cannot make what people really export.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

SECTOR = 512
GRAIN = 128 * SECTOR
ENTRIES = 512
_AT_END = (1 << 64) - 1

_TEXT = """# Disk DescriptorFile
version=1
CID=fffffffe
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW {sectors} SPARSE "generated-stream.vmdk"

# The Disk Data Base
#DDB
ddb.virtualHWVersion = "4"
ddb.comment = ""
"""


def _header(capacity: int, directory: int) -> bytes:
    flags = 1 | 1 << 16 | 1 << 17
    fields = struct.pack("<4sIIQQQQIQQQ", b"KDMV", 3, flags, capacity, 128, 1, 20, ENTRIES, 0, directory, 128)
    return (fields + b"\0\n \r\n" + struct.pack("<H", 1)).ljust(SECTOR, b"\0")


def _marker(sectors: int, kind: int) -> bytes:
    return struct.pack("<QII", sectors, 0, kind).ljust(SECTOR, b"\0")


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % SECTOR)


def write_stream(raw: Path, path: Path) -> None:
    """Write the raw disk, small enough for memory, as a stream."""
    data = raw.read_bytes()
    capacity = len(data) // SECTOR
    text = _TEXT.format(sectors=capacity).encode()
    out = bytearray(_header(capacity, _AT_END) + text.ljust(20 * SECTOR, b"\0"))
    out += bytes(128 * SECTOR - len(out))
    directory = []
    for first in range(0, len(data), GRAIN * ENTRIES):
        table = [0] * ENTRIES
        for number, at in enumerate(range(first, min(first + GRAIN * ENTRIES, len(data)), GRAIN)):
            grain = data[at : at + GRAIN].ljust(GRAIN, b"\0")
            if any(grain):
                packed = zlib.compress(grain)
                table[number] = len(out) // SECTOR
                out += _pad(struct.pack("<QI", at // SECTOR, len(packed)) + packed)
        if any(table):
            out += _marker(4, 1)
            directory.append(len(out) // SECTOR)
            out += struct.pack(f"<{ENTRIES}I", *table)
        else:
            directory.append(0)
    rows = _pad(struct.pack(f"<{len(directory)}I", *directory))
    out += _marker(len(rows) // SECTOR, 2)
    at = len(out) // SECTOR
    out += rows + _marker(1, 3) + _header(capacity, at) + bytes(SECTOR)
    path.write_bytes(bytes(out))
