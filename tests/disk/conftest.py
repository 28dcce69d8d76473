"""Disks as files and as bytes, and a folder of its own for the output."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgfix.disk.source import Source, open_source
from tests.disk.disks import MIB, gpt_disk, mbr_disk
from tests.disk.images import raw_disk


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return open_source(gpt_disk(tmp_path / "d.raw"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "d.vhd"


@pytest.fixture(scope="module")
def gpt_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return gpt_disk(tmp_path_factory.mktemp("gpt") / "d.raw").read_bytes()


@pytest.fixture(scope="module")
def mbr_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return mbr_disk(tmp_path_factory.mktemp("mbr") / "d.raw").read_bytes()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return raw_disk(tmp_path / "disk.raw", 5 * MIB + 512, "islands")
