"""The readers of qcow2, VHDX, VMDK, VDI and dynamic VHD: the guest's bytes, and every way to say no.

What is refused here is refused by imgfix alone: no other tool has opened the image by then.
"""

from __future__ import annotations

import os
import struct
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from imgfix.disk import dynamic_vhd, vhd, vhdx
from imgfix.disk.formats import Format
from imgfix.disk.images import Node, open_image
from imgfix.disk.layout import File
from imgfix.disk.source import Source, open_source
from imgfix.errors import ImageError
from tests.disk.disks import MIB, gpt_disk, mbr_disk, patch, run
from tests.disk.images import KINDS, raw_disk
from tests.disk.refusing import made, refusal

HEADERS = (64 << 10, 128 << 10)


def content(path: Path, kind: Format) -> bytes:
    """The guest's bytes, read by imgfix's own reader; in pieces that fit no chunk."""
    data = path.read_bytes()

    def beside(name: str) -> File:
        other = (path.parent / name).read_bytes()
        return File(lambda offset, length: other[offset : offset + length], len(other))

    file = File(lambda offset, length: data[offset : offset + length], len(data))
    opened = open_image(kind, file, Node.of_file(path), beside)
    pieces = range(0, opened.size, 333_333)
    return b"".join(opened.read_at(offset, min(333_333, opened.size - offset)) for offset in pieces)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("raw", "vhd-fixed")])
@pytest.mark.parametrize("pattern", ["islands", "stripes"])
def test_our_own_reader_sees_the_guests_bytes(tmp_path: Path, kind: str, pattern: str) -> None:
    raw = raw_disk(tmp_path / "disk.raw", 5 * MIB + 512, pattern)
    path = made(kind, raw)
    source = open_source(path, blank=True)
    assert source.size == raw.stat().st_size
    assert content(path, source.format) == raw.read_bytes()
    assert source.image is not None
    assert source.image.allocated >= source.image.packed


@pytest.mark.parametrize("kind", KINDS)
def test_the_partition_table_is_read_through_the_format(tmp_path: Path, kind: str) -> None:
    raw = gpt_disk(tmp_path / "disk.raw")
    assert open_source(made(kind, raw)).table == open_source(raw).table


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in ("raw", "vhd-fixed", "qcow2-full", "vmdk-flat")]
)
def test_truncated(raw: Path, kind: str) -> None:
    path = made(kind, raw)
    cut = next(path.parent.glob("in*001*"), path)
    size = cut.stat().st_size
    # What lies behind the disk's end in its last block may be missing: nobody reads it.
    os.truncate(
        cut,
        size // 4
        if kind.startswith(("vhdx", "vdi", "vhd", "vmdk-stream"))
        else size - min(70_000, size // 3),
    )
    message = refusal(path).message
    assert "truncated" in message or "footer" in message or "archive" in message or "damaged" in message


def test_truncated_flat(raw: Path) -> None:
    path = made("vmdk-flat", raw)
    flat = path.with_name("in-flat.img")
    os.truncate(flat, flat.stat().st_size - 512)
    message = refusal(path).message
    assert str(5 * MIB + 512) in message
    assert str(5 * MIB) in message


# --- names and bytes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "magic", [b"QFI\xfb", b"KDMV", b"vhdxfile", b"# Disk DescriptorFile", b"LUKS\xba\xbe"]
)
@pytest.mark.parametrize("make", [gpt_disk, mbr_disk])
def test_a_raw_disk_that_begins_like_another_format(
    tmp_path: Path, magic: bytes, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path / "d.raw")
    patch(path, 0, magic)
    error = refusal(path)
    assert "imitation" in error.message
    assert "--format raw" in (error.hint or "")
    assert open_source(path, "raw").format is Format.RAW


def test_a_magic_with_nothing_behind_it_may_be_a_raw_disk(tmp_path: Path) -> None:
    path = raw_disk(tmp_path / "d.raw", MIB, "islands")
    patch(path, 0, b"QFI\xfb")
    assert "qcow version 0" in refusal(path).message
    assert "--format raw" in (refusal(path).hint or "")
    assert open_source(path, "raw", blank=True).size == MIB


@pytest.mark.parametrize("name", ["vhd", "vhdx", "qcow2", "vmdk", "vdi", "ova"])
def test_format_that_the_bytes_are_not(tmp_path: Path, name: str) -> None:
    refusal(gpt_disk(tmp_path / "d.raw"), name)


def test_format_vhd_is_fixed_or_dynamic(raw: Path) -> None:
    path = made("vhd-dynamic", raw)
    assert open_source(path, "vhd", blank=True).format is Format.DYNAMIC_VHD


def test_a_raw_disk_named_vhd_is_taken_when_told(tmp_path: Path) -> None:
    assert open_source(gpt_disk(tmp_path / "d.vhd"), "raw").format is Format.RAW


def test_it_says_what_it_took_it_for(raw: Path) -> None:
    source: Source = open_source(made("qcow2", raw), blank=True)
    assert source.taken_for.startswith("in.img: taken for a qcow2 image: a disk of 5 MiB (5243392 bytes), ")


# --- qcow2 --------------------------------------------------------------------------------------------------


def test_qcow2_with_a_backing_file(tmp_path: Path, raw: Path) -> None:
    path = tmp_path / "in.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", raw, "-F", "raw", path)
    error = refusal(path)
    assert f"backing file '{raw}'" in error.message
    assert f"qemu-img convert -f qcow2 -O qcow2 {path}" in (error.hint or "")


def test_qcow2_with_a_data_file(tmp_path: Path) -> None:
    path = tmp_path / "in.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path}/data", path, "4M")
    assert "external data file" in refusal(path).message


def test_qcow2_that_is_encrypted(tmp_path: Path) -> None:
    """The old way: for LUKS qemu-img measures the host's speed, and fails where it is busy."""
    path = tmp_path / "in.qcow2"
    secret = ("--object", "secret,id=s,data=abc", "-o", "encrypt.format=aes,encrypt.key-secret=s")
    run("qemu-img", "create", "-q", *secret, "-f", "qcow2", path, "4M")
    assert "encrypted" in refusal(path).message
    with path.open(
        "r+b"
    ) as stream:  # crypt_method 2 is LUKS: https://www.qemu.org/docs/master/interop/qcow2.html
        stream.seek(32)
        stream.write((2).to_bytes(4, "big"))
    assert "encrypted" in refusal(path).message


@pytest.mark.parametrize(
    ("offset", "data", "message"),
    [
        (4, b"\0\0\0\1", "version 1"),
        (4, b"\0\0\0\4", "version 4"),
        (20, b"\0\0\0\3", r"2\^3"),
        (24, bytes(8), "0 bytes"),
        (24, b"\x7f" * 8, "sectors"),
        (24, b"\0\1\0\0\0\0\0\0", "largest"),
        (36, b"\0\0\0\0", "entries"),
        (40, b"\0\0\0\0\0\3\0\1", "within a cluster"),
        (40, b"\0\0\0\1\0\0\0\0", "truncated"),
        (72, b"\0\0\0\0\0\0\0\2", "corrupt"),
        (72, b"\0\0\0\1\0\0\0\0", "features"),
    ],
)
def test_qcow2_header(raw: Path, offset: int, data: bytes, message: str) -> None:
    path = made("qcow2", raw)
    patch(path, offset, data)
    with pytest.raises(ImageError, match=message):
        open_source(path, blank=True)


def test_qcow2_whose_tables_are_one(tmp_path: Path) -> None:
    """A small file with a table that stands for the whole disk a million times would take hours to walk."""
    path = tmp_path / "in.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", path, "4G")
    l1 = struct.unpack(">Q", path.read_bytes()[40:48])[0]
    patch(path, l1, struct.pack(">Q", 1 << 63 | 3 << 16) * 8)
    os.truncate(path, 1 << 20)
    assert "L2 table" in refusal(path).message


def test_qcow2_with_snapshots_is_taken_as_it_is_now(raw: Path) -> None:
    path = made("qcow2", raw)
    run("qemu-img", "snapshot", "-c", "before", path)
    run("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 512", path)
    source = open_source(path, blank=True)
    assert "1 snapshots" in source.notes[0]
    assert content(path, Format.QCOW2)[:512] == b"\7" * 512


# --- VHDX ---------------------------------------------------------------------------------------------------


def rewrite_headers(path: Path, offset: int, data: bytes) -> None:
    """Change both headers, with checksums that are right again."""
    for header in HEADERS:
        old = path.read_bytes()[header : header + 4096]
        new = old[:4] + bytes(4) + old[8:offset] + data + old[offset + len(data) :]
        patch(path, header, new[:4] + struct.pack("<I", vhdx.crc32c(new)) + new[8:])


def test_crc32c_is_the_one_of_the_rfc() -> None:
    assert vhdx.crc32c(b"123456789") == 0xE3069283


def test_vhdx_with_a_dirty_log(raw: Path) -> None:
    path = made("vhdx", raw)
    rewrite_headers(path, 48, uuid.uuid4().bytes)
    error = refusal(path)
    assert "log was not replayed" in error.message
    assert f"Mount-VHD -Path {path}" in (error.hint or "")


def test_vhdx_with_one_torn_header_is_taken(raw: Path) -> None:
    path = made("vhdx", raw)
    patch(path, HEADERS[0] + 100, b"torn")
    assert content(path, Format.VHDX) == raw.read_bytes()
    patch(path, HEADERS[1] + 100, b"torn")
    assert "neither of its two headers" in refusal(path).message


@pytest.mark.parametrize(
    ("item", "data", "message"),
    [
        (vhdx.FILE_PARAMETERS, struct.pack("<II", 1 << 25, 2), "differencing"),
        (vhdx.FILE_PARAMETERS, struct.pack("<II", 1 << 19, 0), "blocks of"),
        (vhdx.LOGICAL_SECTOR, struct.pack("<I", 4096), "4096"),
        (vhdx.DISK_SIZE, struct.pack("<Q", 513), "sectors"),
        (vhdx.DISK_SIZE, struct.pack("<Q", 60 << 40), "block table"),
    ],
)
def test_vhdx_metadata(raw: Path, item: uuid.UUID, data: bytes, message: str) -> None:
    path = made("vhdx", raw)
    whole = path.read_bytes()
    table = whole.index(b"metadata")
    row = whole.index(item.bytes_le, table)
    patch(path, table + struct.unpack_from("<I", whole, row + 16)[0], data)
    assert message in refusal(path).message


# --- VHD ----------------------------------------------------------------------------------------------------


def test_dynamic_vhd_with_two_footers(raw: Path) -> None:
    path = made("vhd-dynamic", raw)
    footer = bytearray(path.read_bytes()[:512])
    footer[24:28] = b"\1\2\3\4"
    footer[64:68] = struct.pack(">I", vhd.checksum(bytes(footer)))
    patch(path, 0, bytes(footer))
    assert "another one than the footer at its end" in refusal(path).message


@pytest.mark.parametrize(
    ("offset", "data", "message"),
    [(0, b"cxsparsE", "cxsparse"), (32, b"\0\0\0\1", "checksum"), (100, b"x", "checksum")],
)
def test_dynamic_vhd_header(raw: Path, offset: int, data: bytes, message: str) -> None:
    path = made("vhd-dynamic", raw)
    patch(path, 512 + offset, data)
    assert message in refusal(path).message


def test_dynamic_vhd_with_a_block_elsewhere(raw: Path) -> None:
    path = made("vhd-dynamic", raw)
    patch(path, 1536, struct.pack(">I", path.stat().st_size // 512))
    error = refusal(path)
    assert "truncated: a block" in error.message


def test_dynamic_vhd_keeps_its_identity(raw: Path) -> None:
    path = made("vhd-dynamic", raw)
    source = open_source(path, blank=True)
    assert source.footer is not None
    assert (
        source.footer.unique_id == vhd.parse_footer(path.read_bytes()[-512:], path.stat().st_size).unique_id
    )
    data = path.read_bytes()
    layout, _ = dynamic_vhd.layout(File(lambda at, length: data[at : at + length], len(data)))
    assert layout.size == raw.stat().st_size


# --- VDI ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "data", "message"),
    [
        (76, b"\4\0\0\0", "differencing"),
        (440, b"x", "differencing"),
        (68, b"\0\0\0\0", "version"),
        (376, b"\0\0\2\0", "blocks of"),
        (384, b"\1\0\0\0", "1 blocks"),
    ],
)
def test_vdi_header(raw: Path, offset: int, data: bytes, message: str) -> None:
    path = made("vdi", raw)
    patch(path, offset, data)
    assert message in refusal(path).message
