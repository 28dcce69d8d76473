"""Compression: what an initramfs may be packed with, undone as a stream that ends where the packed part does.

The formats and their magics are those of the kernel:
https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/lib/decompress.c
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import lz4.block  # type: ignore[import-untyped]
import lz4.frame  # type: ignore[import-untyped]
import zstandard

from imgfix.errors import GuestError
from imgfix.facts.source import CHUNK, Source

#: Bytes that a detection looks at.
MAGIC_SIZE = 6

#: xz -9 needs 65 MiB; --lzma2=dict=128MiB is refused as nothing that a kernel at boot should be asked for.
XZ_MEMORY = 100 * 1024 * 1024

#: Members of one file: a parallel compressor writes some hundred; each costs a decompressor and a chunk.
MEMBER_LIMIT = 20_000

#: https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md#legacy-frame
LZ4_LEGACY_MAGIC = 0x184C2102
LZ4_LEGACY_BLOCK = 8 * 1024 * 1024
LZ4_LEGACY_PACKED = LZ4_LEGACY_BLOCK + LZ4_LEGACY_BLOCK // 255 + 16

#: The frame of plain `lz4`, which the kernel does not unpack.
LZ4_FRAME_MAGIC = b"\x04\x22\x4d\x18"

#: https://www.rfc-editor.org/rfc/rfc8878#section-3.1
ZSTD_MAGIC = 0xFD2FB528
ZSTD_SKIPPABLE = 0x184D2A50
ZSTD_RLE_BLOCK, ZSTD_RESERVED_BLOCK = 1, 3

#: All that the libraries raise on damaged data; reading the stream itself happens outside these calls.
_DAMAGE = (
    zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
    lz4.block.LZ4BlockError,
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
)


@dataclass(frozen=True, slots=True)
class Format:
    """One row of the table: a magic, the name to report, and how to unpack one member of it."""

    magic: bytes
    name: str
    member: Callable[[Source], Iterator[bytes]]


class _Engine(Protocol):
    """What bz2, lzma and lz4.frame decompressors have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes | None: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gzip:
    """zlib's decompressor with the manners of the others."""

    def __init__(self) -> None:
        self._engine = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._engine.eof

    @property
    def needs_input(self) -> bool:
        return not self._engine.unconsumed_tail and not self._full

    @property
    def unused_data(self) -> bytes:
        return self._engine.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        out = self._engine.decompress(self._engine.unconsumed_tail + data, max_length)
        self._full = len(out) == max_length
        return out


def detect(head: bytes) -> Format | None:
    """Return the compression of data that starts with `head` (MAGIC_SIZE bytes), or None."""
    return next((row for row in FORMATS if head.startswith(row.magic)), None)


def unpack(packed: Format, source: Source) -> Iterator[bytes]:
    """Yield the unpacked chunks, none empty, of all members of one format that follow directly.

    Afterwards `source` stands at the first byte behind them. Raises GuestError, with the byte offset, on
    damaged data and on lzo, which has no reader here.
    """
    while detect(source.peek(MAGIC_SIZE)) is packed:
        source.members += 1
        if source.members > MEMBER_LIMIT:
            raise source.fault(f"more than {MEMBER_LIMIT} compressed members")
        yield from packed.member(source)


def _guarded(source: Source, decompress: Callable[[], bytes]) -> bytes:
    try:
        return decompress()
    except _DAMAGE as error:
        raise source.fault(f"damaged compressed data ({error})") from error


def _member(new: Callable[[], _Engine], source: Source) -> Iterator[bytes]:
    engine = new()
    while not engine.eof:
        data = source.chunk() if engine.needs_input else b""
        if engine.needs_input and not data:
            raise source.fault("truncated compressed data")
        out = _guarded(source, partial(engine.decompress, data, CHUNK))
        if out:
            yield out
    source.unread(engine.unused_data or b"")


def _lz4_legacy_member(source: Source) -> Iterator[bytes]:
    """The format has no end mark: it ends with the file, with padding, or with what can be no block.

    Only the last block may hold less than 8 MiB, so behind a short one the next magic counts as such.
    """
    source.skip(4)
    short = False
    while len(head := source.peek(4)) == 4:
        size = int.from_bytes(head, "little")
        if size in (0, LZ4_LEGACY_MAGIC) or size > LZ4_LEGACY_PACKED:
            return
        if short and detect(source.peek(MAGIC_SIZE)):
            return
        source.skip(4)
        block = source.take(size)
        out = _guarded(source, partial(lz4.block.decompress, block, uncompressed_size=LZ4_LEGACY_BLOCK))
        short = len(out) < LZ4_LEGACY_BLOCK
        if out:
            yield out


def _zstd_member(source: Source) -> Iterator[bytes]:
    """One frame, and skippable frames behind it as pzstd writes them.

    The library is fed block by block: so the end of the frame is known to the byte, and no call returns more
    than a block (128 KiB), whatever the ratio.
    """
    engine = zstandard.ZstdDecompressor().decompressobj()
    header, has_checksum = _zstd_header(source)
    last = False
    _guarded(source, partial(engine.decompress, header))
    while not last:
        block = source.take(3)
        fields = int.from_bytes(block, "little")
        last, kind, size = bool(fields & 1), fields >> 1 & 3, fields >> 3
        if kind == ZSTD_RESERVED_BLOCK:
            raise source.fault("damaged compressed data (reserved zstd block)")
        block += source.take(1 if kind == ZSTD_RLE_BLOCK else size)
        out = _guarded(source, partial(engine.decompress, block))
        if out:
            yield out
    if has_checksum and (out := _guarded(source, partial(engine.decompress, source.take(4)))):
        yield out
    while int.from_bytes(source.peek(4), "little") & ~0xF == ZSTD_SKIPPABLE:
        source.skip(4)
        source.skip(int.from_bytes(source.take(4), "little"))


def _zstd_header(source: Source) -> tuple[bytes, bool]:
    """Return the frame header and whether a checksum follows the last block (RFC 8878, 3.1.1.1)."""
    head = source.take(5)
    descriptor = head[4]
    single_segment = descriptor >> 5 & 1
    content_size = (single_segment, 2, 4, 8)[descriptor >> 6]
    dictionary_id = (0, 1, 2, 4)[descriptor & 3]
    head += source.take(1 - single_segment + dictionary_id + content_size)
    return head, bool(descriptor & 4)


def _xz() -> _Engine:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)


def _lzma() -> _Engine:
    return lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=XZ_MEMORY)


def _lz4_frame() -> _Engine:
    engine: _Engine = lz4.frame.LZ4FrameDecompressor()
    return engine


def _lzo_member(source: Source) -> Iterator[bytes]:
    raise GuestError(
        source.fault("lzo compression, which imgfix cannot read,").message,
        hint="let the guest compress its initramfs with gzip or zstd, rebuild it there and try again",
    )


#: Of the two lz4 rows the first, the legacy frame of `lz4 -l`, is the only one that the kernel unpacks.
FORMATS: tuple[Format, ...] = (
    Format(b"\x1f\x8b\x08", "gzip", partial(_member, _Gzip)),
    Format(b"\xfd7zXZ\0", "xz", partial(_member, _xz)),
    Format(b"\x28\xb5\x2f\xfd", "zstd", _zstd_member),
    Format(b"\x02\x21\x4c\x18", "lz4", _lz4_legacy_member),
    Format(LZ4_FRAME_MAGIC, "lz4", partial(_member, _lz4_frame)),
    Format(b"BZh", "bzip2", partial(_member, bz2.BZ2Decompressor)),
    Format(b"\x5d\0\0", "lzma", partial(_member, _lzma)),
    Format(b"\x89LZO\0", "lzo", _lzo_member),
)
