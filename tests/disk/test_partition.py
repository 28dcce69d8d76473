"""Partition tables as sgdisk and sfdisk write them, damaged ones, and garbage."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfix.disk import gpt
from imgfix.disk.partition import PartitionTable, read_partitions
from imgfix.errors import ImageError
from tests.disk.disks import MIB, gpt_disk, patch, reads, run, sparse_file

SIZE = 40 * MIB


def read(path: Path, size: int | None = None) -> PartitionTable:
    data = path.read_bytes()[:size]
    return read_partitions(reads(data), len(data))


def test_gpt(gpt_bytes: bytes) -> None:
    table = read_partitions(reads(gpt_bytes), SIZE)
    assert (table.scheme, table.identity) == ("gpt", "11111111-2222-3333-4444-555555555555")
    esp, bios, root = table.partitions
    assert (esp.number, esp.start, esp.size, esp.name) == (1, MIB, 4 * MIB, "EFI System")
    assert (esp.is_esp, bios.is_bios_boot, bios.bootable, bios.attributes) == (True, True, True, 4)
    assert (root.type, root.name) == ("0fc63daf-8483-4772-8e79-3d69d8477de4", "wurzel")
    assert root.end == SIZE - 33 * 512
    assert not root.is_esp


def test_mbr_with_logical_partitions(mbr_bytes: bytes) -> None:
    table = read_partitions(reads(mbr_bytes), SIZE)
    assert (table.scheme, table.identity) == ("mbr", "deadbeef")
    assert [(part.number, part.type, part.start // 512, part.size // 512) for part in table.partitions] == [
        (1, "0x83", 2048, 16384),
        (2, "0x05", 18432, 40960),
        (3, "0x82", 59392, 8192),
        (5, "0x83", 20480, 8192),
        (6, "0x8e", 30720, 8192),
    ]
    assert [part.bootable for part in table.partitions] == [True, False, False, False, False]
    assert table.partitions[3].uuid == "deadbeef-05"


@pytest.mark.parametrize(("code", "expected"), [(b"", False), (b"\xeb\x63\x90", True)])
def test_boot_code(gpt_bytes: bytes, code: bytes, expected: bool) -> None:
    data = code + gpt_bytes[len(code) :]
    assert read_partitions(reads(data), SIZE).has_boot_code is expected


def test_disk_signature_is_no_boot_code(mbr_bytes: bytes) -> None:
    assert not read_partitions(reads(mbr_bytes), SIZE).has_boot_code


@pytest.mark.parametrize("kind", ["ext4", "vfat"])
def test_a_file_system_on_the_whole_disk_is_no_table(tmp_path: Path, kind: str) -> None:
    disk = sparse_file(tmp_path / "d.raw", SIZE)
    run(f"mkfs.{kind}", disk)
    assert read(disk).scheme is None


def test_blank_disk_has_no_table() -> None:
    table = read_partitions(reads(bytes(MIB)), MIB)
    assert (table.scheme, table.identity, table.has_boot_code, table.partitions) == (None, None, False, ())


@pytest.mark.parametrize("fixture", ["gpt_bytes", "mbr_bytes"])
def test_truncated_disk_is_refused_with_both_numbers(fixture: str, request: pytest.FixtureRequest) -> None:
    data: bytes = request.getfixturevalue(fixture)
    whole = read_partitions(reads(data), SIZE)
    cut = whole.partitions[2].end - 512
    with pytest.raises(ImageError) as caught:
        read_partitions(reads(data[:cut]), cut)
    assert f"partition 3 ends at byte {cut + 512}, the disk at byte {cut}" in caught.value.message


def test_truncated_inside_the_logical_partitions(mbr_bytes: bytes) -> None:
    cut = 12 * MIB
    with pytest.raises(ImageError, match="truncated"):
        read_partitions(reads(mbr_bytes[:cut]), cut)


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        (512, "EFI PART"),
        (512 + 16, "CRC"),
        (512 + 56, "CRC"),
        (1024, "entries have CRC"),
        (1024 + 40, "entries"),
    ],
)
def test_damaged_primary_names_the_damage_and_the_good_backup(
    gpt_bytes: bytes, offset: int, message: str
) -> None:
    data = gpt_bytes[:offset] + bytes((gpt_bytes[offset] ^ 0xFF,)) + gpt_bytes[offset + 1 :]
    with pytest.raises(ImageError, match=message) as caught:
        read_partitions(reads(data), SIZE)
    assert caught.value.hint is not None
    assert "sgdisk -e" in caught.value.hint


def test_the_hint_repairs(tmp_path: Path) -> None:
    disk = gpt_disk(tmp_path / "d.raw")
    before = read(disk)
    patch(disk, 512, bytes(512))
    run("sgdisk", "-e", disk)
    assert read(disk) == before


def test_damaged_primary_and_backup(gpt_bytes: bytes) -> None:
    data = gpt_bytes[:512] + bytes(1024) + gpt_bytes[1536:-512] + bytes(512)
    with pytest.raises(ImageError) as caught:
        read_partitions(reads(data), SIZE)
    assert "no good backup" in (caught.value.hint or "")


def test_header_that_belongs_elsewhere(gpt_bytes: bytes) -> None:
    moved = gpt.build_sector(gpt.parse_header(gpt_bytes[512:1024], 1), my_lba=2)
    with pytest.raises(ImageError, match="says it is at sector 2, it is at 1"):
        read_partitions(reads(gpt_bytes[:512] + moved + gpt_bytes[1024:]), SIZE)


def test_gpt_without_protective_mbr_is_refused(gpt_bytes: bytes) -> None:
    with pytest.raises(ImageError, match="protective"):
        read_partitions(reads(bytes(512) + gpt_bytes[512:]), SIZE)


def test_stale_gpt_under_a_plain_mbr_is_an_mbr(gpt_bytes: bytes, mbr_bytes: bytes) -> None:
    table = read_partitions(reads(mbr_bytes[:512] + gpt_bytes[512:1024] + mbr_bytes[1024:]), SIZE)
    assert table.scheme == "mbr"


def test_hybrid_mbr_is_a_gpt(gpt_bytes: bytes) -> None:
    entry = struct.pack("<B3sB3sII", 0x80, b"", 0x83, b"", 2048, 8192)
    table = read_partitions(reads(gpt_bytes[:462] + entry + gpt_bytes[478:]), SIZE)
    assert (table.scheme, len(table.partitions)) == ("gpt", 3)


@pytest.mark.parametrize("has_mbr", [True, False])
def test_gpt_for_4096_byte_sectors_is_refused(gpt_bytes: bytes, has_mbr: bool) -> None:
    head = gpt_bytes[:512] if has_mbr else bytes(512)
    data = head + bytes(4096 - 512) + gpt_bytes[512:1024] + bytes(MIB)
    with pytest.raises(ImageError, match="4096-byte"):
        read_partitions(reads(data), len(data))


def link(*entries: tuple[int, int, int]) -> bytes:
    slots = b"".join(
        struct.pack("<B3sB3sII", 0, b"", *(kind, b"", start, count)) for kind, start, count in entries
    )
    return bytes(446) + slots.ljust(64, b"\0") + b"\x55\xaa"


@pytest.mark.parametrize(
    ("links", "message"),
    [
        ({10: link((0x83, 1, 4), (5, 0, 20))}, "loops"),
        ({10: link((0x83, 1, 4), (5, 10, 20)), 20: link((0x83, 1, 4), (5, 0, 20))}, "loops"),
        ({10: link((0x83, 1, 4), (5, 10, 20))}, "broken at sector 20"),
        ({10: link((0x83, 1, 4), (5, 5000, 20))}, "truncated"),
        ({10: link((0x83, 1, 4000))}, "partition 5 ends"),
    ],
)
def test_bad_chain_of_logical_partitions(links: dict[int, bytes], message: str) -> None:
    disk = bytearray(100 * 512)
    disk[:512] = link((5, 10, 60))
    for at, sector in links.items():
        disk[at * 512 : at * 512 + 512] = sector
    with pytest.raises(ImageError, match=message):
        read_partitions(reads(bytes(disk)), len(disk))


def test_unused_extended_partition() -> None:
    disk = link((5, 10, 60)) + bytes(99 * 512)
    assert [part.number for part in read_partitions(reads(disk), len(disk)).partitions] == [1]


def value_or_image_error(data: bytes) -> None:
    try:
        table = read_partitions(reads(data), len(data))
    except ImageError:
        return
    assert all(part.end <= len(data) for part in table.partitions)


@given(st.binary(max_size=4096))
def test_garbage(data: bytes) -> None:
    value_or_image_error(data)


@given(st.binary(min_size=66, max_size=66), st.binary(min_size=512, max_size=8192))
def test_garbage_behind_an_mbr_mark(slots: bytes, rest: bytes) -> None:
    for flags in (0, 16, 32, 48):
        slots = slots[:flags] + b"\0" + slots[flags + 1 :]
    value_or_image_error(bytes(446) + slots[:64] + b"\x55\xaa" + rest)


@settings(max_examples=300)
@given(
    fields=st.tuples(*[st.integers(0, 2**64 - 1) | st.integers(0, 70000)] * 5),
    counts=st.tuples(
        st.integers(0, 2**32 - 1) | st.integers(0, 200), st.sampled_from((0, 127, 128, 129, 4096, 2**32 - 1))
    ),
    my_lba=st.sampled_from((0, 1, 2)),
    length=st.sampled_from((0, 91, 92, 100, 512, 513, 2**32 - 1)),
)
def test_header_with_right_crc_and_any_numbers(
    gpt_bytes: bytes, fields: tuple[int, ...], counts: tuple[int, int], my_lba: int, length: int
) -> None:
    alternate, first, last, at, _ = fields
    body = bytearray(512)
    struct.pack_into(
        "<8sIIIIQQQQ", body, 0, b"EFI PART", 0x10000, length, 0, 0, my_lba, alternate, first, last
    )
    struct.pack_into("<QIII", body, 72, at, *counts, zlib.crc32(gpt_bytes[1024 : 1024 + 128 * 128]))
    struct.pack_into("<I", body, 16, zlib.crc32(body[: min(length, 512)]))
    value_or_image_error(gpt_bytes[:512] + bytes(body) + gpt_bytes[1024 : 2 * MIB])


@settings(max_examples=200)
@given(st.binary(min_size=128, max_size=512))
def test_entries_with_right_crc_and_any_content(gpt_bytes: bytes, entries: bytes) -> None:
    array = entries + gpt_bytes[1024 + len(entries) : 1024 + 128 * 128]
    header = bytearray(gpt_bytes[512:1024])
    struct.pack_into("<I", header, 88, zlib.crc32(array))
    struct.pack_into("<I", header, 16, 0)
    struct.pack_into("<I", header, 16, zlib.crc32(header[:92]))
    value_or_image_error(gpt_bytes[:512] + bytes(header) + array + bytes(MIB))
