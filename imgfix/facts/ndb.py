"""ndb: rpm's own database format (Packages.db), as SUSE uses it.

https://github.com/rpm-software-management/rpm/blob/master/lib/backend/ndb/rpmpkg.c
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from imgfix.errors import GuestError

MAGIC, SLOT_MAGIC, BLOB_MAGIC = b"RpmP", b"Slot", b"BlbS"

#: Sizes in bytes. Slots fill whole pages, of which the header takes the place of the first two.
PAGE, BLOCK, HEADER = 4096, 16, 32

_HEADER = struct.Struct("<4sIIII")
_SLOT = struct.Struct("<4sIII")
_BLOB = struct.Struct("<4sIII")


def blobs(data: bytes, path: str) -> Iterator[bytes]:
    """Yield the value of each used slot; raises GuestError, naming the database `path`, on damage."""
    try:
        magic, version, _generation, pages, _next = _HEADER.unpack_from(data)
        if magic != MAGIC or version != 0:
            raise GuestError(f"{path}: no ndb database of version 0")
        for at in range(HEADER, pages * PAGE, _SLOT.size):
            magic, index, block, count = _SLOT.unpack_from(data, at)
            if magic != SLOT_MAGIC:
                raise GuestError(f"{path}: damaged slot at byte {at}")
            if block:
                yield _blob(data, path, index, block * BLOCK, count * BLOCK)
    except struct.error as error:
        raise GuestError(f"{path}: truncated ndb database ({error})") from error


def _blob(data: bytes, path: str, index: int, start: int, room: int) -> bytes:
    """Return the value at byte `start`, which has `room` bytes with its head and tail."""
    magic, owner, _generation, size = _BLOB.unpack_from(data, start)
    body = start + _BLOB.size
    if magic != BLOB_MAGIC or owner != index or _BLOB.size + size > room or body + size > len(data):
        raise GuestError(f"{path}: damaged package {index} at byte {start}")
    return data[body : body + size]
