"""Is a disk what Azure takes: its footer, its size, the end of its GPT, its partitions? It only reads.

apply asks before it publishes, `imgfix check` of what it is given, `imgfix verify` of the finished file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from imgfix.disk.mbr import EXTENDED
from imgfix.disk.partition import Partition, PartitionTable, read_partitions
from imgfix.disk.relocate import relocate
from imgfix.disk.sector import ReadAt
from imgfix.disk.size import MIB, describe, round_up_mib
from imgfix.disk.source import reader
from imgfix.disk.vhd import FOOTER_SIZE, NO_OFFSET, DiskType, parse_footer
from imgfix.errors import ImageError, VerifyError

#: Bytes of a block of Azure's managed disks.
#: https://learn.microsoft.com/en-us/azure/virtual-machines/linux/create-upload-generic ("4KB")
_BLOCK = 4096
#: Logical partitions of an MBR are counted from 5.
_PRIMARIES = 4
_EXTENDED = frozenset(f"{kind:#04x}" for kind in EXTENDED)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a disk, and the `requirement` (R1, R8) that says so."""

    requirement: str
    text: str


def faults(read_at: ReadAt, size: int, footer: bytes | None) -> tuple[Fault, ...]:
    """Return what Azure would not take of a disk of `size` bytes; `footer` is what stands behind it, None without.

    Everything told here is put right by an apply. Raises ImageError for a partition table that is damaged.
    """
    table = read_partitions(read_at, size)
    return (
        *(Fault("R1", text) for text in _footer(size, footer)),
        *size_faults(size),
        *(Fault("R8", text) for text in _backup(read_at, size, table)),
    )


def size_faults(size: int) -> tuple[Fault, ...]:
    """Return what is wrong with a disk of `size` bytes."""
    if size % MIB == 0:
        return ()
    wanted = describe(round_up_mib(size))
    return (Fault("R8", f"it has {describe(size)}, no whole number of MiB; the next one is {wanted}"),)


def misaligned(table: PartitionTable) -> tuple[str, ...]:
    """Return a sentence for each partition whose blocks lie across those of Azure's disks: it works, slowly."""
    return tuple(
        f"partition {p.number} begins at byte {p.start}, not at a multiple of {_BLOCK}: each of its blocks lies "
        "across two of the disk's"
        for p in table.partitions
        if p.start % _BLOCK
    )


def overlapping(table: PartitionTable) -> tuple[str, ...]:
    """Return a sentence for each pair of neighbours that share sectors.

    An extended partition holds the logical ones: it may share sectors with those, and with no primary one.
    """
    is_mbr = table.scheme == "mbr"
    outside = [p for p in table.partitions if not (is_mbr and p.number > _PRIMARIES)]
    inside = [p for p in table.partitions if not (is_mbr and p.type in _EXTENDED)]
    told = (
        f"partition {a.number} ends at byte {a.end}, and partition {b.number} begins at byte {b.start}"
        for partitions in (outside, inside)
        for a, b in pairwise(sorted(partitions, key=_start))
        if a.end > b.start
    )
    return tuple(dict.fromkeys(told))


def require_finished_file(path: Path, size: int, footer: bytes) -> None:
    """Ask the file at `path`, a raw disk of `size` bytes that is to get `footer`; see require_finished."""
    with path.open("rb") as stream:
        require_finished(reader(stream.fileno(), size), size, footer)


def require_finished(read_at: ReadAt, size: int, footer: bytes) -> None:
    """Raise VerifyError unless the disk is one that Azure takes: before it gets its name."""
    try:
        found = faults(read_at, size, footer)
    except ImageError as error:
        raise VerifyError(
            f"the finished disk cannot be read: {error.message}", hint="nothing was published"
        ) from error
    if found:
        raise VerifyError(
            "the finished disk is not as Azure wants it: " + "; ".join(f.text for f in found),
            hint="nothing was published. This is a defect: please report it",
        )


def _start(partition: Partition) -> int:
    return partition.start


def _footer(size: int, footer: bytes | None) -> Iterator[str]:
    if footer is None:
        yield "it is no VHD: there is no footer"
        return
    try:
        found = parse_footer(footer, size + FOOTER_SIZE)
    except ImageError as error:
        yield error.message
        return
    if found.disk_type is not DiskType.FIXED:
        yield f"it is a {found.disk_type.name.lower()} VHD"
    if found.data_offset != NO_OFFSET:
        yield f"its footer names a header at {found.data_offset:#x}, which a fixed VHD has not"
    if found.saved_state:
        yield "its footer says that the machine's memory was saved with it"


def _backup(read_at: ReadAt, size: int, table: PartitionTable) -> Iterator[str]:
    if table.scheme != "gpt":
        return
    try:
        writes = relocate(read_at, size, size)
    except ImageError as error:
        yield error.message
        return
    if writes:
        yield "the GPT's backup is not in order at the end of the disk"
