"""cpio: the newc archives that an initramfs is made of, read as a stream.

https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
"""

from __future__ import annotations

import binascii
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imgfix.facts.source import Source

#: newc, and newc with a checksum that nobody checks.
MAGICS = (b"070701", b"070702")
MAGIC_SIZE = 6
HEADER_SIZE = 110
TRAILER = "TRAILER!!!"

#: PATH_MAX, as in the kernel's init/initramfs.c.
NAME_MAX = 4096


@dataclass(frozen=True, slots=True)
class Member:
    """One entry: `path` without leading `/` or `./`, `size` of its content in bytes.

    `inode` tells hard links of one archive apart; `links` is how many names the file has.
    """

    path: str
    mode: int
    size: int
    links: int
    inode: tuple[int, int, int]
    uid: int = 0
    gid: int = 0

    @property
    def is_file(self) -> bool:
        """Whether this is a regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_trailer(self) -> bool:
        """Whether this is the end mark of one archive."""
        return self.path == TRAILER


def members(source: Source) -> Iterator[Member]:
    """Yield the entries of the archive at `source`, up to what is neither an entry nor padding.

    Between two steps the caller may read up to `size` bytes of content. Raises GuestError, with the byte
    offset, on damage and truncation. A missing trailer is fine, as it is for the kernel.
    """
    while source.peek(MAGIC_SIZE) in MAGICS:
        member = _header(source)
        end = source.offset + member.size
        yield member
        source.skip(end - source.offset)
        _align(source, member.size)


def _header(source: Source) -> Member:
    try:
        fields = struct.unpack(">13I", binascii.unhexlify(source.peek(HEADER_SIZE)[MAGIC_SIZE:]))
    except (binascii.Error, struct.error) as error:
        raise source.fault("damaged cpio header") from error
    inode, mode, uid, gid, links, _mtime, size, major, minor, _rmajor, _rminor, name_size, _check = fields
    if not 0 < name_size <= NAME_MAX:
        raise source.fault(f"cpio entry with a name of {name_size} bytes, 1 to {NAME_MAX} are allowed,")
    source.skip(HEADER_SIZE)
    raw = source.take(name_size).split(b"\0")[0]
    _align(source, HEADER_SIZE + name_size)
    return Member(_clean(raw), mode, size, links, (major, minor, inode), uid, gid)


def _clean(raw: bytes) -> str:
    parts = raw.decode("utf-8", "surrogateescape").split("/")
    return "/".join(part for part in parts if part not in ("", "."))


def _align(source: Source, size: int) -> None:
    """Pass over the padding behind `size` bytes; the last one of a file may be cut short."""
    source.skip(min(-size % 4, len(source.peek(-size % 4))))
