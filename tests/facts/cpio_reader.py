"""A reader of newc archives that shares nothing with imgfix: what cpio would unpack, in its order."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable

import lz4.block  # type: ignore[import-untyped]
import zstandard

from tests.facts.cpio_writer import LZ4_BLOCK, Item

_HEADER = 110


def read(data: bytes) -> list[Item]:
    """Return the entries of one archive, plain or packed as a whole, without its trailer."""
    data = _unpacked(data.lstrip(b"\0"))
    entries: list[Item] = []
    at = 0
    while True:
        head = data[at : at + _HEADER]
        assert head[:6] == b"070701", f"no entry at byte {at}: {head[:6]!r}"
        inode, mode, _, _, links, _, size, *_, name_size, _ = (
            int(head[6 + 8 * n : 14 + 8 * n], 16) for n in range(13)
        )
        name = data[at + _HEADER : at + _HEADER + name_size - 1].decode()
        start = at + (_HEADER + name_size + 3) // 4 * 4
        if name == "TRAILER!!!":
            return entries
        entries.append(Item(name, data[start : start + size], mode, inode, links))
        at = start + (size + 3) // 4 * 4


def _unpacked(data: bytes) -> bytes:
    unpack = next((u for magic, u in _UNPACKERS.items() if data.startswith(magic)), bytes)
    return unpack(data)


def _lz4(data: bytes) -> bytes:
    at, whole = 4, b""
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        whole += lz4.block.decompress(data[at + 4 : at + 4 + size], uncompressed_size=LZ4_BLOCK)
        at += 4 + size
    return whole


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(data)


_UNPACKERS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"\xfd7zXZ": lzma.decompress,
    b"\x28\xb5\x2f\xfd": _zstd,
    b"\x02\x21\x4c\x18": _lz4,
    b"BZh": bz2.decompress,
}
