"""bdb: a Berkeley DB hash (rpm's Packages up to EL 8, SLES 12 and Amazon Linux 2), read page by page.

Page layouts: https://github.com/berkeleydb/libdb/blob/master/src/dbinc/db_page.h
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imgfix.errors import GuestError

HASH_MAGIC = 0x061561
META_TYPE = 8
HASH_TYPES = (2, 13)
OVERFLOW_TYPE = 7

#: Item types on a hash page; duplicates (2 and 4) are not used by rpm.
INLINE_ITEM, OVERFLOW_ITEM = 1, 3

#: Every page starts with: LSN, page number, previous, next, entries, free offset, level, type.
PAGE_HEADER = 26
_HEADER = "8xIIIHHBB"
PAGE_SIZES = tuple(1 << bits for bits in range(9, 17))


def blobs(data: bytes, path: str) -> Iterator[bytes]:
    """Yield the value of every key; raises GuestError, naming the database `path`, on damage."""
    try:
        book = _Book.open(data, path)
        for number in range(1, len(data) // book.size):
            page = book.page(number)
            if page.type in HASH_TYPES:
                yield from _values(book, page)
    except (struct.error, IndexError) as error:
        raise GuestError(f"{path}: truncated Berkeley DB ({error})") from error


@dataclass(frozen=True, slots=True)
class _Page:
    """One page; `fill` is the free offset of a hash page, or the bytes used of an overflow page."""

    number: int
    start: int
    next: int
    entries: int
    fill: int
    type: int


@dataclass(frozen=True, slots=True)
class _Book:
    """The file: page size in bytes, and the byte order of the machine that wrote it."""

    data: bytes
    path: str
    order: str
    size: int

    @classmethod
    def open(cls, data: bytes, path: str) -> _Book:
        """Read the first page; `<` or `>` is whichever makes the magic right."""
        for order in "<>":
            magic, _version, size = struct.unpack_from(f"{order}III", data, 12)
            if magic == HASH_MAGIC and size in PAGE_SIZES and data[25] == META_TYPE:
                if data[24]:
                    raise GuestError(f"{path}: an encrypted Berkeley DB")
                return cls(data, path, order, size)
        raise GuestError(f"{path}: no Berkeley DB hash")

    def page(self, number: int) -> _Page:
        """Return page `number`; raises GuestError beyond the end."""
        start = number * self.size
        if start + self.size > len(self.data):
            raise self.fault(number, "beyond the end of the file")
        _own, _previous, following, entries, fill, _level, kind = struct.unpack_from(
            self.order + _HEADER, self.data, start
        )
        return _Page(number, start, following, entries, fill, kind)

    def fault(self, number: int, message: str) -> GuestError:
        """Return the error that says `message` of page `number`."""
        return GuestError(f"{self.path}: damaged Berkeley DB, page {number} {message}")


def _values(book: _Book, page: _Page) -> Iterator[bytes]:
    """Yield the values of one hash page: keys and values alternate, and the items fill it from its end."""
    if PAGE_HEADER + 2 * page.entries > book.size or page.entries % 2:
        raise book.fault(page.number, f"with {page.entries} items")
    offsets = struct.unpack_from(f"{book.order}{page.entries}H", book.data, page.start + PAGE_HEADER)
    for position in range(1, page.entries, 2):
        offset, end = offsets[position], offsets[position - 1]
        if not PAGE_HEADER < offset < end <= book.size:
            raise book.fault(page.number, f"with an item from {offset} to {end}")
        item = book.data[page.start + offset : page.start + end]
        if item[0] == OVERFLOW_ITEM:
            first, size = struct.unpack_from(f"{book.order}II", item, 4)
            yield _overflow(book, first, size)
        elif item[0] == INLINE_ITEM:
            yield item[1:]
        else:
            raise book.fault(page.number, f"with an item of type {item[0]}")


def _overflow(book: _Book, number: int, size: int) -> bytes:
    """Return a value of `size` bytes that fills a chain of pages from page `number` on."""
    pieces: list[bytes] = []
    left = size
    while left > 0:
        page = book.page(number)
        if page.type != OVERFLOW_TYPE or not 0 < page.fill <= min(left, book.size - PAGE_HEADER):
            raise book.fault(number, f"is no part of a value, of which {left} bytes are missing")
        start = page.start + PAGE_HEADER
        pieces.append(book.data[start : start + page.fill])
        left -= page.fill
        number = page.next
    return b"".join(pieces)
