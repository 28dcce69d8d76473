"""The VHD footer against qemu-img, and against every way in which it can lie."""

from __future__ import annotations

import json
import struct
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfix.disk import vhd
from imgfix.disk.vhd import DiskType, fixed_footer, parse_footer
from imgfix.errors import ImageError
from tests.disk.disks import MIB, run, sparse_file

SOME_ID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
SOME_TIME = 1_700_000_000

sizes = st.integers(1, 2**54).map(lambda sectors: sectors * 512)
timestamps = st.integers(vhd.EPOCH, vhd.LATEST_TIMESTAMP)


def signed(footer: bytes) -> bytes:
    """The footer with its checksum made right, so that only the other lie remains."""
    return footer[:64] + struct.pack(">I", vhd.checksum(footer)) + footer[68:]


def changed(offset: int, data: bytes, size: int = MIB) -> bytes:
    footer = fixed_footer(size, timestamp=SOME_TIME, unique_id=SOME_ID)
    return signed(footer[:offset] + data + footer[offset + len(data) :])


@pytest.mark.parametrize("size", [MIB, 10 * MIB, 40 * MIB + 512 * 7, 127 * 1024 * MIB, 1023 * 1024 * MIB])
def test_footer_is_what_qemu_img_writes(tmp_path: Path, size: int) -> None:
    raw, out = sparse_file(tmp_path / "d.raw", size), tmp_path / "d.vhd"
    run(*["qemu-img", "convert", "-f", "raw", "-O", "vpc", "-o", "subformat=fixed,force_size"], raw, out)
    with out.open("rb") as file:
        file.seek(-512, 2)
        theirs = file.read()
    read = parse_footer(theirs, out.stat().st_size)
    assert fixed_footer(size, timestamp=read.timestamp, unique_id=read.unique_id) == theirs


# Around a MiB, the geometry's steps, the CHS limit, and the largest that qemu opens as vpc.
@pytest.mark.parametrize("size", [512, MIB - 512, 1 << 30, 504 << 20, 127 << 30, 136_899_993_600, 2040 << 30])
def test_qemu_img_reads_our_size(tmp_path: Path, size: int) -> None:
    disk = sparse_file(tmp_path / "d.vhd", size)
    with disk.open("ab") as file:
        file.write(fixed_footer(size, timestamp=SOME_TIME, unique_id=SOME_ID))
    info = json.loads(run("qemu-img", "info", "-f", "vpc", "--output=json", disk))
    assert info["virtual-size"] == size


@given(size=sizes, timestamp=timestamps, number=st.integers(0, 2**128 - 1))
def test_what_is_written_is_read_back(size: int, timestamp: int, number: int) -> None:
    footer = fixed_footer(size, timestamp=timestamp, unique_id=uuid.UUID(int=number))
    read = parse_footer(footer, size + 512)
    assert (read.current_size, read.timestamp, read.unique_id.int) == (size, timestamp, number)
    assert read.disk_type is DiskType.FIXED


@given(at=st.integers(0, 511), mask=st.integers(1, 255))
def test_every_flipped_bit_is_noticed(at: int, mask: int) -> None:
    footer = bytearray(fixed_footer(MIB, timestamp=SOME_TIME, unique_id=SOME_ID))
    footer[at] ^= mask
    with pytest.raises(ImageError):
        parse_footer(bytes(footer), MIB + 512)


@given(data=st.binary(min_size=500, max_size=520), file_size=st.integers(0, 2**64))
def test_garbage_is_refused(data: bytes, file_size: int) -> None:
    with pytest.raises(ImageError):
        parse_footer(data, file_size)


@given(body=st.binary(min_size=496, max_size=496), kind=st.integers(0, 7), file_size=st.integers(0, 2**64))
def test_garbage_with_right_marks_is_a_value_or_an_image_error(
    body: bytes, kind: int, file_size: int
) -> None:
    data = bytearray(b"conectix" + b"\0\0\0\2\0\1\0\0" + body)
    data[60:64] = struct.pack(">I", kind)
    try:
        read = parse_footer(signed(bytes(data)), file_size)
    except ImageError:
        return
    assert read.disk_type is not DiskType.FIXED or read.current_size == file_size - 512


@pytest.mark.parametrize("file_size", [MIB, MIB + 511, MIB + 513, MIB + 1024, 512, 2 * MIB + 512])
def test_size_that_is_not_the_file_is_refused_with_both_numbers(file_size: int) -> None:
    with pytest.raises(ImageError) as caught:
        parse_footer(changed(0, b""), file_size)
    assert f"{MIB} bytes" in caught.value.message
    assert f"{file_size - 512} bytes" in caught.value.message


def test_current_size_counts_and_geometry_and_original_size_do_not() -> None:
    footer = changed(28, b"wa\0\0") + b""
    footer = signed(
        footer[:40] + struct.pack(">Q", 999) + footer[48:56] + struct.pack(">HBB", 20, 4, 17) + footer[60:]
    )
    assert parse_footer(footer, MIB + 512).current_size == MIB


@pytest.mark.parametrize(
    ("offset", "data", "message"),
    [
        (0, b"conectiX", "cookie"),
        (12, b"\0\2\0\0", "version"),
        (60, b"\0\0\0\0", "type 0"),
        (60, b"\0\0\0\1", "type 1"),
        (60, b"\0\0\0\5", "type 5"),
        (48, struct.pack(">Q", MIB + 1), "bytes"),
    ],
)
def test_lies_with_a_right_checksum(offset: int, data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        parse_footer(changed(offset, data), MIB + 512)


@pytest.mark.parametrize("size", [0, 1, 513])
def test_fixed_disk_of_no_or_half_sectors(size: int) -> None:
    with pytest.raises(ImageError, match="sectors"):
        parse_footer(changed(48, struct.pack(">Q", size)), size + 512)


@pytest.mark.parametrize(("code", "kind"), [(3, DiskType.DYNAMIC), (4, DiskType.DIFFERENCING)])
def test_sparse_kinds_are_told_apart_whatever_the_file_size(code: int, kind: DiskType) -> None:
    assert parse_footer(changed(60, struct.pack(">I", code)), 4096).disk_type is kind


def test_real_dynamic_footer(tmp_path: Path) -> None:
    disk = tmp_path / "d.vhd"
    run(*["qemu-img", "create", "-q", "-f", "vpc", "-o", "subformat=dynamic,force_size"], disk, "30M")
    read = parse_footer(disk.read_bytes()[-512:], disk.stat().st_size)
    assert (read.disk_type, read.current_size) == (DiskType.DYNAMIC, 30 * MIB)


@pytest.mark.parametrize("size", [0, 1, 513, -512])
def test_no_footer_for_half_sectors(size: int) -> None:
    with pytest.raises(ValueError, match="sectors"):
        fixed_footer(size, timestamp=SOME_TIME, unique_id=SOME_ID)


@pytest.mark.parametrize("timestamp", [0, vhd.EPOCH - 1, vhd.LATEST_TIMESTAMP + 1])
def test_no_footer_for_times_outside_the_format(timestamp: int) -> None:
    with pytest.raises(ValueError, match="between"):
        fixed_footer(MIB, timestamp=timestamp, unique_id=SOME_ID)
