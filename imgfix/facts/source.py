"""Source: a byte stream that can be looked ahead in and given back to; memory stays at a chunk or two."""

from __future__ import annotations

from collections.abc import Iterator

from imgfix.errors import GuestError

#: Bytes read or unpacked at a time.
CHUNK = 256 * 1024


class Source:
    """Bytes of the guest, chunk by chunk, with the offset that an error names.

    `name` opens each error message. More than `limit` bytes are refused with GuestError: a small file of a
    guest may unpack to any size.
    """

    def __init__(self, chunks: Iterator[bytes], name: str, limit: int) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._at = 0
        self._name = name
        self._limit = limit
        self.offset = 0
        #: Compressed members begun; kept here because the limit is one of the whole file.
        self.members = 0

    def fault(self, message: str) -> GuestError:
        """Return the error that says `message` of the current offset (bytes)."""
        return GuestError(f"{self._name}: {message} at byte {self.offset}")

    def peek(self, count: int) -> bytes:
        """Return the next `count` bytes and stay in front of them; fewer only at the end."""
        while len(self._chunk) - self._at < count:
            more = next(self._chunks, b"")
            if not more:
                break
            self._chunk = self._chunk[self._at :] + more
            self._at = 0
        return self._chunk[self._at : self._at + count]

    def chunk(self, most: int = CHUNK) -> bytes:
        """Return the next bytes, as many as are at hand and at most `most`; empty only at the end."""
        self.peek(1)
        data = self._chunk[self._at : self._at + most]
        self._at += len(data)
        self.offset += len(data)
        if self.offset > self._limit:
            raise self.fault(f"more than {self._limit} bytes, which no initramfs holds,")
        return data

    def take(self, count: int) -> bytes:
        """Return exactly the next `count` bytes; raises GuestError where fewer are left."""
        pieces: list[bytes] = []
        left = count
        while left:
            piece = self.chunk(left)
            if not piece:
                raise self.fault(f"truncated: {count} bytes needed, {count - left} left")
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def skip(self, count: int) -> None:
        """Pass over exactly `count` bytes; raises GuestError where fewer are left."""
        left = count
        while left:
            piece = self.chunk(min(left, CHUNK))
            if not piece:
                raise self.fault(f"truncated: {left} of {count} bytes missing")
            left -= len(piece)

    def skip_nuls(self) -> None:
        """Pass over padding: any number of NUL bytes."""
        while self.peek(1) == b"\0":
            data = self.chunk()
            self.unread(data.lstrip(b"\0"))

    def unread(self, data: bytes) -> None:
        """Give back the last bytes read, for instance what a decompressor did not use."""
        self._chunk = data + self._chunk[self._at :]
        self._at = 0
        self.offset -= len(data)
