"""qcow2: QEMU's format. Pure. Specification: https://www.qemu.org/docs/master/interop/qcow2.html"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, NamedTuple

import zstandard

from imgfix.disk.layout import AGAIN, File, Layout, Run, chunked, numbers, refuse_shared, require_size
from imgfix.disk.record import layout_of
from imgfix.errors import ImageError

_OFFSET = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED = 1 << 62
_ZERO = 1
_MAX_L1 = 32 << 20  # QEMU's own limit (block/qcow2.h, QCOW_MAX_L1_SIZE)
_SECTOR = 512
_SUBCLUSTERS = 32

_DIRTY, _CORRUPT, _DATA_FILE, _COMPRESSION, _EXTENDED = (1 << bit for bit in range(5))
_KNOWN = _DIRTY | _CORRUPT | _DATA_FILE | _COMPRESSION | _EXTENDED


class _Header(NamedTuple):
    magic: Annotated[bytes, "4s"]
    version: Annotated[int, "I"]
    backing_offset: Annotated[int, "Q"]
    backing_length: Annotated[int, "I"]
    cluster_bits: Annotated[int, "I"]
    size: Annotated[int, "Q"]
    encryption: Annotated[int, "I"]
    l1_entries: Annotated[int, "I"]
    l1_offset: Annotated[int, "Q"]
    refcounts_offset: Annotated[int, "Q"]
    refcounts_clusters: Annotated[int, "I"]
    snapshots: Annotated[int, "I"]
    snapshots_offset: Annotated[int, "Q"]


_HEADER = layout_of(_Header, ">")
#: What version 3 adds: incompatible, compatible and autoclear features, refcount order, header length.
_V3 = struct.Struct(">QQQII")

_REFUSALS = (
    (
        _DATA_FILE,
        "its data lies in another file (external data file), which imgfix does not open",
        "if you trust it: qemu-img convert -f qcow2 -O raw IN OUT",
    ),
    (_CORRUPT, "it is marked as corrupt", "mend a copy of it: qemu-img check -r all IN"),
)


@dataclass(frozen=True, slots=True)
class _Image:
    file: File
    cluster: int
    size: int
    l1: array[int]
    extended: bool
    zstd: bool
    l2: Callable[[int], array[int]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "l2", lru_cache(maxsize=4)(self._read_l2))

    @property
    def per_table(self) -> int:
        return self.cluster // (16 if self.extended else 8)

    def _read_l2(self, number: int) -> array[int]:
        offset = self.l1[number] & _OFFSET
        if not offset:
            return array("Q")
        if offset % self.cluster:
            raise ImageError(
                f"damaged: its L2 table {number} lies at byte {offset}, within a cluster", hint=AGAIN
            )
        return numbers(self.file.exactly(offset, self.cluster, f"its L2 table {number}"), "Q", big=True)

    def entry(self, number: int) -> tuple[int, int]:
        """The L2 entry of a cluster and its bitmap of subclusters (0 without extended entries)."""
        table = self.l2(number // self.per_table)
        at = number % self.per_table
        if not table:
            return 0, 0
        return (table[2 * at], table[2 * at + 1]) if self.extended else (table[at], 0)

    def load(self, number: int, within: int, length: int) -> bytes:
        entry, bitmap = self.entry(number)
        if entry & _COMPRESSED:
            return self._unpack(entry)[within : within + length]
        offset = entry & _OFFSET
        if self.extended:
            return self._subclusters(offset, bitmap, within, length)
        if not offset or entry & _ZERO:
            return b""
        return self.file.read_at(offset + within, length)

    def _subclusters(self, offset: int, bitmap: int, within: int, length: int) -> bytes:
        data = bytearray(
            self.file.read_at(offset + within, length).ljust(length, b"\0") if offset else bytes(length)
        )
        part = self.cluster // _SUBCLUSTERS
        for number in range(_SUBCLUSTERS):
            if not bitmap >> number & 1:
                start, end = max(number * part - within, 0), min((number + 1) * part - within, length)
                if start < end:
                    data[start:end] = bytes(end - start)
        return bytes(data)

    def place(self, entry: int) -> tuple[int, int]:
        """Offset and sector-aligned end of a compressed cluster."""
        bits = 62 - (self.cluster.bit_length() - 1 - 8)
        offset = entry & ((1 << bits) - 1)
        sectors = (entry >> bits & ((1 << (62 - bits)) - 1)) + 1
        return offset, offset - offset % _SECTOR + sectors * _SECTOR

    def _unpack(self, entry: int) -> bytes:
        offset, end = self.place(entry)
        packed = self.file.read_at(offset, end - offset)
        try:
            if self.zstd:
                # Not all at once: a few bytes can be made to unpack to gigabytes.
                return zstandard.ZstdDecompressor().stream_reader(packed).read(self.cluster)
            return zlib.decompressobj(wbits=-15).decompress(packed, self.cluster)
        except (zlib.error, zstandard.ZstdError) as error:
            raise ImageError(
                f"damaged: its compressed cluster at byte {offset} cannot be unpacked: {error}"
            ) from error

    def runs(self) -> Iterator[Run]:
        """Where the clusters are that hold something; for an image without compressed ones and subclusters."""
        for number in range(-(-self.size // (self.cluster * self.per_table))):
            start = number * self.per_table * self.cluster
            for entry in self.l2(number):
                left = self.size - start
                if left > 0 and entry & _OFFSET and not entry & _ZERO:
                    yield Run(start, entry & _OFFSET, min(self.cluster, left))
                start += self.cluster

    def measure(self) -> tuple[int, bool]:
        """Walk all tables; return the bytes that are allocated, and whether some are compressed.

        Raises ImageError where the file is too short.
        """
        allocated, packed = 0, False
        # A table that serves many times would make a small file a long walk.
        refuse_shared([entry & _OFFSET for entry in self.l1], "L2 table")
        for number in range(-(-self.size // (self.cluster * self.per_table))):
            for compressed in self._checked(number):
                allocated += self.cluster
                packed = packed or compressed
        return allocated, packed

    def _checked(self, number: int) -> Iterator[bool]:
        """Say of each cluster in a table that holds something whether it is compressed."""
        first = number * self.per_table
        table = self.l2(number)
        for at, entry in enumerate(table[:: 2 if self.extended else 1], start=first):
            if not entry & (_OFFSET | _COMPRESSED):
                continue
            left = self.size - at * self.cluster
            if left <= 0:
                return
            yield bool(entry & _COMPRESSED)
            if entry & _COMPRESSED:
                offset, end = self.place(entry)
                # The last compressed cluster of a file may end before its sector does.
                self.file.require(min(end, max(offset + 1, end - _SECTOR + 1)), "a compressed cluster")
                continue
            offset = entry & _OFFSET
            if offset % self.cluster:
                raise ImageError(f"damaged: a cluster lies at byte {offset}, within another one", hint=AGAIN)
            held = 0 if entry & _ZERO and not self.extended else self.cluster
            if self.extended:
                bitmap = table[2 * (at - first) + 1] & 0xFFFF_FFFF
                held = self.cluster // _SUBCLUSTERS * bitmap.bit_length()
            if held:
                # So may the last one: QEMU writes no more than the disk has.
                self.file.require(offset + min(held, left), "a data cluster")


def layout(file: File) -> Layout:
    """Read the header and the tables of a qcow2 image.

    Raises ImageError for what imgfix does not take (backing file, external data file, encryption, unknown features)
    and what is damaged or truncated.
    """
    header = _Header._make(_HEADER.unpack(file.exactly(0, _HEADER.size, "the header")))
    if header.magic != b"QFI\xfb":
        raise ImageError(
            "it does not begin as a qcow2 image does", hint="leave out --format: imgfix finds out what it is"
        )
    if header.version not in (2, 3):
        raise ImageError(
            f"qcow version {header.version} is not taken, only 2 and 3",
            hint="qemu-img convert -f qcow -O raw IN OUT" if header.version == 1 else None,
        )
    _refuse_backing(file, header)
    if header.encryption:
        raise ImageError(
            "it is encrypted as a whole",
            hint="decrypt it first: qemu-img convert with --object secret and its key",
        )
    features, compression = _features(file, header)
    if not 9 <= header.cluster_bits <= 21:
        raise ImageError(
            f"damaged: clusters of 2^{header.cluster_bits} bytes; 2^9 to 2^21 are allowed", hint=AGAIN
        )
    require_size(header.size)
    image = _Image(
        file,
        1 << header.cluster_bits,
        header.size,
        _l1(file, header, extended=bool(features & _EXTENDED)),
        bool(features & _EXTENDED),
        compression == 1,
    )
    allocated, packed = image.measure()
    runs = None if packed or image.extended else image.runs
    read_at = chunked(header.size, image.cluster, image.load)
    return Layout(header.size, allocated, read_at, _notes(header), packed, runs)


def _refuse_backing(file: File, header: _Header) -> None:
    if not header.backing_offset:
        return
    name = file.read_at(header.backing_offset, min(header.backing_length, 1023)).decode("utf-8", "replace")
    raise ImageError(
        f"it is an overlay: what it does not hold comes from the backing file {name!r}, which imgfix does not open",
        hint="if you trust that file, make one image of both: qemu-img convert -f qcow2 -O qcow2 IN OUT",
    )


def _features(file: File, header: _Header) -> tuple[int, int]:
    """The incompatible features and the type of compression."""
    if header.version == 2:
        return 0, 0
    features, _, _, _, length = _V3.unpack(file.exactly(_HEADER.size, _V3.size, "the header"))
    for bit, message, hint in _REFUSALS:
        if features & bit:
            raise ImageError(message, hint=hint)
    if features & ~_KNOWN:
        raise ImageError(f"it uses features that imgfix does not know: {features & ~_KNOWN:#x}")
    if not features & _COMPRESSION:
        return features, 0
    if length <= 104:
        raise ImageError("damaged: the header ends before the type of compression", hint=AGAIN)
    compression = file.exactly(104, 1, "the header")[0]
    if compression > 1:
        raise ImageError(f"compression of type {compression} is not known, only 0 (deflate) and 1 (zstd)")
    return features, compression


def _l1(file: File, header: _Header, *, extended: bool) -> array[int]:
    cluster = 1 << header.cluster_bits
    needed = -(-header.size // (cluster * (cluster // (16 if extended else 8))))
    if header.l1_entries < needed:
        raise ImageError(
            f"damaged: {header.l1_entries} entries in its L1 table, {needed} needed for its size", hint=AGAIN
        )
    if needed * 8 > _MAX_L1:
        raise ImageError(f"its L1 table has {needed * 8} bytes, and QEMU takes {_MAX_L1}")
    if header.l1_offset % cluster:
        raise ImageError(
            f"damaged: its L1 table lies at byte {header.l1_offset}, within a cluster", hint=AGAIN
        )
    return numbers(file.exactly(header.l1_offset, needed * 8, "the L1 table"), "Q", big=True)


def _notes(header: _Header) -> tuple[str, ...]:
    if not header.snapshots:
        return ()
    return (f"it holds {header.snapshots} snapshots besides the current state; the current state is taken",)
