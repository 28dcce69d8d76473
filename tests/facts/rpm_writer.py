"""Writers of rpm headers and of the ndb and Berkeley DB formats, for the tests of the readers."""

from __future__ import annotations

import struct
import zlib

BLOCK = 16
PAGE = 4096


def header(name: str, version: str, release: str, padding: int = 0) -> bytes:
    """Return a header blob with an entry of another type in front and `padding` bytes of other data."""
    texts = [text.encode() + b"\0" for text in (name, version, release)]
    data = bytes(padding)
    entries = [(63, 7, 0, 16)]
    for tag, text in zip((1000, 1001, 1002), texts, strict=True):
        entries.append((tag, 6, len(data), 1))
        data += text
    return (
        struct.pack(">II", len(entries), len(data)) + b"".join(struct.pack(">4I", *e) for e in entries) + data
    )


def ndb(*blobs: bytes) -> bytes:
    """Return a Packages.db with the blobs in its slots, a free slot between each two."""
    slots, body = b"", b""
    for index, blob in enumerate(blobs, 1):
        tail = struct.pack("<II4s", zlib.adler32(blob), len(blob), b"BlbE")
        value = struct.pack("<4sIII", b"BlbS", index, 1, len(blob)) + blob
        value += bytes(-(len(value) + len(tail)) % BLOCK) + tail
        block = (PAGE + len(body)) // BLOCK
        slots += struct.pack("<4sIII", b"Slot", index, block, len(value) // BLOCK)
        slots += struct.pack("<4sIII", b"Slot", 0, 0, 0)
        body += value
    head = struct.pack("<4sIIII12x", b"RpmP", 0, 1, 1, len(blobs) + 1)
    free = struct.pack("<4sIII", b"Slot", 0, 0, 0)
    return head + slots + free * ((PAGE - len(head) - len(slots)) // len(free)) + body


def bdb(*blobs: bytes, order: str = "<", page: int = 512) -> bytes:
    """Return a Packages with one hash page; blobs above a quarter of a page fill overflow pages.

    The first pair is rpm's counter under key 0.
    """
    meta = struct.pack(f"{order}8xIIIIBB", 0, 0x061561, 9, page, 0, 8)
    items: list[bytes] = [b"\x01" + bytes(4), b"\x01" + struct.pack(f"{order}I", len(blobs))]
    chains: list[bytes] = []
    for number, blob in enumerate(blobs, 1):
        items.append(b"\x01" + struct.pack(f"{order}I", number))
        if len(blob) <= page // 4:
            items.append(b"\x01" + blob)
            continue
        items.append(struct.pack(f"{order}B3xII", 3, 2 + len(chains), len(blob)))
        chains += _overflow(blob, 2 + len(chains), order, page)
    return meta.ljust(page, b"\0") + _hash_page(items, order, page) + b"".join(chains)


def _hash_page(items: list[bytes], order: str, page: int) -> bytes:
    offsets, end = [], page
    for item in items:
        end -= len(item)
        offsets.append(end)
    head = struct.pack(f"{order}8xIIIHHBB", 1, 0, 0, len(items), end, 0, 13)
    head += struct.pack(f"{order}{len(items)}H", *offsets)
    return head.ljust(end, b"\0") + b"".join(reversed(items))


def _overflow(blob: bytes, first: int, order: str, page: int) -> list[bytes]:
    room = page - 26
    parts = [blob[at : at + room] for at in range(0, len(blob), room)]
    last = first + len(parts) - 1
    pages = []
    for number, part in enumerate(parts, first):
        following = number + 1 if number < last else 0
        head = struct.pack(f"{order}8xIIIHHBB", number, 0, following, 1, len(part), 0, 7)
        pages.append((head + part).ljust(page, b"\0"))
    return pages
