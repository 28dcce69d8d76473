"""Sectors of a guest's disk, and the one way in which the pure parsers read them."""

from __future__ import annotations

from collections.abc import Callable

from imgfix.errors import ImageError

#: Azure presents every disk with 512-byte logical sectors, and the VHD format knows no other size.
SECTOR = 512

#: (offset, length) in bytes -> the bytes there; fewer at the end of the disk, none beyond it.
ReadAt = Callable[[int, int], bytes]


def read_exact(read_at: ReadAt, offset: int, length: int, what: str) -> bytes:
    """Return exactly `length` bytes at `offset`; raises ImageError if the disk ends before."""
    data = read_at(offset, length)
    if len(data) != length:
        raise ImageError(
            f"{what} should take bytes {offset} to {offset + length}, but the disk ends at byte "
            f"{offset + len(data)} or before: the image is truncated or damaged",
            hint="copy or export the disk again",
        )
    return data
