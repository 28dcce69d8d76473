"""newc: cpio archives as the kernel unpacks them into its root file system.

https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

from imgfix.errors import GuestError

#: PATH_MAX with its NUL, as in the kernel's init/initramfs.c.
NAME_MAX = 4096

#: The header's fields have eight hexadecimal digits.
SIZE_MAX = 0xFFFF_FFFF

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of root's. `path` has no leading slash; `mode` is a whole st_mode; a link's `content` is its target."""

    path: str
    content: bytes = b""
    mode: int = stat.S_IFREG | 0o644


def folder(path: str) -> Entry:
    """Return the entry of a folder.

    The kernel removes a link that is where a folder is to be: never name one that may be a link in the image.
    """
    return Entry(path, mode=stat.S_IFDIR | 0o755)


def link(path: str, target: str) -> Entry:
    """Return the entry of a symbolic link; the kernel puts it in the place of a file that is there."""
    return Entry(path, target.encode("utf-8", "surrogateescape"), stat.S_IFLNK | 0o777)


def archive(entries: Iterable[Entry]) -> bytes:
    """Return one archive of `entries` in their order, all of the year 1970: equal entries make equal bytes.

    Its length is a multiple of 4. Raises GuestError for a name or a content that a header cannot tell.
    """
    parts = [_entry(entry, number) for number, entry in enumerate(entries, 1)]
    return b"".join([*parts, _entry(Entry(_TRAILER, mode=0), 0)])


def _entry(entry: Entry, inode: int) -> bytes:
    name = entry.path.encode("utf-8", "surrogateescape") + b"\0"
    if len(name) > NAME_MAX or entry.path.startswith("/") or name.count(b"\0") > 1 or len(name) == 1:
        raise GuestError(f"{entry.path}: cannot be named in an initramfs")
    if len(entry.content) > SIZE_MAX:
        raise GuestError(f"{entry.path}: {len(entry.content)} bytes, an initramfs takes files of {SIZE_MAX}")
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, 0, 0, len(name), 0)
    head = _MAGIC + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head) + _padded(entry.content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
