"""module_index: modules.dep and modules.dep.bin, as depmod writes and kmod reads them.

The .bin files are tries with compressed paths; the format is described at the head of
https://github.com/kmod-project/kmod/blob/master/libkmod/libkmod-index.c
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from imgfix.errors import GuestError

_MAGIC, _VERSION = 0xB007F457, 0x0002_0001
_HEADER_SIZE = 12
_PREFIX, _VALUES, _CHILDREN = 0x8000_0000, 0x4000_0000, 0x2000_0000
_OFFSET_MAX = 0x0FFF_FFFF
_ASCII = 128


@dataclass(frozen=True, slots=True)
class Line:
    """One module of modules.dep: its file, and those of what it needs, all of that, paths below the modules' folder."""

    path: str
    needs: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.path}:" + "".join(f" {path}" for path in self.needs)


def parse(text: str) -> Iterator[Line]:
    """Yield the lines of a modules.dep. Raises ValueError, with the line, on what is none."""
    for number, row in enumerate(text.split("\n"), 1):
        path, colon, needs = row.partition(":")
        if row.strip() and (not colon or not path or path.startswith("/") or " " in path):
            raise ValueError(f"line {number}: no module and its needs: {row[:80]!r}")
        if row.strip():
            yield Line(path, tuple(needs.split()))


def text(lines: Sequence[Line]) -> bytes:
    """Return modules.dep."""
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


@dataclass(slots=True)
class _Node:
    """One node: `prefix` is what all keys below share behind the byte that led here."""

    prefix: bytes = b""
    values: list[tuple[int, bytes]] = field(default_factory=list)
    children: dict[int, _Node] = field(default_factory=dict)

    def add(self, key: bytes, value: tuple[int, bytes]) -> None:
        """Put `value` under `key`, splitting the node where key and prefix part."""
        shared = next(
            (i for i, (a, b) in enumerate(zip(self.prefix, key, strict=False)) if a != b),
            min(len(self.prefix), len(key)),
        )
        if shared < len(self.prefix):
            below = _Node(self.prefix[shared + 1 :], self.values, self.children)
            self.children = {self.prefix[shared]: below}
            self.prefix, self.values = self.prefix[:shared], []
        rest = key[shared:]
        if not rest:
            self.values.append(value)
        elif rest[0] in self.children:
            self.children[rest[0]].add(rest[1:], value)
        else:
            self.children[rest[0]] = _Node(rest[1:], [value])

    @property
    def flags(self) -> int:
        """Which fields the node has, for the offset that leads to it."""
        return (_PREFIX if self.prefix else 0) | (_VALUES if self.values else 0) | self._has_children

    @property
    def _has_children(self) -> int:
        return _CHILDREN if self.children else 0

    def packed(self, offset: int) -> bytes:
        """Return the node, which is to stand at byte `offset`, and all below it."""
        head = self.prefix + b"\0" if self.prefix else b""
        values = b"".join(struct.pack(">I", number) + value + b"\0" for number, value in self.values)
        if self.values:
            values = struct.pack(">I", len(self.values)) + values
        if not self.children:
            return head + values
        first, last = min(self.children), max(self.children)
        at = offset + len(head) + 2 + 4 * (last - first + 1) + len(values)
        offsets: list[int] = []
        below = b""
        for byte in range(first, last + 1):
            child = self.children.get(byte)
            offsets.append(0 if child is None else (at + len(below)) | child.flags)
            below += b"" if child is None else child.packed(at + len(below))
        table = struct.pack(f">BB{len(offsets)}I", first, last, *offsets)
        return head + table + values + below


def binary(lines: Sequence[Line], names: Sequence[str]) -> bytes:
    """Return modules.dep.bin: `names` are the modules' names, one for each line.

    Raises GuestError where the index cannot hold a name: the format has 7-bit characters only.
    """
    root = _Node()
    for number, (name, line) in enumerate(zip(names, lines, strict=True)):
        key, value = name.encode(), str(line).encode("utf-8", "surrogateescape")
        if max(key + value) >= _ASCII:
            raise GuestError(f"{line.path}: cannot be named in modules.dep.bin, which is ASCII")
        root.add(key, (number, value))
    body = root.packed(_HEADER_SIZE)
    if _HEADER_SIZE + len(body) > _OFFSET_MAX:
        raise GuestError(f"modules.dep.bin would have {len(body)} bytes, {_OFFSET_MAX} are possible")
    return struct.pack(">III", _MAGIC, _VERSION, _HEADER_SIZE | root.flags) + body
