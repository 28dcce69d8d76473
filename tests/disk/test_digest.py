"""Digests of disks with holes, and giving one up."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from imgfix.disk.digest import Digest
from imgfix.errors import HostError

MIB = 1 << 20


@pytest.mark.parametrize("at", [(), (0,), (5 * MIB,), (0, 9 * MIB + 5), (13 * MIB - 1,)])
def test_a_hole_counts_as_zeros(tmp_path: Path, at: tuple[int, ...]) -> None:
    file = tmp_path / "f"
    with file.open("wb") as stream:
        stream.truncate(13 * MIB)
        for offset in at:
            stream.seek(offset)
            stream.write(b"x")
    with Digest(file) as digest:
        assert digest.result() == hashlib.sha256(file.read_bytes()).hexdigest()


def test_leaving_gives_it_up(tmp_path: Path) -> None:
    file = tmp_path / "f"
    with file.open("wb") as stream:
        stream.truncate(1 << 42)  # hours of zeros
    begin = time.monotonic()
    with Digest(file):
        pass
    assert time.monotonic() - begin < 60


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with Digest(tmp_path / "f") as digest, pytest.raises(HostError, match="its digest failed: No such file"):
        digest.result()
