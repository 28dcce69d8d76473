"""How a format keeps the guest's bytes in a file: what every format's module makes of its own. Pure.

A layout is read by imgfix alone. Before any other tool opens an image, imgfix has walked all its tables, and knows
that what they point at is there: readers of the field serve zeros where a truncated file ends.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from imgfix.disk.sector import ReadAt
from imgfix.disk.size import TIB, describe
from imgfix.errors import ImageError

#: Above this no disk of a cloud goes, and no table is walked (a managed disk has 64 TiB at most,
#: https://learn.microsoft.com/en-us/azure/virtual-machines/managed-disks-overview).
LARGEST = 64 * TIB
AGAIN = "copy or export the disk again"


@dataclass(frozen=True, slots=True)
class File:
    """The bytes of a file: `size` of them, read by `read_at`."""

    read_at: ReadAt
    size: int

    def exactly(self, offset: int, length: int, what: str) -> bytes:
        """Return the `length` bytes of `what` at `offset`; raises ImageError with both numbers if they are missing."""
        self.require(offset + length, what)
        data = self.read_at(offset, length)
        if len(data) != length:
            raise ImageError(f"{what} at byte {offset} cannot be read whole", hint=AGAIN)
        return data

    def require(self, end: int, what: str) -> None:
        """Raise ImageError unless the file reaches up to byte `end`."""
        if end > self.size:
            raise ImageError(
                f"truncated: {what} should reach up to byte {end}, and the file has {self.size} bytes",
                hint=AGAIN,
            )


@dataclass(frozen=True, slots=True)
class Run:
    """`length` bytes of the guest from `start` on, which the file keeps at `offset`."""

    start: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A disk inside a file. `size` is the guest's bytes, `allocated` those of them that the file holds or more.

    `read_at` reads the guest's bytes while the file is open. `packed` says that there are compressed ones among them.
    `notes` are for the user. `runs` says where the bytes are, in order, where they are kept as they are in one file.
    """

    size: int
    allocated: int
    read_at: ReadAt
    notes: tuple[str, ...] = ()
    packed: bool = False
    runs: Callable[[], Iterator[Run]] | None = None


#: (number of the chunk, bytes into it, length) -> that part of the chunk; the length never reaches beyond it.
LoadPart = Callable[[int, int, int], bytes]


def chunked(size: int, chunk: int, load: LoadPart) -> ReadAt:
    """Return a ReadAt over a disk of `size` bytes that is stored in chunks of `chunk` bytes."""

    def read_at(offset: int, length: int) -> bytes:
        parts, end = [], min(offset + length, size)
        while offset < end:
            number, within = divmod(offset, chunk)
            part = min(chunk - within, end - offset)
            data = load(number, within, part)
            parts.append(data.ljust(part, b"\0"))
            offset += part
        return b"".join(parts)

    return read_at


def numbers(data: bytes, code: str, *, big: bool) -> array[int]:
    """Return the unsigned integers in `data`; `code` is array's ("I": 32 bits, "Q": 64), `big` the byte order."""
    found = array(code, data)
    if big != (sys.byteorder == "big"):
        found.byteswap()
    return found


def refuse_shared(offsets: Sequence[int], what: str) -> None:
    """Raise ImageError if two of the `offsets` of tables (0: no table) are the same."""
    used = [offset for offset in offsets if offset]
    if len(set(used)) != len(used):
        raise ImageError(f"damaged: one {what} stands for more than one part of the disk", hint=AGAIN)


def require_size(size: int, sector: int = 512) -> None:
    """Raise ImageError for a size that no disk has; every field of an image may lie."""
    if size <= 0 or size % sector:
        raise ImageError(
            f"damaged: it says the disk has {size} bytes, not a whole number of sectors", hint=AGAIN
        )
    if size > LARGEST:
        raise ImageError(
            f"it says the disk has {describe(size)}; the largest that imgfix takes has {describe(LARGEST)}"
        )
