"""Formats told by their bytes, with the real tools' files and with garbage."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import uuid
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgfix.disk.formats import HEAD, SIGNATURES, Format, identify
from imgfix.disk.vhd import fixed_footer
from imgfix.errors import ImageError
from tests.disk.disks import MIB, run

FOOTER = fixed_footer(MIB, timestamp=1_700_000_000, unique_id=uuid.UUID(int=7))


def identify_bytes(data: bytes) -> Format:
    return identify(data[:HEAD], data[-512:], len(data)).format


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("-f qcow2", Format.QCOW2),
        ("-f vmdk", Format.VMDK),
        ("-f vmdk -o subformat=streamOptimized", Format.VMDK),
        ("-f vmdk -o subformat=monolithicFlat", Format.VMDK),
        ("-f vhdx", Format.VHDX),
        ("-f vdi", Format.VDI),
        ("-f vpc", Format.DYNAMIC_VHD),
        ("-f vpc -o subformat=fixed,force_size", Format.FIXED_VHD),
        ("-f raw", Format.RAW),
    ],
)
def test_what_qemu_img_makes(tmp_path: Path, options: str, expected: Format) -> None:
    disk = tmp_path / "disk"
    run(*f"qemu-img create -q {options}".split(), disk, "8M")
    assert identify_bytes(disk.read_bytes()) is expected


def tar() -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as out:
        out.addfile(tarfile.TarInfo("machine.ovf"))
    return archive.getvalue()


def zipped() -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("disk.raw", b"x")
    return archive.getvalue()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (gzip.compress(b"disk"), Format.GZIP),
        (lzma.compress(b"disk"), Format.XZ),
        (bz2.compress(b"disk"), Format.BZIP2),
        (bytes.fromhex("28b52ffd0458210000"), Format.ZSTD),
        (tar(), Format.OVA),
        (zipped(), Format.ZIP),
        (bytes(0x8001) + b"CD001", Format.ISO),
    ],
    ids=lambda value: value.name if isinstance(value, Format) else "",
)
def test_archives_and_media(data: bytes, expected: Format) -> None:
    assert identify_bytes(data.ljust(4096, b"\0")) is expected


def test_the_footer_beats_what_a_guest_writes_into_its_first_sector() -> None:
    assert identify_bytes(b"QFI\xfb".ljust(MIB, b"\0") + FOOTER) is Format.FIXED_VHD


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes(MIB) + FOOTER[:64] + b"\0\0\0\0" + FOOTER[68:], "checksum"),
        (bytes(MIB - 512) + FOOTER, "bytes"),
        (bytes(MIB + 512) + FOOTER, "bytes"),
        (bytes(MIB) + FOOTER[:511], "511-byte"),
        (FOOTER + bytes(MIB), "truncated"),
    ],
)
def test_broken_vhds_are_no_raw_disks(data: bytes, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        identify_bytes(data)


@given(
    start=st.sampled_from([b"", b"conectix", *(row.magic for row in SIGNATURES)]),
    body=st.binary(max_size=1024),
    end=st.sampled_from([b"", b"conectix", FOOTER, FOOTER[1:], FOOTER[:100]]),
)
def test_garbage_is_a_format_or_an_image_error(start: bytes, body: bytes, end: bytes) -> None:
    with suppress(ImageError):
        assert identify_bytes(start + body + end) in Format
