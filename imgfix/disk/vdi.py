"""VDI: VirtualBox's format. Pure. Its fields: https://gitlab.com/qemu-project/qemu/-/blob/master/block/vdi.c"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from imgfix.disk.layout import AGAIN, File, Layout, Run, chunked, numbers, require_size
from imgfix.disk.record import layout_of
from imgfix.errors import ImageError

_SIGNATURE = 0xBEDA_107F
_VERSION = 0x0001_0001
_DYNAMIC, _STATIC = 1, 2
_ZERO, _FREE = 0xFFFF_FFFE, 0xFFFF_FFFF
_MIB = 1 << 20


class _Header(NamedTuple):
    text: Annotated[bytes, "64s"]
    signature: Annotated[int, "I"]
    version: Annotated[int, "I"]
    header_size: Annotated[int, "I"]
    kind: Annotated[int, "I"]
    flags: Annotated[int, "I"]
    description: Annotated[bytes, "256s"]
    map_offset: Annotated[int, "I"]
    data_offset: Annotated[int, "I"]
    geometry: Annotated[bytes, "12s"]
    sector: Annotated[int, "I"]
    unused: Annotated[int, "I"]
    size: Annotated[int, "Q"]
    block: Annotated[int, "I"]
    block_extra: Annotated[int, "I"]
    blocks: Annotated[int, "I"]
    allocated: Annotated[int, "I"]
    own: Annotated[bytes, "16s"]
    snapshot: Annotated[bytes, "16s"]
    link: Annotated[bytes, "16s"]
    parent: Annotated[bytes, "16s"]


_HEADER = layout_of(_Header, "<")


@dataclass(frozen=True, slots=True)
class _Image:
    file: File
    data: int
    size: int
    table: array[int]

    def load(self, number: int, within: int, length: int) -> bytes:
        entry = self.table[number]
        return b"" if entry >= _ZERO else self.file.read_at(self.data + entry * _MIB + within, length)

    def runs(self) -> Iterator[Run]:
        """Where the blocks are that hold something."""
        for number, entry in enumerate(self.table):
            if entry < _ZERO:
                yield Run(number * _MIB, self.data + entry * _MIB, min(_MIB, self.size - number * _MIB))

    def measure(self) -> int:
        allocated = 0
        for number, entry in enumerate(self.table):
            if entry < _ZERO:
                self.file.require(self.data + entry * _MIB + min(_MIB, self.size - number * _MIB), "a block")
                allocated += _MIB
        return allocated


def layout(file: File) -> Layout:
    """Read the header and the block table of a VDI; raises ImageError for what is not taken, damaged or truncated."""
    header = _Header._make(_HEADER.unpack(file.exactly(0, _HEADER.size, "the header")))
    if header.signature != _SIGNATURE:
        raise ImageError("it has not the signature of a VDI image")
    if header.version != _VERSION:
        raise ImageError(f"VDI version {header.version:#x} is not taken, only {_VERSION:#x}")
    if header.kind not in (_DYNAMIC, _STATIC) or any(header.link) or any(header.parent):
        raise ImageError(
            "it is a differencing or undo image: what it does not hold is in its parent",
            hint="make one image of both in VirtualBox: VBoxManage clonemedium IN OUT --format RAW",
        )
    require_size(header.size)
    if header.block != _MIB or header.sector != 512 or header.blocks != -(-header.size // _MIB):
        raise ImageError(
            f"damaged: {header.blocks} blocks of {header.block} bytes, {header.size} bytes in all", hint=AGAIN
        )
    table = numbers(file.exactly(header.map_offset, header.blocks * 4, "the block table"), "I", big=False)
    image = _Image(file, header.data_offset, header.size, table)
    return Layout(header.size, image.measure(), chunked(header.size, _MIB, image.load), runs=image.runs)
