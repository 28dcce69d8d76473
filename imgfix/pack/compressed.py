"""compressed: data packed as the kernel unpacks an initramfs; the same data gives the same bytes.

https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/lib/decompress.c
"""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable

import lz4.block  # type: ignore[import-untyped]
import zstandard

_LZ4_LEGACY_MAGIC = b"\x02\x21\x4c\x18"
_LZ4_LEGACY_BLOCK = 8 << 20

#: A window of 8 MiB at most, which every kernel with zstd takes.
_ZSTD_LEVEL = 9


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def _xz(data: bytes) -> bytes:
    """The kernel knows no other check than CRC32: https://docs.kernel.org/staging/xz.html."""
    return lzma.compress(data, check=lzma.CHECK_CRC32)


def _zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compress(data)


def _lz4(data: bytes) -> bytes:
    """The legacy frame of `lz4 -l`, the only one that the kernel unpacks."""
    blocks = (data[at : at + _LZ4_LEGACY_BLOCK] for at in range(0, len(data), _LZ4_LEGACY_BLOCK))
    packed = (lz4.block.compress(b, mode="high_compression", store_size=False) for b in blocks)
    return _LZ4_LEGACY_MAGIC + b"".join(len(p).to_bytes(4, "little") + p for p in packed)


#: What an archive can be packed with, by the names of imgfix.facts.compression; "none" leaves it as it is.
#: bzip2 and lzma are left out: nobody's initramfs has them today, and no test boots one.
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": _gzip,
    "xz": _xz,
    "zstd": _zstd,
    "lz4": _lz4,
}
