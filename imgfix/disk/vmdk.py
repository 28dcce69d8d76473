"""VMDK: VMware's format, in one file or in many. Pure: files beside it are opened by the caller.

https://github.com/libyal/libvmdk/blob/main/documentation/VMWare%20Virtual%20Disk%20Format%20(VMDK).asciidoc
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, NamedTuple

from imgfix.disk.layout import AGAIN, File, Layout, Run, chunked, numbers, refuse_shared, require_size
from imgfix.disk.record import layout_of
from imgfix.disk.sector import SECTOR, ReadAt
from imgfix.disk.vmdk_descriptor import MAX_SIZE, Extent, is_descriptor, parse_descriptor
from imgfix.errors import ImageError

MAGIC = b"KDMV"
#: ESXi's sparse extents.
OTHER_MAGIC = b"COWD"
_AT_END = (1 << 64) - 1
_DEFLATE = 1
_COMPRESSED, _MARKERS = 1 << 16, 1 << 17
_ZEROED_GRAINS = 1 << 2
#: A grain may have a marker of 12 bytes in front: where it is and how long.
_MARKER = 12
_MAX_GRAIN = 1 << 20  # bytes; VMware writes 64 KiB
_ENTRIES = 512  # the largest table of grains that QEMU takes

#: Name of a file beside the descriptor -> its bytes.
OpenExtent = Callable[[str], File]


class _Header(NamedTuple):
    magic: Annotated[bytes, "4s"]
    version: Annotated[int, "I"]
    flags: Annotated[int, "I"]
    capacity: Annotated[int, "Q"]
    grain: Annotated[int, "Q"]
    descriptor: Annotated[int, "Q"]
    descriptor_size: Annotated[int, "Q"]
    entries: Annotated[int, "I"]
    redundant_directory: Annotated[int, "Q"]
    directory: Annotated[int, "Q"]
    overhead: Annotated[int, "Q"]
    unclean: Annotated[int, "B"]
    line_ends: Annotated[bytes, "4s"]
    compression: Annotated[int, "H"]
    padding: Annotated[bytes, "433s"]


_HEADER = layout_of(_Header, "<")


@dataclass(frozen=True, slots=True)
class _Sparse:
    """One sparse extent."""

    file: File
    header: _Header
    directory: array[int]
    table: Callable[[int], array[int]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", lru_cache(maxsize=4)(self._read_table))

    @property
    def size(self) -> int:
        return self.header.capacity * SECTOR

    @property
    def grain(self) -> int:
        return self.header.grain * SECTOR

    def _read_table(self, number: int) -> array[int]:
        at = self.directory[number] * SECTOR
        if not at:
            return array("I")
        data = self.file.exactly(at, self.header.entries * 4, "a grain table")
        # QEMU and VMware make all tables at once; of a large disk most are empty, and need no walk.
        return numbers(data, "I", big=False) if data.strip(b"\0") else array("I")

    def _is_data(self, entry: int) -> bool:
        return entry > (1 if self.header.flags & _ZEROED_GRAINS else 0)

    def load(self, number: int, within: int, length: int) -> bytes:
        table = self.table(number // self.header.entries)
        entry = table[number % self.header.entries] if table else 0
        if not self._is_data(entry):
            return b""
        if not self.header.flags & _COMPRESSED:
            return self.file.read_at(entry * SECTOR + within, length)
        packed = self._packed(entry)
        try:
            return zlib.decompressobj().decompress(packed, self.grain)[within : within + length]
        except zlib.error as error:
            raise ImageError(
                f"damaged: the grain at byte {entry * SECTOR} cannot be unpacked: {error}"
            ) from error

    def runs(self) -> Iterator[Run]:
        """Where the grains are that hold something; for an extent without compressed ones."""
        start = 0
        for number in range(len(self.directory)):
            for entry in self.table(number):
                left = self.size - start
                if left > 0 and self._is_data(entry):
                    yield Run(start, entry * SECTOR, min(self.grain, left))
                start += self.grain
            start = (number + 1) * self.header.entries * self.grain

    def _packed(self, entry: int) -> bytes:
        size = int.from_bytes(self.file.exactly(entry * SECTOR, _MARKER, "a grain")[8:], "little")
        if size > 2 * self.grain + SECTOR:
            raise ImageError(
                f"damaged: a compressed grain of {size} bytes at byte {entry * SECTOR}", hint=AGAIN
            )
        return self.file.exactly(entry * SECTOR + _MARKER, size, "a grain")

    def measure(self) -> int:
        """Walk all tables; return the bytes that are allocated. Raises ImageError where the file is too short."""
        refuse_shared(self.directory, "grain table")
        return sum(self._checked())

    def _checked(self) -> Iterator[int]:
        last = 0
        compressed = self.header.flags & _COMPRESSED
        for number in range(len(self.directory)):
            first = number * self.header.entries * self.grain
            for at, entry in enumerate(self.table(number)):
                left = self.size - first - at * self.grain
                if left <= 0:
                    break
                if self._is_data(entry):
                    self.file.require(
                        entry * SECTOR + (_MARKER if compressed else min(self.grain, left)), "a grain"
                    )
                    last = max(last, entry)
                    yield self.grain
        if compressed and last:
            self._packed(last)


def layout(file: File, open_extent: OpenExtent) -> Layout:
    """Read a VMDK: one file with everything in it, or a descriptor whose extents `open_extent` opens.

    Raises ImageError for snapshots, encrypted disks, extents elsewhere, kinds that are not taken, and what is damaged
    or truncated.
    """
    if is_descriptor(file.read_at(0, 64)):
        data = file.exactly(0, min(file.size, MAX_SIZE + 1), "the descriptor")
        return _joined([_opened(extent, open_extent) for extent in parse_descriptor(data)])
    extent = _sparse(file)
    header = extent.header
    where, size = header.descriptor * SECTOR, header.descriptor_size * SECTOR
    if size > MAX_SIZE:
        raise ImageError(f"damaged: a descriptor of {size} bytes", hint=AGAIN)
    text = file.exactly(where, size, "the descriptor")
    # VMware gives the parts of a split disk none, QEMU an empty one.
    if not header.descriptor or not text.strip(b"\0"):
        raise ImageError(
            "it is one part of a VMDK in several files",
            hint="name the descriptor, the small text file beside it whose name has no -s001 or the like",
        )
    extents = parse_descriptor(text)
    # QEMU reads this very file as the disk then (block/vmdk.c, vmdk_open): no other name in it is followed.
    if len(extents) != 1 or extents[0].kind != "SPARSE":
        raise ImageError(
            f"damaged: its own descriptor names {len(extents)} extents, one that is SPARSE expected"
        )
    return _layout(extent)


def _layout(extent: _Sparse) -> Layout:
    packed = bool(extent.header.flags & _COMPRESSED)
    return Layout(
        extent.size,
        extent.measure(),
        chunked(extent.size, extent.grain, extent.load),
        _notes(extent.header),
        packed=packed,
        runs=None if packed else extent.runs,
    )


def _notes(header: _Header) -> tuple[str, ...]:
    return ("it was not closed cleanly: did the machine that used it crash?",) if header.unclean else ()


def _opened(extent: Extent, open_extent: OpenExtent) -> Layout:
    file = open_extent(extent.name)
    try:
        if extent.kind == "FLAT":
            return _flat(extent, file)
        found = _sparse(file)
        if found.header.capacity != extent.sectors:
            raise ImageError(
                f"it holds {found.header.capacity} sectors, and the descriptor says {extent.sectors}",
                hint=AGAIN,
            )
        return _layout(found)
    except ImageError as error:
        raise ImageError(f"its extent {extent.name}: {error.message}", hint=error.hint) from error


def _flat(extent: Extent, file: File) -> Layout:
    start, size = extent.offset * SECTOR, extent.sectors * SECTOR
    require_size(size)
    file.require(start + size, "its data")

    def read_at(offset: int, length: int) -> bytes:
        return file.read_at(start + offset, max(0, min(length, size - offset)))

    return Layout(size, size, read_at)


def _joined(parts: Sequence[Layout]) -> Layout:
    """One disk of several extents, one behind the other."""
    if not parts:
        raise ImageError("its descriptor names no extent", hint=AGAIN)
    starts = [sum(part.size for part in parts[:number]) for number in range(len(parts))]
    size = starts[-1] + parts[-1].size
    require_size(size)

    def read_at(offset: int, length: int) -> bytes:
        found, end = [], min(offset + length, size)
        for start, part in zip(starts, parts, strict=True):
            low, high = max(offset, start), min(end, start + part.size)
            if low < high:
                found.append(part.read_at(low - start, high - low).ljust(high - low, b"\0"))
        return b"".join(found)

    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    packed = any(part.packed for part in parts)
    return Layout(size, sum(part.allocated for part in parts), _bounded(read_at), notes, packed)


def _bounded(read_at: ReadAt) -> ReadAt:
    return lambda offset, length: read_at(offset, max(length, 0))


def _sparse(file: File) -> _Sparse:
    magic = file.read_at(0, 4)
    if magic == OTHER_MAGIC:
        raise ImageError("it is a sparse extent of ESXi (COWD)", hint="export the machine again, as an OVA")
    header = _Header._make(_HEADER.unpack(file.exactly(0, _HEADER.size, "the header")))
    if header.magic != MAGIC:
        raise ImageError(f"it begins with {header.magic!r}, not as a VMDK does")
    descriptor = header
    if header.directory == _AT_END:
        header = _at_end(file)
    header = header._replace(descriptor=descriptor.descriptor, descriptor_size=descriptor.descriptor_size)
    _refuse_odd(header)
    count = -(-header.capacity // (header.entries * header.grain))
    directory = file.exactly(header.directory * SECTOR, count * 4, "the grain directory")
    return _Sparse(file, header, numbers(directory, "I", big=False))


def _at_end(file: File) -> _Header:
    """A stream is written front to back, so that its directory and the header that knows it come last."""
    data = file.read_at(file.size - 2 * SECTOR, _HEADER.size) if file.size > 4 * SECTOR else b""
    if len(data) != _HEADER.size or not data.startswith(MAGIC):
        raise ImageError("truncated: a stream-optimized VMDK without the footer at its end", hint=AGAIN)
    header = _Header._make(_HEADER.unpack(data))
    if header.directory == _AT_END:
        raise ImageError("damaged: its footer does not say where the grain directory is", hint=AGAIN)
    return header


def _refuse_odd(header: _Header) -> None:
    if not 1 <= header.version <= 3:
        raise ImageError(f"VMDK version {header.version} is not known, only 1 to 3")
    # With no capacity QEMU would follow the extents of the descriptor inside (block/vmdk.c, vmdk_open_vmdk4).
    require_size(header.capacity * SECTOR)
    if not 0 < header.grain * SECTOR <= _MAX_GRAIN or not 0 < header.entries <= _ENTRIES:
        raise ImageError(
            f"damaged: grains of {header.grain} sectors, {header.entries} of them in a table", hint=AGAIN
        )
    packed = header.flags & (_COMPRESSED | _MARKERS)
    if packed not in (0, _COMPRESSED | _MARKERS) or (header.compression == _DEFLATE) != bool(packed):
        raise ImageError(f"compression {header.compression} with the flags {header.flags:#x} is not known")
