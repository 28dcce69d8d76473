"""The dynamic VHD: blocks behind a table. Pure. Specification: see `vhd`, "Dynamic Disk Header Format"."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from imgfix.disk.layout import AGAIN, File, Layout, Run, chunked, numbers, require_size
from imgfix.disk.record import layout_of
from imgfix.disk.vhd import FOOTER_SIZE, DiskType, Footer, parse_footer
from imgfix.errors import ImageError

_SECTOR = 512
_FREE = 0xFFFF_FFFF
#: The largest that QEMU's driver opens, and the specification allows ("2040 GB").
_LARGEST = 2040 << 30


class _Header(NamedTuple):
    cookie: Annotated[bytes, "8s"]
    data_offset: Annotated[int, "Q"]
    table_offset: Annotated[int, "Q"]
    version: Annotated[int, "I"]
    entries: Annotated[int, "I"]
    block: Annotated[int, "I"]
    checksum: Annotated[int, "I"]
    rest: Annotated[bytes, "984s"]


_HEADER = layout_of(_Header, ">")
_CHECKSUM = slice(36, 40)


@dataclass(frozen=True, slots=True)
class _Image:
    file: File
    block: int
    size: int
    table: array[int]

    @property
    def bitmap(self) -> int:
        """Bytes of the bitmap of sectors in front of each block."""
        return -(-self.block // (_SECTOR * 8) // _SECTOR) * _SECTOR

    def load(self, number: int, within: int, length: int) -> bytes:
        entry = self.table[number]
        return b"" if entry == _FREE else self.file.read_at(entry * _SECTOR + self.bitmap + within, length)

    def runs(self) -> Iterator[Run]:
        """Where the blocks are that hold something."""
        for number, entry in enumerate(self.table):
            if entry != _FREE:
                start = number * self.block
                yield Run(start, entry * _SECTOR + self.bitmap, min(self.block, self.size - start))

    def measure(self) -> int:
        allocated = 0
        for number, entry in enumerate(self.table):
            if entry != _FREE:
                part = min(self.block, self.size - number * self.block)
                self.file.require(entry * _SECTOR + self.bitmap + part, "a block")
                allocated += self.block
        return allocated


def layout(file: File) -> tuple[Layout, Footer]:
    """Read both footers, the header and the block table of a dynamic VHD.

    Raises ImageError for a differencing disk, where the copy of the footer at the begin is another one (readers of
    the field believe the one or the other), and for what is damaged or truncated.
    """
    tail = (
        file.exactly(file.size - FOOTER_SIZE, FOOTER_SIZE, "the footer") if file.size > FOOTER_SIZE else b""
    )
    footer = parse_footer(tail, file.size)
    if footer.disk_type is DiskType.DIFFERENCING:
        raise ImageError(
            "it is a differencing disk: what it does not hold is in its parent",
            hint="merge it with its parent first, in Hyper-V: Merge-VHD -Path IN",
        )
    if file.read_at(0, FOOTER_SIZE) != tail:
        raise ImageError(
            "damaged: the copy of the footer at its begin is another one than the footer at its end",
            hint=AGAIN,
        )
    header = _header(file, footer)
    require_size(footer.current_size)
    if footer.current_size > _LARGEST:
        raise ImageError(
            f"it says it holds {footer.current_size} bytes; a dynamic VHD holds {_LARGEST} at most"
        )
    blocks = -(-footer.current_size // header.block)
    if header.entries < blocks:
        raise ImageError(
            f"damaged: its block table has {header.entries} entries, {blocks} needed for its size", hint=AGAIN
        )
    table = numbers(file.exactly(header.table_offset, blocks * 4, "the block table"), "I", big=True)
    # The footer ends the file: a block that reaches into it was cut off.
    image = _Image(File(file.read_at, file.size - FOOTER_SIZE), header.block, footer.current_size, table)
    read_at = chunked(footer.current_size, header.block, image.load)
    return Layout(footer.current_size, image.measure(), read_at, runs=image.runs), footer


def _header(file: File, footer: Footer) -> _Header:
    data = file.exactly(footer.data_offset, _HEADER.size, "the header")
    header = _Header._make(_HEADER.unpack(data))
    if header.cookie != b"cxsparse":
        raise ImageError(f"damaged: its header begins with {header.cookie!r}, not b'cxsparse'", hint=AGAIN)
    expected = ~(sum(data) - sum(data[_CHECKSUM])) & 0xFFFF_FFFF
    if header.checksum != expected:
        raise ImageError(
            f"damaged: its header's checksum is {header.checksum:#010x}, its bytes give {expected:#010x}",
            hint=AGAIN,
        )
    if header.block < _SECTOR * 8 or header.block & (header.block - 1) or header.block > 1 << 30:
        raise ImageError(f"damaged: blocks of {header.block} bytes", hint=AGAIN)
    return header
