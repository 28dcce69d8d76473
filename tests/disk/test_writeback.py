"""Starting writeback: it never fails, and what it could not write is still fsync's to tell."""

from __future__ import annotations

import os
from pathlib import Path

from imgfix.disk import writeback


def test_the_bytes_stay_what_they_are(tmp_path: Path) -> None:
    with (tmp_path / "f").open("w+b") as stream:
        stream.write(b"x" * 10_000)
        stream.flush()
        writeback.start(stream.fileno(), 4096, 4096)
        writeback.start(stream.fileno())
        os.fsync(stream.fileno())
    assert (tmp_path / "f").read_bytes() == b"x" * 10_000


def test_a_file_that_knows_no_writeback_is_no_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    writeback.start(writing)
    os.close(reading)
    os.close(writing)
    writeback.start(writing)
