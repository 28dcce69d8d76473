"""rpmheader: name and version from the header blobs that every rpm database keeps.

https://rpm-software-management.github.io/rpm/manual/format_header.html; in a database without the magic.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from imgfix.errors import GuestError
from imgfix.facts.model import Package

#: https://github.com/rpm-software-management/rpm/blob/master/include/rpm/rpmtag.h
NAME, VERSION, RELEASE = 1000, 1001, 1002
STRING_TYPE = 6

_COUNTS = struct.Struct(">II")
_ENTRY = struct.Struct(">IIII")


def read_header(blob: bytes, path: str) -> Package:
    """Return the package of one header, version being VERSION-RELEASE as `rpm -q` prints it.

    Raises GuestError, naming the database `path`, on a header that is cut short or has no name.
    """
    try:
        found = dict(_strings(blob))
    except (struct.error, ValueError) as error:
        raise GuestError(f"{path}: damaged rpm header ({error})") from error
    if NAME not in found:
        raise GuestError(f"{path}: damaged rpm header (no package name)")
    parts = (found.get(VERSION, ""), found.get(RELEASE, ""))
    return Package(found[NAME], "-".join(part for part in parts if part))


def _strings(blob: bytes) -> Iterator[tuple[int, str]]:
    entries, size = _COUNTS.unpack_from(blob)
    data = _COUNTS.size + entries * _ENTRY.size
    if data + size > len(blob):
        raise ValueError(f"{data + size} bytes needed, {len(blob)} found")
    for at in range(_COUNTS.size, data, _ENTRY.size):
        tag, kind, offset, _count = _ENTRY.unpack_from(blob, at)
        if tag in (NAME, VERSION, RELEASE) and kind == STRING_TYPE:
            if offset >= size:
                raise ValueError(f"text at {offset} of {size} bytes")
            yield (
                tag,
                blob[data + offset : blob.index(b"\0", data + offset, data + size)].decode(errors="replace"),
            )
