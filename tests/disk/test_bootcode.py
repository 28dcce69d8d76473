"""What a BIOS finds. GRUB's own sectors are met on the real disks, in tests/guests."""

from __future__ import annotations

import pytest

from imgfix.disk.partition import read_partitions

from .disks import MIB, reads

SIZE = 40 * MIB
MESSAGES = b"GRUB \0Geom\0Hard Disk\0Read\0 Error\r\n\0"
#: The partitions of `gpt_bytes` and `mbr_bytes` in sectors.
BIOS_BOOT, ACTIVE = 10240, 2048


def grub2(sector: int) -> bytes:
    """boot.img as grub-install leaves it: the core image's first sector at 0x5c, the messages at 0x180."""
    code = b"\xeb\x63\x90".ljust(0x5C, b"\0") + sector.to_bytes(8, "little")
    return code.ljust(0x180, b"\x90") + MESSAGES


def grub1(sector: int) -> bytes:
    """stage1 of GRUB 0.97: version 3.2 at 0x3e, the next stage's sector at 0x44, code behind it."""
    code = b"\xeb\x48\x90".ljust(0x3E, b"\0") + b"\x03\x02\xff\x00\x00\x80" + sector.to_bytes(4, "little")
    return code.ljust(0x188, b"\x90") + MESSAGES


def how(data: bytes, code: bytes, *, at: int | None = None) -> tuple[bool, str]:
    """What is said of the disk `data` with `code` in its first sector and something in sector `at`."""
    disk = bytearray(data)
    disk[: len(code)] = code
    if at is not None:
        disk[at * 512 : at * 512 + 4] = b"core"
    found = read_partitions(reads(bytes(disk)), len(disk)).bios
    return found.possible, found.how


def test_none(gpt_bytes: bytes, mbr_bytes: bytes) -> None:
    for data in (gpt_bytes, mbr_bytes):
        assert how(data, b"") == (False, "no boot code in the first sector")


def test_grub_2(gpt_bytes: bytes, mbr_bytes: bytes) -> None:
    assert how(gpt_bytes, grub2(BIOS_BOOT), at=BIOS_BOOT) == (
        True,
        "GRUB 2 in the first sector, continued in BIOS boot partition 2",
    )
    assert how(mbr_bytes, grub2(1), at=1) == (
        True,
        "GRUB 2 in the first sector, continued in front of the partitions",
    )
    assert how(mbr_bytes, grub2(ACTIVE + 64), at=ACTIVE + 64)[1].endswith("continued in partition 1")


def test_grub_2_without_its_core_image(gpt_bytes: bytes, mbr_bytes: bytes) -> None:
    """grub-install was run for UEFI later, or somebody made the BIOS boot partition anew."""
    empty = bytearray(gpt_bytes)
    empty[BIOS_BOOT * 512 : (BIOS_BOOT + 1) * 512] = bytes(512)
    assert how(bytes(empty), grub2(BIOS_BOOT)) == (
        False,
        f"GRUB 2 in the first sector, and nothing at sector {BIOS_BOOT}, where it goes on",
    )
    beyond = SIZE // 512
    assert how(mbr_bytes, grub2(beyond)) == (
        False,
        "GRUB in the first sector, which names no sector to go on with",
    )


def test_grub_legacy(mbr_bytes: bytes) -> None:
    assert how(mbr_bytes, grub1(1), at=1) == (
        True,
        "GRUB 0.97 in the first sector, continued in front of the partitions",
    )
    assert how(mbr_bytes, grub1(1)) == (
        False,
        "GRUB 0.97 in the first sector, and nothing at sector 1, where it goes on",
    )


def test_lilo(mbr_bytes: bytes) -> None:
    assert how(mbr_bytes, b"\xfa\xeb\x21\x01\xb4\x01LILO") == (True, "LILO in the first sector")


@pytest.mark.parametrize(
    ("fixture", "partition", "sector"), [("mbr_bytes", 1, ACTIVE), ("gpt_bytes", 2, BIOS_BOOT)]
)
def test_code_that_starts_the_active_partition(
    fixture: str, partition: int, sector: int, request: pytest.FixtureRequest
) -> None:
    """Such as parted puts on every disk that it labels: worth something only with a boot sector."""
    data: bytes = request.getfixturevalue(fixture)
    code = b"\xfa\xb8\x00\x10\x8e\xd0"
    assert how(data, code) == (
        False,
        f"boot code in the first sector, and no boot sector in active partition {partition} for it to start",
    )
    marked = bytearray(data)
    marked[sector * 512 + 510 : sector * 512 + 512] = b"\x55\xaa"
    assert how(bytes(marked), code) == (
        True,
        f"boot code in the first sector, which starts active partition {partition}",
    )


def test_code_without_an_active_partition(mbr_bytes: bytes) -> None:
    data = bytearray(mbr_bytes)
    data[446] = 0
    assert how(bytes(data), b"\xfa\xb8") == (
        False,
        "boot code in the first sector, and no active partition for it to start",
    )


def test_a_disk_that_ends_early() -> None:
    assert read_partitions(reads(b"\xfa" + bytes(99)), 100).bios.possible is False
