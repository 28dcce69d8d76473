"""A writer of newc archives and of every compression of an initramfs, for the tests of the readers."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
from collections.abc import Callable
from dataclasses import dataclass

import lz4.block  # type: ignore[import-untyped]
import lz4.frame  # type: ignore[import-untyped]
import zstandard

LZ4_BLOCK = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of an archive; `inode` and `links` matter for hard links only."""

    path: str
    content: bytes = b""
    mode: int = stat.S_IFREG | 0o644
    inode: int = 0
    links: int = 1


def archive(*items: Item | tuple[str, bytes], magic: bytes = b"070701", trailer: bool = True) -> bytes:
    """Return a newc archive of the items, as cpio -H newc writes it."""
    entries = [item if isinstance(item, Item) else Item(*item) for item in items]
    if trailer:
        entries.append(Item("TRAILER!!!", mode=0))
    return b"".join(_entry(item, magic) for item in entries)


def _entry(item: Item, magic: bytes) -> bytes:
    name = item.path.encode("utf-8", "surrogateescape") + b"\0"
    fields = (item.inode, item.mode, 0, 0, item.links, 0, len(item.content), 0, 0, 0, 0, len(name), 0)
    head = magic + b"".join(b"%08X" % field for field in fields) + name
    return _pad(head) + _pad(item.content)


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def lz4_legacy(data: bytes) -> bytes:
    """Return the legacy frame that `lz4 -l` writes."""
    blocks = (data[at : at + LZ4_BLOCK] for at in range(0, len(data), LZ4_BLOCK))
    packed = [lz4.block.compress(block, store_size=False) for block in blocks]
    return b"\x02\x21\x4c\x18" + b"".join(len(p).to_bytes(4, "little") + p for p in packed)


def lz4_frame(data: bytes) -> bytes:
    """Return the frame that plain `lz4` writes."""
    packed: bytes = lz4.frame.compress(data)
    return packed


def gz(data: bytes) -> bytes:
    """Return what gzip -n writes: the same bytes each time."""
    return gzip.compress(data, mtime=0)


def zstd(data: bytes) -> bytes:
    """Return one frame with a checksum, of unknown size, as `zstd` writes it from a pipe."""
    engine = zstandard.ZstdCompressor(level=3, write_checksum=True).compressobj()
    return engine.compress(data) + engine.flush()


def zstd_sized(data: bytes) -> bytes:
    """Return one frame that tells its size and has no checksum."""
    return zstandard.ZstdCompressor(level=3).compress(data)


def xz(data: bytes) -> bytes:
    """Return what xz --check=crc32 writes: the kernel knows no other check."""
    return lzma.compress(data, check=lzma.CHECK_CRC32)


def lzma_alone(data: bytes) -> bytes:
    """Return what xz --format=lzma writes."""
    return lzma.compress(data, lzma.FORMAT_ALONE)


COMPRESSORS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "none": ("none", bytes),
    "gzip": ("gzip", gz),
    "xz": ("xz", xz),
    "lzma": ("lzma", lzma_alone),
    "bzip2": ("bzip2", bz2.compress),
    "lz4 legacy": ("lz4", lz4_legacy),
    "lz4 frame": ("lz4", lz4_frame),
    "zstd": ("zstd", zstd),
    "zstd sized": ("zstd", zstd_sized),
}
