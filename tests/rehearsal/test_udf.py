"""The DVD's file system: blkid knows it, and its descriptors hold what ECMA-167 asks."""

from __future__ import annotations

import binascii
import struct
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest

from imgfix.rehearsal import udf

WHEN = datetime(2024, 2, 29, 12, 30, 15, tzinfo=timezone.utc)
FILES = {"ovf-env.xml": b"<x/>" * 1500, "empty": b"", "CustomData.bin": bytes(range(256))}


def test_blkid_takes_it_for_udf_with_its_label(tmp_path: Path) -> None:
    path = tmp_path / "d.iso"
    path.write_bytes(udf.image(FILES, "rd_rdfe_stable", WHEN))
    said = subprocess.run(
        ("blkid", "-p", "-o", "export", path), capture_output=True, text=True, check=True
    ).stdout
    assert {"TYPE=udf", "LABEL=rd_rdfe_stable"} <= set(said.splitlines())


def test_every_descriptor_has_its_checksum_crc_and_place() -> None:
    data = udf.image(FILES, "x", WHEN)
    tags = []
    for sector in range(len(data) // udf.SECTOR):
        block = data[sector * udf.SECTOR :][: udf.SECTOR]
        tag, version, checksum, _, _, crc, length, place = struct.unpack_from("<HHBBHHHI", block)
        if tag not in (1, 2, 5, 6, 7, 8, 9, 256, 257, 261) or version != 2:
            continue
        assert checksum == (sum(block[:16]) - block[4]) & 0xFF
        assert crc == binascii.crc_hqx(block[16 : 16 + length], 0)
        assert place == (sector - 257 if 257 <= sector < len(data) // udf.SECTOR - 1 else sector)
        tags.append(tag)
    assert tags.count(2) == 2
    assert tags.count(261) == 1 + len(FILES)
    assert {1, 5, 6, 7, 8, 9, 256, 257} <= set(tags)


def test_more_files_than_a_block_of_entries_are_refused() -> None:
    with pytest.raises(ValueError, match="200 files do not fit"):
        udf.image({f"file-{number}": b"" for number in range(200)}, "x", WHEN)
