"""Moving the GPT's backup: sgdisk must find nothing to complain about, and no partition may lose a byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgfix.disk import gpt
from imgfix.disk.partition import read_partitions
from imgfix.disk.relocate import Write, minimum_size, relocate
from imgfix.disk.size import round_up_mib
from imgfix.errors import ImageError
from tests.disk.disks import MIB, gpt_disk, patch, reads, run, sparse_file

CLEAN = "No problems found"


def moves(path: Path, new_size: int) -> tuple[Write, ...]:
    data = path.read_bytes()
    return relocate(reads(data), len(data), new_size)


def grow(path: Path, new_size: int) -> tuple[Write, ...]:
    writes = moves(path, new_size)
    with path.open("r+b") as file:
        file.truncate(new_size)
        for offset, data in writes:
            file.seek(offset)
            file.write(data)
    return writes


# By less than the backup's 33 sectors the old and the new place overlap.
@pytest.mark.parametrize("cut", [512, 10 * 512, 32 * 512, 33 * 512, 34 * 512, MIB // 2, MIB - 512])
def test_sgdisk_is_content_after_rounding_up(tmp_path: Path, cut: int) -> None:
    disk = gpt_disk(tmp_path / "d.raw", 40 * MIB - cut)
    before = read_partitions(reads(disk.read_bytes()), disk.stat().st_size)
    inside = [disk.read_bytes()[part.start : part.end] for part in before.partitions]
    assert grow(disk, 40 * MIB)
    assert CLEAN in run("sgdisk", "-v", disk)
    data = disk.read_bytes()
    assert read_partitions(reads(data), len(data)) == before
    assert [data[part.start : part.end] for part in before.partitions] == inside
    assert data.count(b"EFI PART") == 2


@settings(max_examples=8, deadline=None)
@given(sectors=st.integers(0, 5000), room=st.integers(34, 4000))
def test_any_growth(tmp_path_factory: pytest.TempPathFactory, sectors: int, room: int) -> None:
    disk = tmp_path_factory.mktemp("grow") / "d.raw"
    sparse_file(disk, 4 * MIB + room * 512)
    run("sfdisk", "-q", disk, text="label: gpt\n1 : start=2048, size=6144\n")
    grow(disk, disk.stat().st_size + sectors * 512)
    assert CLEAN in run("sgdisk", "-v", disk)
    assert moves(disk, disk.stat().st_size) == ()


def test_nothing_to_do(tmp_path: Path) -> None:
    disk = gpt_disk(tmp_path / "d.raw")
    assert moves(disk, disk.stat().st_size) == ()


def test_disk_that_was_grown_without_its_gpt(tmp_path: Path) -> None:
    disk = gpt_disk(tmp_path / "d.raw", 40 * MIB)
    with disk.open("r+b") as file:
        file.truncate(50 * MIB)
    grow(disk, 50 * MIB)
    assert CLEAN in run("sgdisk", "-v", disk)
    assert disk.read_bytes().count(b"EFI PART") == 2


def test_disk_that_lost_its_backup(tmp_path: Path) -> None:
    disk = gpt_disk(tmp_path / "d.raw", 40 * MIB)
    with disk.open("r+b") as file:
        file.truncate(40 * MIB - 33 * 512)
    data = disk.read_bytes()
    size = round_up_mib(minimum_size(gpt.read_primary(reads(data), len(data))))
    grow(disk, size)
    assert CLEAN in run("sgdisk", "-v", disk)


def test_good_backup_of_an_older_table_is_written_anew(tmp_path: Path) -> None:
    disk = gpt_disk(tmp_path / "d.raw")
    older = disk.read_bytes()[-33 * 512 :]
    run("sfdisk", "-q", "--part-label", disk, "3", "neu")
    patch(disk, 40 * MIB - 33 * 512, older)
    grow(disk, 40 * MIB)
    assert CLEAN in run("sgdisk", "-v", disk)
    data = disk.read_bytes()
    assert gpt.read_table(reads(data), 40 * MIB // 512 - 1).entries[2].name == "neu"


@pytest.mark.parametrize("offset", [-512, -33 * 512], ids=["header", "entries"])
def test_bad_backup_is_written_anew(tmp_path: Path, offset: int) -> None:
    disk = gpt_disk(tmp_path / "d.raw")
    patch(disk, 40 * MIB + offset, b"\xff" * 16)
    grow(disk, 40 * MIB)
    assert CLEAN in run("sgdisk", "-v", disk)


def test_old_backup_inside_a_partition_is_data(tmp_path: Path) -> None:
    """A partition grown over the old backup by a tool that did not move it: those bytes are the guest's."""
    disk = gpt_disk(tmp_path / "d.raw", 40 * MIB)
    stale = disk.read_bytes()
    with disk.open("r+b") as file:
        file.truncate(60 * MIB)
    run("sgdisk", "-e", "-d", "3", "-n", "3:0:0", disk)
    data = bytearray(disk.read_bytes())
    data[39 * MIB : 40 * MIB] = stale[39 * MIB :]
    header = gpt.parse_header(bytes(data[512:1024]), 1)
    data[512:1024] = gpt.build_sector(header, alternate_lba=40 * MIB // 512 - 1)
    disk.write_bytes(data)
    grow(disk, 60 * MIB)
    assert CLEAN in run("sgdisk", "-v", disk)
    assert disk.read_bytes()[39 * MIB : 40 * MIB] == stale[39 * MIB :]


def test_no_room_for_a_backup_is_refused_with_both_numbers(tmp_path: Path) -> None:
    disk = gpt_disk(tmp_path / "d.raw", 40 * MIB)
    with pytest.raises(ImageError, match=rf"{40 * MIB} bytes.*has {40 * MIB - 512}"):
        moves(disk, 40 * MIB - 512)


def test_size_of_the_protective_mbr(tmp_path: Path) -> None:
    disk = gpt_disk(tmp_path / "d.raw", 40 * MIB - 512)
    grow(disk, 40 * MIB)
    assert int.from_bytes(disk.read_bytes()[458:462], "little") == 40 * MIB // 512 - 1


@pytest.mark.parametrize(
    ("offset", "data"),
    [(458, b"\xff" * 4), (462, b"\x80\0\0\0\x83\0\0\0\0\x08\0\0\0\x08\0\0")],
    ids=["Windows' size", "hybrid"],
)
def test_protective_mbrs_that_stay(tmp_path: Path, offset: int, data: bytes) -> None:
    disk = gpt_disk(tmp_path / "d.raw", 40 * MIB - 512)
    patch(disk, offset, data)
    before = disk.read_bytes()[:512]
    grow(disk, 40 * MIB)
    assert disk.read_bytes()[:512] == before


def test_vendor_bytes_of_a_longer_header_stay(tmp_path: Path) -> None:
    disk = gpt_disk(tmp_path / "d.raw", 40 * MIB - 512)
    sector = bytearray(disk.read_bytes()[512:1024])
    sector[12:16] = (104).to_bytes(4, "little")
    sector[92:104] = b"vendor bytes"
    sector[16:20] = gpt.header_crc(bytes(sector[:104])).to_bytes(4, "little")
    patch(disk, 512, bytes(sector))
    grow(disk, 40 * MIB)
    assert CLEAN in run("sgdisk", "-v", disk)
    assert disk.read_bytes()[-512 + 92 : -512 + 104] == b"vendor bytes"
