"""A source disk, and a folder of its own for the output."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgfix.disk.source import Source, open_source
from tests.disk.disks import gpt_disk


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return open_source(gpt_disk(tmp_path / "d.raw"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "d.vhd"
