"""Images that imgfix copies by their own tables: no other tool, holes kept, errors told."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from imgfix.disk.mapped import _filled
from imgfix.disk.source import open_source
from imgfix.disk.sparse import Extent
from imgfix.errors import HostError
from tests.disk.disks import MIB
from tests.disk.emit import convert, data_of, failing, left_in, refusal
from tests.disk.images import image, raw_disk

COPIED = (
    "qcow2",
    "qcow2-v2",
    "qcow2-full",
    "vhd-dynamic",
    "vhdx",
    "vhdx-small-blocks",
    "vdi",
    "vdi-static",
    "vmdk",
)


@pytest.mark.parametrize("kind", COPIED)
def test_no_tool_is_needed(tmp_path: Path, out: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = raw_disk(tmp_path / "d.raw", 19 * MIB + 512, "islands")
    path = image(kind, raw, tmp_path / "in.img")

    def started(*_: object, **__: object) -> None:
        raise AssertionError("a tool was started")

    monkeypatch.setattr(subprocess, "Popen", started)
    convert(open_source(path, blank=True), out)
    assert data_of(out) == raw.read_bytes().ljust(20 * MIB, b"\0")
    # Blocks of 32 MiB hold data of 1.4 KiB: zeros are not written.
    assert out.stat().st_blocks * 512 <= raw.stat().st_blocks * 512 + MIB


@pytest.mark.parametrize(
    ("data", "filled"),
    [
        (b"", []),
        (bytes(9000), []),
        (bytes(4095) + b"x", [Extent(0, 4096)]),
        (bytes(4096) + b"x" + bytes(8191), [Extent(4096, 8192)]),
        (b"x" + bytes(8191) + b"x", [Extent(0, 4096), Extent(8192, 8193)]),
        (b"x" * 8192, [Extent(0, 8192)]),
    ],
)
def test_zeros_become_holes(data: bytes, filled: list[Extent]) -> None:
    before = b"what the chunk before left in the buffer" * 200
    assert list(_filled(bytearray(data + before), len(data))) == filled


def test_failing_storage(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(
        image("vhdx", raw_disk(tmp_path / "d.raw", MIB, "edges"), tmp_path / "in"), blank=True
    )
    monkeypatch.setattr("imgfix.disk.mapped.os.pwrite", failing(28))
    error = refusal(source, out)
    assert isinstance(error, HostError)
    assert "free" in error.message
    assert "needed" in error.message
    assert left_in(out.parent) == []


def test_image_that_changed_since_it_was_opened(tmp_path: Path, out: Path) -> None:
    path = image("qcow2", raw_disk(tmp_path / "d.raw", MIB, "edges"), tmp_path / "in.qcow2")
    source = open_source(path, blank=True)
    os.truncate(path, path.stat().st_size - 512)
    assert "changed while it was in use" in refusal(source, out).message
