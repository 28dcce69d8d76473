"""A read-only UDF 1.02 file system with a few files in its root: the DVD that Azure attaches to a new VM.

ECMA-167 (3rd edition) gives the structures, OSTA's UDF 1.02 their values. Pure: bytes out, no files of the host.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Mapping
from datetime import datetime, timezone

SECTOR = 2048
#: Sectors of the descriptors, fixed by ECMA-167 3/8.4 (16, 256) or ours to choose.
_VRS, _MAIN, _RESERVE, _INTEGRITY, _ANCHOR, _PARTITION = 16, 32, 48, 64, 256, 257
_SEQUENCE = 16
#: Blocks within the partition.
_FILE_SET, _ROOT, _ROOT_DATA, _FIRST_FILE = 0, 2, 3, 4

_CHARSET = b"\0" + b"OSTA Compressed Unicode".ljust(63, b"\0")
_READ_DIR, _READ_FILE = 0o5 | 0o5 << 5 | 0o5 << 10, 0o4 | 0o4 << 5 | 0o4 << 10
_DIRECTORY, _FILE = 4, 5


def image(files: Mapping[str, bytes], label: str, when: datetime | None = None) -> bytes:
    """Return the file system; `files` by name (ASCII), at most as many as fit into one block of entries.

    `when` is the time on everything in it, UTC; None: now. Raises ValueError for more files than that.
    """
    return _Writer(label, when or datetime.now(timezone.utc)).build(files)


class _Writer:
    def __init__(self, label: str, when: datetime) -> None:
        self._label = label
        self._time = struct.pack(
            "<HhBBBBBBBB",
            1 << 12,
            *(when.year, when.month, when.day, when.hour, when.minute, when.second),
            *(0, 0, 0),
        )

    def build(self, files: Mapping[str, bytes]) -> bytes:
        blocks, entries, at = [], [self._entry("", _ROOT, parent=True)], _FIRST_FILE
        for number, (name, content) in enumerate(files.items()):
            data_blocks = -(-len(content) // SECTOR)
            blocks.append(self._file_entry(at, _FILE, len(content), at + 1, _READ_FILE, 16 + number))
            blocks += [content[i * SECTOR : (i + 1) * SECTOR] for i in range(data_blocks)]
            entries.append(self._entry(name, at))
            at += 1 + data_blocks
        listing = b"".join(entries)
        if len(listing) > SECTOR:
            raise ValueError(f"{len(files)} files do not fit into one block of the directory")
        root = self._file_entry(_ROOT, _DIRECTORY, len(listing), _ROOT_DATA, _READ_DIR, 0)
        partition = [self._file_set(), _tagged(8, 1, bytes(496)), root, listing, *blocks]
        return self._disk(partition, len(files))

    def _disk(self, partition: list[bytes], files: int) -> bytes:
        sectors: dict[int, bytes] = {}
        for offset, name in enumerate((b"BEA01", b"NSR02", b"TEA01")):
            sectors[_VRS + offset] = b"\0" + name + b"\x01"
        for first in (_MAIN, _RESERVE):
            for offset, (tag, body) in enumerate(self._sequence(len(partition))):
                sectors[first + offset] = _tagged(tag, first + offset, body)
        sectors[_INTEGRITY] = _tagged(9, _INTEGRITY, self._integrity(len(partition), files))
        sectors[_INTEGRITY + 1] = _tagged(8, _INTEGRITY + 1, bytes(496))
        sectors |= {_PARTITION + offset: block for offset, block in enumerate(partition)}
        anchors = struct.pack("<IIII", _SEQUENCE * SECTOR, _MAIN, _SEQUENCE * SECTOR, _RESERVE) + bytes(480)
        last = _PARTITION + len(partition)
        for place in (_ANCHOR, last):
            sectors[place] = _tagged(2, place, anchors)
        return b"".join(sectors.get(number, b"").ljust(SECTOR, b"\0") for number in range(last + 1))

    def _sequence(self, length: int) -> list[tuple[int, bytes]]:
        """The volume's descriptors: primary, logical volume, partition, unallocated space, end."""
        primary = (
            struct.pack("<II", 1, 0)
            + _dstring(self._label, 32)
            + struct.pack("<HHHHII", 1, 1, 2, 2, 1, 1)
            + _dstring(f"{self._label} set", 128)
            + _CHARSET * 2
            + bytes(16)
            + _entity("*imgfix")
            + self._time
            + _entity("*imgfix")
            + bytes(64 + 4 + 2 + 22)
        )
        logical = (
            struct.pack("<I", 2)
            + _CHARSET
            + _dstring(self._label, 128)
            + struct.pack("<I", SECTOR)
            + _domain()
            + _long_ad(SECTOR, _FILE_SET)
            + struct.pack("<II", 6, 1)
            + _entity("*imgfix")
            + bytes(128)
            + struct.pack("<II", 2 * SECTOR, _INTEGRITY)
            + struct.pack("<BBHH", 1, 6, 1, 0)
        )
        part = (
            struct.pack("<IHH", 3, 1, 0)
            + _entity("+NSR02")
            + bytes(128)
            + struct.pack("<III", 1, _PARTITION, length)
            + _entity("*imgfix")
            + bytes(128 + 156)
        )
        return [(1, primary), (6, logical), (5, part), (7, struct.pack("<II", 4, 0)), (8, bytes(496))]

    def _integrity(self, length: int, files: int) -> bytes:
        use = _entity("*imgfix") + struct.pack("<IIHHH", files, 1, 0x102, 0x102, 0x102)
        head = self._time + struct.pack("<I", 1) + bytes(8) + struct.pack("<Q", 16 + files) + bytes(24)
        return head + struct.pack("<IIII", 1, len(use), 0, length) + use

    def _file_set(self) -> bytes:
        body = (
            self._time
            + struct.pack("<HHIIII", 3, 3, 1, 1, 0, 0)
            + _CHARSET
            + _dstring(self._label, 128)
            + _CHARSET
            + _dstring(self._label, 32)
            + bytes(64)
            + _long_ad(SECTOR, _ROOT)
            + _domain()
            + bytes(16 + 48)
        )
        return _tagged(256, _FILE_SET, body)

    def _file_entry(self, at: int, kind: int, length: int, data: int, mode: int, unique: int) -> bytes:
        extent = struct.pack("<II", length, data) if length else b""
        icb = struct.pack("<IHHHBB", 0, 4, 0, 1, 0, kind) + bytes(6) + struct.pack("<H", 0)
        body = (
            icb
            + struct.pack("<IIIHBBI", 0, 0, mode, 1, 0, 0, 0)
            + struct.pack("<QQ", length, -(-length // SECTOR))
            + self._time * 3
            + struct.pack("<I", 1)
            + bytes(16)
            + _entity("*imgfix")
            + struct.pack("<QII", unique, 0, len(extent))
            + extent
        )
        return _tagged(261, at, body)

    def _entry(self, name: str, icb: int, *, parent: bool = False) -> bytes:
        identifier = b"" if parent else b"\x08" + name.encode("ascii")
        body = (
            struct.pack("<HBB", 1, 0x0A if parent else 0, len(identifier))
            + _long_ad(SECTOR, icb)
            + struct.pack("<H", 0)
            + identifier
        )
        body += bytes(-(16 + len(body)) % 4)
        return _tagged(257, _ROOT_DATA, body)


def _tagged(tag: int, location: int, body: bytes) -> bytes:
    """Put the descriptor tag before a body (ECMA-167 3/7.2): checksum of the tag, CRC of the body."""
    crc = binascii.crc_hqx(body, 0)
    head = struct.pack("<HHBBHHHI", tag, 2, 0, 0, 1, crc, len(body), location)
    checksum = (sum(head) - head[4]) & 0xFF
    return head[:4] + bytes((checksum,)) + head[5:] + body


def _dstring(text: str, size: int) -> bytes:
    """A string of 8-bit characters in a field whose last byte is its length (OSTA UDF 2.1.3)."""
    data = b"\x08" + text.encode("ascii")[: size - 2]
    return data.ljust(size - 1, b"\0") + bytes((len(data),))


def _entity(name: str) -> bytes:
    return b"\0" + name.encode("ascii").ljust(23, b"\0") + bytes(8)


def _domain() -> bytes:
    return b"\0" + b"*OSTA UDF Compliant".ljust(23, b"\0") + struct.pack("<H", 0x102) + b"\x03" + bytes(5)


def _long_ad(length: int, block: int) -> bytes:
    return struct.pack("<IIH", length, block, 0) + bytes(6)
