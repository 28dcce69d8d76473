"""rpmheader: what stands in the header blobs that every rpm database and every .rpm file keeps.

https://rpm-software-management.github.io/rpm/manual/format_header.html; in a database without the magic.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass, field

from imgfix.errors import GuestError
from imgfix.facts.model import Package

#: https://github.com/rpm-software-management/rpm/blob/master/include/rpm/rpmtag.h
NAME, VERSION, RELEASE = 1000, 1001, 1002

#: Types of values, with the size of a number (bytes) or None for texts.
_NUMBERS = {3: ">{}H", 4: ">{}I", 5: ">{}Q"}
_TEXTS = frozenset({6, 8, 9})

_COUNTS = struct.Struct(">II")
_ENTRY = struct.Struct(">IIII")


@dataclass(frozen=True, slots=True)
class Tags:
    """The values of a header, by tag; those of other types than texts and numbers are left out."""

    texts: dict[int, tuple[str, ...]] = field(default_factory=dict)
    numbers: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def text(self, tag: int) -> str:
        """Return the first text of `tag`, empty where there is none."""
        return self.texts.get(tag, ("",))[0]


def read_header(blob: bytes, path: str) -> Package:
    """Return the package of one header, version being VERSION-RELEASE as `rpm -q` prints it.

    Raises GuestError, naming the database `path`, on a header that is cut short or has no name.
    """
    tags = read_tags(blob, (NAME, VERSION, RELEASE), path)
    parts = (tags.text(VERSION), tags.text(RELEASE))
    return Package(tags.text(NAME), "-".join(part for part in parts if part))


def read_unnamed(blob: bytes, wanted: Collection[int], path: str) -> Tags:
    """Return the values of the `wanted` tags; raises GuestError, naming `path`, on damage."""
    try:
        return _tags(blob, wanted)
    except (struct.error, ValueError) as error:
        raise GuestError(f"{path}: damaged rpm header ({error})") from error


def read_tags(blob: bytes, wanted: Collection[int], path: str) -> Tags:
    """Return the values of the `wanted` tags, NAME among them; raises GuestError, naming `path`, on damage."""
    tags = read_unnamed(blob, wanted, path)
    if not tags.text(NAME):
        raise GuestError(f"{path}: damaged rpm header (no package name)")
    return tags


def size_of(start: bytes) -> int:
    """Return the bytes of the header that begins with `start` (8 bytes at least)."""
    entries, size = _COUNTS.unpack_from(start)
    return int(_COUNTS.size + entries * _ENTRY.size + size)


def _tags(blob: bytes, wanted: Collection[int]) -> Tags:
    entries, size = _COUNTS.unpack_from(blob)
    data = _COUNTS.size + entries * _ENTRY.size
    if data + size > len(blob):
        raise ValueError(f"{data + size} bytes needed, {len(blob)} found")
    found = Tags()
    for at in range(_COUNTS.size, data, _ENTRY.size):
        tag, kind, offset, count = _ENTRY.unpack_from(blob, at)
        if tag not in wanted:
            continue
        if offset >= size:
            raise ValueError(f"tag {tag} at {offset} of {size} bytes")
        if kind in _TEXTS:
            found.texts[tag] = _texts(blob[data + offset : data + size], count)
        elif kind in _NUMBERS:
            if count > size:
                raise ValueError(f"tag {tag} has {count} numbers in {size} bytes")
            found.numbers[tag] = struct.unpack_from(_NUMBERS[kind].format(count), blob, data + offset)
    return found


def _texts(data: bytes, count: int) -> tuple[str, ...]:
    pieces = data.split(b"\0", count)
    if len(pieces) <= count:
        raise ValueError(f"{count} texts needed, {len(pieces) - 1} found")
    return tuple(piece.decode(errors="replace") for piece in pieces[:count])
