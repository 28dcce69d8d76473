"""Can a BIOS boot this disk: the code in the first sector, and what that code needs further on. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgfix.disk.mbr import BOOT_CODE
from imgfix.disk.sector import SECTOR, ReadAt

if TYPE_CHECKING:
    from imgfix.disk.partition import Partition

#: The messages at the end of GRUB's boot sector, the same in GRUB 2 and GRUB 0.97.
#: https://git.savannah.gnu.org/cgit/grub.git/tree/grub-core/boot/i386/pc/boot.S
_GRUB = b"GRUB \0Geom\0Hard Disk\0Read\0 Error"
#: Where GRUB 2 keeps the first sector of its core image, 64 bits (GRUB_BOOT_MACHINE_KERNEL_SECTOR), and
#: GRUB 0.97 that of its next stage, 32 bits (STAGE1_STAGE2_SECTOR in stage1/stage1.h).
_CORE_AT, _STAGE2_AT = slice(0x5C, 0x64), slice(0x44, 0x48)

_LILO_AT = slice(6, 10)
_BOOT_SECTOR = b"\x55\xaa"


@dataclass(frozen=True, slots=True)
class BiosBoot:
    """Whether a BIOS finds all it needs; `how` says what there is, or what is missing."""

    possible: bool
    how: str


#: Before anybody has looked.
UNKNOWN = BiosBoot(False, "not looked at")


def read_bios_boot(read_at: ReadAt, size: int, partitions: Sequence[Partition]) -> BiosBoot:
    """Return how a BIOS boots a disk of `size` bytes with these `partitions`.

    GRUB is followed to its core image; any other boot code is taken for one that starts the active partition,
    as those of DOS, parted and syslinux do.
    """
    sector = read_at(0, SECTOR)
    if not any(sector[BOOT_CODE]):
        return BiosBoot(False, "no boot code in the first sector")
    if _GRUB in sector:
        return _grub(read_at, size, partitions, sector)
    if sector[_LILO_AT] == b"LILO":
        return BiosBoot(True, "LILO in the first sector")
    return _active(read_at, partitions)


def _grub(read_at: ReadAt, size: int, partitions: Sequence[Partition], sector: bytes) -> BiosBoot:
    name, first = "GRUB 2", int.from_bytes(sector[_CORE_AT], "little")
    # In GRUB 0.97 there is code at that place: no sector of any disk.
    if not 0 < first < size // SECTOR:
        name, first = "GRUB 0.97", int.from_bytes(sector[_STAGE2_AT], "little")
    if not 0 < first < size // SECTOR:
        return BiosBoot(False, "GRUB in the first sector, which names no sector to go on with")
    if not any(read_at(first * SECTOR, SECTOR)):
        return BiosBoot(False, f"{name} in the first sector, and nothing at sector {first}, where it goes on")
    return BiosBoot(True, f"{name} in the first sector, continued {_where(first * SECTOR, partitions)}")


def _where(offset: int, partitions: Sequence[Partition]) -> str:
    inside = next((p for p in partitions if p.start <= offset < p.end), None)
    if inside is None:
        return "in front of the partitions"
    kind = "BIOS boot partition" if inside.is_bios_boot else "partition"
    return f"in {kind} {inside.number}"


def _active(read_at: ReadAt, partitions: Sequence[Partition]) -> BiosBoot:
    active = [p for p in partitions if p.bootable]
    ready = [p for p in active if read_at(p.start, SECTOR)[-2:] == _BOOT_SECTOR]
    if ready:
        return BiosBoot(
            True, f"boot code in the first sector, which starts active partition {ready[0].number}"
        )
    what = f"no boot sector in active partition {active[0].number}" if active else "no active partition"
    return BiosBoot(False, f"boot code in the first sector, and {what} for it to start")
